/**
 * The storage engine in simulation: seeds until the time is over (`sim`), and planted bugs that they must find (`mutants`).
 * Each runs in as many processes as there are cores. `--seeds N` asks for that many, `--seed N --trace` replays one,
 * `--only TEXT` plants only the bugs with that text in their names, `--judges last` asks tests only about what no seed finds.
 */
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { simulateCluster } from '../sim/cluster-simulation.ts';
import { Coverage } from '../sim/coverage.ts';
import { type Mutant, mutants } from '../sim/mutants.ts';
import { type MutantBounds, type MutantOutcome, MutationBench } from '../sim/mutation-suite.ts';
import type { SimulationResult } from '../sim/simulated.ts';
import { simulate } from '../sim/simulation.ts';
import { runMechanical } from './mechanical.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const seedsDefault = 10_000;
const minutesDefault = 15;
/** Mechanical mutants that are tried behind the planted bugs. */
const mechanicalDefault = 50;
const script = fileURLToPath(new URL('../sim/run-seeds.js', import.meta.url));

type Line = SimulationResult & { readonly ms: number };

/** What is simulated: one broker after the other, or a whole cluster. */
type World = 'broker' | 'cluster';

/** Seeds from `from` on, in one process, until `seconds` are over. */
async function runSeeds(
  what: World,
  from: number,
  seeds: number,
  seconds: number,
  onLine: (line: Line) => void,
): Promise<string> {
  const flags = ['--from', from, '--seeds', seeds, '--seconds', seconds].map(String);
  if (what === 'cluster') flags.push('--cluster');
  const child = spawn(process.execPath, [script, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let rest = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop()!;
    for (const part of parts) onLine(JSON.parse(part) as Line);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-2_000);
  });
  const code = await new Promise<number | null>((done, fail) => {
    child.on('error', fail);
    child.on('close', done);
  });
  return code === 0 || code === 1 ? '' : `a process of seeds from ${from} on ended with ${code}: ${errors}`;
}

async function replay({ say }: LongContext, what: World, seed: number): Promise<LongOutcome> {
  const run = what === 'cluster' ? simulateCluster : simulate;
  const result = await run({ seed, onTrace: say });
  return outcome(result.violation === null ? [] : [`seed ${seed}: ${result.violation}`], [], { result });
}

async function sim(context: LongContext, what: World): Promise<LongOutcome> {
  const { option, say } = context;
  const given = option('seed');
  if (given !== undefined) return replay(context, what, Number(given));
  const seeds = Number(option('seeds') ?? seedsDefault);
  const seconds = Number(option('minutes') ?? minutesDefault) * 60;
  const workers = availableParallelism();
  const coverage = new Coverage();
  const faults: string[] = [];
  const sums = { seeds: 0, operations: 0, faults: 0, lives: 0, events: 0, simulatedMs: 0 };
  const began = performance.now();
  const share = Math.ceil(seeds / workers);
  const ends = await Promise.all(
    Array.from({ length: workers }, (_, worker) =>
      runSeeds(what, 1 + worker * share, Math.min(share, seeds - worker * share), seconds, (line) => {
        sums.seeds++;
        for (const key of ['operations', 'faults', 'lives', 'events', 'simulatedMs'] as const)
          sums[key] += line[key];
        coverage.add(line.coverage);
        if (line.violation !== null) {
          faults.push(`seed ${line.seed}: ${line.violation.split('\n')[0]}`);
          say(`seed ${line.seed}: ${line.violation}`);
        }
        if (sums.seeds % 50 === 0) say(`${sums.seeds} seeds, ${faults.length} with faults`);
      }),
    ),
  );
  faults.push(...ends.filter((end) => end !== ''));
  const minutes = (performance.now() - began) / 60_000;
  const perMinute = Math.round((10 * sums.seeds) / minutes) / 10;
  const summary = [
    `${sums.seeds} of ${seeds} seeds in ${minutes.toFixed(1)} minutes on ${workers} cores: ${perMinute} a minute; ${faults.length} with faults.`,
    `${sums.operations} requests, ${sums.faults} injected faults, ${sums.lives} lives of brokers, ${(sums.simulatedMs / 3_600_000).toFixed(1)} simulated hours.`,
    'Faults by the state of the broker that they met:',
    ...coverage.table(),
  ];
  return outcome(faults, summary, { ...sums, perMinute, coverage: coverage.counts });
}

/** Without anything planted nobody may find anything: no test, and none of the seeds. */
async function faultsOf(
  bench: MutationBench,
  planted: readonly Mutant[],
  bounds: MutantBounds,
): Promise<string[]> {
  const named = planted.flatMap(({ judge }) => (judge === undefined ? [] : [judge]));
  const files = planted.length === mutants.length ? [...bench.judges(), ...named] : named;
  const failing = await bench.failingTest([...new Set(files)]);
  const { caught, seed, how } = await bench.clean(bounds);
  return [
    ...(failing === '' ? [] : [`the product as it is fails a test: ${failing}`]),
    ...(caught ? [`the product as it is fails seed ${seed}: ${how}`] : []),
  ];
}

async function mutation(context: LongContext): Promise<LongOutcome> {
  const { directory, option, say } = context;
  const only = option('only') ?? '';
  const planted = mutants.filter(({ name }) => name.includes(only));
  if (planted.length === 0) return outcome([`no planted bug has "${only}" in its name`], [], {});
  const bounds: MutantBounds = {
    from: Number(option('seed') ?? 1),
    seeds: Number(option('seeds') ?? 150),
    seconds: 120,
    operations: 800,
    judged: option('judges') === 'last' ? 'after seeds' : 'before seeds',
  };
  const began = performance.now();
  const faults: string[] = [];
  const outcomes: MutantOutcome[] = [];
  const workers = availableParallelism();
  const queue: (Mutant | null)[] = [null, ...planted];
  const work = async (worker: number): Promise<void> => {
    const bench = new MutationBench(join(directory, `product-${worker}`));
    for (let mutant = queue.shift(); mutant !== undefined; mutant = queue.shift()) {
      if (mutant === null) {
        const found = await faultsOf(bench, planted, bounds);
        faults.push(...found);
        say(found.length === 0 ? 'in the product as it is nobody finds anything' : found.join('; '));
        continue;
      }
      const result = await bench.try(mutant, bounds);
      outcomes.push(result);
      const { name, caught, by, seed, seeds, seconds, how } = result;
      say(
        caught
          ? `caught by ${by === 'simulation' ? `seed ${seed}` : 'tests'} in ${seconds} s: ${name} — ${how}`
          : `NOT CAUGHT in ${seeds} seeds, ${seconds} s: ${name} — ${how}`,
      );
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, worker) => work(worker)));
  outcomes.sort((a, b) => a.name.localeCompare(b.name));
  const caught = outcomes.filter((each) => each.caught);
  const simulated = caught.filter((each) => each.by === 'simulation').length;
  for (const each of outcomes) if (!each.caught) faults.push(`not caught: ${each.name} (${each.how})`);
  const minutes = (performance.now() - began) / 60_000;
  const sample = Number(option('sample') ?? mechanicalDefault);
  const mechanical = only === '' ? await runMechanical(context, sample) : null;
  faults.push(...(mechanical?.faults ?? []));
  const summary = [
    `${caught.length} of ${outcomes.length} planted bugs caught in ${minutes.toFixed(1)} minutes on ${workers} cores: ${simulated} by the simulation, within ${bounds.seeds} seeds of ${bounds.operations} requests or ${bounds.seconds} s each, ${caught.length - simulated} by tests (asked ${bounds.judged}).`,
    ...outcomes.map(
      ({ name, by, seeds, how }) =>
        `${by === 'simulation' ? `seed ${String(seeds).padStart(3)}` : by === null ? 'NOT     ' : 'tests   '}  ${name}: ${how}`,
    ),
    ...(mechanical?.summary ?? []),
  ];
  return outcome(faults, summary, {
    score: caught.length,
    of: outcomes.length,
    bounds,
    minutes,
    outcomes,
    mechanical: mechanical?.data ?? null,
  });
}

export const simScripts: readonly LongScript[] = [
  {
    name: 'sim',
    what: 'seeds of the simulated storage engine, with faults of disk, store and processes',
    run: (context) => sim(context, 'broker'),
  },
  {
    name: 'sim-cluster',
    what: 'seeds of simulated clusters: several brokers, their etcd, one store, and the networks between them',
    run: (context) => sim(context, 'cluster'),
  },
  {
    name: 'mutants',
    what: 'planted bugs that the simulation or a named test must find, and a sample of mechanical mutants',
    run: mutation,
  },
];

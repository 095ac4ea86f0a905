/**
 * `npm run bench -- [options] SCENARIO[/VARIANT] …`: measures systems under scenarios and writes a report of each to
 * perf-reports/<date>-<scenario>/. Whatever was started is ended with this process, however that ends.
 */
import { availableParallelism, tmpdir } from 'node:os';
import { commandLine } from '../tools/command-line.ts';
import { writeCoefficients } from './coefficients.ts';
import { counts } from './counts.ts';
import { fillMemory } from './fill-memory.ts';
import { endAllSystems, stopAllSystems } from './harness/bed.ts';
import { calibrate } from './harness/calibration.ts';
import { environment } from './harness/environment.ts';
import type { HarnessOptions } from './harness/options.ts';
import { runScenario } from './harness/run-scenario.ts';
import type { Scenario } from './harness/scenario.ts';
import type { Calibration, ScenarioResult } from './harness/schema.ts';
import { within } from './harness/time-limits.ts';
import { runMicro } from './micro/index.ts';
import { compareResults } from './report/compare.ts';
import { readReport, reportsDirectory, writeIndex, writeReport } from './report/files.ts';
import { reportPage } from './report/page.ts';
import { plotsOf } from './report/plots.ts';
import { verdictLine } from './report/verdict.ts';
import { scenarios } from './scenarios/all.ts';
import { Session } from './session.ts';
import { removeAbandoned, removePlaces } from './systems/places.ts';
import { type SystemName, systemNames } from './systems/system.ts';

const usage = `npm run bench -- [options] SCENARIO[/VARIANT] ...

  --list          print scenarios and their variants
  --all           every scenario, one after the other; goes on where an ended run of it stopped
  --fresh         with --all: begins anew
  --vs SYSTEMS    beside Millrace: kafka, kafka-flush (needs Java and Maven); several with commas
  --runs N        of each system, in paired order (default 3; --quick 1)
  --seconds S     of each window (default: the scenario's)
  --quick         seconds in all: shows that everything works, compares nothing
  --no-pair       without the pair of equal runs that states the noise
  --no-fill       leave free memory as it is (see bench/fill-memory.ts)
  --threads N     shards of Millrace (default: cores - 1)
  --portable      the load in TypeScript also where the C one compiles
  --compare FILE  fails where something tracked is worse than in that raw.json by more than the noise
  --out DIR       reports go there instead of ${reportsDirectory}; '-' prints them only
  --index         make ${reportsDirectory}/README.md and the cost model's coefficients anew from the reports there

Counted, not measured: ${Object.keys(counts).join(', ')}. Functions alone: micro.`;

const { values: flags, positionals: names } = commandLine(usage, {
  list: { type: 'boolean', default: false },
  all: { type: 'boolean', default: false },
  fresh: { type: 'boolean', default: false },
  vs: { type: 'string', default: '' },
  runs: { type: 'string' },
  seconds: { type: 'string' },
  quick: { type: 'boolean', default: false },
  pair: { type: 'boolean', default: true },
  fill: { type: 'boolean', default: true },
  threads: { type: 'string', default: String(Math.max(1, availableParallelism() - 1)) },
  portable: { type: 'boolean', default: false },
  compare: { type: 'string' },
  out: { type: 'string', default: reportsDirectory },
  index: { type: 'boolean', default: false },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** Time for starts, warm-ups, settling and reading back besides the windows. */
const scenarioSecondsSpare = 900;

function numberFlag(name: 'runs' | 'seconds' | 'threads', least: number): number | null {
  const text = flags[name];
  if (text === undefined) return null;
  const value = Number(text);
  if (!Number.isFinite(value) || value < least) throw new Error(`--${name} needs a number from ${least} on`);
  return value;
}

function optionsFor(variant: string | null): HarnessOptions {
  const others = flags.vs === '' ? [] : flags.vs.split(',');
  for (const name of others)
    if (!(systemNames as readonly string[]).includes(name) || name === 'millrace')
      throw new Error(`--vs ${name}: known are ${systemNames.slice(1).join(', ')}`);
  return {
    quick: flags.quick,
    runs: Math.floor(numberFlag('runs', 1) ?? (flags.quick ? 1 : 3)),
    seconds: numberFlag('seconds', 0.2),
    systems: ['millrace', ...(others as SystemName[])],
    threads: Math.floor(numberFlag('threads', 1) ?? 1),
    pairFirst: flags.pair && !flags.quick,
    variant,
    portableLoad: flags.portable,
  };
}

async function main(): Promise<number> {
  if (flags.list) {
    for (const { name, title, variants } of scenarios)
      say(`${name.padEnd(20)}${title}: ${variants.map((variant) => variant.name).join(', ')}`);
    for (const [name, { title }] of Object.entries(counts)) say(`${name.padEnd(20)}${title}`);
    say(`${'micro'.padEnd(20)}Functions alone`);
    return 0;
  }
  if (flags.index) {
    writeIndex();
    writeCoefficients();
    return 0;
  }
  if (!flags.all && names.length === 0) {
    say(usage);
    return 64;
  }
  removeAbandoned();
  const session =
    flags.all && !flags.fresh ? Session.open({ ...flags, commit: environment('.').commit }) : null;
  const wanted = flags.all ? [...scenarios.map(({ name }) => name), ...Object.keys(counts)] : names;
  let failures = 0;
  for (const name of wanted) {
    if (session?.isDone(name) === true) {
      say(`${name}: done before`);
      continue;
    }
    try {
      if (!(await runNamed(name))) failures++;
      session?.finish(name);
    } catch (error) {
      failures++;
      say(`${name}: failed: ${(error as Error).message}`);
    } finally {
      await stopAllSystems();
    }
  }
  if (flags.all) Session.forget();
  return failures === 0 ? 0 : 1;
}

/** @returns whether it ended as it should. */
async function runNamed(name: string): Promise<boolean> {
  if (name === 'micro') {
    for (const { group, name: what, opsPerSecond } of await runMicro())
      say(`${group}: ${what}: ${(1e9 / opsPerSecond).toFixed(0)} ns`);
    return true;
  }
  const count = counts[name];
  if (count !== undefined) {
    const { result, page } = await count.run(environment(tmpdir()), say);
    publish(result, page);
    return true;
  }
  const [scenarioName, variant] = name.split('/') as [string, string?];
  const scenario = scenarios.find((each) => each.name === scenarioName);
  if (scenario === undefined) throw new Error(`no such scenario; --list tells which there are`);
  const options = optionsFor(variant ?? null);
  const where = environment(tmpdir());
  const filled = flags.fill && !flags.quick ? fillMemory() : null;
  if (filled !== null) fills.add(filled.release);
  const given = new AbortController();
  try {
    const calibration = calibrationOf(scenario);
    const result = await within(
      secondsMax(scenario, options),
      `scenario ${name}`,
      runScenario(scenario, options, {
        environment: where,
        calibration,
        memoryFilledGb: (filled?.bytes ?? 0) / 1e9,
        say,
        signal: given.signal,
      }),
    );
    publish(result);
    say(verdictLine(result).replaceAll('**', ''));
    const complete = result.variants.every(({ failures }) => failures.length === 0);
    return complete && compare(result);
  } finally {
    given.abort(new Error('given up'));
    filled?.release();
    if (filled !== null) fills.delete(filled.release);
  }
}

function secondsMax(scenario: Scenario, options: HarnessOptions): number {
  const seconds = options.quick ? 10 : (options.seconds ?? scenario.seconds) + 60;
  const windows = scenario.variants.length * (2 + options.runs * options.systems.length);
  return scenarioSecondsSpare + 1.5 * seconds * windows;
}

const calibrations = new Map<string, Calibration>();
function calibrationOf({ places }: Scenario): Calibration {
  let found = calibrations.get(places.log);
  if (found === undefined) {
    say(`calibrating ${places.log === 'disk' ? 'disk' : 'tmpfs'}, memory and loopback`);
    found = calibrate(places.log, flags.quick ? 0.05 : 0.5);
    calibrations.set(places.log, found);
  }
  return found;
}

function publish(result: ScenarioResult, page?: string): void {
  if (flags.out === '-') {
    say(page ?? reportPage(result, plotsOf(result)));
    return;
  }
  say(`written: ${writeReport(result, flags.out, page)}/report.md`);
  writeIndex(flags.out);
  if (flags.out === reportsDirectory) writeCoefficients();
}

function compare(result: ScenarioResult): boolean {
  if (flags.compare === undefined) return true;
  const { lines, worse } = compareResults(readReport(flags.compare), result);
  for (const line of lines) say(line);
  for (const line of worse) say(`WORSE: ${line}`);
  return worse.length === 0;
}

// Nothing outlives this process: an exit ends what runs, and a signal is made an exit.
const fills = new Set<() => void>();
process.on('exit', () => {
  for (const release of fills) release();
  endAllSystems();
  removePlaces();
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));
process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 64;
});
// What a scenario that was given up left running must not keep this process.
process.exit();

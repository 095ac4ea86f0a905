/**
 * `npm run bench -- [options] SCENARIO[/VARIANT] …`: measures systems under scenarios and writes a report of each to
 * perf-reports/<date>-<scenario>/. Whatever was started is ended with this process, however that ends.
 */
import { availableParallelism, tmpdir } from 'node:os';
import { commandLine } from '../tools/command-line.ts';
import { runSeries, type Series } from './all.ts';
import { writeCoefficients } from './coefficients.ts';
import { counts } from './counts.ts';
import { type FilledMemory, fillMemory } from './fill-memory.ts';
import { endAllSystems, stopAllSystems } from './harness/bed.ts';
import { fitting, scenarioSeconds, type Thoroughness } from './harness/budget.ts';
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

const allMinutes = 90;
const usage = `npm run bench -- [options] SCENARIO[/VARIANT] ...

  --list          print scenarios and their variants
  --all           every scenario, one after the other, the most important first; begun again, it goes on behind what
                  ended and tries again what failed
  --fresh         with --all: begins anew
  --minutes M     with --all: windows, pairs and variants are as many as fit that (default ${allMinutes}); 0 = all as it is
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
  minutes: { type: 'string', default: String(allMinutes) },
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

function numberFlag(name: 'runs' | 'seconds' | 'threads' | 'minutes', least: number): number | null {
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
    pairs: flags.pair && !flags.quick ? 'all' : 'none',
    secondsFactor: 1,
    long: !flags.quick,
    ...thoroughness,
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
  if (!flags.all) return (await runSeries(seriesOf(names, null))).length === 0 ? 0 : 1;
  const minutes = numberFlag('minutes', 0) ?? 0;
  if (minutes > 0 && !flags.quick) thoroughness = fitting(scenarios, optionsFor(null), minutes);
  const { fresh, ...kind } = flags;
  const session = Session.open({ ...kind, commit: environment('.').commit });
  if (fresh) session.forget();
  if (!flags.quick) say(howThorough());
  const failed = await runSeries(
    seriesOf([...scenarios.map(({ name }) => name), ...Object.keys(counts)], session),
  );
  if (failed.length > 0) say(`failed: ${failed.join(', ')}; --all again tries these alone`);
  return failed.length === 0 ? 0 : 1;
}

function howThorough(): string {
  const { runs, secondsFactor, pairs, long } = optionsFor(null);
  const paired = { all: 'all variants have', held: 'what is held to a number has', none: 'no variant has' }[
    pairs
  ];
  return `${runs} runs each; windows of ${Math.round(secondsFactor * 100)} % of their length; ${paired} a pair of equal runs; ${long ? 'all variants' : 'without the long ones'}`;
}

/** How thoroughly, where that follows from a time. */
let thoroughness: Partial<Thoroughness> = {};

function seriesOf(wanted: readonly string[], session: Session | null): Series {
  return {
    names: wanted,
    session,
    async run(name) {
      try {
        return await runNamed(name);
      } catch (error) {
        say(`${name}: failed: ${(error as Error).message}`);
        return false;
      } finally {
        await stopAllSystems();
      }
    },
    expectedSeconds(name) {
      const scenario = scenarios.find((each) => each.name === name);
      return scenario === undefined ? 0 : scenarioSeconds(scenario, optionsFor(null));
    },
    now: () => performance.now() / 1000,
    say,
  };
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
  // Kept to the end: the next scenario fills what this one leaves free.
  const filled = flags.fill && !flags.quick ? fillMemory() : null;
  if (filled !== null) fills.push(filled);
  const given = new AbortController();
  try {
    const calibration = calibrationOf(scenario);
    const result = await within(
      secondsMax(scenario, options),
      `scenario ${name}`,
      runScenario(scenario, options, {
        environment: where,
        calibration,
        memoryFilledGb: fills.reduce((sum, { bytes }) => sum + bytes, 0) / 1e9,
        say,
        signal: given.signal,
      }),
    );
    publish(result);
    say(verdictLine(result).replaceAll('**', ''));
    const complete =
      result.variants.every(({ failures }) => failures.length === 0) &&
      options.systems.every((system) => result.facts[system] !== undefined);
    return compare(result) && complete;
  } finally {
    given.abort(new Error('given up'));
  }
}

function secondsMax(scenario: Scenario, options: HarnessOptions): number {
  return scenarioSecondsSpare + 4 * scenarioSeconds(scenario, options);
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
const fills: FilledMemory[] = [];
process.on('exit', () => {
  for (const fill of fills) fill.release();
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

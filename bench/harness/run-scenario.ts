/**
 * One scenario from calibration to result. All systems run at once and take turns; who has no turn is idle, and what it
 * left to be written is written before.
 *
 *   start ── warm up each ── for each variant: A A (the noise) ── A B B A A B …      one window each
 */
import { makeScratch } from '../systems/places.ts';
import type { SystemFacts, SystemName, SystemOptions } from '../systems/system.ts';
import { systemTitles } from '../systems/system.ts';
import { Bed } from './bed.ts';
import { measure, ownSystems } from './measure-table.ts';
import {
  busyBound,
  fullLengths,
  type HarnessOptions,
  type Lengths,
  noiseBound,
  quickLengths,
  quickSeconds,
  stealBound,
} from './options.ts';
import { requestsPerSecond } from './rates.ts';
import type { Scenario, Variant } from './scenario.ts';
import {
  type Calibration,
  type Environment,
  type Run,
  type ScenarioResult,
  schemaVersion,
  type VariantResult,
  type WarmUp,
} from './schema.ts';
import { settle } from './settle.ts';
import { figuresOf, median, pairedOrder } from './statistics.ts';
import { type WarmLoad, warmLoadDefault, warmUp } from './warm-up.ts';

export interface Surroundings {
  readonly environment: Environment;
  readonly calibration: Calibration;
  readonly memoryFilledGb: number;
  readonly say: (line: string) => void;
  /** Given up: nothing is started any more. */
  readonly signal: AbortSignal;
}

/** Rejects only where not even Millrace can be started. */
export async function runScenario(
  scenario: Scenario,
  options: HarnessOptions,
  around: Surroundings,
): Promise<ScenarioResult> {
  const run = new ScenarioRun(scenario, options, around);
  try {
    return await run.whole();
  } finally {
    await run.end();
  }
}

class ScenarioRun {
  readonly #scenario: Scenario;
  readonly #options: HarnessOptions;
  readonly #around: Surroundings;
  readonly #lengths: Lengths;
  readonly #scratch = makeScratch();
  readonly #beds = new Map<SystemName, Bed>();
  readonly #facts: Partial<Record<SystemName, SystemFacts>> = {};
  readonly #warmUps: WarmUp[] = [];
  readonly #variants: VariantResult[] = [];
  readonly #skipped: string[] = [];

  constructor(scenario: Scenario, options: HarnessOptions, around: Surroundings) {
    this.#scenario = scenario;
    this.#options = options;
    this.#around = around;
    this.#lengths = options.quick ? quickLengths : fullLengths;
  }

  async whole(): Promise<ScenarioResult> {
    const scenario = this.#scenario;
    this.#skipped.push(...this.#around.calibration.missing);
    const variants = this.#wantedVariants();
    for (const name of this.#options.systems) {
      try {
        await this.#start(name);
      } catch (error) {
        if (name === 'millrace') throw error;
        this.#skipped.push(`${systemTitles[name]}: ${(error as Error).message.split('\n')[0]}`);
      }
    }
    for (const variant of variants) this.#variants.push(await this.#measureVariant(variant));
    return {
      schema: schemaVersion,
      scenario: scenario.name,
      title: scenario.title,
      what: scenario.what,
      environment: this.#around.environment,
      calibration: this.#around.calibration,
      options: {
        quick: this.#options.quick,
        runs: this.#options.runs,
        seconds: this.#seconds(null),
        threads: this.#options.threads,
        places: scenario.places,
        memoryFilledGb: this.#around.memoryFilledGb,
      },
      noiseBound,
      stealBound,
      busyBound,
      facts: this.#facts,
      warmUps: this.#warmUps,
      variants: this.#variants,
      skipped: this.#skipped,
    };
  }

  async end(): Promise<void> {
    await Promise.allSettled([...this.#beds.values()].map((bed) => bed.stop()));
    this.#scratch.remove();
  }

  /** What stands on others' shares needs those too. */
  #wantedVariants(): Variant[] {
    const { variants } = this.#scenario;
    const { variant: part, quick } = this.#options;
    const exact = variants.some(({ name }) => name === part);
    const named = variants.filter(({ name, long }) => {
      if (part === null) return !(quick && long === true);
      return exact ? name === part : name.includes(part);
    });
    const needed = new Set(
      named.flatMap((each) => ('rate' in each && each.rate.kind === 'share' ? [each.rate.of] : [])),
    );
    return variants.filter((each) => named.includes(each) || needed.has(each.name));
  }

  #seconds(variant: Variant | null): number {
    const { quick, seconds } = this.#options;
    if (quick) return seconds ?? quickSeconds;
    return (seconds ?? this.#scenario.seconds) * (variant?.secondsFactor ?? 1);
  }

  #systemOptions(): SystemOptions {
    const { places, settings, tls } = this.#scenario;
    return { places, settings: settings ?? {}, tls: tls ?? false, threads: this.#options.threads };
  }

  async #start(name: SystemName): Promise<Bed> {
    this.#around.signal.throwIfAborted();
    const bed = await Bed.start(name, this.#systemOptions());
    this.#beds.set(name, bed);
    this.#facts[name] = bed.system.facts;
    this.#say(`${systemTitles[name]} is ready after ${bed.system.readyMs.toFixed(0)} ms`);
    return bed;
  }

  /** The bed for the next run: empty directories where it has filled its place, dead ones made anew, warm. */
  async #readyBed(name: SystemName, variant: Variant, remarks: string[]): Promise<Bed> {
    let bed = this.#beds.get(name)!;
    const dead = !isAlive(bed.system.pid);
    if (dead || bed.full) {
      remarks.push(
        dead ? 'started anew: it had ended' : 'started anew with empty directories: its place was filled',
      );
      await bed.stop();
      bed = await this.#start(name);
    }
    if (!bed.warm && !ownSystems.has(variant.kind)) {
      const warm = await warmUp(bed, this.#warmLoad(), this.#lengths, this.#scratch.path);
      this.#warmUps.push(warm);
      this.#say(
        `${systemTitles[name]} was warmed for ${warm.seconds.toFixed(0)} s, ${warm.agreed ? 'windows agree' : `windows differ by ${(warm.lastDifference * 100).toFixed(0)} % still`}`,
      );
    }
    return bed;
  }

  /** Of the same kind as what is measured. */
  #warmLoad(): WarmLoad {
    const load = this.#scenario.variants.find((variant) => variant.kind === 'load');
    return load === undefined
      ? warmLoadDefault
      : { connections: load.connections, depth: load.depth, batch: load.batch };
  }

  async #measureVariant(variant: Variant): Promise<VariantResult> {
    const systems = [...this.#beds.keys()].filter((name) => variant.only?.includes(name) ?? true);
    const runs: Run[] = [];
    const failures: { system: SystemName; error: string }[] = [];
    const options = this.#options;
    const order: { name: SystemName; part: Run['part'] }[] = [];
    if (options.pairFirst && systems.includes('millrace'))
      order.push({ name: 'millrace', part: 'aa' }, { name: 'millrace', part: 'aa' });
    for (const name of pairedOrder(systems, options.runs)) order.push({ name, part: 'ab' });
    for (const [place, { name, part }] of order.entries()) {
      if (failures.some(({ system }) => system === name)) continue;
      const last = part === 'ab' && !order.slice(place + 1).some((later) => later.name === name);
      try {
        const run = await this.#measureRun(variant, name, last);
        runs.push({ ...run, system: name, part, place });
      } catch (error) {
        failures.push({ system: name, error: (error as Error).message.split('\n')[0]! });
        this.#say(
          `${this.#scenario.name}/${variant.name}, ${systemTitles[name]}: failed: ${(error as Error).message}`,
        );
      }
    }
    const { name, title, tracked } = variant;
    const result = { name, title, tracked, shows: variant.shows, runs, failures };
    this.#sayVariant(variant, result);
    return result;
  }

  async #measureRun(
    variant: Variant,
    name: SystemName,
    verifies: boolean,
  ): Promise<Omit<Run, 'system' | 'part' | 'place'>> {
    this.#around.signal.throwIfAborted();
    const remarks: string[] = [];
    const bed = await this.#readyBed(name, variant, remarks);
    const before = await settle([...this.#beds.values()], this.#lengths.settleSecondsMax);
    if (!before.idle) remarks.push('a system was not idle before this run');
    const measured = await measure({
      scenario: this.#scenario,
      variant,
      bed,
      options: this.#options,
      lengths: this.#lengths,
      seconds: this.#seconds(variant),
      calibration: this.#around.calibration,
      directory: this.#scratch.path,
      verifies,
      rate: (rate, batchBytes) =>
        requestsPerSecond(rate, batchBytes, {
          variants: this.#variants,
          calibration: this.#around.calibration,
        }),
    });
    return { ...measured, busyBefore: before.busyShare, remarks: [...remarks, ...measured.remarks] };
  }

  #say(line: string): void {
    this.#around.say(line);
  }

  #sayVariant(variant: Variant, { runs }: VariantResult): void {
    for (const name of this.#beds.keys()) {
      const shown = variant.shows
        .map((figure) => [figure, figuresOf(runs, name, figure)] as const)
        .filter(([, values]) => values.length > 0)
        .map(([figure, values]) => `${figure} ${Number(median(values).toPrecision(4))}`);
      if (shown.length > 0)
        this.#say(`${this.#scenario.name}/${variant.name}, ${systemTitles[name]}: ${shown.join(', ')}`);
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

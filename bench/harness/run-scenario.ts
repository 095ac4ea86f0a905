/**
 * One scenario from calibration to result. All systems run at once and take turns; who has no turn is idle, and what it
 * left to be written is written before.
 *
 *   start ── warm up each ── for each variant: A A (the noise) ── A B B A A B …      one window each
 */

import { shapeOf } from '../clients/batch-pool.ts';
import { makeScratch } from '../systems/places.ts';
import type { SystemFacts, SystemName, SystemOptions } from '../systems/system.ts';
import { systemTitles } from '../systems/system.ts';
import { Bed } from './bed.ts';
import { hasPair, wantedVariants, windowSeconds } from './budget.ts';
import { measure } from './measure-table.ts';
import type { Measured } from './measures.ts';
import {
  busyBound,
  fullLengths,
  type HarnessOptions,
  type Lengths,
  noiseBound,
  quickLengths,
  stealBound,
} from './options.ts';
import { requestsPerSecond } from './rates.ts';
import { ownSystems, type Scenario, type Variant } from './scenario.ts';
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
import { untilWarm, type WarmLoad, warmByLoad, warmLoadOf } from './warm-up.ts';

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

/** Where nothing of a scenario's own can warm. */
const warmLoadDefault: WarmLoad = { connections: 16, depth: 2, partitions: 1, batch: shapeOf(64 * 1024, 16) };

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
    const variants = wantedVariants(scenario, this.#options);
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
        seconds: windowSeconds(scenario, null, this.#options),
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
      const warm = await this.#warm(bed);
      this.#warmUps.push(warm);
      this.#say(
        `${systemTitles[name]} was warmed for ${warm.seconds.toFixed(0)} s, ${warm.agreed ? 'windows agree' : `windows differ by ${(warm.lastDifference * 100).toFixed(0)} % still`}`,
      );
    }
    return bed;
  }

  /** By load of the same kind as what is measured. */
  async #warm(bed: Bed): Promise<WarmUp> {
    const lengths = this.#lengths;
    const { variants } = this.#scenario;
    const own = variants.find(
      ({ kind }) => kind === 'idle' || kind === 'metadata' || kind === 'transactions',
    );
    const runSeconds = lengths.leadSeconds + windowSeconds(this.#scenario, null, this.#options);
    if (own !== undefined)
      return untilWarm(bed, runSeconds, lengths, async () => {
        const { figures } = await this.#carryOut(own, bed, lengths.warmWindowSeconds, false);
        const { requestsPerSecond: perSecond = 0, cpuUsPerRequest = 0 } = figures;
        return { perSecond, cpuSecondsEach: cpuUsPerRequest / 1e6, bytes: 0, bytesPerSecond: 0 };
      });
    const load = variants.find((variant) => variant.kind === 'load');
    const warmLoad = load === undefined ? warmLoadDefault : warmLoadOf(load);
    return warmByLoad(bed, warmLoad, runSeconds, lengths, this.#scratch.path);
  }

  async #measureVariant(variant: Variant): Promise<VariantResult> {
    const systems = [...this.#beds.keys()].filter((name) => variant.only?.includes(name) ?? true);
    const runs: Run[] = [];
    const failures: { system: SystemName; error: string }[] = [];
    const options = this.#options;
    const order: { name: SystemName; part: Run['part'] }[] = [];
    if (hasPair(variant, options) && systems.includes('millrace'))
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
    const seconds = windowSeconds(this.#scenario, variant, this.#options);
    const measured = await this.#carryOut(variant, bed, seconds, verifies);
    return { ...measured, busyBefore: before.busyShare, remarks: [...remarks, ...measured.remarks] };
  }

  #carryOut(variant: Variant, bed: Bed, seconds: number, verifies: boolean): Promise<Measured> {
    return measure({
      scenario: this.#scenario,
      variant,
      bed,
      options: this.#options,
      lengths: this.#lengths,
      seconds,
      calibration: this.#around.calibration,
      directory: this.#scratch.path,
      verifies,
      rate: (rate, batchBytes) =>
        requestsPerSecond(rate, batchBytes, {
          variants: this.#variants,
          calibration: this.#around.calibration,
        }),
    });
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

/** Whether a result may be believed: what makes it doubtful is said in the first line of its report. Pure. */

import { figureSpecs } from '../harness/figures.ts';
import { noiseBoundOf } from '../harness/options.ts';
import type { Run, ScenarioResult, Tracked, VariantResult } from '../harness/schema.ts';
import { figuresOf, median, noiseOf, ratioOf } from '../harness/statistics.ts';

export function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

export function titleOf(figure: string): string {
  return (figureSpecs as Readonly<Record<string, { readonly title: string }>>)[figure]?.title ?? figure;
}

/** Reasons for doubt, each a clause; empty = none. */
export function doubts(result: ScenarioResult): string[] {
  if (result.counted === true) return [];
  const reasons: string[] = [];
  if (result.options.quick)
    reasons.push('a quick run, which shows that everything works and compares nothing');
  const runs = result.variants.flatMap((variant) => variant.runs);
  const steal = Math.max(0, ...runs.map(({ usage }) => usage?.stealShare ?? 0));
  if (steal > result.stealBound) reasons.push(`the host took up to ${percent(steal)} of the processors away`);
  const busy = runs.filter(({ busyBefore }) => busyBefore > result.busyBound).length;
  if (busy > 0) reasons.push(`the machine was busy with other things before ${busy} of ${runs.length} runs`);
  if (result.data !== undefined && result.environment.loadBefore > 0.5)
    reasons.push(`the machine was busy before (load ${result.environment.loadBefore})`);
  const noisy = result.variants.flatMap((variant) =>
    variant.tracked
      .map(({ figure }) => ({ figure, noise: noiseOf(variant.runs, figure) ?? 0 }))
      .filter(({ figure, noise }) => noise > noiseBoundOf(figure))
      .map(({ figure, noise }) => `${variant.name}: ${titleOf(figure)} ${percent(noise)}`),
  );
  if (noisy.length > 0)
    reasons.push(
      `pairs of equal runs differ by more than their bound (${noisy.slice(0, 4).join('; ')}${noisy.length > 4 ? '; …' : ''})`,
    );
  const cold = result.warmUps.filter(({ agreed }) => !agreed);
  if (cold.length > 0)
    reasons.push(
      `not warm when the time was up: ${[...new Set(cold.map(({ system }) => system))].join(', ')}`,
    );
  const lost = runs.filter(({ loss }) => loss !== null && (loss.error !== null || loss.shortPartitions > 0));
  if (lost.length > 0) reasons.push(`LOSS: ${lost.length} runs could not show all that was acknowledged`);
  const failed = result.variants.filter(({ failures }) => failures.length > 0);
  if (failed.length > 0) reasons.push(`without a result: ${failed.map(({ name }) => name).join(', ')}`);
  const few = result.variants.some(({ runs: each }) => each.length > 0 && runsEach(each) < 3);
  if (few && !result.options.quick) reasons.push('fewer than three runs each');
  return reasons;
}

function runsEach(runs: readonly Run[]): number {
  const counts = new Map<string, number>();
  for (const { system, part } of runs) if (part === 'ab') counts.set(system, (counts.get(system) ?? 0) + 1);
  return Math.min(...counts.values());
}

/** The first line of a report. */
export function verdictLine(result: ScenarioResult): string {
  const reasons = doubts(result);
  const runs = result.variants.flatMap((variant) => variant.runs);
  const steal = Math.max(0, ...runs.map(({ usage }) => usage?.stealShare ?? 0));
  if (reasons.length > 0) return `**Doubtful:** ${reasons.join('; ')}.`;
  const noises = result.variants.flatMap((variant) =>
    variant.tracked.flatMap(({ figure }) => noiseOf(variant.runs, figure) ?? []),
  );
  const most = noises.length === 0 ? 'not measured' : `at most ${percent(Math.max(...noises))}`;
  return `Steal at most ${percent(steal)}; equal runs differ by ${most}, within their bounds.`;
}

export interface TrackedValue {
  readonly variant: string;
  readonly tracked: Tracked;
  /** Ratio to Apache Kafka, or the number itself; null = not measured. */
  readonly value: number | null;
  /** Of the pair of equal runs; null = none was made. */
  readonly noise: number | null;
  readonly reaches: 'goal' | 'floor' | 'misses' | 'untold';
}

export function trackedValues(result: ScenarioResult): TrackedValue[] {
  const { quick } = result.options;
  return result.variants.flatMap((variant) =>
    variant.tracked.map((tracked) => trackedValue(variant, tracked, quick)),
  );
}

/** A quick run judges nothing. */
function trackedValue(variant: VariantResult, tracked: Tracked, quick: boolean): TrackedValue {
  const { figure, against, better, floor, goal } = tracked;
  const own = figuresOf(variant.runs, 'millrace', figure);
  const value =
    against === 'kafka' ? ratioOf(variant.runs, figure, 'kafka') : own.length === 0 ? null : median(own);
  const meets = (bound: number | null): boolean =>
    value !== null && bound !== null && (better === 'lower' ? value <= bound : value >= bound);
  const untold = quick || value === null || (floor === null && goal === null);
  const reaches = untold ? 'untold' : meets(goal) ? 'goal' : meets(floor) ? 'floor' : 'misses';
  return { variant: variant.name, tracked, value, noise: noiseOf(variant.runs, figure), reaches };
}

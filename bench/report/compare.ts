/** Compares two results of one scenario: what is tracked must not become worse than the noise of both explains. Pure. */
import type { ScenarioResult } from '../harness/schema.ts';
import { gain, halfSpread } from '../harness/statistics.ts';
import { percent, type TrackedValue, titleOf, trackedValues } from './verdict.ts';

export interface Comparison {
  readonly lines: readonly string[];
  /** What became worse, each a sentence. */
  readonly worse: readonly string[];
}

/** A difference that nobody need talk about, where no noise is known or it is next to none. */
const noiseLeast = 0.02;

export function compareResults(before: ScenarioResult, now: ScenarioResult): Comparison {
  if (before.scenario !== now.scenario)
    throw new Error(`${before.scenario} cannot be compared with ${now.scenario}`);
  const known = new Map(trackedValues(before).map((value) => [keyOf(value), value]));
  const lines: string[] = [];
  const worse: string[] = [];
  for (const value of trackedValues(now)) {
    const then = known.get(keyOf(value));
    const { variant, tracked } = value;
    const what = `${variant}: ${titleOf(tracked.figure)}${tracked.against === 'kafka' ? ' to Kafka’s' : ''}`;
    if (then?.value == null) continue;
    if (value.value === null) {
      worse.push(`${what} was ${then.value.toPrecision(3)} and is not measured any more`);
      continue;
    }
    const by = gain(tracked, then.value, value.value);
    const noise = Math.max(noiseLeast, noiseWithin(before, then), noiseWithin(now, value));
    const line = `${what}: ${then.value.toPrecision(3)} → ${value.value.toPrecision(3)} (${by >= 0 ? 'better' : 'worse'} by ${percent(Math.abs(by))}, noise ${percent(noise)})`;
    lines.push(line);
    if (by < -noise) worse.push(line);
  }
  return { lines, worse };
}

function keyOf({ variant, tracked }: TrackedValue): string {
  return `${variant} ${tracked.figure} ${tracked.against}`;
}

/** The pair's difference, or what runs of either system are apart. */
function noiseWithin(result: ScenarioResult, value: TrackedValue): number {
  const runs = result.variants.find(({ name }) => name === value.variant)?.runs ?? [];
  const { figure, against } = value.tracked;
  const others = against === 'kafka' ? halfSpread(runs, 'kafka', figure) : 0;
  return Math.max(value.noise ?? 0, halfSpread(runs, 'millrace', figure), others);
}

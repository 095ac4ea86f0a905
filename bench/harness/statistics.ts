/** Medians, spreads, noise and agreement of measured numbers. Pure. */
import type { Run, Spread, Tracked } from './schema.ts';

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function spread(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  return { min: Math.min(...values), median: median(values), max: Math.max(...values) };
}

/** |a − b| in terms of their mean; 0 for two zeros. */
export function difference(a: number, b: number): number {
  const mean = (Math.abs(a) + Math.abs(b)) / 2;
  return mean === 0 ? 0 : Math.abs(a - b) / mean;
}

/** Whether the two last of some windows differ by no more than `bound` in every number. */
export function agree(windows: readonly (readonly number[])[], bound: number): boolean {
  return lastDifference(windows) <= bound;
}

/** The largest difference of the two last windows; infinite before there are two. */
export function lastDifference(windows: readonly (readonly number[])[]): number {
  const [before, last] = windows.slice(-2);
  if (before === undefined || last === undefined) return Number.POSITIVE_INFINITY;
  return Math.max(...last.map((value, i) => difference(value, before[i]!)));
}

/**
 * The order in which systems take turns: A B B A A B B A …, so that neither always comes first and a drift of the machine
 * meets both alike. @returns names, each `runs` times.
 */
export function pairedOrder<Name>(names: readonly Name[], runs: number): Name[] {
  const order: Name[] = [];
  for (let run = 0; run < runs; run++) order.push(...(run % 2 === 0 ? names : [...names].reverse()));
  return order;
}

export function figuresOf(
  runs: readonly Run[],
  system: string,
  figure: string,
  part: Run['part'] = 'ab',
): number[] {
  return runs
    .filter((run) => run.system === system && run.part === part)
    .flatMap(({ figures }) => figures[figure] ?? [])
    .filter(Number.isFinite);
}

/** How much a figure differs between two runs of the same thing: the pair made for it, null where there is none. */
export function noiseOf(runs: readonly Run[], figure: string): number | null {
  const pair = figuresOf(runs, 'millrace', figure, 'aa');
  return pair.length < 2 ? null : difference(pair[0]!, pair[1]!);
}

/** Half of what the runs of a system are apart, in terms of their median. */
export function halfSpread(runs: readonly Run[], system: string, figure: string): number {
  const found = spread(figuresOf(runs, system, figure));
  return found === null || found.median === 0 ? 0 : (found.max - found.min) / 2 / Math.abs(found.median);
}

/** Millrace's median in terms of the other system's; null where one has none. */
export function ratioOf(runs: readonly Run[], figure: string, other: string): number | null {
  const own = figuresOf(runs, 'millrace', figure);
  const others = figuresOf(runs, other, figure);
  if (own.length === 0 || others.length === 0 || median(others) === 0) return null;
  return median(own) / median(others);
}

/** By how much a ratio is better than another: 0.1 = by a tenth, negative = worse. */
export function gain(tracked: Pick<Tracked, 'better'>, before: number, now: number): number {
  return tracked.better === 'lower' ? before / now - 1 : now / before - 1;
}

/** Latency distributions as HDR histograms of microseconds, three significant digits, up to ten minutes. */
import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
} from 'hdr-histogram-js';
import type { LatencyPairs } from '../clients/plan.ts';

const highestUs = 600_000_000;

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** HDR histogram V2, compressed, base64. */
  readonly histogram: string;
}

function emptyHistogram(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: highestUs,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 64,
    useWebAssembly: false,
  });
}

/** Null for no latency at all. */
export function summarize(pairs: LatencyPairs): LatencySummary | null {
  const histogram = emptyHistogram();
  for (const [nanos, count] of pairs)
    histogram.recordValueWithCount(Math.min(highestUs, Math.max(1, Math.round(nanos / 1000))), count);
  if (histogram.totalCount === 0) return null;
  const at = (percentile: number): number => histogram.getValueAtPercentile(percentile) / 1000;
  return {
    count: histogram.totalCount,
    meanMs: histogram.mean / 1000,
    p50Ms: at(50),
    p90Ms: at(90),
    p99Ms: at(99),
    p999Ms: at(99.9),
    maxMs: histogram.maxValue / 1000,
    histogram: encodeIntoCompressedBase64(histogram),
  };
}

/** What `after` counted more than `before`, both of one load. */
export function pairsBetween(before: LatencyPairs, after: LatencyPairs): LatencyPairs {
  const known = new Map(before);
  return after
    .map(([nanos, count]) => [nanos, count - (known.get(nanos) ?? 0)] as const)
    .filter(([, count]) => count > 0);
}

/** Milliseconds at each percentile. */
export function percentilesOf(summary: LatencySummary, percentiles: readonly number[]): number[] {
  const histogram = decodeFromCompressedBase64(summary.histogram, 64, false);
  return percentiles.map((percentile) => histogram.getValueAtPercentile(percentile) / 1000);
}

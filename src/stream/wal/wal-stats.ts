/**
 * What a WAL writer counts. Plain numbers in typed arrays: updating costs nothing worth naming, reading is a copy of
 * nothing. Histogram bucket i counts values in [2^i, 2^(i+1)); bucket 0 also holds 0.
 */
export const histogramBuckets = 32;

export class WalStats {
  commits = 0;
  pads = 0;
  batches = 0;
  /** Batches' bytes as appended. */
  payloadBytes = 0;
  /** Bytes that went to the volume, all kinds of writes. */
  writtenBytes = 0;
  superblocks = 0;
  growSlices = 0;
  /** Time in commit writes, milliseconds. */
  commitMs = 0;
  /** Times that the writer had work and no ring space. */
  stalls = 0;
  lingers = 0;
  /** Commit write latency in microseconds. */
  readonly writeMicros = new Float64Array(histogramBuckets);
  /** Batches per commit. */
  readonly groupSize = new Float64Array(histogramBuckets);

  commit(batches: number, payloadBytes: number, ms: number): void {
    this.commits++;
    this.batches += batches;
    this.payloadBytes += payloadBytes;
    this.commitMs += ms;
    this.writeMicros[bucketOf(ms * 1000)]!++;
    this.groupSize[bucketOf(batches)]!++;
  }
}

export function bucketOf(value: number): number {
  const whole = Math.min(Math.max(1, Math.floor(value)), 0x7fffffff);
  return 31 - Math.clz32(whole);
}

/** Upper edge of the bucket below which the share `q` (0–1) of the values lies; 0 without values. */
export function quantile(histogram: Float64Array, q: number): number {
  let total = 0;
  for (const n of histogram) total += n;
  let left = total * q;
  for (let i = 0; i < histogram.length; i++) {
    left -= histogram[i]!;
    if (histogram[i]! > 0 && left <= 0) return 2 ** (i + 1);
  }
  return 0;
}

/**
 * Decides how long a writer waits for company before it writes a small commit. Nothing when idle or when each commit
 * carries one append only (a lone client that waits for its answer gains nothing); under concurrent load until as many
 * are waiting as the observed rate promises within the setting, never longer than the setting.
 */
const windowMs = 20;
/** A group of this size amortises a write well enough. */
const groupEnough = 128;
/** So does this much payload. */
const bytesEnough = 128 * 1024;

export class AdaptiveLinger {
  readonly #maxMs: number;
  /** Appends per millisecond, group size and batch size: moving averages. */
  #rate = 0;
  #group = 1;
  #batchBytes = 0;
  #lastAt: number;
  /** When the append that waits longest was first seen; -1 = none waits. */
  #since = -1;
  /** After writeAt has named a later time: as many waiting are enough to write at once. */
  enough = 0;

  constructor(maxMs: number, nowMs: number) {
    this.#maxMs = maxMs;
    this.#lastAt = nowMs;
  }

  /** A commit of `count` batches and `bytes` has been taken. */
  took(count: number, bytes: number, nowMs: number): void {
    const elapsed = Math.max(nowMs - this.#lastAt, 0.01);
    const weight = 1 - Math.exp(-elapsed / windowMs);
    this.#rate += weight * (count / elapsed - this.#rate);
    this.#group += (count - this.#group) / 8;
    this.#batchBytes += (bytes / count - this.#batchBytes) / 8;
    this.#lastAt = nowMs;
    this.#since = -1;
  }

  /** Time at which `waiting` appends should be written: now, or the end of the linger. */
  writeAt(waiting: number, nowMs: number): number {
    if (this.#since < 0) this.#since = nowMs;
    if (this.#maxMs <= 0 || this.#group < 1.5) return nowMs;
    const rate = this.#rate * Math.exp(-(nowMs - this.#lastAt) / windowMs);
    const expected = Math.min(rate * this.#maxMs, groupEnough);
    if (waiting >= expected || waiting * this.#batchBytes >= bytesEnough) return nowMs;
    this.enough = Math.ceil(Math.min(expected, bytesEnough / this.#batchBytes));
    return Math.max(nowMs, this.#since + this.#maxMs);
  }
}

/**
 * A budget per second on the injected clock's time. A spender may overdraw once and then waits until the debt is
 * paid, so one commit larger than the burst still goes out. Saved-up tokens are bounded by `burstMs` of the rate.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at: number;

  /** @param perSecond Infinity = no limit. */
  constructor(perSecond: number, nowMs: number, burstMs = 50) {
    this.#perMs = perSecond / 1000;
    this.#burst = Math.max(1, this.#perMs * burstMs);
    this.#tokens = this.#burst;
    this.#at = nowMs;
  }

  /** Time at which the next operation may start: now or later. */
  readyAt(nowMs: number): number {
    this.#refill(nowMs);
    if (this.#perMs === Number.POSITIVE_INFINITY || this.#tokens > 0) return nowMs;
    // A hundredth of a millisecond more, so that rounding never leaves the bucket at zero when its time has come.
    return nowMs - this.#tokens / this.#perMs + 0.01;
  }

  spend(tokens: number): void {
    if (this.#perMs !== Number.POSITIVE_INFINITY) this.#tokens -= tokens;
  }

  #refill(nowMs: number): void {
    if (nowMs <= this.#at) return;
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#at) * this.#perMs);
    this.#at = nowMs;
  }
}

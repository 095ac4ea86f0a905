/**
 * How much cold reads may take from the store per second: requests and bytes, each a bucket that holds a tenth of a
 * second's worth. A request begins when neither bucket is empty and may leave a debt, which the following ones wait for;
 * so one larger than a bucket gets through, and the rate holds all the same. One thread; its share of the broker's.
 */
import type { Clock } from '../../ports/clock.ts';

export interface ReadBudgetLimits {
  /** 0 = as many as it takes. */
  readonly requestsPerSecond: number;
  /** 0 = as many as it takes. */
  readonly bytesPerSecond: number;
}

const burstSeconds = 0.1;

class Bucket {
  readonly #perMs: number;
  readonly #size: number;
  #tokens: number;
  #at: number;

  constructor(perSecond: number, now: number) {
    this.#perMs = perSecond / 1000;
    this.#size = Math.max(1, perSecond * burstSeconds);
    this.#tokens = this.#size;
    this.#at = now;
  }

  /** Ms until it is not empty. */
  waitMs(now: number): number {
    this.#tokens = Math.min(this.#size, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
    // A whole token, or what rounding leaves of one.
    return this.#tokens > 1 - 1e-6 ? 0 : Math.max(1, (1 - this.#tokens) / this.#perMs);
  }

  take(n: number): void {
    this.#tokens -= n;
  }
}

export class ReadBudget {
  readonly #clock: Clock;
  readonly #buckets: { readonly requests: Bucket | null; readonly bytes: Bucket | null };

  constructor(clock: Clock, limits: ReadBudgetLimits) {
    this.#clock = clock;
    const now = clock.monotonic();
    const { requestsPerSecond, bytesPerSecond } = limits;
    this.#buckets = {
      requests: requestsPerSecond === 0 ? null : new Bucket(requestsPerSecond, now),
      bytes: bytesPerSecond === 0 ? null : new Bucket(bytesPerSecond, now),
    };
  }

  /** Ms until a request may begin; 0 = now. */
  waitMs(): number {
    const now = this.#clock.monotonic();
    const { requests, bytes } = this.#buckets;
    return Math.max(requests?.waitMs(now) ?? 0, bytes?.waitMs(now) ?? 0);
  }

  /** Counts one request, whether it waited or could not. */
  take(bytes: number): void {
    this.#buckets.requests?.take(1);
    this.#buckets.bytes?.take(bytes);
  }
}

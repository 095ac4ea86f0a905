/**
 * How much cold reads may take from the store per second: requests and bytes. A request begins when neither bucket is
 * empty and may leave a debt, which the following ones wait for; so one larger than a bucket gets through, and the rate
 * holds all the same. A tenth of a second's worth is saved up at most. One thread; its share of the broker's.
 */
import type { Clock } from '../../ports/clock.ts';
import { TokenBucket } from '../wal/token-bucket.ts';

export interface ReadBudgetLimits {
  /** 0 = as many as it takes. */
  readonly requestsPerSecond: number;
  /** 0 = as many as it takes. */
  readonly bytesPerSecond: number;
}

const burstMs = 100;

export class ReadBudget {
  readonly #clock: Clock;
  readonly #requests: TokenBucket;
  readonly #bytes: TokenBucket;

  constructor(clock: Clock, limits: ReadBudgetLimits) {
    this.#clock = clock;
    const bucket = (perSecond: number) =>
      new TokenBucket(perSecond === 0 ? Number.POSITIVE_INFINITY : perSecond, clock.monotonic(), burstMs);
    this.#requests = bucket(limits.requestsPerSecond);
    this.#bytes = bucket(limits.bytesPerSecond);
  }

  /** Ms until a request may begin; 0 = now. */
  waitMs(): number {
    const now = this.#clock.monotonic();
    return Math.max(this.#requests.readyAt(now), this.#bytes.readyAt(now)) - now;
  }

  /** Counts one request, whether it waited or could not. */
  take(bytes: number): void {
    this.#requests.spend(1);
    this.#bytes.spend(bytes);
  }
}

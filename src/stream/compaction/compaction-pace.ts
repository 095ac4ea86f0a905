/**
 * The budget of compaction: bytes over the wire in both directions, and requests, per second. One per thread that
 * compacts. A request larger than what is saved up goes out and the next one waits, so nothing is ever too large to go.
 */
import type { Clock } from '../../ports/clock.ts';
import { TokenBucket } from '../wal/token-bucket.ts';

export interface CompactionRates {
  /** Infinity = no limit. */
  readonly bytesPerSecond: number;
  readonly requestsPerSecond: number;
}

/** Requests saved up: a burst of a second's worth does no harm. */
const burstMs = 1_000;

export class CompactionPace {
  readonly #clock: Clock;
  readonly #bytes: TokenBucket;
  readonly #requests: TokenBucket;
  #line: Promise<void> = Promise.resolve();

  constructor(clock: Clock, rates: CompactionRates) {
    this.#clock = clock;
    this.#bytes = new TokenBucket(rates.bytesPerSecond, clock.monotonic(), burstMs);
    this.#requests = new TokenBucket(rates.requestsPerSecond, clock.monotonic(), burstMs);
  }

  /** Resolves when a request of so many bytes may go; first come first served. */
  readonly wait = (bytes: number): Promise<void> => {
    this.#line = this.#line.then(async () => {
      for (;;) {
        const now = this.#clock.monotonic();
        const at = Math.max(this.#bytes.readyAt(now), this.#requests.readyAt(now));
        if (at <= now) break;
        await new Promise<void>((resolve) => this.#clock.after(at - now, resolve));
      }
      this.#bytes.spend(bytes);
      this.#requests.spend(1);
    });
    return this.#line;
  };
}

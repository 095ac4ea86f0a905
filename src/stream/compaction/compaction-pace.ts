/**
 * The budget of compaction: bytes over the wire in both directions, and requests, per second. One per thread that
 * compacts. A request larger than what is saved up goes out and the next one waits, so nothing is ever too large to go.
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import { TokenBucket } from '../wal/token-bucket.ts';

export interface CompactionRates {
  /** Infinity = no limit. */
  readonly bytesPerSecond: number;
  readonly requestsPerSecond: number;
}

/** Requests saved up: a burst of a second's worth does no harm. */
const burstMs = 1_000;
const lookMs = 200;

export class CompactionPace {
  readonly #clock: Clock;
  readonly #bytes: TokenBucket;
  readonly #requests: TokenBucket;
  #line: Promise<void> = Promise.resolve();

  readonly #stopped: () => boolean;

  /** @param stopped once it says so every wait rejects with COMPACTION_STOPPED. */
  constructor(clock: Clock, rates: CompactionRates, stopped: () => boolean) {
    this.#clock = clock;
    this.#stopped = stopped;
    this.#bytes = new TokenBucket(rates.bytesPerSecond, clock.monotonic(), burstMs);
    this.#requests = new TokenBucket(rates.requestsPerSecond, clock.monotonic(), burstMs);
  }

  /** Resolves when a request of so many bytes may go; first come first served. */
  readonly wait = (bytes: number): Promise<void> => {
    const turn = this.#line.then(() => this.#wait(bytes));
    this.#line = turn.catch(() => {});
    return turn;
  };

  async #wait(bytes: number): Promise<void> {
    for (;;) {
      if (this.#stopped())
        throw new MillraceError('unavailable', 'COMPACTION_STOPPED', 'the broker stops: no more compaction');
      const now = this.#clock.monotonic();
      const pause = Math.max(this.#bytes.readyAt(now), this.#requests.readyAt(now)) - now;
      if (pause <= 0) break;
      // Not in one piece, so that a stop is noticed.
      await new Promise<void>((resolve) => this.#clock.after(Math.min(pause, lookMs), resolve));
    }
    this.#bytes.spend(bytes);
    this.#requests.spend(1);
  }
}

/**
 * How fast an upload goes out, so that tail traffic keeps the wire: about as fast as records come in, faster the nearer
 * the delta is to the point where producers are slowed, unpaced at a stop. Pure arithmetic and a pacer over a clock.
 *
 *      0            D (delta)                      slowed from here          full
 *      ├────────────┼──────────────────────────────┼─────────────────────────┤
 *                   └── room ──────────────────────┘
 *      seconds until slowed = room / ingest; what is left must be out in 0.8 of them
 */
import type { Clock } from '../../ports/clock.ts';

export interface UploadLoad {
  /** Bytes not yet in objects. */
  readonly deltaBytes: number;
  /** How full the tightest bound is (log cache, ring), 0 to 1. */
  readonly fullness: number;
  /** Bytes appended per second. */
  readonly ingest: number;
  /** Bytes of the uploads under way, and those of them that are not stored yet. */
  readonly uploadBytes: number;
  readonly leftBytes: number;
}

/** Producers are slowed from this share of the bound on. */
export const slowedFrom = 0.75;
/** An upload takes no longer than this, however quiet the broker is; */
const uploadSecondsMax = 10;
/** and nobody notices this much. */
const rateMin = 8 * 1024 * 1024;
const inTime = 0.8;
/** Ahead of the ingest, so that the delta shrinks. */
const aheadOfIngest = 1.25;

/** Bytes per second; Infinity = as fast as the wire is. */
export function uploadRate(load: UploadLoad): number {
  const { deltaBytes, fullness, ingest, uploadBytes, leftBytes } = load;
  if (fullness >= slowedFrom) return Number.POSITIVE_INFINITY;
  const least = Math.max(rateMin, uploadBytes / uploadSecondsMax, ingest * aheadOfIngest);
  if (ingest <= 0 || fullness <= 0 || deltaBytes <= 0) return least;
  const roomBytes = (slowedFrom - fullness) * (deltaBytes / fullness);
  return Math.max(least, leftBytes / (inTime * (roomBytes / ingest)));
}

/** Longest time between two looks at the rate: a stop must not wait for a pause that was chosen before it. */
const lookMs = 100;

/**
 * Paces the requests of one upload: one goes out whole, the next waits until the rate has paid for it. The first goes
 * at once. `rate` is asked again while waiting.
 */
export class UploadPacer {
  readonly #clock: Clock;
  readonly #rate: () => number;
  #debt = 0;
  #paidAt: number;

  constructor(clock: Clock, rate: () => number) {
    this.#clock = clock;
    this.#rate = rate;
    this.#paidAt = clock.monotonic();
  }

  readonly pace = async (bytes: number): Promise<void> => {
    for (;;) {
      const rate = this.#rate();
      const now = this.#clock.monotonic();
      if (rate === Number.POSITIVE_INFINITY) this.#debt = 0;
      else this.#debt = Math.max(0, this.#debt - (rate * (now - this.#paidAt)) / 1000);
      this.#paidAt = now;
      if (this.#debt <= 0) break;
      const waitMs = Math.min(lookMs, (this.#debt / rate) * 1000);
      await new Promise<void>((resolve) => this.#clock.after(Math.max(1, waitMs), resolve));
    }
    this.#debt += bytes;
  };
}

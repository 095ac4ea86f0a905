/**
 * A broker that cannot reach its metadata may acknowledge for so long and no longer (`wal.alone.max.ms`): whoever gives up
 * its log elsewhere (`--abandon-wal`) waits that long, and must then be sure. The time counts from sending the last request to
 * the metadata that showed this broker as their owner. Main moves a shared deadline; shards ask it at each append and before
 * each answer, so that a main thread that is late, a process that was paused, or a machine that slept changes nothing. Main thread.
 *
 *   contact ──► deadline = contact + max ──► passed: appends are refused with a retriable error, what becomes durable now is
 *      ▲                                                answered as timed out
 *      └────────── contact again ◄─────────────────────────┘
 */
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import { LeaseWord } from '../threads/memory/lease-word.ts';

/** For all threads; null where there is no limit. */
export type AloneMemory = SharedArrayBuffer | null;

const lookMs = 1_000;

export class AloneWatch {
  readonly memory: AloneMemory;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #maxMs: number;
  readonly #contactedAt: () => number;
  readonly #lease: LeaseWord | null;
  #timer: Timer | null = null;
  #alone = false;

  /**
   * @param maxMs 0 = no limit.
   * @param contactedAt boottime ms of sending the newest request that proved that the metadata are ours.
   */
  constructor(maxMs: number, contactedAt: () => number, clock: Clock, logger: Logger) {
    this.#maxMs = maxMs;
    this.#contactedAt = contactedAt;
    this.#clock = clock;
    this.#logger = logger;
    this.memory = maxMs === 0 ? null : LeaseWord.createMemory();
    this.#lease = this.memory === null ? null : new LeaseWord(this.memory);
  }

  start(): void {
    this.#lease?.grant(this.#contactedAt() + this.#maxMs);
    if (this.#lease !== null) this.#look(this.#lease);
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #look(lease: LeaseWord): void {
    lease.renew(this.#contactedAt() + this.#maxMs);
    const alone = !lease.holds(this.#clock.boottime());
    if (alone !== this.#alone) {
      this.#alone = alone;
      const fields = { maxMs: this.#maxMs };
      if (alone)
        this.#logger.error('the metadata cannot be reached for too long: nothing is acknowledged', fields);
      else this.#logger.info('the metadata are reached again: appends go on', fields);
    }
    this.#timer = this.#clock.after(lookMs, () => this.#look(lease));
  }
}

/** A shard's question, before each append and each answer: whether a lease of main's holds; always where there is none. */
export function leaseHolds(memory: AloneMemory, clock: Clock): () => boolean {
  if (memory === null) return () => true;
  const lease = new LeaseWord(memory);
  return () => lease.holds(clock.boottime());
}

/**
 * What a service of upkeep may touch. Services scan the image, which holds the whole cluster, so each asks before it acts: per
 * stream, since a stream's manifest, states and retention are its owner's; per job, since merged objects and leftovers hold
 * data of many owners and one broker looks after them for all.
 *
 * A scope decides who works, never what is right: two brokers that both believe a job to be theirs (a lease just lost) are
 * kept apart by the conditions of their commits and by their registrations.
 */
import type { Clock } from '../ports/clock.ts';

/** Jobs that one broker does for the whole cluster. */
export const upkeepJobs = ['compaction', 'object sweep', 'orphan sweep', 'wal sweep'] as const;
export type UpkeepJob = (typeof upkeepJobs)[number];

export interface Scope {
  /** The stream's upkeep is this broker's: it owns the stream, or nobody does and this broker leads. */
  mine(topicId: string, partition: number): boolean;
  leads(job: UpkeepJob): boolean;
  /** Object ids below were granted to owners that are fenced: an object that they did not commit is nobody's. */
  readonly idFloor: number;
  /** Monotonic ms since the longest-lived owner in force began: what is older and was never named is nobody's. */
  lifeMs(): number;
}

/** Of a broker that has its store to itself. */
export class SoleScope implements Scope {
  readonly idFloor: number;
  readonly #clock: Clock;
  readonly #beganAt: number;

  /** @param idFloor of the broker's claim on the metadata. */
  constructor(idFloor: number, clock: Clock) {
    this.idFloor = idFloor;
    this.#clock = clock;
    this.#beganAt = clock.monotonic();
  }

  mine(): boolean {
    return true;
  }

  leads(): boolean {
    return true;
  }

  lifeMs(): number {
    return this.#clock.monotonic() - this.#beganAt;
  }
}

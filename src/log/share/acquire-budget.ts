/** What is left of an acquisition's limits as it goes from partition to partition, and from shard to shard. */
import type { Acquired, AcquireLimits } from './share-api.ts';

export class AcquireBudget {
  #left: AcquireLimits;

  constructor(limits: AcquireLimits) {
    this.#left = limits;
  }

  /** For the next one. */
  get left(): AcquireLimits {
    return this.#left;
  }

  get spent(): boolean {
    return this.#left.recordsMax <= 0 || this.#left.bytesMax <= 0;
  }

  take({ ranges, bytes }: Acquired): void {
    let { recordsMax } = this.#left;
    for (const { firstOffset, lastOffset } of ranges) recordsMax -= lastOffset - firstOffset + 1;
    this.#left = { ...this.#left, recordsMax, bytesMax: this.#left.bytesMax - bytes };
  }
}

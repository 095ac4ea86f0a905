/**
 * Which volume takes a partition's writes, from its open to its close. A partition stays with its log while that is whole, and
 * goes to another when it has failed. Main thread.
 */
import type { PartitionImage } from '../metadata/metadata-store.ts';
import { volumeFor } from '../shard/placement.ts';
import type { Volume } from '../volumes/volume.ts';

export class VolumePins {
  readonly logIds: readonly string[];
  /** Logs that a volume goes on in the place of. */
  readonly #successors = new Map<string, number>();
  readonly #failed = new Set<number>();

  constructor(volumes: readonly Pick<Volume, 'logId' | 'predecessors'>[]) {
    this.logIds = volumes.map(({ logId }) => logId);
    for (const [i, { logId, predecessors }] of volumes.entries()) {
      this.#successors.set(logId, i);
      for (const predecessor of predecessors) this.#successors.set(predecessor.logId, i);
    }
  }

  /** Its epoch has ended: it takes no writes until the next start. */
  fail(index: number): void {
    this.#failed.add(index);
  }

  isFailed(index: number): boolean {
    return this.#failed.has(index);
  }

  /** Volumes that take writes. */
  get whole(): readonly number[] {
    return [...this.logIds.keys()].filter((index) => !this.#failed.has(index));
  }

  /** Of a partition that was open before: where it was, or another if that is gone. */
  indexOf({ wal, topicId, partition }: Pick<PartitionImage, 'wal' | 'topicId' | 'partition'>): number {
    const pinned = this.#successors.get(wal);
    return pinned === undefined || this.#failed.has(pinned) ? this.#spread(topicId, partition) : pinned;
  }

  /** Log that takes the writes of a new partition. */
  logFor(topicId: string, partition: number): string {
    return this.logIds[this.#spread(topicId, partition)]!;
  }

  #spread(topicId: string, partition: number): number {
    const { whole } = this;
    // With all of them failed writes are refused, wherever the partition is.
    if (whole.length === 0) return volumeFor(topicId, partition, this.logIds.length);
    return whole[volumeFor(topicId, partition, whole.length)]!;
  }
}

/**
 * Committed offsets of one group. Two states apart: `durable` entries are what fetches see; `pending` counts, per
 * partition, the records appended and not durable yet, so that expiry and deletion know of them. Entries change only
 * in the order of the log.
 */
import type { CommittedOffset } from './group-api.ts';

export interface OffsetEntry extends CommittedOffset {
  /** Wall-clock milliseconds of the commit. */
  readonly commitTimestamp: number;
  /** Set by OffsetCommit v2-4 with a retention of its own; -1 = the broker's retention counts. */
  readonly expireTimestamp: number;
}

export class GroupOffsets {
  readonly #durable = new Map<string, Map<number, OffsetEntry>>();
  readonly #pending = new Map<string, Map<number, number>>();

  isEmpty(): boolean {
    return this.#durable.size === 0 && this.#pending.size === 0;
  }

  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  get(topic: string, partition: number): OffsetEntry | undefined {
    return this.#durable.get(topic)?.get(partition);
  }

  isPending(topic: string, partition: number): boolean {
    return this.#pending.get(topic)?.has(partition) ?? false;
  }

  *entries(): Generator<OffsetEntry> {
    for (const partitions of this.#durable.values()) yield* partitions.values();
  }

  /** Every partition with a durable or a pending entry: what a deletion must write tombstones for. */
  *keys(): Generator<{ topic: string; partition: number }> {
    for (const { topic, partition } of this.entries()) yield { topic, partition };
    for (const [topic, partitions] of this.#pending) {
      for (const partition of partitions.keys()) {
        if (this.get(topic, partition) === undefined) yield { topic, partition };
      }
    }
  }

  /** Gives the durable entries of a topic that tell no id this one. */
  adopt(topic: string, topicId: string): void {
    const partitions = this.#durable.get(topic);
    for (const entry of partitions?.values() ?? []) {
      if (entry.topicId === null) partitions!.set(entry.partition, { ...entry, topicId });
    }
  }

  notePending(topic: string, partition: number): void {
    let partitions = this.#pending.get(topic);
    if (partitions === undefined) {
      partitions = new Map();
      this.#pending.set(topic, partitions);
    }
    partitions.set(partition, (partitions.get(partition) ?? 0) + 1);
  }

  settlePending(topic: string, partition: number): void {
    const partitions = this.#pending.get(topic);
    const count = partitions?.get(partition);
    if (partitions === undefined || count === undefined) {
      throw new Error(`offset of ${topic}-${partition} settled twice`);
    }
    if (count > 1) {
      partitions.set(partition, count - 1);
      return;
    }
    partitions.delete(partition);
    if (partitions.size === 0) this.#pending.delete(topic);
  }

  put(entry: OffsetEntry): void {
    let partitions = this.#durable.get(entry.topic);
    if (partitions === undefined) {
      partitions = new Map();
      this.#durable.set(entry.topic, partitions);
    }
    partitions.set(entry.partition, entry);
  }

  delete(topic: string, partition: number): void {
    const partitions = this.#durable.get(topic);
    if (partitions === undefined) return;
    partitions.delete(partition);
    if (partitions.size === 0) this.#durable.delete(topic);
  }
}

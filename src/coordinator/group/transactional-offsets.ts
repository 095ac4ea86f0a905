/**
 * Offsets that open transactions have committed to the groups of one partition (KIP-98, KIP-447): they count when the
 * marker of their producer commits them. Per producer the newest entry of each group's topic partition. Owned by the
 * partition's GroupPartition. Bound: what the open transactions have written to the partition's log.
 */
import type { OffsetEntry } from './group-offsets.ts';

export interface TransactionalOffset {
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  /** null deletes the offset. */
  readonly entry: OffsetEntry | null;
}

export class TransactionalOffsets {
  readonly #byProducer = new Map<number, Map<string, TransactionalOffset>>();
  /** Open transactions that hold an offset of the name. */
  readonly #holders = new Map<string, number>();

  put(producerId: number, group: string, topic: string, partition: number, entry: OffsetEntry | null): void {
    let offsets = this.#byProducer.get(producerId);
    if (offsets === undefined) {
      offsets = new Map();
      this.#byProducer.set(producerId, offsets);
    }
    const name = nameOf(group, topic, partition);
    if (!offsets.has(name)) this.#holders.set(name, (this.#holders.get(name) ?? 0) + 1);
    offsets.set(name, { group, topic, partition, entry });
  }

  /** Ends the producer's transaction here: its offsets, which are forgotten. */
  take(producerId: number): readonly TransactionalOffset[] {
    const offsets = this.#byProducer.get(producerId);
    if (offsets === undefined) return [];
    this.#byProducer.delete(producerId);
    for (const name of offsets.keys()) {
      const holders = this.#holders.get(name)! - 1;
      if (holders > 0) this.#holders.set(name, holders);
      else this.#holders.delete(name);
    }
    return [...offsets.values()];
  }

  /** Offsets of a group that open transactions may still change, each once. */
  *offsetsOf(group: string): Generator<TransactionalOffset> {
    const told = new Set<string>();
    for (const offsets of this.#byProducer.values()) {
      for (const [name, offset] of offsets) {
        if (offset.group !== group || told.has(name)) continue;
        told.add(name);
        yield offset;
      }
    }
  }

  /** Whether an open transaction may still change the offset (UNSTABLE_OFFSET_COMMIT, KIP-447). */
  isUnstable(group: string, topic: string, partition: number): boolean {
    return this.#holders.has(nameOf(group, topic, partition));
  }
}

/** No topic name holds a zero, so that no two names are alike. */
function nameOf(group: string, topic: string, partition: number): string {
  return `${topic}\0${partition}\0${group}`;
}

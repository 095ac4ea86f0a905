/**
 * Idempotent producers of one partition (KIP-98, KIP-360): per producer id the epoch and the last five batches.
 * Two views live side by side: batches are checked and recorded when *appended*; whether they are *durable* is decided
 * by the journal entry they name, and a duplicate joins its original's completion. Owned by the partition's shard.
 * Bound: 10,000 producers a partition; at the bound the longest idle one without an open transaction expires.
 */
import type { ProducerEntry } from '../stream/objects/objects.ts';

export const producersMax = 10_000;
const keptBatches = 5;

export const sequenceVerdict = {
  accept: 0,
  duplicate: 1,
  outOfOrder: 2,
  staleEpoch: 3,
} as const;

/** Ring of the five newest batches: first/last sequence, offsets, timestamp and journal entry, in parallel arrays. */
class Producer {
  readonly producerId: number;
  epoch: number;
  count = 0;
  next = 0;
  readonly firstSequence = new Int32Array(keptBatches);
  readonly lastSequence = new Int32Array(keptBatches);
  readonly baseOffset = new Float64Array(keptBatches);
  readonly lastOffset = new Float64Array(keptBatches);
  readonly timestamp = new Float64Array(keptBatches);
  readonly entry = new Float64Array(keptBatches);
  lastTimestamp = 0;
  txnFirstOffset = -1;
  coordinatorEpoch = -1;

  constructor(producerId: number, epoch: number) {
    this.producerId = producerId;
    this.epoch = epoch;
  }

  /** Slot of the i-th newest batch. */
  newest(i: number): number {
    return (this.next - 1 - i + 2 * keptBatches) % keptBatches;
  }
}

/** Sequence `distance` records behind `first`, wrapping from 2^31 − 1 to 0. */
export function sequenceAfter(first: number, distance: number): number {
  const sum = first + distance;
  return sum > 0x7fffffff ? sum - 0x80000000 : sum;
}

export class ProducerState {
  private readonly producers = new Map<number, Producer>();
  /** Journal entry and base offset of the original, set by `check` when it answers duplicate. */
  duplicateEntry = 0;
  duplicateBaseOffset = 0;
  duplicateTimestamp = 0;

  get size(): number {
    return this.producers.size;
  }

  /** Decides on a batch before it is appended; see sequenceVerdict. */
  check(producerId: number, epoch: number, firstSequence: number, recordCount: number): number {
    const producer = this.producers.get(producerId);
    if (producer === undefined) return sequenceVerdict.accept;
    if (epoch < producer.epoch) return sequenceVerdict.staleEpoch;
    if (epoch > producer.epoch) {
      return firstSequence === 0 ? sequenceVerdict.accept : sequenceVerdict.outOfOrder;
    }
    if (producer.count === 0) return sequenceVerdict.accept;
    const lastSequence = sequenceAfter(firstSequence, recordCount - 1);
    for (let i = 0; i < producer.count; i++) {
      const slot = producer.newest(i);
      if (producer.firstSequence[slot] === firstSequence && producer.lastSequence[slot] === lastSequence) {
        this.duplicateEntry = producer.entry[slot]!;
        this.duplicateBaseOffset = producer.baseOffset[slot]!;
        this.duplicateTimestamp = producer.timestamp[slot]!;
        return sequenceVerdict.duplicate;
      }
    }
    const expected = sequenceAfter(producer.lastSequence[producer.newest(0)]!, 1);
    return firstSequence === expected ? sequenceVerdict.accept : sequenceVerdict.outOfOrder;
  }

  /** Records an appended (or recovered) batch. `entry` 0 = durable already. */
  record(
    producerId: number,
    epoch: number,
    firstSequence: number,
    lastSequence: number,
    baseOffset: number,
    lastOffset: number,
    timestamp: number,
    entry: number,
  ): void {
    let producer = this.producers.get(producerId);
    if (producer === undefined) {
      if (this.producers.size >= producersMax) this.evictIdle();
      producer = new Producer(producerId, epoch);
      this.producers.set(producerId, producer);
    }
    if (epoch !== producer.epoch) {
      producer.epoch = epoch;
      producer.count = 0;
      producer.next = 0;
    }
    // Recovery may show a batch again that the stored state holds already.
    if (producer.count > 0 && producer.lastOffset[producer.newest(0)]! >= lastOffset) return;
    const slot = producer.next;
    producer.firstSequence[slot] = firstSequence;
    producer.lastSequence[slot] = lastSequence;
    producer.baseOffset[slot] = baseOffset;
    producer.lastOffset[slot] = lastOffset;
    producer.timestamp[slot] = timestamp;
    producer.entry[slot] = entry;
    producer.next = (slot + 1) % keptBatches;
    if (producer.count < keptBatches) producer.count++;
    producer.lastTimestamp = timestamp;
  }

  /** Takes over stored state (object at close, section of an upload); later batches replace older ones. */
  restore(entry: ProducerEntry): void {
    this.producers.delete(entry.producerId);
    for (const batch of entry.batches) {
      this.record(
        entry.producerId,
        entry.epoch,
        batch.firstSequence,
        batch.lastSequence,
        batch.baseOffset,
        batch.lastOffset,
        batch.timestamp,
        0,
      );
    }
    let producer = this.producers.get(entry.producerId);
    if (producer === undefined) {
      producer = new Producer(entry.producerId, entry.epoch);
      this.producers.set(entry.producerId, producer);
    }
    producer.lastTimestamp = entry.timestamp;
    producer.txnFirstOffset = entry.txnFirstOffset;
    producer.coordinatorEpoch = entry.coordinatorEpoch;
  }

  /** State of the producers whose newest batch lies at or above `fromOffset`, batches below `endOffset` only. */
  snapshot(fromOffset: number, endOffset: number): ProducerEntry[] {
    const out: ProducerEntry[] = [];
    for (const producer of this.producers.values()) {
      const batches: ProducerEntry['batches'][number][] = [];
      for (let i = producer.count - 1; i >= 0; i--) {
        const slot = producer.newest(i);
        if (producer.lastOffset[slot]! >= endOffset) continue;
        batches.push({
          firstSequence: producer.firstSequence[slot]!,
          lastSequence: producer.lastSequence[slot]!,
          baseOffset: producer.baseOffset[slot]!,
          lastOffset: producer.lastOffset[slot]!,
          timestamp: producer.timestamp[slot]!,
        });
      }
      const newest = batches[batches.length - 1];
      if (newest === undefined || newest.lastOffset < fromOffset) continue;
      out.push({
        producerId: producer.producerId,
        epoch: producer.epoch,
        timestamp: newest.timestamp,
        txnFirstOffset: producer.txnFirstOffset,
        coordinatorEpoch: producer.coordinatorEpoch,
        batches,
      });
    }
    return out;
  }

  /** Forgets producers idle since before `olderThan` (producer.id.expiration.ms) without an open transaction. */
  expire(olderThan: number): void {
    for (const [id, producer] of this.producers) {
      if (producer.lastTimestamp < olderThan && producer.txnFirstOffset < 0) this.producers.delete(id);
    }
  }

  private evictIdle(): void {
    let victim: Producer | null = null;
    for (const producer of this.producers.values()) {
      if (producer.txnFirstOffset >= 0) continue;
      if (victim === null || producer.lastTimestamp < victim.lastTimestamp) victim = producer;
    }
    if (victim !== null) this.producers.delete(victim.producerId);
  }
}

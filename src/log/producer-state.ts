/**
 * Idempotent producers of one partition (KIP-98, KIP-360): per producer id the epoch and the last five batches.
 * Two views live side by side: batches are checked and recorded when *appended*; whether they are *durable* is decided
 * by the journal entry they name, and a duplicate joins its original's completion. What is appended may still fail, so the
 * newest durable batch is kept however many follow it, with the epoch it had. Owned by the partition's shard.
 * Bound: 10,000 producers a partition; at the bound the longest idle one without an open transaction expires.
 */
import type { ProducerEntry } from '../stream/objects/objects.ts';

export const producersMax = 10_000;
/** Batches of a producer whose retries are recognised. */
export const keptBatches = 5;

export const sequenceVerdict = {
  accept: 0,
  duplicate: 1,
  outOfOrder: 2,
  staleEpoch: 3,
} as const;

/** Ring of the newest batches: epoch, first/last sequence, offsets, timestamp and journal entry, in parallel arrays. */
class Producer {
  readonly producerId: number;
  /** Of the newest batch. */
  epoch: number;
  count = 0;
  next = 0;
  epochs = new Int16Array(keptBatches);
  firstSequence = new Int32Array(keptBatches);
  lastSequence = new Int32Array(keptBatches);
  baseOffset = new Float64Array(keptBatches);
  lastOffset = new Float64Array(keptBatches);
  timestamp = new Float64Array(keptBatches);
  entry = new Float64Array(keptBatches);
  lastTimestamp = 0;
  txnFirstOffset = -1;
  coordinatorEpoch = -1;

  constructor(producerId: number, epoch: number) {
    this.producerId = producerId;
    this.epoch = epoch;
  }

  /** Slot of the i-th newest batch. */
  newest(i: number): number {
    const slots = this.entry.length;
    return (this.next - 1 - i + 2 * slots) % slots;
  }

  /** Slot for another batch: the oldest give way but for five, one of them durable (its entry below `durable`). */
  add(durable: number): number {
    while (this.count >= keptBatches && this.entry[this.newest(this.count - 2)]! < durable) this.count--;
    if (this.count === this.entry.length) this.grow();
    const slot = this.next;
    this.next = (slot + 1) % this.entry.length;
    this.count++;
    return slot;
  }

  private grow(): void {
    const slots = 2 * this.count;
    // The oldest comes first again: the ring is full, so it lies at `next`.
    const turned = <T extends Int16Array | Int32Array | Float64Array>(from: T, to: T): T => {
      to.set(from.subarray(this.next));
      to.set(from.subarray(0, this.next), this.count - this.next);
      return to;
    };
    this.epochs = turned(this.epochs, new Int16Array(slots));
    this.firstSequence = turned(this.firstSequence, new Int32Array(slots));
    this.lastSequence = turned(this.lastSequence, new Int32Array(slots));
    this.baseOffset = turned(this.baseOffset, new Float64Array(slots));
    this.lastOffset = turned(this.lastOffset, new Float64Array(slots));
    this.timestamp = turned(this.timestamp, new Float64Array(slots));
    this.entry = turned(this.entry, new Float64Array(slots));
    this.next = this.count;
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
      if (producer.epochs[slot] !== epoch) break;
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

  /** Records an appended (or recovered) batch. Entries below `durable` are durable; entry 0 is. */
  record(
    producerId: number,
    epoch: number,
    firstSequence: number,
    lastSequence: number,
    baseOffset: number,
    lastOffset: number,
    timestamp: number,
    entry: number,
    durable: number,
  ): void {
    let producer = this.producers.get(producerId);
    if (producer === undefined) {
      if (this.producers.size >= producersMax) this.evictIdle();
      producer = new Producer(producerId, epoch);
      this.producers.set(producerId, producer);
    }
    // Recovery may show a batch again that the stored state holds already.
    if (producer.count > 0 && producer.lastOffset[producer.newest(0)]! >= lastOffset) return;
    producer.epoch = epoch;
    const slot = producer.add(durable);
    producer.epochs[slot] = epoch;
    producer.firstSequence[slot] = firstSequence;
    producer.lastSequence[slot] = lastSequence;
    producer.baseOffset[slot] = baseOffset;
    producer.lastOffset[slot] = lastOffset;
    producer.timestamp[slot] = timestamp;
    producer.entry[slot] = entry;
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
        1,
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

  /**
   * State of the producers whose newest batch lies at or above `fromOffset`, batches below `endOffset` only. Ids of those of
   * whom only later batches are known go into `beyond`.
   */
  snapshot(fromOffset: number, endOffset: number, beyond: number[] = []): ProducerEntry[] {
    const out: ProducerEntry[] = [];
    for (const producer of this.producers.values()) {
      const batches: ProducerEntry['batches'][number][] = [];
      let epoch = -1;
      for (let i = 0; i < producer.count && batches.length < keptBatches; i++) {
        const slot = producer.newest(i);
        if (producer.lastOffset[slot]! >= endOffset) continue;
        if (batches.length === 0) epoch = producer.epochs[slot]!;
        else if (producer.epochs[slot] !== epoch) break;
        batches.unshift({
          firstSequence: producer.firstSequence[slot]!,
          lastSequence: producer.lastSequence[slot]!,
          baseOffset: producer.baseOffset[slot]!,
          lastOffset: producer.lastOffset[slot]!,
          timestamp: producer.timestamp[slot]!,
        });
      }
      const newest = batches[batches.length - 1];
      if (newest === undefined && producer.count > 0) beyond.push(producer.producerId);
      if (newest === undefined || newest.lastOffset < fromOffset) continue;
      out.push({
        producerId: producer.producerId,
        epoch,
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

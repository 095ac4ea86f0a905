/**
 * One producer of one stream, as of any end that may still be asked for: its newest batches, and the changes of its
 * transaction. Whoever owns the fold (producer-fold.ts) owns it.
 *
 *   batches   ring in one Float64Array: the newest five at least, and as many as follow the newest durable one, since what
 *             follows may fail and then the state as of the durable end must be there
 *   changes   a transaction began or ended: the newest one below what is in objects, and all behind it
 *
 * A batch's epoch is kept with it: a higher epoch (of a batch or of a marker, KIP-890) ends the older one's sequence, and
 * only batches of the newest epoch are told to others.
 */
import type { ProducerEntry } from '../objects/objects.ts';

/** Batches of a producer whose retries are recognised (KIP-98). */
export const keptBatches = 5;

const at = {
  epoch: 0,
  firstSequence: 1,
  lastSequence: 2,
  baseOffset: 3,
  lastOffset: 4,
  timestamp: 5,
} as const;
const stride = 6;

/** `txnFirst` −1: the transaction ended at `offset`; else it began there. */
interface TxnChange {
  readonly offset: number;
  readonly epoch: number;
  readonly coordinatorEpoch: number;
  readonly timestamp: number;
  readonly txnFirst: number;
}

type Batch = ProducerEntry['batches'][number];

/** A transaction in one partition. */
export interface Transaction {
  readonly producerId: number;
  /** Offset of its first record. */
  readonly first: number;
  /** Offset of its marker; −1 = open. */
  end: number;
}

export class Producer {
  readonly id: number;
  /** Of the newest event, batch or marker, as all that follows. */
  epoch = -1;
  lastOffset = -1;
  /** ms since 1970, as the record says. */
  timestamp = -1;
  coordinatorEpoch = -1;
  /** When it last wrote, by the broker's clock; Infinity = since somebody looked. */
  activeMs = Number.POSITIVE_INFINITY;
  transaction: Transaction | null = null;
  /** Null until its first transaction. */
  changes: TxnChange[] | null = null;
  /** Batches in the ring. */
  count = 0;
  #next = 0;
  #ring = new Float64Array(keptBatches * stride);

  constructor(id: number) {
    this.id = id;
  }

  /** Place of the i-th newest batch in the ring. */
  #newest(i: number): number {
    const slots = this.#ring.length / stride;
    return ((this.#next - 1 - i + 2 * slots) % slots) * stride;
  }

  /** The oldest batches give way but for five, one of them below `durableEnd`. */
  addBatch(
    epoch: number,
    firstSequence: number,
    lastSequence: number,
    baseOffset: number,
    lastOffset: number,
    timestamp: number,
    durableEnd: number,
  ): void {
    while (
      this.count >= keptBatches &&
      this.#ring[this.#newest(this.count - 2) + at.lastOffset]! < durableEnd
    )
      this.count--;
    if (this.count * stride === this.#ring.length) this.#grow();
    const ring = this.#ring;
    const slot = this.#next * stride;
    ring[slot + at.epoch] = epoch;
    ring[slot + at.firstSequence] = firstSequence;
    ring[slot + at.lastSequence] = lastSequence;
    ring[slot + at.baseOffset] = baseOffset;
    ring[slot + at.lastOffset] = lastOffset;
    ring[slot + at.timestamp] = timestamp;
    this.#next = (this.#next + 1) % (ring.length / stride);
    this.count++;
    this.epoch = epoch;
    this.lastOffset = lastOffset;
    this.timestamp = timestamp;
  }

  #grow(): void {
    // The oldest comes first again: the ring is full, so it lies at `next`.
    const turned = new Float64Array(2 * this.#ring.length);
    const next = this.#next * stride;
    turned.set(this.#ring.subarray(next));
    turned.set(this.#ring.subarray(0, next), this.#ring.length - next);
    this.#ring = turned;
    this.#next = this.count;
  }

  /** Sequence behind which its next batch comes; −1 when it has written none in its present epoch. */
  get lastSequence(): number {
    if (this.count === 0) return -1;
    const newest = this.#newest(0);
    return this.#ring[newest + at.epoch] === this.epoch ? this.#ring[newest + at.lastSequence]! : -1;
  }

  /** Which of its newest batches, counted back, is this one; −1 = none of them. */
  findBatch(epoch: number, firstSequence: number, lastSequence: number): number {
    const ring = this.#ring;
    for (let i = 0; i < this.count; i++) {
      const slot = this.#newest(i);
      if (ring[slot + at.epoch] !== epoch) return -1;
      if (ring[slot + at.firstSequence] === firstSequence && ring[slot + at.lastSequence] === lastSequence)
        return i;
    }
    return -1;
  }

  baseOffsetOf(i: number): number {
    return this.#ring[this.#newest(i) + at.baseOffset]!;
  }

  timestampOf(i: number): number {
    return this.#ring[this.#newest(i) + at.timestamp]!;
  }

  /** Its transaction began (`txnFirst` ≥ 0) or ended. Changes that nobody can ask for any more go. */
  addChange(change: TxnChange, storedEnd: number): void {
    const changes = this.changes ?? [];
    this.changes = changes;
    changes.push(change);
    let oldest = 0;
    while (oldest + 1 < changes.length && changes[oldest + 1]!.offset < storedEnd) oldest++;
    if (oldest > 0) changes.splice(0, oldest);
  }

  /** The newest change of its transaction below `end`. */
  changeAt(end: number): TxnChange | null {
    const { changes } = this;
    if (changes === null) return null;
    for (let i = changes.length - 1; i >= 0; i--) if (changes[i]!.offset < end) return changes[i]!;
    return null;
  }

  /** First offset of the transaction that was open at `end`; −1 = none was. */
  txnFirstAt(end: number): number {
    return this.changeAt(end)?.txnFirst ?? -1;
  }

  /** Its state as of `end`, or null when it had done nothing by then that is still known. */
  entryAt(end: number, activeMs: number): ProducerEntry | null {
    const change = this.changeAt(end);
    const whole = this.lastOffset < end;
    let { epoch, lastOffset, timestamp } = this;
    if (!whole) {
      epoch = change?.epoch ?? -1;
      lastOffset = change?.offset ?? -1;
      timestamp = change?.timestamp ?? -1;
    }
    const batches: Batch[] = [];
    const ring = this.#ring;
    for (let i = 0; i < this.count && batches.length < keptBatches; i++) {
      const slot = this.#newest(i);
      const last = ring[slot + at.lastOffset]!;
      if (last >= end) continue;
      if (!whole && batches.length === 0 && last > lastOffset) {
        epoch = ring[slot + at.epoch]!;
        lastOffset = last;
        timestamp = ring[slot + at.timestamp]!;
      }
      if (ring[slot + at.epoch] !== epoch) break;
      batches.unshift({
        firstSequence: ring[slot + at.firstSequence]!,
        lastSequence: ring[slot + at.lastSequence]!,
        baseOffset: ring[slot + at.baseOffset]!,
        lastOffset: last,
        timestamp: ring[slot + at.timestamp]!,
      });
    }
    if (lastOffset < 0) return null;
    return {
      producerId: this.id,
      epoch,
      timestamp,
      txnFirstOffset: change?.txnFirst ?? -1,
      coordinatorEpoch: change?.coordinatorEpoch ?? -1,
      lastOffset,
      activeMs,
      batches,
    };
  }

  /** Becomes what a stored entry says. Its changes of transaction are those that follow from it. */
  load(entry: ProducerEntry): void {
    const { epoch, lastOffset, timestamp, coordinatorEpoch, txnFirstOffset: txnFirst, activeMs } = entry;
    for (const batch of entry.batches) {
      const { firstSequence, lastSequence, baseOffset, lastOffset: last } = batch;
      const any = Number.POSITIVE_INFINITY;
      this.addBatch(epoch, firstSequence, lastSequence, baseOffset, last, batch.timestamp, any);
    }
    const newest = entry.batches.at(-1)?.lastOffset ?? -1;
    const marked = lastOffset > newest && txnFirst < 0;
    if (marked || txnFirst >= 0 || coordinatorEpoch >= 0) {
      // An end whose offset is not known lies below all that will be asked for.
      const offset = txnFirst >= 0 ? txnFirst : marked ? lastOffset : -1;
      this.changes = [{ offset, epoch, coordinatorEpoch, timestamp, txnFirst }];
    }
    this.epoch = epoch;
    this.lastOffset = lastOffset;
    this.timestamp = timestamp;
    this.coordinatorEpoch = coordinatorEpoch;
    if (activeMs >= 0) this.activeMs = activeMs;
  }
}

/**
 * THE fold of a stream's producers: what all batches and markers up to some offset say of producer ids, epochs, sequences
 * and transactions (KIP-98, KIP-360, KIP-890). Live appends, recovery, uploads, objects, manifests, merging and cutting all
 * use this one, so that any way of splitting a log folds to the same state as one pass over it. Pure; any thread, one owner.
 *
 *   batch, marker   an event, in offset order; what is known already is passed over, so a log may be shown twice
 *   take            what an object, manifest or state says; the newer of two states of a producer counts
 *   snapshot        the state as of an earlier end: exact for every end from `storedEnd` on
 *   settle          up to there everything is durable: the last stable offset moves by this only
 *
 * Two views live side by side. Producers and `open` count what is *appended*; `lastStable` knows a transaction's end only
 * once its marker is durable. For stored things everything is durable (the default).
 * Bound: 10,000 producers; at the bound the longest idle one without a transaction goes. Whoever appends asks `hasRoom` first;
 * what is stored already is never refused. Aborted transactions: until `forgetAborted`, one for two batches at most.
 */
import type { AbortedTxn, ProducerEntry } from '../objects/objects.ts';
import { keptBatches, Producer, type Transaction } from './producer.ts';

export const producersMax = 10_000;

/** Whether a producer that last wrote at `activeMs` is idle since before `olderThan`; −1 = nobody knows when it wrote. */
function idleSince(activeMs: number, olderThan: number): boolean {
  return activeMs >= 0 && activeMs < olderThan;
}

export class ProducerFold {
  /** Behind it appends may still fail. */
  #durableEnd: number;
  /** Nobody asks for the state as of an end below. */
  #storedEnd: number;
  readonly #producers = new Map<number, Producer>();
  /** Open ones and those whose marker is not durable, ascending by first offset. */
  readonly #transactions: Transaction[] = [];
  /** Those of them that have a marker, ascending by its offset. */
  readonly #ended: Transaction[] = [];
  /** Ascending by last offset. */
  #aborted: AbortedTxn[] = [];

  constructor(durableEnd = Number.POSITIVE_INFINITY, storedEnd = durableEnd) {
    this.#durableEnd = durableEnd;
    this.#storedEnd = storedEnd;
  }

  static of(entries: Iterable<ProducerEntry>): ProducerFold {
    const fold = new ProducerFold();
    for (const entry of entries) fold.take(entry);
    return fold;
  }

  get size(): number {
    return this.#producers.size;
  }

  get(producerId: number): Producer | undefined {
    return this.#producers.get(producerId);
  }

  /** False when a producer that is not known would be one too many: all that are have transactions. */
  hasRoom(): boolean {
    if (this.#producers.size < producersMax) return true;
    for (const producer of this.#producers.values()) if (this.#mayGo(producer)) return true;
    return false;
  }

  // ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A batch of a producer; sequences and offsets are of its first and last record. */
  batch(
    producerId: number,
    epoch: number,
    firstSequence: number,
    lastSequence: number,
    baseOffset: number,
    lastOffset: number,
    timestamp: number,
    transactional: boolean,
  ): void {
    const producer = this.#producers.get(producerId) ?? this.#add(producerId);
    if (lastOffset <= producer.lastOffset) return;
    producer.addBatch(
      epoch,
      firstSequence,
      lastSequence,
      baseOffset,
      lastOffset,
      timestamp,
      this.#durableEnd,
    );
    producer.activeMs = Number.POSITIVE_INFINITY;
    if (transactional && producer.transaction === null) {
      this.#begin(producer, baseOffset);
      const { coordinatorEpoch } = producer;
      const change = { offset: baseOffset, epoch, coordinatorEpoch, timestamp, txnFirst: baseOffset };
      producer.addChange(change, this.#storedEnd);
    }
  }

  /**
   * A marker at `offset`. Returns whether it ended a transaction here: one without records leaves no trace but epochs.
   * @param coordinatorEpoch −1 = unknown, since the records of the marker are lost.
   */
  marker(
    producerId: number,
    epoch: number,
    offset: number,
    timestamp: number,
    commit: boolean,
    coordinatorEpoch: number,
  ): boolean {
    const producer = this.#producers.get(producerId) ?? this.#add(producerId);
    if (offset <= producer.lastOffset) return false;
    producer.epoch = epoch;
    producer.lastOffset = offset;
    producer.timestamp = timestamp;
    producer.activeMs = Number.POSITIVE_INFINITY;
    if (coordinatorEpoch >= 0) producer.coordinatorEpoch = coordinatorEpoch;
    const change = {
      offset,
      epoch,
      coordinatorEpoch: producer.coordinatorEpoch,
      timestamp,
      txnFirst: -1,
    };
    producer.addChange(change, this.#storedEnd);
    const { transaction } = producer;
    if (transaction === null) return false;
    producer.transaction = null;
    transaction.end = offset;
    if (!commit) {
      const other = this.#transactions.find(({ end }) => end < 0);
      this.#aborted.push({
        producerId,
        firstOffset: transaction.first,
        lastOffset: offset,
        lastStableOffset: other?.first ?? offset + 1,
      });
    }
    if (offset < this.#durableEnd) this.#close(transaction);
    else this.#ended.push(transaction);
    return true;
  }

  #add(producerId: number): Producer {
    if (this.#producers.size >= producersMax) {
      const idle = this.#longestIdle();
      if (idle !== null) this.#producers.delete(idle.id);
    }
    const producer = new Producer(producerId);
    this.#producers.set(producerId, producer);
    return producer;
  }

  /** Offsets grow as time goes on, so the lowest newest offset is the longest idle. */
  #longestIdle(): Producer | null {
    let idle: Producer | null = null;
    for (const producer of this.#producers.values()) {
      if (this.#mayGo(producer) && (idle === null || producer.lastOffset < idle.lastOffset)) idle = producer;
    }
    return idle;
  }

  /** It has no transaction, neither as of now nor as of any end that may be asked for. */
  #mayGo({ transaction, changes }: Producer): boolean {
    if (transaction !== null) return false;
    return changes === null || changes[changes.length - 1]!.offset < this.#storedEnd;
  }

  // ── Transactions ────────────────────────────────────────────────────────────────────────────────────────────────

  #begin(producer: Producer, first: number): void {
    const transaction = { producerId: producer.id, first, end: -1 };
    producer.transaction = transaction;
    this.#transactions.splice(this.#place(first), 0, transaction);
  }

  #close(transaction: Transaction): void {
    for (let i = this.#place(transaction.first); i < this.#transactions.length; i++) {
      if (this.#transactions[i] !== transaction) continue;
      this.#transactions.splice(i, 1);
      return;
    }
  }

  /** Of the first transaction that begins at or behind the offset. */
  #place(first: number): number {
    let low = 0;
    let high = this.#transactions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#transactions[middle]!.first < first) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Everything below `durableEnd` is durable: transactions whose markers are there have ended for readers, too. */
  settle(durableEnd: number): void {
    this.#durableEnd = durableEnd;
    while (this.#ended.length > 0 && this.#ended[0]!.end < durableEnd) this.#close(this.#ended.shift()!);
  }

  /** Objects hold all below `storedEnd`. */
  stored(storedEnd: number): void {
    this.#storedEnd = storedEnd;
  }

  /** First offset that is in a transaction whose end is not durable, else `end`. */
  lastStable(end: number): number {
    const [oldest] = this.#transactions;
    return oldest === undefined ? end : Math.min(oldest.first, end);
  }

  /** The same as of an earlier end. */
  lastStableAt(end: number): number {
    let stable = end;
    for (const producer of this.#producers.values()) {
      if (producer.changes === null) continue;
      const first = producer.txnFirstAt(end);
      if (first >= 0 && first < stable) stable = first;
    }
    return stable;
  }

  /** Whether a transaction began or ended at or behind the offset. */
  changedSince(offset: number): boolean {
    for (const { changes } of this.#producers.values())
      if (changes !== null && changes[changes.length - 1]!.offset >= offset) return true;
    return false;
  }

  /** Transactions that were aborted by markers in [from, end), ascending by marker. */
  abortedIn(from: number, end: number): AbortedTxn[] {
    const aborted = this.#aborted;
    return aborted.length === 0
      ? aborted
      : aborted.filter(({ lastOffset }) => lastOffset >= from && lastOffset < end);
  }

  /** Aborted transactions that reach into [from, end), ascending by first offset. */
  abortedOver(from: number, end: number): readonly AbortedTxn[] {
    const aborted = this.#aborted;
    if (aborted.length === 0) return aborted;
    return byFirstOffset(aborted.filter((txn) => txn.lastOffset >= from && txn.firstOffset < end));
  }

  /** Aborted transactions with markers below `offset` are known elsewhere. */
  forgetAborted(offset: number): void {
    const aborted = this.#aborted;
    if (aborted.length === 0 || aborted[0]!.lastOffset >= offset) return;
    this.#aborted = aborted.filter(({ lastOffset }) => lastOffset >= offset);
  }

  // ── States ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * What is stored of a producer, as of some end. It counts unless more is known: a merged object can hold a stream's older
   * and newer batches around those of another one. What it says of batches below `base` the base knows.
   */
  take(entry: ProducerEntry, base = 0): void {
    if (entry.lastOffset < base) return;
    const known = this.#producers.get(entry.producerId);
    if (known === undefined) {
      const producer = this.#add(entry.producerId);
      producer.load(entry);
      this.#reopen(producer, entry);
      return;
    }
    if (known.lastOffset > entry.lastOffset) return;
    if (known.transaction !== null) this.#close(known.transaction);
    const producer = new Producer(entry.producerId);
    producer.load(withEarlier(entry, known.entryAt(Number.POSITIVE_INFINITY, -1)));
    this.#producers.set(entry.producerId, producer);
    this.#reopen(producer, entry);
  }

  #reopen(producer: Producer, { txnFirstOffset }: ProducerEntry): void {
    if (txnFirstOffset >= 0) this.#begin(producer, txnFirstOffset);
  }

  /**
   * State as of `end` of the producers whose newest batch or marker below it lies at or above `from`. Ids of those of whom
   * memory may have forgotten batches below the end go into `beyond`: whoever has the log's bytes finds them there
   * (batch-fold.ts).
   * @param nowMs the broker's clock.
   */
  snapshot(
    from = 0,
    end = Number.POSITIVE_INFINITY,
    nowMs = -1,
    beyond: number[] | null = null,
  ): ProducerEntry[] {
    const out: ProducerEntry[] = [];
    for (const producer of this.#producers.values()) {
      if (producer.lastOffset < from) continue;
      const activeMs = producer.activeMs === Number.POSITIVE_INFINITY ? nowMs : producer.activeMs;
      const entry = producer.entryAt(end, activeMs);
      const most = Math.min(producer.count, keptBatches);
      if (beyond !== null && producer.lastOffset >= end && (entry?.batches.length ?? 0) < most)
        beyond.push(producer.id);
      else if (entry !== null && entry.lastOffset >= from) out.push(entry);
    }
    return out;
  }

  /**
   * Forgets producers that wrote nothing for `expirationMs` by the broker's clock (producer.id.expiration.ms). Kafka goes by
   * the time of their records: a backfill of old ones would lose its protection while it runs. Late by up to the
   * time between two calls, never early.
   */
  expire(nowMs: number, expirationMs: number): void {
    for (const [id, producer] of this.#producers) {
      if (producer.activeMs === Number.POSITIVE_INFINITY) producer.activeMs = nowMs;
      else if (idleSince(producer.activeMs, nowMs - expirationMs) && this.#mayGo(producer))
        this.#producers.delete(id);
    }
  }
}

/** As clients want them told; in place. */
export function byFirstOffset(aborted: AbortedTxn[]): AbortedTxn[] {
  return aborted.sort((a, b) => a.firstOffset - b.firstOffset || a.producerId - b.producerId);
}

/** The newest five batches of both, which are of one producer; an older epoch's do not count. */
export function withEarlier(entry: ProducerEntry, earlier: ProducerEntry | null): ProducerEntry {
  if (earlier === null || earlier.epoch !== entry.epoch || entry.batches.length === keptBatches) return entry;
  const from = entry.batches[0]?.baseOffset ?? entry.lastOffset;
  const before = earlier.batches.filter(({ lastOffset }) => lastOffset < from);
  return { ...entry, batches: [...before, ...entry.batches].slice(-keptBatches) };
}

/** Producers as of an earlier end than the one that they were stored for. */
export function cutProducers(entries: Iterable<ProducerEntry>, end: number): ProducerEntry[] {
  return ProducerFold.of(entries).snapshot(0, end);
}

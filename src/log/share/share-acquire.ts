/**
 * Takes records for a member out of what a read has brought: a walk over batch headers, no record is looked at. Shard thread.
 *
 * Batches are taken whole unless the member asked for an exact number of records. Control batches, and with read_committed
 * aborted ones, are archived on the way: nobody gets them. So are offsets between batches, which the log does not hold. Records
 * that were delivered often come in ever smaller numbers, at last alone, so that what makes consumers fail does not cost its
 * neighbours their deliveries.
 */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  isControl,
  isTransactional,
  lastOffsetOf,
  producerIdOf,
} from '../../protocol/records/batch-header.ts';
import type { AbortedTransaction, RecordRanges } from '../partition-handle.ts';
import { type Acquired, type AcquiredRange, type AcquireLimits, recordStates } from './share-api.ts';
import type { Run, ShareWindow } from './share-window.ts';

/** So many deliveries at least, and half of those that there may be, are of as many records as there are. */
const throttledDeliveriesMin = 2;

export interface AcquireQuery {
  readonly from: number;
  readonly memberId: string;
  readonly until: number;
  readonly limits: AcquireLimits;
  readonly locksMax: number;
  readonly deliveriesMax: number;
  readonly committed: boolean;
  readonly aborted: readonly AbortedTransaction[];
  readonly archive: (run: Run) => void;
}

export function acquireFrom(
  window: ShareWindow,
  records: RecordRanges,
  view: DataView,
  query: AcquireQuery,
): Acquired {
  const take = new Taking(window, query);
  const { positions, lengths } = records;
  for (let i = 0; i < positions.length && !take.full; i++) {
    const stop = positions[i]! + lengths[i]!;
    for (let at = positions[i]!; at < stop && !take.full; at += batchBytesOf(view, at)) take.batch(view, at);
  }
  return take.result();
}

class Taking {
  full = false;
  readonly #window: ShareWindow;
  readonly #query: AcquireQuery;
  readonly #ranges: AcquiredRange[] = [];
  /** Producers whose transaction is aborted from the walk's place on, until their marker comes. */
  readonly #aborting = new Set<number>();
  #abortedAt = 0;
  #taken = 0;
  #from = -1;
  #bytes = 0;
  #bytesToEnd = 0;
  #next: number;

  constructor(window: ShareWindow, query: AcquireQuery) {
    this.#window = window;
    this.#query = query;
    this.#next = query.from;
  }

  batch(view: DataView, at: number): void {
    const first = Math.max(baseOffsetOf(view, at), this.#next);
    const last = lastOffsetOf(view, at);
    if (first > this.#next) this.#skip(this.#next, first - 1);
    const attributes = attributesOf(view, at);
    const before = this.#taken;
    this.#meetAborted(last);
    if (isControl(attributes)) {
      this.#aborting.delete(producerIdOf(view, at));
      this.#skip(first, last);
    } else if (isTransactional(attributes) && this.#aborting.has(producerIdOf(view, at)))
      this.#skip(first, last);
    else this.#take(first, last, last - baseOffsetOf(view, at) + 1);
    const bytes = batchBytesOf(view, at);
    if (this.#from >= 0) this.#bytesToEnd += bytes;
    if (this.#taken > before) {
      if (this.#from < 0) {
        this.#from = this.#ranges[0]!.firstOffset;
        this.#bytesToEnd = bytes;
      }
      this.#bytes = this.#bytesToEnd;
    }
    this.#next = last + 1;
  }

  #meetAborted(last: number): void {
    const { committed, aborted } = this.#query;
    if (!committed) return;
    for (
      ;
      this.#abortedAt < aborted.length && aborted[this.#abortedAt]!.firstOffset <= last;
      this.#abortedAt++
    )
      this.#aborting.add(aborted[this.#abortedAt]!.producerId);
  }

  /** Nobody is to get these offsets. */
  #skip(first: number, last: number): void {
    const { archive } = this.#query;
    const window = this.#window;
    if (last < window.next) {
      for (const run of window.cut(first, last)) if (run.state === recordStates.available) archive(run);
      return;
    }
    window.extend(last, recordStates.available, 0);
    for (const run of window.cut(first, last)) if (run.state === recordStates.available) archive(run);
  }

  #take(first: number, last: number, batchRecords: number): void {
    const { limits, locksMax } = this.#query;
    const window = this.#window;
    if (this.#taken >= limits.recordsMax) {
      this.full = true;
      return;
    }
    const inside = Math.min(last, window.next - 1);
    for (let offset = window.firstAvailable(first); offset >= 0 && offset <= inside; ) {
      const run = window.runs[window.find(offset)]!;
      offset = this.#takeRun(offset, Math.min(run.last, last), run.count, batchRecords);
      if (this.full) return;
      offset = window.firstAvailable(offset);
    }
    if (last < window.next) return;
    if (window.next - window.start >= locksMax) {
      this.full = true;
      return;
    }
    const begin = Math.max(first, window.next);
    const end = this.#strictEnd(begin, last);
    window.extend(end, recordStates.available, 0);
    this.#mark(begin, end, 0);
    this.full = end < last;
  }

  /** Takes what is available of a run; returns the offset behind it. */
  #takeRun(first: number, last: number, count: number, batchRecords: number): number {
    const { deliveriesMax } = this.#query;
    const throttled = Math.max(throttledDeliveriesMin, Math.ceil(deliveriesMax / 2));
    if (count >= throttled) {
      // Whoever fails on one of them is to lose fewer others each time; before the last delivery it is alone.
      const halved = Math.max(1, batchRecords >> (count - throttled + 1));
      const some = count + 1 === deliveriesMax ? 1 : halved;
      this.full = true;
      const end = this.#strictEnd(first, Math.min(last, first + some - 1));
      if (this.#taken === 0) this.#mark(first, end, count);
      return end + 1;
    }
    const end = this.#strictEnd(first, last);
    this.#mark(first, end, count);
    this.full = end < last;
    return end + 1;
  }

  #strictEnd(first: number, last: number): number {
    const { strict, recordsMax } = this.#query.limits;
    return strict ? Math.min(last, first + recordsMax - this.#taken - 1) : last;
  }

  #mark(first: number, last: number, count: number): void {
    const { memberId, until, limits } = this.#query;
    for (const run of this.#window.cut(first, last)) {
      run.state = recordStates.acquired;
      run.count = count + 1;
      run.member = memberId;
      run.until = until;
    }
    const size = last - first + 1;
    this.#taken += size;
    const before = this.#ranges[this.#ranges.length - 1];
    const joins =
      before !== undefined &&
      before.lastOffset + 1 === first &&
      before.deliveryCount === count + 1 &&
      before.lastOffset - before.firstOffset + 1 < limits.rangeRecords;
    if (joins) this.#ranges[this.#ranges.length - 1] = { ...before, lastOffset: last };
    else this.#ranges.push({ firstOffset: first, lastOffset: last, deliveryCount: count + 1 });
  }

  result(): Acquired {
    return { error: ErrorCode.NONE, ranges: this.#ranges, from: this.#from, bytes: this.#bytes, version: 0 };
  }
}

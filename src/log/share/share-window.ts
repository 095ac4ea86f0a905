/**
 * The offsets of a share partition that are under delivery, as runs of one state: pure bookkeeping without clock, log or store.
 * Shard thread.
 *
 *     finished for good │ run │ run │ … │ run │ never fetched
 *                     start                  next
 *
 * Invariants: runs follow each other without a gap from `start` to `next`; neighbours differ; the first run is never finished,
 * since `start` moves past finished ones. Bound: as many runs as records between start and next, which the share partition
 * keeps within its limit of locks plus one batch.
 */
import { recordStates, type ShareStateBatch } from './share-api.ts';

export interface Run {
  first: number;
  last: number;
  state: number;
  /** Deliveries, one under way included. */
  count: number;
  /** Who holds it, and until when (monotonic ms); only while acquired. */
  member: string;
  until: number;
}

export function isFinished(state: number): boolean {
  return state === recordStates.acknowledged || state === recordStates.archived;
}

export class ShareWindow {
  #runs: Run[] = [];
  #start: number;
  #next: number;

  /** @param batches of the stored state, in any order, without overlap; what they leave out is available. */
  constructor(start: number, batches: readonly ShareStateBatch[] = []) {
    this.#start = start;
    this.#next = start;
    const sorted = [...batches].sort((a, b) => a.firstOffset - b.firstOffset);
    for (const { firstOffset, lastOffset, deliveryState, deliveryCount } of sorted) {
      const first = Math.max(firstOffset, this.#next);
      if (lastOffset < first) continue;
      if (first > this.#next) this.extend(first - 1, recordStates.available, 0);
      this.extend(lastOffset, deliveryState, deliveryCount);
    }
    this.settle();
  }

  /** First offset that is not finished. */
  get start(): number {
    return this.#start;
  }

  /** First offset that was never fetched. */
  get next(): number {
    return this.#next;
  }

  get runs(): readonly Run[] {
    return this.#runs;
  }

  /** Appends offsets from `next` to `last`. */
  extend(last: number, state: number, count: number, member = '', until = 0): void {
    if (last < this.#next) return;
    this.#runs.push({ first: this.#next, last, state, count, member, until });
    this.#next = last + 1;
  }

  /** Index of the run that holds the offset; the number of runs when it lies behind. */
  find(offset: number): number {
    let low = 0;
    let high = this.#runs.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#runs[middle]!.last < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Runs that cover exactly what the window has of the offsets, cut where needed. Changed runs are joined by `settle`. */
  cut(first: number, last: number): readonly Run[] {
    const from = this.#cutAt(first);
    const to = this.#cutAt(last + 1);
    return this.#runs.slice(from, to);
  }

  #cutAt(offset: number): number {
    const index = this.find(offset);
    const run = this.#runs[index];
    if (run === undefined || run.first >= offset) return index;
    this.#runs.splice(index + 1, 0, { ...run, first: offset });
    run.last = offset - 1;
    return index + 1;
  }

  /** First available offset at or behind one; −1 when there is none in the window. */
  firstAvailable(from: number = this.#start): number {
    for (let i = this.find(from); i < this.#runs.length; i++) {
      const run = this.#runs[i]!;
      if (run.state === recordStates.available) return Math.max(run.first, from);
    }
    return -1;
  }

  /** Joins neighbours of one kind and moves the start past what is finished. */
  settle(): void {
    const joined: Run[] = [];
    for (const run of this.#runs) {
      if (joined.length === 0 && isFinished(run.state)) {
        this.#start = run.last + 1;
        continue;
      }
      const before = joined[joined.length - 1];
      if (before !== undefined && sameKind(before, run)) before.last = run.last;
      else joined.push(run);
    }
    this.#runs = joined;
  }

  /** Forgets everything and begins at another offset. */
  restart(start: number): void {
    this.#runs = [];
    this.#start = start;
    this.#next = start;
  }

  /** Finished records behind the start. */
  finishedCount(): number {
    let count = 0;
    for (const { first, last, state } of this.#runs) if (isFinished(state)) count += last - first + 1;
    return count;
  }

  /** The whole window as it is stored: what is acquired counts as available, without the delivery under way. */
  stored(): ShareStateBatch[] {
    const batches: ShareStateBatch[] = [];
    for (const { first, last, state, count } of this.#runs) {
      const acquired = state === recordStates.acquired;
      const deliveryCount = acquired ? count - 1 : count;
      const deliveryState = acquired ? recordStates.available : state;
      batches.push({ firstOffset: first, lastOffset: last, deliveryState, deliveryCount });
    }
    return batches;
  }
}

function sameKind(a: Run, b: Run): boolean {
  return a.state === b.state && a.count === b.count && a.member === b.member && a.until === b.until;
}

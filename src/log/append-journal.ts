/**
 * The batches one shard holds in memory for one WAL volume, oldest first, as columns of typed arrays.
 *
 *      head          uploaded        durable          tail
 *       │ cached, in    │ the delta:     │ handed to      │
 *       │ objects too   │ durable, not   │ the WAL, not   │
 *       │ (evictable)   │ yet uploaded   │ yet durable    │
 *       ▼───────────────▼────────────────▼────────────────▼
 *
 * Entry numbers only grow (1, 2, 3, …; slot = number & mask) and follow WAL order, so each cut is one index. Every
 * entry holds one reference on the arena segments its bytes touch, from append until it is evicted or dropped.
 * Owned by one shard. Bound: `capacity` entries; at the bound uploaded ones give way, and when none is left produce is
 * refused with a retriable error after the throttle.
 */
import type { Arena } from '../ports/arena.ts';
import { MillraceError } from '../ports/errors.ts';
import type { StreamId } from '../ports/stream-id.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';

/** A ring as full as this takes no more appends: what is on its way, headers and padding need the rest. */
const ringFull = 0.9;

/** Whoever waits for an entry to become durable; called once, in entry order. */
export interface AppendWaiter {
  onAppended(
    index: number,
    error: number,
    baseOffset: number,
    logAppendTime: number,
    logStartOffset: number,
  ): void;
}

/** What the journal asks of the log whose batches it keeps. */
export interface JournaledLog {
  readonly stream: StreamId;
  readonly startOffset: number;
  /** Its entries in the journal, oldest first. */
  readonly tail: { dropNewest(): void; dropOldest(): void };
  /** Everything below `end` is durable. */
  onDurable(end: number): void;
  /** The time that a produce answer states: the broker's for LogAppendTime, else -1. */
  logAppendTimeOf(maxTimestamp: number): number;
}

export class AppendJournal {
  readonly volume: number;
  readonly capacity: number;
  readonly deltaBytesMax: number;
  private readonly mask: number;
  private readonly arena: Arena;
  private readonly ring: { fullness?(): number } | null;
  readonly position: Float64Array;
  readonly length: Uint32Array;
  readonly baseOffset: Float64Array;
  /** Inclusive. */
  readonly lastOffset: Float64Array;
  readonly maxTimestamp: Float64Array;
  readonly leaderEpoch: Int32Array;
  /** WAL commit that made the entry durable. */
  readonly commit: Float64Array;
  readonly partition: (JournaledLog | null)[];
  readonly waiter: (AppendWaiter | null)[];
  readonly waiterIndex: Int32Array;
  /** Oldest entry still held; entries are [head, tail). */
  head = 1;
  /** First entry not yet in a committed object. */
  uploaded = 1;
  /** First entry not yet durable. */
  durable = 1;
  /** Number of the next entry. */
  tail = 1;
  /** Bytes of [head, tail), of [uploaded, durable) and of [durable, tail). */
  heldBytes = 0;
  deltaBytes = 0;
  pendingBytes = 0;
  /** Position and length of each failed entry that may still be on its way to the device. */
  private readonly givenUp: number[] = [];
  /** False while nothing may be acknowledged: appends are refused, and what becomes durable is answered as timed out. */
  private readonly mayAcknowledge: () => boolean;
  /** Duplicates that wait for an entry appended earlier (rare: a retry while the original is in flight). */
  private readonly joined = new Map<number, { waiter: AppendWaiter; index: number }[]>();

  /**
   * @param deltaBytesMax bytes not yet in objects (delta and in flight) that the journal takes.
   * @param ring the volume: tiny commits fill it with headers and padding long before their bytes count for much.
   */
  constructor(
    volume: number,
    capacity: number,
    deltaBytesMax: number,
    arena: Arena,
    ring: { fullness?(): number } | null = null,
    mayAcknowledge: () => boolean = () => true,
  ) {
    this.mayAcknowledge = mayAcknowledge;
    this.ring = ring;
    if (capacity < 2 || (capacity & (capacity - 1)) !== 0)
      throw new RangeError('journal capacity: a power of two');
    this.volume = volume;
    this.deltaBytesMax = deltaBytesMax;
    this.capacity = capacity;
    this.mask = capacity - 1;
    this.arena = arena;
    this.position = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
    this.baseOffset = new Float64Array(capacity);
    this.lastOffset = new Float64Array(capacity);
    this.maxTimestamp = new Float64Array(capacity);
    this.leaderEpoch = new Int32Array(capacity);
    this.commit = new Float64Array(capacity);
    this.partition = new Array<JournaledLog | null>(capacity).fill(null);
    this.waiter = new Array<AppendWaiter | null>(capacity).fill(null);
    this.waiterIndex = new Int32Array(capacity);
  }

  slot(entry: number): number {
    return entry & this.mask;
  }

  entriesFull(): boolean {
    return this.tail - this.head >= this.capacity;
  }

  /**
   * Room for another entry, if need be in place of the oldest uploaded one. False when everything held waits for its
   * upload, or too many bytes do, or the ring is full, or nothing may be acknowledged.
   */
  makeRoom(): boolean {
    if (!this.mayAcknowledge()) return false;
    if (this.deltaBytes + this.pendingBytes >= this.deltaBytesMax || this.ringShare() >= ringFull)
      return false;
    return !this.entriesFull() || this.evictOldest();
  }

  private ringShare(): number {
    return this.ring?.fullness?.() ?? 0;
  }

  /** How near the bound is, 0 to 1. */
  congestion(): number {
    const entries = (this.tail - this.uploaded) / this.capacity;
    const bytes = (this.deltaBytes + this.pendingBytes) / this.deltaBytesMax;
    return Math.min(1, Math.max(entries, bytes, this.ringShare() / ringFull));
  }

  /** Records an entry at the tail and takes its arena references. The caller has asked `makeRoom()`. */
  append(
    partition: JournaledLog,
    position: number,
    length: number,
    baseOffset: number,
    lastOffset: number,
    maxTimestamp: number,
    leaderEpoch: number,
    waiter: AppendWaiter | null,
    waiterIndex: number,
  ): number {
    const entry = this.tail++;
    const s = entry & this.mask;
    this.position[s] = position;
    this.length[s] = length;
    this.baseOffset[s] = baseOffset;
    this.lastOffset[s] = lastOffset;
    this.maxTimestamp[s] = maxTimestamp;
    this.leaderEpoch[s] = leaderEpoch;
    this.commit[s] = 0;
    this.partition[s] = partition;
    this.waiter[s] = waiter;
    this.waiterIndex[s] = waiterIndex;
    this.heldBytes += length;
    this.pendingBytes += length;
    this.arena.retainRange(position, length);
    return entry;
  }

  /** Lets a duplicate share the completion of an entry that is not durable yet. */
  join(entry: number, waiter: AppendWaiter, index: number): void {
    const list = this.joined.get(entry);
    if (list === undefined) this.joined.set(entry, [{ waiter, index }]);
    else list.push({ waiter, index });
  }

  /** Entries below `through + 1` are durable in WAL commit `commit`: moves high watermarks, then answers in order. */
  completeThrough(through: number, commit: number): void {
    const end = through + 1;
    if (end > this.tail) {
      const what = `entry ${through} is said to be durable, the last one is ${this.tail - 1}`;
      throw new MillraceError('internal', 'JOURNAL_ORDER', what);
    }
    let bytes = 0;
    for (let entry = this.durable; entry < end; entry++) {
      const s = entry & this.mask;
      bytes += this.length[s]!;
      this.commit[s] = commit;
      // Once for adjacent entries of a partition: the newest says it all.
      const next = entry + 1 < end ? this.partition[(entry + 1) & this.mask] : null;
      if (next !== this.partition[s]) this.partition[s]!.onDurable(this.lastOffset[s]! + 1);
    }
    this.pendingBytes -= bytes;
    this.deltaBytes += bytes;
    const first = this.durable;
    this.durable = Math.max(this.durable, end);
    const outcome = this.mayAcknowledge() ? ErrorCode.NONE : ErrorCode.REQUEST_TIMED_OUT;
    for (let entry = first; entry < end; entry++) this.answer(entry, outcome);
  }

  /**
   * The WAL epoch ended: everything not durable has failed. Entries leave the journal newest first. What the device may
   * still be writing keeps its memory until `releaseGivenUp`, however long that takes: no more than was pending.
   */
  failPending(error: number, outstanding: boolean): void {
    for (let entry = this.durable; entry < this.tail; entry++) this.answer(entry, error);
    while (this.tail > this.durable) {
      const s = --this.tail & this.mask;
      const length = this.length[s]!;
      this.pendingBytes -= length;
      this.heldBytes -= length;
      this.partition[s]!.tail.dropNewest();
      this.partition[s] = null;
      if (outstanding) this.givenUp.push(this.position[s]!, length);
      else this.arena.releaseRange(this.position[s]!, length);
    }
  }

  /** The write that was outstanding when the epoch ended has returned. */
  releaseGivenUp(): void {
    const { givenUp } = this;
    for (let i = 0; i < givenUp.length; i += 2) this.arena.releaseRange(givenUp[i]!, givenUp[i + 1]!);
    givenUp.length = 0;
  }

  private answer(entry: number, error: number): void {
    const s = entry & this.mask;
    const waiter = this.waiter[s];
    const partition = this.partition[s]!;
    if (waiter != null) {
      this.waiter[s] = null;
      waiter.onAppended(
        this.waiterIndex[s]!,
        error,
        this.baseOffset[s]!,
        partition.logAppendTimeOf(this.maxTimestamp[s]!),
        partition.startOffset,
      );
    }
    if (this.joined.size > 0) {
      const list = this.joined.get(entry);
      if (list !== undefined) {
        this.joined.delete(entry);
        for (const { waiter: other, index } of list) {
          other.onAppended(
            index,
            error,
            this.baseOffset[s]!,
            partition.logAppendTimeOf(this.maxTimestamp[s]!),
            partition.startOffset,
          );
        }
      }
    }
  }

  /** First entry whose commit is newer than the cut: the delta up to the cut is [uploaded, that). */
  endOfCut(commit: number): number {
    let low = this.uploaded;
    let high = this.durable;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.commit[middle & this.mask]! <= commit) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The delta up to `end` is in committed objects. */
  markUploaded(end: number): void {
    for (; this.uploaded < end; this.uploaded++) this.deltaBytes -= this.length[this.uploaded & this.mask]!;
  }

  /** Evicts the oldest uploaded entry; false when only the delta is left. */
  evictOldest(): boolean {
    return this.evictUntil(-1, 1) === 1;
  }

  /**
   * Evicts uploaded entries, oldest first, while more than `heldBytes` are held, `entriesMax` of them at most.
   * @returns how many.
   */
  evictUntil(heldBytes: number, entriesMax: number): number {
    const { segmentBytes } = this.arena;
    const end = Math.min(this.uploaded, this.head + entriesMax);
    const from = this.head;
    // Neighbours lie in one segment as a rule: their references go together.
    let segment = -1;
    let references = 0;
    while (this.head < end && this.heldBytes > heldBytes) {
      const s = this.head++ & this.mask;
      const position = this.position[s]!;
      const length = this.length[s]!;
      this.heldBytes -= length;
      this.partition[s]!.tail.dropOldest();
      this.partition[s] = null;
      const first = Math.floor(position / segmentBytes);
      const last = Math.floor((position + length - 1) / segmentBytes);
      for (let at = first; at <= last; at++) {
        if (at === segment) references++;
        else {
          if (references > 0) this.arena.release(segment, references);
          segment = at;
          references = 1;
        }
      }
    }
    if (references > 0) this.arena.release(segment, references);
    return this.head - from;
  }
}

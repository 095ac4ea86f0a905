/**
 * A partition as requests see it, wherever it is served: on this shard (PartitionLog) or on another one (through a
 * link). Callbacks may run before the call returns.
 */
import type { Arena } from '../ports/arena.ts';
import type { AppendWaiter } from './append-journal.ts';
import type { LogSettings } from './log-settings.ts';

/** A view and an iovec cost about as much as copying this many bytes (80–260 ns at 0.24 CPU-s/GB ≈ 1 KiB; warm: 4). */
const copyBelowBytes = 2048;
const copyTogetherBytes = 64 * 1024;

/** Whole batches in the arena, each range referenced until `release`. */
export class RecordRanges {
  readonly positions: number[] = [];
  readonly lengths: number[] = [];
  byteLength = 0;
  private readonly arena: Arena;
  private readonly lender: (() => void) | null;
  private released = false;

  /** @param lender bytes that somebody else keeps in place: called once at release, instead of dropping references. */
  constructor(arena: Arena, lender: (() => void) | null = null) {
    this.arena = arena;
    this.lender = lender;
  }

  /** Takes a reference of its own on the range. */
  add(position: number, length: number): void {
    this.arena.retainRange(position, length);
    this.adopt(position, length);
  }

  /** Takes over a reference that the caller (or the lender) holds. */
  adopt(position: number, length: number): void {
    this.positions.push(position);
    this.lengths.push(length);
    this.byteLength += length;
  }

  /** Appends views of the bytes; ranges that lie side by side become one, and tiny ones are copied together. */
  chunks(into: Uint8Array[]): void {
    const { buffer } = this.arena;
    const { positions, lengths } = this;
    for (let i = 0; i < positions.length; ) {
      const start = positions[i]!;
      let end = start + lengths[i]!;
      let next = i + 1;
      while (next < positions.length && positions[next] === end) end += lengths[next++]!;
      if (end - start >= copyBelowBytes) {
        into.push(buffer.subarray(start, end));
        i = next;
        continue;
      }
      let bytes = 0;
      let last = i;
      while (last < positions.length && lengths[last]! < copyBelowBytes && bytes < copyTogetherBytes)
        bytes += lengths[last++]!;
      const together = Buffer.allocUnsafe(bytes);
      let at = 0;
      for (let k = i; k < last; k++) {
        buffer.copy(together, at, positions[k]!, positions[k]! + lengths[k]!);
        at += lengths[k]!;
      }
      into.push(together);
      i = last;
    }
  }

  /** Somebody else keeps the bytes in place: there are no references to hand over, only a release to be called. */
  get lent(): boolean {
    return this.lender !== null;
  }

  /** The references are another holder's from now on; releasing does nothing more. */
  handOver(): void {
    this.released = true;
  }

  /** Gives up all but the first `count` ranges. */
  truncate(count: number): void {
    const { positions, lengths } = this;
    while (positions.length > count) {
      const position = positions.pop()!;
      const length = lengths.pop()!;
      this.byteLength -= length;
      if (this.lender === null) this.arena.releaseRange(position, length);
    }
  }

  release(): void {
    if (this.released) return;
    this.released = true;
    if (this.lender !== null) {
      this.lender();
      return;
    }
    for (let i = 0; i < this.positions.length; i++)
      this.arena.releaseRange(this.positions[i]!, this.lengths[i]!);
  }
}

export interface ReadResult {
  /** Wire error, 0 = none. */
  readonly error: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly startOffset: number;
  /** Null when there is nothing; whoever gets it releases it. */
  readonly records: RecordRanges | null;
  /**
   * Reads of committed records: all aborted transactions that reach into what is returned, by first offset; maybe some that
   * begin behind it. Absent = none.
   */
  readonly aborted?: readonly AbortedTransaction[];
}

export interface AbortedTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
}

/** A producer of a partition, as DescribeProducers tells it (KIP-664). */
export interface ProducerDescription {
  readonly producerId: number;
  readonly epoch: number;
  /** −1 when it has written none in its epoch. */
  readonly lastSequence: number;
  /** ms since 1970, of its newest batch or marker. */
  readonly lastTimestamp: number;
  /** Of its newest marker; −1 = none. */
  readonly coordinatorEpoch: number;
  /** First offset of its open transaction; −1 = none is open. */
  readonly txnFirstOffset: number;
}

export type ProducersAnswer = (error: number, producers: readonly ProducerDescription[]) => void;

/**
 * What stands for a transactional batch at its append, unless a transaction of its producer is open in the partition: one that
 * `verify` gave, or one of these. Kafka: VerificationGuard (KIP-890).
 */
export const appendGuard = {
  /** Nothing: the batch may only go on with an open transaction. */
  none: 0,
  /** The broker's own coordinators, which know that the transaction is open. */
  trusted: -1,
} as const;

export type VerifyAnswer = (error: number, guard: number) => void;

export interface ReadSink {
  onRead(index: number, result: ReadResult): void;
  /** On whose behalf; asked for cold reads only. */
  caller?(index: number): ReadCaller;
}

export interface ReadCaller {
  /** The client's connection: cold reads are served by turns, reader by reader. */
  readonly reader: number;
  /** The answer is wanted no more: a cold read that has not begun is left. */
  readonly gone: () => boolean;
}

/** Told when a partition's high watermark, log start or availability moved. */
export interface PartitionWatcher {
  onPartitionChanged(partition: PartitionHandle): void;
}

/**
 * Questions that need the log itself; answered with offset, timestamp and leader epoch (−1 = none). bytesFrom: bytes of
 * the durable batches in memory from an offset on, in the place of the offset.
 */
export const offsetQuery = { byTime: 0, maxTimestamp: 1, epochEnd: 2, bytesFrom: 3 } as const;
export type OffsetAnswer = (error: number, offset: number, timestamp: number, leaderEpoch: number) => void;

export interface PartitionHandle {
  readonly topicId: string;
  readonly partition: number;
  readonly settings: LogSettings;
  readonly leaderEpoch: number;
  readonly highWatermark: number;
  readonly lastStableOffset: number;
  readonly startOffset: number;
  /** False once the partition is deleted or moved: look it up again. */
  readonly live: boolean;
  /**
   * Appends one batch that lies in the arena: a client's, a coordinator's (without sequence), or a marker (control batch, see
   * transaction-seam.ts). The waiter is called once: at once on refusal, else when it is durable.
   * @param guard of a transactional batch: an appendGuard or what `verify` gave; of a marker: its transaction version.
   */
  append(position: number, length: number, waiter: AppendWaiter | null, index: number, guard?: number): void;
  /**
   * Begins the verification of a transaction here (KIP-890), before the coordinator is asked whether the partition belongs to
   * it. Answers with the guard for the append; appendGuard.none when the transaction is open here and needs none. A marker or
   * a transactional append of the producer ends the guard.
   * @param bumps the client's version bumps epochs with each transaction (Produce from v12 on).
   */
  verify(producerId: number, epoch: number, sequence: number, bumps: boolean, answer: VerifyAnswer): void;
  /** Every producer that the partition knows, as of what is durable. */
  describeProducers(answer: ProducersAnswer): void;
  /**
   * Reads whole batches from the one that holds `offset` on, at most `maxBytes` but at least one batch when
   * `atLeastOne` (KIP-74). `deadline` (monotonic ms) bounds the wait for cold data. With `committed` (isolation level
   * read_committed) what is returned ends at the last stable offset, and the aborted transactions in it are told.
   */
  read(
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    deadline: number,
    sink: ReadSink,
    index: number,
    committed?: boolean,
  ): void;
  /** Records of it go to a client: what balance goes by. @param fromMemory nothing was fetched from the store for them. */
  sent(bytes: number, fromMemory: boolean): void;
  query(kind: number, argument: number, answer: OffsetAnswer): void;
  /**
   * On mirrors of a partition elsewhere: brings the offsets up to date, for requests that answer with them. Absent
   * where they always are.
   */
  refresh?(done: (error: number) => void): void;
  watch(watcher: PartitionWatcher): void;
  unwatch(watcher: PartitionWatcher): void;
}

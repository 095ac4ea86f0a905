/**
 * One partition's log on the shard that owns it: offsets, leader epoch, high watermark, producers and the index of the
 * batches still in memory. *Appended* and *durable* are two states: nextOffset counts appended batches, while reads,
 * answers and the high watermark see durable ones only (design §10).
 *
 *   startOffset ──────── objects ────────┬──── tail (arena) ────┬── in flight ──┐
 *                                        oldest tail entry      highWatermark   nextOffset
 */

import type { EpochStart } from '../metadata/metadata-store.ts';
import type { Arena } from '../ports/arena.ts';
import { MillraceError } from '../ports/errors.ts';
import type { StreamId } from '../ports/stream-id.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  attributesOf,
  baseOffsetOf,
  crcStart,
  isTransactional,
  keptTimestampOf,
  lastOffsetDeltaOf,
  lastOffsetOf,
  leaderEpochOf,
  patchBaseOffset,
  patchCrc,
  patchLeaderEpoch,
  producerIdOf,
  setLogAppendTime,
} from '../protocol/records/batch-header.ts';
import type { AbortedTxn } from '../stream/objects/objects.ts';
import { foldBatch } from '../stream/producers/batch-fold.ts';
import { ProducerFold } from '../stream/producers/producer-fold.ts';
import { appendRefused, type Wal } from '../stream/wal/wal.ts';
import type { AppendJournal, AppendWaiter } from './append-journal.ts';
import type { LogSettings } from './log-settings.ts';
import {
  type AbortedTransaction,
  appendGuard,
  type OffsetAnswer,
  offsetQuery,
  type PartitionHandle,
  type PartitionWatcher,
  type ProducersAnswer,
  type ReadCaller,
  type ReadSink,
  RecordRanges,
  type VerifyAnswer,
} from './partition-handle.ts';
import { checkProducer, duplicate, isDuplicate, isOngoing } from './producer-check.ts';
import type { StreamTraffic } from './stream-traffic.ts';
import { TailIndex } from './tail-index.ts';
import { Verifications } from './verifications.ts';

/**
 * @param nextOffset offset behind what was read: without records the read goes on there, if it lies further on. Compaction leaves
 * gaps.
 */
export type ColdDone = (
  error: number,
  records: RecordRanges | null,
  nextOffset: number,
  aborted: readonly AbortedTxn[],
) => void;

/** A stream as reads of its objects see it; what is returned ends before the high watermark. */
export type ColdStream = Pick<PartitionLog, 'name' | 'topicId' | 'partition' | 'highWatermark'>;

/** Up to where reads of committed records go, and what is known of aborted transactions where objects end. */
export interface CommittedEnd {
  readonly lastStableOffset: number;
  /** From here on transactions that ended are told by `producers`; below, objects tell of them. */
  readonly tailStart: number;
  readonly producers: Pick<ProducerFold, 'abortedOver'>;
}

/** Reads and time lookups below what memory holds; `sink`-style callbacks, implemented over objects. */
export interface ColdPath {
  /** @param committed of a read of committed records; null = all records. */
  read(
    stream: ColdStream,
    offset: number,
    maxBytes: number,
    deadline: number,
    committed: CommittedEnd | null,
    done: ColdDone,
    caller?: ReadCaller,
  ): void;
  /** First record with timestamp ≥ t (byTime) or the record with the largest timestamp, over objects and memory. */
  lookup(log: PartitionLog, kind: number, argument: number, answer: OffsetAnswer): void;
}

export interface PartitionLogDeps {
  readonly arena: Arena;
  readonly journal: AppendJournal;
  readonly wal: Wal;
  readonly now: () => number;
  /** CRC-32C of arena bytes, for batches whose header we change under the CRC (LogAppendTime). */
  readonly crc32c: (position: number, length: number) => number;
  /** Called once per loop turn and partition after its state moved. */
  readonly onChanged: (partition: PartitionLog) => void;
  readonly cold: ColdPath;
  readonly traffic: StreamTraffic;
}

const noneAborted: readonly AbortedTxn[] = [];

export class PartitionLog implements PartitionHandle {
  readonly name: string;
  readonly stream: StreamId;
  readonly tail = new TailIndex();
  readonly producers: ProducerFold;
  readonly verifications = new Verifications();
  readonly watchers = new Set<PartitionWatcher>();
  settings: LogSettings;
  epochs: EpochStart[];
  leaderEpoch: number;
  startOffset: number;
  nextOffset: number;
  highWatermark: number;
  /** 0 while writable, else the wire error that produce gets. */
  writeError = 0;
  changed = false;
  live = true;
  private readonly deps: PartitionLogDeps;
  private trafficSlot: number;

  constructor(
    name: string,
    stream: StreamId,
    settings: LogSettings,
    at: { leaderEpoch: number; epochs: readonly EpochStart[]; startOffset: number; endOffset: number },
    deps: PartitionLogDeps,
  ) {
    this.name = name;
    this.stream = stream;
    this.settings = settings;
    this.leaderEpoch = at.leaderEpoch;
    this.epochs = [...at.epochs];
    this.startOffset = at.startOffset;
    this.nextOffset = at.endOffset;
    this.highWatermark = at.endOffset;
    this.producers = new ProducerFold(at.endOffset);
    this.deps = deps;
    this.trafficSlot = deps.traffic.open(stream.topicId, stream.partition);
  }

  get journal(): AppendJournal {
    return this.deps.journal;
  }

  get topicId(): string {
    return this.stream.topicId;
  }

  get partition(): number {
    return this.stream.partition;
  }

  watch(watcher: PartitionWatcher): void {
    this.watchers.add(watcher);
  }

  unwatch(watcher: PartitionWatcher): void {
    this.watchers.delete(watcher);
  }

  read(
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    deadline: number,
    sink: ReadSink,
    index: number,
    committed = false,
  ): void {
    if (!this.live) {
      this.deliver(this.writeError, null, sink, index);
      return;
    }
    if (offset < this.startOffset || offset > this.highWatermark) {
      this.deliver(ErrorCode.OFFSET_OUT_OF_RANGE, null, sink, index);
      return;
    }
    const limit = committed ? this.lastStableOffset : this.highWatermark;
    if (offset >= limit) {
      this.deliver(0, null, sink, index);
      return;
    }
    if (offset < this.tailStart) {
      this.deps.cold.read(
        this,
        offset,
        atLeastOne ? Math.max(1, maxBytes) : maxBytes,
        deadline,
        committed ? this : null,
        (error, records, nextOffset, aborted) => {
          if (records !== null && !atLeastOne && records.byteLength > maxBytes) {
            records.release();
            this.deliver(0, null, sink, index);
          } else if (error === 0 && records === null && nextOffset > offset) {
            this.read(nextOffset, maxBytes, atLeastOne, deadline, sink, index, committed);
          } else this.deliver(error, records, sink, index, aborted);
        },
        sink.caller?.(index),
      );
      return;
    }
    const { journal, tail } = this;
    const records = new RecordRanges(this.deps.arena);
    let end = offset;
    for (let i = tail.find(journal, offset); i < tail.count; i++) {
      const entry = tail.at(i);
      if (entry >= journal.durable) break;
      const slot = journal.slot(entry);
      if (committed && journal.lastOffset[slot]! >= limit) break;
      const length = journal.length[slot]!;
      if (records.byteLength + length > maxBytes && !(atLeastOne && records.byteLength === 0)) break;
      records.add(journal.position[slot]!, length);
      end = journal.lastOffset[slot]! + 1;
    }
    const aborted = committed ? this.producers.abortedOver(offset, end) : noneAborted;
    this.deliver(0, records.byteLength === 0 ? null : records, sink, index, aborted);
  }

  private deliver(
    error: number,
    records: RecordRanges | null,
    sink: ReadSink,
    index: number,
    aborted: readonly AbortedTransaction[] = noneAborted,
  ): void {
    if (error !== 0)
      sink.onRead(index, { error, highWatermark: -1, lastStableOffset: -1, startOffset: -1, records: null });
    else
      sink.onRead(index, {
        error: 0,
        highWatermark: this.highWatermark,
        lastStableOffset: this.lastStableOffset,
        startOffset: this.startOffset,
        records,
        aborted,
      });
  }

  query(kind: number, argument: number, answer: OffsetAnswer): void {
    if (!this.live) {
      answer(this.writeError, -1, -1, -1);
      return;
    }
    if (kind === offsetQuery.epochEnd) {
      const { epoch, endOffset } = this.endOffsetForEpoch(argument);
      answer(0, endOffset, -1, epoch);
      return;
    }
    if (kind === offsetQuery.bytesFrom) {
      answer(0, this.bytesFrom(argument), -1, -1);
      return;
    }
    this.deps.cold.lookup(this, kind, argument, answer);
  }

  private bytesFrom(offset: number): number {
    const { journal } = this.deps;
    const { tail } = this;
    let bytes = 0;
    for (let i = tail.find(journal, offset); i < tail.count && tail.at(i) < journal.durable; i++)
      bytes += journal.length[journal.slot(tail.at(i))]!;
    return bytes;
  }

  /** −1 for CreateTime topics; the batch's own append time otherwise. */
  logAppendTimeOf(maxTimestamp: number): number {
    return this.settings.logAppendTime ? maxTimestamp : -1;
  }

  /**
   * Appends one validated batch lying at arena [position, position + length): checks the producer, assigns offsets,
   * patches the header, and hands it to the WAL. The waiter is called once: at once on refusal, else when durable.
   * INVALID_RECORD = the log has no offsets left for the batch.
   */
  append(
    position: number,
    length: number,
    waiter: AppendWaiter | null,
    index: number,
    guard: number = appendGuard.none,
  ): void {
    if (this.writeError !== 0) {
      waiter?.onAppended(index, this.writeError, -1, -1, this.startOffset);
      return;
    }
    const { arena, journal, wal } = this.deps;
    const view = arena.view;
    const producerId = producerIdOf(view, position);
    if (producerId >= 0) {
      const error = checkProducer(this.producers, this.verifications, view, position, guard);
      if (error !== 0) {
        this.refuse(error, waiter, index);
        return;
      }
    }
    if (!journal.makeRoom()) {
      waiter?.onAppended(index, ErrorCode.NOT_ENOUGH_REPLICAS, -1, -1, this.startOffset);
      return;
    }
    const baseOffset = this.nextOffset;
    const lastOffset = baseOffset + lastOffsetDeltaOf(view, position);
    // Nothing behind the log can state an offset that is no exact number: not its indexes, not the metadata.
    if (!Number.isSafeInteger(lastOffset + 1)) {
      waiter?.onAppended(index, ErrorCode.INVALID_RECORD, -1, -1, this.startOffset);
      return;
    }
    patchBaseOffset(view, position, baseOffset);
    patchLeaderEpoch(view, position, this.leaderEpoch);
    if (this.settings.logAppendTime) {
      setLogAppendTime(view, position, this.deps.now());
      patchCrc(view, position, this.deps.crc32c(position + crcStart, length - crcStart));
    }
    const maxTimestamp = keptTimestampOf(view, position);
    // The WAL takes it first: only what it accepted enters the journal, so both number their entries alike.
    const number = wal.tryAppend(this.stream, position, length);
    if (number < 1) {
      const error =
        number === appendRefused.tooLong ? ErrorCode.MESSAGE_TOO_LARGE : ErrorCode.NOT_ENOUGH_REPLICAS;
      waiter?.onAppended(index, error, -1, -1, this.startOffset);
      return;
    }
    const entry = journal.append(
      this,
      position,
      length,
      baseOffset,
      lastOffset,
      maxTimestamp,
      this.leaderEpoch,
      waiter,
      index,
    );
    this.deps.traffic.appended(this.trafficSlot, length);
    this.tail.push(entry);
    this.nextOffset = lastOffset + 1;
    if (producerId >= 0) {
      foldBatch(this.producers, view, position);
      if (isTransactional(attributesOf(view, position))) this.verifications.end(producerId);
    }
  }

  sent(bytes: number, fromMemory: boolean): void {
    this.deps.traffic.sent(this.trafficSlot, bytes, fromMemory);
  }

  /** Nobody counts on this log any more. */
  endTraffic(): void {
    this.trafficSlot = this.deps.traffic.close(this.trafficSlot);
  }

  verify(producerId: number, epoch: number, sequence: number, bumps: boolean, answer: VerifyAnswer): void {
    const producer = this.producers.get(producerId);
    if (producer !== undefined && epoch < producer.epoch) answer(ErrorCode.INVALID_PRODUCER_EPOCH, -1);
    else if (isOngoing(producer, epoch)) answer(0, appendGuard.none);
    else answer(0, this.verifications.begin(producerId, epoch, sequence, bumps));
  }

  describeProducers(answer: ProducersAnswer): void {
    const states = this.producers.snapshot(0, this.highWatermark);
    answer(
      0,
      states.map(({ producerId, epoch, batches, timestamp, coordinatorEpoch, txnFirstOffset }) => {
        const lastSequence = batches.at(-1)?.lastSequence ?? -1;
        return {
          producerId,
          epoch,
          lastSequence,
          lastTimestamp: timestamp,
          coordinatorEpoch,
          txnFirstOffset,
        };
      }),
    );
  }

  private refuse(error: number, waiter: AppendWaiter | null, index: number): void {
    if (error !== isDuplicate) {
      waiter?.onAppended(index, error, -1, -1, this.startOffset);
      return;
    }
    const { baseOffset, timestamp } = duplicate;
    if (waiter === null) return;
    // Behind the high watermark the original is still in memory.
    if (baseOffset >= this.highWatermark)
      this.journal.join(this.tail.at(this.tail.find(this.journal, baseOffset)), waiter, index);
    else waiter.onAppended(index, 0, baseOffset, this.logAppendTimeOf(timestamp), this.startOffset);
  }

  /**
   * Whether a recovered batch is the next of this log. The first one may begin below a log start that was moved into
   * the middle of it; it is kept whole, as it would have been without the crash.
   */
  follows(position: number): boolean {
    const { view } = this.deps.arena;
    const baseOffset = baseOffsetOf(view, position);
    if (baseOffset === this.nextOffset) return true;
    const covers = baseOffset < this.startOffset && lastOffsetOf(view, position) >= this.startOffset;
    return covers && this.nextOffset === this.startOffset && this.tail.count === 0;
  }

  /** Takes a batch that recovery found durable in the WAL and loaded into the arena; it `follows`. */
  restore(position: number, length: number, commit: number): void {
    const { arena, journal } = this.deps;
    const view = arena.view;
    const baseOffset = baseOffsetOf(view, position);
    const lastOffset = baseOffset + lastOffsetDeltaOf(view, position);
    const maxTimestamp = keptTimestampOf(view, position);
    if (journal.entriesFull() && !journal.evictOldest())
      throw new MillraceError(
        'exhausted',
        'JOURNAL_FULL',
        `a write-ahead log holds more than the ${journal.capacity} batches that memory has room for`,
      );
    const entry = journal.append(
      this,
      position,
      length,
      baseOffset,
      lastOffset,
      maxTimestamp,
      leaderEpochOf(view, position),
      null,
      0,
    );
    this.tail.push(entry);
    this.nextOffset = lastOffset + 1;
    journal.completeThrough(entry, commit);
    foldBatch(this.producers, view, position);
  }

  /** Called by the journal, in order, for each batch that became durable. */
  onDurable(highWatermark: number): void {
    this.highWatermark = highWatermark;
    this.producers.settle(highWatermark);
    this.touch();
  }

  moveStart(startOffset: number): void {
    if (startOffset <= this.startOffset) return;
    this.startOffset = startOffset;
    // Epochs that lie below the start as a whole are forgotten here as in the metadata.
    const covering = this.epochs.findLastIndex((epoch) => epoch.startOffset <= startOffset);
    if (covering > 0) this.epochs.splice(0, covering);
    this.touch();
  }

  touch(): void {
    if (this.changed) return;
    this.changed = true;
    this.deps.onChanged(this);
  }

  notify(): void {
    this.changed = false;
    for (const watcher of this.watchers) watcher.onPartitionChanged(this);
  }

  /** Lowest offset that memory can serve; reads below it go to the objects. */
  get tailStart(): number {
    if (this.tail.count === 0) return this.highWatermark;
    return this.journal.baseOffset[this.journal.slot(this.tail.at(0))]!;
  }

  /** First offset that is not in objects yet: durable or not, it is in memory. */
  get storedEnd(): number {
    return this.endBelow(this.journal.uploaded);
  }

  /** Offset behind the batches in front of a journal's entry. */
  endBelow(entry: number): number {
    const { journal, tail } = this;
    const low = tail.firstFrom(entry);
    return low === tail.count ? this.nextOffset : journal.baseOffset[journal.slot(tail.at(low))]!;
  }

  /**
   * First offset of the oldest transaction that is open, or whose marker is not durable; without one the high watermark.
   * Never below the log start.
   */
  get lastStableOffset(): number {
    return Math.max(this.producers.lastStable(this.highWatermark), this.startOffset);
  }

  /**
   * KIP-320: the largest epoch ≤ asked and the offset where it ended. An epoch older than all that are known ended where
   * the first of them begins: its records are deleted, or it wrote none. −1/−1 for an epoch that is yet to come.
   */
  endOffsetForEpoch(epoch: number): { epoch: number; endOffset: number } {
    if (epoch < 0 || epoch > this.leaderEpoch) return { epoch: -1, endOffset: -1 };
    if (epoch === this.leaderEpoch) return { epoch, endOffset: this.highWatermark };
    const at = this.epochs.findLastIndex((known) => known.epoch <= epoch);
    const next = this.epochs[at + 1];
    const endOffset = next === undefined ? this.highWatermark : Math.max(next.startOffset, this.startOffset);
    return { epoch: at < 0 ? epoch : this.epochs[at]!.epoch, endOffset };
  }

  /** Epoch that wrote the offset, for ListOffsets answers. */
  epochAt(offset: number): number {
    for (let i = this.epochs.length - 1; i >= 0; i--) {
      if (this.epochs[i]!.startOffset <= offset) return this.epochs[i]!.epoch;
    }
    return this.leaderEpoch;
  }
}

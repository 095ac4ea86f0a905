/**
 * The coordinators' log over the partitions of one internal topic: records become one v2 batch, copied into the arena and
 * appended like any producer's. Shard thread.
 *
 * Whether an append was refused is known when `append` returns, for partitions of this shard: a refusal tells no offset.
 * Of a partition elsewhere it is told later, as an error like any other.
 */
import type {
  CoordinatorLog,
  CoordinatorRecord,
  EndMarker,
  LoadSink,
  Settled,
  TransactionalProducer,
} from '../coordinator/runtime/coordinator-log.ts';
import type { AppendWaiter } from '../log/append-journal.ts';
import { appendGuard, type PartitionHandle, type ReadResult } from '../log/partition-handle.ts';
import type { Slab } from '../net/slab.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { codecId } from '../protocol/compression/codec.ts';
import type { Codecs } from '../protocol/compression/codecs.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import { buildBatch } from '../protocol/records/batch-builder.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  codecOf,
  isControl,
  isTransactional,
  lastOffsetOf,
  producerEpochOf,
  producerIdOf,
} from '../protocol/records/batch-header.ts';
import { RecordCursor } from '../protocol/records/batch-reader.ts';
import { buildControlMarker, markerType, parseControlMarker } from '../protocol/records/control-marker.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';

export interface CoordinatorLogDeps {
  readonly topic: string;
  readonly arena: Arena;
  readonly slab: Slab;
  readonly clock: Clock;
  readonly codecs: Codecs;
  readonly crc32c: Crc32c;
  readonly partition: (index: number) => PartitionHandle | undefined;
  /** Moves a log start; resolves with a wire error, 0 = done. */
  readonly moveStart: (topicId: string, partition: number, startOffset: number) => Promise<number>;
  readonly logger: Logger;
  /** Wakes the WAL after an append. */
  readonly flush: () => void;
}

/** Read and decoded in one turn of the loop, but for larger batches. */
const readBytes = 1024 * 1024;
const decompressedMax = 64 * 1024 * 1024;
const readTimeoutMs = 30_000;

class Appended implements AppendWaiter {
  /** Set when the append was refused before it returned. */
  refused = 0;
  private readonly clock: Clock;
  private readonly settled: Settled;
  private inside = true;

  constructor(clock: Clock, settled: Settled) {
    this.clock = clock;
    this.settled = settled;
  }

  /** `append` has returned: from now on the callback may run directly. */
  returned(): void {
    this.inside = false;
  }

  onAppended(_index: number, error: number, baseOffset: number): void {
    if (error !== 0 && baseOffset < 0 && this.inside) {
      this.refused = error;
      return;
    }
    const failure =
      error === 0
        ? null
        : new MillraceError('unavailable', 'COORDINATOR_APPEND', `the append failed: ${errorName(error)}`);
    const offset = failure === null ? baseOffset : -1;
    if (this.inside) this.clock.soon(() => this.settled(failure, offset));
    else this.settled(failure, offset);
  }
}

export class PartitionCoordinatorLog implements CoordinatorLog {
  private readonly deps: CoordinatorLogDeps;

  constructor(deps: CoordinatorLogDeps) {
    this.deps = deps;
  }

  append(
    partition: number,
    records: readonly CoordinatorRecord[],
    producer: TransactionalProducer | null,
    settled: Settled,
  ): number {
    const timestamp = this.deps.clock.now();
    const batch = buildBatch(
      records.map(({ key, value }) => ({ timestamp, key, value, headers: [] })),
      producer === null ? {} : { ...producer, transactional: true },
      this.deps.crc32c,
    );
    return this.write(partition, batch, settled, producer === null ? appendGuard.none : appendGuard.trusted);
  }

  appendMarker(partition: number, marker: EndMarker, settled: Settled): number {
    const { committed, ...fields } = marker;
    const type = committed ? markerType.commit : markerType.abort;
    const timestamp = this.deps.clock.now();
    return this.write(
      partition,
      buildControlMarker({ ...fields, type, timestamp }, this.deps.crc32c),
      settled,
      appendGuard.none,
    );
  }

  private write(partition: number, batch: Buffer, settled: Settled, guard: number): number {
    const { arena, slab, clock } = this.deps;
    const log = this.deps.partition(partition);
    if (log === undefined) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
    const position = slab.allocate(batch.length);
    if (position < 0) return ErrorCode.NOT_ENOUGH_REPLICAS;
    batch.copy(arena.buffer, position);
    const waiter = new Appended(clock, settled);
    log.append(position, batch.length, waiter, 0, guard);
    waiter.returned();
    arena.releaseRange(position, batch.length);
    this.deps.flush();
    return waiter.refused;
  }

  trim(partition: number, offset: number): void {
    const log = this.deps.partition(partition);
    if (log === undefined) return;
    const { topic, logger } = this.deps;
    const failed = (reason: string): void =>
      logger.warn('the start of a coordinator’s log did not move; it will with the next snapshot', {
        topic,
        partition,
        offset,
        reason,
      });
    this.deps.moveStart(log.topicId, partition, offset).then(
      (error) => {
        if (error !== 0) failed(errorName(error));
      },
      (error: unknown) => failed(String(error)),
    );
  }

  async load(partition: number, sink: LoadSink): Promise<void> {
    const log = this.deps.partition(partition);
    if (log === undefined) throw this.cannot(partition, 'the partition is not here');
    if (log.refresh !== undefined) {
      const error = await new Promise<number>((resolve) => log.refresh!(resolve));
      if (error !== 0) throw this.cannot(partition, errorName(error));
    }
    const end = log.highWatermark;
    let offset = log.startOffset;
    while (offset < end) {
      const { error, records } = await this.read(log, offset);
      if (error === ErrorCode.OFFSET_OUT_OF_RANGE && offset < log.startOffset) {
        // The log start has moved on meanwhile.
        offset = log.startOffset;
        continue;
      }
      if (error !== 0 || records === null)
        throw this.cannot(
          partition,
          `offset ${offset}: ${error === 0 ? 'not readable yet' : errorName(error)}`,
        );
      try {
        const { positions, lengths } = records;
        for (let i = 0; i < positions.length; i++)
          offset = await this.replay(positions[i]!, positions[i]! + lengths[i]!, offset, sink);
      } finally {
        records.release();
      }
      await this.turn();
    }
  }

  private turn(): Promise<void> {
    return new Promise((resolve) => this.deps.clock.soon(resolve));
  }

  /** Hands over what lies in [at, stop) from `offset` on; returns the offset behind it. */
  private async replay(at: number, stop: number, offset: number, sink: LoadSink): Promise<number> {
    const { view } = this.deps.arena;
    let next = offset;
    for (let position = at; position < stop; position += batchBytesOf(view, position)) {
      const end = lastOffsetOf(view, position) + 1;
      // What the broker writes is plain. A batch of somebody else's may unpack to much: each has a turn of the loop.
      if (codecOf(attributesOf(view, position)) !== codecId.none) await this.turn();
      try {
        this.replayBatch(position, next, sink);
      } catch (error) {
        // Records that a producer packed wrongly: the storage's own damage is an error of the read.
        sink.onUnreadable(
          baseOffsetOf(view, position),
          error instanceof Error ? error.message : String(error),
        );
      }
      next = end;
    }
    return next;
  }

  private replayBatch(position: number, from: number, sink: LoadSink): void {
    const { arena, codecs } = this.deps;
    const { view } = arena;
    const bytes = batchBytesOf(view, position);
    const attributes = attributesOf(view, position);
    const producer = {
      producerId: producerIdOf(view, position),
      producerEpoch: producerEpochOf(view, position),
    };
    if (isControl(attributes)) {
      const marker = parseControlMarker(view, arena.buffer, position, bytes, codecs)!;
      if (marker.type !== markerType.commit && marker.type !== markerType.abort) return;
      const { type, coordinatorEpoch } = marker;
      const ended = { ...producer, coordinatorEpoch, committed: type === markerType.commit };
      sink.onMarker(ended, baseOffsetOf(view, position));
      return;
    }
    const transactional = isTransactional(attributes) ? producer : null;
    const cursor = new RecordCursor();
    cursor.open(arena.buffer, position, bytes, codecs, decompressedMax);
    while (cursor.next()) {
      if (cursor.offset >= from) sink.onRecord(cursor.key(), cursor.value(), cursor.offset, transactional);
    }
  }

  private cannot(partition: number, why: string): MillraceError {
    return new MillraceError('unavailable', 'COORDINATOR_LOAD', `${this.deps.topic}-${partition}: ${why}`);
  }

  private read(log: PartitionHandle, offset: number): Promise<ReadResult> {
    return new Promise((resolve) => {
      const deadline = this.deps.clock.monotonic() + readTimeoutMs;
      log.read(offset, readBytes, true, deadline, { onRead: (_index, result) => resolve(result) }, 0);
    });
  }
}

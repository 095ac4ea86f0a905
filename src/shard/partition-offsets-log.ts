/**
 * The coordinator's OffsetsLog over this shard's `__consumer_offsets` partitions: records become one v2 batch, copied
 * into the arena and appended like any producer's. Shard thread.
 */
import type { OffsetsLog, OffsetsRecord } from '../coordinator/group/offsets-log.ts';
import type { AppendWaiter } from '../log/append-journal.ts';
import type { ReadResult } from '../log/partition-handle.ts';
import type { PartitionLog } from '../log/partition-log.ts';
import type { Slab } from '../net/slab.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Codecs } from '../protocol/compression/codecs.ts';
import { errorName } from '../protocol/generated/errors.ts';
import { buildBatch } from '../protocol/records/batch-builder.ts';
import { attributesOf, batchBytesOf, isControl, lastOffsetOf } from '../protocol/records/batch-header.ts';
import { RecordCursor } from '../protocol/records/batch-reader.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';

export interface OffsetsLogDeps {
  readonly arena: Arena;
  readonly slab: Slab;
  readonly clock: Clock;
  readonly codecs: Codecs;
  readonly crc32c: Crc32c;
  readonly partition: (index: number) => PartitionLog | undefined;
  /** Moves a log start; resolves with a wire error, 0 = done. */
  readonly moveStart: (topicId: string, partition: number, startOffset: number) => Promise<number>;
  readonly logger: Logger;
  /** Wakes the WAL after an append. */
  readonly flush: () => void;
}

const readBytes = 4 * 1024 * 1024;
const decompressedMax = 64 * 1024 * 1024;

class Appended implements AppendWaiter {
  private readonly clock: Clock;
  private readonly callback: (error: Error | null, baseOffset: number) => void;
  private inside = true;

  constructor(clock: Clock, callback: (error: Error | null, baseOffset: number) => void) {
    this.clock = clock;
    this.callback = callback;
  }

  /** `append` has returned: from now on the callback may run directly. */
  returned(): void {
    this.inside = false;
  }

  onAppended(_index: number, error: number, baseOffset: number): void {
    const result =
      error === 0
        ? null
        : new MillraceError('unavailable', 'OFFSETS_APPEND', `the append was refused: ${errorName(error)}`);
    if (this.inside) this.clock.soon(() => this.callback(result, baseOffset));
    else this.callback(result, baseOffset);
  }
}

export class PartitionOffsetsLog implements OffsetsLog {
  private readonly deps: OffsetsLogDeps;

  constructor(deps: OffsetsLogDeps) {
    this.deps = deps;
  }

  append(
    partition: number,
    records: readonly OffsetsRecord[],
    callback: (error: Error | null, baseOffset: number) => void,
  ): void {
    const { arena, slab, clock, crc32c } = this.deps;
    const waiter = new Appended(clock, callback);
    const log = this.deps.partition(partition);
    if (log === undefined) {
      waiter.onAppended(0, 6, -1);
      return;
    }
    const timestamp = clock.now();
    const batch = buildBatch(
      records.map(({ key, value }) => ({ timestamp, key, value, headers: [] })),
      {},
      crc32c,
    );
    const position = slab.allocate(batch.length);
    if (position < 0) {
      waiter.onAppended(0, 19, -1);
      return;
    }
    batch.copy(arena.buffer, position);
    log.append(position, batch.length, waiter, 0);
    waiter.returned();
    arena.releaseRange(position, batch.length);
    this.deps.flush();
  }

  trim(partition: number, offset: number): void {
    const log = this.deps.partition(partition);
    if (log === undefined) return;
    const failed = (reason: string): void =>
      this.deps.logger.warn(
        'the start of an offsets partition did not move; it will with the next snapshot',
        {
          partition,
          offset,
          reason,
        },
      );
    this.deps.moveStart(log.topicId, partition, offset).then(
      (error) => {
        if (error !== 0) failed(errorName(error));
      },
      (error: unknown) => failed(String(error)),
    );
  }

  async load(
    partition: number,
    onRecord: (key: Buffer, value: Buffer | null, offset: number) => void,
  ): Promise<void> {
    const log = this.deps.partition(partition);
    if (log === undefined)
      throw new MillraceError('unavailable', 'OFFSETS_LOAD', `offsets partition ${partition} is not here`);
    const { arena, codecs } = this.deps;
    const cursor = new RecordCursor();
    const end = log.highWatermark;
    let offset = log.startOffset;
    while (offset < end) {
      const result = await this.read(log, offset);
      if (result.error !== 0) {
        throw new MillraceError(
          'unavailable',
          'OFFSETS_LOAD',
          `offsets partition ${partition} at ${offset}: ${errorName(result.error)}`,
        );
      }
      if (result.records === null)
        throw new MillraceError(
          'unavailable',
          'OFFSETS_LOAD',
          `offsets partition ${partition} at ${offset} is not readable yet`,
        );
      const { positions, lengths } = result.records;
      for (let i = 0; i < positions.length; i++) {
        const stop = positions[i]! + lengths[i]!;
        for (let at = positions[i]!; at < stop; at += batchBytesOf(arena.view, at)) {
          if (!isControl(attributesOf(arena.view, at))) {
            cursor.open(arena.buffer, at, batchBytesOf(arena.view, at), codecs, decompressedMax);
            while (cursor.next()) {
              const key = cursor.key();
              if (key !== null && cursor.offset >= offset) onRecord(key, cursor.value(), cursor.offset);
            }
          }
          offset = lastOffsetOf(arena.view, at) + 1;
        }
      }
      result.records.release();
    }
  }

  private read(log: PartitionLog, offset: number): Promise<ReadResult> {
    return new Promise((resolve) => {
      log.read(
        offset,
        readBytes,
        true,
        this.deps.clock.monotonic() + 30_000,
        { onRead: (_index, result) => resolve(result) },
        0,
      );
    });
  }
}

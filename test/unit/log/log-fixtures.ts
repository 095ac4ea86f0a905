/** A partition's log over a WAL that a test holds back, in virtual time. */
import assert from 'node:assert/strict';
import type { AppendWaiter } from '../../../src/log/append-journal.ts';
import { LogManager } from '../../../src/log/log-manager.ts';
import type { ReadResult } from '../../../src/log/partition-handle.ts';
import type { ColdPath, PartitionLog } from '../../../src/log/partition-log.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { StreamId } from '../../../src/ports/stream-id.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import type { Wal } from '../../../src/stream/wal/wal.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

export const topicId = 'AAAAAAAAAAAAAAAAAAAAAQ';

/** A WAL whose durability the test decides. */
export class HeldWal implements Wal {
  readonly volume = 0;
  readonly logId = 'held';
  onDurable: Wal['onDurable'] = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};
  appended = 0;
  room = Number.POSITIVE_INFINITY;
  tryAppend(_stream: StreamId, _position: number, _length: number): number {
    if (this.appended >= this.room) return 0;
    return ++this.appended;
  }
  flush(): void {}
}

export interface Outcome {
  index: number;
  error: number;
  baseOffset: number;
}

export interface LogOptions {
  readonly logCacheBytes?: number;
  readonly ringBytes?: number;
  readonly capacity?: number;
  readonly segments?: number;
  readonly endOffset?: number;
  readonly logAppendTime?: boolean;
  readonly cold?: ColdPath['read'];
}

export function setup(options: LogOptions = {}) {
  const arena = new HeapArena({ segmentBytes: 4096, segmentCount: options.segments ?? 64 });
  const clock = new VirtualClock();
  const wal = new HeldWal();
  const logs = new LogManager({
    arena,
    wals: [wal],
    clock,
    logger: silentLogger,
    crc32c: (position, length) => javascriptCrc32c(arena.buffer, position, length),
    journalCapacity: options.capacity ?? 64,
    logCacheBytes: options.logCacheBytes ?? 1 << 20,
    ringBytes: options.ringBytes ?? Number.POSITIVE_INFINITY,
    cold: {
      read:
        options.cold ??
        ((_log, offset, _maxBytes, _deadline, _committed, done) =>
          done(ErrorCode.KAFKA_STORAGE_ERROR, null, offset, [])),
      lookup: (_log, _kind, _argument, answer) => answer(0, -1, -1, -1),
    },
  });
  logs.beginAppends();
  const log = logs.open({
    name: 't',
    topicId,
    partition: 0,
    settings: {
      maxMessageBytes: 1 << 20,
      logAppendTime: options.logAppendTime ?? false,
      compacted: false,
      trustCompressed: false,
      decompressedBytesMax: 1 << 20,
      timestampBeforeMaxMs: Infinity,
      timestampAfterMaxMs: Infinity,
    },
    leaderEpoch: 3,
    epochs: [{ epoch: 3, startOffset: 0 }],
    startOffset: 0,
    endOffset: options.endOffset ?? 0,
    volume: 0,
    producers: [],
  });
  const outcomes: Outcome[] = [];
  /** Of append, as producers are told. */
  const times: number[] = [];
  const waiter: AppendWaiter = {
    onAppended: (index, error, baseOffset, logAppendTimeMs) => {
      outcomes.push({ index, error, baseOffset });
      times.push(logAppendTimeMs);
    },
  };
  let next = 0;
  const append = (
    records: number,
    producer?: { id: number; sequence: number; transactional?: boolean },
    guard?: number,
  ): number => {
    const batch = buildBatch(
      Array.from({ length: records }, (_, i) => ({
        timestamp: 1000 + i,
        key: null,
        value: Buffer.from(`v${i}`),
        headers: [],
      })),
      producer === undefined
        ? {}
        : {
            producerId: producer.id,
            producerEpoch: 0,
            baseSequence: producer.sequence,
            transactional: producer.transactional ?? false,
          },
      javascriptCrc32c,
    );
    const segment = arena.acquire();
    assert.ok(segment >= 0);
    const position = segment * arena.segmentBytes;
    batch.copy(arena.buffer, position);
    const index = next++;
    log.append(position, batch.length, waiter, index, guard);
    arena.release(segment);
    return position;
  };
  const read = (offset: number, maxBytes = 1 << 20): ReadResult => {
    const results: ReadResult[] = [];
    log.read(offset, maxBytes, true, 0, { onRead: (_index, result) => void results.push(result) }, 0);
    assert.equal(results.length, 1);
    return results[0]!;
  };
  return { arena, clock, wal, logs, log: log as PartitionLog, outcomes, times, append, read };
}

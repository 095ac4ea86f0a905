/** No batch of one producer keeps the records of others from being uploaded, recovered or served. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { PartitionLog } from '../../../src/log/partition-log.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import {
  type BatchFields,
  type BatchRecord,
  buildBatch,
} from '../../../src/protocol/records/batch-builder.ts';
import { crcStart, headerField, patchCrc, writeInt64 } from '../../../src/protocol/records/batch-header.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';

import type { RawConnection } from '../../support/raw-client.ts';

const codecs = createCodecs();
const largest = Number.MAX_SAFE_INTEGER;

function batchOf(count: number, fields: BatchFields = {}, timestamp = Date.now()): Buffer {
  const records: BatchRecord[] = Array.from({ length: count }, (_, i) => ({
    key: null,
    value: Buffer.from(`v${i}`),
    timestamp,
  }));
  return buildBatch(records, { codecs, ...fields }, crc32c);
}

function altered(batch: Buffer, change: (view: DataView) => void): Buffer {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  change(view);
  patchCrc(view, 0, crc32c(batch, crcStart, batch.length - crcStart));
  return batch;
}

function claiming(count: number, codec: number): Buffer {
  return altered(batchOf(1, { codec }), (view) => {
    view.setInt32(headerField.recordCount, count);
    view.setInt32(headerField.lastOffsetDelta, count - 1);
  });
}

describe('poisonous batches', () => {
  let bed: BrokerBed;
  let connection: RawConnection;

  afterEach(() => bed.dispose());

  const use = async (options?: ConstructorParameters<typeof BrokerBed>[0]): Promise<void> => {
    bed = new BrokerBed(options);
    await bed.start();
    connection = await bed.connect();
    for (const topic of ['bad', 'good']) await connection.createTopic(topic, 1);
  };
  const restart = async (): Promise<void> => {
    await bed.start();
    connection = await bed.connect();
  };
  const shard = () => bed.broker['deployment'].local!.shard;
  const logOf = (topic: string): PartitionLog =>
    shard().logs.get(shard().partitions.topicByName(topic)!.topicId, 0)!;
  /** As if the log had reached that offset, and all below had been deleted. */
  const leap = async (log: PartitionLog, offset: number): Promise<void> => {
    for (const at of ['nextOffset', 'highWatermark'] as const) log[at] = offset;
    const start = { topicId: log.topicId, partition: 0, startOffset: offset };
    assert.deepEqual(
      (await shard()['parts'].control.moveLogStarts([start])).map(({ error }) => error),
      [0],
    );
  };
  const produce = async (topic: string, batch: Buffer): Promise<number> =>
    (await connection.produce(topic, 0, batch)).errorCode;
  const good = async (offset: number): Promise<void> => {
    assert.equal(await produce('good', batchOf(1)), 0);
    assert.equal((await readAll(connection, 'good')).length, offset + 1);
  };

  for (const validation of ['full', 'header']) {
    test(`seventy bytes do not claim two thousand million records (${validation})`, async () => {
      await use({ settings: { 'records.validation': validation } });
      for (const codec of [1, 2, 3, 4]) {
        const error = await produce('bad', claiming(2_147_483_647, codec));
        assert.equal(error, ErrorCode.INVALID_RECORD, `codec ${codec}`);
      }
      assert.equal(await connection.listOffset('bad', 0, -1), 0);
      await good(0);
      assert.equal(await bed.stop(), 'clean');
    });
  }

  test('a log that has no offsets left refuses what does not fit, and all goes on: uploads, stops, crashes', async () => {
    await use();
    const log = logOf('bad');
    await leap(log, largest - 10);
    assert.equal(await produce('bad', batchOf(11)), ErrorCode.INVALID_RECORD);
    const refused = await connection.produce('bad', 0, batchOf(11));
    assert.match(refused.errorMessage!, /no offsets left/);
    assert.equal(await produce('bad', batchOf(10)), 0);
    assert.equal(await produce('bad', batchOf(1)), ErrorCode.INVALID_RECORD);
    await good(0);
    await bed.upload();
    assert.equal(await bed.stop(), 'clean');
    await restart();
    assert.equal(await connection.listOffset('bad', 0, -1), largest);
    await good(1);
    await bed.crash();
    await restart();
    assert.equal(await connection.listOffset('bad', 0, -1), largest);
    await good(2);
    assert.equal(await bed.stop(), 'clean');
  });

  test('a write-ahead log that holds such a batch already is recovered without it', async () => {
    await use();
    await good(0);
    const log = logOf('bad');
    const base = largest - 5;
    await leap(log, base);
    assert.equal(await produce('bad', batchOf(2)), 0);
    // Past the log's own judgement, as an older release would have: a batch that ends behind the largest exact number.
    const { arena, wal } = log['deps'];
    const poison = batchOf(20);
    const segment = arena.acquire();
    poison.copy(arena.buffer, segment * arena.segmentBytes);
    const { isSafeInteger } = Number;
    Number.isSafeInteger = () => true;
    try {
      log.append(segment * arena.segmentBytes, poison.length, null, 0);
    } finally {
      Number.isSafeInteger = isSafeInteger;
    }
    assert.ok(log.nextOffset > largest);
    wal.flush();
    // What comes later is durable later.
    await good(1);
    await bed.crash();
    await restart();
    const said = bed.lines.filter(({ message }) => message.includes('behind the largest offset'));
    assert.deepEqual(
      said.map(({ level, fields }) => [level, fields]),
      [['error', { topic: 'bad', partition: 0, end: base + 2, found: base + 2 }]],
    );
    await good(2);
    await bed.upload();
    assert.equal(await bed.stop(), 'clean');
    await restart();
    assert.equal((await readAll(connection, 'good')).length, 3);
  });

  test('timestamps at the ends of what is allowed are uploaded and recovered', async () => {
    await use();
    await connection.createTopic('times', 1, {
      'records.validation': 'header',
      'message.timestamp.after.max.ms': '9223372036854775807',
    });
    const ids = await connection.initProducerId();
    const fields = { ...ids, codec: 1 };
    assert.equal(await produce('times', batchOf(1, { ...fields, baseSequence: 0 }, largest)), 0);
    const early = batchOf(1, { ...fields, baseSequence: 1 }, 0);
    const claimed = altered(early, (view) => writeInt64(view, headerField.maxTimestamp, -largest));
    assert.equal(await produce('times', claimed), ErrorCode.INVALID_TIMESTAMP);
    await good(0);
    await bed.upload();
    await bed.crash();
    await restart();
    assert.equal(await connection.listOffset('times', 0, -1), 1);
    assert.equal(await bed.stop(), 'clean');
  });
});

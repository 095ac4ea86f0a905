/** A broker with threads: what is too large for a shard's loop is unpacked by a worker, for producers and look-ups by time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import {
  batchHeaderBytes,
  crcStart,
  headerField,
  patchCrc,
  writeInt64,
} from '../../../src/protocol/records/batch-header.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { crc32c } from '../../support/load/batches.ts';
import { RawConnection } from '../../support/raw-client.ts';

const codecs = createCodecs();

function batchOf(codec: number, timestamps: readonly number[], bytes: number): Buffer {
  const records = timestamps.map((timestamp) => ({ key: null, value: Buffer.alloc(bytes, 'x'), timestamp }));
  return buildBatch(records, { codec, codecs }, crc32c);
}

function altered(batch: Buffer, change: (batch: Buffer, view: DataView) => void): Buffer {
  change(batch, new DataView(batch.buffer, batch.byteOffset, batch.byteLength));
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  patchCrc(view, 0, crc32c(batch, crcStart, batch.length - crcStart));
  return batch;
}

test('large compressed batches are judged and searched by a worker', async () => {
  const broker = await BrokerProcess.start({
    settings: { threads: 2, 'wal.capacity': '64MiB', 'arena.bytes': '128MiB' },
  });
  try {
    const [host, port] = broker.bootstrap.split(':') as [string, string];
    const connection = await RawConnection.connect({ host, port: Number(port) });
    // Partitions of both shards: a batch is judged by the shard of its connection, and appended by the partition's.
    await connection.createTopic('t', 2);
    const now = Date.now();
    for (const partition of [0, 1]) {
      for (const [i, codec] of [1, 2, 3, 4].entries()) {
        const times = [now + 10_000 * i, now + 10_000 * i + 1_000, now + 10_000 * i + 2_000];
        const claimed = altered(batchOf(codec, times, 700_000), (_batch, view) =>
          writeInt64(view, headerField.maxTimestamp, -1),
        );
        const { errorCode, baseOffset } = await connection.produce('t', partition, claimed);
        assert.deepEqual([errorCode, baseOffset], [0, 3 * i], `codec ${codec}`);
        const spoilt = altered(batchOf(codec, times, 700_000), (batch) =>
          batch.fill(0x5a, batchHeaderBytes + Math.floor((batch.length - batchHeaderBytes) / 2)),
        );
        assert.equal(
          (await connection.produce('t', partition, spoilt)).errorCode,
          ErrorCode.UNKNOWN_SERVER_ERROR,
          `codec ${codec}`,
        );
      }
      for (let i = 0; i < 4; i++) {
        assert.equal(await connection.listOffset('t', partition, now + 10_000 * i + 1_500), 3 * i + 2);
      }
    }
    await connection.close();
    assert.deepEqual(await broker.stop(), { code: 0, signal: null });
  } finally {
    await broker.dispose();
  }
});

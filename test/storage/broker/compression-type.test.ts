/** Topics that compress what they store: what a consumer fetches, in every codec, also after a restart and from objects. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { codecId } from '../../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { attributesOf, batchBytesOf, codecOf } from '../../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../../src/protocol/records/batch-reader.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { sequencedBatch } from '../../support/load/batches.ts';
import type { RawConnection } from '../../support/raw-client.ts';

const codecs = createCodecs();
const topicResource = 2;
const set = 0;
const values = Array.from({ length: 50 }, (_, i) => Buffer.from(`value ${i} `.repeat(20)));

describe('compression.type of a topic', () => {
  const bed = new BrokerBed();
  let connection: RawConnection;
  before(async () => {
    await bed.start();
    connection = await bed.connect();
  });
  after(() => bed.dispose());

  async function alter(topic: string, type: string): Promise<void> {
    const { responses } = await connection.request(IncrementalAlterConfigsCodec, 1, {
      resources: [
        {
          resourceType: topicResource,
          resourceName: topic,
          configs: [{ name: 'compression.type', configOperation: set, value: type }],
        },
      ],
    });
    assert.equal(responses[0]!.errorCode, 0);
  }

  async function stored(topic: string): Promise<{ codecs: number[]; values: string[] }> {
    const { responses } = await connection.request(FetchCodec, 12, {
      maxWaitMs: 1_000,
      minBytes: 1,
      topics: [{ topic, partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20 }] }],
    });
    const bytes = Buffer.from(responses[0]!.partitions[0]!.records!);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const found: { codecs: number[]; values: string[] } = { codecs: [], values: [] };
    for (let at = 0; at < bytes.length; at += batchBytesOf(view, at)) {
      found.codecs.push(codecOf(attributesOf(view, at)));
      const cursor = new RecordCursor();
      cursor.open(bytes, at, batchBytesOf(view, at), codecs, 1 << 20);
      while (cursor.next()) found.values.push(String(cursor.value()));
    }
    return found;
  }

  test('holds for batches produced from then on, and for reads after a restart', async () => {
    const batch = (sequence: number): Buffer =>
      sequencedBatch(
        { producerId: -1, producerEpoch: -1 },
        -1,
        values.slice(sequence, sequence + 5),
        Date.now(),
      );
    await connection.createTopic('codec', 1);
    const expected: number[] = [];
    const types = ['producer', 'gzip', 'snappy', 'lz4', 'zstd', 'uncompressed'] as const;
    for (const [i, type] of types.entries()) {
      await alter('codec', type);
      const { errorCode, baseOffset } = await connection.produce('codec', 0, batch(5 * i));
      assert.deepEqual([errorCode, baseOffset], [0, 5 * i]);
      expected.push(type === 'producer' || type === 'uncompressed' ? codecId.none : codecId[type]);
    }
    const all = values.slice(0, 5 * types.length).map(String);
    assert.deepEqual(await stored('codec'), { codecs: expected, values: all });
    await bed.stop();
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await stored('codec'), { codecs: expected, values: all });
  });
});

/**
 * A broker with 256 MiB of arena crashes with its logs full; the next start has 32 MiB. It makes room by uploading on the
 * way, however many volumes there are, however large the batches, and however much of the arena the log cache may take.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';
const partitions = 6;
const MiB = 1 << 20;

interface Case {
  readonly name: string;
  readonly volumes: number;
  /** Bytes of a value; of values a batch; batches a partition. */
  readonly shape: readonly [valueBytes: number, values: number, batches: number];
  readonly after?: Record<string, string>;
}

const cases: readonly Case[] = [
  { name: 'one volume', volumes: 1, shape: [50_000, 10, 14] },
  { name: 'three volumes, none of them as large as what may be loaded', volumes: 3, shape: [50_000, 10, 11] },
  {
    name: 'a log cache of seven eighths of the arena',
    volumes: 1,
    shape: [50_000, 10, 14],
    after: { 'log.cache.bytes': '28MiB', 'block.cache.bytes': '1MiB' },
  },
  { name: 'batches that need a fifth of the arena in one piece', volumes: 2, shape: [1_000_000, 7, 1] },
  { name: 'more tiny batches than may be loaded', volumes: 1, shape: [1, 1, 350] },
];

/** A log that must grow for a large batch, or upload first, asks its producer to come again. */
async function sendUntilTaken(
  connection: RawConnection,
  producer: CountingProducer,
  records: number,
): Promise<void> {
  for (;;) {
    const [error, offset] = await producer.send(connection, producer.next, records);
    if (error === ErrorCode.NOT_ENOUGH_REPLICAS) continue;
    assert.deepEqual([error, offset], [0, producer.next]);
    producer.next += records;
    return;
  }
}

describe('a start with a smaller arena', () => {
  let bed: BrokerBed;
  afterEach(() => bed.dispose());

  for (const { name, volumes, shape, after } of cases) {
    test(name, async () => {
      const settings: Record<string, string | number | readonly string[]> = {
        'arena.bytes': '256MiB',
        'wal.capacity': '128MiB',
        'message.max.bytes': 16 * MiB,
      };
      bed = new BrokerBed({ settings });
      settings['wal.url'] = Array.from(
        { length: volumes },
        (_, i) => pathToFileURL(join(bed.dataDir, `wal-${i}`)).href,
      );
      await bed.start();
      let connection = await bed.connect();
      await connection.createTopic(topic, partitions);
      const [valueBytes, each, batches] = shape;
      const producers: CountingProducer[] = [];
      for (let partition = 0; partition < partitions; partition++) {
        const producer = await CountingProducer.create(connection, topic, partition, valueBytes);
        producers.push(producer);
        for (let i = 0; i < batches; i++) await sendUntilTaken(connection, producer, each);
      }
      await bed.crash();
      Object.assign(settings, { 'arena.bytes': '32MiB', ...after });
      for (let life = 0; life < 2; life++) {
        await bed.start();
        connection = await bed.connect();
        for (const { partition, next } of producers)
          assert.deepEqual(await readAll(connection, topic, partition), values(next, 0, valueBytes));
        await sendUntilTaken(connection, producers[0]!, 1);
        await bed.crash();
      }
    });
  }
});

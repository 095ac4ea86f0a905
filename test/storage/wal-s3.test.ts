/**
 * A broker as people run it, with its threads, whose records lie in one bucket of a real S3 server and whose write-ahead
 * log lies in another: killed, and gone on elsewhere by `--take-over` with nothing but the two buckets.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openStore } from '../../src/store/open-store.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { readAll } from '../support/inline-broker.ts';
import { type Address, RawConnection } from '../support/raw-client.ts';
import { startS3 } from '../support/s3-server.ts';
import { crc32cForTests, HandClock, seededRandom } from '../support/store-fixtures.ts';
import { CountingProducer, values } from './broker/kafka-calls.ts';

const server = await startS3();
const topic = 'records';
const partitions = 3;
const valueBytes = 3_000;

test('a write-ahead log in a bucket of its own: killed, taken over elsewhere, all there', {
  ...(typeof server === 'string' ? { skip: server } : {}),
}, async () => {
  assert.ok(typeof server !== 'string');
  await server.createBucket('records');
  await server.createBucket('logs');
  const url = (bucket: string): string =>
    `s3://${bucket}/cluster?endpoint=${server.endpoint}&region=${server.region}&pathStyle=true`;
  const keys = async (bucket: string): Promise<string[]> => {
    const store = await openStore(url(bucket), {
      clock: new HandClock(),
      random: seededRandom(1),
      crc32c: crc32cForTests,
      s3: { credentials: server.credentials },
    });
    const found = (await store.list('', { limit: 10_000 })).map(({ key }) => key);
    await store.close();
    return found;
  };
  const places = mkdtempSync(join(tmpdir(), 'millrace-two-buckets-'));
  const brokers: BrokerProcess[] = [];
  const start = async (name: string, ...words: string[]): Promise<BrokerProcess> => {
    const broker = await BrokerProcess.start({
      data: join(places, name),
      args: ['--store', url('records'), '--wal', url('logs'), ...words],
      env: {
        AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
        AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
      },
      settings: { 'wal.capacity': '64MiB', 'arena.bytes': '128MiB' },
    });
    brokers.push(broker);
    return broker;
  };
  try {
    let broker = await start('first');
    let connection = await RawConnection.connect(addressOf(broker.bootstrap));
    await connection.createTopic(topic, partitions);
    const producers: CountingProducer[] = [];
    for (let partition = 0; partition < partitions; partition++)
      producers.push(await CountingProducer.create(connection, topic, partition, valueBytes));
    await Promise.all(producers.map((producer) => producer.produce(connection, 20)));
    await connection.close();
    await broker.kill();
    assert.deepEqual(
      readdirSync(broker.data).filter((file) => !file.startsWith('lock')),
      [],
      'nothing lies on the disk',
    );
    rmSync(broker.data, { recursive: true });
    assert.ok((await keys('logs')).some((key) => key.startsWith('wal/')));
    assert.deepEqual(
      (await keys('records')).filter((key) => key.startsWith('wal/')),
      [],
      'no log in the bucket of records',
    );
    broker = await start('second', '--take-over');
    connection = await RawConnection.connect(addressOf(broker.bootstrap));
    for (const producer of producers) {
      const { partition, next } = producer;
      assert.deepEqual(
        await readAll(connection, topic, partition),
        values(next, 0, valueBytes),
        `partition ${partition}`,
      );
      await producer.assertWindow(connection);
    }
    await connection.close();
    assert.deepEqual(await broker.stop(), { code: 0, signal: null });
    const left = (await keys('logs')).filter((key) => /\/\d+$/.test(key));
    // One seal a start, and one object of the log itself.
    assert.equal(left.length, 3, left.join());
  } finally {
    for (const broker of brokers) await broker.dispose();
    rmSync(places, { recursive: true, force: true });
    await server.stop();
  }
});

function addressOf(bootstrap: string): Address {
  const [host, port] = bootstrap.split(':');
  return { host: host!, port: Number(port) };
}

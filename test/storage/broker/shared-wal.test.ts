/** A broker whose write-ahead log lies where other machines reach it: a log not closed in order is fenced and retired. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { PortableFiles } from '../../../native-bindings/portable/files.ts';
import { encodeFence, writeFence } from '../../../src/stream/wal/fence-page.ts';
import { FileWalDevice } from '../../../src/stream/wal/file-wal-device.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import { seededRandom } from '../../support/store-fixtures.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';
const probe = mkdtempSync(join(tmpdir(), 'millrace-direct-'));
const { direct } = FileWalDevice.open(join(probe, 'x'), new PortableFiles(), { create: true });
rmSync(probe, { recursive: true });

describe('shared WAL', { skip: direct ? false : `${tmpdir()} has no O_DIRECT` }, () => {
  let bed: BrokerBed;
  let other: BrokerBed | null = null;
  let mount = '';
  afterEach(async () => {
    await other?.dispose();
    other = null;
    await bed.dispose();
    rmSync(mount, { recursive: true, force: true });
  });

  const begun = async (): Promise<CountingProducer> => {
    mount = mkdtempSync(join(tmpdir(), 'millrace-mount-'));
    bed = new BrokerBed({ settings: { 'wal.url': `shared:${mount}` } });
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    return producer;
  };
  const logs = (): string[] => readdirSync(mount).filter((name) => name.endsWith('.wal'));

  test('crash after crash on one machine: each log is retired, nothing is lost', async () => {
    const producer = await begun();
    for (let life = 0; life < 3; life++) {
      const [before] = logs();
      await bed.crash();
      await bed.start();
      assert.equal(logs().length, 1);
      assert.notEqual(logs()[0], before);
      const connection = await bed.connect();
      assert.deepEqual(await readAll(connection, topic), values(producer.next), `life ${life}`);
      await producer.assertWindow(connection);
      await producer.produce(connection, 2);
    }
  });

  test('closed in order, the log is used again', async () => {
    const producer = await begun();
    const before = logs();
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    assert.deepEqual(logs(), before);
    const connection = await bed.connect();
    await producer.produce(connection, 1);
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
  });

  test('a second broker is refused; with take-over the first acknowledges nothing more and ends', async () => {
    const producer = await begun();
    const connection = await bed.connect();
    other = new BrokerBed({ settings: { 'wal.url': `shared:${mount}` } });
    await assert.rejects(other.start({ storeUrl: bed.storeUrl }), {
      code: 'WAL_IN_USE',
      message: /--take-over/,
    });
    await producer.produce(connection, 1);
    await other.start({ storeUrl: bed.storeUrl, takeOver: true });
    await assert.rejects(producer.produce(connection, 1));
    const failed = (await bed.broker.failed) as Error & { kind: string; code: string };
    assert.deepEqual([failed.kind, failed.code], ['fenced', 'WAL_FENCED']);
    assert.deepEqual(await readAll(await other.connect(), topic), values(8));
  });

  test('a log that another machine opened is not taken without being told to', async () => {
    const producer = await begun();
    const { logId } = bed.broker['volumes'][0]!;
    const { clusterId } = bed.broker;
    await bed.crash();
    const device = FileWalDevice.open(join(mount, logs()[0]!), new PortableFiles(), { create: false });
    const fence = { logId, clusterId, epoch: 1, writer: 'node 0 on elsewhere' };
    await writeFence(device, encodeFence(fence, seededRandom(1), crc32c));
    await device.close();
    await assert.rejects(bed.start(), {
      code: 'WAL_OWNER_ALIVE',
      message: /node 0 on elsewhere.*--take-over/,
    });
    await bed.start({ takeOver: true });
    assert.deepEqual(await readAll(await bed.connect(), topic), values(producer.next));
  });
});

/**
 * Brokers on one local write-ahead log that cannot see each other alive, as in two containers without the native addon: the
 * claims beside the log are taken away to make it so. Whoever comes later leaves the log's file to the other, whose next
 * commit finds another fence page and is never acknowledged.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { loadNative } from '../../../native-bindings/index.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';

function removeLocks(directory: string): void {
  for (const name of readdirSync(directory)) if (name.includes('.lock')) rmSync(join(directory, name));
}

describe('an owner whose end cannot be proven', () => {
  let bed: BrokerBed;
  let other: BrokerBed | null = null;
  afterEach(async () => {
    await other?.dispose();
    other = null;
    await bed.dispose();
  });

  const wal = (): string => join(bed.dataDir, 'wal');
  const begin = async (native: string): Promise<CountingProducer> => {
    bed = new BrokerBed({ settings: { native } });
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    return producer;
  };
  const second = async (changes = {}): Promise<void> => {
    other = new BrokerBed({
      settings: { native: 'off', 'wal.url': pathToFileURL(wal()).href },
    });
    await other.start({ storeUrl: bed.storeUrl, ...changes });
  };

  for (const native of ['off', ...(loadNative() === null ? [] : ['auto'])]) {
    const build = native === 'off' ? 'portable' : 'native';
    test(`a living ${build} owner acknowledges nothing any more and ends`, async () => {
      const producer = await begin(native);
      const connection = await bed.connect();
      const { logId } = bed.broker['volumes'][0]!;
      await assert.rejects(second(), { code: 'WAL_IN_USE' });
      removeLocks(wal());
      await second();
      assert.equal(existsSync(join(wal(), `${logId}.wal`)), false, 'removed once objects hold its records');
      await assert.rejects(producer.produce(connection, 1));
      const failed = (await bed.broker.failed) as Error & { kind: string; code: string };
      assert.deepEqual([failed.kind, failed.code], ['fenced', 'WAL_FENCED']);
      const taken = await other!.connect();
      assert.deepEqual(await readAll(taken, topic), values(producer.next));
      await producer.produce(taken, 2);
      assert.deepEqual(await readAll(taken, topic), values(producer.next));
    });
  }

  test('a log of its own file or device is not taken without being told to', async () => {
    bed = new BrokerBed();
    const [volume] = bed.config().wals;
    const wals = [{ ...volume!, location: join(bed.dir, 'named.wal') }];
    await bed.start({ wals });
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    await bed.crash();
    removeLocks(bed.dir);
    await assert.rejects(bed.start({ wals }), {
      code: 'WAL_OWNER_ALIVE',
      message: /another container.*--take-over/,
    });
    removeLocks(bed.dir);
    await bed.start({ wals, takeOver: true });
    assert.deepEqual(await readAll(await bed.connect(), topic), values(producer.next));
    await bed.crash();
    await bed.start({ wals });
    assert.deepEqual(await readAll(await bed.connect(), topic), values(producer.next));
  });

  test('an empty log that was taken from its owner is never written again', async () => {
    const producer = await begin('off');
    const path = bed.broker['volumes'][0]!.path;
    await bed.crash();
    removeLocks(wal());
    // The start ends between recording the log empty and removing it.
    const remove = bed.broker['ground'].files.remove;
    assert.ok(remove);
    Object.getPrototypeOf(bed.broker['ground'].files).remove = () => {
      throw new Error('not now');
    };
    try {
      await bed.start();
    } finally {
      Object.getPrototypeOf(bed.broker['ground'].files).remove = remove;
    }
    assert.equal(existsSync(path), true);
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    assert.notEqual(bed.broker['volumes'][0]!.path, path);
    assert.equal(existsSync(path), false);
    assert.deepEqual(await readAll(await bed.connect(), topic), values(producer.next));
  });
});

describe('a paused portable broker', () => {
  let first: BrokerProcess;
  let second: BrokerProcess | null = null;
  let store = '';
  const connections: RawConnection[] = [];
  afterEach(async () => {
    for (const connection of connections.splice(0)) await connection.close();
    await first.dispose();
    await second?.dispose();
    rmSync(store, { recursive: true, force: true });
  });

  const connect = async (broker: BrokerProcess): Promise<RawConnection> => {
    const [host, port] = broker.bootstrap.split(':');
    const connection = await RawConnection.connect({ host: host!, port: Number(port) });
    connections.push(connection);
    return connection;
  };

  test('wakes up behind a take-over: what it writes is not acknowledged, and harms nothing', async () => {
    store = mkdtempSync(join(tmpdir(), 'millrace-store-'));
    const settings = { native: 'off', 'store.url': pathToFileURL(store).href, 'wal.capacity': '64MiB' };
    first = await BrokerProcess.start({ settings });
    const wal = join(first.data, 'wal');
    const connection = await connect(first);
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 5);
    process.kill(first.pid, 'SIGSTOP');
    try {
      const more = { settings: { ...settings, 'wal.url': pathToFileURL(wal).href } };
      await assert.rejects(BrokerProcess.start(more), /WAL_IN_USE|is in use by process/);
      removeLocks(wal);
      second = await BrokerProcess.start(more);
      const taken = await connect(second);
      assert.deepEqual(await readAll(taken, topic), values(producer.next));
      // Both go on behind the same records: in one ring the late write would take the place of these.
      const late = producer.send(connection, producer.next, 2).catch(() => [-1]);
      await producer.produce(taken, 3);
      process.kill(first.pid, 'SIGCONT');
      assert.notEqual((await late)[0], 0, 'never acknowledged');
      assert.deepEqual(await first.whenEnded(), { code: 76, signal: null });
      await producer.produce(taken, 3);
      await second.kill();
      await second.start();
      assert.deepEqual(await readAll(await connect(second), topic), values(producer.next));
    } finally {
      if (first.running) process.kill(first.pid, 'SIGCONT');
    }
  });
});

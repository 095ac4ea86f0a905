/** A start that could leave acknowledged records behind, or disturb another broker, is refused before it writes. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import type { BrokerConfig } from '../../../src/broker/broker-config.ts';
import { ringStartBytes } from '../../../src/stream/wal/wal-limits.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { CountingProducer, epochEnd, leaderEpoch, values } from './kafka-calls.ts';

const topic = 'records';

describe('refusals', () => {
  let bed: BrokerBed;
  let other: BrokerBed | null = null;
  afterEach(async () => {
    await other?.dispose();
    other = null;
    await bed.dispose();
  });

  /** Everything on disk but locks, and everything in the store. */
  const traces = async (): Promise<string[]> => {
    const seen: string[] = [];
    const walk = (directory: string): void => {
      for (const entry of readdirSync(directory, { withFileTypes: true })) {
        const path = join(directory, entry.name);
        if (entry.isDirectory()) walk(path);
        else if (!/lock(\.\d+)?$/.test(entry.name))
          seen.push(`${path} ${createHash('sha1').update(readFileSync(path)).digest('hex')}`);
      }
    };
    if (existsSync(bed.dataDir)) walk(bed.dataDir);
    const store = await bed.openStore();
    for (const { key, size } of await store.list('')) seen.push(`${key} ${size}`);
    return seen.sort();
  };

  const refused = async (
    expected: { code: string; message?: RegExp },
    changes: Partial<BrokerConfig> = {},
  ): Promise<void> => {
    const before = await traces();
    await assert.rejects(bed.start(changes), expected);
    assert.deepEqual(await traces(), before, 'nothing was written');
  };

  /** Beside a broker that runs, whose log moves on by itself: names are compared, not bytes. */
  const names = async (): Promise<string[]> => (await traces()).map((trace) => trace.split(' ')[0]!);

  /** A dead broker with 4 records in objects and 6 in its WAL; its path. */
  const crashed = async (): Promise<{ producer: CountingProducer; path: string; logId: string }> => {
    bed = new BrokerBed();
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 2);
    await bed.upload();
    await producer.produce(connection, 3);
    const { path, logId } = bed.broker['volumes'][0]!;
    await bed.crash();
    return { producer, path, logId };
  };

  test('a second broker on the data directory; the first one goes on', async () => {
    bed = new BrokerBed();
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 1);
    const first = bed.broker;
    const { store } = bed;
    const before = await names();
    await assert.rejects(bed.start(), { code: 'DATA_DIR_IN_USE', message: /in use by process \d+/ });
    assert.deepEqual(await names(), before);
    bed.broker = first;
    bed.store = store;
    await producer.produce(connection, 1);
    assert.deepEqual(await readAll(connection, topic), values(4));
  });

  test('a second broker on the log, from a data directory of its own; the first one goes on', async () => {
    bed = new BrokerBed();
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 1);
    const { path } = bed.broker['volumes'][0]!;
    other = new BrokerBed();
    const before = await names();
    await assert.rejects(other.start({ storeUrl: bed.storeUrl, wals: bed.config().wals }), {
      code: 'WAL_IN_USE',
      message: new RegExp(`${path} is in use by process`),
    });
    assert.deepEqual(await names(), before);
    await producer.produce(connection, 1);
    assert.deepEqual(await readAll(connection, topic), values(4));
  });

  test('the log is gone while the metadata says that it is open; it comes back and all is there', async () => {
    const { producer, path, logId } = await crashed();
    renameSync(path, `${path}.away`);
    await refused({
      code: 'WAL_MISSING',
      message: new RegExp(`${logId}.*last upload was at 20\\d\\d-.*--abandon-wal ${logId}`),
    });
    rmSync(bed.dataDir, { recursive: true, force: true, maxRetries: 0 });
    await assert.rejects(bed.start(), { code: 'WAL_MISSING' });
    assert.deepEqual(
      readdirSync(join(bed.dataDir, 'wal')).filter((name) => name.endsWith('.wal')),
      [],
    );
    assert.equal(producer.next, 10);
  });

  test('brought back, the log is recovered', async () => {
    const { producer, path } = await crashed();
    renameSync(path, `${path}.away`);
    await refused({ code: 'WAL_MISSING' });
    renameSync(`${path}.away`, path);
    await bed.start();
    const connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(10));
    await producer.assertWindow(connection);
  });

  for (const gone of [true, false]) {
    test(`a log that is given up, ${gone ? 'gone' : 'still there'}: what objects hold stays, its offsets are used again`, async () => {
      const { producer, path, logId } = await crashed();
      if (gone) rmSync(path);
      await bed.start({ abandonWals: [logId] });
      let connection = await bed.connect();
      assert.deepEqual(await readAll(connection, topic), values(4));
      assert.equal(await leaderEpoch(connection, topic), 1);
      assert.deepEqual(await epochEnd(connection, topic, 0), [0, 4]);
      const told = bed.lines.find((line) => line.message === 'offsets given up')!;
      const until = gone ? 'unknown' : 10;
      assert.deepEqual(told.fields, { log: logId, topic, partition: 0, from: 4, until });
      producer.next = 4;
      producer.batches.length = 2;
      await producer.assertWindow(connection);
      await bed.crash();
      await bed.start();
      connection = await bed.connect();
      assert.deepEqual(await readAll(connection, topic), values(6));
    });
  }

  test('given up after two crashes: leader epochs of the lost offsets are forgotten with them', async () => {
    const { producer, logId } = await crashed();
    await bed.start();
    let connection = await bed.connect();
    await producer.produce(connection, 1);
    await bed.crash();
    await bed.start({ abandonWals: [logId] });
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(4));
    assert.equal(await leaderEpoch(connection, topic), 2);
    assert.deepEqual(await epochEnd(connection, topic, 1), [0, 4]);
    producer.next = 4;
    producer.batches.length = 2;
    await producer.assertWindow(connection);
    await bed.upload();
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(6));
    await producer.assertWindow(connection);
  });

  test('a log of another cluster in the directory', async () => {
    await crashed();
    other = new BrokerBed();
    await other.start();
    const { path } = other.broker['volumes'][0]!;
    const foreign = other.broker.clusterId;
    await other.crash();
    copyFileSync(path, join(bed.dataDir, 'wal', 'foreign.wal'));
    await refused({ code: 'WAL_FOREIGN', message: new RegExp(foreign) });
    rmSync(join(bed.dataDir, 'wal', 'foreign.wal'));
    // In the place of its own log it is refused just so.
    copyFileSync(path, bed.broker['volumes'][0]!.path);
    await refused({ code: 'WAL_FOREIGN' });
  });

  test('a second file of a log', async () => {
    const { path } = await crashed();
    const copy = join(bed.dataDir, 'wal', 'unlisted.wal');
    copyFileSync(path, copy);
    await refused({ code: 'WAL_COPIED', message: /unlisted\.wal/ });
    rmSync(copy);
    await bed.start();
  });

  test('a log without its store: the metadata knows nothing of it', async () => {
    const { path } = await crashed();
    const away = new BrokerBed();
    other = away;
    mkdirSync(join(away.dataDir, 'wal'), { recursive: true });
    copyFileSync(path, join(away.dataDir, 'wal', 'stray.wal'));
    await assert.rejects(away.start(), { code: 'WAL_UNLISTED' });
    assert.deepEqual(await (await away.openStore()).list(''), []);
  });

  test('a damaged log; given up, the cluster goes on from its objects', async () => {
    const { path, logId } = await crashed();
    const bytes = readFileSync(path);
    bytes.fill(0, ringStartBytes + 2 * 4096, ringStartBytes + 4 * 4096);
    writeFileSync(path, bytes);
    await refused({ code: 'WAL_DAMAGED', message: new RegExp(`--abandon-wal ${logId}`) });
    assert.ok(bed.lines.some((line) => line.level === 'error'));
    await bed.start({ abandonWals: [logId] });
    assert.deepEqual(await readAll(await bed.connect(), topic), values(4));
  });

  test('an address in use', async () => {
    const { producer } = await crashed();
    const holder = net.createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const { port } = holder.address() as net.AddressInfo;
    const listeners = bed.config().listeners.map((listener) => ({ ...listener, port }));
    await refused({ code: 'LISTENER_ADDRESS', message: new RegExp(`127.0.0.1:${port}`) }, { listeners });
    await new Promise((resolve) => holder.close(resolve));
    await bed.start({ listeners });
    const connection = await bed.connect();
    await producer.assertWindow(connection);
  });

  test('a memory log in threads, and a store that cannot be', async () => {
    bed = new BrokerBed();
    const wals = bed.config().wals.map((wal) => ({ ...wal, location: 'memory:' }));
    await refused({ code: 'WAL_MEMORY_THREADS' }, { wals, threads: 1 });
    await refused({ code: 'STORE_URL' }, { storeUrl: 'gopher://nowhere' });
    await bed.start();
  });

  /** Another broker on the same store, told to give up the first one's log: without that it is refused. */
  const second = async (): Promise<BrokerBed> => {
    const bed2 = new BrokerBed();
    const changes = { storeUrl: bed.storeUrl, nodeId: 1 };
    const { logId } = bed.broker['volumes'][0]!;
    await assert.rejects(bed2.start(changes), { code: 'WAL_MISSING', message: new RegExp(logId) });
    await bed2.start({ ...changes, abandonWals: [logId] });
    return bed2;
  };

  test('two brokers on one store: the older one is told when it looks, and writes nothing more', async () => {
    bed = new BrokerBed();
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    other = await second();
    let reason: Error | null = null;
    void bed.broker.failed.then((error) => {
      reason = error;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(reason, null);
    await bed.jump(10_001);
    const failed = await bed.broker.failed;
    assert.equal((failed as Error & { kind: string }).kind, 'fenced');
    await assert.rejects(connection.createTopic('late', 1));
    const younger = await other.connect();
    await younger.createTopic('young', 1);
  });

  test('two brokers on one store: a commit of the older one fails at once', async () => {
    bed = new BrokerBed();
    await bed.start();
    const connection = await bed.connect();
    other = await second();
    await assert.rejects(connection.createTopic(topic, 1));
    assert.equal(((await bed.broker.failed) as Error & { kind: string }).kind, 'fenced');
  });
});

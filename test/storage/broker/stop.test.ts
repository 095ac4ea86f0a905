/** After a clean stop the store alone is the cluster; an unfinished one leaves the WAL in charge. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { afterEach, describe, test } from 'node:test';
import { BrokerBed, readAll, until } from '../../support/inline-broker.ts';
import {
  CountingProducer,
  commitOffset,
  committedOffset,
  epochEnd,
  leaderEpoch,
  values,
} from './kafka-calls.ts';

const topic = 'records';

describe('stopping', () => {
  let bed: BrokerBed;
  afterEach(() => bed.dispose());

  const walStates = (): string[] => [...bed.broker['metadata'].image.wals.values()].map((wal) => wal.state);

  for (const store of ['file', 'memory'] as const) {
    test(`the data directory may go, the ${store} store stays: everything is there`, async () => {
      bed = new BrokerBed({ store });
      await bed.start();
      let connection = await bed.connect();
      await connection.createTopic(topic, 1);
      await connection.createTopic('empty', 2);
      const producer = await CountingProducer.create(connection, topic);
      await producer.produce(connection, 3);
      await bed.upload();
      await producer.produce(connection, 4);
      await commitOffset(connection, 'readers', topic, 5);
      for (let life = 1; life <= 3; life++) {
        const end = producer.next;
        bed.events.length = 0;
        assert.equal(await bed.stop(), 'clean');
        assert.deepEqual(
          walStates().filter((state) => state === 'open'),
          [],
        );
        assert.equal(bed.events.at(-1), 'clean', 'the log says that it is clean, last of all');
        rmSync(bed.dataDir, { recursive: true });
        await bed.start();
        connection = await bed.connect();
        assert.deepEqual(await readAll(connection, topic), values(end));
        assert.equal(await leaderEpoch(connection, topic), life);
        assert.deepEqual(await epochEnd(connection, topic, life - 1), [life - 1, end]);
        assert.deepEqual(await committedOffset(connection, 'readers', topic), [5, 'at 5']);
        await producer.assertWindow(connection);
      }
    });
  }

  test('a stop that meets an upload under way closes everything with one of its own', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    let go!: () => void;
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    bed.store.beforePut = (key) => (key.startsWith('data/') ? held : undefined);
    const upload = bed.upload();
    await until(() => bed.store.puts.some((key) => key.startsWith('data/')));
    const stopped = bed.stop();
    await until(() => bed.broker['uploads']['stopped']);
    go();
    await upload;
    assert.equal(await stopped, 'clean');
    assert.deepEqual(
      walStates().filter((state) => state === 'open'),
      [],
    );
    rmSync(bed.dataDir, { recursive: true });
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
    await producer.assertWindow(connection);
  });

  test('a second stop and a start without work are clean, and the log is used again', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 6);
    const [volume] = bed.broker['volumes'];
    const first = bed.broker.stop();
    assert.equal(bed.broker.stop(), first, 'stopping twice is stopping once');
    assert.equal(await bed.stop(), 'clean');
    for (let i = 0; i < 2; i++) {
      await bed.start();
      assert.equal(bed.broker['volumes'][0]!.logId, volume!.logId);
      assert.equal(await bed.stop(), 'clean');
    }
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(12));
    await producer.assertWindow(connection);
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(14));
  });

  test('a topic deleted between clean stops stays deleted', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 2);
    await connection.deleteTopics([topic]);
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual((await connection.metadata(null)).topics, []);
  });

  test('the store fails: unfinished within the time given, the log is kept and the next start has everything', async () => {
    bed = new BrokerBed({ config: { shutdownTimeoutMs: 600 } });
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 2);
    await bed.upload();
    await producer.produce(connection, 4);
    bed.store.outage = true;
    assert.equal(await bed.stop(), 'unfinished', 'after its own limit: the store stays away');
    assert.ok(bed.lines.some((line) => line.level === 'error' && line.message.includes('stays open')));
    assert.ok(!bed.events.includes('clean'));
    bed.store.cut = true;
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(12));
    await producer.assertWindow(connection);
  });

  test('a store that comes back in time makes the stop clean', async () => {
    bed = new BrokerBed({ config: { shutdownTimeoutMs: 20_000 } });
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 4);
    let refusals = 0;
    bed.store.beforePut = (key) => {
      if (key.startsWith('data/') && refusals++ < 2) throw new Error('not now');
    };
    assert.equal(await bed.stop(), 'clean');
    assert.equal(refusals, 3);
    rmSync(bed.dataDir, { recursive: true });
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(8));
    await producer.assertWindow(connection);
  });

  test('a directory moved elsewhere as a whole, store and all', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 2);
    assert.equal(await bed.stop(), 'clean');
    const moved = `${bed.dir}/moved`;
    renameSync(bed.dataDir, moved);
    mkdirSync(bed.dataDir);
    await bed.start();
    assert.ok(existsSync(moved));
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(4));
    await producer.assertWindow(connection);
  });
});

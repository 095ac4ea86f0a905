/** A broker that dies at any point of its work comes back with all that it acknowledged, once, where it was. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { BrokerBed, readAll, until } from '../../support/inline-broker.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import {
  CountingProducer,
  commitOffset,
  committedOffset,
  deleteRecords,
  epochEnd,
  growTopic,
  leaderEpoch,
  values,
} from './kafka-calls.ts';

const topic = 'records';
/** Nothing of the 12 MB that some tests write is uploaded before they crash. */
const roomy = { 'arena.bytes': '128MiB', 'log.cache.bytes': '64MiB', 'wal.capacity': '128MiB' };

describe('recovery', () => {
  let bed: BrokerBed;
  let connection: RawConnection;

  const use = async (options?: ConstructorParameters<typeof BrokerBed>[0]): Promise<CountingProducer> => {
    bed = new BrokerBed(options);
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1);
    return CountingProducer.create(connection, topic);
  };
  const restart = async (): Promise<void> => {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };

  beforeEach(() => {
    connection = undefined as never;
  });
  afterEach(() => bed.dispose());

  test('crash after crash: records, offsets, producers, leader epochs and their history', async () => {
    const producer = await use();
    const ends: number[] = [];
    for (let life = 0; life < 5; life++) {
      await producer.produce(connection, 3);
      ends.push(producer.next);
      await restart();
      assert.deepEqual(await readAll(connection, topic), values(producer.next), `life ${life}`);
      assert.equal(await leaderEpoch(connection, topic), life + 1);
      for (const [epoch, end] of ends.entries())
        assert.deepEqual(await epochEnd(connection, topic, epoch), [epoch, end]);
      await producer.assertWindow(connection);
    }
  });

  test('a crash without a new record in between keeps everything too', async () => {
    const producer = await use();
    await producer.produce(connection, 6);
    for (let life = 0; life < 3; life++) await restart();
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
    await producer.assertWindow(connection);
  });

  test('group offsets, with crashes before and after their upload', async () => {
    const producer = await use();
    await producer.produce(connection, 5);
    await commitOffset(connection, 'readers', topic, 3);
    await commitOffset(connection, 'others', topic, 4);
    await restart();
    assert.deepEqual(await committedOffset(connection, 'readers', topic), [3, 'at 3']);
    await commitOffset(connection, 'readers', topic, 7);
    await bed.upload();
    await commitOffset(connection, 'others', topic, 9);
    await restart();
    assert.deepEqual(await committedOffset(connection, 'readers', topic), [7, 'at 7']);
    assert.deepEqual(await committedOffset(connection, 'others', topic), [9, 'at 9']);
  });

  test('part of the delta in objects, the rest in the WAL', async () => {
    const producer = await use();
    await producer.produce(connection, 7);
    await bed.upload();
    await producer.produce(connection, 2);
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(18));
    await producer.assertWindow(connection);
    // The next crash finds objects of one life, restored records of two, and the rest in the WAL.
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(20));
    await producer.assertWindow(connection);
    await bed.upload();
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(22));
    await producer.assertWindow(connection);
  });

  test('uploads by age, one after another, in lives that end in between', async () => {
    const producer = await use({ config: { uploadAgeMs: 60_000 } });
    for (let life = 0; life < 3; life++) {
      for (let round = 0; round < 2; round++) {
        await producer.produce(connection, 2);
        const before = bed.events.filter((event) => event === 'object').length;
        await bed.jump(61_000);
        await until(() => bed.events.filter((event) => event === 'object').length > before);
        await producer.produce(connection, 1);
      }
      await restart();
      assert.deepEqual(await readAll(connection, topic), values(producer.next));
      await producer.assertWindow(connection);
    }
  });

  test('dead between the objects and their metadata commit: uploaded again, under other names', async () => {
    const producer = await use();
    await producer.produce(connection, 6);
    bed.store.beforePut = (key) => {
      if (key.startsWith('meta/log/') && bed.events.includes('object')) bed.store.cut = true;
    };
    bed.events.length = 0;
    await bed.uploadUntilCut();
    // The first metadata commit took a block of object ids.
    assert.deepEqual(bed.events, ['metadata', 'object']);
    const orphan = bed.store.puts.findLast((key) => key.startsWith('data/'))!;
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(12));
    await bed.upload();
    assert.ok(!bed.store.puts.includes(orphan), 'an object id is used once');
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(12));
    await producer.assertWindow(connection);
  });

  test('dead while the answer to the metadata commit was on its way: committed, once', async () => {
    const producer = await use();
    await producer.produce(connection, 6);
    bed.store.afterPut = (key) => {
      if (key.startsWith('meta/log/') && bed.events.includes('object')) bed.store.cut = true;
    };
    bed.events.length = 0;
    await bed.uploadUntilCut();
    assert.deepEqual(bed.events, ['metadata', 'object', 'metadata']);
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(12));
    await producer.assertWindow(connection);
    await bed.upload();
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(14));
  });

  test('the metadata commit succeeds at the second look when its answer was lost', async () => {
    const producer = await use();
    await producer.produce(connection, 6);
    let lost = 0;
    bed.store.afterPut = (key) => {
      if (key.startsWith('meta/log/') && bed.events.includes('object') && lost++ === 0)
        throw new Error('the answer was lost');
    };
    await bed.upload();
    assert.equal(lost, 1);
    await producer.produce(connection, 1);
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(14));
    await producer.assertWindow(connection);
  });

  test('dead between the metadata commit and the trim: recovery starts where the metadata says', async () => {
    const producer = await use();
    await producer.produce(connection, 6);
    bed.store.afterPut = (key) => {
      if (!key.startsWith('meta/log/') || !bed.events.includes('object')) return;
      for (const device of bed.devices) device.cut = true;
    };
    bed.events.length = 0;
    await bed.upload();
    assert.deepEqual(bed.events, ['metadata', 'object', 'metadata']);
    await restart();
    const restored = bed.lines.findLast((line) => line.message === 'write-ahead log read')!;
    assert.equal(restored.fields.batches, 0);
    assert.deepEqual(await readAll(connection, topic), values(12));
    await producer.assertWindow(connection);
  });

  test('more in the WAL than the log cache holds: recovery makes room by uploading', async () => {
    bed = new BrokerBed({ settings: roomy });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 2);
    const large = await CountingProducer.create(connection, topic, 0, 50_000);
    const small = await CountingProducer.create(connection, topic, 1);
    for (let i = 0; i < 6; i++) {
      await large.produce(connection, 4, 10);
      await small.produce(connection, 1);
    }
    await bed.crash();
    await bed.start({ logCacheBytes: 4 << 20 });
    connection = await bed.connect();
    assert.ok(bed.store.puts.filter((key) => key.startsWith('data/')).length >= 3, 'uploads during recovery');
    const check = async (): Promise<void> => {
      assert.deepEqual(await readAll(connection, topic, 0), values(large.next, 0, 50_000));
      assert.deepEqual(await readAll(connection, topic, 1), values(small.next));
    };
    await check();
    await large.assertWindow(connection);
    await small.assertWindow(connection);
    await bed.crash();
    await bed.start({ logCacheBytes: 4 << 20 });
    connection = await bed.connect();
    await check();
  });

  test('dead in the middle of a recovery that uploads: the next one goes on', async () => {
    bed = new BrokerBed({ settings: roomy });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic, 0, 50_000);
    await producer.produce(connection, 20, 10);
    await bed.crash();
    for (const failAt of [1, 2, 3]) {
      let commits = 0;
      bed.store.cut = false;
      bed.store.beforePut = (key) => {
        if (key.startsWith('data/') && ++commits === failAt) bed.store.cut = true;
      };
      await assert.rejects(bed.start({ logCacheBytes: 4 << 20 }), { code: 'STORE_UNAVAILABLE' });
    }
    bed.store.cut = true;
    await bed.start({ logCacheBytes: 4 << 20 });
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(producer.next, 0, 50_000));
    await producer.assertWindow(connection);
  });

  test('records of a deleted topic in the WAL are dropped; one of the same name starts empty', async () => {
    const producer = await use();
    await producer.produce(connection, 4);
    await connection.createTopic('kept', 1);
    const kept = await CountingProducer.create(connection, 'kept');
    await kept.produce(connection, 4);
    await connection.deleteTopics([topic]);
    await connection.createTopic(topic, 1);
    await restart();
    assert.deepEqual(await readAll(connection, topic), []);
    assert.deepEqual(await readAll(connection, 'kept'), values(8));
    await kept.assertWindow(connection);
    const fresh = await CountingProducer.create(connection, topic);
    await fresh.produce(connection, 2);
    await bed.upload();
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(4));
  });

  test('partitions added to a topic', async () => {
    const producer = await use();
    await producer.produce(connection, 1);
    await growTopic(connection, topic, 3);
    const second = await CountingProducer.create(connection, topic, 2);
    await second.produce(connection, 3);
    await restart();
    assert.deepEqual(await readAll(connection, topic, 0), values(2));
    assert.deepEqual(await readAll(connection, topic, 1), []);
    assert.deepEqual(await readAll(connection, topic, 2), values(6));
    await second.assertWindow(connection);
    assert.equal(await leaderEpoch(connection, topic, 2), 1);
  });

  for (const [where, uploads] of [
    ['in the WAL', [false, false]],
    ['in an object', [true, false]],
    ['in an object, nothing behind it in the WAL', [false, true]],
  ] as const) {
    test(`DeleteRecords into the middle of a batch ${where}`, async () => {
      const producer = await use();
      await producer.produce(connection, 2, 10);
      if (uploads[0]) await bed.upload();
      await producer.produce(connection, 2, 10);
      if (uploads[1]) await bed.upload();
      for (const start of [15, 20, 33]) {
        assert.equal(await deleteRecords(connection, topic, start), start);
        await restart();
        assert.equal(await connection.listOffset(topic, 0, -2), start);
        assert.deepEqual(await readAll(connection, topic), values(producer.next, start), `start at ${start}`);
      }
      await producer.produce(connection, 5);
      await bed.upload();
      await restart();
      assert.deepEqual(await readAll(connection, topic), values(producer.next, 33));
      await producer.assertWindow(connection);
    });
  }

  test('DeleteRecords of everything', async () => {
    const producer = await use();
    await producer.produce(connection, 2);
    await bed.upload();
    await producer.produce(connection, 2);
    await deleteRecords(connection, topic, producer.next);
    await restart();
    assert.deepEqual(await readAll(connection, topic), []);
    assert.equal(await connection.listOffset(topic, 0, -1), producer.next);
    await producer.produce(connection, 2);
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(12, 8));
  });

  test('several volumes, each with its part', async () => {
    bed = new BrokerBed();
    const wals = bed.config().wals;
    const config = {
      wals: ['a', 'b'].map((name) => ({ ...wals[0]!, location: `${bed.dataDir}/wal-${name}` })),
    };
    await bed.start(config);
    connection = await bed.connect();
    await connection.createTopic(topic, 4);
    const producers: CountingProducer[] = [];
    for (let partition = 0; partition < 4; partition++)
      producers.push(await CountingProducer.create(connection, topic, partition));
    for (let life = 0; life < 3; life++) {
      for (const producer of producers) await producer.produce(connection, 2);
      if (life === 1) await bed.upload(1);
      await bed.crash();
      await bed.start(config);
      connection = await bed.connect();
      for (const producer of producers) {
        assert.deepEqual(await readAll(connection, topic, producer.partition), values(producer.next));
        await producer.assertWindow(connection);
      }
    }
  });

  test('an idempotent producer that was acknowledged nothing yet, and one without records, start anew', async () => {
    const producer = await use();
    await restart();
    await producer.produce(connection, 2);
    const { producerId } = await connection.initProducerId();
    assert.ok(producerId > producer.ids.producerId, 'producer ids are never granted twice');
  });
});

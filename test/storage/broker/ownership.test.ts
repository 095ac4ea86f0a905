/**
 * Partitions closed and opened while their broker serves others: what clients see, that producers go on where they were, and that
 * a close or an open that fails, or a crash at any of its steps, loses nothing.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { StreamName } from '../../../src/log/delta-collection.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { type BedOptions, BrokerBed, readAll, until } from '../../support/inline-broker.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer, commitOffset, committedOffset, leaderEpoch, values } from './kafka-calls.ts';

const topic = 'turned';

describe('partitions that are closed and opened', () => {
  let bed: BrokerBed;
  let connection: RawConnection;

  async function start(options: BedOptions = {}, partitions = 3): Promise<void> {
    bed = new BrokerBed(options);
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, partitions);
  }

  afterEach(() => bed.dispose());

  const ownership = () => bed.broker['ownership'];
  const image = (partition = 0) =>
    bed.broker['metadata'].image.topicsByName.get(topic)!.partitions[partition]!;
  const streams = (...partitions: readonly number[]): StreamName[] =>
    partitions.map((partition) => ({ topicId: image().topicId, partition }));

  async function assertAll(producers: readonly CountingProducer[]): Promise<void> {
    for (const { partition, next } of producers)
      assert.deepEqual(await readAll(connection, topic, partition), values(next), `partition ${partition}`);
  }

  test('refuse, end waits at once, and go on under the next epoch with their producers', async () => {
    await start();
    const producers = await Promise.all([0, 1, 2].map((p) => CountingProducer.create(connection, topic, p)));
    for (const producer of producers) await producer.produce(connection, 7);
    const waiting = await bed.connect();
    const parked = waiting.fetch(topic, 0, producers[0]!.next, { maxWaitMs: 60_000 });
    await ownership().close(streams(0, 2));
    assert.equal((await parked).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER, 'a parked fetch');
    assert.deepEqual([image(0).state, image(0).endOffset, image(1).state], ['closed', 14, 'open']);
    assert.notEqual(image(0).stateObject, '', 'the state is named');
    assert.equal(image(0).stateObject, image(2).stateObject, 'of both in one object');
    const refused = [ErrorCode.NOT_LEADER_OR_FOLLOWER, -1];
    assert.deepEqual(await producers[0]!.send(connection, producers[0]!.next, 1), refused);
    assert.equal((await connection.fetch(topic, 0, 0)).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER);
    await producers[1]!.produce(connection, 3);
    await ownership().open(streams(0, 2));
    assert.deepEqual(await Promise.all([0, 1, 2].map((p) => leaderEpoch(connection, topic, p))), [1, 0, 1]);
    for (const producer of producers) await producer.assertWindow(connection);
    await assertAll(producers);
    // And so after a crash, and after a stop.
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
    for (const producer of producers) await producer.assertWindow(connection);
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    connection = await bed.connect();
    await assertAll(producers);
  });

  test('an open of a closed partition reads its state and nothing else', async () => {
    await start();
    const producer = await CountingProducer.create(connection, topic);
    for (let round = 0; round < 4; round++) {
      await producer.produce(connection, 2);
      await bed.upload();
    }
    await ownership().close(streams(0, 1, 2));
    const gets: string[] = [];
    const { get } = bed.store;
    bed.store.get = (key, range) => {
      gets.push(key);
      return get.call(bed.store, key, range);
    };
    await ownership().open(streams(0, 1, 2));
    bed.store.get = get;
    assert.equal(new Set(gets).size, 1, `${gets}`);
    await producer.assertWindow(connection);
  });

  test('a partition that is open is not opened, one that is closed is not closed, and none twice at a time', async () => {
    await start();
    await assert.rejects(ownership().open(streams(0)), { code: 'OWNERSHIP_NOT_CLOSED' });
    await ownership().close(streams(0));
    await assert.rejects(ownership().close(streams(1, 0)), { code: 'OWNERSHIP_NOT_OPEN' });
    const opening = ownership().open(streams(0));
    await assert.rejects(ownership().open(streams(0)), { code: 'OWNERSHIP_BUSY' });
    await opening;
    await assert.rejects(ownership().open([{ topicId: image().topicId, partition: 9 }]), {
      code: 'OWNERSHIP_UNKNOWN',
    });
    assert.deepEqual([image(0).leaderEpoch, image(1).leaderEpoch], [1, 0]);
  });

  test('with the store away nothing is closed, and nobody notices', async () => {
    await start();
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    bed.store.outage = true;
    const closing = ownership().close(streams(0));
    await until(() => bed.store.puts.length > 0);
    await producer.produce(connection, 3);
    assert.equal(image().state, 'open');
    bed.store.outage = false;
    await closing;
    await ownership().open(streams(0));
    await producer.assertWindow(connection);
    await assertAll([producer]);
  });

  test('a partition of which the last upload fails goes on as it was', async () => {
    await start();
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    let uploads = 0;
    bed.store.beforePut = async (key) => {
      if (!key.startsWith('data/')) return;
      // Behind the upload ahead of the close more was produced: that is what the close itself uploads.
      if (++uploads === 1) await producer.produce(connection, 1);
      else throw new MillraceError('invalid', 'STORE_REFUSED', 'not this one');
    };
    await assert.rejects(ownership().close(streams(0)), { code: 'STORE_REFUSED' });
    bed.store.beforePut = () => {};
    assert.equal(image().state, 'open');
    await producer.assertWindow(connection);
    assert.equal(await leaderEpoch(connection, topic), 0);
    await ownership().close(streams(0));
    await ownership().open(streams(0));
    await producer.assertWindow(connection);
    await assertAll([producer]);
  });

  test('a close waits for the upload that holds bytes of the partition', async () => {
    await start();
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    let go!: () => void;
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    let holding = 0;
    bed.store.beforePut = async (key) => {
      if (key.startsWith('data/') && holding++ === 0) await held;
    };
    const uploading = bed.upload();
    await until(() => holding > 0);
    const closing = ownership().close(streams(0));
    // It is served until that is over.
    await producer.produce(connection, 3);
    assert.equal(image().state, 'open');
    go();
    await uploading;
    await closing;
    assert.deepEqual([image().state, image().endOffset], ['closed', producer.next]);
    await ownership().open(streams(0));
    await producer.assertWindow(connection);
  });

  test('appends under way are answered before the close is recorded', async () => {
    await start();
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 1);
    // So that the upload ahead of the close has nothing to do, and no write of its own.
    await bed.upload();
    const [device] = bed.devices;
    device!.held = [];
    const appending = producer.produce(connection, 1);
    await until(() => device!.held!.length > 0);
    const closing = ownership().close(streams(0));
    await until(() => bed.broker['deployment'].local!.shard.logs.get(image().topicId, 0)!.writeError !== 0);
    const other = await bed.connect();
    assert.deepEqual(await producer.send(other, 77, 1), [ErrorCode.NOT_LEADER_OR_FOLLOWER, -1]);
    assert.equal(image().state, 'open');
    device!.release();
    await appending;
    await closing;
    assert.equal(image().endOffset, producer.next);
    await ownership().open(streams(0));
    await producer.assertWindow(connection);
  });

  test('groups of a closed offsets partition are elsewhere, and there again when it is open', async () => {
    await start({ settings: { 'offsets.topic.num.partitions': 1 } });
    await commitOffset(connection, 'g', topic, 7);
    const offsets = bed.broker['metadata'].image.topicsByName.get('__consumer_offsets')!;
    const stream = [{ topicId: offsets.topicId, partition: 0 }];
    await ownership().close(stream);
    const { errorCode } = await connection.request(OffsetFetchCodec, 6, {
      groupId: 'g',
      topics: [{ name: topic, partitionIndexes: [0] }],
    });
    assert.equal(errorCode, ErrorCode.NOT_COORDINATOR);
    const found = await connection.request(FindCoordinatorCodec, 3, { key: 'g', keyType: 0 });
    assert.equal(found.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    await ownership().open(stream);
    assert.deepEqual(await committedOffset(connection, 'g', topic), [7, 'at 7']);
    await commitOffset(connection, 'g', topic, 9);
    assert.deepEqual(await committedOffset(connection, 'g', topic), [9, 'at 9']);
  });

  test('a crash at any step of a close and an open', async () => {
    for (let step = 1, done = false; !done; step++) {
      await start();
      const producer = await CountingProducer.create(connection, topic);
      await producer.produce(connection, 3);
      await bed.upload();
      await producer.produce(connection, 3);
      let puts = 0;
      const crashed = new Promise<void>((resolve) => {
        const count = (): void => {
          if (++puts !== step) return;
          bed.store.cut = true;
          for (const device of bed.devices) device.cut = true;
          resolve();
        };
        // Before the put, and with its answer lost.
        bed.store.beforePut = count;
        bed.store.afterPut = count;
      });
      const turning = (async () => {
        await ownership().close(streams(0, 1));
        await ownership().open(streams(0, 1));
        done = true;
      })();
      turning.catch(() => {});
      await Promise.race([turning, crashed]);
      bed.store.beforePut = () => {};
      bed.store.afterPut = () => {};
      await bed.crash();
      await bed.start();
      connection = await bed.connect();
      await producer.assertWindow(connection);
      await assertAll([producer]);
      assert.ok((await leaderEpoch(connection, topic)) >= 1);
      await bed.dispose();
      assert.ok(step < 40, 'it ends');
    }
  });

  test('partitions of a volume that fails go on in another, and all is there after a crash', async () => {
    await start({}, 4);
    await bed.crash();
    const [wal] = bed.config().wals;
    const two = { wals: [wal!, { ...wal!, location: `${bed.dataDir}/wal-2` }] };
    await bed.start(two);
    connection = await bed.connect();
    await connection.createTopic('wide', 4);
    const { topicId } = bed.broker['metadata'].image.topicsByName.get('wide')!;
    const log = (partition: number): string =>
      bed.broker['metadata'].image.topicsById.get(topicId)!.partitions[partition]!.wal;
    assert.equal(new Set([0, 1, 2, 3].map(log)).size, 2);
    const producers = await Promise.all(
      [0, 1, 2, 3].map((p) => CountingProducer.create(connection, 'wide', p)),
    );
    for (const producer of producers) await producer.produce(connection, 4);
    const logIds = bed.broker['volumes'].map(({ logId }) => logId);
    bed.devices[0]!.failing = new Error('the device is gone');
    const victim = producers.find(({ partition }) => log(partition) === logIds[0])!;
    assert.equal((await victim.send(connection, victim.next, 2))[0], ErrorCode.KAFKA_STORAGE_ERROR);
    bed.clock.jump(1_500);
    await until(() => [0, 1, 2, 3].every((partition) => log(partition) === logIds[1]));
    for (const producer of producers) await producer.assertWindow(connection);
    assert.equal(await leaderEpoch(connection, 'wide', victim.partition), 1);
    await bed.crash();
    await bed.start(two);
    connection = await bed.connect();
    for (const producer of producers) {
      await producer.assertWindow(connection);
      assert.deepEqual(await readAll(connection, 'wide', producer.partition), values(producer.next));
    }
    assert.equal(await bed.stop(), 'clean');
  });
});

/**
 * Producers outlive their records: whatever DeleteRecords and retention let go, and wherever it lay then (memory, log,
 * objects), a broker that dies comes back knowing what its producers have done. Retries are answered with the offset that
 * they had, gaps are refused, the next batch is taken.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { ObjectSweep } from '../../../src/upkeep/object-sweep.ts';
import { Retention } from '../../../src/upkeep/retention.ts';
import { StateKeeper } from '../../../src/upkeep/state-keeper.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer, deleteRecords, values } from './kafka-calls.ts';

const topic = 'records';
const minute = 60_000;

describe('producers whose records are gone', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let producer: CountingProducer;
  afterEach(() => bed.dispose());

  const use = async (configs: Readonly<Record<string, string>> = {}): Promise<void> => {
    bed = new BrokerBed({ settings: { 'compaction.enable': false, 'connections.max.idle.ms': 86_400_000 } });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1, configs);
    producer = await CountingProducer.create(connection, topic);
  };
  const restart = async (): Promise<void> => {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };
  const service = <T extends { pass(): Promise<unknown> }>(kind: abstract new (...args: never[]) => T): T => {
    const found = bed.broker['background'].find((each) => each instanceof kind);
    assert.ok(found !== undefined);
    return found as unknown as T;
  };
  const partition = () => bed.broker['metadata'].image.topicsByName.get(topic)!.partitions[0]!;
  const objects = async (): Promise<number> => (await bed.store.list('data/')).length;
  /** The log holds what lies behind `from`, and the producer is known. */
  const assertKnown = async (from: number): Promise<void> => {
    assert.equal(await connection.listOffset(topic, 0, -2), from);
    assert.deepEqual(await readAll(connection, topic), values(producer.next, from));
    await producer.assertWindow(connection);
  };

  test('in objects: they stay for their producers, and are given up for a state', async () => {
    await use();
    for (let i = 0; i < 3; i++) {
      await producer.produce(connection, 3);
      await bed.upload();
    }
    const other = await CountingProducer.create(connection, topic);
    assert.deepEqual(await other.send(connection, 0, 2), [0, 18]);
    producer.next += 2;
    await bed.upload();
    await deleteRecords(connection, topic, 20);
    assert.deepEqual(
      [partition().objects.length, partition().leftovers.length, partition().stateOffset],
      [0, 4, 0],
    );
    await restart();
    assert.equal(await connection.listOffset(topic, 0, -2), 20);
    assert.equal(await connection.listOffset(topic, 0, -1), 20);
    assert.deepEqual(await other.send(connection, 0, 2), [0, 18], 'a retry of the only batch of another one');
    assert.deepEqual(await producer.send(connection, 16, 2), [0, 16]);
    assert.deepEqual(await producer.send(connection, 19, 2), [45, -1]);
    assert.deepEqual(await producer.send(connection, 18, 2), [0, 20]);
    // The start has stored a state: the objects behind it are let go at once.
    assert.deepEqual(partition().leftovers, []);
  });

  test('in objects of a running broker: one state for all, and then they go', async () => {
    await use();
    await producer.produce(connection, 3);
    await bed.upload();
    await producer.produce(connection, 3);
    await bed.upload();
    await deleteRecords(connection, topic, 12);
    await service(StateKeeper).pass();
    assert.deepEqual([partition().leftovers, partition().stateOffset], [[], 12]);
    await service(ObjectSweep).pass();
    await bed.jump(11 * minute);
    await service(ObjectSweep).pass();
    assert.equal(await objects(), 1, 'the state');
    // Nothing to do: not a single put.
    const puts = bed.store.puts.length;
    await service(StateKeeper).pass();
    assert.equal(bed.store.puts.length, puts);
    await restart();
    await assertKnown(12);
    await bed.upload();
    await deleteRecords(connection, topic, producer.next);
    await service(StateKeeper).pass();
    await restart();
    await restart();
    await assertKnown(14);
  });

  test('in the write-ahead log only, and in what is uploaded after it was deleted', async () => {
    await use();
    await producer.produce(connection, 8);
    await deleteRecords(connection, topic, 16);
    await restart();
    await assertKnown(16);
    // The middle of a batch: it is restored whole.
    await deleteRecords(connection, topic, 17);
    await restart();
    await assertKnown(17);
    await deleteRecords(connection, topic, producer.next);
    await bed.upload();
    assert.equal(partition().leftovers.length, 1, 'dead on arrival, but for its producers');
    await restart();
    await assertKnown(producer.next);
  });

  test('with a state that is newer than what objects hold', async () => {
    await use();
    await producer.produce(connection, 4);
    await bed.upload();
    await producer.produce(connection, 4);
    await deleteRecords(connection, topic, 10);
    await service(StateKeeper).pass();
    assert.deepEqual([partition().stateOffset, partition().objects], [16, []]);
    await producer.produce(connection, 2);
    await restart();
    await assertKnown(10);
    await bed.upload();
    await deleteRecords(connection, topic, 15);
    await restart();
    await assertKnown(15);
  });

  test('by retention', async () => {
    await use({ 'retention.ms': String(30 * minute) });
    for (let i = 0; i < 3; i++) {
      await producer.produce(connection, 2);
      await bed.upload();
    }
    await bed.jump(31 * minute);
    const kept = service(StateKeeper);
    await service(Retention).pass();
    assert.deepEqual([kept.stored, partition().leftovers, partition().startOffset], [1, [], 12]);
    await restart();
    assert.equal(await connection.listOffset(topic, 0, -2), 12);
    await producer.assertWindow(connection);
  });

  test('and a stop in between', async () => {
    await use();
    await producer.produce(connection, 4);
    await bed.upload();
    await deleteRecords(connection, topic, 8);
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    connection = await bed.connect();
    assert.deepEqual(partition().leftovers, []);
    await restart();
    await assertKnown(8);
  });

  test('a topic that is deleted takes its leftovers along', async () => {
    await use();
    await producer.produce(connection, 4);
    await bed.upload();
    await deleteRecords(connection, topic, 8);
    await connection.deleteTopics([topic]);
    const { image } = bed.broker['metadata'];
    assert.deepEqual([image.leftoverObjects.size, image.objects.size, image.dropped.size], [0, 0, 1]);
    await bed.jump(11 * minute);
    await service(ObjectSweep).pass();
    assert.equal(await objects(), 0);
  });

  test('a thousand calls cost no object, and leave nothing', async () => {
    await use();
    await producer.produce(connection, 5, 1_000);
    await bed.upload();
    const before = { objects: await objects(), image: bed.broker['metadata'].image.objects.size };
    for (let offset = 1; offset <= 1_000; offset++) await deleteRecords(connection, topic, offset);
    assert.deepEqual({ objects: await objects(), image: bed.broker['metadata'].image.objects.size }, before);
    await restart();
    assert.equal(await connection.listOffset(topic, 0, -2), 1_000);
    await producer.assertWindow(connection);
  });
});

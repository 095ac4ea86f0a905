/** What a broker of a cluster does only when the bucket's journal holds the commits that it follows from. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { afterEach, describe, test } from 'node:test';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { CountingProducer } from '../storage/broker/kafka-calls.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { until } from '../support/inline-broker.ts';

const topic = 'held';

describe('a cluster whose bucket is behind its metadata', () => {
  let cluster: ClusterBed | null = null;
  afterEach(async () => {
    await cluster?.dispose();
    cluster = null;
  });

  const produced = async (): Promise<ClusterBed> => {
    const made = new ClusterBed(2, 'shared', { leads: false, settings: { 'shutdown.timeout.ms': 8_000 } });
    cluster = made;
    await made.start();
    const connection = await made.bed(1).connect();
    await connection.createTopic(topic, 1);
    await made.assign(topic, 0, 1);
    await made.opened(topic, 0, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 5);
    return made;
  };
  const walOf = (made: ClusterBed, node: number): string => {
    const wal = [...made.authority.image.wals.values()].find((each) => each.node === node)!;
    return wal.location.slice('shared:'.length);
  };

  test('serves what a lost broker had, and keeps its log until the bucket says where the records are', async () => {
    const made = await produced();
    const file = walOf(made, 1);
    assert.ok(existsSync(file));
    await made.bed(1).crash();
    const release = made.authority.holdUpJournal();
    await made.failOver(1, 2);
    await made.assign(topic, 0, 2);
    await until(() => made.partition(topic).state === 'closed');
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok(existsSync(file));
    release();
    await until(() => !existsSync(file));
    await made.opened(topic, 0, 2);
  });

  test('takes no record in a stream before the bucket says in which log it is open', async () => {
    const made = await produced();
    const connection = await made.bed(2).connect();
    const release = made.authority.holdUpJournal();
    const { waiting } = made.authority;
    await made.assign(topic, 0, 2);
    await until(() => made.partition(topic).state === 'open' && made.partition(topic).node === 2);
    await until(() => made.authority.waiting > waiting);
    const producer = await CountingProducer.create(connection, topic);
    const before = await producer.send(connection, 0, 1);
    assert.equal(before[0], ErrorCode.NOT_LEADER_OR_FOLLOWER);
    release();
    for (let error: number = ErrorCode.NOT_LEADER_OR_FOLLOWER; error !== ErrorCode.NONE; ) {
      assert.equal(error, ErrorCode.NOT_LEADER_OR_FOLLOWER);
      [error] = await producer.send(connection, 0, 1);
    }
  });

  test('has a broker that stops wait until its data directory is not needed', async () => {
    const made = await produced();
    const release = made.authority.holdUpJournal();
    const { waiting } = made.authority;
    let stopped = '';
    const stopping = made
      .bed(1)
      .stop()
      .then((how) => {
        stopped = how;
      });
    await until(() => made.partition(topic).state === 'closed' && made.authority.waiting > waiting);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(stopped, '');
    assert.notEqual(made.authority.image.brokers.get(1)!.state, 'fenced');
    release();
    await stopping;
    assert.equal(stopped, 'clean');
  });
});

/** Manual assignments of CreateTopics and CreatePartitions in a cluster of three. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { CreatePartitionsCodec } from '../../../src/protocol/generated/create-partitions.ts';
import { CreateTopicsCodec } from '../../../src/protocol/generated/create-topics.ts';
import { createPartitionsHandler } from '../../../src/requests/create-partitions.ts';
import { createTopicsHandler } from '../../../src/requests/create-topics.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, catalog, ErrorCode, FakeControl } from './admin-fixtures.ts';
import { own, peer, plainPeer, ThreeBrokers } from './cluster-fixtures.ts';

function rig() {
  const topics = new ThreeBrokers();
  const control = new FakeControl();
  const deps = { topics, catalog, control, clock: new HandClock(), logger: silentLogger, nodeId: own };
  const creating = createTopicsHandler({ ...deps, defaultPartitions: 1 });
  const growing = createPartitionsHandler(deps);
  const create = async (...lists: readonly (readonly number[])[]) => {
    const assignments = lists.map((brokerIds, partitionIndex) => ({ partitionIndex, brokerIds }));
    // Kafka's tools send them in any order.
    const topic = { name: 't', numPartitions: -1, replicationFactor: -1, assignments: assignments.reverse() };
    return (await call(creating, CreateTopicsCodec, 7, { topics: [topic] })).topics[0]!.errorCode;
  };
  const grow = async (...lists: readonly (readonly number[])[]) => {
    const assignments = lists.map((brokerIds) => ({ brokerIds }));
    const request = { topics: [{ name: 'grown', count: 1 + lists.length, assignments }], timeoutMs: 1_000 };
    return (await call(growing, CreatePartitionsCodec, 3, request)).results[0]!.errorCode;
  };
  topics.add('grown');
  return { topics, control, create, grow };
}

const { INVALID_REPLICA_ASSIGNMENT } = ErrorCode;

describe('manual assignments', () => {
  it('make the first broker of each list the owner, whoever answers', async () => {
    const { control, create, grow } = rig();
    assert.equal(await create([peer, own], [plainPeer, peer], [own, plainPeer]), 0);
    assert.deepEqual(control.created[0]!.assignments, [peer, plainPeer, own]);
    assert.equal(control.created[0]!.partitions, 3);
    assert.equal(await grow([plainPeer], [peer]), 0);
    assert.deepEqual(control.grown[0]!.assignments, [plainPeer, peer]);
  });

  it('pass over brokers that are fenced or leave, unless there are no others', async () => {
    const { topics, control, create, grow } = rig();
    topics.set(peer, 'fenced');
    topics.set(plainPeer, 'draining');
    assert.equal(await create([peer, plainPeer, own]), 0);
    assert.deepEqual(control.created[0]!.assignments, [own]);
    for (const list of [[peer], [plainPeer], [peer, plainPeer]]) {
      assert.equal(await create(list), INVALID_REPLICA_ASSIGNMENT);
      assert.equal(await grow(list), INVALID_REPLICA_ASSIGNMENT);
    }
    assert.equal(control.created.length, 1);
    assert.equal(control.grown.length, 0);
  });

  it('name registered brokers, each once, equally many for all partitions', async () => {
    const { control, create, grow } = rig();
    for (const lists of [[[9]], [[own, 9]], [[own, own]], [[]], [[own], [own, peer]]]) {
      assert.equal(await create(...lists), INVALID_REPLICA_ASSIGNMENT, JSON.stringify(lists));
      assert.equal(await grow(...lists), INVALID_REPLICA_ASSIGNMENT, JSON.stringify(lists));
    }
    assert.deepEqual([control.created.length, control.grown.length], [0, 0]);
  });

  it('are not said where the client left the choice', async () => {
    const { control, topics } = rig();
    const handler = createTopicsHandler({
      topics,
      catalog,
      control,
      clock: new HandClock(),
      logger: silentLogger,
      nodeId: own,
      defaultPartitions: 1,
    });
    const topic = { name: 't', numPartitions: 2, replicationFactor: 3 };
    await call(handler, CreateTopicsCodec, 7, { topics: [topic] });
    assert.equal(control.created[0]!.assignments, undefined);
  });
});

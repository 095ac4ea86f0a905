/** Moves of partitions, elections and brokers that leave for good, in a cluster of three. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { AlterPartitionReassignmentsCodec } from '../../../src/protocol/generated/alter-partition-reassignments.ts';
import { ElectLeadersCodec } from '../../../src/protocol/generated/elect-leaders.ts';
import { ListPartitionReassignmentsCodec } from '../../../src/protocol/generated/list-partition-reassignments.ts';
import { UnregisterBrokerCodec } from '../../../src/protocol/generated/unregister-broker.ts';
import { alterPartitionReassignmentsHandler } from '../../../src/requests/alter-partition-reassignments.ts';
import { electLeadersHandler } from '../../../src/requests/elect-leaders.ts';
import { listPartitionReassignmentsHandler } from '../../../src/requests/list-partition-reassignments.ts';
import { unregisterBrokerHandler } from '../../../src/requests/unregister-broker.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { call, ErrorCode, FakeControl } from './admin-fixtures.ts';
import { ownEndpoint as endpoint, own, peer, plainPeer, ThreeBrokers } from './cluster-fixtures.ts';

function rig() {
  const topics = new ThreeBrokers();
  const id = topics.add('t', 3);
  const control = new FakeControl();
  const clock = new VirtualClock();
  const deps = { topics, control, clock, logger: silentLogger, nodeId: own, endpoint };
  const altering = alterPartitionReassignmentsHandler(deps);
  const listing = listPartitionReassignmentsHandler(deps);
  const electing = electLeadersHandler(deps);
  const alter = async (
    partitions: readonly (readonly [number, readonly number[] | null])[],
    more: object = {},
  ) => {
    const wanted = partitions.map(([partitionIndex, replicas]) => ({ partitionIndex, replicas }));
    const request = { timeoutMs: 1_000, topics: [{ name: 't', partitions: wanted }], ...more };
    const { responses } = await call(altering, AlterPartitionReassignmentsCodec, 1, request);
    return responses[0]!.partitions.map(({ errorCode }) => errorCode);
  };
  const list = async (named: { name: string; partitionIndexes: number[] }[] | null = null) =>
    (await call(listing, ListPartitionReassignmentsCodec, 0, { topics: named })).topics.map((topic) => [
      topic.name,
      ...topic.partitions.map((one) => [
        one.partitionIndex,
        one.replicas,
        one.addingReplicas,
        one.removingReplicas,
      ]),
    ]);
  const elect = async (partitions: number[] | null, electionType = 0, timeoutMs = 1_000) => {
    const topicPartitions = partitions === null ? null : [{ topic: 't', partitions }];
    const request = { electionType, timeoutMs, topicPartitions };
    const answer = await call(electing, ElectLeadersCodec, 2, request);
    return answer.replicaElectionResults[0]!.partitionResult.map((one) => [one.partitionId, one.errorCode]);
  };
  return { topics, id, control, clock, deps, alter, list, elect };
}

const {
  ELECTION_NOT_NEEDED,
  ELIGIBLE_LEADERS_NOT_AVAILABLE,
  INVALID_REPLICA_ASSIGNMENT,
  INVALID_REPLICATION_FACTOR,
  INVALID_REQUEST,
  NO_REASSIGNMENT_IN_PROGRESS,
  PREFERRED_LEADER_NOT_AVAILABLE,
  REQUEST_TIMED_OUT,
  UNKNOWN_TOPIC_OR_PARTITION,
} = ErrorCode;

describe('AlterPartitionReassignments', () => {
  it('assigns partitions to the first broker named that is there', async () => {
    const { topics, id, control, alter } = rig();
    topics.set(plainPeer, 'draining');
    assert.deepEqual(
      await alter([
        [0, [peer]],
        [1, [plainPeer, peer]],
        [2, [own]],
      ]),
      [0, 0, 0],
    );
    assert.deepEqual(control.assigned, [
      { topicId: id, partition: 0, node: peer },
      { topicId: id, partition: 1, node: peer },
    ]);
  });

  it('asks for nothing that is so already, or under way', async () => {
    const { topics, id, control, alter } = rig();
    topics.assign(id, 0, peer);
    topics.move(id, 1, plainPeer);
    assert.deepEqual(
      await alter([
        [0, [peer]],
        [1, [plainPeer]],
      ]),
      [0, 0],
    );
    assert.deepEqual(control.assigned, []);
    assert.deepEqual(await alter([[0, [plainPeer]]]), [0]);
    assert.deepEqual(await alter([[0, [own]]]), [0]);
    assert.deepEqual(
      control.assigned.map(({ node }) => node),
      [plainPeer, own],
    );
  });

  it('cancels what is under way by an assignment to the broker that has it, and nothing else', async () => {
    const { topics, id, control, alter } = rig();
    topics.assign(id, 0, peer);
    assert.deepEqual(
      await alter([
        [0, null],
        [1, null],
      ]),
      [0, NO_REASSIGNMENT_IN_PROGRESS],
    );
    assert.deepEqual(control.assigned, [{ topicId: id, partition: 0, node: own }]);
    topics.assign(id, 0, own);
    assert.deepEqual(await alter([[0, null]]), [NO_REASSIGNMENT_IN_PROGRESS]);
  });

  it('refuses what cannot be, partition by partition, and tells what the commit said', async () => {
    const { topics, control, alter } = rig();
    topics.set(plainPeer, 'fenced');
    assert.deepEqual(
      await alter([
        [0, [plainPeer]],
        [0, [9]],
        [0, []],
        [0, [peer, peer]],
        [9, [peer]],
        [1, [peer]],
      ]),
      [...Array(4).fill(INVALID_REPLICA_ASSIGNMENT), UNKNOWN_TOPIC_OR_PARTITION, 0],
    );
    assert.equal(control.assigned.length, 1);
    const keeping = { allowReplicationFactorChange: false };
    assert.deepEqual(
      await alter(
        [
          [0, [peer, own]],
          [0, [peer]],
        ],
        keeping,
      ),
      [INVALID_REPLICATION_FACTOR, 0],
    );
    control.answer = { error: INVALID_REPLICA_ASSIGNMENT, message: 'gone meanwhile' };
    assert.deepEqual(
      await alter([
        [0, [peer]],
        [1, [own]],
      ]),
      [INVALID_REPLICA_ASSIGNMENT, 0],
    );
    assert.deepEqual(await alter([[0, [peer]]], { timeoutMs: 0 }), [REQUEST_TIMED_OUT]);
    assert.equal(control.assigned.length, 3);
  });
});

describe('ListPartitionReassignments', () => {
  it('lists what is on its way, with the broker that goes and the one that comes', async () => {
    const { topics, id, list } = rig();
    topics.add('u');
    assert.deepEqual(await list(), []);
    topics.assign(id, 1, peer);
    topics.move(id, 2, plainPeer);
    topics.assign(id, 2, peer);
    const going = [1, [peer, own], [peer], [own]];
    const lost = (removing: number[]) => [2, [peer, ...removing], [peer], removing];
    assert.deepEqual(await list(), [['t', going, lost([plainPeer])]]);
    topics.set(plainPeer, 'fenced');
    assert.deepEqual(await list(), [['t', going, lost([])]]);
    assert.deepEqual(await list([{ name: 't', partitionIndexes: [0, 1, 1, 9] }]), [['t', going]]);
    assert.deepEqual(
      await list([
        { name: 'u', partitionIndexes: [0] },
        { name: 'x', partitionIndexes: [0] },
      ]),
      [],
    );
    topics.move(id, 1, peer);
    topics.move(id, 2, peer);
    assert.deepEqual(await list(), []);
  });
});

describe('ElectLeaders', () => {
  it('needs no election where the partition is led by whom it is assigned to', async () => {
    const { topics, id, elect } = rig();
    topics.move(id, 1, peer);
    topics.assign(id, 1, peer);
    assert.deepEqual(await elect([0, 1]), [
      [0, ELECTION_NOT_NEEDED],
      [1, ELECTION_NOT_NEEDED],
    ]);
    assert.deepEqual(await elect(null), []);
  });

  for (const [which, partitions] of [
    ['named', [0, 2]],
    ['in need', null],
  ] as const) {
    it(`is answered when a partition that was ${which} leads where it is assigned to`, async () => {
      const { topics, id, elect } = rig();
      topics.assign(id, 0, peer);
      let told = false;
      const answer = elect(partitions === null ? null : [...partitions]).finally(() => {
        told = true;
      });
      const moved = async (change: () => void): Promise<void> => {
        change();
        topics.changed();
        await new Promise((resolve) => setImmediate(resolve));
      };
      await moved(() => topics.add('other'));
      assert.ok(!told);
      await moved(() => topics.close(id, 0));
      assert.ok(!told);
      await moved(() => topics.move(id, 0, peer));
      const rest = partitions === null ? [] : [[2, ELECTION_NOT_NEEDED]];
      assert.deepEqual(await answer, [[0, 0], ...rest]);
      assert.equal(topics.watchers.size, 0);
    });
  }

  it('times out when the partition does not come, and says so when it is deleted', async () => {
    const { topics, id, clock, elect } = rig();
    topics.assign(id, 0, peer);
    const late = elect([0], 0, 500);
    await clock.advance(499);
    assert.equal(topics.watchers.size, 1);
    await clock.advance(1);
    assert.deepEqual(await late, [[0, REQUEST_TIMED_OUT]]);
    assert.equal(topics.watchers.size, 0);
    const gone = elect([0]);
    topics.builder.apply([{ type: 'topicDeleted', topicId: id }]);
    topics.changed();
    assert.deepEqual(await gone, [[0, UNKNOWN_TOPIC_OR_PARTITION]]);
  });

  it('has nobody to choose where nobody leads and nothing is on its way', async () => {
    const { topics, id, elect } = rig();
    topics.close(id, 0);
    topics.move(id, 1, peer);
    topics.set(peer, 'fenced');
    topics.assign(id, 2, plainPeer);
    topics.set(plainPeer, 'fenced');
    assert.deepEqual(await elect([0, 1, 2]), [
      [0, PREFERRED_LEADER_NOT_AVAILABLE],
      [1, PREFERRED_LEADER_NOT_AVAILABLE],
      [2, ELECTION_NOT_NEEDED],
    ]);
    assert.deepEqual(await elect([0, 1, 2], 1), [
      [0, ELIGIBLE_LEADERS_NOT_AVAILABLE],
      [1, ELIGIBLE_LEADERS_NOT_AVAILABLE],
      [2, ELECTION_NOT_NEEDED],
    ]);
    assert.deepEqual(await elect(null, 1), [
      [0, ELIGIBLE_LEADERS_NOT_AVAILABLE],
      [1, ELIGIBLE_LEADERS_NOT_AVAILABLE],
    ]);
  });
});

describe('UnregisterBroker', () => {
  it('leaves it to the control plane, but for the broker that answers', async () => {
    const { control, deps } = rig();
    const handler = unregisterBrokerHandler(deps);
    const ask = async (brokerId: number) => {
      const { errorCode, errorMessage } = await call(handler, UnregisterBrokerCodec, 0, { brokerId });
      return [errorCode, errorMessage];
    };
    assert.deepEqual(await ask(peer), [0, null]);
    assert.deepEqual(control.removed, [peer]);
    control.answer = { error: INVALID_REQUEST, message: 'it is here' };
    assert.deepEqual(await ask(plainPeer), [INVALID_REQUEST, 'it is here']);
    assert.equal((await ask(own))[0], INVALID_REQUEST);
    assert.deepEqual(control.removed, [peer, plainPeer]);
  });
});

/** Requests about replicas, leaders and brokers, answered truthfully by the only broker there is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { AlterPartitionReassignmentsCodec } from '../../../src/protocol/generated/alter-partition-reassignments.ts';
import { AlterReplicaLogDirsCodec } from '../../../src/protocol/generated/alter-replica-log-dirs.ts';
import { DescribeQuorumCodec } from '../../../src/protocol/generated/describe-quorum.ts';
import { ElectLeadersCodec } from '../../../src/protocol/generated/elect-leaders.ts';
import { ListConfigResourcesCodec } from '../../../src/protocol/generated/list-config-resources.ts';
import { ListPartitionReassignmentsCodec } from '../../../src/protocol/generated/list-partition-reassignments.ts';
import { UnregisterBrokerCodec } from '../../../src/protocol/generated/unregister-broker.ts';
import { alterPartitionReassignmentsHandler } from '../../../src/requests/alter-partition-reassignments.ts';
import { alterReplicaLogDirsHandler } from '../../../src/requests/alter-replica-log-dirs.ts';
import { describeQuorumHandler } from '../../../src/requests/describe-quorum.ts';
import { electLeadersHandler } from '../../../src/requests/elect-leaders.ts';
import { listConfigResourcesHandler } from '../../../src/requests/list-config-resources.ts';
import { listPartitionReassignmentsHandler } from '../../../src/requests/list-partition-reassignments.ts';
import { unregisterBrokerHandler } from '../../../src/requests/unregister-broker.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, ErrorCode, endpoint, FakeControl, FakeTopics, nodeId } from './admin-fixtures.ts';

test('reassignments: this broker alone is what there is; all else is refused', async () => {
  const topics = new FakeTopics();
  topics.add('t', 2);
  const control = new FakeControl();
  const clock = new HandClock();
  const handler = alterPartitionReassignmentsHandler({
    topics,
    control,
    clock,
    logger: silentLogger,
    nodeId,
  });
  const ask = async (
    replicas: number[] | null,
    name = 't',
    partitionIndex = 0,
    version = 1,
    timeoutMs = 1_000,
  ) => {
    const request = { timeoutMs, topics: [{ name, partitions: [{ partitionIndex, replicas }] }] };
    const answer = await call(handler, AlterPartitionReassignmentsCodec, version, request);
    const { errorCode, errorMessage } = answer.responses[0]!.partitions[0]!;
    return [answer.errorCode, errorCode, errorMessage];
  };
  const { INVALID_REPLICA_ASSIGNMENT: wrong, UNKNOWN_TOPIC_OR_PARTITION: unknown } = ErrorCode;
  for (const version of [0, 1]) assert.deepEqual(await ask([nodeId], 't', 0, version), [0, 0, null]);
  const includes = 'The manual partition assignment includes';
  assert.deepEqual(await ask([99]), [0, wrong, `${includes} broker 99, but no such broker is registered.`]);
  assert.deepEqual(await ask([]), [0, wrong, `${includes} an empty replica list.`]);
  assert.deepEqual(await ask([nodeId, nodeId]), [
    0,
    wrong,
    `${includes} the broker ${nodeId} more than once.`,
  ]);
  assert.deepEqual(await ask(null), [0, ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, null]);
  assert.deepEqual(await ask([nodeId], 't', 9), [0, unknown, 'Unable to find partition t:9.']);
  assert.deepEqual(await ask([nodeId], 'x'), [0, unknown, 'Unable to find a topic named x.']);
  const late = ErrorCode.REQUEST_TIMED_OUT;
  assert.deepEqual(await ask([nodeId], 't', 0, 1, 0), [late, late, null]);
  assert.deepEqual(control.assigned, []);
  const listing = listPartitionReassignmentsHandler({ topics, endpoint });
  const listed = await call(listing, ListPartitionReassignmentsCodec, 0, {
    topics: [{ name: 't', partitionIndexes: [0] }],
  });
  assert.deepEqual([listed.errorCode, listed.errorMessage, listed.topics], [0, null, []]);
});

test('elections: nobody else could lead, and what is open is led', async () => {
  const topics = new FakeTopics();
  const id = topics.add('t', 2);
  topics.partitions.delete(`${id}/1`);
  const handler = electLeadersHandler({ topics, endpoint, clock: new HandClock() });
  const ask = async (
    version: number,
    electionType: number,
    partition: number,
    topic = 't',
    timeoutMs = 1_000,
  ) => {
    const request = { electionType, timeoutMs, topicPartitions: [{ topic, partitions: [partition] }] };
    const answer = await call(handler, ElectLeadersCodec, version, request);
    const { errorCode, errorMessage } = answer.replicaElectionResults[0]!.partitionResult[0]!;
    return [answer.errorCode, errorCode, errorMessage];
  };
  const needless = [0, ErrorCode.ELECTION_NOT_NEEDED, 'Leader election not needed for topic partition.'];
  for (const version of [0, 1, 2]) assert.deepEqual(await ask(version, 0, 0), needless);
  assert.deepEqual(await ask(2, 1, 0), needless);
  assert.equal((await ask(2, 0, 1))[1], ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE);
  assert.equal((await ask(2, 1, 1))[1], ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE);
  const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  assert.deepEqual(await ask(2, 0, 7), [0, unknown, 'No such partition as t-7']);
  assert.deepEqual(await ask(2, 0, 0, 'x'), [0, unknown, 'No such topic as x']);
  const invalid = ErrorCode.INVALID_REQUEST;
  assert.deepEqual(await ask(2, 9, 0), [invalid, invalid, 'Unknown election type 9']);
  const late = ErrorCode.REQUEST_TIMED_OUT;
  assert.deepEqual(await ask(2, 0, 0, 't', 0), [late, late, null]);
  const all = await call(handler, ElectLeadersCodec, 2, { timeoutMs: 1_000, topicPartitions: null });
  assert.deepEqual(all.replicaElectionResults, [{ topic: 't', partitionResult: [] }]);
});

test('log directories: all is in the store, and nowhere else can it go', async () => {
  const topics = new FakeTopics();
  const id = topics.add('t', 2);
  topics.partitions.delete(`${id}/1`);
  const handler = alterReplicaLogDirsHandler({ topics, storeUrl: 's3://bucket/here?region=x' });
  for (const version of [0, 1, 2]) {
    const { results } = await call(handler, AlterReplicaLogDirsCodec, version, {
      dirs: [
        {
          path: 's3://bucket/here',
          topics: [
            { name: 't', partitions: [0, 1, 9] },
            { name: 'x', partitions: [0] },
          ],
        },
        { path: '/else', topics: [{ name: 't', partitions: [0, 9] }] },
      ],
    });
    assert.deepEqual(
      results.map(({ topicName, partitions }) => [
        topicName,
        partitions.map((one) => [one.partitionIndex, one.errorCode]),
      ]),
      [
        [
          't',
          [
            [0, 0],
            [1, ErrorCode.NOT_LEADER_OR_FOLLOWER],
            [9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
            [0, ErrorCode.LOG_DIR_NOT_FOUND],
            [9, ErrorCode.LOG_DIR_NOT_FOUND],
          ],
        ],
        ['x', [[0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]]],
      ],
    );
  }
});

test('the quorum is this broker, at the revision it acts on', async () => {
  const topics = new FakeTopics();
  topics.add('t');
  topics.builder.apply([
    {
      type: 'broker',
      node: nodeId,
      epoch: 5,
      endpoints: [{ listener: 'plain', tls: false, host: 'h', port: 1 }],
      rack: null,
    },
  ]);
  const clock = new HandClock();
  const handler = describeQuorumHandler({ topics, endpoint, clock });
  for (const version of [0, 1, 2]) {
    const ask = (topicName: string, partitionIndex: number) =>
      call(handler, DescribeQuorumCodec, version, {
        topics: [{ topicName, partitions: [{ partitionIndex }] }],
      });
    const answer = await ask('__cluster_metadata', 0);
    const [quorum] = answer.topics[0]!.partitions;
    const { revision } = topics.image;
    assert.ok(revision > 0);
    assert.deepEqual(
      [quorum!.errorCode, quorum!.leaderId, quorum!.leaderEpoch, quorum!.highWatermark, quorum!.observers],
      [0, nodeId, 5, revision, []],
    );
    const time = version >= 1 ? Math.floor(clock.now()) : -1;
    assert.deepEqual(
      quorum!.currentVoters.map((voter) => [
        voter.replicaId,
        voter.logEndOffset,
        voter.lastFetchTimestamp,
        voter.lastCaughtUpTimestamp,
      ]),
      [[nodeId, revision, time, time]],
    );
    assert.deepEqual(
      answer.nodes.map((node) => [node.nodeId, node.listeners]),
      version >= 2 ? [[nodeId, [{ name: 'CONTROLLER', host: 'broker.example', port: 9092 }]]] : [],
    );
    for (const [name, partition] of [
      ['t', 0],
      ['__cluster_metadata', 1],
    ] as const) {
      const other = await ask(name, partition);
      assert.equal(other.topics[0]!.partitions[0]!.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
      assert.deepEqual(other.nodes, []);
    }
  }
});

test('what can be configured, by type', async () => {
  const topics = new FakeTopics();
  topics.add('t');
  topics.builder.apply([
    { type: 'config', resource: 'group', name: 'g', entries: { 'consumer.session.timeout.ms': '50000' } },
    { type: 'config', resource: 'client-metrics', name: 's', entries: { 'interval.ms': '100' } },
    { type: 'config', resource: 'broker', name: String(nodeId), entries: { 'log.retention.ms': '1' } },
    { type: 'config', resource: 'feature', name: 'f', entries: { level: '1' } },
  ]);
  const handler = listConfigResourcesHandler({ topics, nodeId });
  const ask = async (version: number, resourceTypes: number[]) => {
    const { errorCode, configResources } = await call(handler, ListConfigResourcesCodec, version, {
      resourceTypes,
    });
    return [errorCode, ...configResources.map((each) => `${each.resourceType}:${each.resourceName}`)];
  };
  assert.deepEqual(await ask(1, []), [0, '32:g', '16:s', `4:${nodeId}`, '2:t']);
  assert.deepEqual(await ask(1, [2, 8]), [0, '2:t']);
  assert.deepEqual(await ask(1, [2, 99]), [ErrorCode.UNSUPPORTED_VERSION]);
  assert.deepEqual(await ask(0, []), [0, '16:s']);
});

test('the only broker stays registered, and no other is', async () => {
  const control = new FakeControl();
  control.answer = { error: ErrorCode.BROKER_ID_NOT_REGISTERED, message: null };
  const handler = unregisterBrokerHandler({ control, clock: new HandClock(), logger: silentLogger, nodeId });
  const code = async (brokerId: number) =>
    (await call(handler, UnregisterBrokerCodec, 0, { brokerId })).errorCode;
  assert.equal(await code(nodeId), ErrorCode.INVALID_REQUEST);
  assert.equal(await code(nodeId + 1), ErrorCode.BROKER_ID_NOT_REGISTERED);
});

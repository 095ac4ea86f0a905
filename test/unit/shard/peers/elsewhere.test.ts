/** Groups, transactions and share states that another broker coordinates: every request says so, whatever shard it comes to. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { offsetsPlacement } from '../../../../src/coordinator/group/offsets-placement.ts';
import type { MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import type { ApiCodec } from '../../../../src/protocol/codec.ts';
import { AddOffsetsToTxnCodec } from '../../../../src/protocol/generated/add-offsets-to-txn.ts';
import { AddPartitionsToTxnCodec } from '../../../../src/protocol/generated/add-partitions-to-txn.ts';
import { AlterShareGroupOffsetsCodec } from '../../../../src/protocol/generated/alter-share-group-offsets.ts';
import { ConsumerGroupDescribeCodec } from '../../../../src/protocol/generated/consumer-group-describe.ts';
import { ConsumerGroupHeartbeatCodec } from '../../../../src/protocol/generated/consumer-group-heartbeat.ts';
import { DeleteGroupsCodec } from '../../../../src/protocol/generated/delete-groups.ts';
import { DeleteShareGroupOffsetsCodec } from '../../../../src/protocol/generated/delete-share-group-offsets.ts';
import { DeleteShareGroupStateCodec } from '../../../../src/protocol/generated/delete-share-group-state.ts';
import { DescribeGroupsCodec } from '../../../../src/protocol/generated/describe-groups.ts';
import { DescribeShareGroupOffsetsCodec } from '../../../../src/protocol/generated/describe-share-group-offsets.ts';
import { DescribeTransactionsCodec } from '../../../../src/protocol/generated/describe-transactions.ts';
import { EndTxnCodec } from '../../../../src/protocol/generated/end-txn.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../../../src/protocol/generated/find-coordinator.ts';
import { HeartbeatCodec } from '../../../../src/protocol/generated/heartbeat.ts';
import { InitProducerIdCodec } from '../../../../src/protocol/generated/init-producer-id.ts';
import { InitializeShareGroupStateCodec } from '../../../../src/protocol/generated/initialize-share-group-state.ts';
import { JoinGroupCodec } from '../../../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../../../src/protocol/generated/leave-group.ts';
import { ListGroupsCodec } from '../../../../src/protocol/generated/list-groups.ts';
import { ListTransactionsCodec } from '../../../../src/protocol/generated/list-transactions.ts';
import { OffsetCommitCodec } from '../../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../../src/protocol/generated/offset-fetch.ts';
import { ReadShareGroupStateCodec } from '../../../../src/protocol/generated/read-share-group-state.ts';
import { ReadShareGroupStateSummaryCodec } from '../../../../src/protocol/generated/read-share-group-state-summary.ts';
import { ShareGroupDescribeCodec } from '../../../../src/protocol/generated/share-group-describe.ts';
import { ShareGroupHeartbeatCodec } from '../../../../src/protocol/generated/share-group-heartbeat.ts';
import { StreamsGroupDescribeCodec } from '../../../../src/protocol/generated/streams-group-describe.ts';
import { StreamsGroupHeartbeatCodec } from '../../../../src/protocol/generated/streams-group-heartbeat.ts';
import { SyncGroupCodec } from '../../../../src/protocol/generated/sync-group.ts';
import { TxnOffsetCommitCodec } from '../../../../src/protocol/generated/txn-offset-commit.ts';
import { WriteShareGroupStateCodec } from '../../../../src/protocol/generated/write-share-group-state.ts';
import { answerOf, ShardGroup, topicId, topicName } from './shard-group.ts';

const transactionId = 'AAAAAAAAAAAAAAAAAAAAAw';
const shareId = 'AAAAAAAAAAAAAAAAAAAABA';
const elsewhere = 1;

const groupIds = ['g0', 'g1', 'g2', 'g3', 'g4', 'g5'];

/** All that there is of internal topics is open on another broker. */
function movedAway(): ShardGroup {
  const group = new ShardGroup();
  const changes: MetadataChange[] = [
    {
      type: 'broker',
      node: elsewhere,
      epoch: 1,
      endpoints: [{ listener: 'PLAINTEXT', tls: false, host: 'there', port: 9092 }],
      rack: null,
    },
  ];
  const open = (id: string, partition: number, leaderEpoch: number): MetadataChange => ({
    type: 'open',
    topicId: id,
    partition,
    leaderEpoch,
    startOffset: 0,
    node: elsewhere,
    wal: 'there',
  });
  const offsets = group.nodes[0]!.shard.image.topicsByName.get('__consumer_offsets')!;
  for (const { partition } of offsets.partitions) {
    changes.push(
      {
        type: 'close',
        topicId: offsets.topicId,
        partition,
        leaderEpoch: 1,
        endOffset: 0,
        stateObject: '',
      },
      open(offsets.topicId, partition, 2),
    );
  }
  for (const [name, id] of [
    ['__transaction_state', transactionId],
    ['__share_group_state', shareId],
  ] as const) {
    const configs = offsetsPlacement.config;
    changes.push({ type: 'topic', name, topicId: id, partitions: 2, configs, internal: true });
    for (const partition of [0, 1]) changes.push(open(id, partition, 1));
  }
  for (const name of ['group.version', 'share.version', 'streams.version', 'transaction.version']) {
    changes.push({ type: 'config', resource: 'feature', name, entries: { level: '1' } });
  }
  group.apply(changes);
  return group;
}

const batch = { firstOffset: 0, lastOffset: 0, deliveryState: 0, deliveryCount: 1 };
const partitionsOf = <P>(partition: P) => ({ topics: [{ topicId, partitions: [partition] }] });

type Ask = (groupId: string) => readonly [ApiCodec<never, never, unknown, never>, number, object];
const ask = <QI extends object>(
  // biome-ignore lint/suspicious/noExplicitAny: each codec with its own types
  codec: ApiCodec<any, QI, any, any>,
  version: number,
  input: QI,
) => [codec as unknown as ApiCodec<never, never, unknown, never>, version, input] as const;

const requests: Readonly<Record<string, Ask>> = {
  JoinGroup: (groupId) =>
    ask(JoinGroupCodec, 9, {
      groupId,
      sessionTimeoutMs: 10_000,
      memberId: '',
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
    }),
  SyncGroup: (groupId) => ask(SyncGroupCodec, 5, { groupId, generationId: 1, memberId: 'm' }),
  Heartbeat: (groupId) => ask(HeartbeatCodec, 4, { groupId, generationId: 1, memberId: 'm' }),
  LeaveGroup: (groupId) => ask(LeaveGroupCodec, 5, { groupId, members: [{ memberId: 'm' }] }),
  OffsetCommit: (groupId) =>
    ask(OffsetCommitCodec, 9, {
      groupId,
      topics: [{ name: topicName, partitions: [{ partitionIndex: 0, committedOffset: 1 }] }],
    }),
  'OffsetFetch up to v7': (groupId) =>
    ask(OffsetFetchCodec, 7, { groupId, topics: [{ name: topicName, partitionIndexes: [0] }] }),
  OffsetFetch: (groupId) =>
    ask(OffsetFetchCodec, 9, {
      groups: [{ groupId, topics: [{ name: topicName, partitionIndexes: [0] }] }],
    }),
  OffsetDelete: (groupId) =>
    ask(OffsetDeleteCodec, 0, {
      groupId,
      topics: [{ name: topicName, partitions: [{ partitionIndex: 0 }] }],
    }),
  DescribeGroups: (groupId) => ask(DescribeGroupsCodec, 6, { groups: [groupId] }),
  DeleteGroups: (groupId) => ask(DeleteGroupsCodec, 2, { groupsNames: [groupId] }),
  ConsumerGroupHeartbeat: (groupId) =>
    ask(ConsumerGroupHeartbeatCodec, 1, {
      groupId,
      memberId: 'AAAAAAAAAAAAAAAAAAAACQ',
      memberEpoch: 0,
      rebalanceTimeoutMs: 1000,
      subscribedTopicNames: [topicName],
      topicPartitions: [],
    }),
  ConsumerGroupDescribe: (groupId) => ask(ConsumerGroupDescribeCodec, 1, { groupIds: [groupId] }),
  ShareGroupHeartbeat: (groupId) =>
    ask(ShareGroupHeartbeatCodec, 1, {
      groupId,
      memberId: 'AAAAAAAAAAAAAAAAAAAACQ',
      memberEpoch: 0,
      subscribedTopicNames: [topicName],
    }),
  ShareGroupDescribe: (groupId) => ask(ShareGroupDescribeCodec, 1, { groupIds: [groupId] }),
  StreamsGroupHeartbeat: (groupId) =>
    ask(StreamsGroupHeartbeatCodec, 0, {
      groupId,
      memberId: 'AAAAAAAAAAAAAAAAAAAACQ',
      memberEpoch: 0,
      endpointInformationEpoch: 0,
      rebalanceTimeoutMs: 1000,
      topology: { epoch: 0, subtopologies: [{ subtopologyId: '0', sourceTopics: [topicName] }] },
      activeTasks: [],
      standbyTasks: [],
      warmupTasks: [],
      processId: 'p',
    }),
  StreamsGroupDescribe: (groupId) => ask(StreamsGroupDescribeCodec, 0, { groupIds: [groupId] }),
  DescribeShareGroupOffsets: (groupId) =>
    ask(DescribeShareGroupOffsetsCodec, 0, { groups: [{ groupId, topics: null }] }),
  AlterShareGroupOffsets: (groupId) =>
    ask(AlterShareGroupOffsetsCodec, 0, {
      groupId,
      topics: [{ topicName, partitions: [{ partitionIndex: 0, startOffset: 0 }] }],
    }),
  DeleteShareGroupOffsets: (groupId) =>
    ask(DeleteShareGroupOffsetsCodec, 0, { groupId, topics: [{ topicName }] }),
  'InitProducerId with an id': (transactionalId) =>
    ask(InitProducerIdCodec, 4, { transactionalId, transactionTimeoutMs: 1000 }),
  AddPartitionsToTxn: (transactionalId) =>
    ask(AddPartitionsToTxnCodec, 3, {
      v3AndBelowTransactionalId: transactionalId,
      v3AndBelowProducerId: 1,
      v3AndBelowProducerEpoch: 0,
      v3AndBelowTopics: [{ name: topicName, partitions: [0] }],
    }),
  AddOffsetsToTxn: (transactionalId) =>
    ask(AddOffsetsToTxnCodec, 3, { transactionalId, producerId: 1, producerEpoch: 0, groupId: 'g' }),
  EndTxn: (transactionalId) =>
    ask(EndTxnCodec, 3, { transactionalId, producerId: 1, producerEpoch: 0, committed: true }),
  TxnOffsetCommit: (groupId) =>
    ask(TxnOffsetCommitCodec, 3, {
      transactionalId: 't',
      groupId,
      producerId: 1,
      producerEpoch: 0,
      topics: [{ name: topicName, partitions: [{ partitionIndex: 0, committedOffset: 1 }] }],
    }),
  DescribeTransactions: (id) => ask(DescribeTransactionsCodec, 0, { transactionalIds: [id] }),
  InitializeShareGroupState: (groupId) =>
    ask(InitializeShareGroupStateCodec, 0, {
      groupId,
      ...partitionsOf({ partition: 0, stateEpoch: 0, startOffset: 0 }),
    }),
  ReadShareGroupState: (groupId) =>
    ask(ReadShareGroupStateCodec, 0, { groupId, ...partitionsOf({ partition: 0, leaderEpoch: 0 }) }),
  WriteShareGroupState: (groupId) =>
    ask(WriteShareGroupStateCodec, 0, {
      groupId,
      ...partitionsOf({
        partition: 0,
        stateEpoch: 0,
        leaderEpoch: 0,
        startOffset: 0,
        stateBatches: [batch],
      }),
    }),
  DeleteShareGroupState: (groupId) =>
    ask(DeleteShareGroupStateCodec, 0, { groupId, ...partitionsOf({ partition: 0 }) }),
  ReadShareGroupStateSummary: (groupId) =>
    ask(ReadShareGroupStateSummaryCodec, 0, { groupId, ...partitionsOf({ partition: 0, leaderEpoch: 0 }) }),
};

/** All error codes in an answer, at whatever depth. */
function errorsIn(answer: unknown): number[] {
  if (answer === null || typeof answer !== 'object' || answer instanceof Uint8Array) return [];
  return Object.entries(answer).flatMap(([name, value]) =>
    /errorCode$/i.test(name) ? [value as number] : errorsIn(value),
  );
}

describe('a broker where internal topics are open on another', () => {
  for (const [name, build] of Object.entries(requests)) {
    it(`answers ${name} with NOT_COORDINATOR`, async () => {
      const group = movedAway();
      await group.settle();
      const clients = [group.client(0), group.client(1)];
      for (const client of clients) {
        for (const key of groupIds) {
          const [codec, version, input] = build(key);
          const pending = client.send(codec, version, input as never);
          await group.settle();
          const errors = errorsIn(answerOf(pending)).filter((error) => error !== ErrorCode.NONE);
          assert.deepEqual([...new Set(errors)], [ErrorCode.NOT_COORDINATOR], `${key}: ${errors}`);
        }
      }
    });
  }

  it('lists no groups and no transactions, and names the other for all', async () => {
    const group = movedAway();
    await group.settle();
    const client = group.client(0);
    const groups = client.send(ListGroupsCodec, 5, {});
    const transactions = client.send(ListTransactionsCodec, 1, {});
    const found = client.send(FindCoordinatorCodec, 5, { keyType: 0, coordinatorKeys: groupIds });
    await group.settle();
    assert.deepEqual([answerOf(groups).errorCode, answerOf(groups).groups], [0, []]);
    assert.deepEqual([answerOf(transactions).errorCode, answerOf(transactions).transactionStates], [0, []]);
    assert.deepEqual(
      answerOf(found).coordinators.map(({ errorCode, nodeId, host }) => [errorCode, nodeId, host]),
      groupIds.map(() => [0, elsewhere, 'there']),
    );
  });
});

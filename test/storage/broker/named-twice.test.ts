/** Requests that name a topic, a partition or a group twice: the table of docs/reference/compatibility.md, over the wire. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { CreatePartitionsCodec } from '../../../src/protocol/generated/create-partitions.ts';
import { CreateTopicsCodec } from '../../../src/protocol/generated/create-topics.ts';
import { DeleteGroupsCodec } from '../../../src/protocol/generated/delete-groups.ts';
import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { DeleteTopicsCodec } from '../../../src/protocol/generated/delete-topics.ts';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { DescribeGroupsCodec } from '../../../src/protocol/generated/describe-groups.ts';
import { DescribeLogDirsCodec } from '../../../src/protocol/generated/describe-log-dirs.ts';
import { DescribeTopicPartitionsCodec } from '../../../src/protocol/generated/describe-topic-partitions.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { OffsetForLeaderEpochCodec } from '../../../src/protocol/generated/offset-for-leader-epoch.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { baseOffsetOf } from '../../../src/protocol/records/batch-header.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { sequencedBatch } from '../../support/load/batches.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { commitOffset } from './kafka-calls.ts';

const t = 'twice';
const { INVALID_REQUEST } = ErrorCode;
const timeoutMs = 10_000;
const batchOf = (records: number): Buffer =>
  sequencedBatch(
    { producerId: -1, producerEpoch: -1 },
    -1,
    Array.from({ length: records }, () => Buffer.from('v')),
    Date.now(),
  );

describe('a request that names something twice', () => {
  const bed = new BrokerBed();
  let connection: RawConnection;
  before(async () => {
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(t, 2);
    await connection.produce(t, 0, batchOf(10));
    await connection.produce(t, 1, batchOf(10));
    await commitOffset(connection, 'g', t, 1);
  });
  after(() => bed.dispose());

  test('Produce: every batch is taken in order, and every mention answered', async () => {
    const at = (index: number, records: number) => ({ index, records: batchOf(records) });
    const { responses } = await connection.request(ProduceCodec, 9, {
      acks: -1,
      timeoutMs,
      topicData: [
        { name: t, partitionData: [at(0, 1), at(0, 2)] },
        { name: t, partitionData: [at(0, 3)] },
      ],
    });
    assert.deepEqual(
      responses.flatMap(({ partitionResponses }) =>
        partitionResponses.map(({ errorCode, baseOffset }) => [errorCode, baseOffset]),
      ),
      [
        [0, 10],
        [0, 11],
        [0, 13],
      ],
    );
    assert.equal(await connection.listOffset(t, 0, -1), 16);
  });

  test('Fetch, with and without a session: the last mention counts', async () => {
    const at = (fetchOffset: number) => ({ partition: 0, fetchOffset, partitionMaxBytes: 1 << 16 });
    for (const sessionEpoch of [-1, 0]) {
      const { responses } = await connection.request(FetchCodec, 12, {
        maxWaitMs: 0,
        minBytes: 1,
        maxBytes: 1 << 20,
        sessionEpoch,
        topics: [
          { topic: t, partitions: [at(0), at(10)] },
          { topic: t, partitions: [at(13)] },
        ],
      });
      const partitions = responses.flatMap((topic) => topic.partitions);
      assert.equal(partitions.length, 1);
      const records = Buffer.from(partitions[0]!.records!);
      assert.equal(baseOffsetOf(new DataView(records.buffer, records.byteOffset), 0), 13);
    }
  });

  test('ListOffsets: refused, once; OffsetForLeaderEpoch: each mention', async () => {
    const at = (partitionIndex: number, timestamp: number) => ({ partitionIndex, timestamp });
    const { topics } = await connection.request(ListOffsetsCodec, 6, {
      replicaId: -1,
      topics: [
        { name: t, partitions: [at(0, -1), at(1, -1)] },
        { name: t, partitions: [at(0, -2)] },
      ],
    });
    assert.deepEqual(
      topics.map(({ partitions }) =>
        partitions.map((one) => [one.partitionIndex, one.errorCode, one.offset]),
      ),
      [
        [
          [0, INVALID_REQUEST, -1],
          [1, 0, 10],
        ],
      ],
    );
    const epochs = await connection.request(OffsetForLeaderEpochCodec, 3, {
      replicaId: -1,
      topics: [{ topic: t, partitions: [0, 7].map((leaderEpoch) => ({ partition: 1, leaderEpoch })) }],
    });
    assert.deepEqual(
      epochs.topics[0]!.partitions.map(({ endOffset }) => endOffset),
      [10, -1],
    );
  });

  test('DeleteRecords: the last mention counts, answered once', async () => {
    const at = (partitionIndex: number, offset: number) => ({ partitionIndex, offset });
    const { topics } = await connection.request(DeleteRecordsCodec, 2, {
      topics: [
        { name: t, partitions: [at(1, 3), at(1, 1)] },
        { name: t, partitions: [at(1, 2)] },
      ],
      timeoutMs,
    });
    assert.deepEqual(
      topics.map(({ partitions }) => partitions.map((one) => [one.partitionIndex, one.lowWatermark])),
      [[[1, 2]]],
    );
    assert.equal(await connection.listOffset(t, 1, -2), 2);
  });

  test('CreateTopics, CreatePartitions, DeleteTopics: refused, once, and nothing is done', async () => {
    const made = await connection.request(CreateTopicsCodec, 5, {
      topics: [1, 2].map((numPartitions) => ({ name: 'new', numPartitions, replicationFactor: 1 })),
      timeoutMs,
    });
    assert.deepEqual(
      made.topics.map(({ name, errorCode }) => [name, errorCode]),
      [['new', INVALID_REQUEST]],
    );
    const grown = await connection.request(CreatePartitionsCodec, 2, {
      topics: [3, 4].map((count) => ({ name: t, count, assignments: null })),
      timeoutMs,
    });
    assert.deepEqual(
      grown.results.map(({ errorCode }) => errorCode),
      [INVALID_REQUEST],
    );
    const gone = await connection.request(DeleteTopicsCodec, 4, {
      topicNames: [t, t, 'none', 'none'],
      timeoutMs,
    });
    assert.deepEqual(
      gone.responses.map(({ name, errorCode }) => [name, errorCode]),
      [
        [t, INVALID_REQUEST],
        ['none', INVALID_REQUEST],
      ],
    );
    const { topics } = await connection.metadata([t, t]);
    assert.deepEqual(
      topics.map(({ name, partitions }) => [name, partitions.length]),
      [[t, 2]],
    );
  });

  test('OffsetCommit: the last mention counts, each answered; OffsetFetch and OffsetDelete: each mention', async () => {
    const at = (partitionIndex: number, committedOffset: number) => ({ partitionIndex, committedOffset });
    const committed = await connection.request(OffsetCommitCodec, 7, {
      groupId: 'g',
      generationIdOrMemberEpoch: -1,
      topics: [
        { name: t, partitions: [at(0, 5), at(0, 6)] },
        { name: t, partitions: [at(0, 4)] },
      ],
    });
    assert.deepEqual(
      committed.topics.map(({ partitions }) => partitions.map(({ errorCode }) => errorCode)),
      [[0, 0], [0]],
    );
    const fetched = await connection.request(OffsetFetchCodec, 8, {
      groups: [1, 2].map(() => ({ groupId: 'g', topics: [{ name: t, partitionIndexes: [0, 0] }] })),
    });
    assert.deepEqual(
      fetched.groups.map(({ topics }) => topics[0]!.partitions.map(({ committedOffset }) => committedOffset)),
      [
        [4, 4],
        [4, 4],
      ],
    );
    const deleted = await connection.request(OffsetDeleteCodec, 0, {
      groupId: 'g',
      topics: [{ name: t, partitions: [0, 0].map((partitionIndex) => ({ partitionIndex })) }],
    });
    assert.deepEqual(
      deleted.topics[0]!.partitions.map(({ errorCode }) => errorCode),
      [0, 0],
    );
  });

  test('what only asks: once where the answer is a set, each mention where it is a list', async () => {
    const described = await connection.request(DescribeTopicPartitionsCodec, 0, {
      topics: [{ name: t }, { name: t }],
      responsePartitionLimit: 100,
      cursor: null,
    });
    assert.equal(described.topics.length, 1);
    const dirs = await connection.request(DescribeLogDirsCodec, 4, {
      topics: [
        { topic: t, partitions: [0, 0] },
        { topic: t, partitions: [1] },
      ],
    });
    assert.deepEqual(
      dirs.results.at(-1)!.topics.map(({ partitions }) => partitions.map((one) => one.partitionIndex)),
      [[0, 1]],
    );
    const configs = await connection.request(DescribeConfigsCodec, 4, {
      resources: ['retention.ms', 'segment.ms'].map((key) => ({
        resourceType: 2,
        resourceName: t,
        configurationKeys: [key],
      })),
    });
    assert.deepEqual(
      configs.results.map(({ configs: found }) => found.map(({ name }) => name)),
      [['retention.ms'], ['segment.ms']],
    );
    const found = await connection.request(FindCoordinatorCodec, 4, {
      keyType: 0,
      coordinatorKeys: ['g', 'g'],
    });
    assert.equal(found.coordinators.length, 2);
    const groups = await connection.request(DescribeGroupsCodec, 5, { groups: ['g', 'g'] });
    assert.equal(groups.groups.length, 2);
    const gone = await connection.request(DeleteGroupsCodec, 2, { groupsNames: ['g', 'g'] });
    assert.deepEqual(
      gone.results.map(({ errorCode }) => errorCode),
      [0],
    );
  });
});

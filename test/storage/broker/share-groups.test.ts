/**
 * Share groups through a whole broker over the wire (KIP-932): members, fetches, acknowledgements, sessions, administration; and
 * what is left of all that after a crash.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { acknowledgeTypes as ack } from '../../../src/log/share/share-api.ts';
import { AlterShareGroupOffsetsCodec } from '../../../src/protocol/generated/alter-share-group-offsets.ts';
import { DeleteGroupsCodec } from '../../../src/protocol/generated/delete-groups.ts';
import { DeleteShareGroupOffsetsCodec } from '../../../src/protocol/generated/delete-share-group-offsets.ts';
import { DescribeShareGroupOffsetsCodec } from '../../../src/protocol/generated/describe-share-group-offsets.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { ListGroupsCodec } from '../../../src/protocol/generated/list-groups.ts';
import { ReadShareGroupStateCodec } from '../../../src/protocol/generated/read-share-group-state.ts';
import { ReadShareGroupStateSummaryCodec } from '../../../src/protocol/generated/read-share-group-state-summary.ts';
import { ShareAcknowledgeCodec } from '../../../src/protocol/generated/share-acknowledge.ts';
import { ShareFetchCodec, type ShareFetchRequestInput } from '../../../src/protocol/generated/share-fetch.ts';
import { ShareGroupDescribeCodec } from '../../../src/protocol/generated/share-group-describe.ts';
import { ShareGroupHeartbeatCodec } from '../../../src/protocol/generated/share-group-heartbeat.ts';
import { UpdateFeaturesCodec } from '../../../src/protocol/generated/update-features.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer } from './kafka-calls.ts';

const groupId = 'workers';
const topic = 'jobs';
const patienceTurns = 200;

interface Delivered {
  readonly offsets: readonly number[];
  readonly counts: readonly number[];
}

describe('share groups', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let producer: CountingProducer;
  let topicId: string;
  /** Epoch of the next request of each member's session. */
  const epochs = new Map<string, number>();

  beforeEach(async () => {
    bed = new BrokerBed({
      settings: { 'share.coordinator.state.topic.num.partitions': 3, 'connections.max.idle.ms': 86_400_000 },
    });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 2);
    topicId = bed.broker['deployment'].local!.shard.image.topicsByName.get(topic)!.topicId;
    producer = await CountingProducer.create(connection, topic);
    epochs.clear();
    await configure({ 'share.auto.offset.reset': 'earliest' });
  });
  afterEach(() => bed.dispose());

  async function configure(entries: Readonly<Record<string, string>>): Promise<void> {
    const configs = Object.entries(entries).map(([name, value]) => ({ name, value, configOperation: 0 }));
    const { responses } = await connection.request(IncrementalAlterConfigsCodec, 1, {
      resources: [{ resourceType: 32, resourceName: groupId, configs }],
    });
    assert.equal(responses[0]!.errorCode, 0, responses[0]!.errorMessage ?? '');
  }

  /** Makes `__consumer_offsets`, if it is not there. */
  const findCoordinator = () =>
    connection.request(FindCoordinatorCodec, 4, { keyType: 0, coordinatorKeys: [groupId] });

  const heartbeat = (memberId: string, memberEpoch: number, topics: readonly string[] | null = null) =>
    connection.request(ShareGroupHeartbeatCodec, 1, {
      groupId,
      memberId,
      memberEpoch,
      subscribedTopicNames: topics,
    });

  /** Joins, waiting for the internal topics as clients do. */
  async function join(memberId: string): Promise<Awaited<ReturnType<typeof heartbeat>>> {
    for (let turn = 0; turn < patienceTurns; turn++) {
      const answer = await heartbeat(memberId, 0, [topic]);
      const retriable =
        answer.errorCode === ErrorCode.NOT_COORDINATOR ||
        answer.errorCode === ErrorCode.COORDINATOR_NOT_AVAILABLE ||
        answer.errorCode === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
      if (!retriable) return answer;
      await findCoordinator();
    }
    throw new Error('the group has no coordinator');
  }

  async function fetchRaw(memberId: string, input: ShareFetchRequestInput = {}, on = connection) {
    const epoch = epochs.get(memberId) ?? 0;
    const answer = await on.request(ShareFetchCodec, 2, {
      groupId,
      memberId,
      shareSessionEpoch: epoch,
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1 << 20,
      maxRecords: 500,
      batchSize: 500,
      topics: epoch === 0 ? [{ topicId, partitions: [{ partitionIndex: 0 }] }] : [],
      ...input,
    });
    if (answer.errorCode === 0) epochs.set(memberId, epoch + 1);
    return answer;
  }

  async function fetch(
    memberId: string,
    input: ShareFetchRequestInput = {},
    on = connection,
  ): Promise<Delivered> {
    const { errorCode, responses } = await fetchRaw(memberId, input, on);
    assert.equal(errorCode, 0);
    const offsets: number[] = [];
    const counts: number[] = [];
    for (const { partitions } of responses)
      for (const { errorCode: failed, acquiredRecords, records } of partitions) {
        assert.equal(failed, 0);
        if (acquiredRecords.length > 0) assert.ok(records !== null && records.byteLength > 0);
        for (const { firstOffset, lastOffset, deliveryCount } of acquiredRecords)
          for (let offset = firstOffset; offset <= lastOffset; offset++) {
            offsets.push(offset);
            counts.push(deliveryCount);
          }
      }
    return { offsets, counts };
  }

  async function acknowledge(
    memberId: string,
    first: number,
    last: number,
    ...types: number[]
  ): Promise<number> {
    const epoch = epochs.get(memberId)!;
    const { errorCode, responses } = await connection.request(ShareAcknowledgeCodec, 2, {
      groupId,
      memberId,
      shareSessionEpoch: epoch,
      isRenewAck: types.includes(ack.renew),
      topics: [
        {
          topicId,
          partitions: [
            {
              partitionIndex: 0,
              acknowledgementBatches: [{ firstOffset: first, lastOffset: last, acknowledgeTypes: types }],
            },
          ],
        },
      ],
    });
    if (errorCode !== 0) return errorCode;
    epochs.set(memberId, epoch + 1);
    return responses[0]!.partitions[0]!.errorCode;
  }

  async function crash(): Promise<void> {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
    epochs.clear();
  }

  /** Fetches until something comes: share partitions are read from their coordinator first. */
  async function fetchSome(memberId: string): Promise<Delivered> {
    for (let turn = 0; turn < patienceTurns; turn++) {
      const { responses } = await fetchRaw(memberId, { maxWaitMs: 100 });
      const found = responses.flatMap(({ partitions }) =>
        partitions.flatMap(({ acquiredRecords }) => acquiredRecords),
      );
      if (found.length === 0) continue;
      const offsets: number[] = [];
      const counts: number[] = [];
      for (const { firstOffset, lastOffset, deliveryCount } of found)
        for (let offset = firstOffset; offset <= lastOffset; offset++) {
          offsets.push(offset);
          counts.push(deliveryCount);
        }
      return { offsets, counts };
    }
    throw new Error('nothing was delivered');
  }

  const startOffset = async (): Promise<[error: number, start: number, lag: number]> => {
    const { groups } = await connection.request(DescribeShareGroupOffsetsCodec, 1, {
      groups: [{ groupId, topics: [{ topicName: topic, partitions: [0] }] }],
    });
    if (groups[0]!.errorCode !== 0) return [groups[0]!.errorCode, -1, -1];
    const { startOffset: start, lag, errorCode } = groups[0]!.topics[0]!.partitions[0]!;
    return [errorCode, start, lag];
  };

  test('members share partitions, and a member that leaves gives them to the others', async () => {
    const first = await join('m1');
    assert.deepEqual(
      [first.errorCode, first.memberEpoch, first.assignment?.topicPartitions],
      [0, 1, [{ topicId, partitions: [0, 1] }]],
    );
    const second = await join('m2');
    assert.equal(second.errorCode, 0);
    await bed.jump(1_000);
    let [one, two] = [await heartbeat('m1', first.memberEpoch), await heartbeat('m2', second.memberEpoch)];
    for (let turn = 0; turn < patienceTurns && one.assignment === null; turn++)
      [one, two] = [await heartbeat('m1', one.memberEpoch), await heartbeat('m2', two.memberEpoch)];
    assert.equal(one.assignment!.topicPartitions[0]!.partitions.length, 1);
    const { groups } = await connection.request(ShareGroupDescribeCodec, 1, {
      groupIds: [groupId, 'nobody'],
    });
    assert.deepEqual(
      groups.map(({ errorCode, groupState, members }) => [errorCode, groupState, members.length]),
      [
        [0, 'Stable', 2],
        [ErrorCode.GROUP_ID_NOT_FOUND, '', 0],
      ],
    );
    const listed = await connection.request(ListGroupsCodec, 5, { typesFilter: ['share'] });
    assert.deepEqual(
      listed.groups.map(({ groupId: id, groupType, groupState }) => [id, groupType, groupState]),
      [[groupId, 'share', 'Stable']],
    );
    assert.equal((await heartbeat('m1', -1)).memberEpoch, -1);
    assert.equal((await heartbeat('m1', 3)).errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal((await heartbeat('m2', 77)).errorCode, ErrorCode.FENCED_MEMBER_EPOCH);
  });

  test('what is acknowledged stays so over a crash, all else is delivered again with its count', async () => {
    await join('m1');
    await producer.produce(connection, 5);
    assert.deepEqual((await fetchSome('m1')).offsets, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.equal(await acknowledge('m1', 0, 3, ack.accept), 0);
    assert.equal(await acknowledge('m1', 4, 6, ack.release, ack.accept, ack.reject), 0);
    assert.deepEqual(await startOffset(), [0, 4, 4]);
    await crash();
    assert.equal((await join('m1')).errorCode, 0);
    assert.deepEqual(await fetchSome('m1'), { offsets: [4, 7, 8, 9], counts: [2, 1, 1, 1] });
    assert.equal(await acknowledge('m1', 4, 4, ack.accept), 0);
    assert.equal(await acknowledge('m1', 7, 9, ack.accept), 0);
    await crash();
    await join('m1');
    assert.deepEqual(await startOffset(), [0, 10, 0]);
    assert.deepEqual((await fetch('m1')).offsets, []);
    await producer.produce(connection, 1);
    assert.deepEqual((await fetchSome('m1')).offsets, [10, 11]);
  });

  test('locks end with their time, with the session and with the connection', async () => {
    await join('m1');
    await producer.produce(connection, 1);
    assert.deepEqual((await fetchSome('m1')).counts, [1, 1]);
    assert.deepEqual((await fetch('m2')).offsets, []);
    // A fetch that waits is answered when the lock is over.
    const waiting = fetch('m2', { maxWaitMs: 60_000 });
    await bed.jump(30_000);
    const late = await waiting;
    assert.deepEqual(late, { offsets: [0, 1], counts: [2, 2] });
    assert.equal(await acknowledge('m1', 0, 1, ack.accept), ErrorCode.INVALID_RECORD_STATE);
    // Ended in order, and then with the connection: delivered, either way.
    epochs.set('m2', -1);
    await fetchRaw('m2', { shareSessionEpoch: -1 });
    epochs.clear();
    const other = await bed.connect();
    assert.deepEqual((await fetch('m3', {}, other)).counts, [3, 3]);
    await other.close();
    // From half of the five deliveries on, fewer at once.
    assert.deepEqual(await fetchSome('m1'), { offsets: [0], counts: [4] });
  });

  test('sessions are known by their epochs, and acknowledgements ride on fetches', async () => {
    await join('m1');
    await producer.produce(connection, 2);
    assert.equal(
      (await fetchRaw('m1', { shareSessionEpoch: 3 })).errorCode,
      ErrorCode.SHARE_SESSION_NOT_FOUND,
    );
    epochs.clear();
    assert.deepEqual((await fetchSome('m1')).offsets, [0, 1, 2, 3]);
    assert.equal(
      (await fetchRaw('m1', { shareSessionEpoch: 9 })).errorCode,
      ErrorCode.INVALID_SHARE_SESSION_EPOCH,
    );
    const acknowledgementBatches = [{ firstOffset: 0, lastOffset: 3, acknowledgeTypes: [ack.accept] }];
    const topics = [{ topicId, partitions: [{ partitionIndex: 0, acknowledgementBatches }] }];
    const { responses } = await fetchRaw('m1', { topics });
    assert.equal(responses[0]!.partitions[0]!.acknowledgeErrorCode, 0);
    assert.deepEqual(await startOffset(), [0, 4, 0]);
    const again = await fetchRaw('m1', {
      topics: [{ topicId, partitions: [{ partitionIndex: 7, acknowledgementBatches }] }],
    });
    assert.equal(
      again.responses[0]!.partitions[0]!.acknowledgeErrorCode,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    );
    const opening = await fetchRaw('m1', { shareSessionEpoch: 0, topics });
    assert.equal(opening.errorCode, ErrorCode.INVALID_REQUEST);
  });

  test('an operator moves offsets, forgets topics and deletes the group, when nobody is in it', async () => {
    const member = await join('m1');
    await producer.produce(connection, 3);
    await fetchSome('m1');
    await acknowledge('m1', 0, 5, ack.accept);
    const alter = (start: number) =>
      connection.request(AlterShareGroupOffsetsCodec, 0, {
        groupId,
        topics: [
          {
            topicName: topic,
            partitions: [
              { partitionIndex: 0, startOffset: start },
              { partitionIndex: 9, startOffset: 0 },
            ],
          },
        ],
      });
    assert.equal((await alter(2)).errorCode, ErrorCode.NON_EMPTY_GROUP);
    await heartbeat('m1', -1);
    const { errorCode, responses } = await alter(2);
    assert.equal(errorCode, 0);
    assert.deepEqual(
      responses[0]!.partitions.map((partition) => partition.errorCode),
      [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    );
    assert.deepEqual(await startOffset(), [0, 2, 4]);
    await crash();
    await join('m1');
    assert.deepEqual((await fetchSome('m1')).offsets, [2, 3, 4, 5]);
    assert.ok(member.memberEpoch > 0);
    await heartbeat('m1', -1);
    const forgotten = await connection.request(DeleteShareGroupOffsetsCodec, 0, {
      groupId,
      topics: [{ topicName: topic }, { topicName: 'none' }],
    });
    assert.deepEqual(
      forgotten.responses.map((response) => response.errorCode),
      [0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    );
    assert.deepEqual(await startOffset(), [0, -1, -1]);
    const { results } = await connection.request(DeleteGroupsCodec, 2, { groupsNames: [groupId] });
    assert.equal(results[0]!.errorCode, 0);
    assert.deepEqual(await startOffset(), [0, -1, -1]);
    await crash();
    await findCoordinator();
    const listed = await connection.request(ListGroupsCodec, 5, {});
    assert.deepEqual(listed.groups, []);
  });

  test('nothing is shared while the feature is off', async () => {
    const turn = async (maxVersionLevel: number, upgradeType: number): Promise<void> => {
      const { errorCode } = await connection.request(UpdateFeaturesCodec, 1, {
        featureUpdates: [{ feature: 'share.version', maxVersionLevel, upgradeType }],
      });
      assert.equal(errorCode, 0);
    };
    await turn(0, 2);
    assert.equal((await heartbeat('m1', 0, [topic])).errorCode, ErrorCode.UNSUPPORTED_VERSION);
    assert.equal((await fetchRaw('m1')).errorCode, ErrorCode.UNSUPPORTED_VERSION);
    await turn(1, 1);
    assert.equal((await join('m1')).errorCode, 0);
  });

  test('brokers read the state of a share partition, fenced by leader epochs', async () => {
    await join('m1');
    await producer.produce(connection, 2);
    await fetchSome('m1');
    await acknowledge('m1', 0, 1, ack.accept);
    const topics = [{ topicId, partitions: [{ partition: 0, leaderEpoch: 1_000 }] }];
    const read = await connection.request(ReadShareGroupStateCodec, 0, { groupId, topics });
    assert.equal(read.results[0]!.partitions[0]!.startOffset, 2);
    const older = [{ topicId, partitions: [{ partition: 0, leaderEpoch: 999 }] }];
    const fenced = await connection.request(ReadShareGroupStateCodec, 0, { groupId, topics: older });
    assert.equal(fenced.results[0]!.partitions[0]!.errorCode, ErrorCode.FENCED_LEADER_EPOCH);
    const summary = await connection.request(ReadShareGroupStateSummaryCodec, 1, { groupId, topics });
    assert.equal(summary.results[0]!.partitions[0]!.leaderEpoch, 1_000);
    assert.equal(await acknowledge('m1', 2, 3, ack.accept), ErrorCode.NOT_LEADER_OR_FOLLOWER);
  });
});

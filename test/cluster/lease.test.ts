/**
 * A broker whose lease may have run out, and that nobody has fenced yet: what a taker may have made untrue by now it does not tell;
 * what the fence of its write-ahead log judges, and what objects and logs hold for ever, it does.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { DescribeGroupsCodec } from '../../src/protocol/generated/describe-groups.ts';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { ListGroupsCodec } from '../../src/protocol/generated/list-groups.ts';
import { ListOffsetsCodec } from '../../src/protocol/generated/list-offsets.ts';
import { ListTransactionsCodec } from '../../src/protocol/generated/list-transactions.ts';
import { OffsetCommitCodec } from '../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../src/protocol/generated/offset-fetch.ts';
import { CountingProducer } from '../storage/broker/kafka-calls.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { patienceMs } from '../support/patience.ts';
import type { RawConnection } from '../support/raw-client.ts';

const topic = 'records';
const group = 'readers';

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await holds())) {
    assert(performance.now() < deadline, `not so: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('a broker whose lease is in doubt', () => {
  let cluster: ClusterBed;
  afterEach(() => cluster.dispose());

  async function commit(connection: RawConnection, offset: number): Promise<number> {
    const topics = [{ name: topic, partitions: [{ partitionIndex: 0, committedOffset: offset }] }];
    const answer = await connection.request(OffsetCommitCodec, 8, { groupId: group, topics });
    return answer.topics[0]!.partitions[0]!.errorCode;
  }

  async function committed(connection: RawConnection): Promise<number[]> {
    const answer = await connection.request(OffsetFetchCodec, 7, {
      groupId: group,
      topics: [{ name: topic, partitionIndexes: [0] }],
      requireStable: false,
    });
    const offset = answer.topics[0]?.partitions[0]?.committedOffset;
    return [answer.errorCode, Number(offset ?? -1)];
  }

  async function ends(connection: RawConnection): Promise<number> {
    const answer = await connection.request(ListOffsetsCodec, 5, {
      replicaId: -1,
      topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
    });
    return answer.topics[0]!.partitions[0]!.errorCode;
  }

  test('answers nothing from the memory of a coordinator, nor where a log ends; acknowledges and reads', async () => {
    cluster = new ClusterBed(1, 'shared', { leads: false, settings: { 'offsets.topic.num.partitions': 1 } });
    await cluster.start();
    const connection = await cluster.bed(1).connect();
    await connection.createTopic(topic, 1);
    await cluster.assign(topic, 0, 1);
    await cluster.opened(topic, 0, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    // The question makes the internal topic.
    await connection.request(FindCoordinatorCodec, 3, { key: group, keyType: 0 });
    await until(async () => (await commit(connection, 2)) === ErrorCode.NONE);
    assert.deepEqual(await committed(connection), [0, 2]);
    assert.equal(await ends(connection), ErrorCode.NONE);

    cluster.authority.doubt(1, true);
    assert.deepEqual(await committed(connection), [ErrorCode.NOT_COORDINATOR, -1]);
    assert.equal(await ends(connection), ErrorCode.NOT_LEADER_OR_FOLLOWER);
    const described = await connection.request(DescribeGroupsCodec, 5, { groups: [group] });
    assert.equal(described.groups[0]!.errorCode, ErrorCode.NOT_COORDINATOR);
    const listed = await connection.request(ListGroupsCodec, 4, { statesFilter: [] });
    assert.equal(listed.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const transactions = await connection.request(ListTransactionsCodec, 0, {});
    assert.equal(transactions.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    // Nobody has the fences of its logs: whatever becomes durable now is there for whoever takes them.
    assert.equal(await commit(connection, 3), ErrorCode.NONE);
    await producer.produce(connection, 1);
    const fetched = await connection.fetch(topic, 0, 3);
    assert.equal(fetched.errorCode, ErrorCode.NONE);
    assert.ok(fetched.records!.length > 0);

    cluster.authority.doubt(1, false);
    await until(async () => (await committed(connection))[0] === ErrorCode.NONE);
    assert.deepEqual(await committed(connection), [0, 3]);
    assert.equal(await ends(connection), ErrorCode.NONE);
  });
});

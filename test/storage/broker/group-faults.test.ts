/** What once took groups down, or let them read on where nothing is: a log that refuses, strange records, deleted topics. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { offsetKey, offsetValue } from '../../../src/coordinator/group/group-records.ts';
import { coordinatorPartition, javaHashCode } from '../../../src/coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { HeartbeatCodec } from '../../../src/protocol/generated/heartbeat.ts';
import { JoinGroupCodec } from '../../../src/protocol/generated/join-group.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { SyncGroupCodec } from '../../../src/protocol/generated/sync-group.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';

import { unavailable } from '../../../src/store/store-errors.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import { patienceMs } from '../../support/patience.ts';
import { eventually, RawConnection } from '../../support/raw-client.ts';
import { TroubleBed, topic } from '../trouble/trouble-bed.ts';
import { commitOffset, committedOffset } from './kafka-calls.ts';

const offsetsTopic = '__consumer_offsets';
const group = 'readers';

/** Writes records where only coordinators should. */
async function writeAsAdmin(
  bed: BrokerBed,
  partition: number,
  records: readonly { key: Buffer; value: Buffer | null }[],
): Promise<void> {
  const admin = await RawConnection.connect(bed.address, '__admin_client');
  const timestamp = Date.now();
  const batch = buildBatch(
    records.map((record) => ({ timestamp, ...record })),
    {},
    crc32c,
  );
  const { errorCode } = await admin.produce(offsetsTopic, partition, batch);
  await admin.close();
  assert.equal(errorCode, 0);
}

describe('groups and their log', { timeout: patienceMs }, () => {
  let bed: BrokerBed;
  afterEach(() => bed.dispose());

  test('a store that is away: commits are refused, members live on, and commits go on with the store', async () => {
    const trouble = new TroubleBed({ settings: { 'upload.age.ms': 500 } });
    bed = trouble;
    await trouble.begin(20_000);
    const { connection } = trouble;
    await commitOffset(connection, 'simple', topic, 5);
    const join = await connection.request(JoinGroupCodec, 3, {
      groupId: group,
      sessionTimeoutMs: 30_000,
      rebalanceTimeoutMs: 30_000,
      memberId: '',
      protocolType: 'consumer',
      protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
    });
    const member = { groupId: group, generationId: join.generationId, memberId: join.memberId };
    const sync = await connection.request(SyncGroupCodec, 3, {
      ...member,
      assignments: [{ memberId: join.memberId, assignment: Buffer.from('all') }],
    });
    assert.equal(sync.errorCode, 0);
    const commit = async (offset: number): Promise<number> => {
      const answer = await connection.request(OffsetCommitCodec, 7, {
        groupId: group,
        generationIdOrMemberEpoch: member.generationId,
        memberId: member.memberId,
        topics: [
          {
            name: topic,
            partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: '' }],
          },
        ],
      });
      return answer.topics[0]!.partitions[0]!.errorCode;
    };
    assert.equal(await commit(7), 0);
    trouble.troubled.trouble = (_operation, key) => unavailable(key, 'connection refused');
    await trouble.fill();
    for (let i = 0; i < 20; i++) {
      assert.equal(await commit(8 + i), ErrorCode.COORDINATOR_NOT_AVAILABLE);
      const beat = await connection.request(HeartbeatCodec, 3, member);
      assert.equal(beat.errorCode, 0, 'the member is there');
      assert.deepEqual((await committedOffset(connection, 'simple', topic))[0], 5);
      assert.deepEqual((await committedOffset(connection, group, topic))[0], 7);
      await trouble.pass(1_000);
    }
    assert.equal(trouble.said('nobody knows the fate'), 0);
    trouble.troubled.trouble = () => null;
    await eventually(async () => {
      await trouble.pass(1_000);
      assert.equal(await commit(50), 0);
    });
    assert.equal((await connection.request(HeartbeatCodec, 3, member)).errorCode, 0);
    await trouble.again();
    assert.equal((await committedOffset(trouble.connection, group, topic))[0], 50);
  });

  test('records that are none of a coordinator: said once, and its groups are served', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic('records', 1);
    await commitOffset(connection, group, 'records', 5);
    const partition = coordinatorPartition(group, 2);
    await writeAsAdmin(bed, partition, [
      { key: Buffer.alloc(1), value: Buffer.alloc(3) },
      { key: Buffer.from('0001ffffffff', 'hex'), value: Buffer.alloc(0) },
      { key: offsetKey(group, 'records', 0), value: Buffer.from('0004', 'hex') },
      { key: Buffer.from('0063aaaa', 'hex'), value: Buffer.alloc(0) },
    ]);
    for (let life = 0; life < 2; life++) {
      await bed.crash();
      bed.lines.length = 0;
      await bed.start();
      connection = await bed.connect();
      assert.equal((await committedOffset(connection, group, 'records'))[0], 5 + life);
      const said = bed.lines.filter(({ message }) => message.includes('none of a coordinator'));
      assert.equal(said.length, 1);
      assert.equal(said[0]!.fields['records'], 3);
      await commitOffset(connection, group, 'records', 6);
    }
  });

  test('offsets end with their topic, also when the broker crashes behind the deletion', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    for (const name of ['a', 'b']) await connection.createTopic(name, 1);
    for (const name of ['a', 'b']) {
      await commitOffset(connection, group, name, 20);
      await commitOffset(connection, 'others', name, 3);
    }
    await connection.deleteTopics(['a']);
    await connection.createTopic('a', 1);
    assert.equal((await committedOffset(connection, group, 'a'))[0], -1);
    assert.equal((await committedOffset(connection, 'others', 'a'))[0], -1);
    assert.equal((await committedOffset(connection, group, 'b'))[0], 20);
    await commitOffset(connection, group, 'a', 1);
    // Not a byte of what follows the deletion becomes durable.
    for (const device of bed.devices) device.cut = true;
    await connection.deleteTopics(['b']);
    await connection.createTopic('b', 1);
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
    assert.equal((await committedOffset(connection, group, 'b'))[0], -1);
    assert.equal((await committedOffset(connection, 'others', 'b'))[0], -1);
    assert.equal((await committedOffset(connection, group, 'a'))[0], 1);
  });

  test('groups that lie where they lay before version 0.2 are found, and moved for good', async () => {
    const partitions = { group: 5, transaction: 5, share: 5 };
    bed = new BrokerBed({ config: { coordinatorPartitions: partitions } });
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic('records', 1);
    await commitOffset(connection, 'somebody', 'records', 1);
    const groups = ['my-group', 'group1', 'orders', 'readers', 'analytics', 'billing'];
    const before = (name: string): number => (javaHashCode(name) & 0x7fffffff) % partitions.group;
    assert.ok(
      groups.filter((name) => before(name) !== coordinatorPartition(name, partitions.group)).length > 2,
    );
    const { topicId } = bed.broker['metadata'].image.topicsByName.get('records')!;
    for (const [i, name] of groups.entries()) {
      const entry = {
        topic: 'records',
        topicId,
        partition: 0,
        offset: 100 + i,
        leaderEpoch: -1,
        metadata: 'm',
      };
      const value = offsetValue({ ...entry, commitTimestamp: Date.now(), expireTimestamp: -1 });
      await writeAsAdmin(bed, before(name), [{ key: offsetKey(name, 'records', 0), value }]);
    }
    for (const device of bed.devices) device.cut = true;
    await bed.broker['metadata'].commit([
      {
        type: 'config',
        resource: 'topic',
        name: offsetsTopic,
        entries: { 'millrace.coordinator.placement': null },
      },
    ]);
    for (let life = 0; life < 3; life++) {
      await bed.crash();
      await bed.start();
      connection = await bed.connect();
      for (const [i, name] of groups.entries())
        assert.equal((await committedOffset(connection, name, 'records'))[0], 100 + i + life, name);
      for (const [i, name] of groups.entries())
        await commitOffset(connection, name, 'records', 101 + i + life);
      const moves = bed.lines.filter(({ message }) => message.includes('were moved to the partition'));
      assert.equal(moves.length, 1, 'once, in the first life');
    }
  });

  test('FindCoordinator makes the internal topic of each kind on its first use', async () => {
    bed = new BrokerBed({ config: { coordinatorPartitions: { group: 2, transaction: 3, share: 4 } } });
    await bed.start();
    const connection = await bed.connect();
    const keys = ['readers', 'my transaction', `readers:${'A'.repeat(22)}:0`];
    for (const [keyType, key] of keys.entries()) {
      const ask = () => connection.request(FindCoordinatorCodec, 6, { keyType, coordinatorKeys: [key] });
      const [found] = (await ask()).coordinators;
      assert.deepEqual([found!.errorCode, found!.port], [0, bed.address.port], 'found at once');
    }
    const { topics } = await connection.metadata(null);
    assert.deepEqual(
      topics.map(({ name, isInternal, partitions }) => [name, isInternal, partitions.length]).sort(),
      [
        ['__consumer_offsets', true, 2],
        ['__share_group_state', true, 4],
        ['__transaction_state', true, 3],
      ],
    );
  });
});

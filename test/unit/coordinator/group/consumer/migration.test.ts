/** Groups that change between the classic and the consumer protocol, empty and with members, one by one and back. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  ConsumerDescribeAnswer,
  JoinAnswer,
  LeaveAnswer,
  SyncAnswer,
} from '../../../../../src/coordinator/group/group-api.ts';
import { ConsumerProtocolAssignmentCodec } from '../../../../../src/protocol/generated/data/consumer-protocol-assignment.ts';
import { ConsumerProtocolSubscriptionCodec } from '../../../../../src/protocol/generated/data/consumer-protocol-subscription.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { Reader } from '../../../../../src/protocol/reader.ts';
import { Writer } from '../../../../../src/protocol/writer.ts';
import { Answer, group, offsetOf, type Rig, rig, topicIds } from '../fixtures.ts';
import { beat, join } from './member-client.ts';

const t = topicIds.t!;
const lists = (...partitions: number[]) => [{ topicId: t, partitions }];

async function world(settings: Parameters<typeof rig>[0] = {}): Promise<Rig> {
  const on = await rig(settings);
  on.limits = { sessionTimeoutMs: 10_000, heartbeatIntervalMs: 3_000, assignmentIntervalMs: 0 };
  on.metadata.grow('t', t, 4);
  return on;
}

function done<T>(on: Rig, answer: Answer<T>): T {
  on.tick();
  return answer.value;
}

function described(on: Rig): ConsumerDescribeAnswer {
  const answer = new Answer<ConsumerDescribeAnswer>();
  on.shard.consumerDescribe(group, answer.done);
  return answer.value;
}

/** A cooperative subscription to `t`, with what the member has. */
function metadata(...owned: number[]): Buffer {
  const writer = new Writer();
  writer.i16(1);
  const ownedPartitions = owned.length === 0 ? [] : [{ topic: 't', partitions: owned }];
  ConsumerProtocolSubscriptionCodec.encode(writer, { topics: ['t'], ownedPartitions }, 1);
  return Buffer.from(writer.written);
}

function assignment(...partitions: number[]): Buffer {
  const writer = new Writer();
  writer.i16(0);
  ConsumerProtocolAssignmentCodec.encode(writer, { assignedPartitions: [{ topic: 't', partitions }] }, 0);
  return Buffer.from(writer.written);
}

function partitionsOf(bytes: Buffer): number[] {
  if (bytes.length === 0) return [];
  const reader = new Reader(bytes);
  const { assignedPartitions } = ConsumerProtocolAssignmentCodec.decode(reader, reader.i16());
  return assignedPartitions.flatMap(({ partitions }) => partitions);
}

function joinClassic(on: Rig, memberId: string, ...owned: number[]): Answer<JoinAnswer> {
  return on.join({ memberId, protocols: [{ name: 'range', metadata: metadata(...owned) }] });
}

/** A classic group of one, which has all partitions. */
function classicOfOne(on: Rig): { memberId: string; generation: number } {
  const { memberId, generation } = done(on, joinClassic(on, ''));
  const sync = on.sync({
    memberId,
    generation,
    assignments: [{ memberId, assignment: assignment(0, 1, 2, 3) }],
  });
  assert.equal(done(on, sync).errorCode, 0);
  return { memberId, generation };
}

async function reload(on: Rig): Promise<void> {
  const partition = on.shard.partitionOf(group);
  on.shard.unload(partition);
  await on.shard.load(partition);
}

describe('empty groups', () => {
  it('change to whatever comes first, and keep their offsets', async () => {
    const on = await world();
    const { memberId } = classicOfOne(on);
    done(on, on.commit({ memberId, generation: 1, offsets: [offsetOf('t', 0, 5)] }));
    on.leave([{ memberId, instanceId: null }]);
    on.tick();
    assert.equal(done(on, join(on, 'a')).memberEpoch, 2);
    assert.equal(on.fetch().offsets.length, 1);
    await reload(on);
    assert.equal(described(on).members.length, 1);
    assert.equal(on.fetch().offsets.length, 1);
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    classicOfOne(on);
    assert.equal(described(on).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    assert.equal(on.fetch().offsets.length, 1);
    await reload(on);
    assert.deepEqual(on.describe(), { state: 'Stable', members: 1 });
  });
});

describe('a group with members', () => {
  it('goes over when the first member of the new protocol comes, and back when the last goes', async () => {
    const on = await world();
    const { memberId: old, generation } = classicOfOne(on);
    const entered = done(on, join(on, 'new'));
    assert.deepEqual([entered.errorCode, entered.assignment], [0, []], 'all is with the classic member');
    assert.equal(described(on).members.find(({ memberId }) => memberId === old)?.classic, true);
    await reload(on);
    // The classic member is told to join again, gives up its half, and joins once more.
    assert.equal(on.heartbeat(old, generation), ErrorCode.REBALANCE_IN_PROGRESS);
    const first = done(on, joinClassic(on, old, 0, 1, 2, 3));
    assert.deepEqual([first.errorCode, first.leaderId, first.protocolName], [0, '', 'range']);
    const half = done(on, on.sync({ memberId: old, generation: first.generation }));
    assert.deepEqual(partitionsOf(half.assignment), [0, 1]);
    assert.deepEqual(
      done(on, beat(on, { memberId: 'new', memberEpoch: entered.memberEpoch })).assignment,
      null,
    );
    assert.equal(on.heartbeat(old, first.generation), ErrorCode.REBALANCE_IN_PROGRESS);
    const second = done(on, joinClassic(on, old, 0, 1));
    assert.ok(second.generation > first.generation);
    assert.deepEqual(
      partitionsOf(done(on, on.sync({ memberId: old, generation: second.generation })).assignment),
      [0, 1],
    );
    assert.equal(on.heartbeat(old, second.generation), 0);
    const mine = done(on, beat(on, { memberId: 'new', memberEpoch: entered.memberEpoch }));
    assert.deepEqual(mine.assignment, lists(2, 3));
    assert.equal(described(on).state, 'Stable');
    // Commits of the classic member by its generation.
    const commit = (at: number) =>
      done(
        on,
        on.commit({ memberId: old, generation: at, generationOnly: true, offsets: [offsetOf('t', 0, 3)] }),
      )[0];
    assert.equal(commit(second.generation), 0);
    assert.equal(commit(first.generation), ErrorCode.ILLEGAL_GENERATION);
    // And back.
    done(on, beat(on, { memberId: 'new', memberEpoch: -1 }));
    assert.equal(described(on).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    assert.equal(on.heartbeat(old, second.generation), ErrorCode.REBALANCE_IN_PROGRESS);
    const again = done(on, joinClassic(on, old, 0, 1));
    assert.equal(again.leaderId, old);
    assert.ok(again.generation > second.generation, 'generation and epoch are one number');
    assert.equal(on.fetch().offsets[0]?.offset, 3);
    await reload(on);
    assert.equal(on.describe().members, 1);
  });

  it('answers calls that were parked with a rebalance', async () => {
    const on = await world({ initialRebalanceDelayMs: 3_000 });
    const parked = joinClassic(on, '');
    on.tick();
    assert.ok(!parked.given);
    assert.equal(done(on, join(on, 'new')).errorCode, 0);
    assert.equal(parked.value.errorCode, ErrorCode.REBALANCE_IN_PROGRESS);
    const later = done(on, joinClassic(on, parked.value.memberId));
    assert.equal(later.errorCode, 0);
  });

  it('goes where the policy lets it only', async () => {
    for (const migration of ['downgrade', 'disabled'] as const) {
      const on = await world({ migration });
      classicOfOne(on);
      const refused = done(on, join(on, 'new'));
      assert.equal(refused.errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
      assert.match(refused.errorMessage!, /migration/);
      assert.deepEqual(on.describe(), { state: 'Stable', members: 1 });
    }
    const on = await world({ migration: 'upgrade' });
    classicOfOne(on);
    done(on, join(on, 'new'));
    done(on, beat(on, { memberId: 'new', memberEpoch: -1 }));
    assert.equal(described(on).members.length, 1, 'it stays one of the new protocol');
    const off = await world({ migration: 'disabled' });
    done(off, join(off, 'new'));
    assert.equal(done(off, joinClassic(off, '')).errorCode, ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
  });

  it('stays classic when what its members told cannot be read, or they are no consumers', async () => {
    const on = await world();
    const stable = async (query: Parameters<Rig['join']>[0], bytes: Buffer) => {
      const { memberId, generation } = done(on, on.join(query));
      on.sync({ memberId, generation, assignments: [{ memberId, assignment: bytes }] });
      on.tick();
      assert.equal(done(on, join(on, 'new')).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
      on.leave([{ memberId, instanceId: null }]);
      on.tick();
    };
    await stable({ protocolType: 'connect' }, assignment(0));
    await stable({}, Buffer.from('no assignment'));
  });

  it('gives a classic join an id, holds static members to theirs, and refuses what is no consumer', async () => {
    const on = await world();
    done(on, join(on, 'new'));
    const asked = done(
      on,
      on.join({ memberIdRequired: true, protocols: [{ name: 'range', metadata: metadata() }] }),
    );
    assert.equal(asked.errorCode, ErrorCode.MEMBER_ID_REQUIRED);
    assert.ok(!asked.memberId.startsWith('client'), 'without the client id before it');
    assert.equal(
      done(on, on.join({ protocolType: 'connect' })).errorCode,
      ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
    );
    const fixed = { instanceId: 'pod', protocols: [{ name: 'range', metadata: metadata() }] };
    const first = done(on, on.join(fixed));
    assert.equal(first.errorCode, 0);
    const second = done(on, on.join(fixed));
    assert.notEqual(second.memberId, first.memberId);
    const sync: SyncAnswer = done(
      on,
      on.sync({ memberId: first.memberId, instanceId: 'pod', generation: first.generation }),
    );
    assert.equal(sync.errorCode, ErrorCode.FENCED_INSTANCE_ID);
    const leave = (memberId: string, instanceId: string | null): number | undefined => {
      const answer = new Answer<LeaveAnswer>();
      on.shard.leave(group, [{ memberId, instanceId }], answer.done);
      return done(on, answer).members[0]?.errorCode;
    };
    assert.equal(leave('', 'pod'), 0);
    assert.equal(leave('new', null), 0, 'an administrator may');
  });

  it('drops a classic member that is told to join again and does not', async () => {
    const on = await world();
    const { memberId: old, generation } = classicOfOne(on);
    const entered = done(on, join(on, 'new'));
    for (let i = 0; i < 70; i++) {
      on.tick(1_000);
      on.shard.heartbeat({ groupId: group, memberId: old, generation, instanceId: null }, () => {});
      done(on, beat(on, { memberId: 'new', memberEpoch: entered.memberEpoch + (i > 60 ? 1 : 0) }));
    }
    assert.deepEqual(
      described(on).members.map(({ memberId }) => memberId),
      ['new'],
    );
  });
});

/** What members that speak the classic protocol are refused in a group of the consumer protocol, and how long they have. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  ConsumerDescribeAnswer,
  JoinAnswer,
  JoinQuery,
  LeaveAnswer,
  SyncQuery,
} from '../../../../../src/coordinator/group/group-api.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { Answer, group, type Rig, rig, subscription, topicIds } from '../fixtures.ts';
import { beat, join } from './member-client.ts';

const { NONE, UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, INCONSISTENT_GROUP_PROTOCOL, FENCED_INSTANCE_ID } =
  ErrorCode;

/** With a member of the new protocol, so that the group stays one of it. */
async function world(settings: Parameters<typeof rig>[0] = {}): Promise<Rig> {
  const on = await rig(settings);
  on.limits = { sessionTimeoutMs: 20_000, heartbeatIntervalMs: 3_000, assignmentIntervalMs: 0 };
  on.metadata.grow('t', topicIds.t!, 4);
  done(on, join(on, 'new'));
  return on;
}

function done<T>(on: Rig, answer: Answer<T>): T {
  on.tick();
  return answer.value;
}

const range = [{ name: 'range', metadata: subscription('t') }];

function classic(on: Rig, query: Partial<JoinQuery> = {}): JoinAnswer {
  return done(on, on.join({ memberId: '', protocols: range, ...query }));
}

/** Keeps the member of the new protocol alive, and lets it follow. */
function pass(on: Rig, ms: number, also: () => void = () => {}): void {
  for (let left = ms; left > 0; left -= 1_000) {
    on.tick(Math.min(1_000, left));
    const epoch = members(on).find(({ memberId }) => memberId === 'new')!.memberEpoch;
    done(on, beat(on, { memberId: 'new', memberEpoch: epoch, owned: [] }));
    also();
  }
}

function members(on: Rig): ConsumerDescribeAnswer['members'] {
  const answer = new Answer<ConsumerDescribeAnswer>();
  on.shard.consumerDescribe(group, answer.done);
  return answer.value.members;
}

const isIn = (on: Rig, id: string): boolean => members(on).some(({ memberId }) => memberId === id);

describe('a classic member that joins', () => {
  it('may have an instance id that nobody has, or its own', async () => {
    const on = await world();
    const instanceId = 'pod';
    assert.equal(classic(on, { instanceId, memberId: 'x' }).errorCode, UNKNOWN_MEMBER_ID);
    const { memberId } = classic(on, { instanceId });
    assert.equal(classic(on, { instanceId, memberId: 'x' }).errorCode, FENCED_INSTANCE_ID);
    const again = classic(on, { instanceId, memberId });
    assert.deepEqual([again.errorCode, again.memberId], [NONE, memberId]);
    const taken = classic(on, { instanceId });
    assert.notEqual(taken.memberId, memberId);
    assert.deepEqual([isIn(on, memberId), isIn(on, taken.memberId), members(on).length], [false, true, 2]);
  });

  it('is asked for an id first where that is due, which it then keeps', async () => {
    const on = await world();
    const asked = classic(on, { memberIdRequired: true });
    assert.equal(asked.errorCode, ErrorCode.MEMBER_ID_REQUIRED);
    assert.equal(isIn(on, asked.memberId), false);
    const joined = classic(on, { memberIdRequired: true, memberId: asked.memberId });
    assert.deepEqual([joined.errorCode, joined.memberId], [NONE, asked.memberId]);
    assert.equal(classic(on, { memberIdRequired: true, instanceId: 'pod' }).errorCode, NONE);
  });

  it('finds no place in a full group, unless it is in already', async () => {
    const on = await world({ consumerSizeMax: 2 });
    const first = classic(on);
    assert.equal(first.errorCode, NONE);
    const second = classic(on);
    assert.deepEqual([second.errorCode, second.memberId], [ErrorCode.GROUP_MAX_SIZE_REACHED, '']);
    assert.equal(classic(on, { memberId: first.memberId }).errorCode, NONE);
  });

  it('offers a protocol that all other classic members know', async () => {
    const on = await world();
    const offer = (...names: string[]) => names.map((name) => ({ name, metadata: subscription('t') }));
    const { memberId } = classic(on, { protocols: offer('range', 'sticky') });
    assert.equal(classic(on, { protocols: offer('other') }).errorCode, INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(classic(on, { protocols: offer('other', 'sticky') }).errorCode, NONE);
    assert.equal(classic(on, { protocols: offer('range') }).errorCode, INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(
      classic(on, { memberId, protocols: offer('sticky') }).errorCode,
      NONE,
      'it may change its own',
    );
    for (const query of [
      { protocols: [] },
      { protocolType: 'connect' },
      { protocols: [{ name: 'range', metadata: Buffer.from('none') }] },
    ])
      assert.equal(classic(on, query).errorCode, INCONSISTENT_GROUP_PROTOCOL);
  });

  it('is told when the log does not take it', async () => {
    const on = await world();
    on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    assert.equal(classic(on, { memberId: 'x' }).errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    on.log.refusal = 0;
    assert.equal(isIn(on, 'x'), false);
  });
});

describe('a classic member that syncs', () => {
  it('says the type and a protocol of its own, or nothing', async () => {
    const on = await world();
    const { memberId, generation } = classic(on);
    const sync = (query: Partial<SyncQuery> = {}) => done(on, on.sync({ memberId, generation, ...query }));
    for (const [query, errorCode] of [
      [{}, NONE],
      [{ protocolType: 'consumer', protocolName: 'range' }, NONE],
      [{ protocolType: 'connect' }, INCONSISTENT_GROUP_PROTOCOL],
      [{ protocolName: 'sticky' }, INCONSISTENT_GROUP_PROTOCOL],
      [{ protocolType: 'connect', protocolName: 'range' }, INCONSISTENT_GROUP_PROTOCOL],
      [{ generation: generation - 1 }, ILLEGAL_GENERATION],
      [{ generation: generation + 1 }, ILLEGAL_GENERATION],
      [{ memberId: 'x' }, UNKNOWN_MEMBER_ID],
      [{ memberId: 'new' }, UNKNOWN_MEMBER_ID],
      [{ instanceId: 'pod' }, UNKNOWN_MEMBER_ID],
    ] as const)
      assert.equal(sync(query).errorCode, errorCode, JSON.stringify(query));
    const { protocolType, protocolName } = sync();
    assert.deepEqual([protocolType, protocolName], ['consumer', 'range']);
  });

  it('is sent to join when the group has gone on', async () => {
    const on = await world();
    const { memberId, generation } = classic(on);
    assert.equal(done(on, on.sync({ memberId, generation })).errorCode, NONE);
    classic(on);
    assert.equal(done(on, on.sync({ memberId, generation })).errorCode, ErrorCode.REBALANCE_IN_PROGRESS);
    const again = classic(on, { memberId });
    assert.ok(again.generation > generation);
  });
});

describe('a classic member that is heard', () => {
  it('is known by its id, its instance and its generation', async () => {
    const on = await world();
    const { memberId, generation } = classic(on, { instanceId: 'pod' });
    done(on, on.sync({ memberId, generation, instanceId: 'pod' }));
    for (const [id, at, instanceId, errorCode] of [
      [memberId, generation - 1, null, ILLEGAL_GENERATION],
      [memberId, generation + 1, 'pod', ILLEGAL_GENERATION],
      ['x', generation, null, UNKNOWN_MEMBER_ID],
      ['x', generation, 'pod', FENCED_INSTANCE_ID],
      [memberId, generation, 'other', UNKNOWN_MEMBER_ID],
      ['new', 2, null, UNKNOWN_MEMBER_ID],
    ] as const)
      assert.equal(on.heartbeat(id, at, instanceId), errorCode, `${id} ${at} ${instanceId}`);
  });

  it('has the session that it asked for', async () => {
    const on = await world();
    const { memberId, generation } = classic(on, { sessionTimeoutMs: 6_000 });
    done(on, on.sync({ memberId, generation }));
    pass(on, 5_999);
    assert.equal(isIn(on, memberId), true);
    pass(on, 1);
    assert.equal(isIn(on, memberId), false);
  });

  it('has its rebalance time-out to sync, however often it is heard; its session where it states none', async () => {
    for (const [rebalanceTimeoutMs, sessionTimeoutMs, limit] of [
      [8_000, 20_000, 8_000],
      [-1, 9_000, 9_000],
    ] as const) {
      const on = await world();
      const { memberId, generation } = classic(on, { rebalanceTimeoutMs, sessionTimeoutMs });
      const heard = (): void =>
        on.shard.heartbeat({ groupId: group, memberId, generation, instanceId: null }, () => {});
      pass(on, limit - 1_000, heard);
      assert.equal(isIn(on, memberId), true);
      pass(on, 1_000, heard);
      assert.equal(isIn(on, memberId), false);
    }
  });
});

describe('a classic member that leaves', () => {
  const leave = (on: Rig, memberId: string, instanceId: string | null = null): number | undefined => {
    const answer = new Answer<LeaveAnswer>();
    on.shard.leave(group, [{ memberId, instanceId }], answer.done);
    return done(on, answer).members[0]?.errorCode;
  };

  it('is known by its id or its instance, and each leaves by itself', async () => {
    const on = await world();
    const fixed = classic(on, { instanceId: 'pod' });
    const other = classic(on);
    assert.equal(leave(on, 'x'), UNKNOWN_MEMBER_ID);
    assert.equal(leave(on, ''), UNKNOWN_MEMBER_ID);
    assert.equal(leave(on, '', 'other'), UNKNOWN_MEMBER_ID);
    assert.equal(leave(on, other.memberId, 'pod'), FENCED_INSTANCE_ID);
    assert.equal(members(on).length, 3);
    assert.equal(leave(on, '', 'pod'), NONE);
    assert.equal(leave(on, fixed.memberId), UNKNOWN_MEMBER_ID);
    assert.equal(leave(on, other.memberId), NONE);
    assert.deepEqual(
      members(on).map(({ memberId }) => memberId),
      ['new'],
    );
  });

  it('is answered without members when the log fails', async () => {
    const on = await world();
    const { memberId } = classic(on);
    on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    assert.equal(leave(on, memberId), ErrorCode.COORDINATOR_NOT_AVAILABLE);
    on.log.refusal = 0;
    assert.equal(isIn(on, memberId), true);
  });
});

it('new targets wait until the last ones have their age, to the millisecond', async () => {
  const on = await world();
  on.limits = { ...on.limits, assignmentIntervalMs: 1_000 };
  const epochOf = (id: string): number => done(on, join(on, id)).memberEpoch;
  const before = members(on)[0]!.memberEpoch;
  on.tick(999);
  assert.equal(epochOf('b'), before);
  on.tick(1);
  assert.equal(epochOf('c'), before + 2);
});

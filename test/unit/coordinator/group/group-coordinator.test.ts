import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { offsetOf, rig, stableGroup, subscription } from './fixtures.ts';

const protocols = (...names: string[]) => names.map((name) => ({ name, metadata: subscription('t') }));

describe('join', () => {
  it('a dynamic member without id gets one first and joins with it (KIP-394)', async () => {
    const on = await rig();
    const first = on.join({ memberIdRequired: true }).value;
    assert.equal(first.errorCode, ErrorCode.MEMBER_ID_REQUIRED);
    assert.match(
      first.memberId,
      /^client-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    const second = on.join({ memberIdRequired: true, memberId: first.memberId });
    assert.ok(!second.given);
    on.tick();
    assert.equal(second.value.errorCode, ErrorCode.NONE);
    assert.equal(second.value.memberId, first.memberId);
    assert.equal(second.value.generation, 1);
  });

  it('an id given out and never used is forgotten, and the group with it', async () => {
    const on = await rig();
    const { memberId } = on.join({ memberIdRequired: true }).value;
    assert.equal(on.describe().state, 'Empty');
    on.tick(10_001);
    assert.equal(on.describe().state, 'Dead');
    assert.equal(on.join({ memberId }).value.errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(on.log.durable.size, 0);
  });

  it('refuses unknown ids, empty groups, bad time-outs, missing and foreign protocols', async () => {
    const on = await rig();
    const code = (query: Parameters<typeof on.join>[0]) => on.join(query).value.errorCode;
    assert.equal(code({ memberId: 'nobody' }), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(code({ groupId: '' }), ErrorCode.INVALID_GROUP_ID);
    assert.equal(code({ sessionTimeoutMs: 5_999 }), ErrorCode.INVALID_SESSION_TIMEOUT);
    assert.equal(code({ sessionTimeoutMs: 1_800_001 }), ErrorCode.INVALID_SESSION_TIMEOUT);
    assert.equal(code({ protocols: [] }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(code({ protocolType: '' }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(on.describe().state, 'Dead', 'a refused join leaves no group');
    stableGroup(on, 1);
    assert.equal(code({ protocolType: 'connect' }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(code({ protocols: protocols('roundrobin') }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(code({ memberId: 'nobody' }), ErrorCode.UNKNOWN_MEMBER_ID);
    const large = [{ name: 'range', metadata: Buffer.alloc(600_000) }];
    assert.equal(code({ protocols: large }), ErrorCode.INVALID_REQUEST);
  });

  it('an empty group waits for a pause in the joins, at most a rebalance time-out', async () => {
    const on = await rig({ initialRebalanceDelayMs: 3_000 });
    const first = on.join({ rebalanceTimeoutMs: 7_000 });
    on.tick(2_999);
    const second = on.join({ rebalanceTimeoutMs: 7_000 });
    on.tick(2_999);
    assert.ok(!first.given);
    const third = on.join({ rebalanceTimeoutMs: 7_000 });
    on.tick(1_001);
    assert.ok(!third.given, 'the third join prolongs the wait');
    on.tick(1);
    assert.equal(third.value.generation, 1);
    assert.equal(first.value.members.length, 3);
    assert.equal(second.value.members.length, 0, 'only the leader hears of the members');
  });

  it('is held until all members came back; late ones are dropped at the rebalance time-out', async () => {
    const on = await rig();
    const [a = '', b = ''] = stableGroup(on, 2);
    const third = on.join({});
    const again = on.join({ memberId: a });
    for (let i = 0; i < 6; i++) {
      on.tick(9_999);
      assert.equal(on.heartbeat(b, 2), ErrorCode.REBALANCE_IN_PROGRESS);
    }
    assert.ok(!third.given && !again.given);
    on.tick(6);
    assert.equal(third.value.generation, 3);
    assert.deepEqual(
      again.value.members.map((member) => member.memberId),
      [a, third.value.memberId],
    );
    assert.equal(on.heartbeat(b, 3), ErrorCode.UNKNOWN_MEMBER_ID);
  });

  it('chooses by votes a protocol that all members list, and tells the leader everybody’s metadata', async () => {
    const on = await rig({ initialRebalanceDelayMs: 10 });
    const a = on.join({ protocols: protocols('only-a', 'range', 'sticky') });
    const b = on.join({ protocols: protocols('sticky', 'range') });
    const c = on.join({ protocols: protocols('sticky', 'range') });
    on.tick(20);
    assert.equal(a.value.protocolName, 'sticky');
    assert.equal(a.value.leaderId, a.value.memberId);
    assert.equal(b.value.leaderId, a.value.memberId);
    assert.deepEqual(
      a.value.members.map((member) => member.memberId),
      [a, b, c].map((join) => join.value.memberId),
    );
    assert.deepEqual(a.value.members[1]?.metadata, subscription('t'));
  });

  it('group.max.size counts members and given ids; members may come again', async () => {
    const on = await rig({ groupSizeMax: 2 });
    const [a = ''] = stableGroup(on, 1);
    assert.equal(on.join({ memberIdRequired: true }).value.errorCode, ErrorCode.MEMBER_ID_REQUIRED);
    assert.equal(on.join({}).value.errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
    const again = on.join({ memberId: a });
    on.tick(10_000);
    assert.equal(again.value.errorCode, ErrorCode.NONE);
  });

  it('a follower joining again unchanged in Stable gets the same generation, a leader a new one', async () => {
    const on = await rig();
    const [a = '', b = ''] = stableGroup(on, 2);
    const follower = on.join({ memberId: b }).value;
    assert.equal(follower.generation, 2);
    assert.equal(follower.leaderId, a);
    assert.equal(on.describe().state, 'Stable');
    const leader = on.join({ memberId: a });
    assert.ok(!leader.given);
    assert.equal(on.describe().state, 'PreparingRebalance');
  });

  it('a second join of the same member ends the first', async () => {
    const on = await rig({ initialRebalanceDelayMs: 100 });
    const [a = '', b = ''] = stableGroup(on, 2);
    const first = on.join({ memberId: a });
    const second = on.join({ memberId: a });
    assert.equal(first.value.errorCode, ErrorCode.REBALANCE_IN_PROGRESS);
    const other = on.join({ memberId: b });
    assert.equal(second.value.generation, 3);
    assert.equal(other.value.generation, 3);
  });

  it('the number of groups of a partition is bounded', async () => {
    const on = await rig({ groupsPerPartitionMax: 1, offsetsPartitions: 1 });
    stableGroup(on, 1);
    assert.equal(on.join({ groupId: 'other' }).value.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const commit = on.commit({ groupId: 'other', offsets: [offsetOf('t', 0, 1)] });
    assert.deepEqual(commit.value, [ErrorCode.COORDINATOR_NOT_AVAILABLE]);
  });

  it('a parked first join is given up after five minutes', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1, { rebalanceTimeoutMs: 600_000 });
    const waiting = on.join({ rebalanceTimeoutMs: 600_000 });
    for (let i = 0; i < 31; i++) {
      on.tick(9_700);
      assert.equal(on.heartbeat(a, 1), ErrorCode.REBALANCE_IN_PROGRESS);
    }
    assert.equal(waiting.value.errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
  });
});

describe('sync', () => {
  it('answers nobody before the assignment is durable', async () => {
    const on = await rig();
    const join = on.join();
    on.tick();
    const { memberId } = join.value;
    on.log.hold = true;
    const assignments = [{ memberId, assignment: Buffer.from('mine') }];
    const sync = on.sync({ memberId, assignments });
    on.tick();
    assert.ok(!sync.given);
    assert.equal(on.describe().state, 'CompletingRebalance');
    on.log.release();
    assert.equal(sync.value.assignment.toString(), 'mine');
    assert.equal(sync.value.protocolName, 'range');
    assert.equal(on.describe().state, 'Stable');
  });

  it('followers wait for the leader; a repeated sync in Stable gets the stored part', async () => {
    const on = await rig({ initialRebalanceDelayMs: 10 });
    const joins = [on.join(), on.join()];
    on.tick(20);
    const [a = '', b = ''] = joins.map((join) => join.value.memberId);
    const follower = on.sync({ memberId: b });
    assert.ok(!follower.given);
    const leader = on.sync({ memberId: a, assignments: [{ memberId: b, assignment: Buffer.from('all') }] });
    on.tick();
    assert.equal(follower.value.assignment.toString(), 'all');
    assert.equal(leader.value.assignment.length, 0);
    assert.equal(on.sync({ memberId: b }).value.assignment.toString(), 'all');
  });

  it('refuses wrong generation, protocol, member and group, and PreparingRebalance', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    const code = (query: Parameters<typeof on.sync>[0]) => on.sync({ memberId: a, ...query }).value.errorCode;
    assert.equal(code({ generation: 2 }), ErrorCode.ILLEGAL_GENERATION);
    assert.equal(code({ protocolType: 'connect' }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(code({ protocolName: 'sticky' }), ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(code({ memberId: 'nobody' }), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(code({ groupId: 'nothing' }), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(code({ groupId: '' }), ErrorCode.INVALID_GROUP_ID);
    on.join();
    assert.equal(code({}), ErrorCode.REBALANCE_IN_PROGRESS);
  });

  it('a member joining while syncs wait sends everybody back', async () => {
    const on = await rig({ initialRebalanceDelayMs: 10 });
    const joins = [on.join(), on.join()];
    on.tick(20);
    const follower = on.sync({ memberId: joins[1]!.value.memberId });
    on.join();
    assert.equal(follower.value.errorCode, ErrorCode.REBALANCE_IN_PROGRESS);
  });

  it('an assignment that becomes durable after the next rebalance began is nobody’s', async () => {
    const on = await rig();
    const join = on.join();
    on.tick();
    const { memberId } = join.value;
    on.log.hold = true;
    const sync = on.sync({ memberId, assignments: [{ memberId, assignment: Buffer.from('old') }] });
    const other = on.join();
    assert.equal(sync.value.errorCode, ErrorCode.REBALANCE_IN_PROGRESS);
    const again = on.join({ memberId });
    assert.equal(other.value.generation, 2);
    on.log.release();
    assert.equal(on.describe().state, 'CompletingRebalance');
    assert.equal(again.value.generation, 2);
  });

  it('members that never sync are thrown out after the rebalance time-out', async () => {
    const on = await rig({ initialRebalanceDelayMs: 10 });
    const joins = [on.join(), on.join()];
    on.tick(20);
    const [a = '', b = ''] = joins.map((join) => join.value.memberId);
    const leader = on.sync({ memberId: a });
    on.tick();
    assert.equal(leader.value.errorCode, ErrorCode.NONE);
    for (let i = 0; i < 7; i++) {
      on.tick(9_000);
      on.heartbeat(a, 1);
      on.heartbeat(b, 1);
    }
    assert.equal(on.heartbeat(b, 1), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(on.heartbeat(a, 1), ErrorCode.REBALANCE_IN_PROGRESS);
  });

  it('an assignment too large for a batch fails the syncs and starts again', async () => {
    const on = await rig({ recordsBytesMax: 3_000 });
    const join = on.join();
    on.tick();
    const { memberId } = join.value;
    const sync = on.sync({ memberId, assignments: [{ memberId, assignment: Buffer.alloc(3_000) }] });
    assert.equal(sync.value.errorCode, ErrorCode.UNKNOWN_SERVER_ERROR);
    assert.equal(on.describe().state, 'PreparingRebalance');
  });
});

describe('heartbeat and sessions', () => {
  it('answers by state, generation and membership', async () => {
    const on = await rig();
    const join = on.join();
    on.tick();
    const a = join.value.memberId;
    assert.equal(on.heartbeat(a, 1), ErrorCode.NONE, 'before the sync');
    assert.equal(on.heartbeat(a, 2), ErrorCode.ILLEGAL_GENERATION);
    assert.equal(on.heartbeat('nobody', 1), ErrorCode.UNKNOWN_MEMBER_ID);
    on.sync({ memberId: a });
    on.tick();
    assert.equal(on.heartbeat(a, 1), ErrorCode.NONE);
    on.join();
    assert.equal(on.heartbeat(a, 1), ErrorCode.REBALANCE_IN_PROGRESS);
    on.shard.heartbeat({ groupId: 'nothing', memberId: a, generation: 1, instanceId: null }, (code) =>
      assert.equal(code, ErrorCode.UNKNOWN_MEMBER_ID),
    );
  });

  it('a silent member is removed after its session time-out and the others rebalance', async () => {
    const on = await rig();
    const [a = '', b = ''] = stableGroup(on, 2);
    on.tick(6_000);
    assert.equal(on.heartbeat(a, 2), ErrorCode.NONE);
    on.tick(4_001);
    assert.equal(on.heartbeat(b, 2), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(on.heartbeat(a, 2), ErrorCode.REBALANCE_IN_PROGRESS);
    const again = on.join({ memberId: a });
    assert.equal(again.value.members.length, 1);
  });

  it('a new member’s session starts with the answer to its join', async () => {
    const on = await rig();
    const join = on.join();
    on.tick();
    assert.equal(join.value.errorCode, ErrorCode.NONE);
    on.tick(10_001);
    assert.deepEqual(on.describe(), { state: 'Empty', members: 0 });
  });

  it('a parked join and a parked sync count as alive', async () => {
    const on = await rig({ initialRebalanceDelayMs: 10 });
    const joins = [on.join(), on.join()];
    on.tick(20);
    const [a = '', b = ''] = joins.map((join) => join.value.memberId);
    const parked = on.sync({ memberId: b });
    for (let i = 0; i < 5; i++) {
      on.tick(9_000);
      assert.equal(on.heartbeat(a, 1), ErrorCode.NONE);
    }
    assert.ok(!parked.given, 'the member waits longer than its session');
    assert.equal(on.describe().members, 2);
  });
});

describe('leave', () => {
  it('answers per member and rebalances', async () => {
    const on = await rig();
    const [a = '', b = ''] = stableGroup(on, 2);
    const { errorCode, members } = on.leave([
      { memberId: b, instanceId: null },
      { memberId: 'nobody', instanceId: null },
      { memberId: '', instanceId: 'nobody' },
    ]);
    assert.equal(errorCode, ErrorCode.NONE);
    assert.deepEqual(
      members.map((member) => member.errorCode),
      [ErrorCode.NONE, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.UNKNOWN_MEMBER_ID],
    );
    assert.equal(on.heartbeat(a, 2), ErrorCode.REBALANCE_IN_PROGRESS);
  });

  it('of the last member empties the group and stores that', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    on.leave([{ memberId: a, instanceId: null }]);
    on.tick();
    assert.deepEqual(on.describe(), { state: 'Empty', members: 0 });
    const later = await rig({}, 2, on.log);
    assert.deepEqual(later.describe(), { state: 'Empty', members: 0 });
    const join = later.join();
    later.tick();
    assert.equal(join.value.generation, 3, 'generations go on');
  });

  it('of an id not used yet frees the rebalance that waits for it', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    const { memberId } = on.join({ memberIdRequired: true }).value;
    const again = on.join({ memberId: a });
    assert.ok(!again.given);
    assert.equal(on.leave([{ memberId, instanceId: null }]).members[0]?.errorCode, ErrorCode.NONE);
    assert.equal(again.value.generation, 2);
  });

  it('of an unknown group is an error of each member', async () => {
    const on = await rig();
    const { errorCode, members } = on.leave([{ memberId: 'a', instanceId: null }]);
    assert.equal(errorCode, ErrorCode.NONE);
    assert.equal(members[0]?.errorCode, ErrorCode.UNKNOWN_MEMBER_ID);
  });
});

describe('static members (KIP-345)', () => {
  const instance = { instanceId: 'pod-1', memberIdRequired: true };

  it('need no member id and get one from their instance', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1, instance);
    assert.match(a, /^pod-1-[0-9a-f-]{36}$/);
  });

  it('come back in Stable under a new id without a rebalance; the leader keeps its assignment', async () => {
    const on = await rig();
    const [old = ''] = stableGroup(on, 1, instance);
    on.log.hold = true;
    const back = on.join(instance);
    assert.ok(!back.given, 'the new id is answered when it is durable');
    on.log.release();
    assert.equal(back.value.errorCode, ErrorCode.NONE);
    assert.equal(back.value.generation, 1);
    assert.equal(back.value.skipAssignment, true);
    assert.equal(back.value.leaderId, back.value.memberId);
    assert.equal(on.describe().state, 'Stable');
    assert.equal(on.heartbeat(old, 1, 'pod-1'), ErrorCode.FENCED_INSTANCE_ID);
    assert.equal(
      on.sync({ memberId: old, instanceId: 'pod-1' }).value.errorCode,
      ErrorCode.FENCED_INSTANCE_ID,
    );
    assert.equal(on.heartbeat(back.value.memberId, 1, 'pod-1'), ErrorCode.NONE);
    const part = on.sync({ memberId: back.value.memberId, instanceId: 'pod-1' }).value;
    assert.equal(part.assignment.toString(), `part of ${old}`);
  });

  it('before JoinGroup v9 a leader that came back is told that its old id leads', async () => {
    const on = await rig();
    const [old = ''] = stableGroup(on, 1, instance);
    const back = on.join({ ...instance, canSkipAssignment: false });
    on.tick();
    assert.equal(back.value.leaderId, old);
    assert.equal(back.value.skipAssignment, false);
    assert.deepEqual(back.value.members, []);
  });

  it('with another subscription do rebalance', async () => {
    const on = await rig();
    stableGroup(on, 1, instance);
    const back = on.join({ ...instance, protocols: [{ name: 'range', metadata: subscription('other') }] });
    on.tick();
    assert.equal(back.value.generation, 2);
    assert.equal(back.value.skipAssignment, false);
  });

  it('replacing one with parked calls fences those', async () => {
    const on = await rig({ initialRebalanceDelayMs: 100 });
    const first = on.join(instance);
    const second = on.join(instance);
    assert.equal(first.value.errorCode, ErrorCode.FENCED_INSTANCE_ID);
    on.tick(200);
    assert.equal(second.value.generation, 1);
    assert.equal(second.value.members.length, 1);
  });

  it('leave by instance id alone, and keep their place in a rebalance they miss', async () => {
    const on = await rig();
    stableGroup(on, 1, instance);
    const other = on.join({ rebalanceTimeoutMs: 6_000 });
    on.tick(9_000);
    assert.ok(!other.given, 'waits for the longest rebalance time-out, the static member’s');
    const { members } = on.leave([{ memberId: '', instanceId: 'pod-1' }]);
    assert.equal(members[0]?.errorCode, ErrorCode.NONE);
    assert.equal(other.value.members.length, 1);
  });

  it('an unknown instance id is no member', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    assert.equal(on.heartbeat(a, 1, 'pod-9'), ErrorCode.UNKNOWN_MEMBER_ID);
  });
});

/** Share groups: what heartbeats are refused for, when joins are answered, how members end, and what an operator changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ShareHeartbeatQuery } from '../../../../../src/coordinator/group/share/share-group-api.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { group, limits, placesOf, ShareBed, topicIdOf } from './share-bed.ts';

function bedOf(partitions: number, name = 't'): ShareBed {
  const bed = new ShareBed();
  bed.topics.set(name, { topicId: topicIdOf(0), partitions });
  return bed;
}

const places = (count: number, topic = 0): string[] =>
  Array.from({ length: count }, (_, at) => `${topicIdOf(topic)}/${at}`);

test('heartbeats that are wrong are refused with the error and the words that clients know', () => {
  const bed = bedOf(2);
  for (const id of ['m', 'n', 'o']) {
    const joined = bed.join(id, ['t']);
    bed.clock.advance(limits.assignmentIntervalMs);
    assert.equal(joined.value!.errorCode, 0);
  }
  const epoch = bed.groups.groups.get(group)!.members.get('o')!.epoch;
  const { INVALID_REQUEST, GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID, FENCED_MEMBER_EPOCH } = ErrorCode;
  const table: [Partial<ShareHeartbeatQuery>, number, RegExp | null][] = [
    [{ memberId: '', memberEpoch: 1 }, INVALID_REQUEST, /^MemberId can't be empty/],
    [{ groupId: '', memberEpoch: 1 }, INVALID_REQUEST, /^GroupId can't be empty/],
    [{ rackId: '', memberEpoch: 1 }, INVALID_REQUEST, /^RackId can't be empty/],
    [{ memberEpoch: -2 }, INVALID_REQUEST, /^MemberEpoch is -2/],
    [{ topics: null }, INVALID_REQUEST, /^SubscribedTopicNames must be set/],
    [{ topics: [] }, INVALID_REQUEST, /^SubscribedTopicNames must be set/],
    [{ memberId: 'p', topics: ['t'] }, ErrorCode.GROUP_MAX_SIZE_REACHED, /capacity of 3/],
    [{ groupId: 'none', memberEpoch: 1 }, GROUP_ID_NOT_FOUND, /Share group none not found/],
    [{ groupId: 'none', memberEpoch: -1 }, GROUP_ID_NOT_FOUND, /not found/],
    [{ memberId: 'p', memberEpoch: 1 }, UNKNOWN_MEMBER_ID, /Member p is not a member/],
    [{ memberId: 'p', memberEpoch: -1 }, UNKNOWN_MEMBER_ID, /Member p is not a member/],
    [
      { memberId: 'o', memberEpoch: epoch + 1 },
      FENCED_MEMBER_EPOCH,
      new RegExp(`not the one .*\\(${epoch}\\)`),
    ],
  ];
  const before = bed.log.length;
  for (const [query, errorCode, words] of table) {
    const said = bed.heartbeat(query).value!;
    const what = JSON.stringify(query);
    assert.equal(said.errorCode, errorCode, what);
    assert.match(said.errorMessage!, words!, what);
    assert.deepEqual([said.memberEpoch, said.heartbeatIntervalMs, said.assignment], [0, 0, null], what);
  }
  assert.equal(bed.log.length, before, 'what is refused changes nothing');
  // A full group still takes a member that it knows, and a rack that has a name.
  assert.equal(bed.heartbeat({ memberId: 'o', topics: ['t'], rackId: 'r' }).value!.errorCode, 0);
  assert.equal(bed.groups.describe(group)!.members.find(({ memberId }) => memberId === 'o')!.rackId, 'r');
});

test('a member may beat with its epoch or the one before, and nothing older', () => {
  const bed = bedOf(4);
  const first = bed.join('m', ['t']).value!.memberEpoch;
  bed.join('n', ['t']);
  bed.clock.advance(limits.assignmentIntervalMs);
  const second = bed.heartbeat({ memberEpoch: first }).value!;
  assert.ok(second.memberEpoch > first);
  assert.equal(bed.heartbeat({ memberEpoch: first }).value!.errorCode, 0, 'its answer may have been lost');
  bed.join('o', ['t']);
  bed.clock.advance(limits.assignmentIntervalMs);
  const third = bed.heartbeat({ memberEpoch: second.memberEpoch }).value!;
  assert.ok(third.memberEpoch > second.memberEpoch);
  assert.equal(bed.heartbeat({ memberEpoch: first }).value!.errorCode, ErrorCode.FENCED_MEMBER_EPOCH);
});

test('a join is answered when its share partitions are initialised, stored and assigned', () => {
  const bed = bedOf(2);
  bed.answers = null;
  bed.durable = false;
  const answer = bed.join('m', ['t']);
  assert.equal(bed.calls.length, 0, 'the member is not durable');
  bed.settle();
  assert.deepEqual(
    bed.called,
    places(2).map((place) => ({ kind: 'initialize', place, stateEpoch: 1, startOffset: -1 })),
  );
  bed.calls[0]!.answer(0);
  bed.settle();
  assert.equal(answer.value, null);
  bed.calls[1]!.answer(0);
  assert.equal(answer.value, null, 'none of it is durable');
  bed.settle();
  assert.deepEqual(answer.value, {
    errorCode: 0,
    errorMessage: null,
    memberEpoch: 1,
    heartbeatIntervalMs: limits.heartbeatIntervalMs,
    assignment: [{ topicId: topicIdOf(0), partitions: [0, 1] }],
  });
  assert.deepEqual(bed.groups.describe(group), {
    state: 'Stable',
    epoch: 1,
    assignmentEpoch: 1,
    members: [
      {
        memberId: 'm',
        rackId: null,
        memberEpoch: 1,
        clientId: 'client',
        clientHost: '/here',
        topics: ['t'],
        assignment: [{ topicId: topicIdOf(0), partitions: [0, 1] }],
      },
    ],
  });
});

test('a join is answered after three seconds with what there is, and gets the rest later', () => {
  const bed = bedOf(2);
  bed.answers = null;
  const answer = bed.join('m', ['t']);
  bed.clock.advance(2_999);
  assert.equal(answer.value, null);
  bed.clock.advance(1);
  assert.deepEqual([answer.value!.memberEpoch, answer.value!.assignment], [1, []]);
  for (const { answer: call } of bed.calls.splice(0)) call(0);
  const beat = bed.heartbeat({ memberEpoch: 1 }).value!;
  assert.deepEqual(placesOf(beat.assignment), places(2));
});

test('what could not be initialised is tried again every 100 ms, what could is not', () => {
  const bed = bedOf(3);
  bed.answers = null;
  const answer = bed.join('m', ['t']);
  for (const [at, call] of bed.calls.splice(0).entries())
    call.answer(at === 1 ? ErrorCode.NOT_COORDINATOR : 0);
  assert.equal(bed.calls.length, 0);
  bed.clock.advance(99);
  assert.equal(bed.calls.length, 0);
  bed.clock.advance(1);
  assert.deepEqual(
    bed.calls.map(({ place }) => place),
    [places(3)[1]],
  );
  bed.calls.splice(0)[0]!.answer(ErrorCode.NOT_COORDINATOR);
  bed.clock.advance(100);
  assert.equal(bed.calls.length, 1, 'nothing at all was initialised');
  bed.refuses = ErrorCode.COORDINATOR_NOT_AVAILABLE;
  bed.calls.splice(0)[0]!.answer(0);
  bed.refuses = 0;
  bed.clock.advance(100);
  assert.equal(bed.calls.length, 1, 'what the log refused');
  bed.calls.splice(0)[0]!.answer(0);
  assert.deepEqual(placesOf(answer.value!.assignment), places(3));
  bed.clock.advance(1_000);
  assert.equal(bed.called.length, 6);
});

test('targets are made at most once in an interval, for all that changed meanwhile', () => {
  const bed = bedOf(4);
  bed.join('m', ['t']);
  const late = [bed.join('n', ['t']), bed.join('o', ['t'])];
  bed.clock.advance(limits.assignmentIntervalMs - 1);
  assert.deepEqual(
    late.map(({ value }) => value),
    [null, null],
  );
  assert.equal(bed.groups.describe(group)!.assignmentEpoch, 1);
  bed.clock.advance(1);
  assert.deepEqual(
    late.map(({ value }) => value!.memberEpoch),
    [3, 3],
  );
  // Long after the last target there is nothing to wait for.
  bed.clock.advance(limits.assignmentIntervalMs);
  assert.equal(bed.heartbeat({ memberId: 'o', memberEpoch: -1 }).value!.memberEpoch, -1);
  assert.equal(bed.groups.describe(group)!.assignmentEpoch, 4);
});

test('a beat tells the assignment when it moved or was asked for, and writes only what changed', () => {
  const bed = bedOf(2);
  const { memberEpoch } = bed.join('m', ['t']).value!;
  const before = bed.log.length;
  assert.equal(bed.heartbeat({ memberEpoch }).value!.assignment, null);
  assert.deepEqual(placesOf(bed.heartbeat({ memberEpoch, topics: ['t'] }).value!.assignment), places(2));
  assert.equal(bed.log.length, before);
  bed.heartbeat({ memberEpoch, clientHost: '/there' });
  assert.equal(bed.log.length, before + 1, 'the member alone');
  assert.equal(bed.groups.describe(group)!.epoch, memberEpoch);
  bed.topics.set('t', { topicId: topicIdOf(0), partitions: 3 });
  bed.clock.advance(limits.assignmentIntervalMs);
  const grown = bed.heartbeat({ memberEpoch }).value!;
  assert.deepEqual([grown.memberEpoch, placesOf(grown.assignment)], [memberEpoch + 1, places(3)]);
  bed.topics.set('u', { topicId: topicIdOf(1), partitions: 1 });
  bed.clock.advance(limits.assignmentIntervalMs);
  const both = bed.heartbeat({ memberEpoch: grown.memberEpoch, topics: ['u', 't', 'u'] }).value!;
  assert.deepEqual(placesOf(both.assignment), [...places(3), ...places(1, 1)].sort());
  assert.deepEqual(bed.groups.describe(group)!.members[0]!.topics, ['t', 'u']);
  bed.clock.advance(limits.assignmentIntervalMs);
  const one = bed.heartbeat({ memberEpoch: both.memberEpoch, topics: ['u'] }).value!;
  assert.deepEqual(placesOf(one.assignment), places(1, 1));
});

test('a member that is silent for a session is taken out then, one that beats is not', () => {
  const bed = bedOf(2);
  bed.join('m', ['t']);
  bed.join('n', ['t']);
  bed.clock.advance(limits.assignmentIntervalMs);
  const epoch = bed.groups.describe(group)!.epoch;
  bed.clock.advance(20_000);
  assert.equal(bed.heartbeat({ memberEpoch: 1 }).value!.errorCode, 0);
  bed.clock.advance(limits.sessionTimeoutMs - 20_000 - limits.assignmentIntervalMs - 1);
  const ids = (): string[] => bed.groups.describe(group)!.members.map(({ memberId }) => memberId);
  assert.deepEqual(ids(), ['m', 'n']);
  bed.clock.advance(1);
  assert.deepEqual(ids(), ['m']);
  assert.equal(bed.groups.describe(group)!.epoch, epoch + 1);
  assert.equal(bed.forgotten, 0);
  const moved = bed.heartbeat({ memberEpoch: epoch }).value!;
  assert.deepEqual(placesOf(moved.assignment), places(2));
  bed.refuses = ErrorCode.COORDINATOR_NOT_AVAILABLE;
  bed.clock.advance(limits.sessionTimeoutMs);
  assert.deepEqual(ids(), ['m'], 'the log refused it');
  bed.refuses = 0;
  bed.clock.advance(limits.sessionTimeoutMs - 1);
  assert.deepEqual(ids(), ['m']);
  bed.clock.advance(1);
  assert.deepEqual([ids(), bed.groups.describe(group)!.state, bed.forgotten], [[], 'Empty', 1]);
  assert.equal(bed.clock.timers, 0, 'nothing is left to happen');
});

test('who leaves is gone with its assignment; the last one has its share partitions forgotten', () => {
  const bed = bedOf(2);
  bed.join('m', ['t']);
  bed.join('n', ['t']);
  bed.clock.advance(limits.assignmentIntervalMs);
  assert.deepEqual(bed.heartbeat({ memberEpoch: -1 }).value, {
    errorCode: 0,
    errorMessage: null,
    memberEpoch: -1,
    heartbeatIntervalMs: 0,
    assignment: null,
  });
  assert.equal(bed.forgotten, 0);
  bed.heartbeat({ memberId: 'n', memberEpoch: -1 });
  assert.equal(bed.forgotten, 1);
  assert.equal(bed.clock.timers <= 1, true, 'but for the target that is due');
  bed.clock.advance(60_000);
  assert.equal(bed.clock.timers, 0);
  bed.restart();
  assert.deepEqual(bed.groups.describe(group)!.members, []);
});

test('a member that joins again begins anew, and hears all that it has', () => {
  const bed = bedOf(2);
  bed.join('m', ['t']);
  bed.clock.advance(limits.assignmentIntervalMs);
  const again = bed.join('m', ['t']).value!;
  assert.deepEqual(placesOf(again.assignment), places(2));
  assert.equal(bed.groups.describe(group)!.members.length, 1);
});

test('a group is made only while there is room, and what the log refuses is told', () => {
  const bed = bedOf(1);
  bed.hasRoom = false;
  assert.equal(bed.join('m', ['t']).value!.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
  assert.equal(bed.groups.groups.size, 0);
  bed.hasRoom = true;
  bed.refuses = ErrorCode.COORDINATOR_NOT_AVAILABLE;
  assert.equal(bed.join('m', ['t']).value!.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
  assert.equal(bed.groups.describe(group), null);
  bed.refuses = 0;
  bed.join('m', ['t']);
  bed.hasRoom = false;
  assert.equal(bed.join('n', ['t']).value ?? null, null, 'a group that is there takes members');
  bed.refuses = ErrorCode.COORDINATOR_NOT_AVAILABLE;
  assert.equal(bed.heartbeat({ memberEpoch: -1 }).value!.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
  assert.equal(bed.groups.describe(group)!.members.length, 2);
});

test('calls that wait are answered when this broker is not the coordinator any more', () => {
  const bed = bedOf(1);
  bed.answers = null;
  const waiting = bed.join('m', ['t']);
  bed.restart([]);
  assert.equal(waiting.value!.errorCode, ErrorCode.NOT_COORDINATOR);
  assert.equal(bed.clock.timers, 0);
  for (const { answer } of bed.calls.splice(0)) answer(0);
  assert.equal(bed.groups.describe(group), null, 'an answer for a life that is over changes nothing');
});

test('a deleted topic leaves the group, whoever is in it', () => {
  for (const empty of [true, false]) {
    const bed = bedOf(2);
    bed.topics.set('u', { topicId: topicIdOf(1), partitions: 1 });
    const { memberEpoch } = bed.join('m', ['t', 'u']).value!;
    bed.clock.advance(limits.assignmentIntervalMs);
    if (empty) bed.heartbeat({ memberEpoch: -1 });
    bed.groups.topicDeleted(topicIdOf(9));
    const { epoch } = bed.groups.describe(group)!;
    bed.topics.delete('t');
    bed.groups.topicDeleted(topicIdOf(0));
    assert.deepEqual([...bed.groups.groups.get(group)!.topics.keys()], [topicIdOf(1)]);
    assert.equal(bed.groups.describe(group)!.epoch, empty ? epoch : epoch + 1);
    if (empty) continue;
    bed.clock.advance(limits.assignmentIntervalMs);
    assert.deepEqual(placesOf(bed.heartbeat({ memberEpoch }).value!.assignment), places(1, 1));
  }
});

test('a new owner gives every member a full session, and drops what is no group', () => {
  const bed = bedOf(2);
  bed.join('m', ['t']);
  bed.clock.advance(limits.sessionTimeoutMs - 1);
  bed.restart();
  bed.clock.advance(limits.sessionTimeoutMs - 1);
  assert.equal(bed.groups.describe(group)!.members.length, 1);
  bed.clock.advance(1);
  assert.equal(bed.groups.describe(group)!.members.length, 0);
  const members = bed.log.filter(({ key }) => key.readInt16BE(0) === 10).slice(0, 1);
  bed.restart(members);
  assert.equal(bed.groups.describe(group), null, 'a member without a group');
  assert.equal(bed.clock.timers, 0);
  const epochs = bed.log.filter(({ key }) => key.readInt16BE(0) === 11).slice(0, 1);
  const targets = bed.log.filter(({ key }) => key.readInt16BE(0) === 13).slice(0, 1);
  bed.restart([...targets, ...epochs]);
  assert.deepEqual(bed.groups.describe(group)!.members, [], 'a target without a member');
});

test('an operator moves the start of share partitions under a higher state epoch, and hears of each', () => {
  const bed = bedOf(3);
  bed.join('m', ['t']);
  const topic = (partitions: number[]) => ({ topicId: topicIdOf(0), name: 't', partitions });
  const alter = (id: string, partitions: number[], startOffsets: number[]) => {
    const said: unknown[] = [];
    bed.groups.admin.alter(id, [{ topic: topic(partitions), startOffsets }], (...all) => said.push(all));
    return said;
  };
  assert.deepEqual(alter(group, [0], [1]), [[ErrorCode.NON_EMPTY_GROUP, []]]);
  bed.heartbeat({ memberEpoch: -1 });
  const { epoch } = bed.groups.describe(group)!;
  bed.forgotten = 0;
  bed.called.length = 0;
  bed.answers = null;
  const said = alter(group, [2, 5], [7, 9]);
  assert.deepEqual(
    bed.called.map(({ place, stateEpoch, startOffset }) => [place, stateEpoch, startOffset]),
    [
      [`${topicIdOf(0)}/2`, epoch + 1, 7],
      [`${topicIdOf(0)}/5`, epoch + 1, 9],
    ],
  );
  assert.equal(bed.groups.describe(group)!.epoch, epoch + 1);
  // Meanwhile nobody else comes in.
  assert.deepEqual(alter(group, [0], [1]), [[ErrorCode.COORDINATOR_NOT_AVAILABLE, []]]);
  assert.equal(bed.join('n', ['t']).value!.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
  const [first, second] = bed.calls.splice(0);
  first!.answer(ErrorCode.NOT_COORDINATOR);
  assert.deepEqual([said, bed.forgotten], [[], 0]);
  second!.answer(0);
  assert.deepEqual(said, [[0, [[ErrorCode.NOT_COORDINATOR, 0]]]]);
  assert.equal(bed.forgotten, 1, 'shards that hold share partitions read them again');
  assert.deepEqual(bed.groups.groups.get(group)!.topics.get(topicIdOf(0))!.partitions, [0, 1, 2, 5]);
  bed.refuses = ErrorCode.COORDINATOR_NOT_AVAILABLE;
  assert.deepEqual(alter(group, [0], [1]), [[ErrorCode.COORDINATOR_NOT_AVAILABLE, []]]);
  bed.refuses = 0;
  bed.answers = ErrorCode.NONE;
  assert.deepEqual(alter(group, [0], [1]), [[0, [[0]]]], 'the lock is free again');
});

test('an operator’s start offsets make the group that is not there', () => {
  const bed = bedOf(3);
  const moved = [{ topic: { topicId: topicIdOf(0), name: 't', partitions: [1] }, startOffsets: [7] }];
  const alter = (topics: typeof moved) => {
    const said: unknown[] = [];
    bed.groups.admin.alter(group, topics, (...all) => said.push(all));
    return said;
  };
  assert.deepEqual(alter([]), [[0, []]]);
  assert.equal(bed.groups.describe(group), null, 'nothing is moved, nobody is made');
  bed.refuses = ErrorCode.NOT_COORDINATOR;
  assert.deepEqual(alter(moved), [[ErrorCode.NOT_COORDINATOR, []]]);
  assert.equal(bed.groups.describe(group), null);
  bed.refuses = 0;
  bed.answers = null;
  const said = alter(moved);
  assert.equal(bed.join('m', ['t']).value!.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE, 'not meanwhile');
  assert.deepEqual(alter(moved), [[ErrorCode.COORDINATOR_NOT_AVAILABLE, []]]);
  const [call, ...more] = bed.calls.splice(0);
  assert.deepEqual([call!.place, call!.stateEpoch, call!.startOffset, more], [`${topicIdOf(0)}/1`, 1, 7, []]);
  call!.answer(0);
  assert.deepEqual(said, [[0, [[0]]]]);
  const { epoch, state, members } = bed.groups.describe(group)!;
  assert.deepEqual([epoch, state, members], [1, 'Empty', []]);
  assert.deepEqual(bed.groups.groups.get(group)!.topics.get(topicIdOf(0))!.partitions, [1]);
  bed.answers = ErrorCode.NONE;
  assert.equal(bed.join('m', ['t']).value!.errorCode, 0, 'the lock is free again');
  bed.restart();
  assert.equal(bed.groups.describe(group)!.epoch >= 1, true);
});

test('offsets of topics are forgotten where the states are gone, and only there', () => {
  const bed = bedOf(2);
  bed.topics.set('u', { topicId: topicIdOf(1), partitions: 1 });
  bed.join('m', ['t', 'u']);
  const forget = (id: string, topics: number[]) => {
    const said: unknown[] = [];
    bed.groups.admin.deleteOffsets(id, topics.map(topicIdOf), (...all) => said.push(all));
    return said;
  };
  assert.deepEqual(forget('none', [0]), [[ErrorCode.GROUP_ID_NOT_FOUND, []]]);
  assert.deepEqual(forget(group, [0]), [[ErrorCode.NON_EMPTY_GROUP, []]]);
  bed.heartbeat({ memberEpoch: -1 });
  bed.answers = null;
  const said = forget(group, [0, 1, 7]);
  assert.deepEqual(forget(group, [0]), [[ErrorCode.COORDINATOR_NOT_AVAILABLE, []]]);
  assert.deepEqual(
    bed.calls.map(({ kind, place }) => [kind, place]),
    [...places(2), ...places(1, 1)].map((place) => ['delete', place]),
  );
  for (const [at, call] of bed.calls.splice(0).entries())
    call.answer(at === 1 ? ErrorCode.NOT_COORDINATOR : 0);
  const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  assert.deepEqual(said, [[0, [ErrorCode.NOT_COORDINATOR, 0, unknown]]]);
  const { topics } = bed.groups.groups.get(group)!;
  assert.deepEqual([...topics.keys()], [topicIdOf(0)], 'what failed is still there');
  bed.answers = ErrorCode.NONE;
  assert.deepEqual(forget(group, [0]), [[0, [0]]]);
  assert.equal(bed.groups.groups.get(group)!.topics.size, 0);
});

test('a group is deleted with its states, those first, and is whole when one of them stays', () => {
  const bed = bedOf(2);
  bed.join('m', ['t']);
  const remove = (id: string) => {
    const said: number[] = [];
    bed.groups.admin.delete(id, (error) => said.push(error));
    return said;
  };
  assert.deepEqual(remove('none'), [ErrorCode.GROUP_ID_NOT_FOUND]);
  assert.deepEqual(remove(group), [ErrorCode.NON_EMPTY_GROUP]);
  bed.heartbeat({ memberEpoch: -1 });
  bed.answers = null;
  const said = remove(group);
  assert.deepEqual(remove(group), [ErrorCode.COORDINATOR_NOT_AVAILABLE]);
  bed.calls[0]!.answer(0);
  assert.deepEqual(said, []);
  bed.calls.splice(0)[1]!.answer(ErrorCode.NOT_COORDINATOR);
  assert.deepEqual(said, [ErrorCode.NOT_COORDINATOR]);
  assert.equal(bed.groups.describe(group)!.state, 'Empty');
  bed.answers = ErrorCode.NONE;
  bed.refuses = ErrorCode.COORDINATOR_NOT_AVAILABLE;
  assert.deepEqual(remove(group), [ErrorCode.COORDINATOR_NOT_AVAILABLE]);
  bed.refuses = 0;
  assert.deepEqual(remove(group), [0]);
  assert.equal(bed.groups.describe(group), null);
  bed.restart();
  assert.equal(bed.groups.describe(group), null, 'its records say so');
  const answer = bed.join('m', ['t']).value!;
  assert.deepEqual([answer.errorCode, answer.memberEpoch], [0, 1], 'another one of the name begins anew');
});

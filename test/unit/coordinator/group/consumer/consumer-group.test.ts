/** What members of a consumer group are told, one question at a time: joins, epochs, static members, time-outs, offsets. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  FetchAnswer,
  ListedGroup,
  OffsetDeleteAnswer,
} from '../../../../../src/coordinator/group/group-api.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { Answer, group, offsetOf, type Rig, rig, topicIds } from '../fixtures.ts';
import { beat, join, rebalanceTimeoutMs } from './member-client.ts';

const t = topicIds.t!;
const lists = (...partitions: number[]) => [{ topicId: t, partitions }];

async function world(partitions = 4, settings: Parameters<typeof rig>[0] = {}): Promise<Rig> {
  const on = await rig(settings);
  on.limits = { sessionTimeoutMs: 10_000, heartbeatIntervalMs: 3_000, assignmentIntervalMs: 0 };
  on.metadata.grow('t', t, partitions);
  return on;
}

function describeGroup(on: Rig) {
  let told: {
    state: string;
    epoch: number;
    members: readonly { memberId: string; memberEpoch: number }[];
  } | null = null;
  on.shard.consumerDescribe(group, (answer) => {
    told = answer;
  });
  return told!;
}

/** The answer once the log has taken everything. */
function done<T>(on: Rig, answer: Answer<T>): T {
  on.tick();
  return answer.value;
}

describe('joining', () => {
  it('gives everything to the first, and names what a join lacks', async () => {
    const on = await world();
    const first = done(on, join(on, 'a'));
    assert.deepEqual(first, {
      errorCode: 0,
      errorMessage: null,
      memberId: 'a',
      memberEpoch: 2,
      heartbeatIntervalMs: 3_000,
      assignment: lists(0, 1, 2, 3),
    });
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).assignment, null, 'unchanged');
    const wrong = [
      { groupId: '' },
      { memberId: '' },
      { rebalanceTimeoutMs: -1 },
      { owned: null },
      { owned: lists(1) },
      { topics: null },
      { instanceId: '' },
      { rackId: '' },
      { memberEpoch: -3 },
      { memberEpoch: -2 },
    ];
    for (const query of wrong) {
      const { errorCode, errorMessage } = done(on, join(on, 'b', query));
      assert.equal(errorCode, ErrorCode.INVALID_REQUEST, JSON.stringify(query));
      assert.ok(errorMessage !== null && errorMessage.length > 10);
    }
    for (const assignor of ['best', ''])
      assert.equal(done(on, join(on, 'b', { assignor })).errorCode, ErrorCode.UNSUPPORTED_ASSIGNOR);
    assert.equal(done(on, join(on, 'b', { regex: '(' })).errorCode, ErrorCode.INVALID_REGULAR_EXPRESSION);
    // Who subscribes to nothing yet is a member all the same.
    for (const [id, nothing] of [
      ['c', { topics: [] }],
      ['d', { topics: null, regex: '' }],
    ] as const) {
      const { errorCode, assignment } = done(on, join(on, id, nothing));
      assert.deepEqual([errorCode, assignment], [0, []]);
      assert.equal(done(on, beat(on, { memberId: id, memberEpoch: -1 })).errorCode, 0);
    }
    // v0: the broker makes the id.
    const made = done(on, join(on, '', { version: 0 }));
    assert.equal(made.errorCode, 0);
    assert.equal(made.memberId.length, 22);
  });

  it('takes no more members than allowed, and those that are in come again', async () => {
    const on = await world(4, { consumerSizeMax: 1 });
    assert.equal(done(on, join(on, 'a')).errorCode, 0);
    assert.equal(done(on, join(on, 'b')).errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
    assert.equal(done(on, join(on, 'a')).errorCode, 0);
  });

  it('answers when what it tells is durable, and with an error when it never will be', async () => {
    const on = await world();
    on.log.hold = true;
    const answer = join(on, 'a');
    on.tick();
    assert.ok(!answer.given);
    on.log.release();
    assert.equal(answer.value.memberEpoch, 2);
    const lost = join(on, 'b');
    on.log.fail(false);
    assert.equal(lost.value.errorCode, ErrorCode.NOT_COORDINATOR);
    on.log.hold = false;
    on.log.release();
    await on.clock.settle();
    on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    assert.equal(join(on, 'c').value.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
  });

  it('uses the assignor that most ask for', async () => {
    const on = await world(5);
    on.metadata.grow('u', topicIds.u!, 5);
    for (const id of ['a', 'b']) done(on, join(on, id, { topics: ['t', 'u'], assignor: 'range' }));
    const again = done(on, join(on, 'a', { topics: ['t', 'u'], assignor: 'range' }));
    const [one, two] = again.assignment!;
    assert.deepEqual(one!.partitions, two!.partitions, 'split alike');
  });

  it('waits with new targets until the last ones are old enough', async () => {
    const on = await world();
    on.limits = { ...on.limits, assignmentIntervalMs: 1_000 };
    done(on, join(on, 'a'));
    const early = done(on, join(on, 'b'));
    assert.deepEqual([early.memberEpoch, early.assignment], [2, []]);
    assert.equal(describeGroup(on).state, 'Assigning');
    on.tick(1_000);
    // The first to come then makes them.
    const told = done(on, beat(on, { memberId: 'a', memberEpoch: 2, owned: lists(0, 1, 2, 3) }));
    assert.deepEqual([told.memberEpoch, told.assignment], [2, lists(0, 1)]);
    assert.equal(describeGroup(on).state, 'Reconciling');
  });
});

describe('leaving', () => {
  it('takes the target along, also for who comes under the same id', async () => {
    const on = await world();
    on.limits = { ...on.limits, assignmentIntervalMs: 1_000 };
    done(on, join(on, 'a'));
    done(on, join(on, 'b'));
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: -1 })).memberEpoch, -1);
    assert.deepEqual(done(on, join(on, 'a')).assignment, [], 'the next targets are not due yet');
    on.tick(1_000);
    assert.deepEqual(done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).assignment, lists(2, 3));
  });
});

describe('epochs', () => {
  it('fence who is ahead, or behind with something that it may not have', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    const code = (memberEpoch: number, owned: ReturnType<typeof lists> | null) =>
      done(on, beat(on, { memberId: 'a', memberEpoch, owned })).errorCode;
    assert.equal(code(3, lists(0)), ErrorCode.FENCED_MEMBER_EPOCH);
    on.metadata.grow('t', t, 5);
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).memberEpoch, 3);
    // The answer that said 2 may have got lost.
    assert.equal(code(2, lists(0, 4)), 0);
    assert.equal(code(2, lists(7)), ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(code(2, null), ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(code(3, null), 0);
    assert.equal(
      done(on, beat(on, { memberId: 'x', memberEpoch: 3 })).errorCode,
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
    const other = done(on, beat(on, { groupId: 'none', memberId: 'a', memberEpoch: 3 }));
    assert.equal(other.errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
  });

  it('rise when the owner has let go, and the next gets it only then', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    assert.deepEqual(done(on, join(on, 'b')).assignment, [], 'all is with a');
    const told = done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    assert.deepEqual([told.memberEpoch, told.assignment], [2, lists(0, 1)]);
    assert.equal(done(on, beat(on, { memberId: 'b', memberEpoch: 3 })).assignment, null);
    // It still has one of them.
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2, owned: lists(0, 1, 2) })).memberEpoch, 2);
    assert.equal(done(on, beat(on, { memberId: 'b', memberEpoch: 3 })).assignment, null);
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2, owned: lists(0, 1) })).memberEpoch, 3);
    assert.deepEqual(done(on, beat(on, { memberId: 'b', memberEpoch: 3 })).assignment, lists(2, 3));
    assert.equal(describeGroup(on).state, 'Stable');
  });

  it('follow topics that come, grow and go, and nothing else', async () => {
    const on = await world(2);
    done(on, join(on, 'a', { topics: ['t', 'gone-later'] }));
    on.metadata.grow('w', 'wAAAAAAAAAAAAAAAAAAAAA', 3);
    assert.equal(
      done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).memberEpoch,
      2,
      'it does not subscribe to w',
    );
    on.metadata.grow('t', t, 3);
    assert.deepEqual(done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).assignment, lists(0, 1, 2));
    on.metadata.grow('gone-later', 'gAAAAAAAAAAAAAAAAAAAAA', 1);
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 3 })).assignment?.length, 2);
    on.metadata.drop('gone-later');
    assert.deepEqual(done(on, beat(on, { memberId: 'a', memberEpoch: 4 })).assignment, lists(0, 1, 2));
  });
});

describe('regexes', () => {
  it('are resolved off the request, and again when topics come', async () => {
    const on = await world(1, { regexRefreshMs: 5_000 });
    on.metadata.grow('w1', 'w1AAAAAAAAAAAAAAAAAAAA', 2);
    const first = join(on, 'a', { topics: null, regex: 'w[0-9]' });
    on.tick();
    assert.deepEqual(first.value.assignment, []);
    const second = done(on, beat(on, { memberId: 'a', memberEpoch: first.value.memberEpoch }));
    assert.equal(second.assignment?.[0]?.topicId, 'w1AAAAAAAAAAAAAAAAAAAA');
    on.metadata.grow('w2', 'w2AAAAAAAAAAAAAAAAAAAA', 1);
    on.metadata.grow('w10', 'w10AAAAAAAAAAAAAAAAAAA', 1);
    on.tick(5_000);
    done(on, beat(on, { memberId: 'a', memberEpoch: second.memberEpoch }));
    const third = done(on, beat(on, { memberId: 'a', memberEpoch: second.memberEpoch }));
    const found = third.assignment?.map(({ topicId }) => topicId).sort();
    assert.deepEqual(
      found,
      ['w1AAAAAAAAAAAAAAAAAAAA', 'w2AAAAAAAAAAAAAAAAAAAA'],
      'the whole name must match',
    );
  });

  it('are as many as allowed', async () => {
    const on = await world(1, { regexesMax: 1 });
    assert.equal(done(on, join(on, 'a', { topics: null, regex: 'a' })).errorCode, 0);
    assert.equal(done(on, join(on, 'b', { topics: null, regex: 'a' })).errorCode, 0);
    assert.equal(done(on, join(on, 'c', { topics: null, regex: 'c' })).errorCode, ErrorCode.INVALID_REQUEST);
  });
});

describe('static members', () => {
  it('hold their place: 111 while they are there, taken over when they left for a while, then 82', async () => {
    const on = await world();
    done(on, join(on, 'a', { instanceId: 'pod' }));
    assert.equal(done(on, join(on, 'b', { instanceId: 'pod' })).errorCode, ErrorCode.UNRELEASED_INSTANCE_ID);
    const left = done(on, beat(on, { memberId: 'a', instanceId: 'pod', memberEpoch: -2 }));
    assert.deepEqual([left.errorCode, left.memberEpoch], [0, -2]);
    const back = done(on, join(on, 'b', { instanceId: 'pod' }));
    assert.deepEqual([back.memberEpoch, back.assignment], [2, lists(0, 1, 2, 3)], 'no new epoch');
    const old = done(on, beat(on, { memberId: 'a', instanceId: 'pod', memberEpoch: 2 }));
    assert.equal(old.errorCode, ErrorCode.FENCED_INSTANCE_ID);
    assert.equal(
      done(on, beat(on, { memberId: 'a', instanceId: 'other', memberEpoch: 2 })).errorCode,
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
    // Away for longer than a session: its place is given up.
    done(on, beat(on, { memberId: 'b', instanceId: 'pod', memberEpoch: -2 }));
    on.tick(10_001);
    assert.equal(describeGroup(on).state, 'Empty');
  });
});

describe('time', () => {
  it('drops who is silent for a session, which a load and a config start anew', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    on.tick(9_000);
    const partition = on.shard.partitionOf(group);
    on.shard.unload(partition);
    await on.shard.load(partition);
    on.tick(9_000);
    assert.equal(describeGroup(on).members.length, 1, 'a new owner cannot know how long it was silent');
    on.tick(1_001);
    assert.equal(describeGroup(on).state, 'Empty');
    done(on, join(on, 'b'));
    on.limits = { ...on.limits, sessionTimeoutMs: 2_000 };
    done(on, beat(on, { memberId: 'b', memberEpoch: 4 }));
    on.tick(2_001);
    assert.equal(describeGroup(on).state, 'Empty', 'a shorter session counts at once');
  });

  it('fences who does not give up in its rebalance time-out, though it is heard', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    done(on, join(on, 'b'));
    done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    for (let ms = 0; ms <= rebalanceTimeoutMs; ms += 1_000) {
      on.tick(1_000);
      done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
      done(on, beat(on, { memberId: 'b', memberEpoch: 3 }));
    }
    assert.deepEqual(
      describeGroup(on).members.map(({ memberId }) => memberId),
      ['b'],
    );
    on.tick();
    assert.equal(
      done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).errorCode,
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
  });
});

describe('offsets', () => {
  const commit = (on: Rig, memberId: string, generation: number, partition: number, more = {}) =>
    done(
      on,
      on.commit({ memberId, generation, offsets: [{ ...offsetOf('t', partition, 7), topicId: t }], ...more }),
    )[0];

  it('are committed at the epoch of the member, or an earlier one at which it had the partition', async () => {
    const on = await world(2);
    assert.equal(commit(on, '', -1, 0), 0, 'nobody is in the group');
    done(on, join(on, 'a'));
    assert.equal(commit(on, 'a', 2, 0), 0);
    assert.equal(commit(on, '', -1, 0), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(commit(on, 'b', 2, 0), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(commit(on, 'a', 3, 0), ErrorCode.STALE_MEMBER_EPOCH);
    assert.equal(commit(on, 'a', 2, 0, { generationOnly: true }), ErrorCode.UNSUPPORTED_VERSION);
    on.metadata.grow('t', t, 3);
    done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    assert.equal(commit(on, 'a', 2, 0), 0, 'it has had it since epoch 1');
    assert.equal(commit(on, 'a', 2, 2), ErrorCode.STALE_MEMBER_EPOCH, 'it got it at epoch 2');
    const producer = { producerId: 9, producerEpoch: 0 };
    assert.equal(commit(on, 'a', 6, 0, { producer }), ErrorCode.STALE_MEMBER_EPOCH);
    // TxnOffsetCommit knew generations only, at first.
    const staleEpochCode = ErrorCode.ILLEGAL_GENERATION;
    assert.equal(commit(on, 'a', 6, 0, { producer, staleEpochCode }), ErrorCode.ILLEGAL_GENERATION);
    assert.equal(commit(on, 'a', 3, 0, { producer }), 0);
    assert.equal(commit(on, '', -1, 0, { producer }), 0, 'a producer that does not say who it is');
  });

  it('are read by whoever is no member, and by members at their epoch', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    const read = (memberId: string | null, memberEpoch: number): number => {
      const answer = new Answer<FetchAnswer>();
      on.shard.fetch(group, null, answer.done, false, { memberId, memberEpoch });
      return done(on, answer).errorCode;
    };
    assert.equal(read(null, -1), 0);
    assert.equal(read('a', 2), 0);
    assert.equal(read('a', 0), ErrorCode.STALE_MEMBER_EPOCH);
    assert.equal(read('x', 2), ErrorCode.UNKNOWN_MEMBER_ID);
  });

  it('go with the group, which has to be empty, or one by one where nobody subscribes', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    commit(on, 'a', 2, 0);
    const forget = (topic: string): OffsetDeleteAnswer => {
      const answer = new Answer<OffsetDeleteAnswer>();
      on.shard.deleteOffsets(group, [{ topic, partitions: [0] }], answer.done);
      return done(on, answer);
    };
    assert.equal(forget('t').topics[0]!.partitions[0]!.errorCode, ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC);
    assert.equal(forget('u').topics[0]!.partitions[0]!.errorCode, 0);
    const remove = (): number => {
      const answer = new Answer<number>();
      on.shard.deleteGroup(group, answer.done);
      return done(on, answer);
    };
    assert.equal(remove(), ErrorCode.NON_EMPTY_GROUP);
    const listed = (): readonly ListedGroup[] => {
      let groups: readonly ListedGroup[] = [];
      on.shard.list((_code, all) => {
        groups = all;
      });
      return groups;
    };
    assert.deepEqual(listed(), [
      { groupId: group, protocolType: 'consumer', state: 'Stable', groupType: 'consumer' },
    ]);
    assert.deepEqual(on.describe(), { state: 'Dead', members: 0 }, 'DescribeGroups is for classic groups');
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    assert.equal(remove(), 0);
    assert.deepEqual(listed(), []);
    const partition = on.shard.partitionOf(group);
    on.shard.unload(partition);
    await on.shard.load(partition);
    assert.deepEqual(listed(), [], 'nor after a load');
  });

  it('of an empty group expire, and the group with them', async () => {
    const on = await world(1, { offsetsRetentionMs: 60_000, offsetsRetentionCheckMs: 10_000 });
    done(on, join(on, 'a'));
    commit(on, 'a', 2, 0);
    for (let i = 0; i < 12; i++) {
      on.tick(8_000);
      assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).errorCode, 0);
    }
    assert.equal(on.fetch().offsets.length, 1, 'it subscribes to the topic');
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    on.tick(70_000);
    assert.equal(on.fetch().offsets.length, 0);
    assert.equal(
      done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).errorCode,
      ErrorCode.GROUP_ID_NOT_FOUND,
    );
  });
});

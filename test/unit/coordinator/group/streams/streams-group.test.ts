/** What members of a streams group are told, one question at a time: joins, epochs, topologies, time, static members, offsets. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ListedGroup } from '../../../../../src/coordinator/group/group-api.ts';
import { statusCodes } from '../../../../../src/coordinator/group/streams/configured-topology.ts';
import type { StreamsHeartbeatAnswer } from '../../../../../src/coordinator/group/streams/streams-group-api.ts';
import type { TaskIds } from '../../../../../src/coordinator/group/streams/tasks.ts';
import type { Topology } from '../../../../../src/coordinator/group/streams/topology.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { join as joinConsumer } from '../consumer/member-client.ts';
import { Answer, group, offsetOf, type Rig, rig, topicIds } from '../fixtures.ts';
import { beat, changelog, describeStreams, join, nothing, part, plain } from './streams-client.ts';

const t = topicIds.t!;
const of = (...partitions: number[]): TaskIds[] => [{ subtopologyId: '0', partitions }];
const active = (...partitions: number[]) => ({ ...nothing, active: of(...partitions) });
const stateful: Topology = {
  epoch: 0,
  subtopologies: [part('0', { sourceTopics: ['t'], stateChangelogTopics: [changelog('counts')] })],
};

async function world(partitions = 4, settings: Parameters<typeof rig>[0] = {}): Promise<Rig> {
  const on = await rig(settings);
  on.metadata.idOf = (name) => on.topics.get(name) ?? null;
  on.streamsLimits = {
    ...on.streamsLimits,
    sessionTimeoutMs: 10_000,
    heartbeatIntervalMs: 3_000,
    assignmentIntervalMs: 0,
    initialDelayMs: 0,
  };
  on.metadata.grow('t', t, partitions);
  return on;
}

/** The answer once the log has taken everything. */
function done<T>(on: Rig, answer: Answer<T>): T {
  on.tick();
  return answer.value;
}

const codesOf = ({ status }: StreamsHeartbeatAnswer): number[] => status.map(({ statusCode }) => statusCode);

describe('joining', () => {
  it('gives everything to the first', async () => {
    const on = await world();
    assert.deepEqual(done(on, join(on, 'a')), {
      errorCode: 0,
      errorMessage: null,
      memberId: 'a',
      memberEpoch: 2,
      heartbeatIntervalMs: 3_000,
      taskOffsetIntervalMs: 60_000,
      acceptableLag: 10_000,
      status: [],
      tasks: active(0, 1, 2, 3),
      endpointEpoch: 0,
      endpoints: null,
      missing: [],
    });
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).tasks, null, 'unchanged');
    const { state, epoch, assignmentEpoch, members } = describeStreams(on);
    assert.deepEqual([state, epoch, assignmentEpoch, members[0]!.memberEpoch], ['Stable', 2, 2, 2]);
  });

  it('names what a join lacks', async () => {
    const on = await world();
    const wrong = [
      { groupId: '' },
      { memberId: '' },
      { rebalanceTimeoutMs: -1 },
      { topology: null },
      { topology: { ...plain, epoch: -1 } },
      {
        topology: { epoch: 0, subtopologies: [part('0', { sourceTopics: ['t'], sourceTopicRegex: ['.*'] })] },
      },
      { active: of(0) },
      { active: null },
      { standby: null },
      { warmup: of(1) },
      { instanceId: '' },
      { rackId: '' },
      { memberEpoch: -3, topology: null },
      { memberEpoch: -2, topology: null },
      { memberEpoch: 3 },
      { taskOffsets: [0, 0].map((offset) => ({ subtopologyId: '0', partition: 1, offset })) },
      { clientTags: [{ key: 'k', value: 'v'.repeat(600_000) }] },
    ];
    for (const query of wrong) {
      const { errorCode, errorMessage } = done(on, join(on, 'b', query));
      assert.equal(errorCode, ErrorCode.INVALID_REQUEST, JSON.stringify(query).slice(0, 200));
      assert.ok(errorMessage !== null && errorMessage.length > 10);
    }
    const sized = {
      ...plain,
      subtopologies: [
        part('0', { sourceTopics: ['t'], stateChangelogTopics: [{ ...changelog('c'), partitions: 2 }] }),
      ],
    };
    assert.equal(done(on, join(on, 'b', { topology: sized })).errorCode, ErrorCode.STREAMS_INVALID_TOPOLOGY);
    assert.equal(describeStreams(on).errorCode, ErrorCode.GROUP_ID_NOT_FOUND, 'nothing is left of it');
    assert.equal(on.log.durable.size, 0);
  });

  it('waits for more members when the group was empty', async () => {
    const on = await world();
    on.streamsLimits = { ...on.streamsLimits, initialDelayMs: 3_000 };
    const first = done(on, join(on, 'a'));
    assert.deepEqual(
      [first.memberEpoch, first.tasks, codesOf(first)],
      [1, nothing, [statusCodes.assignmentDelayed]],
    );
    done(on, join(on, 'b'));
    on.tick(2_999);
    assert.deepEqual(codesOf(done(on, beat(on, { memberId: 'a', memberEpoch: 1 }))), [
      statusCodes.assignmentDelayed,
    ]);
    on.tick(1);
    assert.equal(describeStreams(on).assignmentEpoch, 3, 'the targets come by themselves');
    for (const memberId of ['a', 'b']) {
      const { memberEpoch, tasks, status } = done(on, beat(on, { memberId, memberEpoch: 1 }));
      assert.deepEqual([memberEpoch, tasks!.active[0]!.partitions.length, status], [3, 2, []]);
    }
  });

  it('assigns no more often than it may', async () => {
    const on = await world();
    on.streamsLimits = { ...on.streamsLimits, assignmentIntervalMs: 5_000 };
    done(on, join(on, 'a'));
    const second = done(on, join(on, 'b'));
    assert.deepEqual([second.memberEpoch, codesOf(second)], [2, [statusCodes.assignmentDelayed]]);
    assert.equal(describeStreams(on).state, 'Assigning');
    on.tick(5_000);
    assert.deepEqual(done(on, beat(on, { memberId: 'b', memberEpoch: 2 })).status, []);
    assert.equal(describeStreams(on).state, 'Reconciling');
  });

  it('takes no more members than it may', async () => {
    const on = await world();
    on.streamsLimits = { ...on.streamsLimits, membersMax: 1 };
    done(on, join(on, 'a'));
    assert.equal(done(on, join(on, 'b')).errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED);
    assert.equal(done(on, join(on, 'a')).errorCode, 0);
  });

  it('is refused with the log, and changes nothing', async () => {
    const on = await world();
    on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    assert.equal(done(on, join(on, 'a')).errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    on.log.refusal = 0;
    assert.equal(describeStreams(on).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    on.log.hold = true;
    const waits = join(on, 'a');
    on.tick();
    assert.equal(waits.given, false, 'no answer before it is durable');
    on.log.release();
    assert.equal(done(on, waits).memberEpoch, 2);
  });
});

describe('epochs', () => {
  it('fence who has another one, unless an answer may have been lost', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    done(on, beat(on, { memberId: 'a', memberEpoch: 2, ...active(0, 1, 2, 3) }));
    const code = (query: object): number => done(on, beat(on, { memberId: 'a', ...query })).errorCode;
    assert.equal(code({ memberEpoch: 3 }), ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(code({ memberEpoch: 1, ...nothing }), ErrorCode.FENCED_MEMBER_EPOCH);
    assert.equal(code({ memberId: 'x', memberEpoch: 2 }), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(code({ groupId: 'other', memberEpoch: 2 }), ErrorCode.GROUP_ID_NOT_FOUND);
    on.metadata.grow('t', t, 5);
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).memberEpoch, 3);
    assert.equal(code({ memberEpoch: 2 }), ErrorCode.FENCED_MEMBER_EPOCH, 'it does not say what it has');
    assert.equal(code({ memberEpoch: 2, ...active(0, 9) }), ErrorCode.FENCED_MEMBER_EPOCH, 'it has more');
    assert.equal(
      code({ memberEpoch: 3, ...active(0, 9) }),
      ErrorCode.INVALID_REQUEST,
      'there is no such task',
    );
    const again = done(on, beat(on, { memberId: 'a', memberEpoch: 2, ...active(0, 1, 2, 3) }));
    assert.deepEqual([again.memberEpoch, again.tasks], [3, active(0, 1, 2, 3, 4)], 'it is told again');
  });

  it('wait for what is given up, and tell again whoever has not heard it', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    done(on, join(on, 'b'));
    const told = done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    assert.deepEqual([told.memberEpoch, told.tasks], [2, active(0, 1)]);
    assert.equal(done(on, beat(on, { memberId: 'b', memberEpoch: 3 })).tasks, null, 'still at a');
    const unheard = done(on, beat(on, { memberId: 'a', memberEpoch: 2, ...active(0, 1, 2, 3) }));
    assert.deepEqual(unheard.tasks, active(0, 1), 'its answer was lost');
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch: 2, ...active(0, 1) })).memberEpoch, 3);
    assert.deepEqual(done(on, beat(on, { memberId: 'b', memberEpoch: 3 })).tasks, active(2, 3));
    assert.equal(describeStreams(on).state, 'Stable');
  });
});

describe('a topology', () => {
  it('waits for its source topics, and for internal topics of the right size', async () => {
    const on = await world();
    on.metadata.drop('t');
    const first = done(on, join(on, 'a', { topology: stateful }));
    assert.deepEqual(
      [codesOf(first), first.tasks, first.memberEpoch],
      [[statusCodes.missingSourceTopics], nothing, 2],
    );
    assert.equal(describeStreams(on).state, 'NotReady');
    on.metadata.grow('t', t, 2);
    const second = done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    assert.deepEqual(codesOf(second), [statusCodes.missingInternalTopics]);
    assert.deepEqual(second.missing, [{ name: 'counts', partitions: 2, replicationFactor: 0, configs: {} }]);
    on.metadata.grow('counts', 'wrong', 3);
    const third = done(on, beat(on, { memberId: 'a', memberEpoch: second.memberEpoch }));
    assert.deepEqual([codesOf(third), third.missing], [[statusCodes.incorrectlyPartitionedTopics], []]);
    on.metadata.grow('counts', 'right', 2);
    const { status, tasks, memberEpoch } = done(
      on,
      beat(on, { memberId: 'a', memberEpoch: third.memberEpoch }),
    );
    assert.deepEqual([status, tasks], [[], active(0, 1)]);
    // Without its source nothing runs any more.
    on.metadata.drop('t');
    const gone = done(on, beat(on, { memberId: 'a', memberEpoch }));
    assert.deepEqual([codesOf(gone), gone.tasks], [[statusCodes.missingSourceTopics], nothing]);
  });

  it('stays for the life of the group', async () => {
    const on = await world();
    const newer = { ...plain, epoch: 3 };
    done(on, join(on, 'a', { topology: newer }));
    const old = done(on, join(on, 'b', { topology: plain }));
    assert.deepEqual([old.errorCode, codesOf(old)], [0, [statusCodes.staleTopology]]);
    const other = { epoch: 3, subtopologies: [part('7', { sourceTopics: ['t'] })] };
    for (const topology of [other, { ...plain, epoch: 4 }])
      assert.equal(done(on, join(on, 'c', { topology })).errorCode, ErrorCode.INVALID_REQUEST);
    assert.deepEqual(codesOf(done(on, join(on, 'c', { topology: newer }))), []);
    assert.equal(describeStreams(on).topology!.epoch, 3);
  });

  it('is told with the sizes of its internal topics as soon as all is there', async () => {
    const on = await world(3);
    const of = (): unknown => {
      const { changelogs } = describeStreams(on).topology!.subtopologies[0]!;
      return changelogs.map(({ name, partitions }) => [name, partitions]);
    };
    done(on, join(on, 'a', { topology: stateful }));
    assert.deepEqual(of(), [['counts', 0]]);
    on.metadata.grow('counts', 'c', 3);
    done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    assert.deepEqual(of(), [['counts', 3]]);
  });

  it('gets another epoch when topics or configs change that targets depend on, and none for others', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    const epoch = (): number => {
      done(on, beat(on, { memberId: 'a', memberEpoch: describeStreams(on).members[0]!.memberEpoch }));
      return describeStreams(on).epoch;
    };
    on.metadata.grow('u', topicIds.u!, 7);
    assert.equal(epoch(), 2, 'a topic of somebody else');
    on.metadata.grow('t', t, 6);
    assert.equal(epoch(), 3);
    on.metadata.grow('t', 'made anew', 6);
    assert.equal(epoch(), 4, 'of the same size, and yet another topic');
    on.streamsLimits = { ...on.streamsLimits, standbyReplicas: 1 };
    assert.equal(epoch(), 5);
    on.streamsLimits = { ...on.streamsLimits, rackTags: ['zone'] };
    assert.equal(epoch(), 6);
    on.streamsLimits = { ...on.streamsLimits, heartbeatIntervalMs: 9_000 };
    assert.equal(epoch(), 6);
  });
});

describe('time', () => {
  it('drops who is silent for a session, which a load begins anew', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    on.tick(9_000);
    const partition = on.shard.partitionOf(group);
    on.shard.unload(partition);
    await on.shard.load(partition);
    on.tick(9_000);
    assert.equal(describeStreams(on).members.length, 1, 'a new owner cannot know how long it was silent');
    on.tick(1_001);
    assert.equal(describeStreams(on).state, 'Empty');
  });

  it('fences who does not give up in time', async () => {
    const on = await world();
    on.streamsLimits = { ...on.streamsLimits, sessionTimeoutMs: 60_000 };
    done(on, join(on, 'a'));
    done(on, join(on, 'b'));
    done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    on.tick(19_999);
    assert.equal(describeStreams(on).members.length, 2);
    on.tick(1);
    assert.deepEqual(
      describeStreams(on).members.map(({ memberId }) => memberId),
      ['b'],
    );
    assert.deepEqual(done(on, beat(on, { memberId: 'b', memberEpoch: 3 })).tasks, active(0, 1, 2, 3));
  });
});

describe('a static member', () => {
  const still = { instanceId: 'pod', processId: 'the pod' };

  it('keeps its tasks while it is away, and the one in its place gets them', async () => {
    const on = await world();
    done(on, join(on, 'a', still));
    done(on, join(on, 'b', still));
    assert.equal(done(on, join(on, 'b', still)).errorCode, ErrorCode.UNRELEASED_INSTANCE_ID);
    const { errorCode, memberEpoch } = done(
      on,
      beat(on, { memberId: 'a', instanceId: 'pod', memberEpoch: -2 }),
    );
    assert.deepEqual([errorCode, memberEpoch], [0, -2]);
    const { epoch } = describeStreams(on);
    const back = done(on, join(on, 'b', still));
    assert.deepEqual([back.errorCode, back.tasks], [0, active(0, 1, 2, 3)]);
    assert.equal(describeStreams(on).epoch, epoch, 'nothing moves');
    const code = (query: object): number => done(on, beat(on, query)).errorCode;
    assert.equal(code({ memberId: 'a', instanceId: 'pod', memberEpoch: 2 }), ErrorCode.FENCED_INSTANCE_ID);
    assert.equal(code({ memberId: 'b', instanceId: 'x', memberEpoch: 2 }), ErrorCode.UNKNOWN_MEMBER_ID);
    // Another process has other state.
    done(on, beat(on, { memberId: 'b', instanceId: 'pod', memberEpoch: -2 }));
    done(on, join(on, 'c', { ...still, processId: 'another' }));
    assert.equal(describeStreams(on).epoch, epoch + 1);
  });

  it('loses its place after a session', async () => {
    const on = await world();
    done(on, join(on, 'a', still));
    done(on, beat(on, { memberId: 'a', instanceId: 'pod', memberEpoch: -2 }));
    on.tick(10_001);
    assert.equal(describeStreams(on).state, 'Empty');
  });
});

describe('the whole application', () => {
  it('ends when a member says so, until the group is empty', async () => {
    const on = await world();
    const { memberEpoch } = done(on, join(on, 'a'));
    assert.deepEqual(codesOf(done(on, beat(on, { memberId: 'a', memberEpoch, shutdown: true }))), [
      statusCodes.shutdownApplication,
    ]);
    assert.deepEqual(codesOf(done(on, join(on, 'b'))), [statusCodes.shutdownApplication]);
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    done(on, beat(on, { memberId: 'b', memberEpoch: -1 }));
    assert.deepEqual(codesOf(done(on, join(on, 'a'))), []);
  });

  it('says who answers questions about which partitions', async () => {
    const on = await world(2);
    const endpoint = { host: 'here', port: 99 };
    const first = done(on, join(on, 'a', { endpoint }));
    assert.deepEqual(first.endpoints, [
      { endpoint, active: [{ topic: 't', partitions: [0, 1] }], standby: [] },
    ]);
    const { endpointEpoch, memberEpoch } = first;
    assert.equal(done(on, beat(on, { memberId: 'a', memberEpoch, endpointEpoch })).endpoints, null, 'known');
    done(on, join(on, 'b'));
    const told = done(on, beat(on, { memberId: 'a', memberEpoch, endpointEpoch }));
    assert.deepEqual(told.endpoints![0]!.active, [{ topic: 't', partitions: [0] }]);
    assert.ok(told.endpointEpoch > endpointEpoch);
  });

  it('misses client tags, which version 0 cannot be told', async () => {
    const on = await world();
    on.streamsLimits = { ...on.streamsLimits, rackTags: ['zone', 'rack'] };
    const { status, memberEpoch } = done(on, join(on, 'a', { clientTags: [{ key: 'zone', value: 'z' }] }));
    assert.deepEqual(
      status.map(({ statusCode }) => statusCode),
      [statusCodes.missingClientTags],
    );
    assert.match(status[0]!.statusDetail, /\[rack\]/);
    assert.deepEqual(done(on, beat(on, { memberId: 'a', memberEpoch, version: 0 })).status, []);
  });
});

describe('warm-ups', () => {
  const offsets = (offset: number) => [{ subtopologyId: '0', partition: 1, offset }];

  it('let a task run where its state is until it is elsewhere', async () => {
    const on = await world(2);
    on.metadata.grow('counts', 'c', 2);
    on.streamsLimits = { ...on.streamsLimits, warmupReplicas: 1, acceptableLag: 10 };
    done(on, join(on, 'a', { topology: stateful }));
    const warm = done(on, join(on, 'b', { topology: stateful }));
    assert.deepEqual(warm.tasks, { ...nothing, warmup: of(1) });
    assert.deepEqual(
      done(on, beat(on, { memberId: 'a', memberEpoch: 2 })).tasks,
      null,
      'it runs all of them',
    );
    const told = { memberId: 'b', memberEpoch: 3, taskEndOffsets: offsets(100) };
    assert.equal(done(on, beat(on, { ...told, taskOffsets: offsets(80) })).memberEpoch, 3);
    const ready = done(on, beat(on, { ...told, taskOffsets: offsets(95) }));
    assert.deepEqual([ready.memberEpoch, ready.tasks], [4, null], 'it waits, with its warm-up');
    const gives = done(on, beat(on, { memberId: 'a', memberEpoch: 3 }));
    assert.deepEqual(gives.tasks, active(0));
    done(on, beat(on, { memberId: 'a', memberEpoch: 3, ...active(0) }));
    assert.deepEqual(done(on, beat(on, { memberId: 'b', memberEpoch: 4 })).tasks, active(1));
    assert.equal(describeStreams(on).state, 'Stable');
  });

  it('are left out where the one that ran the task is gone', async () => {
    const on = await world(2);
    on.metadata.grow('counts', 'c', 2);
    on.streamsLimits = { ...on.streamsLimits, warmupReplicas: 1 };
    done(on, join(on, 'a', { topology: stateful }));
    done(on, join(on, 'b', { topology: stateful }));
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    assert.deepEqual(done(on, beat(on, { memberId: 'b', memberEpoch: 3 })).tasks, active(0, 1));
  });
});

describe('other kinds of groups', () => {
  it('share no id with a streams group, but for empty classic ones', async () => {
    const on = await world();
    done(on, on.commit({ offsets: [offsetOf('t', 0, 7)] }));
    done(on, join(on, 'a'));
    assert.equal(describeStreams(on).state, 'Stable', 'offsets alone are an empty classic group');
    assert.equal(on.fetch().offsets[0]!.offset, 7, 'which stay');
    assert.equal(on.join().value.errorCode, ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    assert.equal(done(on, joinConsumer(on, 'b')).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    assert.equal(on.heartbeat('a', 2), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(
      on.sync({ memberId: 'a', generation: 2 }).value.errorCode,
      ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
    );
    assert.equal(
      on.leave([{ memberId: 'a', instanceId: null }]).members[0]!.errorCode,
      ErrorCode.UNKNOWN_MEMBER_ID,
    );
    assert.equal(on.describe().state, 'Dead', 'it is no classic group');
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    assert.equal(done(on, joinConsumer(on, 'b')).errorCode, ErrorCode.GROUP_ID_NOT_FOUND, 'nor an empty one');
    const classic = on.join();
    on.tick();
    assert.equal(classic.value.errorCode, 0);
    assert.equal(describeStreams(on).errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
    assert.equal(
      done(on, join(on, 'a')).errorCode,
      ErrorCode.GROUP_ID_NOT_FOUND,
      'a classic group with members',
    );
  });

  it('are told apart in lists, and by deletion', async () => {
    const on = await world();
    done(on, join(on, 'a'));
    const listed = (): readonly ListedGroup[] => {
      const answer = new Answer<readonly ListedGroup[]>();
      on.shard.list((_code, groups) => answer.done(groups));
      return answer.value;
    };
    assert.deepEqual(listed(), [
      { groupId: group, protocolType: 'streams', state: 'Stable', groupType: 'streams' },
    ]);
    const deleted = (): number => {
      const answer = new Answer<number>();
      on.shard.deleteGroup(group, answer.done);
      return done(on, answer);
    };
    assert.equal(deleted(), ErrorCode.NON_EMPTY_GROUP);
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    assert.equal(deleted(), 0);
    assert.deepEqual(listed(), []);
    const partition = on.shard.partitionOf(group);
    on.shard.unload(partition);
    await on.shard.load(partition);
    assert.deepEqual(listed(), [], 'nor after a load');
  });
});

describe('offsets', () => {
  const commit = (on: Rig, memberId: string, generation: number, partition: number, more = {}) =>
    done(
      on,
      on.commit({ memberId, generation, offsets: [{ ...offsetOf('t', partition, 7), topicId: t }], ...more }),
    )[0];

  it('are committed at the epoch of the member, or an earlier one at which it ran the task', async () => {
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
    assert.equal(commit(on, 'a', 2, 0), 0, 'it has run it since epoch 2');
    assert.equal(commit(on, 'a', 2, 2), ErrorCode.STALE_MEMBER_EPOCH, 'it got it at epoch 3');
    const other = { offsets: [{ ...offsetOf('u', 0, 7), topicId: topicIds.u! }] };
    assert.equal(commit(on, 'a', 2, 0, other), ErrorCode.STALE_MEMBER_EPOCH, 'no task reads that');
    const producer = { producerId: 9, producerEpoch: 0 };
    assert.equal(
      commit(on, 'a', 6, 0, { producer, staleEpochCode: ErrorCode.ILLEGAL_GENERATION }),
      ErrorCode.ILLEGAL_GENERATION,
    );
    assert.equal(commit(on, 'a', 6, 0, { producer }), ErrorCode.STALE_MEMBER_EPOCH);
    assert.equal(commit(on, 'a', 3, 0, { producer, generationOnly: true }), 0);
    assert.equal(commit(on, '', -1, 0, { producer }), 0, 'a producer that does not say who it is');
  });

  it('are committed for what is being given up', async () => {
    const on = await world(2);
    done(on, join(on, 'a'));
    done(on, join(on, 'b'));
    done(on, beat(on, { memberId: 'a', memberEpoch: 2 }));
    assert.equal(commit(on, 'a', 2, 1), 0);
    const gave = done(on, beat(on, { memberId: 'a', memberEpoch: 2, ...active(0) }));
    assert.equal(commit(on, 'a', gave.memberEpoch - 1, 1), ErrorCode.STALE_MEMBER_EPOCH, 'it is given up');
    assert.equal(commit(on, 'a', gave.memberEpoch - 1, 0), 0);
  });

  it('are read by members at their epoch, and by whoever is none; those of its sources do not expire', async () => {
    const on = await world(2, { offsetsRetentionMs: 1_000, offsetsRetentionCheckMs: 500 });
    done(on, join(on, 'a'));
    commit(on, 'a', 2, 0);
    const read = (memberId: string | null, memberEpoch: number): number => {
      const answer = new Answer<{ readonly errorCode: number }>();
      on.shard.fetch(group, null, answer.done, false, { memberId, memberEpoch });
      return done(on, answer).errorCode;
    };
    assert.deepEqual(
      [read('a', 2), read('a', 1), read('x', 2), read(null, -1)],
      [0, ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID, 0],
    );
    on.tick(2_000);
    assert.equal(on.fetch().offsets.length, 1, 'it consumes');
    done(on, beat(on, { memberId: 'a', memberEpoch: -1 }));
    on.tick(2_000);
    on.tick();
    assert.equal(on.fetch().offsets.length, 0);
    assert.equal(describeStreams(on).errorCode, ErrorCode.GROUP_ID_NOT_FOUND, 'nothing is left in it');
  });
});

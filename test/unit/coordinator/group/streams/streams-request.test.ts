/** What is wrong with a heartbeat of Kafka Streams by itself, and what it changes of its member. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConfiguredTopology } from '../../../../../src/coordinator/group/streams/configured-topology.ts';
import type { StreamsHeartbeatQuery } from '../../../../../src/coordinator/group/streams/streams-group-api.ts';
import {
  isPlacedAlike,
  offsetsOf,
  ownedOf,
  requestProblem,
  taskProblem,
  updatedMetadata,
} from '../../../../../src/coordinator/group/streams/streams-request.ts';
import {
  heldSet,
  holdsNothing,
  isWithin,
  listsAny,
  listsExactly,
  nothingHeld,
  sameHeld,
  taskLists,
  taskSetOf,
} from '../../../../../src/coordinator/group/streams/tasks.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';

const topology = { epoch: 0, subtopologies: [] } as unknown as NonNullable<StreamsHeartbeatQuery['topology']>;
const joining = {
  groupId: 'g',
  memberId: 'm',
  memberEpoch: 0,
  endpointEpoch: 0,
  instanceId: null,
  rackId: null,
  rebalanceTimeoutMs: 1_000,
  topology,
  active: [],
  standby: [],
  warmup: [],
  processId: 'p',
  endpoint: null,
  clientTags: null,
  taskOffsets: null,
  taskEndOffsets: null,
  shutdown: false,
  clientId: 'c',
  clientHost: '/h',
  version: 0,
} satisfies StreamsHeartbeatQuery;
const staying = { ...joining, memberEpoch: 3, topology: null, rebalanceTimeoutMs: -1, processId: null };

function problem(query: StreamsHeartbeatQuery, bytesMax = 10_000): string | null {
  const found = requestProblem(query, bytesMax);
  if (found === null) return null;
  assert.equal(found.errorCode, ErrorCode.INVALID_REQUEST);
  return found.errorMessage;
}

describe('a heartbeat of Kafka Streams', () => {
  it('that joins, stays or leaves has nothing wrong', () => {
    assert.equal(problem(joining), null);
    assert.equal(problem(staying), null);
    assert.equal(problem({ ...staying, memberEpoch: -1 }), null);
    assert.equal(problem({ ...staying, memberEpoch: -2, instanceId: 'i' }), null);
    assert.equal(problem({ ...staying, active: null, standby: null, warmup: null }), null);
  });

  it('names itself without blanks', () => {
    for (const [field, name] of [
      ['memberId', 'MemberId'],
      ['groupId', 'GroupId'],
      ['instanceId', 'InstanceId'],
      ['rackId', 'RackId'],
    ] as const)
      for (const text of ['', ' '])
        assert.equal(problem({ ...staying, [field]: text }), `${name} can't be empty.`);
  });

  it('that joins says all that a first one must', () => {
    assert.equal(
      problem({ ...joining, rebalanceTimeoutMs: -1 }),
      'RebalanceTimeoutMs must be provided in first request.',
    );
    for (const [field, name] of [
      ['active', 'ActiveTasks'],
      ['standby', 'StandbyTasks'],
      ['warmup', 'WarmupTasks'],
    ] as const)
      for (const list of [null, [{ subtopologyId: 's', partitions: [] }]])
        assert.equal(problem({ ...joining, [field]: list }), `${name} must be empty when (re-)joining.`);
    assert.equal(problem({ ...joining, topology: null }), 'Topology must be non-null when (re-)joining.');
    assert.equal(
      problem({ ...joining, topology: { ...topology, epoch: -1 } }),
      'Topology epoch must be non-negative.',
    );
    const changelog = (partitions: number) => ({
      ...joining,
      topology: {
        ...topology,
        subtopologies: [{ sourceTopicRegex: [], stateChangelogTopics: [{ name: 'l', partitions }] }],
      } as unknown as typeof topology,
    });
    assert.equal(problem(changelog(0)), null);
    assert.deepEqual(requestProblem(changelog(1), 10_000), {
      errorCode: ErrorCode.STREAMS_INVALID_TOPOLOGY,
      errorMessage: 'Changelog topic l must have an undefined partition count, but it is set to 1.',
    });
  });

  it('has an epoch that there is, and a topology with the first only', () => {
    assert.equal(problem({ ...staying, memberEpoch: -2 }), "InstanceId can't be null.");
    assert.equal(
      problem({ ...staying, memberEpoch: -3, instanceId: 'i' }),
      'MemberEpoch is -3, but must be greater than or equal to -2.',
    );
    for (const memberEpoch of [1, -1])
      assert.equal(
        problem({ ...staying, memberEpoch, topology }),
        'Topology can only be provided when (re-)joining.',
      );
    const regular = {
      ...topology,
      subtopologies: [{ sourceTopicRegex: ['a.*'] }],
    } as unknown as typeof topology;
    assert.match(problem({ ...joining, topology: regular })!, /Regular expressions/);
  });

  it('tells of all kinds of tasks or of none', () => {
    for (const missing of [['active'], ['standby'], ['warmup'], ['active', 'standby'], ['standby', 'warmup']])
      assert.equal(
        problem({ ...staying, ...Object.fromEntries(missing.map((name) => [name, null])) }),
        'If one task-type is non-null, all must be non-null.',
      );
  });

  it('is no longer than what there is room for', () => {
    const tags = { ...staying, clientTags: [{ key: 'k', value: 'v' }] };
    const length = JSON.stringify([tags.clientTags]).length;
    assert.equal(problem(tags, length), null);
    assert.match(problem(tags, length - 1)!, /longer than/);
    assert.equal(problem(staying, 0), null, 'it tells nothing of itself');
  });

  it('names at most 100,000 tasks, each list counting one more', () => {
    const tasks = (n: number) => [{ subtopologyId: 's', partitions: Array.from({ length: n }, (_, i) => i) }];
    assert.equal(problem({ ...staying, active: tasks(99_999) }), null);
    assert.match(problem({ ...staying, active: tasks(100_000) })!, /more than 100000 tasks/);
    assert.match(problem({ ...staying, active: tasks(50_000), warmup: tasks(50_000) })!, /more than 100000/);
    const offsets = (n: number) =>
      Array.from({ length: n }, (_, partition) => ({ subtopologyId: 's', partition, offset: 0 }));
    for (const field of ['taskOffsets', 'taskEndOffsets']) {
      assert.equal(problem({ ...staying, [field]: offsets(100_000) }), null);
      assert.match(problem({ ...staying, [field]: offsets(100_001) })!, /more than 100000/);
    }
  });
});

describe('tasks that a client tells of', () => {
  const configured = { subtopologies: [{ id: 's', tasks: 2 }] } as unknown as ConfiguredTopology;
  const owning = (subtopologyId: string, ...partitions: number[]) => ({
    active: [],
    standby: [],
    warmup: [{ subtopologyId, partitions }],
  });

  it('are those of the topology', () => {
    assert.equal(taskProblem(null, configured), null);
    assert.equal(taskProblem(owning('s', 0, 1), configured), null);
    assert.equal(
      taskProblem(owning('x'), configured)!.errorMessage,
      'Subtopology x does not exist in the topology.',
    );
    for (const partition of [2, -1])
      assert.equal(
        taskProblem(owning('s', 0, partition), configured)!.errorMessage,
        `Task ${partition} for subtopology s is invalid. Number of tasks for this subtopology: 2`,
      );
  });

  it('are told whole or not at all', () => {
    assert.deepEqual(ownedOf(staying), { active: [], standby: [], warmup: [] });
    for (const field of ['active', 'standby', 'warmup'])
      assert.equal(ownedOf({ ...staying, [field]: null }), null);
  });

  it('have one offset each', () => {
    const told = [
      { subtopologyId: 's', partition: 0, offset: 5 },
      { subtopologyId: 't', partition: 0, offset: 6 },
    ];
    assert.deepEqual(
      [...(offsetsOf(told) as Map<string, number>)],
      [
        ['0_s', 5],
        ['0_t', 6],
      ],
    );
    assert.deepEqual(offsetsOf([...told, told[0]!]), {
      errorCode: ErrorCode.INVALID_REQUEST,
      errorMessage: 'Task offsets contain a duplicate entry for subtopology s and partition 0.',
    });
  });

  it('are compared with what the member holds, role by role', () => {
    const held = {
      ...nothingHeld,
      active: new Map([
        [
          's',
          new Map([
            [10, 1],
            [2, 4],
          ]),
        ],
      ]),
    };
    const lists = (role: string, ...partitions: number[]) => ({
      active: [],
      standby: [],
      warmup: [],
      [role]: [{ subtopologyId: 's', partitions }],
    });
    assert.equal(isWithin(lists('active', 2), held), true);
    assert.equal(isWithin(lists('active', 2, 3), held), false);
    assert.equal(isWithin(lists('standby', 2), held), false);
    assert.equal(isWithin(null, held), false);
    assert.equal(listsAny(null, held), true);
    assert.equal(listsAny(lists('active', 3, 2), held), true);
    assert.equal(listsAny(lists('active', 3), held), false);
    assert.equal(listsAny(lists('warmup', 2), held), false);
    assert.equal(listsExactly(lists('active', 10, 2), held), true);
    assert.equal(listsExactly(lists('active', 2), held), false);
    assert.equal(listsExactly(lists('standby', 2, 10), held), false);
    assert.deepEqual([...heldSet(held.active)], [['s', [2, 10]]]);
    assert.deepEqual([holdsNothing(held), holdsNothing(nothingHeld)], [false, true]);
    assert.equal(sameHeld(held, { ...held, active: new Map(held.active) }), true);
    assert.equal(sameHeld(held, nothingHeld), false);
    assert.equal(sameHeld(held, { ...held, standby: held.active }), false);
    const set = taskSetOf([
      { subtopologyId: 'b', partitions: [3, 1] },
      { subtopologyId: 'a', partitions: [2] },
      { subtopologyId: 'c', partitions: [] },
    ]);
    assert.deepEqual(
      [...set],
      [
        ['a', [2]],
        ['b', [1, 3]],
      ],
    );
    assert.deepEqual(
      taskLists(new Map([...set].reverse())).map(({ subtopologyId }) => subtopologyId),
      ['a', 'b'],
    );
  });
});

describe('a member of Kafka Streams', () => {
  const known = updatedMetadata(null, {
    ...joining,
    instanceId: 'i',
    rackId: 'r',
    endpoint: { host: 'h', port: 1 },
    clientTags: [{ key: 'k', value: 'v' }],
  });

  it('is what its first heartbeat says', () => {
    assert.deepEqual(
      { ...known, clientTags: [...known.clientTags] },
      {
        instanceId: 'i',
        rackId: 'r',
        clientId: 'c',
        clientHost: '/h',
        rebalanceTimeoutMs: 1_000,
        topologyEpoch: 0,
        processId: 'p',
        endpoint: { host: 'h', port: 1 },
        clientTags: [['k', 'v']],
      },
    );
    const least = updatedMetadata(null, { ...staying, rebalanceTimeoutMs: -1 });
    assert.deepEqual(
      [least.rebalanceTimeoutMs, least.topologyEpoch, least.processId, least.endpoint, least.clientTags.size],
      [-1, -1, '', null, 0],
    );
  });

  it('stays the same object while nothing changes', () => {
    assert.equal(updatedMetadata(known, staying), known);
    assert.equal(updatedMetadata(known, { ...staying, clientTags: [{ key: 'k', value: 'v' }] }), known);
  });

  it('changes with each thing that a heartbeat says anew', () => {
    for (const [field, value, placed] of [
      ['clientId', 'd', true],
      ['clientHost', '/i', true],
      ['instanceId', 'j', true],
      ['rebalanceTimeoutMs', 2_000, true],
      ['endpoint', { host: 'h', port: 2 }, true],
      ['endpoint', { host: 'x', port: 1 }, true],
      ['rackId', 's', false],
      ['processId', 'q', false],
      ['clientTags', [], false],
      ['clientTags', [{ key: 'k', value: 'w' }], false],
      ['clientTags', [{ key: 'l', value: 'v' }], false],
      ['topology', { ...topology, epoch: 1 }, false],
    ] as const) {
      const next = updatedMetadata(known, { ...staying, [field]: value } as StreamsHeartbeatQuery);
      assert.notEqual(next, known, field);
      assert.equal(isPlacedAlike(known, next), placed, field);
    }
  });

  it('that joins without an endpoint has none', () => {
    assert.equal(updatedMetadata(known, joining).endpoint, null);
    assert.deepEqual(updatedMetadata(known, staying).endpoint, { host: 'h', port: 1 });
  });
});

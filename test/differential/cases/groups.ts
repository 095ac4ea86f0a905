/** Classic groups, step by step: joins, generations, commits, static members, and who is not who he says. */
import { DeleteGroupsCodec } from '../../../src/protocol/generated/delete-groups.ts';
import { DescribeGroupsCodec } from '../../../src/protocol/generated/describe-groups.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { HeartbeatCodec } from '../../../src/protocol/generated/heartbeat.ts';
import {
  JoinGroupCodec,
  type JoinGroupRequestInput,
  type JoinGroupResponse,
} from '../../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../../src/protocol/generated/leave-group.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { SyncGroupCodec } from '../../../src/protocol/generated/sync-group.ts';
import type { Case, Side } from '../side.ts';
import { coordinator, createTopic } from './topics.ts';

const bytes = (text: string): Buffer => Buffer.from(text);

function joining(groupId: string, more: JoinGroupRequestInput = {}): JoinGroupRequestInput {
  return {
    groupId,
    sessionTimeoutMs: 30_000,
    rebalanceTimeoutMs: 30_000,
    memberId: '',
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: bytes('subscription') }],
    ...more,
  };
}

/** A group of one member in its first generation. */
async function stable(
  side: Side,
  group: string,
  version = 7,
  more: JoinGroupRequestInput = {},
): Promise<JoinGroupResponse> {
  await coordinator(side, group);
  const first = (await side.ask('join', JoinGroupCodec, version, joining(group, more)))!;
  const joined =
    first.errorCode === 79
      ? (await side.ask(
          'join as told',
          JoinGroupCodec,
          version,
          joining(group, { ...more, memberId: first.memberId }),
        ))!
      : first;
  await side.ask('sync', SyncGroupCodec, 5, {
    groupId: group,
    generationId: joined.generationId,
    memberId: joined.memberId,
    groupInstanceId: more.groupInstanceId ?? null,
    protocolType: 'consumer',
    protocolName: 'range',
    assignments: [{ memberId: joined.memberId, assignment: bytes('all') }],
  });
  return joined;
}

function commit(
  groupId: string,
  topic: string,
  generationIdOrMemberEpoch: number,
  memberId: string,
  more: object = {},
) {
  return {
    groupId,
    generationIdOrMemberEpoch,
    memberId,
    topics: [
      {
        name: topic,
        partitions: [{ partitionIndex: 0, committedOffset: 7, committedMetadata: 'm', ...more }],
      },
    ],
  };
}

const joins: readonly Case[] = [
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((version) => ({
    name: `group of one, version ${version}`,
    run: async (side: Side, group: string) => {
      const { generationId, memberId } = await stable(side, group, version);
      await side.ask('alive', HeartbeatCodec, 3, { groupId: group, generationId, memberId });
      await side.ask('looked at', DescribeGroupsCodec, 5, { groups: [group] });
      await side.ask('left', LeaveGroupCodec, 3, { groupId: group, members: [{ memberId }] });
      await side.ask('looked at again', DescribeGroupsCodec, 5, { groups: [group] });
    },
  })),
  ...(
    [
      ['no group', { groupId: '' }],
      ['a short session', { sessionTimeoutMs: 1 }],
      ['a long session', { sessionTimeoutMs: 100_000_000 }],
      ['no protocols', { protocols: [] }],
      ['no protocol type', { protocolType: '' }],
      ['a member nobody knows', { memberId: 'me' }],
      ['a negative rebalance time', { rebalanceTimeoutMs: -1 }],
    ] as const
  ).map(([name, more]) => ({
    name: `group joined with ${name}`,
    run: async (side: Side, group: string) => {
      await coordinator(side, group);
      await side.ask('join', JoinGroupCodec, 7, joining(group, more));
      await side.ask('join, old', JoinGroupCodec, 2, joining(group, more));
    },
  })),
  {
    name: 'group joined with another protocol',
    run: async (side, group) => {
      await stable(side, group);
      await side.ask('other type', JoinGroupCodec, 3, joining(group, { protocolType: 'connect' }), 'other');
      await side.ask(
        'other name',
        JoinGroupCodec,
        3,
        joining(group, { protocols: [{ name: 'sticky', metadata: bytes('x') }] }),
        'other',
      );
    },
  },
  {
    name: 'group of two',
    run: async (side, group) => {
      const one = await stable(side, group);
      const second = side.ask('second joins', JoinGroupCodec, 3, joining(group), 'other');
      // The first hears of it by its heartbeat.
      await side.until(
        HeartbeatCodec,
        3,
        { groupId: group, generationId: one.generationId, memberId: one.memberId },
        ({ errorCode }) => errorCode === 27,
      );
      const again = (await side.prepare(JoinGroupCodec, 7, joining(group, { memberId: one.memberId })))!;
      const two = (await second)!;
      await side.ask('old generation', HeartbeatCodec, 3, {
        groupId: group,
        generationId: one.generationId,
        memberId: one.memberId,
      });
      await side.ask(
        'commit before the sync',
        OffsetCommitCodec,
        7,
        commit(group, 't', again.generationId, one.memberId),
      );
      const assignments = [one.memberId, two.memberId].map((memberId) => ({
        memberId,
        assignment: bytes('half'),
      }));
      const sync = { groupId: group, generationId: again.generationId, groupInstanceId: null };
      await side.ask('first syncs', SyncGroupCodec, 3, { ...sync, memberId: one.memberId, assignments });
      await side.ask('second syncs', SyncGroupCodec, 3, { ...sync, memberId: two.memberId, assignments: [] });
      await side.ask('second leaves', LeaveGroupCodec, 3, {
        groupId: group,
        members: [{ memberId: two.memberId }],
      });
      await side.ask('first is told', HeartbeatCodec, 3, {
        groupId: group,
        generationId: again.generationId,
        memberId: one.memberId,
      });
    },
  },
  {
    name: 'group with wrong generations and strangers',
    run: async (side, group) => {
      const { generationId, memberId } = await stable(side, group);
      const ask = { groupId: group, generationId, memberId };
      for (const [name, change] of [
        ['right', {}],
        ['later', { generationId: generationId + 1 }],
        ['earlier', { generationId: generationId - 1 }],
        ['none', { generationId: -1 }],
        ['a stranger', { memberId: 'stranger' }],
        ['nobody', { memberId: '' }],
        ['another group', { groupId: `${group}-other` }],
        ['no group', { groupId: '' }],
        ['an instance', { groupInstanceId: 'i' }],
      ] as const) {
        await side.ask(`heartbeat: ${name}`, HeartbeatCodec, 3, { ...ask, ...change });
        await side.ask(`sync: ${name}`, SyncGroupCodec, 5, {
          protocolType: 'consumer',
          protocolName: 'range',
          assignments: [],
          ...ask,
          ...change,
        });
      }
      await side.ask('sync: other type', SyncGroupCodec, 5, {
        ...ask,
        protocolType: 'connect',
        protocolName: 'range',
        assignments: [],
      });
      await side.ask('sync: other name', SyncGroupCodec, 5, {
        ...ask,
        protocolType: 'consumer',
        protocolName: 'sticky',
        assignments: [],
      });
      await side.ask('leave: a stranger', LeaveGroupCodec, 3, {
        groupId: group,
        members: [{ memberId: 'stranger' }],
      });
      await side.ask('leave: another group', LeaveGroupCodec, 3, {
        groupId: `${group}-other`,
        members: [{ memberId }],
      });
      await side.ask('leave: old way', LeaveGroupCodec, 2, { groupId: group, memberId: 'stranger' });
      await side.ask('leave: twice', LeaveGroupCodec, 3, {
        groupId: group,
        members: [{ memberId }, { memberId }],
      });
    },
  },
  {
    name: 'group with a static member',
    run: async (side, group) => {
      const first = await stable(side, group, 7, { groupInstanceId: 'i' });
      const again = (await side.ask(
        'comes back',
        JoinGroupCodec,
        7,
        joining(group, { groupInstanceId: 'i' }),
        'other',
      ))!;
      const ask = {
        groupId: group,
        generationId: first.generationId,
        memberId: first.memberId,
        groupInstanceId: 'i',
      };
      await side.ask('its predecessor', HeartbeatCodec, 3, ask);
      await side.ask('predecessor commits', OffsetCommitCodec, 7, {
        ...commit(group, 't', first.generationId, first.memberId),
        groupInstanceId: 'i',
      });
      await side.ask('itself', HeartbeatCodec, 3, {
        ...ask,
        memberId: again.memberId,
        generationId: again.generationId,
      });
      await side.ask('removed by name', LeaveGroupCodec, 3, {
        groupId: group,
        members: [
          { memberId: '', groupInstanceId: 'i' },
          { memberId: '', groupInstanceId: 'other' },
        ],
      });
      await side.ask('looked at', DescribeGroupsCodec, 5, { groups: [group] });
    },
  },
];

const commits: readonly Case[] = [
  ...[2, 3, 4, 5, 6, 7, 8, 9].map((version) => ({
    name: `offset commit version ${version}`,
    run: async (side: Side, group: string) => {
      await createTopic(side, group, 2);
      await coordinator(side, group);
      await side.ask('of a simple consumer', OffsetCommitCodec, version, commit(group, group, -1, ''));
      await side.ask('of an unknown topic', OffsetCommitCodec, version, commit(group, `${group}-x`, -1, ''));
      await side.ask(
        'of an unknown partition',
        OffsetCommitCodec,
        version,
        commit(group, group, -1, '', { partitionIndex: 9 }),
      );
      await side.ask(
        'with long metadata',
        OffsetCommitCodec,
        version,
        commit(group, group, -1, '', { committedMetadata: 'x'.repeat(5_000) }),
      );
      await side.ask(
        'negative',
        OffsetCommitCodec,
        version,
        commit(group, group, -1, '', { committedOffset: -5 }),
      );
      await side.ask('with a generation', OffsetCommitCodec, version, commit(group, group, 3, 'me'));
      await side.ask('of no group', OffsetCommitCodec, version, commit('', group, -1, ''));
    },
  })),
  {
    name: 'offset commit of members',
    run: async (side, group) => {
      await createTopic(side, group);
      const { generationId, memberId } = await stable(side, group);
      await side.ask('right', OffsetCommitCodec, 7, commit(group, group, generationId, memberId));
      await side.ask('later', OffsetCommitCodec, 7, commit(group, group, generationId + 1, memberId));
      await side.ask('stranger', OffsetCommitCodec, 7, commit(group, group, generationId, 'stranger'));
      await side.ask('nobody while there are members', OffsetCommitCodec, 7, commit(group, group, -1, ''));
      await side.ask('deleted while read', OffsetDeleteCodec, 0, {
        groupId: group,
        topics: [{ name: group, partitions: [{ partitionIndex: 0 }] }],
      });
      await side.ask('group deleted while it lives', DeleteGroupsCodec, 2, { groupsNames: [group] });
      await side.ask('left', LeaveGroupCodec, 3, { groupId: group, members: [{ memberId }] });
      await side.ask('nobody', OffsetCommitCodec, 7, commit(group, group, -1, ''));
      await side.ask('deleted', OffsetDeleteCodec, 0, {
        groupId: group,
        topics: [
          { name: group, partitions: [{ partitionIndex: 0 }, { partitionIndex: 5 }] },
          { name: 'no-such', partitions: [{ partitionIndex: 0 }] },
        ],
      });
      await side.ask('gone', OffsetFetchCodec, 7, {
        groupId: group,
        topics: [{ name: group, partitionIndexes: [0] }],
      });
      await side.ask('group deleted', DeleteGroupsCodec, 2, { groupsNames: [group, `${group}-x`, ''] });
      await side.ask('looked at', DescribeGroupsCodec, 5, { groups: [group, ''] });
    },
  },
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((version) => ({
    name: `offset fetch version ${version}`,
    run: async (side: Side, group: string) => {
      await createTopic(side, group, 2);
      await coordinator(side, group);
      await side.prepare(OffsetCommitCodec, 7, commit(group, group, -1, '', { committedLeaderEpoch: 0 }));
      const topics = [
        { name: group, partitionIndexes: [0, 1, 9] },
        { name: `${group}-x`, partitionIndexes: [0] },
      ];
      const of = (groupId: string, some: typeof topics | null) =>
        version >= 8
          ? { groups: [{ groupId, memberId: null, memberEpoch: -1, topics: some }] }
          : { groupId, topics: some };
      await side.ask('some', OffsetFetchCodec, version, of(group, topics));
      if (version >= 2) await side.ask('all', OffsetFetchCodec, version, of(group, null));
      await side.ask('of another group', OffsetFetchCodec, version, of(`${group}-x`, topics));
      await side.ask('of no group', OffsetFetchCodec, version, of('', topics));
    },
  })),
  {
    name: 'find coordinator of all kinds',
    run: async (side, group) => {
      await coordinator(side, group);
      for (const version of [0, 1, 2, 3])
        await side.ask('of a group', FindCoordinatorCodec, version, { key: group });
      await side.ask('of groups', FindCoordinatorCodec, 4, {
        keyType: 0,
        coordinatorKeys: [group, `${group}-2`, ''],
      });
      await side.ask('of a kind nobody knows', FindCoordinatorCodec, 4, {
        keyType: 9,
        coordinatorKeys: [group],
      });
      await side.ask('of nothing', FindCoordinatorCodec, 4, { keyType: 0, coordinatorKeys: [] });
    },
  },
];

export const groupCases: readonly Case[] = [...joins, ...commits];

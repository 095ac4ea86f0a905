/** Share groups as their coordinator sees them (KIP-932): heartbeats, epochs, what is told of them, offsets moved and forgotten. */
import { AlterShareGroupOffsetsCodec } from '../../../src/protocol/generated/alter-share-group-offsets.ts';
import { ConsumerGroupDescribeCodec } from '../../../src/protocol/generated/consumer-group-describe.ts';
import { ConsumerGroupHeartbeatCodec } from '../../../src/protocol/generated/consumer-group-heartbeat.ts';
import { DeleteGroupsCodec } from '../../../src/protocol/generated/delete-groups.ts';
import { DeleteShareGroupOffsetsCodec } from '../../../src/protocol/generated/delete-share-group-offsets.ts';
import { DescribeGroupsCodec } from '../../../src/protocol/generated/describe-groups.ts';
import { DescribeShareGroupOffsetsCodec } from '../../../src/protocol/generated/describe-share-group-offsets.ts';
import { HeartbeatCodec } from '../../../src/protocol/generated/heartbeat.ts';
import { JoinGroupCodec } from '../../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../../src/protocol/generated/leave-group.ts';
import { ListGroupsCodec } from '../../../src/protocol/generated/list-groups.ts';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { ShareGroupDescribeCodec } from '../../../src/protocol/generated/share-group-describe.ts';
import type { Case, Side } from '../side.ts';
import { accept, anna, beat, bert, join, joining, of, Reader, shared } from './share-support.ts';
import { batch, coordinator, createTopic, fill, records, seenByGroups } from './topics.ts';

const described = (side: Side, label: string, ...groupIds: string[]) =>
  side.ask(label, ShareGroupDescribeCodec, 1, { groupIds, includeAuthorizedOperations: true });

const alter = (
  side: Side,
  label: string,
  groupId: string,
  topicName: string,
  ...offsets: [number, number][]
) =>
  side.ask(label, AlterShareGroupOffsetsCodec, 0, {
    groupId,
    topics: [
      {
        topicName,
        partitions: offsets.map(([partitionIndex, startOffset]) => ({ partitionIndex, startOffset })),
      },
    ],
  });

const forget = (side: Side, label: string, groupId: string, ...topicNames: string[]) =>
  side.ask(label, DeleteShareGroupOffsetsCodec, 0, {
    groupId,
    topics: topicNames.map((topicName) => ({ topicName })),
  });

const told = (
  side: Side,
  label: string,
  groupId: string,
  topics: Record<string, number[]> | null,
  version = 1,
) =>
  side.ask(label, DescribeShareGroupOffsetsCodec, version, {
    groups: [
      {
        groupId,
        topics:
          topics === null
            ? null
            : Object.entries(topics).map(([topicName, partitions]) => ({ topicName, partitions })),
      },
    ],
  });

/** Nobody is in it any more, and it has read ten records and finished four. */
async function left(side: Side, name: string): Promise<void> {
  const reader = await shared(side, name);
  await fill(side, name, batch(records(10)));
  await reader.fetch('fetched');
  await reader.acknowledge('accepted', [of(0, 3, accept)]);
  await reader.acknowledge('ended', [], { shareSessionEpoch: -1, topics: [] });
  await beat(side, 'left', { groupId: name, memberId: anna, memberEpoch: -1 });
}

/** A group of another kind. */
async function consumers(side: Side, name: string): Promise<void> {
  await coordinator(side, name);
  await createTopic(side, name);
  await side.prepare(ConsumerGroupHeartbeatCodec, 1, {
    groupId: name,
    memberId: anna,
    memberEpoch: 0,
    rebalanceTimeoutMs: 30_000,
    subscribedTopicNames: [name],
    topicPartitions: [],
  });
}

const heartbeats: readonly Case[] = [
  {
    name: 'share group of one',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name, 2);
      const epoch = await join(side, name, name);
      await beat(side, 'alive', { groupId: name, memberId: anna, memberEpoch: epoch });
      await beat(side, 'with its topics', joining(name, name, { memberEpoch: epoch }));
      await beat(side, 'with a rack', { groupId: name, memberId: anna, memberEpoch: epoch, rackId: 'r' });
      await described(side, 'looked at', name);
      await beat(side, 'left', { groupId: name, memberId: anna, memberEpoch: -1 });
      await described(side, 'looked at again', name);
      await beat(side, 'left twice', { groupId: name, memberId: anna, memberEpoch: -1 });
    },
  },
  ...(
    [
      ['no group', { groupId: '' }],
      ['a group of spaces', { groupId: '  ' }],
      ['no member id', { memberId: '' }],
      ['a member id that is no uuid', { memberId: 'anna' }],
      ['a long member id', { memberId: 'a'.repeat(40) }],
      ['an empty rack', { rackId: '' }],
      ['no topics', { subscribedTopicNames: null }],
      ['an empty list of topics', { subscribedTopicNames: [] }],
      ['an epoch of -1', { memberEpoch: -1 }],
      ['an epoch of -2', { memberEpoch: -2 }],
      ['an epoch of -3', { memberEpoch: -3 }],
      ['an epoch of 7', { memberEpoch: 7 }],
    ] as const
  ).map(([what, more]) => ({
    name: `share member joined with ${what}`,
    run: async (side: Side, name: string) => {
      await coordinator(side, name);
      await createTopic(side, name);
      const answer = await beat(side, 'join', joining(name, `${name}-x`, more));
      if (answer?.errorCode === 0)
        await beat(side, 'leave', {
          groupId: name,
          memberId: (more as { memberId?: string }).memberId ?? anna,
          memberEpoch: -1,
        });
      await described(side, 'looked at', name);
    },
  })),
  {
    name: 'share member and epochs that are not its',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name, 2);
      const epoch = await join(side, name, name);
      const at = (label: string, memberEpoch: number, more = {}) =>
        beat(side, label, { groupId: name, memberId: anna, memberEpoch, ...more });
      await at('ahead', epoch + 1);
      await at('far behind', 99);
      await at('who is unknown', epoch, { memberId: bert });
      await at('of no group', epoch, { groupId: `${name}-x` });
      await at('leaves no group', -1, { groupId: `${name}-x` });
      await at('leaves unknown', -1, { memberId: bert });
      await at('of no member', epoch, { memberId: '' });
      await at('of no topics', epoch, { subscribedTopicNames: [] });
      await at('of another topic', epoch, { subscribedTopicNames: [`${name}-x`] });
      await described(side, 'looked at', name);
    },
  },
  {
    name: 'share member that joins again',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name, 2);
      await join(side, name, name);
      await join(side, name, name);
      await described(side, 'looked at', name);
    },
  },
  {
    name: 'share group of two',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name, 2);
      await join(side, name, name);
      await join(side, name, name, bert);
      await side.until(
        ShareGroupDescribeCodec,
        1,
        { groupIds: [name], includeAuthorizedOperations: false },
        ({ groups }) => groups[0]!.members.length === 2 && groups[0]!.groupState === 'Stable',
      );
      await beat(side, 'one left', { groupId: name, memberId: anna, memberEpoch: -1 });
      await beat(side, 'the other left', { groupId: name, memberId: bert, memberEpoch: -1 });
      await described(side, 'looked at', name);
      await side.ask('deleted', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await described(side, 'looked at again', name);
    },
  },
  {
    name: 'share groups described that are none',
    run: async (side, name) => {
      await consumers(side, name);
      await described(side, 'nothing');
      await described(side, 'no name', '');
      await described(side, 'unknown', `${name}-x`);
      await described(side, 'of consumers', name);
      await described(side, 'twice', `${name}-x`, `${name}-x`);
      await join(side, `${name}-s`, name);
      await side.ask('as consumers', ConsumerGroupDescribeCodec, 1, { groupIds: [`${name}-s`] });
    },
  },
  {
    name: 'share heartbeat to a group of consumers',
    run: async (side, name) => {
      await consumers(side, name);
      await beat(side, 'join', joining(name, name));
      await beat(side, 'beat', joining(name, name, { memberEpoch: 1 }));
      await beat(side, 'leave', joining(name, name, { memberEpoch: -1 }));
    },
  },
  {
    name: 'share heartbeat to a classic group with offsets only',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name);
      await side.ask('committed', OffsetCommitCodec, 9, {
        groupId: name,
        generationIdOrMemberEpoch: -1,
        memberId: '',
        topics: [{ name, partitions: [{ partitionIndex: 0, committedOffset: 0 }] }],
      });
      await beat(side, 'join', joining(name, name));
      await described(side, 'looked at', name);
    },
  },
  {
    name: 'share group and requests of other groups',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name);
      await join(side, name, name);
      const protocols = [{ name: 'range', metadata: Buffer.from('000000000000ffffffff', 'hex') }];
      await side.ask('joins', JoinGroupCodec, 9, {
        groupId: name,
        sessionTimeoutMs: 30_000,
        rebalanceTimeoutMs: 30_000,
        memberId: '',
        protocolType: 'consumer',
        protocols,
      });
      await side.ask('beats', HeartbeatCodec, 4, { groupId: name, generationId: 1, memberId: anna });
      await side.ask('leaves', LeaveGroupCodec, 5, { groupId: name, members: [{ memberId: anna }] });
      await side.ask('joins as consumer', ConsumerGroupHeartbeatCodec, 1, {
        groupId: name,
        memberId: bert,
        memberEpoch: 0,
        rebalanceTimeoutMs: 30_000,
        subscribedTopicNames: [name],
        topicPartitions: [],
      });
      await side.ask('commits', OffsetCommitCodec, 9, {
        groupId: name,
        generationIdOrMemberEpoch: -1,
        memberId: '',
        topics: [{ name, partitions: [{ partitionIndex: 0, committedOffset: 0 }] }],
      });
      await side.ask('asks for offsets', OffsetFetchCodec, 9, {
        groups: [
          { groupId: name, memberId: null, memberEpoch: -1, topics: [{ name, partitionIndexes: [0] }] },
        ],
      });
      await side.ask('deletes offsets', OffsetDeleteCodec, 0, {
        groupId: name,
        topics: [{ name, partitions: [{ partitionIndex: 0 }] }],
      });
      await side.ask('described as classic', DescribeGroupsCodec, 6, { groups: [name] });
      await side.ask('deleted', DeleteGroupsCodec, 2, { groupsNames: [name] });
    },
  },
  {
    name: 'share groups listed',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name);
      await join(side, name, name);
      for (const [states, types] of [
        [[], ['share']],
        [[], ['SHARE']],
        [[], ['shares']],
        [['Stable'], ['share']],
        [['stable'], []],
        [['Empty'], ['share']],
        [['Never'], []],
        [[], []],
      ] as const) {
        const answer = await side.prepare(ListGroupsCodec, 5, {
          statesFilter: states as readonly string[],
          typesFilter: types as readonly string[],
        });
        const groups = answer.groups.filter(({ groupId }) => groupId === name);
        side.told(`of ${states} ${types}`, { errorCode: answer.errorCode, groups });
      }
    },
  },
];

const offsets: readonly Case[] = [
  ...[0, 1].map((version) => ({
    name: `share group offsets, version ${version}`,
    run: async (side: Side, name: string) => {
      await coordinator(side, name);
      await told(side, 'of no group', name, null, version);
      await told(side, 'of no name', '', null, version);
      const reader = await shared(side, name, { partitions: 2 });
      await told(side, 'before', name, { [name]: [0, 1] }, version);
      await fill(side, name, batch(records(10)));
      await reader.fetch('fetched');
      await told(side, 'acquired', name, { [name]: [0] }, version);
      await reader.acknowledge('accepted', [of(0, 3, accept), of(6, 7, accept)]);
      await told(side, 'acknowledged', name, { [name]: [0], [`${name}-x`]: [0] }, version);
      await told(side, 'no partitions', name, { [name]: [] }, version);
      await told(side, 'no topics', name, {}, version);
      await told(side, 'a partition twice', name, { [name]: [0, 0] }, version);
      if (version === 1) await told(side, 'a partition that is not there', name, { [name]: [2] }, version);
    },
  })),
  {
    name: 'share group offsets of all topics',
    run: async (side, name) => {
      await left(side, name);
      await told(side, 'all', name, null);
    },
  },
  {
    name: 'share group offsets of a group of consumers',
    run: async (side, name) => {
      await consumers(side, name);
      await told(side, 'all', name, null);
      await told(side, 'some', name, { [name]: [0] });
      await alter(side, 'moved', name, name, [0, 1]);
      await forget(side, 'forgotten', name, name);
    },
  },
  {
    name: 'share group offsets of nobody',
    run: async (side, name) => {
      await coordinator(side, name);
      await createTopic(side, name);
      await told(side, 'all', name, null);
      await told(side, 'some', name, { [name]: [0] });
      await forget(side, 'forgotten', name, name);
      await forget(side, 'forgotten of no name', '', name);
      await alter(side, 'moved of no name', '', name, [0, 1]);
      await alter(side, 'moved', name, name, [0, 1]);
      await described(side, 'looked at', name);
      await told(side, 'some, after', name, { [name]: [0] });
    },
  },
  {
    name: 'share group offsets moved with somebody in it',
    run: async (side, name) => {
      const reader = await shared(side, name);
      await fill(side, name, batch(records(10)));
      await reader.fetch('fetched');
      await alter(side, 'moved', name, name, [0, 1]);
      await alter(side, 'moved elsewhere', name, `${name}-x`, [0, 1]);
      await forget(side, 'forgotten', name, name);
      await side.ask('deleted', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await reader.offsets('told');
    },
  },
  ...(
    [
      ['to the middle', [[0, 5]]],
      ['to the beginning', [[0, 0]]],
      ['beyond the end', [[0, 1_000]]],
      ['to -1', [[0, -1]]],
      ['to -2', [[0, -2]]],
      ['of a partition that is not there', [[7, 1]]],
      ['of a negative partition', [[-1, 1]]],
      [
        'of one that is and one that is not',
        [
          [0, 2],
          [7, 1],
        ],
      ],
      [
        'twice',
        [
          [0, 2],
          [0, 3],
        ],
      ],
      ['of no partitions', []],
    ] as [string, [number, number][]][]
  ).map(([what, places]) => ({
    name: `share group offsets moved ${what}`,
    run: async (side: Side, name: string) => {
      await left(side, name);
      await alter(side, 'moved', name, name, ...places);
      await told(side, 'told', name, { [name]: [0] });
      await described(side, 'looked at', name);
    },
  })),
  {
    name: 'share group offsets moved of other topics',
    run: async (side, name) => {
      await createTopic(side, `${name}-2`);
      await coordinator(side, name);
      await seenByGroups(side, `${name}-2`);
      await left(side, name);
      await alter(side, 'unknown', name, `${name}-x`, [0, 1]);
      await side.ask('none', AlterShareGroupOffsetsCodec, 0, { groupId: name, topics: [] });
      await alter(side, 'never read', name, `${name}-2`, [0, 0]);
      await told(side, 'told', name, { [`${name}-2`]: [0] });
      await told(side, 'all', name, null);
    },
  },
  {
    name: 'share group offsets moved of a group that is not there',
    run: async (side, name) => {
      await createTopic(side, name, 2);
      await coordinator(side, name);
      await seenByGroups(side, name);
      await fill(side, name, batch(records(10)));
      await forget(side, 'forgotten', name, name);
      await side.ask('none', AlterShareGroupOffsetsCodec, 0, { groupId: name, topics: [] });
      await alter(side, 'unknown', name, `${name}-x`, [0, 1]);
      await described(side, 'looked at', name);
      await alter(side, 'moved', name, name, [0, 2], [7, 1]);
      await described(side, 'looked at again', name);
      await told(side, 'told', name, { [name]: [0, 1] });
      await told(side, 'all', name, null);
      await side.ask('deleted', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await described(side, 'looked at last', name);
    },
  },
  {
    name: 'share group offsets moved, and read again',
    run: async (side, name) => {
      await left(side, name);
      await alter(side, 'moved', name, name, [0, 2]);
      const topicId = await topicIdOf(side, name);
      await join(side, name, name);
      const reader = new Reader(side, name, topicId);
      await reader.fetch('fetched');
      await reader.offsets('told');
    },
  },
  {
    name: 'share group offsets forgotten',
    run: async (side, name) => {
      await left(side, name);
      await forget(side, 'elsewhere', name, `${name}-x`);
      await forget(side, 'none', name);
      await forget(side, 'with one unknown', name, `${name}-x`, name);
      await told(side, 'told', name, { [name]: [0] });
      await told(side, 'all', name, null);
      await forget(side, 'again', name, name);
      await createTopic(side, `${name}-2`);
      await forget(side, 'never read', name, `${name}-2`);
      await forget(side, 'twice in one', name, name, name);
      await described(side, 'looked at', name);
      await side.ask('deleted', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await told(side, 'told at last', name, { [name]: [0] });
    },
  },
  {
    name: 'share group deleted with its offsets',
    run: async (side, name) => {
      await left(side, name);
      await side.ask('deleted', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await side.ask('deleted again', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await told(side, 'told', name, { [name]: [0] });
      await described(side, 'looked at', name);
    },
  },
];

async function topicIdOf(side: Side, name: string): Promise<string> {
  return (await side.prepare(MetadataCodec, 12, { topics: [{ name }], allowAutoTopicCreation: false }))
    .topics[0]!.topicId;
}

export const shareGroupCases: readonly Case[] = [...heartbeats, ...offsets];

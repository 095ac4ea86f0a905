/** Groups of the consumer protocol (KIP-848), step by step: joins, epochs, static members, offsets, and classic requests to them. */
import { ConsumerGroupDescribeCodec } from '../../../src/protocol/generated/consumer-group-describe.ts';
import {
  ConsumerGroupHeartbeatCodec,
  type ConsumerGroupHeartbeatRequestInput,
} from '../../../src/protocol/generated/consumer-group-heartbeat.ts';
import { DeleteGroupsCodec } from '../../../src/protocol/generated/delete-groups.ts';
import { DescribeGroupsCodec } from '../../../src/protocol/generated/describe-groups.ts';
import { HeartbeatCodec } from '../../../src/protocol/generated/heartbeat.ts';
import { JoinGroupCodec } from '../../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../../src/protocol/generated/leave-group.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { SyncGroupCodec } from '../../../src/protocol/generated/sync-group.ts';
import type { Case, Side } from '../side.ts';
import { coordinator, createTopic, seenByGroups } from './topics.ts';

function joining(
  groupId: string,
  topic: string,
  more: ConsumerGroupHeartbeatRequestInput = {},
): ConsumerGroupHeartbeatRequestInput {
  return {
    groupId,
    memberId: 'member-1',
    memberEpoch: 0,
    rebalanceTimeoutMs: 30_000,
    subscribedTopicNames: [topic],
    topicPartitions: [],
    ...more,
  };
}

/** A heartbeat that changes nothing. */
function beating(
  groupId: string,
  memberEpoch: number,
  more: ConsumerGroupHeartbeatRequestInput = {},
): ConsumerGroupHeartbeatRequestInput {
  return { groupId, memberId: 'member-1', memberEpoch, rebalanceTimeoutMs: -1, ...more };
}

const beat = (side: Side, label: string, request: ConsumerGroupHeartbeatRequestInput, version = 1) =>
  side.ask(label, ConsumerGroupHeartbeatCodec, version, request);

/** A group of one, which has both partitions of a topic. */
async function alone(side: Side, name: string, more: ConsumerGroupHeartbeatRequestInput = {}) {
  await coordinator(side, name);
  const topicId = await createTopic(side, name, 2);
  await seenByGroups(side, name);
  const joined = (await beat(side, 'join', joining(name, name, more)))!;
  return { topicId, epoch: joined.memberEpoch };
}

const described = (side: Side, label: string, group: string, version = 1) =>
  side.ask(label, ConsumerGroupDescribeCodec, version, {
    groupIds: [group],
    includeAuthorizedOperations: true,
  });

export const consumerMemberCases: readonly Case[] = [
  ...[0, 1].map((version) => ({
    name: `consumer member alone, version ${version}`,
    run: async (side: Side, name: string) => {
      const { epoch } = await alone(side, name);
      await beat(side, 'alive', beating(name, epoch), version);
      await described(side, 'looked at', name, version);
      await side.ask('looked at as a classic group', DescribeGroupsCodec, 6, { groups: [name] });
      await beat(side, 'left', beating(name, -1), version);
      await described(side, 'looked at again', name, version);
    },
  })),
  ...(
    [
      ['no group', { groupId: '' }],
      ['no member id', { memberId: '' }],
      ['an empty instance id', { instanceId: '' }],
      ['an empty rack', { rackId: '' }],
      ['no rebalance time', { rebalanceTimeoutMs: -1 }],
      ['no word on partitions', { topicPartitions: null }],
      ['no topics', { subscribedTopicNames: null }],
      ['an empty list of topics', { subscribedTopicNames: [] }],
      ['an assignor nobody knows', { serverAssignor: 'best' }],
      ['a regex that is none', { subscribedTopicRegex: '(' }],
      ['an epoch of -3', { memberEpoch: -3 }],
      ['an epoch of -2 and no instance', { memberEpoch: -2 }],
      ['an epoch of 7', { memberEpoch: 7 }],
      ['an epoch of -1', { memberEpoch: -1 }],
    ] as const
  ).map(([what, more]) => ({
    name: `consumer member joined with ${what}`,
    run: async (side: Side, name: string) => {
      await coordinator(side, name);
      await createTopic(side, name);
      await beat(side, 'join', joining(name, name, more));
      await beat(side, 'join, v0', joining(name, name, { ...more, subscribedTopicRegex: null }), 0);
    },
  })),
  {
    name: 'consumer member and epochs that are not its',
    run: async (side, name) => {
      const { topicId, epoch } = await alone(side, name);
      await beat(side, 'ahead', beating(name, epoch + 1));
      await beat(side, 'behind', beating(name, epoch - 1 || 99));
      await beat(side, 'who is unknown', beating(name, epoch, { memberId: 'member-2' }));
      await beat(side, 'of another instance', beating(name, epoch, { instanceId: 'pod' }));
      await beat(side, 'of no group', beating(`${name}-x`, epoch));
      await beat(
        side,
        'with everything',
        joining(name, name, { memberEpoch: epoch, topicPartitions: [{ topicId, partitions: [0, 1] }] }),
      );
      await beat(side, 'joined again', joining(name, name));
    },
  },
  {
    name: 'consumer member among static members',
    run: async (side, name) => {
      const pod = { instanceId: 'pod' };
      const { epoch } = await alone(side, name, pod);
      await beat(side, 'in its place', joining(name, name, { ...pod, memberId: 'member-2' }));
      await beat(side, 'away for a while', beating(name, -2, pod));
      await beat(side, 'in its place now', joining(name, name, { ...pod, memberId: 'member-2' }));
      await beat(side, 'back', beating(name, epoch, pod));
      await described(side, 'looked at', name);
      await beat(side, 'left', beating(name, -1, { ...pod, memberId: 'member-2' }));
    },
  },
  {
    name: 'consumer member and its offsets',
    run: async (side, name) => {
      const { topicId, epoch } = await alone(side, name);
      const commit = (label: string, version: number, at: number, memberId: string) =>
        side.ask(label, OffsetCommitCodec, version, {
          groupId: name,
          generationIdOrMemberEpoch: at,
          memberId,
          topics: [{ name, topicId, partitions: [{ partitionIndex: 0, committedOffset: 0 }] }],
        });
      await commit('at its epoch', 9, epoch, 'member-1');
      await commit('by topic id', 10, epoch, 'member-1');
      await commit('in an old version', 8, epoch, 'member-1');
      await commit('ahead', 9, epoch + 1, 'member-1');
      await commit('behind', 9, epoch - 1, 'member-1');
      await commit('who is unknown', 9, epoch, 'member-2');
      await commit('of nobody', 9, -1, '');
      const read = (label: string, memberId: string | null, memberEpoch: number) =>
        side.ask(label, OffsetFetchCodec, 9, {
          groups: [{ groupId: name, memberId, memberEpoch, topics: [{ name, partitionIndexes: [0] }] }],
        });
      await read('read at its epoch', 'member-1', epoch);
      await read('read behind', 'member-1', epoch - 1);
      await read('read by the unknown', 'member-2', epoch);
      await read('read by nobody', null, -1);
      const forget = { groupId: name, topics: [{ name, partitions: [{ partitionIndex: 0 }] }] };
      await side.ask('forget', OffsetDeleteCodec, 0, forget);
      await side.ask('delete', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await beat(side, 'left', beating(name, -1));
      await side.ask('forget again', OffsetDeleteCodec, 0, forget);
      await commit('of nobody, to an empty group', 9, -1, '');
      await side.ask('delete again', DeleteGroupsCodec, 2, { groupsNames: [name] });
      await described(side, 'looked at', name);
    },
  },
  {
    name: 'consumer member and classic requests',
    run: async (side, name) => {
      await alone(side, name);
      const protocols = [{ name: 'range', metadata: Buffer.from('000000000000ffffffff', 'hex') }];
      const classic = {
        groupId: name,
        sessionTimeoutMs: 30_000,
        rebalanceTimeoutMs: 30_000,
        memberId: '',
        protocolType: 'consumer',
        protocols,
      };
      await side.ask('asked for an id', JoinGroupCodec, 7, classic);
      await side.ask('of another type', JoinGroupCodec, 7, { ...classic, protocolType: 'connect' });
      await side.ask('without protocols', JoinGroupCodec, 7, { ...classic, protocols: [] });
      await side.ask('with an id', JoinGroupCodec, 7, { ...classic, memberId: 'classic-1' });
      const member = { groupId: name, memberId: 'classic-1' };
      await side.ask('alive, ahead', HeartbeatCodec, 4, { ...member, generationId: 99 });
      await side.ask('sync, ahead', SyncGroupCodec, 5, {
        ...member,
        generationId: 99,
        protocolType: 'consumer',
        protocolName: 'range',
        assignments: [],
      });
      await side.ask('alive as the other', HeartbeatCodec, 4, {
        groupId: name,
        memberId: 'member-1',
        generationId: 1,
      });
      await side.ask('left', LeaveGroupCodec, 5, { groupId: name, members: [{ memberId: 'classic-1' }] });
      await side.ask('left as the other', LeaveGroupCodec, 5, {
        groupId: name,
        members: [{ memberId: 'member-1' }],
      });
    },
  },
];

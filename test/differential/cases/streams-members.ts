/** Groups of the streams protocol (KIP-1071) as they live, heartbeat by heartbeat. */
import { ConsumerGroupHeartbeatCodec } from '../../../src/protocol/generated/consumer-group-heartbeat.ts';
import { DeleteGroupsCodec } from '../../../src/protocol/generated/delete-groups.ts';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { DescribeGroupsCodec } from '../../../src/protocol/generated/describe-groups.ts';
import { HeartbeatCodec } from '../../../src/protocol/generated/heartbeat.ts';
import { JoinGroupCodec } from '../../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../../src/protocol/generated/leave-group.ts';
import { ListGroupsCodec } from '../../../src/protocol/generated/list-groups.ts';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { ShareGroupHeartbeatCodec } from '../../../src/protocol/generated/share-group-heartbeat.ts';
import { StreamsGroupDescribeCodec } from '../../../src/protocol/generated/streams-group-describe.ts';
import { StreamsGroupHeartbeatCodec } from '../../../src/protocol/generated/streams-group-heartbeat.ts';
import { StreamsGroupTopologyDescriptionUpdateCodec } from '../../../src/protocol/generated/streams-group-topology-description-update.ts';
import { SyncGroupCodec } from '../../../src/protocol/generated/sync-group.ts';
import type { Case, Side } from '../side.ts';
import {
  active,
  beat,
  changelog,
  configured,
  counts,
  described,
  group,
  joining,
  none,
  one,
  reads,
  ready,
  settled,
  stands,
  tasks,
  three,
  two,
} from './streams-support.ts';
import { createTopic } from './topics.ts';

/** Other cases have groups, too. */
async function listed(side: Side, label: string, id: string, state: string): Promise<void> {
  const filters = { typesFilter: ['streams'], statesFilter: [state] };
  const { errorCode, groups } = await side.prepare(ListGroupsCodec, 5, filters);
  side.told(label, { errorCode, groups: groups.filter(({ groupId }) => groupId === id) });
}

export const streamsMemberCases: readonly Case[] = [
  group('of one', async (side, id) => {
    await ready(side, id);
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)])))!;
    const alive = { groupId: id, memberId: one, memberEpoch };
    await beat(side, 'alive', alive);
    await beat(side, 'has all', { ...alive, ...active(0, 1) });
    await described(side, 'looked at', id);
    await beat(side, 'has one that there is not', { ...alive, ...active(0, 9) });
    await beat(side, 'has some of no subtopology', { ...alive, ...none, standbyTasks: tasks('no', 0) });
    await beat(side, 'tells offsets', {
      ...alive,
      taskOffsets: [{ subtopologyId: '0', partition: 1, offset: 7 }],
    });
    await beat(side, 'tells of ends', {
      ...alive,
      taskEndOffsets: [{ subtopologyId: '0', partition: 1, offset: 9 }],
    });
    await described(side, 'looked at with offsets', id);
    await beat(side, 'joins again', joining(id, one, [reads(id)]));
    await beat(side, 'leaves', { ...alive, memberEpoch: -1 });
    await described(side, 'empty', id);
    await beat(side, 'after its end', alive);
    await listed(side, 'listed as empty', id, 'empty');
    await side.ask('deleted', DeleteGroupsCodec, 2, { groupsNames: [id] });
    await described(side, 'gone', id);
    await beat(side, 'after the end of all', alive);
  }),
  group('whose member asks with wrong epochs', async (side, id) => {
    await ready(side, id);
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)])))!;
    for (const by of [1, 6, 0])
      await beat(side, `epoch ${by} on`, { groupId: id, memberId: one, memberEpoch: memberEpoch + by });
    await beat(side, 'an epoch back', { groupId: id, memberId: one, memberEpoch: memberEpoch - 1, ...none });
    await beat(side, 'a stranger', { groupId: id, memberId: 'stranger', memberEpoch });
    await beat(side, 'a stranger leaves', { groupId: id, memberId: 'stranger', memberEpoch: -1 });
    await beat(side, 'another group', { groupId: `${id}-x`, memberId: one, memberEpoch });
    await beat(side, 'another group is left', { groupId: `${id}-x`, memberId: one, memberEpoch: -1 });
  }),
  group('that waits for more members', async (side, id) => {
    await ready(side, id, 2, { 'streams.initial.rebalance.delay.ms': '2000' });
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)])))!;
    await described(side, 'waits', id);
    const alive = { groupId: id, memberId: one, memberEpoch };
    await beat(side, 'alive', alive);
    await settled(side, 'gets all', alive, ({ activeTasks }) => activeTasks !== null);
    await described(side, 'goes on', id);
  }),
  group('of two processes', async (side, id) => {
    await ready(side, id, 4);
    const first = (await beat(side, 'the first joins', joining(id, one, [reads(id)])))!.memberEpoch;
    const alive = { groupId: id, memberId: one, memberEpoch: first };
    await beat(side, 'the first has all', { ...alive, ...active(0, 1, 2, 3) });
    const second = (await beat(side, 'the second joins', joining(id, two, [reads(id)])))!;
    await described(side, 'looked at while it waits', id);
    const told = await side.until(
      StreamsGroupHeartbeatCodec,
      1,
      alive,
      ({ activeTasks }) => activeTasks !== null,
    );
    const kept = told.activeTasks![0]!.partitions;
    side.told('so many stay', kept.length);
    await beat(side, 'the second still waits', {
      groupId: id,
      memberId: two,
      memberEpoch: second.memberEpoch,
    });
    const now = (await beat(side, 'the first has given up', {
      ...alive,
      ...none,
      activeTasks: tasks('0', ...kept),
    }))!;
    const got = await side.until(
      StreamsGroupHeartbeatCodec,
      1,
      { groupId: id, memberId: two, memberEpoch: second.memberEpoch },
      ({ activeTasks }) => activeTasks !== null,
    );
    side.told('so many come', got.activeTasks![0]!.partitions.length);
    side.told('at the same epoch', got.memberEpoch === now.memberEpoch);
    await beat(side, 'the first leaves', { groupId: id, memberId: one, memberEpoch: -1 });
    await settled(
      side,
      'the second gets all',
      { groupId: id, memberId: two, memberEpoch: got.memberEpoch, ...none, activeTasks: got.activeTasks },
      ({ activeTasks }) => activeTasks?.[0]?.partitions.length === 4,
    );
    await described(side, 'looked at', id);
  }),
  group('with internal topics', async (side, id) => {
    await ready(side, id);
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, counts(id))))!;
    await described(side, 'not ready', id);
    await listed(side, 'listed as not ready', id, 'not_ready');
    await stands(side, `${id}-again`);
    await stands(side, `${id}-changelog`);
    const alive = { groupId: id, memberId: one, memberEpoch };
    const { memberEpoch: epoch } = await settled(
      side,
      'gets all',
      alive,
      ({ activeTasks }) => (activeTasks?.length ?? 0) > 0,
    );
    await beat(side, 'alive', { ...alive, memberEpoch: epoch });
    await described(side, 'looked at', id);
    await side.ask('configs of a changelog', DescribeConfigsCodec, 4, {
      resources: [
        { resourceType: 2, resourceName: `${id}-changelog`, configurationKeys: ['cleanup.policy'] },
      ],
    });
    await side.ask('its topics', MetadataCodec, 12, {
      topics: [{ name: `${id}-again` }, { name: `${id}-changelog` }],
      allowAutoTopicCreation: false,
    });
  }),
  group('whose topic grows', async (side, id) => {
    await ready(side, id);
    await createTopic(side, `${id}-late`, 1);
    const { memberEpoch } = (await beat(
      side,
      'joins',
      joining(id, one, [reads(id), { ...reads(`${id}-later`), subtopologyId: '1' }]),
    ))!;
    await createTopic(side, `${id}-later`, 3);
    const alive = { groupId: id, memberId: one, memberEpoch };
    await settled(side, 'gets all', alive, ({ activeTasks }) => (activeTasks?.length ?? 0) > 0);
    await described(side, 'looked at', id);
  }),
  group('whose members bring other topologies', async (side, id) => {
    await ready(side, id);
    const newer = { topology: { epoch: 3, subtopologies: [reads(id)] } };
    await beat(side, 'the first joins', joining(id, one, [], newer));
    await beat(side, 'an older one', joining(id, two, [reads(id)]));
    await beat(
      side,
      'another one of the same epoch',
      joining(id, three, [], {
        topology: { epoch: 3, subtopologies: [{ ...reads(id), subtopologyId: '7' }] },
      }),
    );
    await beat(
      side,
      'a newer one',
      joining(id, three, [], { topology: { epoch: 4, subtopologies: [reads(id)] } }),
    );
    await beat(side, 'the same one', joining(id, three, [], newer));
  }),
  group('that is to end', async (side, id) => {
    await ready(side, id);
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)])))!;
    const alive = { groupId: id, memberId: one, memberEpoch };
    await beat(side, 'says that all is to end', { ...alive, shutdownApplication: true });
    await beat(side, 'alive', alive);
    await beat(side, 'another one joins', joining(id, two, [reads(id)]));
    await beat(side, 'leaves', { ...alive, memberEpoch: -1 });
    await beat(side, 'the other one leaves', {
      groupId: id,
      memberId: two,
      memberEpoch: -1,
      shutdownApplication: true,
    });
    await beat(side, 'a new life', joining(id, one, [reads(id)]));
  }),
  group('of static members', async (side, id) => {
    await ready(side, id);
    const still = { instanceId: 'pod', processId: 'the pod' };
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)], still)))!;
    const alive = { groupId: id, memberId: one, instanceId: 'pod', memberEpoch };
    await beat(side, 'another one while it is there', joining(id, two, [reads(id)], still));
    await beat(side, 'without its instance', { ...alive, instanceId: null });
    await beat(side, 'with another instance', { ...alive, instanceId: 'other' });
    await beat(side, 'leaves for a while', { ...alive, memberEpoch: -2 });
    await described(side, 'away', id);
    await beat(side, 'comes back as another', joining(id, two, [reads(id)], still));
    await described(side, 'back', id);
    await beat(side, 'the old one', alive);
    await beat(side, 'leaves for good', { groupId: id, memberId: two, instanceId: 'pod', memberEpoch: -1 });
    await described(side, 'empty', id);
  }),
  group('with endpoints', async (side, id) => {
    await ready(side, id);
    const endpoint = { userEndpoint: { host: 'here', port: 99 } };
    const { memberEpoch, endpointInformationEpoch } = (await beat(
      side,
      'joins',
      joining(id, one, [reads(id)], endpoint),
    ))!;
    const alive = { groupId: id, memberId: one, memberEpoch, endpointInformationEpoch };
    await beat(side, 'alive', alive);
    await beat(side, 'has forgotten', { ...alive, endpointInformationEpoch: -1 });
    await beat(side, 'another endpoint', { ...alive, userEndpoint: { host: 'there', port: 98 } });
    await beat(side, 'one without an endpoint', joining(id, two, [reads(id)]));
    await described(side, 'looked at', id);
  }),
  group('with standby tasks', async (side, id) => {
    await ready(side, id, 2, { 'streams.num.standby.replicas': '1' });
    const stateful = [{ ...reads(id), stateChangelogTopics: [changelog(`${id}-changelog`)] }];
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, stateful)))!;
    const alive = { groupId: id, memberId: one, memberEpoch };
    const all = await settled(side, 'gets all', alive, ({ activeTasks }) => (activeTasks?.length ?? 0) > 0);
    const second = (await beat(side, 'the second joins', joining(id, two, stateful)))!;
    await settled(
      side,
      'the first gives up one',
      { ...alive, memberEpoch: all.memberEpoch, ...active(0, 1) },
      ({ activeTasks }) => activeTasks?.[0]?.partitions.length === 1,
    );
    side.told('the second waits for its active one', (second.activeTasks ?? []).length);
    await described(side, 'on the way', id);
  }),
  group('whose configs change', async (side, id) => {
    await ready(side, id);
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)])))!;
    await configured(side, id, { 'streams.num.standby.replicas': '1' });
    const alive = { groupId: id, memberId: one, memberEpoch };
    await settled(side, 'another epoch', alive, (answer) => answer.memberEpoch > memberEpoch);
    await described(side, 'looked at', id);
  }),
  group('whose racks are told by tags', async (side, id) => {
    await ready(side, id, 2, { 'streams.rack.aware.assignment.tags': 'zone,rack' });
    const tagged = { clientTags: [{ key: 'zone', value: 'a' }] };
    const { memberEpoch } = (await beat(
      side,
      'joins without a rack',
      joining(id, one, [reads(id)], tagged),
    ))!;
    await beat(side, 'alive, version 0', { groupId: id, memberId: one, memberEpoch }, 0);
    await described(side, 'looked at', id);
  }),
  group('that assigns seldom', async (side, id) => {
    await ready(side, id, 2, { 'streams.assignment.interval.ms': '10000' });
    await beat(side, 'the first joins', joining(id, one, [reads(id)]));
    await beat(side, 'the second joins', joining(id, two, [reads(id)]));
    await described(side, 'assigning', id);
  }),
  group('that commits offsets', async (side, id) => {
    await ready(side, id);
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)])))!;
    const commit = (label: string, more: object, version = 9) =>
      side.ask(label, OffsetCommitCodec, version, {
        groupId: id,
        generationIdOrMemberEpoch: memberEpoch,
        memberId: one,
        topics: [
          { name: id, partitions: [{ partitionIndex: 0, committedOffset: 5, committedMetadata: '' }] },
        ],
        ...more,
      });
    await commit('at its epoch', {});
    await commit('before member epochs', {}, 8);
    await commit('an epoch on', { generationIdOrMemberEpoch: memberEpoch + 1 });
    await commit('an epoch back', { generationIdOrMemberEpoch: memberEpoch - 1 });
    await commit('as a stranger', { memberId: 'stranger' });
    await commit('as nobody', { memberId: '', generationIdOrMemberEpoch: -1 });
    await commit('for another topic', {
      topics: [{ name: `${id}-x`, partitions: [{ partitionIndex: 0, committedOffset: 5 }] }],
    });
    const read = (label: string, member: object) =>
      side.ask(label, OffsetFetchCodec, 9, {
        groups: [{ groupId: id, topics: [{ name: id, partitionIndexes: [0] }], ...member }],
      });
    await read('read by it', { memberId: one, memberEpoch });
    await read('read an epoch back', { memberId: one, memberEpoch: memberEpoch - 1 });
    await read('read by a stranger', { memberId: 'stranger', memberEpoch });
    await read('read by nobody', { memberId: null, memberEpoch: -1 });
    await side.ask('deletes an offset', OffsetDeleteCodec, 0, {
      groupId: id,
      topics: [{ name: id, partitions: [{ partitionIndex: 0 }] }],
    });
    await beat(side, 'leaves', { groupId: id, memberId: one, memberEpoch: -1 });
    await commit('as nobody, when it is empty', { memberId: '', generationIdOrMemberEpoch: -1 });
    await side.ask('deletes an offset then', OffsetDeleteCodec, 0, {
      groupId: id,
      topics: [{ name: id, partitions: [{ partitionIndex: 0 }] }],
    });
  }),
  group('asked as a group of another kind', async (side, id) => {
    await ready(side, id);
    const { memberEpoch } = (await beat(side, 'joins', joining(id, one, [reads(id)])))!;
    const join = (label: string) =>
      side.ask(label, JoinGroupCodec, 9, {
        groupId: id,
        sessionTimeoutMs: 10_000,
        rebalanceTimeoutMs: 10_000,
        memberId: '',
        protocolType: 'consumer',
        protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
      });
    const consumer = (label: string) =>
      side.ask(label, ConsumerGroupHeartbeatCodec, 1, {
        groupId: id,
        memberId: two,
        memberEpoch: 0,
        rebalanceTimeoutMs: 30_000,
        subscribedTopicNames: [id],
        topicPartitions: [],
      });
    await join('classic');
    await side.ask('a classic sync', SyncGroupCodec, 5, { groupId: id, generationId: 1, memberId: one });
    await side.ask('a classic heartbeat', HeartbeatCodec, 4, {
      groupId: id,
      generationId: memberEpoch,
      memberId: one,
    });
    await side.ask('a classic leave', LeaveGroupCodec, 5, { groupId: id, members: [{ memberId: one }] });
    await consumer('consumer');
    await side.ask('share', ShareGroupHeartbeatCodec, 1, {
      groupId: id,
      memberId: two,
      memberEpoch: 0,
      subscribedTopicNames: [id],
    });
    await side.ask('described as classic', DescribeGroupsCodec, 6, { groups: [id] });
    await side.ask('deleted while it lives', DeleteGroupsCodec, 2, { groupsNames: [id] });
    await beat(side, 'leaves', { groupId: id, memberId: one, memberEpoch: -1 });
    await consumer('consumer, when it is empty');
    await join('classic, when it is empty');
    await described(side, 'changed', id);
  }),
  group('of the name of a consumer group', async (side, id) => {
    await ready(side, id);
    await side.prepare(ConsumerGroupHeartbeatCodec, 1, {
      groupId: id,
      memberId: two,
      memberEpoch: 0,
      rebalanceTimeoutMs: 30_000,
      subscribedTopicNames: [id],
      topicPartitions: [],
    });
    await beat(side, 'joins', joining(id, one, [reads(id)]));
    await described(side, 'looked at', id);
  }),
  group('in the place of offsets', async (side, id) => {
    await ready(side, id);
    await side.prepare(OffsetCommitCodec, 8, {
      groupId: id,
      generationIdOrMemberEpoch: -1,
      memberId: '',
      topics: [{ name: id, partitions: [{ partitionIndex: 0, committedOffset: 5, committedMetadata: '' }] }],
    });
    await beat(side, 'joins', joining(id, one, [reads(id)]));
    await side.ask('the offsets', OffsetFetchCodec, 8, {
      groups: [{ groupId: id, topics: [{ name: id, partitionIndexes: [0] }] }],
    });
    await described(side, 'changed', id);
  }),
  group('whose topology is described', async (side, id) => {
    await ready(side, id);
    await beat(side, 'joins', joining(id, one, [reads(id)]));
    await side.ask('pushed', StreamsGroupTopologyDescriptionUpdateCodec, 0, {
      groupId: id,
      memberId: one,
      topologyEpoch: 0,
    });
    await side.ask('asked for', StreamsGroupDescribeCodec, 1, {
      groupIds: [id, ''],
      includeTopologyDescription: true,
    });
  }),
];

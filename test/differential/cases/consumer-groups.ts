/** Groups of the consumer protocol (KIP-848), heartbeat by heartbeat. */
import { ConsumerGroupDescribeCodec } from '../../../src/protocol/generated/consumer-group-describe.ts';
import {
  ConsumerGroupHeartbeatCodec,
  type ConsumerGroupHeartbeatRequestInput,
  type ConsumerGroupHeartbeatResponse,
} from '../../../src/protocol/generated/consumer-group-heartbeat.ts';
import { JoinGroupCodec } from '../../../src/protocol/generated/join-group.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import type { Case, Side } from '../side.ts';
import { coordinator, createTopic } from './topics.ts';

type Beat = ConsumerGroupHeartbeatRequestInput;

/** Ids that clients make for themselves; short as they are, both brokers take any text. */
const [one, two] = ['member-one', 'member-two'];

function joining(groupId: string, memberId: string, more: Beat = {}): Beat {
  return {
    groupId,
    memberId,
    memberEpoch: 0,
    rebalanceTimeoutMs: 30_000,
    subscribedTopicNames: [groupId],
    topicPartitions: [],
    ...more,
  };
}

const beat = (
  side: Side,
  label: string,
  request: Beat,
  version = 1,
): Promise<ConsumerGroupHeartbeatResponse | null> =>
  side.ask(label, ConsumerGroupHeartbeatCodec, version, request);

const described = (side: Side, label: string, groupId: string) =>
  side.ask(label, ConsumerGroupDescribeCodec, 1, { groupIds: [groupId] });

/** A topic of two partitions, and a group with its name whose only member has both. Answers the topic's id, and the member's epoch. */
async function joined(
  side: Side,
  group: string,
  more: Beat = {},
): Promise<{ readonly topicId: string; readonly epoch: number }> {
  const topicId = await createTopic(side, group, 2);
  await coordinator(side, group);
  // Kafka's coordinator hears of topics in its own time.
  await side.until(
    ConsumerGroupHeartbeatCodec,
    1,
    joining(`${group}-probe`, one, { subscribedTopicNames: [group] }),
    ({ assignment }) => (assignment?.topicPartitions.length ?? 0) > 0,
  );
  const answer = await beat(side, 'joins', joining(group, one, more));
  return { topicId, epoch: answer!.memberEpoch };
}

function group(name: string, run: (side: Side, group: string) => Promise<unknown>): Case {
  return { name: `consumer group ${name}`, run: (side, id) => run(side, id).then(() => undefined) };
}

const refusals: readonly Case[] = (
  [
    ['no group', { groupId: '' }],
    ['no member id', { memberId: '' }],
    ['no rebalance time', { rebalanceTimeoutMs: -1 }],
    ['no topics', { subscribedTopicNames: null }],
    ['an empty list of topics', { subscribedTopicNames: [] }],
    ['no list of what it owns', { topicPartitions: null }],
    ['an unknown assignor', { serverAssignor: 'whatever' }],
    ['an empty assignor', { serverAssignor: '' }],
    ['assignor range', { serverAssignor: 'range' }],
    ['assignor uniform', { serverAssignor: 'uniform' }],
    ['a broken regex', { subscribedTopicNames: null, subscribedTopicRegex: '(' }],
    ['an empty regex', { subscribedTopicNames: null, subscribedTopicRegex: '' }],
    ['a regex that nothing matches', { subscribedTopicNames: null, subscribedTopicRegex: 'no-such-.*' }],
    ['an empty instance', { instanceId: '' }],
    ['an empty rack', { rackId: '' }],
    ['an epoch though it is new', { memberEpoch: 5 }],
    ['a negative epoch', { memberEpoch: -3 }],
    ['leaving at once', { memberEpoch: -1 }],
    ['leaving for a while at once', { memberEpoch: -2, instanceId: 'i' }],
    ['leaving for a while without an instance', { memberEpoch: -2 }],
    ['a topic that is not there', { subscribedTopicNames: ['no-such-topic'] }],
    ['a topic named twice', { subscribedTopicNames: ['a', 'a'] }],
    [
      'partitions that it owns',
      { topicPartitions: [{ topicId: '4cfbb9a5-9a9b-4d0c-8d3a-0b8e4f0a9a11', partitions: [0] }] },
    ],
  ] as const
).flatMap(([name, more]) =>
  [0, 1].map((version) =>
    group(`joined with ${name}, version ${version}`, async (side, id) => {
      await createTopic(side, id, 2);
      await coordinator(side, id);
      // Before version 1 there is no field for a regex.
      if (version === 0 && 'subscribedTopicRegex' in more) return;
      await beat(side, 'joins', joining(id, one, more), version);
      // A regex is resolved in the coordinator's own time.
      if (!('subscribedTopicRegex' in more)) await described(side, 'looked at', id);
    }),
  ),
);

const lives: readonly Case[] = [
  group('of one', async (side, id) => {
    const { topicId, epoch } = await joined(side, id);
    const alive = { groupId: id, memberId: one, memberEpoch: epoch };
    await beat(side, 'alive', alive);
    await beat(side, 'owns all', { ...alive, topicPartitions: [{ topicId, partitions: [0, 1] }] });
    await described(side, 'looked at', id);
    await beat(
      side,
      'everything said again',
      joining(id, one, { memberEpoch: epoch, topicPartitions: [{ topicId, partitions: [0, 1] }] }),
    );
    await beat(side, 'another topic too', { ...alive, subscribedTopicNames: [id, 'no-such-topic'] });
    await described(side, 'looked at then', id);
    await beat(side, 'leaves', { ...alive, memberEpoch: -1 });
    await described(side, 'empty', id);
    await beat(side, 'after its end', alive);
  }),
  group('whose member asks with wrong epochs', async (side, id) => {
    const { epoch } = await joined(side, id);
    for (const by of [1, 6, 0])
      await beat(side, `epoch ${by} on`, { groupId: id, memberId: one, memberEpoch: epoch + by });
    await beat(side, 'a stranger', { groupId: id, memberId: 'stranger', memberEpoch: epoch });
    await beat(side, 'a stranger leaves', { groupId: id, memberId: 'stranger', memberEpoch: -1 });
    await beat(side, 'another group', { groupId: `${id}-x`, memberId: one, memberEpoch: epoch });
    await beat(side, 'another group is left', { groupId: `${id}-x`, memberId: one, memberEpoch: -1 });
  }),
  group('whose member joins again', async (side, id) => {
    const { epoch } = await joined(side, id);
    await beat(side, 'again', joining(id, one));
    await beat(side, 'alive', { groupId: id, memberId: one, memberEpoch: epoch });
    await described(side, 'looked at', id);
  }),
  group('of two', async (side, id) => {
    const { topicId, epoch } = await joined(side, id);
    const both = [{ topicId, partitions: [0, 1] }];
    await beat(side, 'the first owns all', {
      groupId: id,
      memberId: one,
      memberEpoch: epoch,
      topicPartitions: both,
    });
    const second = (await beat(side, 'the second joins', joining(id, two)))!.memberEpoch;
    const told = await beat(side, 'the first gives up', {
      groupId: id,
      memberId: one,
      memberEpoch: epoch,
      topicPartitions: both,
    });
    await described(side, 'while it gives up', id);
    const kept = told?.assignment?.topicPartitions.map((each) => ({ ...each })) ?? [];
    await beat(side, 'the first gave up', {
      groupId: id,
      memberId: one,
      memberEpoch: epoch,
      topicPartitions: kept,
    });
    await beat(side, 'the second gets it', { groupId: id, memberId: two, memberEpoch: second });
    await described(side, 'balanced', id);
    await beat(side, 'the first leaves', { groupId: id, memberId: one, memberEpoch: -1 });
    await beat(side, 'the second gets all', { groupId: id, memberId: two, memberEpoch: second });
    await described(side, 'left', id);
  }),
  group('with a static member', async (side, id) => {
    const { topicId, epoch } = await joined(side, id, { instanceId: 'i' });
    const alive = { groupId: id, memberId: one, memberEpoch: epoch, instanceId: 'i' };
    await beat(side, 'alive', { ...alive, topicPartitions: [{ topicId, partitions: [0, 1] }] });
    await beat(side, 'another takes its name', joining(id, two, { instanceId: 'i' }));
    await beat(side, 'away for a while', { ...alive, memberEpoch: -2 });
    await described(side, 'away', id);
    await beat(side, 'a stranger with its name', { ...alive, memberId: 'stranger' });
    await beat(side, 'comes back', joining(id, two, { instanceId: 'i' }));
    await beat(side, 'its predecessor', alive);
    await beat(side, 'its predecessor leaves', { ...alive, memberEpoch: -1 });
    await described(side, 'back', id);
    await beat(side, 'leaves for good', { ...alive, memberId: two, memberEpoch: -1 });
    await described(side, 'empty', id);
  }),
  group('by regex', async (side, id) => {
    await createTopic(side, id, 2);
    await coordinator(side, id);
    const request = joining(id, one, { subscribedTopicNames: null, subscribedTopicRegex: `${id}$` });
    await side.prepare(ConsumerGroupHeartbeatCodec, 1, request);
    // The regex is resolved in the coordinator's own time.
    await side.until(
      ConsumerGroupHeartbeatCodec,
      1,
      request,
      ({ assignment }) => (assignment?.topicPartitions.length ?? 0) > 0,
    );
    await side.ask('wrong now', ConsumerGroupHeartbeatCodec, 1, { ...request, subscribedTopicRegex: '[' });
  }),
  group('that commits', async (side, id) => {
    const { epoch } = await joined(side, id);
    const commit = (label: string, generationIdOrMemberEpoch: number, memberId: string, version = 9) =>
      side.ask(label, OffsetCommitCodec, version, {
        groupId: id,
        generationIdOrMemberEpoch,
        memberId,
        topics: [
          { name: id, partitions: [{ partitionIndex: 0, committedOffset: 3, committedMetadata: '' }] },
        ],
      });
    for (const version of [7, 8, 9]) {
      await commit('right', epoch, one, version);
      await commit('later', epoch + 1, one, version);
      await commit('earlier', epoch - 1, one, version);
      await commit('a stranger', epoch, 'stranger', version);
      await commit('nobody', -1, '', version);
    }
    for (const [memberId, by] of [
      [one, 0],
      [one, 1],
      [one, -1],
      ['stranger', 0],
      [null, -1 - epoch],
    ] as const)
      await side.ask(
        `read by ${memberId}, epoch ${memberId === null ? 'none' : by} on`,
        OffsetFetchCodec,
        9,
        {
          groups: [
            { groupId: id, memberId, memberEpoch: epoch + by, topics: [{ name: id, partitionIndexes: [0] }] },
          ],
        },
      );
  }),
  group('that a classic member joins', async (side, id) => {
    await joined(side, id);
    await side.ask(
      'classic',
      JoinGroupCodec,
      3,
      {
        groupId: id,
        sessionTimeoutMs: 30_000,
        rebalanceTimeoutMs: 30_000,
        memberId: '',
        protocolType: 'connect',
        protocols: [{ name: 'range', metadata: Buffer.from('subscription') }],
      },
      'other',
    );
  }),
];

export const consumerGroupCases: readonly Case[] = [...refusals, ...lives];

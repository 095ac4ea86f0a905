/** How groups of the streams protocol (KIP-1071) begin: with what members tell wrongly, and over which topologies. */
import type { Case } from '../side.ts';
import {
  beat,
  changelog,
  described,
  group,
  joining,
  one,
  reads,
  ready,
  type Subtopology,
  tasks,
} from './streams-support.ts';
import { createTopic } from './topics.ts';

const refusals: readonly Case[] = (
  [
    ['no group', { groupId: '' }],
    ['no member id', { memberId: '' }],
    ['no rebalance time', { rebalanceTimeoutMs: -1 }],
    ['no topology', { topology: null }],
    ['an empty topology', { topology: { epoch: 0, subtopologies: [] } }],
    ['a negative epoch of its topology', { topology: { epoch: -1, subtopologies: [] } }],
    ['tasks that it has', { activeTasks: tasks('0', 0) }],
    ['standby tasks that it has', { standbyTasks: tasks('0', 0) }],
    ['warm-ups that it has', { warmupTasks: tasks('0', 0) }],
    ['no word of tasks', { activeTasks: null, standbyTasks: null, warmupTasks: null }],
    ['no word of standby tasks', { standbyTasks: null }],
    ['an empty instance', { instanceId: '' }],
    ['an empty rack', { rackId: '' }],
    ['an epoch though it is new', { memberEpoch: 5, topology: null }],
    ['an epoch and a topology', { memberEpoch: 5 }],
    ['a negative epoch', { memberEpoch: -3, topology: null }],
    ['leaving at once', { memberEpoch: -1, topology: null }],
    ['leaving for a while at once', { memberEpoch: -2, topology: null, instanceId: 'i' }],
    ['leaving for a while without an instance', { memberEpoch: -2, topology: null }],
    ['no process', { processId: null }],
    ['no client tags', { clientTags: null }],
    ['the end of the application', { shutdownApplication: true }],
    ['offsets told', { taskOffsets: [{ subtopologyId: '0', partition: 1, offset: 7 }] }],
    [
      'offsets told twice',
      {
        taskOffsets: [
          { subtopologyId: '0', partition: 1, offset: 7 },
          { subtopologyId: '0', partition: 1, offset: 8 },
        ],
      },
    ],
  ] as const
).flatMap(([name, more]) =>
  [0, 1].map((version) =>
    group(`joined with ${name}, version ${version}`, async (side, id) => {
      await ready(side, id);
      await beat(side, 'joins', joining(id, one, [reads(id)], more), version);
      await described(side, 'looked at', id, version);
    }),
  ),
);

const topologies: readonly Case[] = (
  [
    ['a topic that is not there', (id) => [reads(`${id}-nowhere`)]],
    [
      'five topics that are not there',
      (id) => [reads(...['e', 'd', 'c', 'b', 'a'].map((name) => `${id}-${name}`))],
    ],
    ['a pattern of topics', (id) => [{ ...reads(id), sourceTopicRegex: ['.*'] }]],
    ['an internal topic', () => [reads('__consumer_offsets')]],
    ['an illegal topic', () => [reads('no topic at all')]],
    ['no input', () => [{ subtopologyId: '0' }]],
    [
      'a changelog of a size',
      (id) => [{ ...reads(id), stateChangelogTopics: [{ name: `${id}-c`, partitions: 3 }] }],
    ],
    [
      'a repartition topic that nothing writes',
      (id) => [{ ...reads(id), repartitionSourceTopics: [{ name: `${id}-r` }] }],
    ],
    [
      'a loop',
      (id) => [
        {
          subtopologyId: '0',
          repartitionSourceTopics: [{ name: `${id}-r` }],
          repartitionSinkTopics: [`${id}-s`],
        },
        {
          subtopologyId: '1',
          repartitionSourceTopics: [{ name: `${id}-s` }],
          repartitionSinkTopics: [`${id}-r`],
        },
      ],
    ],
    [
      'the same subtopology twice over other topics',
      (id) => [reads(id), { ...reads(id), subtopologyId: '1' }],
    ],
    [
      'inputs of different sizes that belong together',
      (id) => [{ ...reads(id, `${id}-more`), copartitionGroups: [{ sourceTopics: [0, 1] }] }],
    ],
    ['inputs of different sizes', (id) => [reads(id, `${id}-more`)]],
    [
      'a repartition topic of another size than its partner',
      (id) => [
        {
          ...reads(id),
          repartitionSinkTopics: [`${id}-r`],
          repartitionSourceTopics: [{ name: `${id}-r`, partitions: 3 }],
          copartitionGroups: [{ sourceTopics: [0], repartitionSourceTopics: [0] }],
        },
      ],
    ],
    [
      'a changelog that is there with another size',
      (id) => [{ ...reads(id), stateChangelogTopics: [changelog(`${id}-more`)] }],
    ],
    [
      'a changelog whose config is unknown',
      (id) => [
        {
          ...reads(id),
          stateChangelogTopics: [{ name: `${id}-c`, topicConfigs: [{ key: 'no.such', value: '1' }] }],
        },
      ],
    ],
  ] as readonly (readonly [string, (id: string) => readonly Subtopology[]])[]
).map(([name, of]) =>
  group(`over ${name}`, async (side, id) => {
    await createTopic(side, `${id}-more`, 5);
    await ready(side, id);
    const answer = await beat(side, 'joins', joining(id, one, of(id)));
    await described(side, 'looked at', id);
    if (answer !== null && answer.errorCode === 0)
      await beat(side, 'leaves', { groupId: id, memberId: one, memberEpoch: -1 });
  }),
);

export const streamsGroupCases: readonly Case[] = [...refusals, ...topologies];

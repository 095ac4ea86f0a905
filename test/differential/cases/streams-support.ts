/** Members of streams groups as differential cases play them. */
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import { StreamsGroupDescribeCodec } from '../../../src/protocol/generated/streams-group-describe.ts';
import {
  StreamsGroupHeartbeatCodec,
  type StreamsGroupHeartbeatRequestInput,
  type StreamsGroupHeartbeatRequestSubtopologyInput,
  type StreamsGroupHeartbeatResponse,
} from '../../../src/protocol/generated/streams-group-heartbeat.ts';
import type { Case, Side } from '../side.ts';
import { coordinator, createTopic } from './topics.ts';

export type Beat = StreamsGroupHeartbeatRequestInput;
export type Subtopology = StreamsGroupHeartbeatRequestSubtopologyInput;

export const [one, two, three] = ['member-one', 'member-two', 'member-three'];
export const none = { activeTasks: [], standbyTasks: [], warmupTasks: [] };

export const tasks = (subtopologyId: string, ...partitions: number[]) => [{ subtopologyId, partitions }];
export const active = (...partitions: number[]) => ({ ...none, activeTasks: tasks('0', ...partitions) });

export function joining(
  groupId: string,
  memberId: string,
  subtopologies: readonly Subtopology[],
  more: Beat = {},
): Beat {
  return {
    groupId,
    memberId,
    memberEpoch: 0,
    rebalanceTimeoutMs: 30_000,
    processId: `process of ${memberId}`,
    clientTags: [],
    topology: { epoch: 0, subtopologies },
    ...none,
    ...more,
  };
}

/** Reads one topic, without state. */
export const reads = (...sourceTopics: string[]): Subtopology => ({ subtopologyId: '0', sourceTopics });

export const changelog = (name: string) => ({
  name,
  topicConfigs: [{ key: 'cleanup.policy', value: 'compact' }],
});

/** Counts: one subtopology writes a repartition topic, the other reads it and keeps a store. */
export const counts = (group: string): readonly Subtopology[] => [
  { ...reads(group), repartitionSinkTopics: [`${group}-again`] },
  {
    subtopologyId: '1',
    repartitionSourceTopics: [
      { name: `${group}-again`, topicConfigs: [{ key: 'cleanup.policy', value: 'delete' }] },
    ],
    stateChangelogTopics: [changelog(`${group}-changelog`)],
  },
];

export const beat = (
  side: Side,
  label: string,
  request: Beat,
  version = 1,
): Promise<StreamsGroupHeartbeatResponse | null> =>
  side.ask(label, StreamsGroupHeartbeatCodec, version, request);

export const described = (side: Side, label: string, groupId: string, version = 1) =>
  side.ask(label, StreamsGroupDescribeCodec, version, { groupIds: [groupId] });

export async function configured(
  side: Side,
  group: string,
  configs: Readonly<Record<string, string>>,
): Promise<void> {
  const list = Object.entries(configs).map(([name, value]) => ({ name, value, configOperation: 0 }));
  await side.prepare(IncrementalAlterConfigsCodec, 1, {
    resources: [{ resourceType: 32, resourceName: group, configs: list }],
  });
  await side.until(
    DescribeConfigsCodec,
    4,
    { resources: [{ resourceType: 32, resourceName: group, configurationKeys: Object.keys(configs) }] },
    ({ results }) => results[0]!.configs.every(({ name, value }) => value === configs[name]),
  );
}

/** No waiting for more members, and none between two assignments. */
const atOnce = { 'streams.initial.rebalance.delay.ms': '0', 'streams.assignment.interval.ms': '0' };

/** A topic that the coordinator knows, and a group of its name that assigns at once. */
export async function ready(
  side: Side,
  group: string,
  partitions = 2,
  configs: Readonly<Record<string, string>> = {},
): Promise<void> {
  await createTopic(side, group, partitions);
  await coordinator(side, group);
  await configured(side, group, { ...atOnce, ...configs });
  await configured(side, `${group}-probe`, atOnce);
  // Kafka's coordinator hears of topics in its own time.
  await side.until(
    StreamsGroupHeartbeatCodec,
    1,
    joining(`${group}-probe`, one, [reads(group)]),
    ({ activeTasks }) => (activeTasks?.length ?? 0) > 0,
  );
}

/** The same until the answer holds; what it answered then stands in the transcript. */
export async function settled(
  side: Side,
  label: string,
  request: Beat,
  holds: (answer: StreamsGroupHeartbeatResponse) => boolean,
): Promise<StreamsGroupHeartbeatResponse> {
  const answer = await side.until(StreamsGroupHeartbeatCodec, 1, request, holds);
  side.told(label, answer);
  return answer;
}

export const stands = (side: Side, topic: string) =>
  side.until(
    MetadataCodec,
    12,
    { topics: [{ name: topic }], allowAutoTopicCreation: false },
    ({ topics }) => topics[0]!.errorCode === 0,
  );

export function group(name: string, run: (side: Side, group: string) => Promise<unknown>): Case {
  return { name: `streams group ${name}`, run: (side, id) => run(side, id).then(() => undefined) };
}

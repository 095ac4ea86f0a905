/**
 * A topology of Kafka Streams as its clients describe it (KIP-1071), in the shape of its record. It stays for the life of a
 * group: members that bring another one are refused, those of a lower epoch are told that theirs is stale.
 */
import type {
  StreamsGroupTopologyValue,
  StreamsGroupTopologyValueSubtopology,
} from '../../../protocol/generated/coordinator/streams-group-topology.ts';

export type Topology = Readonly<StreamsGroupTopologyValue>;
export type Subtopology = StreamsGroupTopologyValueSubtopology;

/** An internal topic as it must be. */
export interface InternalTopic {
  readonly name: string;
  readonly partitions: number;
  /** 0 = the broker's. */
  readonly replicationFactor: number;
  readonly configs: Readonly<Record<string, string>>;
}

/** Every topic whose existence and size the group depends on, each once. */
export function requiredTopics({ subtopologies }: Topology): Set<string> {
  const names = new Set<string>();
  for (const subtopology of subtopologies) {
    for (const name of inputTopics(subtopology)) names.add(name);
    for (const { name } of subtopology.stateChangelogTopics) names.add(name);
  }
  return names;
}

/** Topics that the tasks of a subtopology read: each task its partition of them. */
export function inputTopics({ sourceTopics, repartitionSourceTopics }: Subtopology): string[] {
  return [...sourceTopics, ...repartitionSourceTopics.map(({ name }) => name)];
}

/** All names that a topology speaks of, sinks included. */
export function namedTopics({ subtopologies }: Topology): Set<string> {
  const names = new Set<string>();
  for (const subtopology of subtopologies) {
    for (const name of inputTopics(subtopology)) names.add(name);
    for (const name of subtopology.repartitionSinkTopics) names.add(name);
    for (const { name } of subtopology.stateChangelogTopics) names.add(name);
  }
  return names;
}

/** The subtopology whose tasks read the topic. */
export function readerOf({ subtopologies }: Topology, topic: string): Subtopology | undefined {
  // Of several the last, as in Kafka.
  return subtopologies.findLast((subtopology) => inputTopics(subtopology).includes(topic));
}

/** The same subtopologies, in whatever order. */
export function sameTopology(a: Topology, b: Topology): boolean {
  return a.epoch === b.epoch && text(a) === text(b);
}

function text({ subtopologies }: Topology): string {
  return JSON.stringify(
    [...subtopologies].sort((a, b) => (a.subtopologyId < b.subtopologyId ? -1 : 1)).map(inOrder),
  );
}

/** The fields in one order, whoever made the object. */
function inOrder(subtopology: Subtopology): unknown {
  const topics = (list: Subtopology['stateChangelogTopics']): unknown =>
    list.map(({ name, partitions, replicationFactor, topicConfigs }) => [
      name,
      partitions,
      replicationFactor,
      topicConfigs.map(({ key, value }) => [key, value]),
    ]);
  return [
    subtopology.subtopologyId,
    subtopology.sourceTopics,
    subtopology.sourceTopicRegex,
    topics(subtopology.stateChangelogTopics),
    subtopology.repartitionSinkTopics,
    topics(subtopology.repartitionSourceTopics),
    subtopology.copartitionGroups.map((group) => [
      group.sourceTopics,
      group.sourceTopicRegex,
      group.repartitionSourceTopics,
    ]),
  ];
}

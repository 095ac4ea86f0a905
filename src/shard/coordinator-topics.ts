/** The internal topics as Kafka makes them, each on its first use. */
import { offsetsPlacement } from '../coordinator/group/offsets-placement.ts';
import { type CoordinatorKind, coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TopicSpec } from '../requests/support/control-plane.ts';

/** Partitions of each internal topic that does not exist yet. */
export type CoordinatorPartitions = Readonly<Record<CoordinatorKind, number>>;

const configs: Readonly<Record<CoordinatorKind, Readonly<Record<string, string>>>> = {
  group: {
    'cleanup.policy': 'compact',
    'compression.type': 'producer',
    'segment.bytes': '104857600',
    ...offsetsPlacement.config,
  },
  transaction: {
    'cleanup.policy': 'compact',
    'compression.type': 'uncompressed',
    'segment.bytes': '104857600',
  },
  share: {
    'cleanup.policy': 'delete',
    'compression.type': 'producer',
    'retention.ms': '-1',
    'segment.bytes': '104857600',
  },
};

export function coordinatorTopicSpec(kind: CoordinatorKind, partitions: CoordinatorPartitions): TopicSpec {
  return {
    name: coordinatorTopics[kind],
    partitions: partitions[kind],
    configs: configs[kind],
    internal: true,
  };
}

/** null for a topic that is nobody's coordinator. */
export function coordinatorKindOf(topic: string): CoordinatorKind | null {
  const kinds = Object.keys(coordinatorTopics) as CoordinatorKind[];
  return kinds.find((kind) => coordinatorTopics[kind] === topic) ?? null;
}

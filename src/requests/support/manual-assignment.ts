/**
 * Manual replica assignments of CreateTopics, CreatePartitions and AlterPartitionReassignments. A partition has one owner: the
 * first of the brokers named that is there; the others count for nothing, as the replication factor does, but must be
 * registered. As in Kafka the brokers of a partition differ, all partitions of a request name equally many, and one of each
 * partition's must be neither fenced nor on its way out. What does not fit is INVALID_REPLICA_ASSIGNMENT.
 */
import type { BrokerState, ClusterImage } from '../../metadata/metadata-store.ts';

export interface AssignedPartition {
  readonly partitionIndex: number;
  readonly brokerIds: readonly number[];
}

/** Null = not registered. The broker that asks may be alone and not in the image. */
function stateOf(image: ClusterImage, own: number, node: number): BrokerState | null {
  return image.brokers.get(node)?.state ?? (node === own ? 'active' : null);
}

/** The broker that is to own a partition, or what is wrong with its list. */
export function ownerAssigned(
  image: ClusterImage,
  own: number,
  { partitionIndex, brokerIds }: AssignedPartition,
): number | string {
  const includes = 'The manual partition assignment includes';
  if (brokerIds.length === 0) return `${includes} an empty replica list.`;
  const seen = new Set<number>();
  for (const node of brokerIds) {
    if (seen.has(node)) return `${includes} the broker ${node} more than once.`;
    seen.add(node);
    if (stateOf(image, own, node) === null)
      return `${includes} broker ${node}, but no such broker is registered.`;
  }
  const owner = brokerIds.find((node) => stateOf(image, own, node) === 'active');
  return owner ?? `All brokers in the manual assignment of partition ${partitionIndex} are fenced or leave.`;
}

/** The owner of each partition, in their order, or what is wrong with the first that is wrong. */
export function ownersAssigned(
  image: ClusterImage,
  own: number,
  assignments: readonly AssignedPartition[],
): number[] | string {
  const owners: number[] = [];
  const replicas = assignments[0]?.brokerIds.length ?? 0;
  for (const assignment of assignments) {
    const owner = ownerAssigned(image, own, assignment);
    if (typeof owner === 'string') return owner;
    if (assignment.brokerIds.length !== replicas) {
      const { partitionIndex, brokerIds } = assignment;
      return `The manual assignment of partition ${partitionIndex} has ${brokerIds.length} replica(s), not ${replicas} as others.`;
    }
    owners.push(owner);
  }
  return owners;
}

/** Partitions 0, 1, 2, … each once, in whatever order they come: sorted, or what is wrong. */
export function inPartitionOrder<P extends AssignedPartition>(assignments: readonly P[]): P[] | string {
  const sorted: P[] = [];
  for (const assignment of assignments) {
    const { partitionIndex } = assignment;
    if (sorted[partitionIndex] !== undefined)
      return `Partition ${partitionIndex} has more than one manual assignment.`;
    if (partitionIndex < 0 || partitionIndex >= assignments.length)
      return `Manually assigned partitions must be 0, 1, 2, …: ${partitionIndex} leaves a hole.`;
    sorted[partitionIndex] = assignment;
  }
  return sorted;
}

/**
 * Manual replica assignments of CreateTopics and CreatePartitions. This broker is the only replica there is, so an
 * assignment can say only that; all others are INVALID_REPLICA_ASSIGNMENT.
 */

/** What is wrong with one partition's broker list, or null. */
export function replicasProblem(
  partition: number,
  brokerIds: readonly number[],
  nodeId: number,
): string | null {
  if (brokerIds.length === 0) return `The manual assignment of partition ${partition} names no broker.`;
  const other = brokerIds.find((brokerId) => brokerId !== nodeId);
  if (other !== undefined) {
    return `The manual assignment of partition ${partition} names broker ${other}, which is not registered.`;
  }
  if (brokerIds.length > 1) {
    return `The manual assignment of partition ${partition} names broker ${nodeId} more than once.`;
  }
  return null;
}

/** What is wrong with a whole topic's assignments, or null: partitions 0, 1, 2, … each once, in any order. */
export function assignmentsProblem(
  assignments: readonly { readonly partitionIndex: number; readonly brokerIds: readonly number[] }[],
  nodeId: number,
): string | null {
  const seen = new Set<number>();
  for (const { partitionIndex, brokerIds } of assignments) {
    if (seen.has(partitionIndex)) return `Partition ${partitionIndex} has more than one manual assignment.`;
    seen.add(partitionIndex);
    const problem = replicasProblem(partitionIndex, brokerIds, nodeId);
    if (problem !== null) return problem;
  }
  for (let partition = 0; partition < assignments.length; partition++) {
    if (!seen.has(partition))
      return `Manually assigned partitions must be 0, 1, 2, …: ${partition} is missing.`;
  }
  return null;
}

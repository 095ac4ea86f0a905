/**
 * Sets of partitions as groups of the newer protocols hold them: what an assignor gives (`Assignment`), and what a member
 * has, each partition with the epoch at which it got it (`OwnedPartitions`, KIP-1251). Values are never changed once made,
 * so that records, answers and members share them. Nothing here knows a kind of group.
 */

/** Ascending partition numbers by topic id; no topic without partitions. */
export type Assignment = ReadonlyMap<string, readonly number[]>;

/** Assignment epochs by partition number, by topic id; no topic without partitions. */
export type OwnedPartitions = ReadonlyMap<string, ReadonlyMap<number, number>>;

/** As requests and records list them. */
export interface TopicPartitionList {
  readonly topicId: string;
  readonly partitions: readonly number[];
}

export const noAssignment: Assignment = new Map();
export const nothingOwned: OwnedPartitions = new Map();

/** Sorted, each partition once. */
export function assignmentOf(lists: readonly TopicPartitionList[]): Assignment {
  const topics = new Map<string, number[]>();
  for (const { topicId, partitions } of lists) {
    if (partitions.length === 0) continue;
    const merged = new Set([...(topics.get(topicId) ?? []), ...partitions]);
    topics.set(
      topicId,
      [...merged].sort((a, b) => a - b),
    );
  }
  return topics;
}

export function assignmentLists(assignment: Assignment): TopicPartitionList[] {
  return [...assignment].map(([topicId, partitions]) => ({ topicId, partitions }));
}

export function ownedLists(owned: OwnedPartitions): TopicPartitionList[] {
  return [...owned].map(([topicId, epochs]) => ({
    topicId,
    partitions: [...epochs.keys()].sort((a, b) => a - b),
  }));
}

export function sameAssignment(a: Assignment, b: Assignment): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, partitions] of a) {
    const other = b.get(topicId);
    if (other === undefined || other.length !== partitions.length) return false;
    for (const [i, partition] of partitions.entries()) if (other[i] !== partition) return false;
  }
  return true;
}

/** Whether both hold the same partitions at the same epochs. */
export function sameOwned(a: OwnedPartitions, b: OwnedPartitions): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [topicId, epochs] of a) {
    const other = b.get(topicId);
    if (other === undefined || other.size !== epochs.size) return false;
    for (const [partition, epoch] of epochs) if (other.get(partition) !== epoch) return false;
  }
  return true;
}

/** Whether what a client lists is all in what it was given. */
export function isSubset(lists: readonly TopicPartitionList[] | null, owned: OwnedPartitions): boolean {
  if (lists === null) return false;
  for (const { topicId, partitions } of lists) {
    const epochs = owned.get(topicId);
    for (const partition of partitions) if (epochs?.has(partition) !== true) return false;
  }
  return true;
}

/** Whether a client lists any of the partitions; what it does not tell, it may own. */
export function ownsAny(lists: readonly TopicPartitionList[] | null, owned: OwnedPartitions): boolean {
  if (lists === null) return true;
  for (const { topicId, partitions } of lists) {
    const epochs = owned.get(topicId);
    if (epochs === undefined) continue;
    for (const partition of partitions) if (epochs.has(partition)) return true;
  }
  return false;
}

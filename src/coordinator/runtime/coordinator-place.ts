/**
 * Which partition of which internal topic coordinates a key: Kafka's rule, part of the record format, so it can never
 * change. Java's String.hashCode runs over UTF-16 code units, which is what charCodeAt gives, in 32-bit wrapping
 * arithmetic; Kafka's Utils.abs of it is 0 for the smallest number, whose absolute value is no int.
 */

/** The internal topic of each kind of coordinator, in the order of FindCoordinator's key types. */
export const coordinatorTopics = {
  group: '__consumer_offsets',
  transaction: '__transaction_state',
  share: '__share_group_state',
} as const;
export type CoordinatorKind = keyof typeof coordinatorTopics;

export function javaHashCode(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(31, hash) + text.charCodeAt(i)) | 0;
  return hash;
}

/**
 * @param key group id, transactional id, or "group:topic id:partition" of a share partition
 * @param partitionCount ≥ 1, that of the internal topic
 */
export function coordinatorPartition(key: string, partitionCount: number): number {
  const hash = javaHashCode(key);
  return (hash === -2_147_483_648 ? 0 : Math.abs(hash)) % partitionCount;
}

/** What follows from the image about brokers, their logs and whose streams are, in one place. Pure. */
import type { ClusterImage, PartitionImage, WalRecord } from './metadata-store.ts';

/**
 * Registered, and not fenced.
 * @param epoch under this registration; any where it is left out.
 */
export function isInForce({ brokers }: Pick<ClusterImage, 'brokers'>, node: number, epoch?: number): boolean {
  const broker = brokers.get(node);
  if (broker === undefined || broker.state === 'fenced') return false;
  return epoch === undefined || broker.epoch === epoch;
}

/** Broker that is to own a stream; −1 = nobody was named yet. */
export function homeOf({ target, node }: Pick<PartitionImage, 'target' | 'node'>): number {
  return target >= 0 ? target : node;
}

/** On its way from one broker to another; a stream that nobody has opened yet is not. */
export function isMoving({ node, target }: Pick<PartitionImage, 'target' | 'node'>): boolean {
  return node >= 0 && target >= 0 && target !== node;
}

/** Whether brokers on other machines can come to a log, where anything is in it: in a bucket, or on a shared file system. */
export function isReachable({ kind, location }: Pick<WalRecord, 'kind' | 'location'>): boolean {
  return kind !== 'block' || location.startsWith('shared:');
}

/**
 * Object ids below were granted before any registration in force began, so to owners that are fenced: every registration takes
 * ids behind where they stood when it began.
 */
export function objectIdFloor(
  image: Pick<ClusterImage, 'brokers' | 'nextObjectId' | 'restored' | 'topicsById'>,
): number {
  const { brokers, nextObjectId } = image;
  let floor = Math.min(nextObjectId, keptFrom(image));
  for (const { state, idFloor } of brokers.values()) if (state !== 'fenced') floor = Math.min(floor, idFloor);
  return floor;
}

/**
 * After a restore, the object ids from which on nothing is taken for left over: until every stream that was open at the cut has been
 * closed at the end that its log says, an object that nothing names may hold what that log has lost. Infinite otherwise. O(partitions)
 * after a restore.
 */
export function keptFrom({ restored, topicsById }: Pick<ClusterImage, 'restored' | 'topicsById'>): number {
  if (restored === null) return Number.POSITIVE_INFINITY;
  for (const { partitions } of topicsById.values())
    for (const { state, leaderEpoch } of partitions)
      if (state === 'open' && leaderEpoch <= restored.leaderEpoch) return restored.keptFrom;
  return Number.POSITIVE_INFINITY;
}

/**
 * The next epochs. Of registrations: of a node id each is higher than all before, also where the broker was removed in between.
 * Of leaders: above all that were given before a restore.
 */
import type { ClusterImage, PartitionImage } from './metadata-store.ts';

export function nextBrokerEpoch({ brokers, retiredEpoch }: ClusterImage, node: number): number {
  return Math.max(brokers.get(node)?.epoch ?? 0, retiredEpoch) + 1;
}

export function nextLeaderEpoch(
  { restored }: Pick<ClusterImage, 'restored'>,
  { leaderEpoch }: Pick<PartitionImage, 'leaderEpoch'>,
): number {
  return Math.max(leaderEpoch, restored?.leaderEpoch ?? -1) + 1;
}

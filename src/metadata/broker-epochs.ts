/** Epochs of registrations: of a node id each is higher than all before, also where the broker was removed in between. */
import type { ClusterImage } from './metadata-store.ts';

export function nextBrokerEpoch({ brokers, retiredEpoch }: ClusterImage, node: number): number {
  return Math.max(brokers.get(node)?.epoch ?? 0, retiredEpoch) + 1;
}

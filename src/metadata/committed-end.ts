/** Up to where objects hold a stream, as the metadata say. */
import type { PartitionImage } from './metadata-store.ts';

/** End of what committed objects hold of a stream. */
export function committedEnd(partition: PartitionImage): number {
  if (partition.state === 'closed') return partition.endOffset;
  const last = partition.objects[partition.objects.length - 1];
  // Not the start of the newest epoch: an open stream's records up to there may still be in the WAL only.
  return Math.max(partition.startOffset, partition.manifest?.endOffset ?? 0, last?.endOffset ?? 0);
}

/** The metadata changes that close streams at the ends up to which objects hold them. */
import type { HeldEnd } from '../log/delta-collection.ts';
import type { ClusterImage, MetadataChange } from '../metadata/metadata-store.ts';
import { streamKey } from '../ports/stream-id.ts';

/** @param stateObjects object with the folded state by stream. Streams that are not open any more are passed over. */
export function closeChanges(
  image: ClusterImage,
  ends: readonly HeldEnd[],
  stateObjects: ReadonlyMap<string, string>,
): MetadataChange[] {
  const changes: MetadataChange[] = [];
  for (const { topicId, partition, heldEnd } of ends) {
    const open = image.topicsById.get(topicId)?.partitions[partition];
    if (open?.state !== 'open') continue;
    const { leaderEpoch } = open;
    const stateObject = stateObjects.get(streamKey(topicId, partition)) ?? '';
    changes.push({ type: 'close', topicId, partition, leaderEpoch, endOffset: heldEnd, stateObject });
  }
  return changes;
}

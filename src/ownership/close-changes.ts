/** The metadata commit that ends a volume's life in order: its partitions closed at their ends, its log recorded empty. */
import type { ClusterImage, MetadataChange } from '../metadata/metadata-store.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { WalCut } from '../stream/wal/wal.ts';

/** @param ends end offset by stream; @param stateObjects object with the folded state by stream. */
export function closeChanges(
  image: ClusterImage,
  logId: string,
  ends: ReadonlyMap<string, number>,
  stateObjects: ReadonlyMap<string, string>,
  cut: WalCut,
): MetadataChange[] {
  const changes: MetadataChange[] = [];
  for (const topic of image.topicsById.values()) {
    for (const partition of topic.partitions) {
      if (partition.state !== 'open' || partition.wal !== logId) continue;
      const key = streamKey(topic.topicId, partition.partition);
      changes.push({
        type: 'close',
        topicId: topic.topicId,
        partition: partition.partition,
        leaderEpoch: partition.leaderEpoch,
        endOffset: ends.get(key)!,
        stateObject: stateObjects.get(key) ?? '',
      });
    }
  }
  const record = image.wals.get(logId)!;
  changes.push({ type: 'wal', wal: { ...record, state: 'empty', freed: { ...cut } } });
  return changes;
}

/**
 * Whether a partition's ranges follow each other from its log start to its end, and from the newest state of producers on,
 * and its line in the report.
 */
import type { ClusterImage, PartitionImage } from '../metadata/metadata-store.ts';
import type { Manifest } from '../stream/manifest/manifest.ts';
import type { PartitionReport, Problems } from './inspect-report.ts';
import { type PartitionSpan, streamName } from './named-objects.ts';

export function inspectPartition(
  image: ClusterImage,
  partition: PartitionImage,
  manifest: Manifest | null,
  problems: Problems,
): PartitionReport {
  const { topicId, partition: index, startOffset, manifest: summary } = partition;
  const name = streamName(image, topicId, index);
  const spans: PartitionSpan[] = [...(manifest?.objects ?? []), ...partition.objects].map(
    ({ objectId, baseOffset, endOffset }) => ({ objectId, topicId, partition: index, baseOffset, endOffset }),
  );
  // A manifest that cannot be read was reported; what it covers is taken on trust.
  let at = manifest === null && summary !== null ? Math.max(startOffset, summary.endOffset) : startOffset;
  for (const { objectId, baseOffset, endOffset } of spans) {
    if (endOffset <= startOffset) continue;
    if (baseOffset > at)
      problems.add(name, 'no object holds these', null, `${name} offsets ${at} to ${baseOffset - 1}`);
    if (baseOffset < at && at > startOffset) {
      const twice = `${name} offsets ${baseOffset} to ${Math.min(at, endOffset) - 1}`;
      problems.add(name, `object ${objectId} holds again what another holds`, null, twice);
    }
    at = Math.max(at, endOffset);
  }
  const known = Math.max(summary?.endOffset ?? 0, partition.stateOffset);
  const [behind] = [...partition.leftovers, ...partition.objects].filter(
    ({ endOffset }) => endOffset > known,
  );
  if (behind !== undefined && behind.baseOffset > known) {
    const what = 'nothing says what producers did here: after a crash retries may be taken for new';
    problems.add(name, what, null, `${name} offsets ${known} to ${behind.baseOffset - 1}`);
  }
  const unwritten = image.wals.get(partition.wal)?.state === 'open';
  if (
    partition.state === 'closed' &&
    at !== partition.endOffset &&
    !unwritten &&
    partition.endOffset > startOffset
  ) {
    const what = `it was closed at ${partition.endOffset}, and no open WAL can hold what is missing`;
    problems.add(name, what, null, `${name} offsets ${at} to ${partition.endOffset - 1}`);
  }
  const bytes = (summary?.bytes ?? 0) + partition.objects.reduce((sum, object) => sum + object.bytes, 0);
  return {
    partition: index,
    state: partition.state,
    node: partition.node,
    leaderEpoch: partition.leaderEpoch,
    startOffset,
    endOffset: at,
    objects: (summary?.objects ?? 0) + partition.objects.length,
    bytes,
    manifestVersion: summary?.version ?? 0,
  };
}

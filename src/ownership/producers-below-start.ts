/**
 * What the WALs say of producers whose newest records are below the log start. Such records need not be loaded (restore-volume.ts
 * leaves them out), but no object may hold them, and their producers go on: so their headers are folded into what objects and
 * states say. Main thread, at a start, before partitions are opened. Afterwards the start stores a state of each stream.
 */
import type { ClusterImage, PartitionImage } from '../metadata/metadata-store.ts';
import { streamKey } from '../ports/stream-id.ts';
import {
  attributesOf,
  baseSequenceOf,
  isControl,
  lastSequenceOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
} from '../protocol/records/batch-header.ts';
import { producerBatchesMax } from '../stream/objects/object-sections.ts';
import type { ProducerEntry } from '../stream/objects/objects.ts';
import type { RecoveredBatches } from '../stream/wal/recovered-batches.ts';
import { batchHeaderBytes } from '../stream/wal/wal-limits.ts';

type Folded = Map<string, Map<number, ProducerEntry>>;

/** Whether the log start is above all that objects hold: then a WAL may hold records below it. */
function startsInWal({ state, startOffset, manifest, objects, leftovers }: PartitionImage): boolean {
  if (state !== 'open') return false;
  const held = Math.max(
    manifest?.endOffset ?? 0,
    objects.at(-1)?.endOffset ?? 0,
    leftovers.at(-1)?.endOffset ?? 0,
  );
  return startOffset > held;
}

/** @param wals batches that were recovered, in the order in which they were written. */
export function foldBelowStart(image: ClusterImage, wals: readonly RecoveredBatches[], folded: Folded): void {
  const starts = new Map<string, number>();
  for (const topic of image.topicsById.values())
    for (const partition of topic.partitions)
      if (startsInWal(partition))
        starts.set(streamKey(topic.topicId, partition.partition), partition.startOffset);
  if (starts.size === 0) return;
  for (const batches of wals) {
    const { headers } = batches;
    const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
    for (let i = 0; i < batches.count; i++) {
      const key = streamKey(batches.topicId(i), batches.partitions[i]!);
      const startOffset = starts.get(key);
      if (startOffset === undefined || batches.lastOffset(i) >= startOffset) continue;
      const known = folded.get(key) ?? new Map<number, ProducerEntry>();
      folded.set(key, known);
      foldBatch(known, batches, i, view);
    }
  }
}

function foldBatch(
  known: Map<number, ProducerEntry>,
  batches: RecoveredBatches,
  i: number,
  view: DataView,
): void {
  const at = i * batchHeaderBytes;
  const producerId = producerIdOf(view, at);
  if (producerId < 0 || isControl(attributesOf(view, at))) return;
  const before = known.get(producerId);
  const lastOffset = batches.lastOffset(i);
  const newest = before?.batches.at(-1);
  if (newest !== undefined && newest.lastOffset >= lastOffset) return;
  const epoch = producerEpochOf(view, at);
  const timestamp = maxTimestampOf(view, at);
  const batch = {
    firstSequence: baseSequenceOf(view, at),
    lastSequence: lastSequenceOf(view, at),
    baseOffset: batches.baseOffset(i),
    lastOffset,
    timestamp,
  };
  const earlier = before?.epoch === epoch ? before.batches.slice(1 - producerBatchesMax) : [];
  known.set(producerId, {
    producerId,
    epoch,
    timestamp,
    txnFirstOffset: before?.txnFirstOffset ?? -1,
    coordinatorEpoch: before?.coordinatorEpoch ?? -1,
    batches: [...earlier, batch],
  });
}

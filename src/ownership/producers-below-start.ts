/**
 * What the WALs say of producers whose newest records are below the log start. Such records need not be loaded (restore-volume.ts
 * leaves them out), but no object may hold them, and their producers go on: so their headers are folded into what objects and
 * states say; of markers the record is read, too. Main thread, at a start, before partitions are opened. Afterwards the
 * start stores a state of each stream.
 */
import type { ClusterImage, PartitionImage } from '../metadata/metadata-store.ts';
import { streamKey } from '../ports/stream-id.ts';
import { attributesOf, isControl } from '../protocol/records/batch-header.ts';
import { type ParsedMarker, readMarker } from '../protocol/records/control-marker.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { hasCode } from '../store/store-errors.ts';
import { foldHeader } from '../stream/producers/batch-fold.ts';
import { ProducerFold } from '../stream/producers/producer-fold.ts';
import { PayloadReader } from '../stream/wal/payload-reader.ts';
import type { RecoveredBatches } from '../stream/wal/recovered-batches.ts';
import type { RecoveredWal } from '../stream/wal/recovery.ts';
import type { WalBytes } from '../stream/wal/wal-device.ts';
import { batchHeaderBytes } from '../stream/wal/wal-limits.ts';

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

/** A write-ahead log that was read. */
export interface ReadLog {
  readonly recovered: Pick<RecoveredWal, 'batches'> | null;
  readonly bytes: WalBytes | null;
}

/** @param wals what was recovered, in the order in which it was written. */
export async function foldBelowStart(
  image: ClusterImage,
  wals: readonly ReadLog[],
  crc32c: Crc32c,
  folded: Map<string, ProducerFold>,
): Promise<void> {
  const starts = new Map<string, number>();
  for (const topic of image.topicsById.values())
    for (const partition of topic.partitions)
      if (startsInWal(partition))
        starts.set(streamKey(topic.topicId, partition.partition), partition.startOffset);
  if (starts.size === 0) return;
  for (const { recovered, bytes } of wals) {
    if (recovered === null) continue;
    const { batches } = recovered;
    const { headers } = batches;
    const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
    const payload = bytes === null ? null : new PayloadReader(bytes, crc32c);
    for (let i = 0; i < batches.count; i++) {
      const key = streamKey(batches.topicId(i), batches.partitions[i]!);
      const startOffset = starts.get(key);
      if (startOffset === undefined || batches.lastOffset(i) >= startOffset) continue;
      const fold = folded.get(key) ?? new ProducerFold();
      folded.set(key, fold);
      const at = i * batchHeaderBytes;
      const marker = isControl(attributesOf(view, at)) ? await markerOf(batches, i, payload) : null;
      foldHeader(fold, view, at, marker);
    }
  }
}

/** What a control record says; null when its records are lost. */
async function markerOf(
  batches: RecoveredBatches,
  i: number,
  payload: PayloadReader | null,
): Promise<ParsedMarker | null> {
  if (payload === null) return null;
  const batch = Buffer.alloc(batches.lengths[i]!);
  try {
    await payload.read(batches, i, batch, 0);
  } catch (error) {
    if (hasCode(error, 'WAL_PAYLOAD_DAMAGED')) return null;
    throw error;
  }
  return readMarker(new DataView(batch.buffer, batch.byteOffset, batch.length), 0);
}

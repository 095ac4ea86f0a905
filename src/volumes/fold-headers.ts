/**
 * What write-ahead logs say of producers whose newest records are below the log start. Such records need not be brought
 * anywhere, but no object may hold them, and their producers go on: so their headers are folded into what objects and states
 * say; of markers the record is read, too. Main thread, while logs are recovered.
 */
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
import { fate, type RecoveryPlan } from './recovery-plan.ts';

/** A write-ahead log that was read. */
export interface ReadLog {
  readonly recovered: Pick<RecoveredWal, 'batches'> | null;
  readonly bytes: WalBytes | null;
}

/** @param plan of the logs. */
export async function foldHeaders(
  logs: readonly ReadLog[],
  { fates }: Pick<RecoveryPlan, 'fates'>,
  producers: Map<string, ProducerFold>,
  crc32c: Crc32c,
): Promise<void> {
  for (const [log, { recovered, bytes }] of logs.entries()) {
    const ofLog = fates[log]!;
    if (!ofLog.includes(fate.headerOnly)) continue;
    const { batches } = recovered!;
    const { headers } = batches;
    const view = new DataView(headers.buffer, headers.byteOffset, headers.byteLength);
    const payload = new PayloadReader(bytes!, crc32c);
    for (let i = 0; i < batches.count; i++) {
      if (ofLog[i] !== fate.headerOnly) continue;
      const key = streamKey(batches.topicId(i), batches.partitions[i]!);
      const fold = producers.get(key) ?? new ProducerFold();
      producers.set(key, fold);
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
  payload: PayloadReader,
): Promise<ParsedMarker | null> {
  const batch = Buffer.alloc(batches.lengths[i]!);
  try {
    await payload.read(batches, i, batch, 0);
  } catch (error) {
    if (hasCode(error, 'WAL_PAYLOAD_DAMAGED')) return null;
    throw error;
  }
  return readMarker(new DataView(batch.buffer, batch.byteOffset, batch.length), 0);
}

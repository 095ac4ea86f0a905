/** Batches of records that count as soon as the log has taken them. */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../runtime/coordinator-log.ts';
import type { PartitionContext } from '../runtime/coordinator-state.ts';

/** 0 when the log has taken the records, which count from then on; else the wire error, and nothing has changed. */
export function writeNow(context: PartitionContext, records: readonly CoordinatorRecord[]): number {
  let refused: number = ErrorCode.NONE;
  let here = true;
  context.write(records, (errorCode) => {
    if (here) refused = errorCode;
  });
  here = false;
  return refused;
}

/** Bytes of a record around its key and value, rounded up. */
const recordOverheadBytes = 32;

/** The same in as many batches as it takes: each counts by itself, so what the others are good for is told by the last record. */
export function writeInBatches(
  context: PartitionContext,
  records: readonly CoordinatorRecord[],
  bytesMax: number,
): number {
  let batch: CoordinatorRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const size = record.key.length + (record.value?.length ?? 0) + recordOverheadBytes;
    if (batch.length > 0 && bytes + size > bytesMax) {
      const refused = writeNow(context, batch);
      if (refused !== ErrorCode.NONE) return refused;
      batch = [];
      bytes = 0;
    }
    bytes += size;
    batch.push(record);
  }
  return writeNow(context, batch);
}

/** Results of reads that bring no records. */
import type { PartitionHandle, ReadResult } from '../../log/partition-handle.ts';

const emptyResult: ReadResult = {
  error: 0,
  highWatermark: -1,
  lastStableOffset: -1,
  startOffset: -1,
  records: null,
};

export function failed(error: number): ReadResult {
  return { ...emptyResult, error };
}

export function withoutRecords(handle: PartitionHandle): ReadResult {
  const { highWatermark, lastStableOffset, startOffset } = handle;
  return { error: 0, highWatermark, lastStableOffset, startOffset, records: null };
}

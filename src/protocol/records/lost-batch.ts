/**
 * A header without records that stands for offsets whose records were lost: they stay assigned, and objects stay without
 * holes. Any thread. It has the form of a batch that compaction has emptied; what tells it apart is a bit of its attributes
 * that Kafka does not use, under the CRC like all attributes. It never leaves the broker: reads of it fail.
 */
import {
  attributeBits,
  attributesOf,
  batchBytesOf,
  batchHeaderBytes,
  batchOverheadBytes,
  crcStart,
  currentMagic,
  headerField,
  noProducerEpoch,
  noProducerId,
  noSequence,
  patchBaseOffset,
  patchCrc,
  patchLeaderEpoch,
  writeInt64,
} from './batch-header.ts';
import type { Crc32c } from './crc32c.ts';

export const lostBatchBytes = batchHeaderBytes;
/** Offsets that one header can stand for. */
export const lostOffsetsMax = 0x7fffffff;

const lostBit = 0x4000;
const keptBits = attributeBits.transactional | attributeBits.control;

/** Whether the batch stands for lost offsets that readers must be told of. */
export function isLost(view: DataView, at: number): boolean {
  return (attributesOf(view, at) & lostBit) !== 0 && batchBytesOf(view, at) === lostBatchBytes;
}

/**
 * Makes the header at `at` one of lost records: offsets, epoch, producer and times stay, the records go.
 * @param told false = readers pass over it, as over a batch that compaction has emptied.
 */
export function markLost(buffer: Buffer, view: DataView, at: number, told: boolean, crc32c: Crc32c): void {
  const attributes = (attributesOf(view, at) & keptBits) | (told ? lostBit : 0);
  view.setInt32(at + headerField.batchLength, lostBatchBytes - batchOverheadBytes);
  view.setInt16(at + headerField.attributes, attributes);
  view.setInt32(at + headerField.recordCount, 0);
  patchCrc(view, at, crc32c(buffer, at + crcStart, lostBatchBytes - crcStart));
}

export interface LostOffsets {
  readonly baseOffset: number;
  /** At most lostOffsetsMax behind baseOffset. */
  readonly lastOffset: number;
  readonly leaderEpoch: number;
  /** ms since 1970; −1 = none. */
  readonly maxTimestamp: number;
}

/** Writes a header at `at` for offsets of which nothing else is known. */
export function writeLost(
  buffer: Buffer,
  view: DataView,
  at: number,
  { baseOffset, lastOffset, leaderEpoch, maxTimestamp }: LostOffsets,
  told: boolean,
  crc32c: Crc32c,
): void {
  buffer.fill(0, at, at + lostBatchBytes);
  patchBaseOffset(view, at, baseOffset);
  patchLeaderEpoch(view, at, leaderEpoch);
  view.setInt8(at + headerField.magic, currentMagic);
  view.setInt32(at + headerField.lastOffsetDelta, lastOffset - baseOffset);
  writeInt64(view, at + headerField.baseTimestamp, maxTimestamp);
  writeInt64(view, at + headerField.maxTimestamp, maxTimestamp);
  writeInt64(view, at + headerField.producerId, noProducerId);
  view.setInt16(at + headerField.producerEpoch, noProducerEpoch);
  view.setInt32(at + headerField.baseSequence, noSequence);
  markLost(buffer, view, at, told, crc32c);
}

/**
 * The 61-byte header of a Kafka record batch, format v2 (magic 2): field positions, readers and patchers over bytes
 * where they lie. Any thread; nothing here allocates. `at` is the position of the batch's first byte in `view`.
 *
 * All fields are big endian:
 *
 *    0        8        12      16     17    21          23               27             35
 *    | base   | batch  | leader| magic| crc | attributes| last offset    | base          | max
 *    | offset | length | epoch | i8   | u32 | i16       | delta i32      | timestamp i64 | timestamp i64
 *    | i64    | i32    | i32   |
 *    43            51               53              57             61
 *    | producer id | producer epoch | base sequence | record count | records ...
 *    | i64         | i16            | i32           | i32          |
 *
 * batch length counts the bytes after its own field. The CRC-32C covers attributes to the end of the batch, so the
 * base offset and the leader epoch can be patched into stored bytes without a new CRC.
 */

export const headerField = {
  baseOffset: 0,
  batchLength: 8,
  partitionLeaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57,
} as const;

/** Bytes of the header; the records follow. */
export const batchHeaderBytes = 61;
/** Bytes in front of what batch length counts. */
export const batchOverheadBytes = 12;
/** First byte under the CRC. */
export const crcStart = headerField.attributes;
export const currentMagic = 2;

export const attributeBits = {
  codecMask: 0x07,
  logAppendTime: 0x08,
  transactional: 0x10,
  control: 0x20,
  deleteHorizon: 0x40,
} as const;

/** In producerId, producerEpoch and baseSequence: there is none. */
export const noProducerId = -1;
export const noProducerEpoch = -1;
export const noSequence = -1;
/** A record without a timestamp. */
export const noTimestamp = -1;

const twoTo32 = 2 ** 32;

/** An int64 as a number: exact below 2^53 (see Number.isSafeInteger), else the nearest double. */
export function readInt64(view: DataView, at: number): number {
  return view.getInt32(at) * twoTo32 + view.getUint32(at + 4);
}

/** Writes a safe integer as an int64. */
export function writeInt64(view: DataView, at: number, value: number): void {
  if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
  view.setInt32(at, Math.floor(value / twoTo32));
  view.setUint32(at + 4, value >>> 0);
}

export function baseOffsetOf(view: DataView, at: number): number {
  return readInt64(view, at + headerField.baseOffset);
}
export function batchLengthOf(view: DataView, at: number): number {
  return view.getInt32(at + headerField.batchLength);
}
/** Bytes of the whole batch as its header tells. */
export function batchBytesOf(view: DataView, at: number): number {
  return view.getInt32(at + headerField.batchLength) + batchOverheadBytes;
}
export function leaderEpochOf(view: DataView, at: number): number {
  return view.getInt32(at + headerField.partitionLeaderEpoch);
}
export function magicOf(view: DataView, at: number): number {
  return view.getInt8(at + headerField.magic);
}
/** The stored CRC-32C, unsigned. */
export function crcOf(view: DataView, at: number): number {
  return view.getUint32(at + headerField.crc);
}
export function attributesOf(view: DataView, at: number): number {
  return view.getInt16(at + headerField.attributes);
}
export function lastOffsetDeltaOf(view: DataView, at: number): number {
  return view.getInt32(at + headerField.lastOffsetDelta);
}
/** Offset of the batch's last record. */
export function lastOffsetOf(view: DataView, at: number): number {
  return baseOffsetOf(view, at) + lastOffsetDeltaOf(view, at);
}
/** ms since 1970. */
export function baseTimestampOf(view: DataView, at: number): number {
  return readInt64(view, at + headerField.baseTimestamp);
}
/** ms since 1970. */
export function maxTimestampOf(view: DataView, at: number): number {
  return readInt64(view, at + headerField.maxTimestamp);
}
/**
 * The largest timestamp as indexes and producer states keep it: a safe integer, at least -1. Headers of batches that were
 * taken on trust may say anything.
 */
export function keptTimestampOf(view: DataView, at: number): number {
  return Math.max(noTimestamp, Math.min(Number.MAX_SAFE_INTEGER, maxTimestampOf(view, at)));
}
export function producerIdOf(view: DataView, at: number): number {
  return readInt64(view, at + headerField.producerId);
}
export function producerEpochOf(view: DataView, at: number): number {
  return view.getInt16(at + headerField.producerEpoch);
}
export function baseSequenceOf(view: DataView, at: number): number {
  return view.getInt32(at + headerField.baseSequence);
}
export function recordCountOf(view: DataView, at: number): number {
  return view.getInt32(at + headerField.recordCount);
}

/** Sequence of the batch's last record; sequences wrap from 2^31-1 to 0. */
export function lastSequenceOf(view: DataView, at: number): number {
  const first = baseSequenceOf(view, at);
  return first === noSequence ? noSequence : (first + lastOffsetDeltaOf(view, at)) & 0x7fffffff;
}

export function codecOf(attributes: number): number {
  return attributes & attributeBits.codecMask;
}
export function isTransactional(attributes: number): boolean {
  return (attributes & attributeBits.transactional) !== 0;
}
export function isControl(attributes: number): boolean {
  return (attributes & attributeBits.control) !== 0;
}
export function isLogAppendTime(attributes: number): boolean {
  return (attributes & attributeBits.logAppendTime) !== 0;
}

/** Not under the CRC. */
export function patchBaseOffset(view: DataView, at: number, offset: number): void {
  writeInt64(view, at + headerField.baseOffset, offset);
}
/** Not under the CRC. */
export function patchLeaderEpoch(view: DataView, at: number, epoch: number): void {
  view.setInt32(at + headerField.partitionLeaderEpoch, epoch);
}
/**
 * Marks the batch as stamped at append: every record then has time `nowMs`. Base timestamp and deltas stay. The
 * caller computes the CRC anew and calls patchCrc.
 */
export function setLogAppendTime(view: DataView, at: number, nowMs: number): void {
  view.setInt16(at + headerField.attributes, attributesOf(view, at) | attributeBits.logAppendTime);
  writeInt64(view, at + headerField.maxTimestamp, nowMs);
}
/** Under the CRC: the caller computes it anew and calls patchCrc. */
export function patchMaxTimestamp(view: DataView, at: number, maxTimestamp: number): void {
  writeInt64(view, at + headerField.maxTimestamp, maxTimestamp);
}
export function patchCrc(view: DataView, at: number, crc: number): void {
  view.setUint32(at + headerField.crc, crc);
}

/**
 * Walks over the plain records of a batch and checks their structure, without decoding them: the portable
 * implementation beside the addon's, both of one signature and with the same answers. Shard thread, per batch;
 * allocates nothing.
 *
 *   record: | length varint | attributes i8 | timestamp delta varlong | offset delta varint
 *           | key length varint, -1 = null | key | value length varint, -1 = null | value
 *           | header count varint | { key length varint | key | value length varint, -1 = null | value } ...
 *
 * A record's length counts the bytes behind its own field and must be met exactly.
 */

/** Answers of a walk. The first fault found wins; record index and detail are not told (see faultyRecord). */
export const walkResult = {
  ok: 0,
  /** A varint or a length runs past its record or the batch. */
  malformed: 1,
  /** Offset deltas are not 0, 1, 2, ... */
  offsetDelta: 2,
  /** A null key although walkFlags.requireKeys is set. */
  nullKey: 3,
  /** Bytes are left behind the last record. */
  trailingBytes: 4,
} as const;

export const walkFlags = {
  none: 0,
  /** Null keys are a fault (compacted topics). */
  requireKeys: 1,
} as const;

/** `position` and `length` delimit the records (behind the batch header). Returns a value of walkResult. */
export type RecordWalk = (
  buffer: Uint8Array,
  position: number,
  length: number,
  recordCount: number,
  flags: number,
) => number;

/** Shortest possible record: one byte each for length, attributes, two deltas, two null lengths, header count. */
export const recordBytesMin = 7;

/** What readVarint gives for a cut-off or overlong varint: no field may have this value. */
const broken = -0x80000000;

// Where the walk stands. Module state instead of an object: one walk runs at a time in a thread, to its end.
let cursor = 0;
let walked = 0;

function readVarint(buffer: Uint8Array, end: number): number {
  if (cursor >= end) return broken;
  let byte = buffer[cursor++]!;
  if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1);
  let raw = byte & 0x7f;
  for (let shift = 7; shift <= 28; shift += 7) {
    if (cursor >= end) return broken;
    byte = buffer[cursor++]!;
    raw |= (byte & 0x7f) << shift;
    if (byte < 0x80) return (raw >>> 1) ^ -(raw & 1);
  }
  return broken;
}

function skipVarlong(buffer: Uint8Array, end: number): boolean {
  for (let i = 0; i < 10; i++) {
    if (cursor >= end) return false;
    if (buffer[cursor++]! < 0x80) return true;
  }
  return false;
}

export const portableRecordWalk: RecordWalk = (buffer, position, length, recordCount, flags) => {
  const end = position + length;
  const requireKeys = (flags & walkFlags.requireKeys) !== 0;
  cursor = position;
  for (walked = 0; walked < recordCount; walked++) {
    const size = readVarint(buffer, end);
    if (size < recordBytesMin - 1 || size > end - cursor) return walkResult.malformed;
    const recordEnd = cursor + size;
    cursor++; // attributes: unused in v2, any value
    if (!skipVarlong(buffer, recordEnd)) return walkResult.malformed;
    const delta = readVarint(buffer, recordEnd);
    if (delta !== walked) return delta === broken ? walkResult.malformed : walkResult.offsetDelta;
    const keyLength = readVarint(buffer, recordEnd);
    if (keyLength < -1 || keyLength > recordEnd - cursor) return walkResult.malformed;
    if (keyLength > 0) cursor += keyLength;
    else if (keyLength === -1 && requireKeys) return walkResult.nullKey;
    const valueLength = readVarint(buffer, recordEnd);
    if (valueLength < -1 || valueLength > recordEnd - cursor) return walkResult.malformed;
    if (valueLength > 0) cursor += valueLength;
    const headerCount = readVarint(buffer, recordEnd);
    // A header takes two bytes or more, so this bounds the loop by the record's own size.
    if (headerCount < 0 || headerCount * 2 > recordEnd - cursor) return walkResult.malformed;
    for (let h = 0; h < headerCount; h++) {
      const nameLength = readVarint(buffer, recordEnd);
      if (nameLength < 0 || nameLength > recordEnd - cursor) return walkResult.malformed;
      cursor += nameLength;
      const headerLength = readVarint(buffer, recordEnd);
      if (headerLength < -1 || headerLength > recordEnd - cursor) return walkResult.malformed;
      if (headerLength > 0) cursor += headerLength;
    }
    if (cursor !== recordEnd) return walkResult.malformed;
  }
  return cursor === end ? walkResult.ok : walkResult.trailingBytes;
};

/** Index of the record a walk stops at (recordCount if it does not): for RecordErrors, after a walk has failed. */
export function faultyRecord(
  buffer: Uint8Array,
  position: number,
  length: number,
  recordCount: number,
  flags: number,
): number {
  portableRecordWalk(buffer, position, length, recordCount, flags);
  return walked;
}

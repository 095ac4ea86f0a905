/**
 * Walks over the plain records of a batch and judges them without decoding them: structure, keys, times, and the largest
 * timestamp on the way. The portable implementation beside the addon's, both of one signature and with the same answers
 * and reports. Any thread, per batch; allocates nothing.
 *
 *   record: | length varint | attributes i8 | timestamp delta varlong | offset delta varint
 *           | key length varint, -1 = null | key | value length varint, -1 = null | value
 *           | header count varint | { key length varint | key | value length varint, -1 = null | value } ...
 *
 * A record's length counts the bytes behind its own field and must be met exactly. A fault of structure ends the walk and
 * is the answer. Faults of single records (key, time) do not end it: they are counted, and listed as far as the report
 * has room.
 */

/** Answers of a walk. */
export const walkResult = {
  ok: 0,
  /** A varint or a length runs past its record or the batch. */
  malformed: 1,
  /** Offset deltas are not 0, 1, 2, ... */
  offsetDelta: 2,
  /** Well-formed, but some records are at fault: see the report. */
  faultyRecords: 3,
  /** Bytes are left behind the last record. */
  trailingBytes: 4,
} as const;

export const walkFlags = {
  none: 0,
  /** Null keys are a fault (compacted topics). */
  requireKeys: 1,
  /** Timestamps outside the report's window are a fault, except that of a record without one. */
  judgeTimes: 2,
} as const;

/**
 * What a walk is told and tells, as places of a Float64Array. The base timestamp comes in halves, since an int64 may be
 * larger than a double is exact. Entries are recordIndex × 2, plus 1 where it is the time that is wrong.
 *
 *   | base high i32 | base low u32 | time min | time max | largest timestamp | faults | entry | entry | ...
 *   └──────────────── in ────────────────────────────────┘└──────────── out ──────────────────────────┘
 *
 * The largest timestamp is that of Kafka's LogValidator: at least -1; as a double beyond 2^53. Faults counts all of them,
 * listed or not.
 */
export const walkReport = {
  baseTimeHigh: 0,
  baseTimeLow: 1,
  /** ms since 1970, inclusive, safe integers. */
  timeMin: 2,
  timeMax: 3,
  maxTimestamp: 4,
  faults: 5,
  entries: 6,
} as const;

/** `position` and `length` delimit the records (behind the batch header). Returns a value of walkResult. */
export type RecordWalk = (
  buffer: Uint8Array,
  position: number,
  length: number,
  recordCount: number,
  flags: number,
  report: Float64Array,
) => number;

/** Shortest possible record: one byte each for length, attributes, two deltas, two null lengths, header count. */
export const recordBytesMin = 7;

/** A report with room for so many faulty records. */
export function createWalkReport(entriesMax: number): Float64Array {
  return new Float64Array(walkReport.entries + entriesMax);
}

/** What readVarint gives for a cut-off or overlong varint: no field may have this value. */
const broken = -0x80000000;
/** Deltas below this add up exactly with a base that is a safe integer, or leave the safe integers. */
const exactDelta = 2 ** 52;

// Where the walk stands. Module state instead of an object: one walk runs at a time in a thread, to its end.
let cursor = 0;
/** The last varlong: its value, exact below 2^52. */
let delta = 0;

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

/** Reads a varlong into `delta`; false when it is cut off or overlong. */
function readVarlong(buffer: Uint8Array, end: number): boolean {
  let raw = 0;
  let scale = 1;
  for (let i = 0; i < 10; i++) {
    if (cursor >= end) return false;
    const byte = buffer[cursor++]!;
    raw += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      delta = raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
      return true;
    }
    scale *= 0x80;
  }
  return false;
}

/** Base plus the varlong at `at`, as 64-bit arithmetic has it: for the few where doubles are not exact. */
function exactTimestamp(buffer: Uint8Array, at: number, base: bigint): number {
  let raw = 0n;
  for (let shift = 0n, i = at; ; shift += 7n) {
    const byte = buffer[i++]!;
    raw |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  raw = BigInt.asUintN(64, raw);
  const value = (raw >> 1n) ^ -(raw & 1n);
  return Number(BigInt.asIntN(64, base + value));
}

export const portableRecordWalk: RecordWalk = (buffer, position, length, recordCount, flags, report) => {
  const end = position + length;
  const requireKeys = (flags & walkFlags.requireKeys) !== 0;
  const judgeTimes = (flags & walkFlags.judgeTimes) !== 0;
  const baseHigh = report[walkReport.baseTimeHigh]!;
  const baseLow = report[walkReport.baseTimeLow]!;
  const base = baseHigh * 2 ** 32 + baseLow;
  const baseExact = Number.isSafeInteger(base);
  const timeMin = report[walkReport.timeMin]!;
  const timeMax = report[walkReport.timeMax]!;
  let maxTimestamp = -1;
  let faults = 0;
  report[walkReport.maxTimestamp] = -1;
  report[walkReport.faults] = 0;
  cursor = position;
  for (let index = 0; index < recordCount; index++) {
    const size = readVarint(buffer, end);
    if (size < recordBytesMin - 1 || size > end - cursor) return walkResult.malformed;
    const recordEnd = cursor + size;
    cursor++; // attributes: unused in v2, any value
    const deltaAt = cursor;
    if (!readVarlong(buffer, recordEnd)) return walkResult.malformed;
    let timestamp = base + delta;
    if (!baseExact || !(delta > -exactDelta && delta < exactDelta)) {
      timestamp = exactTimestamp(buffer, deltaAt, (BigInt(baseHigh) << 32n) + BigInt(baseLow));
    }
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    const offsetDelta = readVarint(buffer, recordEnd);
    if (offsetDelta !== index) return offsetDelta === broken ? walkResult.malformed : walkResult.offsetDelta;
    const keyLength = readVarint(buffer, recordEnd);
    if (keyLength < -1 || keyLength > recordEnd - cursor) return walkResult.malformed;
    if (keyLength > 0) cursor += keyLength;
    if (keyLength === -1 && requireKeys) {
      if (walkReport.entries + faults < report.length) report[walkReport.entries + faults] = 2 * index;
      faults++;
    } else if (judgeTimes && (timestamp < timeMin || timestamp > timeMax) && timestamp !== -1) {
      if (walkReport.entries + faults < report.length) report[walkReport.entries + faults] = 2 * index + 1;
      faults++;
    }
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
  if (cursor !== end) return walkResult.trailingBytes;
  report[walkReport.maxTimestamp] = maxTimestamp;
  report[walkReport.faults] = faults;
  return faults === 0 ? walkResult.ok : walkResult.faultyRecords;
};

/**
 * Judges a producer's batch before it is appended, by Kafka's rules (LogValidator): header and CRC always, plain records
 * in the same go. Shard thread, once per batch; a good batch costs no allocation. Compressed records are judged by
 * validateRecords (compressed-records.ts); where a topic trusts its producers with them (records.validation=header) the
 * header's times stand for theirs, and their number is bounded by what such bytes can hold.
 */
import { codecId, outputBytesMax } from '../compression/codec.ts';
import { ErrorCode } from '../generated/errors.ts';
import {
  attributeBits,
  attributesOf,
  baseOffsetOf,
  baseSequenceOf,
  baseTimestampOf,
  batchHeaderBytes,
  batchLengthOf,
  batchOverheadBytes,
  codecOf,
  crcOf,
  crcStart,
  currentMagic,
  headerField,
  isLogAppendTime,
  lastOffsetDeltaOf,
  magicOf,
  maxTimestampOf,
  noSequence,
  noTimestamp,
  patchCrc,
  patchMaxTimestamp,
  producerIdOf,
  recordCountOf,
} from './batch-header.ts';
import type { Crc32c } from './crc32c.ts';
import { type RecordWalk, recordBytesMin, walkFlags, walkReport, walkResult } from './record-walk.ts';

/** A verdict is one of these numbers; `ok` is 0. What clients are told is in verdictTable. */
export const batchVerdict = {
  ok: 0,
  truncated: 1,
  notOneBatch: 2,
  oldMagic: 3,
  unknownMagic: 4,
  baseOffset: 5,
  tooLarge: 6,
  badCrc: 7,
  unknownCodec: 8,
  zstdTooEarly: 9,
  controlBatch: 10,
  noRecords: 11,
  countMismatch: 12,
  missingSequence: 13,
  producerId: 14,
  logAppendTime: 15,
  timestamp: 16,
  malformedRecord: 17,
  offsetDelta: 18,
  nullKey: 19,
  trailingBytes: 20,
  undecodable: 21,
  decompressedTooLarge: 22,
  codecNotHere: 23,
} as const;
export type BatchVerdict = (typeof batchVerdict)[keyof typeof batchVerdict];

export type VerdictEntry = {
  /** Number of the Kafka error a client gets. */
  readonly error: number;
  readonly message: string;
};

/** Indexed by verdict. */
export const verdictTable: readonly VerdictEntry[] = [
  { error: ErrorCode.NONE, message: '' },
  { error: ErrorCode.INVALID_RECORD, message: 'The record batch is cut off.' },
  { error: ErrorCode.INVALID_RECORD, message: 'Exactly one record batch is expected for a partition.' },
  { error: ErrorCode.INVALID_RECORD, message: 'Message formats older than version 2 are not supported.' },
  { error: ErrorCode.INVALID_RECORD, message: 'The record batch has an unknown format version.' },
  { error: ErrorCode.INVALID_RECORD, message: 'The base offset of a produced batch must be 0.' },
  {
    error: ErrorCode.MESSAGE_TOO_LARGE,
    message: 'The record batch is larger than max.message.bytes of its topic.',
  },
  { error: ErrorCode.CORRUPT_MESSAGE, message: 'The CRC of the record batch does not match its content.' },
  { error: ErrorCode.UNKNOWN_SERVER_ERROR, message: 'The compression codec of the record batch is unknown.' },
  {
    error: ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    message: 'zstd needs version 7 or later of the produce request.',
  },
  { error: ErrorCode.INVALID_RECORD, message: 'Clients cannot write control batches.' },
  { error: ErrorCode.INVALID_RECORD, message: 'The record batch holds no record.' },
  {
    error: ErrorCode.INVALID_RECORD,
    message: 'Record count and last offset delta do not agree with the batch.',
  },
  { error: ErrorCode.INVALID_RECORD, message: 'A batch with a producer id needs a sequence number.' },
  {
    error: ErrorCode.INVALID_RECORD,
    message: 'The producer id is outside the range of ids this cluster gives out.',
  },
  { error: ErrorCode.INVALID_TIMESTAMP, message: 'Only the broker gives records the time of their append.' },
  { error: ErrorCode.INVALID_TIMESTAMP, message: 'Records are refused for their timestamps.' },
  { error: ErrorCode.INVALID_RECORD, message: 'A record is malformed.' },
  { error: ErrorCode.INVALID_RECORD, message: 'The offset deltas of the records are not consecutive.' },
  { error: ErrorCode.INVALID_RECORD, message: 'Records of a compacted topic are refused for want of a key.' },
  { error: ErrorCode.INVALID_RECORD, message: 'The record batch has bytes behind its last record.' },
  { error: ErrorCode.UNKNOWN_SERVER_ERROR, message: 'The records cannot be decompressed.' },
  {
    error: ErrorCode.MESSAGE_TOO_LARGE,
    message: 'The records take more than the allowed bytes when decompressed.',
  },
  {
    error: ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    message: 'This broker cannot decode the compression codec here.',
  },
];

/** What is told of each record at fault, by the lowest bit of its entry in the walk's report. */
export const recordFaults: readonly string[] = [
  'A record of a compacted topic needs a key.',
  'The timestamp lies outside of what message.timestamp.before.max.ms and message.timestamp.after.max.ms allow.',
];

/** How the records of a batch are judged; structured-cloneable. */
export type RecordRules = {
  /** Null keys are refused (compacted topics). */
  readonly requireKeys: boolean;
  /** False with LogAppendTime: the producer's times do not matter. */
  readonly judgeTimes: boolean;
  /** First and last time allowed, ms since 1970; safe integers. */
  readonly timeMin: number;
  readonly timeMax: number;
  /** Most bytes that the records may take when plain. */
  readonly decompressedBytesMax: number;
};

export type ValidateOptions = RecordRules & {
  readonly crc32c: Crc32c;
  /** `max.message.bytes` of the topic. */
  readonly batchBytesMax: number;
  /** False for Produce below version 7 (KIP-110). */
  readonly zstdAllowed: boolean;
  /** Compressed records are taken on trust: the header's times are judged, and the count's plausibility. */
  readonly trustCompressed: boolean;
  readonly walk: RecordWalk;
  /** Of the last walk; filled where the verdict is `ok`, `nullKey` or `timestamp` for a batch that is not compressed. */
  readonly report: Float64Array;
};

/** The window of times, ms since 1970, as safe integers: no time beyond them could be held in an index. */
export function timeMinOf(nowMs: number, beforeMaxMs: number): number {
  return Math.max(-Number.MAX_SAFE_INTEGER, nowMs - beforeMaxMs);
}
export function timeMaxOf(nowMs: number, afterMaxMs: number): number {
  return Math.min(Number.MAX_SAFE_INTEGER, nowMs + afterMaxMs);
}

/**
 * Judges the `length` bytes at `position` as the records of one partition in a produce request. `view` and `buffer`
 * cover the same bytes. The order of the checks is Kafka's, so the same fault gets the same error.
 */
export function validateBatch(
  view: DataView,
  buffer: Uint8Array,
  position: number,
  length: number,
  options: ValidateOptions,
): BatchVerdict {
  // The magic byte lies at the same place in all formats: old ones are named before their size is judged.
  if (length > headerField.magic) {
    const magic = magicOf(view, position);
    if (magic !== currentMagic) {
      return magic === 0 || magic === 1 ? batchVerdict.oldMagic : batchVerdict.unknownMagic;
    }
  }
  if (length < batchHeaderBytes) return batchVerdict.truncated;
  const batchBytes = batchLengthOf(view, position) + batchOverheadBytes;
  if (batchBytes > length) return batchVerdict.truncated;
  if (batchBytes < length) return batchVerdict.notOneBatch;

  const attributes = attributesOf(view, position);
  const codec = codecOf(attributes);
  if (codec === codecId.zstd && !options.zstdAllowed) return batchVerdict.zstdTooEarly;
  if (baseOffsetOf(view, position) !== 0) return batchVerdict.baseOffset;
  if (length > options.batchBytesMax) return batchVerdict.tooLarge;
  const crc = options.crc32c(buffer, position + crcStart, length - crcStart);
  if (crc !== crcOf(view, position)) return batchVerdict.badCrc;
  if (codec > codecId.zstd) return batchVerdict.unknownCodec;
  if ((attributes & attributeBits.control) !== 0) return batchVerdict.controlBatch;

  const recordCount = recordCountOf(view, position);
  const recordsBytes = length - batchHeaderBytes;
  if (recordCount < 1) return batchVerdict.noRecords;
  if (lastOffsetDeltaOf(view, position) !== recordCount - 1) return batchVerdict.countMismatch;

  const producerId = producerIdOf(view, position);
  if (producerId >= 0) {
    // Ids come from this cluster, which gives out safe integers only.
    if (!Number.isSafeInteger(producerId)) return batchVerdict.producerId;
    if (baseSequenceOf(view, position) <= noSequence) return batchVerdict.missingSequence;
  }

  if (isLogAppendTime(attributes) && (!options.judgeTimes || maxTimestampOf(view, position) === noTimestamp))
    return batchVerdict.logAppendTime;
  if (codec === codecId.none)
    return judgeRecords(view, position, buffer, position + batchHeaderBytes, recordsBytes, options);
  if (!options.trustCompressed) return batchVerdict.ok;
  const plainBytesMax = Math.min(options.decompressedBytesMax, outputBytesMax(codec, recordsBytes));
  if (recordCount * recordBytesMin > plainBytesMax) return batchVerdict.countMismatch;
  return options.judgeTimes ? judgeHeaderTimes(view, position, options) : batchVerdict.ok;
}

/** The first record's time and the largest, as the header tells them. */
function judgeHeaderTimes(view: DataView, position: number, { timeMin, timeMax }: RecordRules): BatchVerdict {
  const first = baseTimestampOf(view, position);
  const largest = maxTimestampOf(view, position);
  if (first !== noTimestamp && !(first >= timeMin && first <= timeMax)) return batchVerdict.timestamp;
  return largest >= noTimestamp && largest <= timeMax ? batchVerdict.ok : batchVerdict.timestamp;
}

/**
 * Walks over the plain records at `recordsAt` in `records`, which belong to the batch whose header is at `at` in `view`,
 * and leaves the walk's report.
 */
export function judgeRecords(
  view: DataView,
  at: number,
  records: Uint8Array,
  recordsAt: number,
  recordsBytes: number,
  options: RecordRules & Pick<ValidateOptions, 'walk' | 'report'>,
): BatchVerdict {
  const { report, requireKeys, judgeTimes } = options;
  report[walkReport.baseTimeHigh] = view.getInt32(at + headerField.baseTimestamp);
  report[walkReport.baseTimeLow] = view.getUint32(at + headerField.baseTimestamp + 4);
  report[walkReport.timeMin] = options.timeMin;
  report[walkReport.timeMax] = options.timeMax;
  const flags = (requireKeys ? walkFlags.requireKeys : 0) | (judgeTimes ? walkFlags.judgeTimes : 0);
  const count = recordCountOf(view, at);
  if (count * recordBytesMin > recordsBytes) return batchVerdict.countMismatch;
  return walkVerdict(options.walk(records, recordsAt, recordsBytes, count, flags, report), report);
}

function walkVerdict(result: number, report: Float64Array): BatchVerdict {
  switch (result) {
    case walkResult.ok:
      return batchVerdict.ok;
    case walkResult.offsetDelta:
      return batchVerdict.offsetDelta;
    case walkResult.trailingBytes:
      return batchVerdict.trailingBytes;
    case walkResult.faultyRecords:
      return anyTimeFault(report) ? batchVerdict.timestamp : batchVerdict.nullKey;
    default:
      return batchVerdict.malformedRecord;
  }
}

/** Faulty records that the report lists, of all that there are. */
export function listedFaults(report: Float64Array): number {
  return Math.min(report[walkReport.faults]!, report.length - walkReport.entries);
}

/** One wrong time makes the whole an INVALID_TIMESTAMP, as in Kafka. */
function anyTimeFault(report: Float64Array): boolean {
  const end = walkReport.entries + listedFaults(report);
  for (let i = walkReport.entries; i < end; i++) if (report[i]! % 2 === 1) return true;
  return false;
}

/**
 * Takes the mark of append times from a batch whose times are its producer's: readers would take the largest for that of every
 * record. Kafka's rule, which refuses it only where nobody has judged the times: in a topic of LogAppendTime, or without any.
 */
export function settleTimestampType(
  view: DataView,
  buffer: Uint8Array,
  position: number,
  length: number,
  crc32c: Crc32c,
): void {
  const attributes = attributesOf(view, position);
  if (!isLogAppendTime(attributes)) return;
  view.setInt16(position + headerField.attributes, attributes & ~attributeBits.logAppendTime);
  patchCrc(view, position, crc32c(buffer, position + crcStart, length - crcStart));
}

/**
 * Puts what the records say in the place of what the producer claimed; a CRC over the batch only where they differ. Not
 * for topics of LogAppendTime, whose batches are stamped when they are appended.
 */
export function settleMaxTimestamp(
  view: DataView,
  buffer: Uint8Array,
  position: number,
  length: number,
  maxTimestamp: number,
  crc32c: Crc32c,
): void {
  if (maxTimestampOf(view, position) === maxTimestamp) return;
  patchMaxTimestamp(view, position, maxTimestamp);
  patchCrc(view, position, crc32c(buffer, position + crcStart, length - crcStart));
}

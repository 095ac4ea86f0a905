/**
 * Judges a producer's batch before it is appended: Kafka's rules for the header always, and the records themselves
 * when asked. Shard thread, once per batch; a good batch costs no allocation.
 *
 * Limits: compressed records are judged only by validateRecords in compressed-records.ts (a topic's choice, since
 * decompression costs ten times the rest). Timestamps are judged by the header: the first record's and the largest;
 * Kafka looks at each record.
 */
import { ErrorCode } from '../generated/errors.ts';
import {
  attributeBits,
  attributesOf,
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
  lastOffsetDeltaOf,
  magicOf,
  maxTimestampOf,
  noSequence,
  noTimestamp,
  producerIdOf,
  recordCountOf,
} from './batch-header.ts';
import type { Crc32c } from './crc32c.ts';
import { type RecordWalk, recordBytesMin, walkFlags, walkResult } from './record-walk.ts';

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
  timestampTooOld: 16,
  timestampTooNew: 17,
  malformedRecord: 18,
  offsetDelta: 19,
  nullKey: 20,
  trailingBytes: 21,
  undecodable: 22,
  decompressedTooLarge: 23,
  codecNotHere: 24,
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
  { error: ErrorCode.INVALID_TIMESTAMP, message: 'Producers cannot set the timestamp type LogAppendTime.' },
  {
    error: ErrorCode.INVALID_TIMESTAMP,
    message: 'A timestamp is older than message.timestamp.before.max.ms allows.',
  },
  {
    error: ErrorCode.INVALID_TIMESTAMP,
    message: 'A timestamp is newer than message.timestamp.after.max.ms allows.',
  },
  { error: ErrorCode.INVALID_RECORD, message: 'A record is malformed.' },
  { error: ErrorCode.INVALID_RECORD, message: 'The offset deltas of the records are not consecutive.' },
  { error: ErrorCode.INVALID_RECORD, message: 'Records of a compacted topic need a key.' },
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

export type ValidateOptions = {
  readonly crc32c: Crc32c;
  /** `max.message.bytes` of the topic. */
  readonly batchBytesMax: number;
  /** False for Produce below version 7 (KIP-110). */
  readonly zstdAllowed: boolean;
  /** ms since 1970. */
  readonly nowMs: number;
  /** `message.timestamp.before.max.ms`; Infinity for no limit. Not looked at with LogAppendTime. */
  readonly timestampBeforeMaxMs: number;
  /** `message.timestamp.after.max.ms`; Infinity for no limit. */
  readonly timestampAfterMaxMs: number;
  /** True for a topic with `message.timestamp.type=LogAppendTime`: the producer's times do not matter. */
  readonly logAppendTime: boolean;
  /** Null keys are refused (compacted topics); needs `walk`, and for compressed batches validateRecords. */
  readonly requireKeys: boolean;
  /** Walks over uncompressed records; undefined: their inside is not looked at. */
  readonly walk: RecordWalk | undefined;
};

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
  if (codec === 4 && !options.zstdAllowed) return batchVerdict.zstdTooEarly;
  if (view.getInt32(position) !== 0 || view.getInt32(position + 4) !== 0) return batchVerdict.baseOffset;
  if (length > options.batchBytesMax) return batchVerdict.tooLarge;
  const crc = options.crc32c(buffer, position + crcStart, length - crcStart);
  if (crc !== crcOf(view, position)) return batchVerdict.badCrc;
  if (codec > 4) return batchVerdict.unknownCodec;
  if ((attributes & attributeBits.control) !== 0) return batchVerdict.controlBatch;

  const recordCount = recordCountOf(view, position);
  const recordsBytes = length - batchHeaderBytes;
  if (recordCount < 1) return batchVerdict.noRecords;
  if (lastOffsetDeltaOf(view, position) !== recordCount - 1) return batchVerdict.countMismatch;
  if (codec === 0 && recordCount * recordBytesMin > recordsBytes) return batchVerdict.countMismatch;

  const producerId = producerIdOf(view, position);
  if (producerId >= 0) {
    // Ids come from this cluster, which gives out safe integers only.
    if (!Number.isSafeInteger(producerId)) return batchVerdict.producerId;
    if (baseSequenceOf(view, position) <= noSequence) return batchVerdict.missingSequence;
  }

  if ((attributes & attributeBits.logAppendTime) !== 0) return batchVerdict.logAppendTime;
  if (!options.logAppendTime) {
    const first = baseTimestampOf(view, position);
    const last = maxTimestampOf(view, position);
    if (first !== noTimestamp && options.nowMs - first > options.timestampBeforeMaxMs) {
      return batchVerdict.timestampTooOld;
    }
    // Beyond 2^53 a time is not exact, and no window reaches there: the time index could not hold it.
    if (last - options.nowMs > options.timestampAfterMaxMs || !(last <= Number.MAX_SAFE_INTEGER)) {
      return batchVerdict.timestampTooNew;
    }
    if (first < -Number.MAX_SAFE_INTEGER) return batchVerdict.timestampTooOld;
  }

  if (codec !== 0 || options.walk === undefined) return batchVerdict.ok;
  const flags = options.requireKeys ? walkFlags.requireKeys : walkFlags.none;
  return walkVerdict(options.walk(buffer, position + batchHeaderBytes, recordsBytes, recordCount, flags));
}

export function walkVerdict(result: number): BatchVerdict {
  switch (result) {
    case walkResult.ok:
      return batchVerdict.ok;
    case walkResult.offsetDelta:
      return batchVerdict.offsetDelta;
    case walkResult.nullKey:
      return batchVerdict.nullKey;
    case walkResult.trailingBytes:
      return batchVerdict.trailingBytes;
    default:
      return batchVerdict.malformedRecord;
  }
}

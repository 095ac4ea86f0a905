/**
 * Judges the records inside a batch that validateBatch has passed, decompressing them within a bound: what compacted
 * topics need (keys), and others by setting. Costs as much as decompression does; the caller decides where it runs.
 */
import { CompressionError, compressionFailure } from '../compression/codec.ts';
import type { Codecs } from '../compression/codecs.ts';
import { attributesOf, batchHeaderBytes, codecOf, recordCountOf } from './batch-header.ts';
import { faultyRecord, type RecordWalk, recordBytesMin, walkFlags, walkResult } from './record-walk.ts';
import { type BatchVerdict, batchVerdict, walkVerdict } from './validate.ts';

export type DeepOptions = {
  readonly codecs: Codecs;
  readonly walk: RecordWalk;
  /** `max.decompressed.message.bytes`: most bytes the records may take when plain. */
  readonly decompressedBytesMax: number;
  readonly requireKeys: boolean;
};

export type DeepVerdict = {
  readonly verdict: BatchVerdict;
  /** Index of the record at fault, for RecordErrors; -1 when the fault is not one record's. */
  readonly record: number;
};

const passed: DeepVerdict = { verdict: batchVerdict.ok, record: -1 };

/** Judges the records of the batch of `length` bytes at `position`, compressed or not. */
export function validateRecords(
  view: DataView,
  buffer: Uint8Array,
  position: number,
  length: number,
  options: DeepOptions,
): DeepVerdict {
  const codec = codecOf(attributesOf(view, position));
  const count = recordCountOf(view, position);
  let records: Uint8Array = buffer.subarray(position + batchHeaderBytes, position + length);
  if (codec !== 0) {
    try {
      records = options.codecs.decompress(codec, records, options.decompressedBytesMax);
    } catch (error) {
      if (!(error instanceof CompressionError)) throw error;
      return { verdict: failureVerdict[error.code], record: -1 };
    }
  }
  if (count * recordBytesMin > records.length) return { verdict: batchVerdict.countMismatch, record: -1 };
  const flags = options.requireKeys ? walkFlags.requireKeys : walkFlags.none;
  const result = options.walk(records, 0, records.length, count, flags);
  if (result === walkResult.ok) return passed;
  const record =
    result === walkResult.trailingBytes ? -1 : faultyRecord(records, 0, records.length, count, flags);
  return { verdict: walkVerdict(result), record };
}

const failureVerdict = {
  [compressionFailure.unsupported]: batchVerdict.codecNotHere,
  [compressionFailure.corrupt]: batchVerdict.undecodable,
  [compressionFailure.tooLarge]: batchVerdict.decompressedTooLarge,
} as const;

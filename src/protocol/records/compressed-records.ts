/**
 * Judges the records inside a compressed batch that validateBatch has passed, decompressing them within a bound. Costs as
 * much as decompression does; the caller decides where it runs (log/record-work.ts). Any thread.
 */
import { CompressionError, compressionFailure } from '../compression/codec.ts';
import type { Codecs } from '../compression/codecs.ts';
import { attributesOf, batchHeaderBytes, codecOf } from './batch-header.ts';
import {
  type BatchVerdict,
  batchVerdict,
  judgeRecords,
  type RecordRules,
  type ValidateOptions,
} from './validate.ts';

export type DeepOptions = RecordRules &
  Pick<ValidateOptions, 'walk' | 'report'> & {
    readonly codecs: Codecs;
  };

/**
 * Judges the records of the batch of `length` bytes at `position`, compressed or not. The report is filled as by
 * validateBatch.
 */
export function validateRecords(
  view: DataView,
  buffer: Uint8Array,
  position: number,
  length: number,
  options: DeepOptions,
): BatchVerdict {
  let records: Uint8Array = buffer.subarray(position + batchHeaderBytes, position + length);
  try {
    const codec = codecOf(attributesOf(view, position));
    records = options.codecs.decompress(codec, records, options.decompressedBytesMax);
  } catch (error) {
    if (!(error instanceof CompressionError)) throw error;
    return failureVerdict[error.code];
  }
  return judgeRecords(view, position, records, 0, records.length, options);
}

const failureVerdict = {
  [compressionFailure.unsupported]: batchVerdict.codecNotHere,
  [compressionFailure.corrupt]: batchVerdict.undecodable,
  [compressionFailure.tooLarge]: batchVerdict.decompressedTooLarge,
} as const;

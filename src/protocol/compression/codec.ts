/**
 * What a Kafka compression codec is here: its number in a batch's attributes, its two directions, and the one error
 * class all of them throw. Used from any thread; a codec keeps no state between calls.
 *
 * Invariants: a decompressor never returns, nor holds, more than `maxBytes` of output (a small constant of working
 * memory apart), however its input lies about sizes. Inputs may be views of shared memory.
 */
import { MillraceError } from '../../ports/errors.ts';

/** Codec numbers as they stand in bits 0-2 of a record batch's attributes. */
export const codecId = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const;
export type CodecId = (typeof codecId)[keyof typeof codecId];
export type CodecName = keyof typeof codecId;

/** Names by number, as `compression.type` spells them. */
export const codecNames: readonly CodecName[] = ['none', 'gzip', 'snappy', 'lz4', 'zstd'];

export const compressionFailure = {
  /** The codec's library does not load on this machine; batches can still be stored and served as they came. */
  unsupported: 'UNSUPPORTED_COMPRESSION_TYPE',
  /** The input is not what its codec calls valid. */
  corrupt: 'CORRUPT_COMPRESSED_DATA',
  /** The output would be larger than the caller allows. */
  tooLarge: 'DECOMPRESSED_TOO_LARGE',
} as const;
export type CompressionFailure = (typeof compressionFailure)[keyof typeof compressionFailure];

const kinds = {
  UNSUPPORTED_COMPRESSION_TYPE: 'invalid',
  CORRUPT_COMPRESSED_DATA: 'corrupt',
  DECOMPRESSED_TOO_LARGE: 'exhausted',
} as const satisfies Record<CompressionFailure, string>;

export class CompressionError extends MillraceError {
  declare readonly code: CompressionFailure;

  constructor(code: CompressionFailure, message: string, cause?: unknown) {
    super(kinds[code], code, message, cause === undefined ? undefined : { cause });
    this.name = 'CompressionError';
  }
}

/** Most bytes of output per byte of input that each format can state: deflate's longest match, LZ4's length bytes, … */
const expansionMax = [1, 1032, 64, 255, 128 * 1024] as const;

/** Most bytes that `inputBytes` of codec `id` can hold, whatever they say. */
export function outputBytesMax(id: number, inputBytes: number): number {
  return (expansionMax[id] ?? 1) * inputBytes;
}

export interface Codec {
  /** @param level in the codec's own numbers; its default where absent, and where its library knows none (snappy, lz4). */
  compress(input: Uint8Array, level?: number): Buffer;
  /**
   * Bytes of output as the input's own headers state them, an upper bound for all that decompress will accept, without
   * decoding. Never throws: 0 for what is no input of this codec. For gzip, which states it at its end and modulo 2^32,
   * it is an honest writer's number and no bound.
   */
  statedBytes(input: Uint8Array): number;
  /** Throws CompressionError; `maxBytes` bounds the output in bytes. */
  decompress(input: Uint8Array, maxBytes: number): Buffer;
}

/** Loads a package by name, as `require` does; throws when it is missing or has no binary for this machine. */
export type LoadPackage = (packageName: string) => unknown;

/** A Buffer over the same bytes: the native libraries look for Buffer, callers may hold any byte view. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function corrupt(codec: CodecName, detail: string, cause?: unknown): CompressionError {
  return new CompressionError(compressionFailure.corrupt, `${codec}: ${detail}`, cause);
}

export function tooLarge(codec: CodecName, maxBytes: number): CompressionError {
  return new CompressionError(compressionFailure.tooLarge, `${codec}: more than ${maxBytes} bytes of output`);
}

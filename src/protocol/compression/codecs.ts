/**
 * The set of codecs a broker has. Each library is loaded at its first use, so a broker whose clients never compress
 * pays for none; a library that does not load is remembered with its reason. One set per thread.
 */
import { createRequire } from 'node:module';
import {
  type Codec,
  CompressionError,
  codecId,
  codecNames,
  compressionFailure,
  type LoadPackage,
  outputBytesMax,
} from './codec.ts';
import { gzipCodec } from './gzip.ts';
import { openLz4 } from './lz4.ts';
import { openSnappy } from './snappy.ts';
import { openZstd } from './zstd.ts';

export interface Codecs {
  /** Compresses with codec `id` (0-4), see Codec.compress. Id 0 returns the input's bytes uncopied. */
  compress(id: number, input: Uint8Array, level?: number): Buffer;
  /**
   * Decompresses at most `maxBytes` (1 or more). Id 0 returns the input's bytes uncopied. Throws CompressionError:
   * UNSUPPORTED_COMPRESSION_TYPE, CORRUPT_COMPRESSED_DATA or DECOMPRESSED_TOO_LARGE.
   */
  decompress(id: number, input: Uint8Array, maxBytes: number): Buffer;
  /** Codec.statedBytes of codec `id`, or less where its input cannot hold that; 0 when it is unknown or does not load. */
  statedBytes(id: number, input: Uint8Array): number;
  /** Why codec `id` cannot be used here; undefined when it can. Loads it. */
  unavailable(id: number): string | undefined;
}

const noneCodec: Codec = {
  compress: (input) => view(input),
  statedBytes: (input) => input.byteLength,
  decompress(input, maxBytes) {
    if (input.byteLength > maxBytes) {
      throw new CompressionError(compressionFailure.tooLarge, `none: more than ${maxBytes} bytes of output`);
    }
    return view(input);
  },
};

function view(input: Uint8Array): Buffer {
  return Buffer.from(input.buffer, input.byteOffset, input.byteLength);
}

/** `load` is replaced in tests, to show what a machine without a library does. */
export function createCodecs(load: LoadPackage = createRequire(import.meta.url)): Codecs {
  const opened: Array<Codec | CompressionError | undefined> = [
    noneCodec,
    gzipCodec,
    undefined,
    undefined,
    undefined,
  ];

  function open(id: number): Codec | CompressionError {
    const known = opened[id];
    if (known !== undefined) return known;
    const name = codecNames[id];
    if (name === undefined)
      return new CompressionError(compressionFailure.unsupported, `codec ${id} is unknown`);
    let result: Codec | CompressionError;
    try {
      if (id === codecId.snappy) result = openSnappy(load);
      else if (id === codecId.lz4) result = openLz4(load);
      else result = openZstd(load);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      result = new CompressionError(
        compressionFailure.unsupported,
        `${name}: its library does not load here (${reason}); batches are stored as they came, decoding is refused`,
        error,
      );
    }
    opened[id] = result;
    return result;
  }

  function usable(id: number): Codec {
    const codec = open(id);
    if (codec instanceof CompressionError) throw codec;
    return codec;
  }

  return {
    compress: (id, input, level) => usable(id).compress(input, level),
    decompress(id, input, maxBytes) {
      if (!(maxBytes >= 1)) throw new RangeError(`maxBytes must be 1 or more, got ${maxBytes}`);
      return usable(id).decompress(input, maxBytes);
    },
    statedBytes(id, input) {
      const codec = open(id);
      if (codec instanceof CompressionError) return 0;
      return Math.min(codec.statedBytes(input), outputBytesMax(id, input.byteLength));
    },
    unavailable(id) {
      const codec = open(id);
      return codec instanceof CompressionError ? codec.message : undefined;
    },
  };
}

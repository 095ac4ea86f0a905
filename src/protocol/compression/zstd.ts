/**
 * zstd: plain frames (RFC 8878), several in a row, no dictionary. The library decodes a whole frame at once without
 * a bound, so the bound is kept here: block headers say how much a frame can yield at most (zstd-frames.ts), and
 * where that guess is above what is allowed, ever longer beginnings of the frame are decoded as frames of their own
 * until its true size is known. Never more than maxBytes and one block is produced by one call.
 *
 * The library is a prebuilt native one, published for Linux on x64; elsewhere Node's own zstd (22.15 and later) takes
 * its place.
 */
import * as zlib from 'node:zlib';
import { asBuffer, type Codec, corrupt, type LoadPackage, tooLarge } from './codec.ts';
import { frameStart, parseFrame, skippableEnd, type ZstdFrame, zstdBlockBytesMax } from './zstd-frames.ts';

const defaultLevel = 3;
/** Encoders kept, one for each level that topics name. */
const encodersMax = 8;
/** ZSTD_c_compressionLevel. */
const levelParameter = 100;
/**
 * What finding out a frame's size may cost, as a multiple of the allowed output: bytes in and out of all its probes.
 * Encoders that fill their blocks need no probe, block-splitting ones one to three; a frame made of thousands of
 * near-empty blocks uses this up and is refused as too large.
 */
const probeWorkFactor = 16;
const probeWorkFixed = 1024;

type ZstdLibrary = {
  compress(input: Buffer, level: number): Buffer;
  decompressFrame(frame: Buffer, outputMax: number): Buffer;
};

export function openZstd(load: LoadPackage): Codec {
  const library = openLibrary(load);

  function decode(frame: Buffer, outputMax: number): Buffer {
    try {
      return library.decompressFrame(frame, outputMax);
    } catch (error) {
      throw corrupt('zstd', (error as Error).message, error);
    }
  }

  /** True when the frame's output is proven to be at most `allowed` bytes. */
  function fits(source: Buffer, frame: ZstdFrame, allowed: number): boolean {
    const room = allowed + zstdBlockBytesMax;
    let work = probeWorkFactor * room;
    let known = 0; // output of the first `done` blocks
    let done = 0;
    while (work > 0) {
      let bound = known;
      let next = done;
      while (next < frame.blocks.length && bound + frame.blocks[next]!.outputMax <= room) {
        bound += frame.blocks[next]!.outputMax;
        next++;
      }
      if (next === frame.blocks.length && bound <= allowed) return true;
      // known <= allowed here, so one more block always fits the room: every turn makes progress.
      const probe = frameStart(source, frame, next);
      known = decode(probe, room).length;
      done = next;
      if (known > allowed) return false;
      if (done === frame.blocks.length) return true;
      work -= probe.length + known + probeWorkFixed;
    }
    return false;
  }

  return {
    compress: (input, level = defaultLevel) => library.compress(asBuffer(input), level),

    statedBytes(input) {
      const source = asBuffer(input);
      let total = 0;
      try {
        for (let at = 0; at < source.length; ) {
          const skipped = skippableEnd(source, at);
          if (skipped > 0) {
            at = skipped;
            continue;
          }
          const frame = parseFrame(source, at);
          for (const block of frame.blocks) total += block.outputMax;
          at = frame.end;
        }
      } catch {
        // What follows will not be decoded either.
      }
      return total;
    },

    decompress(input, maxBytes) {
      const source = asBuffer(input);
      const parts: Buffer[] = [];
      let total = 0;
      let at = 0;
      if (source.length === 0) throw corrupt('zstd', 'no frame');
      while (at < source.length) {
        const skipped = skippableEnd(source, at);
        if (skipped > 0) {
          at = skipped;
          continue;
        }
        const frame = parseFrame(source, at);
        if (!fits(source, frame, maxBytes - total)) throw tooLarge('zstd', maxBytes);
        const part = decode(source.subarray(at, frame.end), maxBytes - total);
        total += part.length;
        // The bound above is a claim about the library; it is checked, not trusted.
        if (total > maxBytes) throw tooLarge('zstd', maxBytes);
        parts.push(part);
        at = frame.end;
      }
      return parts.length === 1 ? parts[0]! : Buffer.concat(parts, total);
    },
  };
}

function openLibrary(load: LoadPackage): ZstdLibrary {
  try {
    const { Decoder, Encoder } = load('@toondepauw/node-zstd') as typeof import('@toondepauw/node-zstd');
    const decoder = new Decoder();
    // An encoder is made for one level; topics name few.
    const encoders = new Map<number, InstanceType<typeof Encoder>>();
    const encoderOf = (level: number): InstanceType<typeof Encoder> => {
      let encoder = encoders.get(level);
      if (encoder === undefined) {
        if (encoders.size >= encodersMax) encoders.clear();
        encoder = new Encoder(level);
        encoders.set(level, encoder);
      }
      return encoder;
    };
    encoderOf(defaultLevel);
    return {
      compress: (input, level) => encoderOf(level).encodeSync(input),
      decompressFrame: (frame) => decoder.decodeSync(frame),
    };
  } catch (error) {
    const own = zlib as unknown as {
      zstdCompressSync?: (input: Buffer, options: { params: Record<number, number> }) => Buffer;
      zstdDecompressSync?: (input: Buffer, options: { maxOutputLength: number }) => Buffer;
    };
    const { zstdCompressSync, zstdDecompressSync } = own;
    if (zstdCompressSync === undefined || zstdDecompressSync === undefined) throw error;
    return {
      compress: (input, level) => zstdCompressSync(input, { params: { [levelParameter]: level } }),
      decompressFrame: (frame, outputMax) =>
        zstdDecompressSync(frame, { maxOutputLength: Math.max(1, outputMax) }),
    };
  }
}

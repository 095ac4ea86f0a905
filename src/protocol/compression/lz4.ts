/**
 * LZ4 as Kafka uses it: one LZ4 frame with independent blocks. The frame is parsed here and only its blocks go to the
 * library, because a bound on the output can then be kept block by block. As in Java's client: linked blocks and
 * dictionaries are refused, block checksum, content size and content checksum are allowed (and verified here), and
 * bytes after the end mark are ignored.
 *
 *   | magic u32 LE | FLG | BD | [content size u64] | HC | blocks ... | end mark u32 = 0 | [content checksum u32] |
 *   block: | size u32 LE, bit 31 = stored | data | [xxh32 u32] |
 *   FLG: bits 7-6 version 01, 5 independent blocks, 4 block checksums, 3 content size, 2 content checksum, 0 dictionary
 *   BD: bits 6-4 block maximum: 4 = 64 KiB, 5 = 256 KiB, 6 = 1 MiB, 7 = 4 MiB;  HC = second byte of xxh32(FLG..)
 */
import {
  asBuffer,
  type Codec,
  codecId,
  corrupt,
  type LoadPackage,
  outputBytesMax,
  tooLarge,
} from './codec.ts';
import { xxhash32 } from './xxhash32.ts';

const magic = 0x184d2204;
const flagVersionMask = 0xc0;
const flagVersion = 0x40;
const flagIndependent = 0x20;
const flagBlockChecksum = 0x10;
const flagContentSize = 0x08;
const flagContentChecksum = 0x04;
const flagRefused = 0x03;
const storedBit = 0x80000000;
/** What we write: 64 KiB blocks, as Java's producer does. */
const writeBlockCode = 4;
const writeBlockBytes = 64 * 1024;

type Lz4Library = Pick<typeof import('lz4-napi'), 'compressSync' | 'uncompressSync'>;

export function openLz4(load: LoadPackage): Codec {
  const library = load('lz4-napi') as Lz4Library;

  /** The library's block form carries a u32 LE output size in front: there the bound is put. */
  function block(data: Buffer, outputMax: number): Buffer {
    const framed = Buffer.allocUnsafe(4 + data.length);
    framed.writeUInt32LE(outputMax, 0);
    framed.set(data, 4);
    return library.uncompressSync(framed);
  }

  return {
    compress(input) {
      const source = asBuffer(input);
      const head = Buffer.alloc(7);
      head.writeUInt32LE(magic, 0);
      head[4] = flagVersion | flagIndependent;
      head[5] = writeBlockCode << 4;
      head[6] = (xxhash32(head, 4, 6) >>> 8) & 0xff;
      const parts: Buffer[] = [head];
      for (let at = 0; at < source.length; at += writeBlockBytes) {
        const plain = source.subarray(at, Math.min(at + writeBlockBytes, source.length));
        const sized = library.compressSync(plain);
        const stored = sized.length - 4 >= plain.length;
        const data = stored ? plain : sized.subarray(4);
        const size = Buffer.allocUnsafe(4);
        size.writeUInt32LE((stored ? data.length | storedBit : data.length) >>> 0, 0);
        parts.push(size, data);
      }
      parts.push(Buffer.alloc(4));
      return Buffer.concat(parts);
    },

    statedBytes(input) {
      const source = asBuffer(input);
      try {
        const frame = readFrameHeader(source);
        if (frame.contentBytes !== undefined) return frame.contentBytes;
        let total = 0;
        for (let at = frame.headerBytes; source.length - at >= 4; ) {
          const word = source.readUInt32LE(at);
          if (word === 0) break;
          const size = (word & ~storedBit) >>> 0;
          total += word >= storedBit ? size : Math.min(frame.blockBytes, outputBytesMax(codecId.lz4, size));
          at += 4 + size + (frame.blockChecksums ? 4 : 0);
        }
        return total;
      } catch {
        return 0;
      }
    },

    decompress(input, maxBytes) {
      const source = asBuffer(input);
      const frame = readFrameHeader(source);
      if (frame.contentBytes !== undefined && frame.contentBytes > maxBytes) throw tooLarge('lz4', maxBytes);
      const parts: Buffer[] = [];
      let total = 0;
      let at = frame.headerBytes;
      for (;;) {
        const word = u32(source, at);
        at += 4;
        if (word === 0) break;
        const size = (word & ~storedBit) >>> 0;
        if (size > frame.blockBytes || size > source.length - at) {
          throw corrupt('lz4', `a block of ${size} bytes is cut off or too long`);
        }
        const data = source.subarray(at, at + size);
        at += size;
        if (frame.blockChecksums) {
          if (u32(source, at) !== xxhash32(data)) throw corrupt('lz4', 'a block checksum does not match');
          at += 4;
        }
        const allowed = Math.min(frame.blockBytes, maxBytes - total);
        let part: Buffer;
        if (word >= storedBit) {
          if (size > allowed) throw tooLarge('lz4', maxBytes);
          part = data;
        } else {
          try {
            part = block(data, allowed);
          } catch (error) {
            // The library cannot tell a full output from bad data; with less room than a block may fill it is the room.
            if (allowed < frame.blockBytes) throw tooLarge('lz4', maxBytes);
            throw corrupt('lz4', (error as Error).message, error);
          }
        }
        total += part.length;
        parts.push(part);
      }
      const output = Buffer.concat(parts, total);
      if (frame.contentBytes !== undefined && frame.contentBytes !== total) {
        throw corrupt('lz4', `${total} bytes where the frame announces ${frame.contentBytes}`);
      }
      if (frame.contentChecksum && u32(source, at) !== xxhash32(output)) {
        throw corrupt('lz4', 'the content checksum does not match');
      }
      return output;
    },
  };
}

type FrameHeader = {
  readonly headerBytes: number;
  readonly blockBytes: number;
  readonly blockChecksums: boolean;
  readonly contentChecksum: boolean;
  readonly contentBytes: number | undefined;
};

function readFrameHeader(source: Buffer): FrameHeader {
  if (source.length < 7 || source.readUInt32LE(0) !== magic) throw corrupt('lz4', 'no LZ4 frame');
  const flags = source[4]!;
  if ((flags & flagVersionMask) !== flagVersion) throw corrupt('lz4', `frame version ${flags >>> 6}`);
  if ((flags & flagIndependent) === 0) throw corrupt('lz4', 'linked blocks are not part of Kafka');
  if ((flags & flagRefused) !== 0) throw corrupt('lz4', 'a dictionary or a reserved bit');
  const descriptor = source[5]!;
  const blockCode = descriptor >>> 4;
  if ((descriptor & 0x8f) !== 0 || blockCode < 4) throw corrupt('lz4', `block descriptor ${descriptor}`);
  const sized = (flags & flagContentSize) !== 0;
  const hashAt = sized ? 14 : 6;
  if (source.length <= hashAt) throw corrupt('lz4', 'the frame header is cut off');
  if (source[hashAt] !== ((xxhash32(source, 4, hashAt) >>> 8) & 0xff)) {
    throw corrupt('lz4', 'the header checksum does not match');
  }
  return {
    headerBytes: hashAt + 1,
    blockBytes: 1 << (8 + 2 * blockCode),
    blockChecksums: (flags & flagBlockChecksum) !== 0,
    contentChecksum: (flags & flagContentChecksum) !== 0,
    contentBytes: sized ? source.readUInt32LE(6) + source.readUInt32LE(10) * 2 ** 32 : undefined,
  };
}

function u32(source: Buffer, at: number): number {
  if (source.length - at < 4) throw corrupt('lz4', 'the frame is cut off');
  return source.readUInt32LE(at);
}

/**
 * The outer structure of zstd frames (RFC 8878 §3.1): where a frame ends, which blocks it has and how much each can
 * yield at most. No entropy decoding; that is the library's part.
 *
 *   | magic fd2fb528 LE | descriptor | [window] | [dictionary id 0-4] | [content size 0-8] | blocks ... | [checksum 4] |
 *   descriptor: bits 7-6 content size field, 5 single segment (no window byte), 2 checksum, 1-0 dictionary id field
 *   block: 3 bytes LE: bit 0 last, bits 2-1 type (0 raw, 1 one repeated byte, 2 compressed), bits 23-3 size
 */
import { corrupt } from './codec.ts';

const magic = 0xfd2fb528;
const skippableMagic = 0x184d2a50;
const blockRaw = 0;
const blockRepeat = 1;
const blockCompressed = 2;

/** No block of any frame yields more than this. */
export const zstdBlockBytesMax = 128 * 1024;
/** Windows above 128 MiB are refused by every decoder's defaults. */
const windowBytesMax = 2 ** 27;

export type ZstdBlock = {
  /** End of the block, exclusive, in the source. */
  readonly end: number;
  /** Most bytes the block can yield. */
  readonly outputMax: number;
  readonly start: number;
};

export type ZstdFrame = {
  readonly start: number;
  readonly blocksStart: number;
  readonly end: number;
  readonly windowByte: number;
  readonly blocks: readonly ZstdBlock[];
};

/** End of a skippable frame at `at`, or 0 when there is none. */
export function skippableEnd(source: Buffer, at: number): number {
  if (source.length - at < 8) return 0;
  if ((source.readUInt32LE(at) & 0xfffffff0) >>> 0 !== skippableMagic) return 0;
  const end = at + 8 + source.readUInt32LE(at + 4);
  if (end > source.length) throw corrupt('zstd', 'a skippable frame is cut off');
  return end;
}

export function parseFrame(source: Buffer, start: number): ZstdFrame {
  if (source.length - start < 6 || source.readUInt32LE(start) !== magic)
    throw corrupt('zstd', 'no zstd frame');
  const descriptor = source[start + 4]!;
  const singleSegment = (descriptor & 0x20) !== 0;
  if ((descriptor & 0x03) !== 0) throw corrupt('zstd', 'dictionaries are not part of Kafka');
  if ((descriptor & 0x08) !== 0) throw corrupt('zstd', 'a reserved bit is set');
  let at = start + 5;
  let windowByte = 0;
  let windowBytes = 0;
  if (!singleSegment) {
    windowByte = source[at]!;
    windowBytes = 2 ** (10 + (windowByte >>> 3)) * (1 + (windowByte & 7) / 8);
    at += 1;
  }
  const sizeCode = descriptor >>> 6;
  const sizeBytes = sizeCode === 0 ? (singleSegment ? 1 : 0) : 1 << sizeCode;
  if (source.length - at < sizeBytes) throw corrupt('zstd', 'a frame header is cut off');
  if (singleSegment) {
    windowBytes = readSize(source, at, sizeBytes);
    windowByte = windowByteFor(windowBytes);
  }
  at += sizeBytes;
  if (windowBytes > windowBytesMax) throw corrupt('zstd', `a window of ${windowBytes} bytes`);
  const blocksStart = at;
  const blockMax = Math.min(windowBytes, zstdBlockBytesMax);
  const blocks: ZstdBlock[] = [];
  for (let last = false; !last; ) {
    if (source.length - at < 3) throw corrupt('zstd', 'a block header is cut off');
    const header = source.readUIntLE(at, 3);
    last = (header & 1) === 1;
    const type = (header >>> 1) & 3;
    const size = header >>> 3;
    if (type > blockCompressed) throw corrupt('zstd', 'an unknown block type');
    if (size > blockMax) throw corrupt('zstd', `a block of ${size} bytes`);
    const end = at + 3 + (type === blockRepeat ? 1 : size);
    if (end > source.length) throw corrupt('zstd', 'a block is cut off');
    blocks.push({ start: at, end, outputMax: type === blockRaw || type === blockRepeat ? size : blockMax });
    at = end;
  }
  if ((descriptor & 0x04) !== 0) at += 4;
  if (at > source.length) throw corrupt('zstd', 'a checksum is cut off');
  return { start, blocksStart, end: at, windowByte, blocks };
}

/** A frame of its own made of the first `count` (1 or more) blocks: no content size, no checksum, same window. */
export function frameStart(source: Buffer, frame: ZstdFrame, count: number): Buffer {
  const lastBlock = frame.blocks[count - 1]!;
  const body = lastBlock.end - frame.blocksStart;
  const piece = Buffer.allocUnsafe(6 + body);
  piece.writeUInt32LE(magic, 0);
  piece[4] = 0;
  piece[5] = frame.windowByte;
  piece.set(source.subarray(frame.blocksStart, lastBlock.end), 6);
  const headerAt = 6 + lastBlock.start - frame.blocksStart;
  piece[headerAt] = piece[headerAt]! | 1;
  return piece;
}

function readSize(source: Buffer, at: number, bytes: number): number {
  if (bytes === 1) return source[at]!;
  if (bytes === 2) return source.readUInt16LE(at) + 256;
  if (bytes === 4) return source.readUInt32LE(at);
  return source.readUInt32LE(at) + source.readUInt32LE(at + 4) * 2 ** 32;
}

/** The smallest power-of-two window descriptor that covers `bytes`. */
function windowByteFor(bytes: number): number {
  let log = 10;
  while (2 ** log < bytes && log < 41) log++;
  return (log - 10) << 3;
}

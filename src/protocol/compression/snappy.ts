/**
 * Snappy as Java's Kafka client speaks it: the xerial stream (a header, then length-prefixed raw snappy blocks). One
 * bare raw block is read as well, since librdkafka and others once wrote it. Streams may follow each other, each with its
 * header, as Java's reader takes them. The official snappy framing format is not part of Kafka and is refused.
 *
 *   0        8          12         16
 *   | magic  | version  | compat   | { int32 BE length | raw snappy block } ...
 *   82 "SNAPPY" 00   1          1
 */
import { asBuffer, type Codec, corrupt, type LoadPackage, tooLarge } from './codec.ts';

const magic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const headerBytes = 16;
/** Java's block size; any size is read. */
const blockBytes = 32 * 1024;

type SnappyLibrary = Pick<typeof import('@napi-rs/snappy'), 'compressSync' | 'uncompressSync'>;

export function openSnappy(load: LoadPackage): Codec {
  const library = load('@napi-rs/snappy') as SnappyLibrary;

  function block(raw: Buffer, maxBytes: number, allowed: number): Buffer {
    const announced = announcedLength(raw);
    if (announced > allowed) throw tooLarge('snappy', maxBytes);
    try {
      return library.uncompressSync(raw);
    } catch (error) {
      throw corrupt('snappy', (error as Error).message, error);
    }
  }

  return {
    compress(input) {
      const source = asBuffer(input);
      const header = Buffer.alloc(headerBytes);
      magic.copy(header);
      header.writeInt32BE(1, 8);
      header.writeInt32BE(1, 12);
      const parts: Buffer[] = [header];
      for (let at = 0; at < source.length; at += blockBytes) {
        const raw = library.compressSync(source.subarray(at, Math.min(at + blockBytes, source.length)));
        const size = Buffer.allocUnsafe(4);
        size.writeInt32BE(raw.length, 0);
        parts.push(size, raw);
      }
      return Buffer.concat(parts);
    },

    statedBytes(input) {
      const source = asBuffer(input);
      let total = 0;
      try {
        if (!startsStream(source, 0)) return announcedLength(source);
        for (let at = headerBytes; source.length - at >= 4; ) {
          if (startsStream(source, at)) {
            at += headerBytes;
            continue;
          }
          const size = source.readInt32BE(at);
          if (size <= 0) break;
          total += announcedLength(source.subarray(at + 4, at + 4 + size));
          at += 4 + size;
        }
      } catch {
        // What follows will not be decoded either.
      }
      return total;
    },

    decompress(input, maxBytes) {
      const source = asBuffer(input);
      if (!startsStream(source, 0)) return block(source, maxBytes, maxBytes);
      const parts: Buffer[] = [];
      let total = 0;
      let at = 0;
      while (at < source.length) {
        // Read as a block length the magic would be negative, so the two cannot be taken for each other.
        if (startsStream(source, at)) {
          if (source.length - at < headerBytes) throw corrupt('snappy', 'a stream header is cut off');
          at += headerBytes;
          continue;
        }
        if (source.length - at < 4) throw corrupt('snappy', 'a block length is cut off');
        const size = source.readInt32BE(at);
        at += 4;
        if (size <= 0 || size > source.length - at)
          throw corrupt('snappy', `a block of ${size} bytes is cut off`);
        const part = block(source.subarray(at, at + size), maxBytes, maxBytes - total);
        total += part.length;
        parts.push(part);
        at += size;
      }
      return parts.length === 1 ? parts[0]! : Buffer.concat(parts, total);
    },
  };
}

function startsStream(source: Buffer, at: number): boolean {
  return source.length - at >= magic.length && magic.compare(source, at, at + magic.length) === 0;
}

/** The uvarint at the front of a raw block. The library allocates that much at once, so it is checked before. */
function announcedLength(raw: Buffer): number {
  let value = 0;
  for (let i = 0; i < 5; i++) {
    const byte = raw[i];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return value;
  }
  throw corrupt('snappy', 'no block length');
}

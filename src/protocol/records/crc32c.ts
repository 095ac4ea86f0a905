/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) over part of a buffer: the portable implementations behind
 * the addon's. @node-rs/crc32 where its prebuilt binary loads (0.2-0.3 CPU-s/GB), else eight-way table look-up in JavaScript
 * (about five times that). Any thread; the bytes may be shared memory.
 */
import { createRequire } from 'node:module';

/**
 * CRC of `length` bytes at `position`, unsigned. `seed` is the CRC of the bytes before them (0 or left out at the
 * start), so pieces chain: crc32c(b, 5, 5, crc32c(b, 0, 5)) equals crc32c(b, 0, 10).
 */
export type Crc32c = (buffer: Uint8Array, position: number, length: number, seed?: number) => number;

export type Crc32cChoice = {
  readonly crc32c: Crc32c;
  /** For the line the broker logs at its start. */
  readonly implementation: 'node-rs' | 'javascript';
};

/** The fastest portable implementation that loads here. */
export function portableCrc32c(
  load: (packageName: string) => unknown = createRequire(import.meta.url),
): Crc32cChoice {
  try {
    const library = load('@node-rs/crc32') as Pick<typeof import('@node-rs/crc32'), 'crc32c'>;
    const whole = library.crc32c;
    return {
      implementation: 'node-rs',
      crc32c: (buffer, position, length, seed) => {
        checkRange(buffer, position, length);
        return whole(buffer.subarray(position, position + length), seed) >>> 0;
      },
    };
  } catch {
    return { implementation: 'javascript', crc32c: javascriptCrc32c };
  }
}

/** Eight tables of 256: table k is the CRC of a byte followed by k zero bytes. */
const tables = makeTables();

function makeTables(): Int32Array {
  const made = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
    made[byte] = crc;
  }
  for (let i = 256; i < made.length; i++) {
    const before = made[i - 256]!;
    made[i] = (before >>> 8) ^ made[before & 0xff]!;
  }
  return made;
}

export const javascriptCrc32c: Crc32c = (buffer, position, length, seed = 0) => {
  checkRange(buffer, position, length);
  const end = position + length;
  let crc = ~seed;
  let at = position;
  for (const last = end - 8; at <= last; at += 8) {
    const low =
      crc ^ (buffer[at]! | (buffer[at + 1]! << 8) | (buffer[at + 2]! << 16) | (buffer[at + 3]! << 24));
    crc =
      tables[1792 + (low & 0xff)]! ^
      tables[1536 + ((low >>> 8) & 0xff)]! ^
      tables[1280 + ((low >>> 16) & 0xff)]! ^
      tables[1024 + (low >>> 24)]! ^
      tables[768 + buffer[at + 4]!]! ^
      tables[512 + buffer[at + 5]!]! ^
      tables[256 + buffer[at + 6]!]! ^
      tables[buffer[at + 7]!]!;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ tables[(crc ^ buffer[at]!) & 0xff]!;
  return ~crc >>> 0;
};

/** A CRC over fewer bytes than asked for would pass for a good one. */
function checkRange(buffer: Uint8Array, position: number, length: number): void {
  if (!(position >= 0 && length >= 0 && position + length <= buffer.length)) {
    throw new RangeError(`crc32c of ${length} bytes at ${position} in a buffer of ${buffer.length}`);
  }
}

/**
 * Signed varints as records hold them: zigzag, 7 bits a byte, low group first (the protocol-buffer form). Values
 * beyond 2^53 are not written; reading is done by the walkers, in place.
 */

/** Bytes of an int32 as a varint, 1-5. */
export function varintBytes(value: number): number {
  const raw = ((value << 1) ^ (value >> 31)) >>> 0;
  if (raw < 0x80) return 1;
  if (raw < 0x4000) return 2;
  if (raw < 0x20_0000) return 3;
  return raw < 0x1000_0000 ? 4 : 5;
}

/** Writes an int32; returns the position behind it. */
export function writeVarint(buffer: Uint8Array, position: number, value: number): number {
  let raw = ((value << 1) ^ (value >> 31)) >>> 0;
  let at = position;
  while (raw >= 0x80) {
    buffer[at++] = (raw & 0x7f) | 0x80;
    raw >>>= 7;
  }
  buffer[at++] = raw;
  return at;
}

/** Bytes of a varlong; |value| at most 2^52. */
export function varlongBytes(value: number): number {
  let raw = zigzag(value);
  let bytes = 1;
  while (raw >= 0x80) {
    raw = Math.floor(raw / 0x80);
    bytes++;
  }
  return bytes;
}

/** Writes an int64 given as a number, |value| at most 2^52; returns the position behind it. */
export function writeVarlong(buffer: Uint8Array, position: number, value: number): number {
  let raw = zigzag(value);
  let at = position;
  while (raw >= 0x80) {
    buffer[at++] = (raw % 0x80) | 0x80;
    raw = Math.floor(raw / 0x80);
  }
  buffer[at++] = raw;
  return at;
}

function zigzag(value: number): number {
  if (!(Math.abs(value) <= 2 ** 52) || !Number.isInteger(value)) {
    throw new RangeError(`${value} does not fit a varlong here`);
  }
  return value >= 0 ? value * 2 : value * -2 - 1;
}

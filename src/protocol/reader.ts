/**
 * Reads Kafka's primitive types from one frame.
 *
 * Owner: the thread that received the frame. Nothing is copied but strings and uuids: bytes and records are views
 * into the frame and live as long as it does.
 *
 * No length is trusted: each is compared with the bytes that remain before anything is allocated, and all arrays of
 * a message together may not hold more than `elementsMax` entries, since an entry of one byte on the wire can
 * become an object of a hundred. Every failure is a ProtocolDecodeError.
 */
import { Buffer } from 'node:buffer';
import { ProtocolDecodeError } from './codec-errors.ts';
import { INT64_MAX, INT64_MIN, ZERO_UUID } from './primitives.ts';

/** Array entries allowed in one message: a million partitions, about 200 MB of objects at worst. */
export const ELEMENTS_MAX_DEFAULT = 1 << 20;

/** Bytes of the longest uvarint of 32 bits. */
const UVARINT_BYTES_MAX = 5;

const TWO_32 = 2 ** 32;
/** High words of the int64 values that are exact as numbers lie in [-2^21, 2^21). */
const SAFE_HIGH = 2 ** 21;

export class Reader {
  /** The frame; never changed by the reader. */
  bytes: Buffer;
  /** Index in `bytes` of the next byte. */
  position: number;
  /** Index in `bytes` behind the last byte that may be read. */
  end: number;
  #view: DataView;
  #elementsLeft: number;
  readonly #elementsMax: number;

  /** @param end index behind the message's last byte; default: all of `bytes`. */
  constructor(
    bytes: Uint8Array,
    position = 0,
    end: number = bytes.byteLength,
    elementsMax: number = ELEMENTS_MAX_DEFAULT,
  ) {
    this.bytes = asBuffer(bytes);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
    this.end = end;
    this.#elementsMax = elementsMax;
    this.#elementsLeft = elementsMax;
    this.#checkBounds();
  }

  /** Takes the next frame, so that one reader can serve a connection. */
  reset(bytes: Uint8Array, position = 0, end: number = bytes.byteLength): void {
    this.bytes = asBuffer(bytes);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
    this.end = end;
    this.#elementsLeft = this.#elementsMax;
    this.#checkBounds();
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.end - this.position;
  }

  /** Fails unless the message has been read to its end. */
  expectEnd(): void {
    if (this.position !== this.end) throw this.fail(`${this.end - this.position} bytes left over`);
  }

  i8(): number {
    const at = this.#take(1);
    return this.#view.getInt8(at);
  }

  i16(): number {
    const at = this.#take(2);
    return this.#view.getInt16(at);
  }

  u16(): number {
    const at = this.#take(2);
    return this.#view.getUint16(at);
  }

  i32(): number {
    const at = this.#take(4);
    return this.#view.getInt32(at);
  }

  u32(): number {
    const at = this.#take(4);
    return this.#view.getUint32(at);
  }

  /** An int64 as a number; values beyond ±(2^53 - 1) become INT64_MAX or INT64_MIN. */
  i64(): number {
    const at = this.#take(8);
    const high = this.#view.getInt32(at);
    if (high >= SAFE_HIGH) return INT64_MAX;
    if (high < -SAFE_HIGH) return INT64_MIN;
    const value = high * TWO_32 + this.#view.getUint32(at + 4);
    return Math.max(value, INT64_MIN);
  }

  f64(): number {
    const at = this.#take(8);
    return this.#view.getFloat64(at);
  }

  /** One byte; any value but 0 is true. */
  bool(): boolean {
    const at = this.#take(1);
    return this.#view.getInt8(at) !== 0;
  }

  uuid(): string {
    const at = this.#take(16);
    const view = this.#view;
    if (
      view.getInt32(at) === 0 &&
      view.getInt32(at + 4) === 0 &&
      view.getInt32(at + 8) === 0 &&
      view.getInt32(at + 12) === 0
    ) {
      return ZERO_UUID;
    }
    return this.bytes.toString('base64url', at, at + 16);
  }

  /** Unsigned varint of at most 32 bits in at most 5 bytes. */
  uvarint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < UVARINT_BYTES_MAX; i++) {
      const byte = this.#view.getUint8(this.#take(1));
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value >= TWO_32) throw this.fail('uvarint above 32 bits');
        return value;
      }
      scale *= 128;
    }
    throw this.fail('uvarint longer than 5 bytes');
  }

  string(flexible: boolean): string {
    const length = flexible ? this.uvarint() - 1 : this.i16();
    if (length < 0) throw this.fail('null or negative length where a string is required');
    return this.#text(length);
  }

  nullableString(flexible: boolean): string | null {
    const length = flexible ? this.uvarint() - 1 : this.i16();
    if (length === -1) return null;
    if (length < 0) throw this.fail(`string length ${length}`);
    return this.#text(length);
  }

  /** A view into the frame. */
  bytesField(flexible: boolean): Buffer {
    const length = flexible ? this.uvarint() - 1 : this.i32();
    if (length < 0) throw this.fail('null or negative length where bytes are required');
    return this.raw(length);
  }

  /** A view into the frame, or null. */
  nullableBytesField(flexible: boolean): Buffer | null {
    const length = flexible ? this.uvarint() - 1 : this.i32();
    if (length === -1) return null;
    if (length < 0) throw this.fail(`bytes length ${length}`);
    return this.raw(length);
  }

  /** A view of the next `length` bytes. */
  raw(length: number): Buffer {
    const at = this.#take(length);
    return this.bytes.subarray(at, at + length);
  }

  skip(length: number): void {
    this.#take(length);
  }

  /**
   * Entries of an array.
   * @param entryBytesMin least bytes of one entry on the wire, at least 1: refuses counts the frame cannot hold.
   */
  arrayLength(flexible: boolean, entryBytesMin: number): number {
    const length = flexible ? this.uvarint() - 1 : this.i32();
    if (length < 0) throw this.fail('null or negative length where an array is required');
    return this.#entries(length, entryBytesMin);
  }

  /** As arrayLength; -1 for a null array. */
  nullableArrayLength(flexible: boolean, entryBytesMin: number): number {
    const length = flexible ? this.uvarint() - 1 : this.i32();
    if (length === -1) return -1;
    if (length < 0) throw this.fail(`array length ${length}`);
    return this.#entries(length, entryBytesMin);
  }

  /** Marker before a nullable struct: true when the struct follows. */
  structPresent(): boolean {
    return this.i8() >= 0;
  }

  /** Marker before a nullable struct inside a tagged field, which differs from the plain one. */
  taggedStructPresent(): boolean {
    return this.uvarint() > 0;
  }

  /** Number of entries of a tag section; each takes at least two bytes. */
  tagCount(): number {
    return this.#entries(this.uvarint(), 2);
  }

  /** Confines reading to the content of the tag just opened; give the answer to leaveTag. */
  enterTag(): number {
    const size = this.uvarint();
    if (size > this.end - this.position) throw this.fail(`tag of ${size} bytes, ${this.remaining} remain`);
    const outerEnd = this.end;
    this.end = this.position + size;
    return outerEnd;
  }

  /** Ends a tag; its content must have been read completely. */
  leaveTag(outerEnd: number): void {
    this.expectEnd();
    this.end = outerEnd;
  }

  /** Skips the content of an unknown tag. */
  skipTag(): void {
    this.#take(this.uvarint());
  }

  /** Skips a tag section in which no tag is known. */
  skipTags(): void {
    for (let count = this.tagCount(); count > 0; count--) {
      this.uvarint();
      this.skipTag();
    }
  }

  fail(detail: string): ProtocolDecodeError {
    return new ProtocolDecodeError(`${detail}, at byte ${this.position}`);
  }

  #take(length: number): number {
    const at = this.position;
    if (length > this.end - at) throw this.fail(`${length} bytes wanted, ${this.end - at} remain`);
    this.position = at + length;
    return at;
  }

  #entries(length: number, entryBytesMin: number): number {
    if (length * entryBytesMin > this.end - this.position) {
      throw this.fail(`${length} entries of at least ${entryBytesMin} bytes, ${this.remaining} bytes remain`);
    }
    this.#elementsLeft -= length;
    if (this.#elementsLeft < 0)
      throw this.fail(`more than ${this.#elementsMax} array entries in one message`);
    return length;
  }

  /** Broken UTF-8 becomes U+FFFD, as in the Java broker: a name nobody can have is not a broken frame. */
  #text(length: number): string {
    const at = this.#take(length);
    return length === 0 ? '' : this.bytes.toString('utf8', at, at + length);
  }

  #checkBounds(): void {
    if (this.position < 0 || this.end > this.bytes.byteLength || this.position > this.end) {
      throw new RangeError(`reader bounds ${this.position}..${this.end} outside 0..${this.bytes.byteLength}`);
    }
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

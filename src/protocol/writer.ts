/**
 * Writes Kafka's primitive types into one growing buffer, in one pass: sizes that are known only later are reserved
 * and patched, and the content of a tagged field moves up by a few bytes when its length needs a longer uvarint.
 *
 * Owner: the thread that builds the message. Record data need not pass through the buffer: with `onRecords` the
 * writer notes a hole instead, and the sender gathers buffer and record bytes:
 *
 *     buffer   | header … int32 n |  rest of the answer … int32 m |  …   |
 *     holes                       ^ holes[0], n bytes              ^ holes[1], m bytes
 *     socket   | header … int32 n | n bytes | rest … int32 m | m bytes | … |
 *
 * Limit: `bytesMax` for the buffer (64 MiB unless told otherwise), beyond it a ProtocolEncodeError; bytes in holes
 * do not count. A failed writer must be reset before it is used again.
 */
import { Buffer } from 'node:buffer';
import { ProtocolEncodeError } from './codec-errors.ts';
import { INT64_MAX, INT64_MIN, type RecordsSource, UUID_CHARS } from './primitives.ts';

export const WRITER_BYTES_MAX_DEFAULT = 64 * 1024 * 1024;
const INITIAL_BYTES = 1024;
/** A buffer above this is given back at reset, so that one huge answer does not stay in the pool. */
const KEPT_BYTES_MAX = 1024 * 1024;
/** Up to this length a string is tried as ASCII, one character at a time: quicker than a call into C++. */
const ASCII_CHARS_MAX = 48;
const TWO_32 = 2 ** 32;

/** A gap in the buffer that the sender fills with record bytes. */
export interface RecordsHole {
  /** Index in the buffer before which the bytes belong. */
  readonly position: number;
  readonly length: number;
  readonly value: RecordsSource;
}

export interface WriterOptions {
  readonly initialBytes?: number;
  readonly bytesMax?: number;
  /** If given, record fields become holes; answers the number of bytes that will stand there. */
  readonly onRecords?: (value: RecordsSource) => number;
}

/** A finished message: the buffer and, in ascending order, what belongs between its bytes. */
export interface EncodedMessage {
  readonly buffer: Buffer;
  readonly holes: readonly RecordsHole[];
  /** Bytes on the wire: buffer and holes. */
  readonly byteLength: number;
}

export class Writer {
  /** Index of the next byte in the buffer; holes do not count. */
  position = 0;
  #bytes: Buffer;
  #view: DataView;
  #holes: RecordsHole[] = [];
  #holeBytes = 0;
  readonly #initialBytes: number;
  readonly #bytesMax: number;
  readonly #onRecords: ((value: RecordsSource) => number) | undefined;

  constructor(options: WriterOptions = {}) {
    this.#initialBytes = Math.max(16, options.initialBytes ?? INITIAL_BYTES);
    this.#bytesMax = options.bytesMax ?? WRITER_BYTES_MAX_DEFAULT;
    this.#onRecords = options.onRecords;
    this.#bytes = Buffer.allocUnsafeSlow(Math.min(this.#initialBytes, this.#bytesMax));
    this.#view = viewOf(this.#bytes);
  }

  /** Bytes on the wire so far: buffer and holes. */
  get byteLength(): number {
    return this.position + this.#holeBytes;
  }

  /** What was written so far, as a view that the next reset or growth invalidates. */
  get written(): Buffer {
    return this.#bytes.subarray(0, this.position);
  }

  get holes(): readonly RecordsHole[] {
    return this.#holes;
  }

  /** Forgets everything; views given out before are overwritten by what comes next. */
  reset(): void {
    this.position = 0;
    this.#holes = [];
    this.#holeBytes = 0;
    if (this.#bytes.byteLength > KEPT_BYTES_MAX) this.#allocate(this.#initialBytes);
  }

  /** Hands the buffer over for good; the writer starts again with a new one. */
  detach(): EncodedMessage {
    const message = { buffer: this.written, holes: this.#holes, byteLength: this.byteLength };
    this.#allocate(this.#initialBytes);
    this.reset();
    return message;
  }

  i8(value: number): void {
    const at = this.#reserve(1);
    this.#view.setInt8(at, value);
  }

  i16(value: number): void {
    const at = this.#reserve(2);
    this.#view.setInt16(at, value);
  }

  u16(value: number): void {
    const at = this.#reserve(2);
    this.#view.setUint16(at, value);
  }

  i32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setInt32(at, value);
  }

  u32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value);
  }

  /** A safe integer; INT64_MAX and INT64_MIN become the ends of the 64-bit range. */
  i64(value: number): void {
    const at = this.#reserve(8);
    if (value === INT64_MAX) {
      this.#view.setInt32(at, 0x7fffffff);
      this.#view.setInt32(at + 4, -1);
      return;
    }
    if (value === INT64_MIN) {
      this.#view.setInt32(at, -0x80000000);
      this.#view.setInt32(at + 4, 0);
      return;
    }
    if (!Number.isSafeInteger(value)) throw new ProtocolEncodeError(`int64 ${value} is not a safe integer`);
    const high = Math.floor(value / TWO_32);
    this.#view.setInt32(at, high);
    this.#view.setUint32(at + 4, value - high * TWO_32);
  }

  f64(value: number): void {
    const at = this.#reserve(8);
    this.#view.setFloat64(at, value);
  }

  bool(value: boolean): void {
    const at = this.#reserve(1);
    this.#view.setInt8(at, value ? 1 : 0);
  }

  /** @param value 22 characters of base64url. */
  uuid(value: string): void {
    const at = this.#reserve(16);
    if (value.length !== UUID_CHARS || this.#bytes.write(value, at, 16, 'base64url') !== 16) {
      throw new ProtocolEncodeError(`'${value}' is not a uuid in base64url`);
    }
  }

  uvarint(value: number): void {
    let at = this.#reserve(5);
    const start = at;
    let rest = value >>> 0;
    while (rest > 0x7f) {
      this.#view.setUint8(at++, (rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.#view.setUint8(at++, rest);
    this.position -= 5 - (at - start);
  }

  string(value: string, flexible: boolean): void {
    if (value.length <= ASCII_CHARS_MAX && this.#ascii(value, flexible)) return;
    const length = Buffer.byteLength(value, 'utf8');
    if (flexible) {
      this.uvarint(length + 1);
    } else {
      if (length > 0x7fff) throw new ProtocolEncodeError(`string of ${length} bytes, at most 32767 fit here`);
      this.i16(length);
    }
    const at = this.#reserve(length);
    this.#bytes.write(value, at, length, 'utf8');
  }

  nullableString(value: string | null, flexible: boolean): void {
    if (value !== null) this.string(value, flexible);
    else if (flexible) this.uvarint(0);
    else this.i16(-1);
  }

  bytesField(value: Uint8Array, flexible: boolean): void {
    if (flexible) this.uvarint(value.byteLength + 1);
    else this.i32(value.byteLength);
    this.raw(value);
  }

  nullableBytesField(value: Uint8Array | null, flexible: boolean): void {
    if (value !== null) this.bytesField(value, flexible);
    else if (flexible) this.uvarint(0);
    else this.i32(-1);
  }

  /** Record data: a hole if the writer has `onRecords`, else a copy of the bytes. */
  records(value: RecordsSource, flexible: boolean): void {
    if (this.#onRecords === undefined) {
      if (!(value instanceof Uint8Array)) {
        throw new ProtocolEncodeError('records by reference need a writer with onRecords');
      }
      this.bytesField(value, flexible);
      return;
    }
    const length = this.#onRecords(value);
    if (flexible) this.uvarint(length + 1);
    else this.i32(length);
    if (length === 0) return;
    this.#holes.push({ position: this.position, length, value });
    this.#holeBytes += length;
  }

  nullableRecords(value: RecordsSource | null, flexible: boolean): void {
    if (value !== null) this.records(value, flexible);
    else if (flexible) this.uvarint(0);
    else this.i32(-1);
  }

  raw(value: Uint8Array): void {
    const at = this.#reserve(value.byteLength);
    this.#bytes.set(value, at);
  }

  arrayLength(length: number, flexible: boolean): void {
    if (flexible) this.uvarint(length + 1);
    else this.i32(length);
  }

  nullArray(flexible: boolean): void {
    if (flexible) this.uvarint(0);
    else this.i32(-1);
  }

  /** Marker before a nullable struct. */
  structMarker(present: boolean): void {
    this.i8(present ? 1 : -1);
  }

  /** Marker before a nullable struct inside a tagged field, which differs from the plain one. */
  taggedStructMarker(present: boolean): void {
    this.i8(present ? 1 : 0);
  }

  /** Opens a tagged field; give the answer to endTag. */
  beginTag(tag: number): number {
    this.uvarint(tag);
    this.#reserve(1);
    return this.position;
  }

  /** Writes the length of the tagged field that began at `start`, moving the content if it needs more than a byte. */
  endTag(start: number): void {
    const length = this.position - start;
    if (length <= 0x7f) {
      this.#view.setUint8(start - 1, length);
      return;
    }
    const extra = uvarintBytes(length) - 1;
    this.#reserve(extra);
    this.#bytes.copyWithin(start + extra, start, start + length);
    const contentEnd = this.position;
    this.position = start - 1;
    this.uvarint(length);
    this.position = contentEnd;
  }

  /** Leaves room for an int32 to be patched later; answers its position. */
  reserveInt32(): number {
    return this.#reserve(4);
  }

  patchInt32(at: number, value: number): void {
    if (at + 4 > this.position) throw new RangeError(`patch at ${at} beyond what is written`);
    this.#view.setInt32(at, value);
  }

  /** Patches the frame length reserved at `at` with all bytes that follow it, holes included. */
  patchFrameLength(at: number): void {
    let before = 0;
    for (const hole of this.#holes) if (hole.position <= at) before += hole.length;
    this.patchInt32(at, this.byteLength - before - at - 4);
  }

  #ascii(value: string, flexible: boolean): boolean {
    const length = value.length;
    const start = this.position;
    if (flexible) this.uvarint(length + 1);
    else this.i16(length);
    const at = this.#reserve(length);
    const bytes = this.#bytes;
    for (let i = 0; i < length; i++) {
      const unit = value.charCodeAt(i);
      if (unit > 0x7f) {
        this.position = start;
        return false;
      }
      bytes[at + i] = unit;
    }
    return true;
  }

  #reserve(length: number): number {
    const at = this.position;
    const needed = at + length;
    if (needed > this.#bytes.byteLength) this.#grow(needed);
    this.position = needed;
    return at;
  }

  #grow(needed: number): void {
    if (needed > this.#bytesMax) {
      throw new ProtocolEncodeError(
        `message of at least ${needed} bytes, at most ${this.#bytesMax} are allowed`,
      );
    }
    const old = this.#bytes;
    const used = this.position;
    this.#allocate(Math.min(this.#bytesMax, Math.max(needed, old.byteLength * 2)));
    old.copy(this.#bytes, 0, 0, used);
  }

  #allocate(length: number): void {
    this.#bytes = Buffer.allocUnsafeSlow(Math.min(length, this.#bytesMax));
    this.#view = viewOf(this.#bytes);
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function uvarintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) bytes++;
  return bytes;
}

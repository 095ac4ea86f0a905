/**
 * Growing writer and checked reader of the metadata formats (little endian; docs/internals/metadata.md).
 *
 *   uint    1–8 bytes, 7 bits each, low bits first, high bit = more; values below 2^53
 *   int     uint of the zigzag: 0, −1, 1, −2 … → 0, 1, 2, 3 …; magnitudes below 2^53
 *   string  uint length, UTF-8
 *   id      uint index into the table of 16-byte topic ids at the front of the message
 *
 * A reader that runs off the end or meets a value it does not know throws METADATA_CORRUPT.
 */
import { MillraceError } from '../ports/errors.ts';

export class MetadataWriter {
  #buffer = Buffer.allocUnsafe(1024);
  #length = 0;
  readonly #ids = new Map<string, number>();

  get length(): number {
    return this.#length;
  }

  /** Drops what was written behind `length`. */
  rewind(length: number): void {
    this.#length = length;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  uint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no unsigned integer`);
    this.#reserve(8);
    let rest = value;
    while (rest > 0x7f) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[this.#length++] = rest;
  }

  int(value: number): void {
    if (!Number.isSafeInteger(value)) throw new RangeError(`${value} is no safe integer`);
    // The zigzag of a safe integer may need 54 bits: its lowest seven are made apart from the rest.
    const magnitude = value < 0 ? -value - 1 : value;
    const low = (magnitude % 0x40) * 2 + (value < 0 ? 1 : 0);
    const rest = Math.floor(magnitude / 0x40);
    this.byte(rest > 0 ? low | 0x80 : low);
    if (rest > 0) this.uint(rest);
  }

  string(value: string): void {
    const length = Buffer.byteLength(value);
    this.uint(length);
    this.#reserve(length);
    this.#length += this.#buffer.write(value, this.#length, length, 'utf8');
  }

  /** Bytes of fixed length, given as hex. */
  hex(value: string, bytes: number): void {
    if (value.length !== bytes * 2 || !/^[0-9a-f]+$/.test(value))
      throw new RangeError(`'${value}' is not ${bytes} bytes of hex`);
    this.#reserve(bytes);
    this.#length += this.#buffer.write(value, this.#length, bytes, 'hex');
  }

  /** A topic id by its place in the table that finish() puts in front. */
  id(topicId: string): void {
    let index = this.#ids.get(topicId);
    if (index === undefined) {
      if (!/^[A-Za-z0-9_-]{21}[AQgw]$/.test(topicId)) throw new RangeError(`'${topicId}' is no topic id`);
      index = this.#ids.size;
      this.#ids.set(topicId, index);
    }
    this.uint(index);
  }

  /** Everything written, behind version and topic table. */
  finish(version: number): Buffer {
    const head = new MetadataWriter();
    head.byte(version);
    head.uint(this.#ids.size);
    const table = Buffer.allocUnsafe(this.#ids.size * 16);
    let position = 0;
    for (const id of this.#ids.keys()) {
      position += table.write(id, position, 16, 'base64url');
    }
    return Buffer.concat([
      head.#buffer.subarray(0, head.#length),
      table,
      this.#buffer.subarray(0, this.#length),
    ]);
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + bytes));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}

export class MetadataReader {
  readonly #buffer: Buffer;
  readonly #ids: string[] = [];
  #position = 0;
  readonly version: number;

  /** Reads versions 1 to `newest`; `what` names the message in errors. */
  constructor(buffer: Buffer, newest: number, what: string) {
    this.#buffer = buffer;
    this.version = this.byte();
    if (this.version < 1 || this.version > newest) {
      const message = `${what} has format version ${this.version}; this release reads versions 1 to ${newest}`;
      throw new MillraceError('invalid', 'METADATA_VERSION', message);
    }
    const ids = this.count(16);
    for (let i = 0; i < ids; i++) {
      this.#ids.push(buffer.toString('base64url', this.#position, this.#position + 16));
      this.#position += 16;
    }
  }

  get atEnd(): boolean {
    return this.#position === this.#buffer.length;
  }

  byte(): number {
    const value = this.#buffer[this.#position++];
    if (value === undefined) throw metadataCorrupt('ends too early');
    return value;
  }

  uint(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 0x80;
    }
    throw metadataCorrupt('holds a number of 2^53 or more');
  }

  int(): number {
    const low = this.byte();
    const rest = low < 0x80 ? 0 : this.uint();
    const magnitude = rest * 0x40 + ((low & 0x7f) >> 1);
    if (magnitude > Number.MAX_SAFE_INTEGER) throw metadataCorrupt('holds a number of 2^53 or more');
    return (low & 1) === 0 ? magnitude : -magnitude - 1;
  }

  /** A number of things of at least `bytesEach` bytes: refuses what the rest cannot hold, before anyone allocates. */
  count(bytesEach = 1): number {
    const value = this.uint();
    if (value * bytesEach > this.#buffer.length - this.#position)
      throw metadataCorrupt('counts more than it holds');
    return value;
  }

  string(): string {
    const length = this.count();
    const start = this.#position;
    this.#position += length;
    return this.#buffer.toString('utf8', start, this.#position);
  }

  hex(bytes: number): string {
    const start = this.#position;
    this.#position += bytes;
    if (this.#position > this.#buffer.length) throw metadataCorrupt('ends too early');
    return this.#buffer.toString('hex', start, this.#position);
  }

  id(): string {
    const id = this.#ids[this.uint()];
    if (id === undefined) throw metadataCorrupt('names a topic that is not in its table');
    return id;
  }
}

export function metadataCorrupt(what: string): MillraceError {
  return new MillraceError('corrupt', 'METADATA_CORRUPT', `a metadata message ${what}`);
}

/**
 * Reads the records of batches, compressed ones too: for coordinators' replay, compaction, time look-ups and tests.
 * Any thread. A cursor yields positions, not objects: key, value and headers become views or objects only when asked
 * for, and one cursor serves any number of batches.
 *
 * Every length is checked against the bytes it counts; broken input gives a MillraceError with code CORRUPT_RECORDS
 * or a CompressionError. The CRC is not checked here.
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Codecs } from '../compression/codecs.ts';
import type { RecordHeader } from './batch-builder.ts';
import {
  attributesOf,
  baseOffsetOf,
  baseTimestampOf,
  batchHeaderBytes,
  batchLengthOf,
  batchOverheadBytes,
  codecOf,
  currentMagic,
  headerField,
  isLogAppendTime,
  magicOf,
  maxTimestampOf,
  recordCountOf,
} from './batch-header.ts';

function broken(detail: string): MillraceError {
  return new MillraceError('corrupt', 'CORRUPT_RECORDS', `record batch: ${detail}`);
}

/**
 * Bytes of the whole batch at `position`, or 0 when the bytes up to `end` do not hold all of it (the cut-off batch at
 * the end of a fetch). Throws when what is there is no batch of format 2.
 */
export function completeBatchBytes(view: DataView, position: number, end: number): number {
  if (end - position <= headerField.magic) return 0;
  const magic = magicOf(view, position);
  if (magic !== currentMagic) throw broken(`format ${magic}`);
  const bytes = batchLengthOf(view, position) + batchOverheadBytes;
  if (bytes < batchHeaderBytes) throw broken(`a length of ${bytes} bytes`);
  return bytes > end - position ? 0 : bytes;
}

export class RecordCursor {
  /** Absolute offset of the current record. */
  offset = 0;
  /** ms since 1970; the append time where the batch is stamped with it. */
  timestamp = 0;
  /** Positions in `bytes`; lengths are -1 for null. */
  keyPosition = 0;
  keyLength = -1;
  valuePosition = 0;
  valueLength = -1;
  headerCount = 0;
  /** Where the record begins in `bytes`, its length in front, and where it ends. */
  recordPosition = 0;
  recordEnd = 0;
  /** The plain records: the batch's own bytes, or a decompressed copy. */
  bytes: Buffer = Buffer.alloc(0);

  #at = 0;
  #end = 0;
  #left = 0;
  #headersPosition = 0;
  #baseOffset = 0;
  #baseTimestamp = 0;
  #appendTime = 0;
  #stamped = false;

  /**
   * Points the cursor in front of the first record of the batch of `length` bytes at `position`. Decompresses at most
   * `decompressedBytesMax` bytes; throws CompressionError beyond, or when the codec does not load.
   */
  open(
    buffer: Uint8Array,
    position: number,
    length: number,
    codecs: Codecs,
    decompressedBytesMax: number,
  ): void {
    this.#left = 0;
    if (length < batchHeaderBytes || position < 0 || position + length > buffer.length)
      throw broken('cut off');
    const view = new DataView(buffer.buffer, buffer.byteOffset + position, length);
    if (magicOf(view, 0) !== currentMagic) throw broken(`format ${magicOf(view, 0)}`);
    const attributes = attributesOf(view, 0);
    const codec = codecOf(attributes);
    const body = Buffer.from(
      buffer.buffer,
      buffer.byteOffset + position + batchHeaderBytes,
      length - batchHeaderBytes,
    );
    this.bytes = codec === 0 ? body : codecs.decompress(codec, body, decompressedBytesMax);
    const count = recordCountOf(view, 0);
    if (count < 0) throw broken(`${count} records`);
    this.#at = 0;
    this.#end = this.bytes.length;
    this.#left = count;
    this.#baseOffset = baseOffsetOf(view, 0);
    this.#baseTimestamp = baseTimestampOf(view, 0);
    this.#stamped = isLogAppendTime(attributes);
    this.#appendTime = maxTimestampOf(view, 0);
  }

  /** Steps to the next record; false behind the last one. */
  next(): boolean {
    if (this.#left === 0) {
      if (this.#at !== this.#end) throw broken('bytes behind the last record');
      return false;
    }
    this.recordPosition = this.#at;
    this.recordEnd = this.#end;
    const size = this.#varint();
    if (size < 0 || size > this.#end - this.#at) throw broken('a record is cut off');
    this.recordEnd = this.#at + size;
    if (size < 1) throw broken('an empty record');
    this.#at++; // attributes: unused
    const timestampDelta = this.#varlong();
    this.timestamp = this.#stamped ? this.#appendTime : this.#baseTimestamp + timestampDelta;
    this.offset = this.#baseOffset + this.#varint();
    this.keyLength = this.#length(-1);
    this.keyPosition = this.#at;
    this.#skip(this.keyLength);
    this.valueLength = this.#length(-1);
    this.valuePosition = this.#at;
    this.#skip(this.valueLength);
    this.headerCount = this.#varint();
    if (this.headerCount < 0 || this.headerCount * 2 > this.recordEnd - this.#at)
      throw broken('a header count');
    this.#headersPosition = this.#at;
    for (let i = 0; i < this.headerCount; i++) {
      this.#skip(this.#length(0));
      this.#skip(this.#length(-1));
    }
    if (this.#at !== this.recordEnd) throw broken('bytes behind the last header of a record');
    this.#left--;
    return true;
  }

  /** A view, valid as long as the batch's bytes are (for compressed batches: always). */
  key(): Buffer | null {
    if (this.keyLength < 0) return null;
    return this.bytes.subarray(this.keyPosition, this.keyPosition + this.keyLength);
  }

  value(): Buffer | null {
    if (this.valueLength < 0) return null;
    return this.bytes.subarray(this.valuePosition, this.valuePosition + this.valueLength);
  }

  headers(): RecordHeader[] {
    const made: RecordHeader[] = [];
    const after = this.#at;
    this.#at = this.#headersPosition;
    for (let i = 0; i < this.headerCount; i++) {
      const keyLength = this.#length(0);
      const key = this.bytes.toString('utf8', this.#at, this.#at + keyLength);
      this.#at += keyLength;
      const valueLength = this.#length(-1);
      made.push({
        key,
        value: valueLength < 0 ? null : this.bytes.subarray(this.#at, this.#at + valueLength),
      });
      this.#skip(valueLength);
    }
    this.#at = after;
    return made;
  }

  #skip(length: number): void {
    if (length > 0) this.#at += length;
  }

  #length(least: number): number {
    const length = this.#varint();
    if (length < least || length > this.recordEnd - this.#at) throw broken('a field is cut off');
    return length;
  }

  #varint(): number {
    let raw = 0;
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.#at >= this.recordEnd) throw broken('a varint is cut off');
      const byte = this.bytes[this.#at++]!;
      raw |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (raw >>> 1) ^ -(raw & 1);
    }
    throw broken('a varint of more than 5 bytes');
  }

  /** Exact up to 2^53. */
  #varlong(): number {
    let raw = 0;
    let scale = 1;
    for (let i = 0; i < 10; i++) {
      if (this.#at >= this.recordEnd) throw broken('a varlong is cut off');
      const byte = this.bytes[this.#at++]!;
      raw += (byte & 0x7f) * scale;
      if (byte < 0x80) return raw % 2 === 0 ? raw / 2 : -(raw + 1) / 2;
      scale *= 128;
    }
    throw broken('a varlong of more than 10 bytes');
  }
}

export type ReadRecord = {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly RecordHeader[];
};

/** All records of one batch as objects: for small batches and tests. */
export function readBatch(
  buffer: Uint8Array,
  position: number,
  length: number,
  codecs: Codecs,
  decompressedBytesMax: number,
): ReadRecord[] {
  const cursor = new RecordCursor();
  cursor.open(buffer, position, length, codecs, decompressedBytesMax);
  const records: ReadRecord[] = [];
  while (cursor.next()) {
    records.push({
      offset: cursor.offset,
      timestamp: cursor.timestamp,
      key: cursor.key(),
      value: cursor.value(),
      headers: cursor.headers(),
    });
  }
  return records;
}

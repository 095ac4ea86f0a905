/**
 * Takes records out of a batch. Offsets stay: base offset and last offset delta are the batch's own, as are producer, epoch,
 * sequence and codec; what changes is the number of records, their bytes, the largest timestamp and the CRC (KIP-98, the
 * format's rules for compacted batches). Any thread; one owner.
 *
 * A delete horizon (KIP-534) lies in the base timestamp, told by bit 6 of the attributes; records then count their times from
 * it. Memory: the records of one batch unpacked, and those that are kept.
 */
import type { Codecs } from '../../protocol/compression/codecs.ts';
import {
  attributeBits,
  attributesOf,
  baseTimestampOf,
  batchHeaderBytes,
  batchOverheadBytes,
  codecOf,
  crcStart,
  headerField,
  isLogAppendTime,
  noTimestamp,
  patchCrc,
  patchMaxTimestamp,
  writeInt64,
} from '../../protocol/records/batch-header.ts';
import { RecordCursor } from '../../protocol/records/batch-reader.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { varlongBytes, writeVarint, writeVarlong } from '../../protocol/records/varint.ts';

/** Time from which what the batch was kept for may go, ms since 1970; −1 = none is set. */
export function deleteHorizonOf(view: DataView, at: number): number {
  return (attributesOf(view, at) & attributeBits.deleteHorizon) === 0 ? -1 : baseTimestampOf(view, at);
}

const headerKept = attributeBits.logAppendTime | attributeBits.transactional | attributeBits.control;

export class BatchRewriter {
  readonly cursor = new RecordCursor();
  readonly #codecs: Codecs;
  readonly #crc32c: Crc32c;
  readonly #unpackedMax: number;
  #body = Buffer.alloc(0);

  constructor(codecs: Codecs, crc32c: Crc32c, unpackedMax: number) {
    this.#codecs = codecs;
    this.#crc32c = crc32c;
    this.#unpackedMax = unpackedMax;
  }

  /** Points the cursor in front of the batch's records; false when they cannot be unpacked here. */
  open(block: Buffer, at: number, length: number): boolean {
    try {
      this.cursor.open(block, at, length, this.#codecs, this.#unpackedMax);
      return true;
    } catch {
      return false;
    }
  }

  /**
   * The batch with the records that `keeps` marks (one a record, in order), `kept` of them.
   * @param horizonMs new delete horizon; −1 = the batch's own stays, or none.
   */
  rewrite(
    block: Buffer,
    at: number,
    length: number,
    keeps: Uint8Array,
    kept: number,
    horizonMs: number,
  ): Buffer {
    const { cursor } = this;
    cursor.open(block, at, length, this.#codecs, this.#unpackedMax);
    const head = new DataView(block.buffer, block.byteOffset + at, batchHeaderBytes);
    const attributes = attributesOf(head, 0);
    let used = 0;
    let maxTimestamp = noTimestamp;
    // A later base can make every delta longer: by nine bytes, and its length by one, at most.
    const roomMax = cursor.bytes.length + (horizonMs < 0 ? 0 : 16 * kept);
    if (this.#body.length < roomMax) this.#body = Buffer.allocUnsafeSlow(roomMax);
    for (let i = 0; cursor.next(); i++) {
      if (keeps[i] === 0) continue;
      maxTimestamp = Math.max(maxTimestamp, cursor.timestamp);
      used = horizonMs < 0 ? this.#copyRecord(used) : this.#moveRecord(used, cursor.timestamp - horizonMs);
    }
    const codec = codecOf(attributes);
    const plain = this.#body.subarray(0, used);
    const packed = codec === 0 ? plain : this.#codecs.compress(codec, plain);
    const batch = Buffer.allocUnsafe(batchHeaderBytes + packed.length);
    block.copy(batch, 0, at, at + batchHeaderBytes);
    packed.copy(batch, batchHeaderBytes);
    const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
    view.setInt32(headerField.batchLength, batch.length - batchOverheadBytes);
    view.setInt32(headerField.recordCount, kept);
    if (!isLogAppendTime(attributes)) patchMaxTimestamp(view, 0, maxTimestamp);
    if (horizonMs >= 0) {
      view.setInt16(headerField.attributes, attributes | attributeBits.deleteHorizon);
      writeInt64(view, headerField.baseTimestamp, horizonMs);
    }
    patchCrc(view, 0, this.#crc32c(batch, crcStart, batch.length - crcStart));
    return batch;
  }

  #copyRecord(to: number): number {
    const { bytes, recordPosition, recordEnd } = this.cursor;
    return to + bytes.copy(this.#body, to, recordPosition, recordEnd);
  }

  /** The record with another timestamp delta. */
  #moveRecord(to: number, timestampDelta: number): number {
    const { bytes, recordPosition, recordEnd } = this.cursor;
    const attributesAt = skipVarint(bytes, recordPosition);
    const restAt = skipVarint(bytes, attributesAt + 1);
    const size = 1 + varlongBytes(timestampDelta) + recordEnd - restAt;
    let out = writeVarint(this.#body, to, size);
    this.#body[out++] = bytes[attributesAt]!;
    out = writeVarlong(this.#body, out, timestampDelta);
    return out + bytes.copy(this.#body, out, restAt, recordEnd);
  }

  /** The batch's header alone: of offsets, producer and sequence it says what the batch said. */
  emptied(block: Buffer, at: number): Buffer {
    const batch = Buffer.from(block.subarray(at, at + batchHeaderBytes));
    const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
    view.setInt32(headerField.batchLength, batchHeaderBytes - batchOverheadBytes);
    view.setInt16(headerField.attributes, attributesOf(view, 0) & headerKept);
    writeInt64(view, headerField.baseTimestamp, noTimestamp);
    view.setInt32(headerField.recordCount, 0);
    patchCrc(view, 0, this.#crc32c(batch, crcStart, batch.length - crcStart));
    return batch;
  }
}

/** Position behind a varint that the cursor has read before. */
function skipVarint(bytes: Uint8Array, at: number): number {
  let end = at;
  while (bytes[end]! >= 0x80) end++;
  return end + 1;
}

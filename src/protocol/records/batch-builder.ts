/**
 * Builds a record batch (format v2) from records: for coordinators' topics, markers and tests. Any thread. Not the
 * way of produced data, which is stored as it came.
 */
import { codecId } from '../compression/codec.ts';
import type { Codecs } from '../compression/codecs.ts';
import {
  attributeBits,
  batchHeaderBytes,
  batchOverheadBytes,
  crcStart,
  currentMagic,
  headerField,
  noProducerEpoch,
  noProducerId,
  noSequence,
  patchCrc,
  writeInt64,
} from './batch-header.ts';
import type { Crc32c } from './crc32c.ts';
import { varintBytes, varlongBytes, writeVarint, writeVarlong } from './varint.ts';

export type RecordHeader = { readonly key: string; readonly value: Uint8Array | null };

export type BatchRecord = {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  /** ms since 1970. */
  readonly timestamp: number;
  readonly headers?: readonly RecordHeader[];
  /** Default: the record's place in the batch. Ascending, with gaps, in a compacted batch. */
  readonly offsetDelta?: number;
};

export type BatchFields = {
  /** Default 0, as producers send it. */
  readonly baseOffset?: number;
  /** Default -1. */
  readonly partitionLeaderEpoch?: number;
  /** Default none; any other needs `codecs`. */
  readonly codec?: number;
  readonly codecs?: Codecs;
  /** Stamps the batch with this time (ms) instead of the records' own. */
  readonly logAppendTimeMs?: number;
  /** Default -1. */
  readonly producerId?: number;
  /** Default -1. */
  readonly producerEpoch?: number;
  /** Default -1. */
  readonly baseSequence?: number;
  readonly transactional?: boolean;
  readonly control?: boolean;
  /** Default: that of the last record. Larger when the end of the batch was compacted away. */
  readonly lastOffsetDelta?: number;
};

/** Returns the whole batch; `records` holds one or more. Throws CompressionError when its codec does not load. */
export function buildBatch(records: readonly BatchRecord[], fields: BatchFields, crc32c: Crc32c): Buffer {
  const first = records[0];
  const last = records[records.length - 1];
  if (first === undefined || last === undefined) throw new RangeError('a batch needs at least one record');
  const baseTimestamp = first.timestamp;
  const body = writeRecords(records, baseTimestamp);
  const codec = fields.codec ?? codecId.none;
  let packed = body;
  if (codec !== codecId.none) {
    if (fields.codecs === undefined) throw new TypeError('a compressed batch needs `codecs`');
    packed = fields.codecs.compress(codec, body);
  }

  let maxTimestamp = baseTimestamp;
  for (const record of records) maxTimestamp = Math.max(maxTimestamp, record.timestamp);
  let attributes: number = codec;
  if (fields.logAppendTimeMs !== undefined) {
    attributes |= attributeBits.logAppendTime;
    maxTimestamp = fields.logAppendTimeMs;
  }
  if (fields.transactional === true) attributes |= attributeBits.transactional;
  if (fields.control === true) attributes |= attributeBits.control;

  const batch = Buffer.allocUnsafe(batchHeaderBytes + packed.length);
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
  writeInt64(view, headerField.baseOffset, fields.baseOffset ?? 0);
  view.setInt32(headerField.batchLength, batch.length - batchOverheadBytes);
  view.setInt32(headerField.partitionLeaderEpoch, fields.partitionLeaderEpoch ?? -1);
  view.setInt8(headerField.magic, currentMagic);
  view.setInt16(headerField.attributes, attributes);
  view.setInt32(
    headerField.lastOffsetDelta,
    fields.lastOffsetDelta ?? last.offsetDelta ?? records.length - 1,
  );
  writeInt64(view, headerField.baseTimestamp, baseTimestamp);
  writeInt64(view, headerField.maxTimestamp, maxTimestamp);
  writeInt64(view, headerField.producerId, fields.producerId ?? noProducerId);
  view.setInt16(headerField.producerEpoch, fields.producerEpoch ?? noProducerEpoch);
  view.setInt32(headerField.baseSequence, fields.baseSequence ?? noSequence);
  view.setInt32(headerField.recordCount, records.length);
  batch.set(packed, batchHeaderBytes);
  patchCrc(view, 0, crc32c(batch, crcStart, batch.length - crcStart));
  return batch;
}

/** Two passes, so that one allocation of the right size does. */
function writeRecords(records: readonly BatchRecord[], baseTimestamp: number): Buffer {
  let total = 0;
  for (let i = 0; i < records.length; i++) {
    const size = recordBytes(records[i]!, i, baseTimestamp);
    total += varintBytes(size) + size;
  }
  const body = Buffer.allocUnsafe(total);
  let at = 0;
  for (let i = 0; i < records.length; i++) {
    const record = records[i]!;
    at = writeVarint(body, at, recordBytes(record, i, baseTimestamp));
    body[at++] = 0;
    at = writeVarlong(body, at, record.timestamp - baseTimestamp);
    at = writeVarint(body, at, record.offsetDelta ?? i);
    at = writeBytes(body, at, record.key);
    at = writeBytes(body, at, record.value);
    const headers = record.headers ?? [];
    at = writeVarint(body, at, headers.length);
    for (const header of headers) {
      const size = Buffer.byteLength(header.key);
      at = writeVarint(body, at, size);
      at += body.write(header.key, at, size, 'utf8');
      at = writeBytes(body, at, header.value);
    }
  }
  return body;
}

function recordBytes(record: BatchRecord, index: number, baseTimestamp: number): number {
  const headers = record.headers ?? [];
  let size = 1 + varlongBytes(record.timestamp - baseTimestamp) + varintBytes(record.offsetDelta ?? index);
  size += bytesSize(record.key) + bytesSize(record.value) + varintBytes(headers.length);
  for (const header of headers) {
    const keySize = Buffer.byteLength(header.key);
    size += varintBytes(keySize) + keySize + bytesSize(header.value);
  }
  return size;
}

function bytesSize(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintBytes(bytes.length) + bytes.length;
}

function writeBytes(body: Buffer, position: number, bytes: Uint8Array | null): number {
  if (bytes === null) return writeVarint(body, position, -1);
  const at = writeVarint(body, position, bytes.length);
  body.set(bytes, at);
  return at + bytes.length;
}

/**
 * Transaction markers: control batches of one record that end a transaction in a partition. They take one offset,
 * carry the producer's id and epoch but no sequence, and are never compressed. Written by the partition's owner.
 *
 *   key:   | version i16 = 0 | type i16: 0 abort, 1 commit |
 *   value: | version i16 = 0 | coordinator epoch i32 |          all big endian
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Codecs } from '../compression/codecs.ts';
import { buildBatch } from './batch-builder.ts';
import { attributesOf, batchBytesOf, batchHeaderBytes, isControl } from './batch-header.ts';
import { RecordCursor } from './batch-reader.ts';
import type { Crc32c } from './crc32c.ts';

export const markerType = { abort: 0, commit: 1 } as const;
export type MarkerType = (typeof markerType)[keyof typeof markerType];

export type MarkerFields = {
  readonly type: MarkerType;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly coordinatorEpoch: number;
  /** ms since 1970. */
  readonly timestamp: number;
  readonly baseOffset?: number;
  readonly partitionLeaderEpoch?: number;
};

/** The whole control batch. */
export function buildControlMarker(fields: MarkerFields, crc32c: Crc32c): Buffer {
  const key = Buffer.alloc(4);
  key.writeInt16BE(fields.type, 2);
  const value = Buffer.alloc(6);
  value.writeInt32BE(fields.coordinatorEpoch, 2);
  return buildBatch(
    [{ key, value, timestamp: fields.timestamp }],
    {
      baseOffset: fields.baseOffset ?? 0,
      partitionLeaderEpoch: fields.partitionLeaderEpoch ?? -1,
      producerId: fields.producerId,
      producerEpoch: fields.producerEpoch,
      transactional: true,
      control: true,
    },
    crc32c,
  );
}

export type ParsedMarker = {
  /** A markerType, or another number for control records that end no transaction (newer Kafka features). */
  readonly type: number;
  /** -1 when `type` is no transaction marker. */
  readonly coordinatorEpoch: number;
};

/** Reads the control batch of `length` bytes at `position`; undefined when it is an ordinary batch. */
export function parseControlMarker(
  view: DataView,
  buffer: Uint8Array,
  position: number,
  length: number,
  codecs: Codecs,
): ParsedMarker | undefined {
  if (!isControl(attributesOf(view, position))) return undefined;
  const cursor = new RecordCursor();
  // A control record is tens of bytes; what unpacks to more is none.
  cursor.open(buffer, position, length, codecs, 4096);
  if (!cursor.next()) throw invalidMarker('no record');
  const key = cursor.key();
  const value = cursor.value();
  if (key === null || key.length < 4 || key.readInt16BE(0) < 0) throw invalidMarker('key');
  const type = key.readInt16BE(2);
  if (type !== markerType.abort && type !== markerType.commit) return { type, coordinatorEpoch: -1 };
  if (value === null || value.length < 6 || value.readInt16BE(0) < 0) throw invalidMarker('value');
  return { type, coordinatorEpoch: value.readInt32BE(2) };
}

/**
 * Reads the control batch at `at` where it lies, for whoever folds logs; allocates nothing but the answer. Null when its record
 * is not there (lost) or is not to be understood. Control batches are never compressed.
 */
export function readMarker(view: DataView, at: number): ParsedMarker | null {
  const end = Math.min(at + batchBytesOf(view, at), view.byteLength);
  // Record: length, attributes, timestamp delta, offset delta, key length, key, value length, value, headers.
  let place = skipVarint(view, at + batchHeaderBytes, end);
  place = skipVarint(view, place + 1, end);
  place = skipVarint(view, place, end);
  const keyAt = skipVarint(view, place, end);
  const valueLengthAt = keyAt + 4;
  if (keyAt < 0 || valueLengthAt > end || view.getUint8(place) !== keyLengthByte) return null;
  if (view.getInt16(keyAt) < 0) return null;
  const type = view.getInt16(keyAt + 2);
  if (type !== markerType.abort && type !== markerType.commit) return { type, coordinatorEpoch: -1 };
  const valueAt = skipVarint(view, valueLengthAt, end);
  if (valueAt < 0 || valueAt + 6 > end || view.getInt16(valueAt) < 0) return null;
  return { type, coordinatorEpoch: view.getInt32(valueAt + 2) };
}

/** A key of four bytes, as a zigzag varint. */
const keyLengthByte = 8;

/** Position behind the varint at `at`; negative when it does not end before `end`. */
function skipVarint(view: DataView, at: number, end: number): number {
  if (at < 0) return at;
  for (let i = at; i < end && i < at + 10; i++) if (view.getUint8(i) < 0x80) return i + 1;
  return Number.NEGATIVE_INFINITY;
}

function invalidMarker(part: string): MillraceError {
  return new MillraceError('corrupt', 'CORRUPT_RECORDS', `control batch: bad ${part}`);
}

/**
 * Keys and values of coordinators' records as Kafka's internal topics have them. Shard thread: the writer is shared by all
 * calls and every result is a copy.
 *
 *     key    | int16 record type   | key fields             |
 *     value  | int16 value version | fields of that version |
 */
import type { StructureCodec } from '../../protocol/codec.ts';
import { Reader } from '../../protocol/reader.ts';
import { Writer } from '../../protocol/writer.ts';
import type { CoordinatorRecord } from './coordinator-log.ts';

const writer = new Writer();

function bytes<Input>(
  codec: StructureCodec<unknown, Input>,
  head: number,
  input: Input,
  version: number,
): Buffer {
  writer.reset();
  writer.i16(head);
  codec.encode(writer, input, version);
  return Buffer.from(writer.written);
}

/** @param codec of a key: it knows its record type. */
export function recordKey<Input>(codec: StructureCodec<unknown, Input>, input: Input): Buffer {
  return bytes(codec, codec.recordType!, input, 0);
}

export function recordValue<Input>(
  codec: StructureCodec<unknown, Input>,
  input: Input,
  version: number,
): Buffer {
  return bytes(codec, version, input, version);
}

/** @param value null deletes; else it is written in version 0. */
export function recordOf<Key, Value>(
  keyCodec: StructureCodec<unknown, Key>,
  key: Key,
  valueCodec: StructureCodec<unknown, Value>,
  value: Value | null,
): CoordinatorRecord {
  return { key: recordKey(keyCodec, key), value: value === null ? null : recordValue(valueCodec, value, 0) };
}

/** Throws a ProtocolDecodeError for bytes that are no value of a version that is known. */
export function readRecordValue<Value>(codec: StructureCodec<Value, never>, value: Buffer): Value {
  const reader = new Reader(value);
  return codec.decode(reader, reader.i16());
}

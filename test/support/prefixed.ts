/**
 * Structures that travel with an int16 before them.
 *
 *     record key, internal topic     | int16 record type | key fields (version 0)      |
 *     record value, control record   | int16 version     | fields in that version      |
 *     consumer protocol bytes        | int16 version     | fields in that version      |
 *
 * The prefix is plain int16 also where the fields behind it are flexible.
 */
import type { Buffer } from 'node:buffer';
import type { StructureCodec } from '../../src/protocol/codec.ts';
import { ProtocolEncodeError } from '../../src/protocol/codec-errors.ts';
import { Reader } from '../../src/protocol/reader.ts';
import { Writer } from '../../src/protocol/writer.ts';

/** Version before the fields. Fails with ProtocolEncodeError for a version the codec has not. */
export function encodeVersioned<Decoded, Input>(
  codec: StructureCodec<Decoded, Input>,
  input: Input,
  version: number,
): Buffer {
  const writer = new Writer({ initialBytes: 128 });
  writer.i16(version);
  codec.encode(writer, input, version);
  return writer.detach().buffer;
}

/**
 * Reads what encodeVersioned writes. With `newerAsNewest`, a version above the codec's is read as its newest and
 * the bytes behind it are left alone: the rule of the consumer protocol.
 */
export function decodeVersioned<Decoded, Input>(
  codec: StructureCodec<Decoded, Input>,
  bytes: Uint8Array,
  newerAsNewest = false,
): Decoded {
  const reader = new Reader(bytes);
  const version = reader.i16();
  if (newerAsNewest && version > codec.maxVersion) return codec.decode(reader, codec.maxVersion);
  const decoded = codec.decode(reader, version);
  reader.expectEnd();
  return decoded;
}

/** Record type, then the key's fields in version 0. */
export function encodeRecordKey<Decoded, Input>(codec: StructureCodec<Decoded, Input>, input: Input): Buffer {
  if (codec.recordType === null) throw new ProtocolEncodeError(`${codec.name} is not a record key`);
  const writer = new Writer({ initialBytes: 128 });
  writer.i16(codec.recordType);
  codec.encode(writer, input, 0);
  return writer.detach().buffer;
}

/** Record type before a key's fields: tells which codec reads the rest. */
export function recordTypeOf(key: Uint8Array): number {
  return new Reader(key).i16();
}

/** Reads a key whose record type the caller has already matched with the codec. */
export function decodeRecordKey<Decoded, Input>(
  codec: StructureCodec<Decoded, Input>,
  key: Uint8Array,
): Decoded {
  const reader = new Reader(key);
  const type = reader.i16();
  if (type !== codec.recordType)
    throw reader.fail(`record type ${type}, ${codec.name} has ${codec.recordType}`);
  const decoded = codec.decode(reader, 0);
  reader.expectEnd();
  return decoded;
}

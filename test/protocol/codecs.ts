/** All codecs as one list, so that a test can treat requests, responses and structures alike. */
import { API_CODECS, STRUCTURE_CODECS } from '../../src/protocol/generated/registry.ts';
import { Reader } from '../../src/protocol/reader.ts';
import { Writer } from '../../src/protocol/writer.ts';

export interface TestCodec {
  /** As in the schema, e.g. ProduceRequest. */
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** First flexible version. */
  readonly flexibleFrom: number;
  decode(reader: Reader, version: number): object;
  encode(writer: Writer, input: object, version: number): void;
}

export const CODECS: ReadonlyMap<string, TestCodec> = new Map(
  allCodecs().map((codec) => [codec.name, codec]),
);

function allCodecs(): TestCodec[] {
  const codecs: TestCodec[] = [];
  for (const codec of API_CODECS.values()) {
    const { name, minVersion, maxVersion, flexibleFrom } = codec.api;
    const range = { minVersion, maxVersion, flexibleFrom };
    codecs.push({
      name: `${name}Request`,
      ...range,
      decode: codec.decodeRequest,
      encode: codec.encodeRequest,
    });
    codecs.push({
      name: `${name}Response`,
      ...range,
      decode: codec.decodeResponse,
      encode: codec.encodeResponse,
    });
  }
  return [...codecs, ...STRUCTURE_CODECS.values()];
}

/** Decodes a whole message; all bytes must be used. */
export function decodeAll(codec: TestCodec, bytes: Uint8Array, version: number): object {
  const reader = new Reader(bytes);
  const decoded = codec.decode(reader, version);
  reader.expectEnd();
  return decoded;
}

export function encodeAll(codec: TestCodec, input: object, version: number): Buffer {
  const writer = new Writer();
  codec.encode(writer, input, version);
  return writer.detach().buffer;
}

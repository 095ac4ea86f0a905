/** The shape of every generated codec, so that dispatch and tests can treat all messages alike. */
import type { Reader } from './reader.ts';
import type { Writer } from './writer.ts';

/** An API as its generated module states it; ranges are inclusive. */
export interface ApiDescription {
  readonly key: number;
  readonly name: string;
  /** Versions that can be decoded and encoded; what is advertised may be less. */
  readonly minVersion: number;
  readonly maxVersion: number;
  /** First version with compact lengths and tag sections; above maxVersion if there is none. */
  readonly flexibleFrom: number;
}

/** Request and response of one API. Decoders fail with ProtocolDecodeError, encoders with ProtocolEncodeError. */
export interface ApiCodec<Request, RequestInput, Response, ResponseInput> {
  readonly api: ApiDescription;
  decodeRequest(reader: Reader, version: number): Request;
  encodeRequest(writer: Writer, input: RequestInput, version: number): void;
  decodeResponse(reader: Reader, version: number): Response;
  encodeResponse(writer: Writer, input: ResponseInput, version: number): void;
}

/** A structure that travels inside bytes fields or records. */
export interface StructureCodec<Decoded, Input> {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  readonly flexibleFrom: number;
  /** Number before the key of a coordinator record; null for other structures. */
  readonly recordType: number | null;
  /** Internal topic of a coordinator record; null for other structures. */
  readonly topic: string | null;
  decode(reader: Reader, version: number): Decoded;
  encode(writer: Writer, input: Input, version: number): void;
}

/** A codec whose message kind is known only at run time. */
export type AnyApiCodec = ApiCodec<object, object, object, object>;
export type AnyStructureCodec = StructureCodec<object, object>;

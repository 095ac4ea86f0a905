/**
 * Request and response headers, and whole frames.
 *
 *     frame     | int32 size | header | body |
 *     request   | int16 key | int16 version | int32 correlation | int16-length client id | [tags, if flexible] |
 *     response  | int32 correlation | [tags, if flexible and not ApiVersions] |
 *
 * A request's header is flexible (v2) when its API version is. The answer to ApiVersions keeps the plain header (v0)
 * always, because the client may not know yet what the broker understands (KIP-511).
 */
import type { AnyApiCodec } from '../../src/protocol/codec.ts';
import { ApiKey } from '../../src/protocol/generated/api-keys.ts';
import type { Reader } from '../../src/protocol/reader.ts';
import type { Writer } from '../../src/protocol/writer.ts';
import { apiEntry } from './api-codecs.ts';

export interface RequestHeader {
  readonly apiKey: number;
  readonly apiVersion: number;
  readonly correlationId: number;
  readonly clientId: string | null;
}

/** 1 or 2; 1 for a key that no codec has, whose body nobody will read. */
export function requestHeaderVersion(apiKey: number, apiVersion: number): 1 | 2 {
  const entry = apiEntry(apiKey);
  return entry !== undefined && apiVersion >= entry.flexibleFrom ? 2 : 1;
}

/** 0 or 1. */
export function responseHeaderVersion(apiKey: number, apiVersion: number): 0 | 1 {
  if (apiKey === ApiKey.ApiVersions) return 0;
  const entry = apiEntry(apiKey);
  return entry !== undefined && apiVersion >= entry.flexibleFrom ? 1 : 0;
}

/** Reads the header behind the size field; key and version may be unknown, which the caller must check. */
export function decodeRequestHeader(reader: Reader): RequestHeader {
  const apiKey = reader.i16();
  const apiVersion = reader.i16();
  const correlationId = reader.i32();
  const clientId = reader.nullableString(false);
  if (requestHeaderVersion(apiKey, apiVersion) === 2) reader.skipTags();
  return { apiKey, apiVersion, correlationId, clientId };
}

export function encodeRequestHeader(writer: Writer, header: RequestHeader): void {
  writer.i16(header.apiKey);
  writer.i16(header.apiVersion);
  writer.i32(header.correlationId);
  writer.nullableString(header.clientId, false);
  if (requestHeaderVersion(header.apiKey, header.apiVersion) === 2) writer.uvarint(0);
}

/** Answers the correlation id. */
export function decodeResponseHeader(reader: Reader, apiKey: number, apiVersion: number): number {
  const correlationId = reader.i32();
  if (responseHeaderVersion(apiKey, apiVersion) === 1) reader.skipTags();
  return correlationId;
}

export function encodeResponseHeader(
  writer: Writer,
  apiKey: number,
  apiVersion: number,
  correlationId: number,
): void {
  writer.i32(correlationId);
  if (responseHeaderVersion(apiKey, apiVersion) === 1) writer.uvarint(0);
}

/** Size, header and body of an answer. */
export function encodeResponseFrame(
  writer: Writer,
  codec: AnyApiCodec,
  apiVersion: number,
  correlationId: number,
  body: object,
): void {
  const sizeAt = writer.reserveInt32();
  encodeResponseHeader(writer, codec.api.key, apiVersion, correlationId);
  codec.encodeResponse(writer, body, apiVersion);
  writer.patchFrameLength(sizeAt);
}

/** Size, header and body of a request. */
export function encodeRequestFrame(
  writer: Writer,
  codec: AnyApiCodec,
  header: RequestHeader,
  body: object,
): void {
  const sizeAt = writer.reserveInt32();
  encodeRequestHeader(writer, header);
  codec.encodeRequest(writer, body, header.apiVersion);
  writer.patchFrameLength(sizeAt);
}

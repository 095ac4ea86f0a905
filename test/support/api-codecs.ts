/** Look-ups over the generated tables: what exists for a key that came over the wire. */
import type { AnyApiCodec } from '../../src/protocol/codec.ts';
import { API_TABLE, type ApiVersionsEntry } from '../../src/protocol/generated/api-keys.ts';
import { API_CODECS } from '../../src/protocol/generated/registry.ts';

const ENTRIES: ReadonlyMap<number, ApiVersionsEntry> = new Map(API_TABLE.map((entry) => [entry.key, entry]));

/** Versions of an API; undefined for a key no codec has. */
export function apiEntry(apiKey: number): ApiVersionsEntry | undefined {
  return ENTRIES.get(apiKey);
}

/** Codec of an API; undefined for a key no codec has. */
export function apiCodec(apiKey: number): AnyApiCodec | undefined {
  return API_CODECS.get(apiKey);
}

/** Whether the codec has this version. Not whether the broker serves it. */
export function isKnownVersion(apiKey: number, apiVersion: number): boolean {
  const entry = ENTRIES.get(apiKey);
  return entry !== undefined && apiVersion >= entry.minVersion && apiVersion <= entry.maxVersion;
}

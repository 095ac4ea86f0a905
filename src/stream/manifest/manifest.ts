/**
 * CONTRACT of manifests: what the store knows of a stream up to some offset, in one file. A stream has one from its
 * first compaction on; the metadata name its version, and compaction and retention replace it by the next one
 * (compare-and-set on the version). Any thread; pure. Bytes: manifest-codec.ts, docs/internals/manifest.md.
 *
 *   manifest (version n) covers [.., endOffset): objects, producers, epochs; aborted transactions stay in the objects
 *   ranges of the image   cover [endOffset, ..): stream set objects and stream objects of later uploads
 *
 * Invariants: objects are ascending and hold this stream only; the first may begin below the log start, a hole between
 * two lies below it. A file is never changed once it is written, and no number is used twice.
 */

import { MillraceError } from '../../ports/errors.ts';
import { spreadDigits } from '../../ports/fnv1a.ts';
import type { ProducerEntry } from '../objects/objects.ts';

export interface ManifestObject {
  readonly objectId: string;
  /** Whole object. */
  readonly size: number;
  readonly baseOffset: number;
  /** Exclusive. */
  readonly endOffset: number;
  readonly maxTimestamp: number;
  /** Data blocks of the stream in it. */
  readonly bytes: number;
}

/** Same shape as the metadata's; epochs in which nothing was written are left out. */
export interface ManifestEpoch {
  readonly epoch: number;
  readonly startOffset: number;
}

export interface Manifest {
  readonly topicId: string;
  readonly partition: number;
  readonly version: number;
  /** Log start when it was written. */
  readonly startOffset: number;
  readonly endOffset: number;
  readonly objects: readonly ManifestObject[];
  readonly epochs: readonly ManifestEpoch[];
  /** State at endOffset. */
  readonly producers: readonly ProducerEntry[];
  /** First offset of the oldest transaction open at endOffset, else endOffset. */
  readonly lastStableOffset: number;
  /** Log compaction has cleaned up to here; 0 = it never has. */
  readonly cleanedTo: number;
  /** From then on a pass may take what waits for its delete horizon, ms since 1970; −1 = nothing waits. */
  readonly horizonMs: number;
}

/** What stands before a stream's first manifest; version 0 is in no store. */
export function emptyManifest(topicId: string, partition: number): Manifest {
  return {
    topicId,
    partition,
    version: 0,
    startOffset: 0,
    endOffset: 0,
    objects: [],
    epochs: [],
    producers: [],
    lastStableOffset: 0,
    cleanedTo: 0,
    horizonMs: -1,
  };
}

const topicIdPattern = /^[A-Za-z0-9_-]{21}[AQgw]$/;

/** Prefix of all of a stream's manifest files. The two hash digits spread the streams over the key space. */
export function manifestPrefix(topicId: string, partition: number): string {
  if (!topicIdPattern.test(topicId) || !Number.isSafeInteger(partition) || partition < 0)
    throw new MillraceError('internal', 'MANIFEST_NAME', `'${topicId}/${partition}' is no stream`);
  const name = `${topicId}/${partition}`;
  return `manifest/${spreadDigits(name)}/${name}/`;
}

/** Key below the store's root: `manifest/<2 hex>/<topic id>/<partition>/<version>`. */
export function manifestKey(topicId: string, partition: number, version: number): string {
  if (!Number.isSafeInteger(version) || version < 1)
    throw new MillraceError('internal', 'MANIFEST_NAME', `${version} is no version of a manifest`);
  return `${manifestPrefix(topicId, partition)}${version}`;
}

/** Stream and version that a key under `manifest/` says, or null for anything else. */
export function parseManifestKey(
  key: string,
): { readonly topicId: string; readonly partition: number; readonly version: number } | null {
  const match = /^manifest\/[0-9a-f]{2}\/([^/]+)\/(0|[1-9]\d{0,9})\/([1-9]\d{0,15})$/.exec(key);
  if (match === null || !topicIdPattern.test(match[1]!)) return null;
  const name = { topicId: match[1]!, partition: Number(match[2]), version: Number(match[3]) };
  return Number.isSafeInteger(name.version) && manifestKey(name.topicId, name.partition, name.version) === key
    ? name
    : null;
}

/** What the metadata keep of a manifest (ManifestSummary). */
export function summaryOf(manifest: Manifest): {
  readonly version: number;
  readonly startOffset: number;
  readonly endOffset: number;
  readonly objects: number;
  readonly bytes: number;
  readonly maxTimestamp: number;
} {
  let bytes = 0;
  let maxTimestamp = -1;
  for (const object of manifest.objects) {
    bytes += object.bytes;
    if (object.maxTimestamp > maxTimestamp) maxTimestamp = object.maxTimestamp;
  }
  const { version, startOffset, endOffset, objects } = manifest;
  return { version, startOffset, endOffset, objects: objects.length, bytes, maxTimestamp };
}

/**
 * Bytes of a manifest (docs/internals/manifest.md). Any thread, pure. Little endian; one CRC-32C over everything. A
 * decoder believes no length: counts are compared with the bytes that are there before anything is made.
 *
 *   0  "MRLMAN\r\n" │ format version u16 │ header bytes u16 │ whole length u32
 *  16  topic id 16 B │ partition u32 │ cluster id length u16 │ 0 u16
 *  40  version i64 │ start i64 │ end i64 │ last stable i64
 *  72  objects u32 │ epochs u32 │ bytes of producers u32 │ bytes of aborted u32
 *  88  cleaned to i64 │ delete horizon i64 (both since version 3)
 * 104  cluster id │ objects 48 B each │ epochs 12 B each │ producers │ aborted (version 1 only) │ CRC u32
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { getInt64, putInt64, viewOf } from '../objects/object-format.ts';
import { topicIdBytes } from '../objects/object-index.ts';
import { decodeProducers, encodeProducers } from '../objects/object-sections.ts';
import type { Manifest, ManifestEpoch, ManifestObject } from './manifest.ts';

/**
 * 2: producers in form 2 of their section (object-sections.ts), aborted transactions in the objects only.
 * 3: how far log compaction has come.
 */
export const manifestFormatVersion = 3;
const magic = Buffer.from('MRLMAN\r\n', 'latin1');
const headerBytes = 104;
/** Up to version 2. */
const firstHeaderBytes = 88;
const objectBytes = 48;
const epochBytes = 12;
const crcBytes = 4;
const clusterIdBytesMax = 256;
/** A million objects, or 10,000 producers with five batches each and as many objects as fit beside them. */
export const manifestBytesMax = 64 << 20;

export function manifestCorrupt(what: string): MillraceError {
  return new MillraceError('corrupt', 'MANIFEST_CORRUPT', `a manifest is damaged: ${what}`);
}

/** @throws MANIFEST_TOO_LARGE (exhausted) for more than the format holds. */
export function encodeManifest(manifest: Manifest, clusterId: string, crc32c: Crc32c): Buffer {
  const name = Buffer.from(clusterId, 'utf8');
  const none = manifest.producers.length === 0;
  const producers = none ? Buffer.alloc(0) : encodeProducers([{ stream: 0, producers: manifest.producers }]);
  const { objects, epochs } = manifest;
  const sections = headerBytes + name.length + objects.length * objectBytes + epochs.length * epochBytes;
  const length = sections + producers.length + crcBytes;
  if (length > manifestBytesMax || name.length > clusterIdBytesMax)
    throw new MillraceError(
      'exhausted',
      'MANIFEST_TOO_LARGE',
      `a manifest of ${length} bytes; ${manifestBytesMax} is the most`,
    );
  const bytes = Buffer.alloc(length);
  const view = viewOf(bytes);
  magic.copy(bytes, 0);
  view.setUint16(8, manifestFormatVersion, true);
  view.setUint16(10, headerBytes, true);
  view.setUint32(12, length, true);
  topicIdBytes(manifest.topicId).copy(bytes, 16);
  view.setUint32(32, manifest.partition, true);
  view.setUint16(36, name.length, true);
  putInt64(view, 40, manifest.version);
  putInt64(view, 48, manifest.startOffset);
  putInt64(view, 56, manifest.endOffset);
  putInt64(view, 64, manifest.lastStableOffset);
  view.setUint32(72, objects.length, true);
  view.setUint32(76, epochs.length, true);
  view.setUint32(80, producers.length, true);
  putInt64(view, 88, manifest.cleanedTo);
  putInt64(view, 96, manifest.horizonMs);
  name.copy(bytes, headerBytes);
  let at = headerBytes + name.length;
  for (const object of objects) {
    bytes.write(object.objectId, at, 8, 'hex');
    putInt64(view, at + 8, object.size);
    putInt64(view, at + 16, object.baseOffset);
    putInt64(view, at + 24, object.endOffset);
    putInt64(view, at + 32, object.maxTimestamp);
    putInt64(view, at + 40, object.bytes);
    at += objectBytes;
  }
  for (const { epoch, startOffset } of epochs) {
    view.setInt32(at, epoch, true);
    putInt64(view, at + 4, startOffset);
    at += epochBytes;
  }
  producers.copy(bytes, at);
  view.setUint32(length - crcBytes, crc32c(bytes, 0, length - crcBytes), true);
  return bytes;
}

/** @throws MANIFEST_CORRUPT, MANIFEST_VERSION */
export function decodeManifest(
  bytes: Buffer,
  crc32c: Crc32c,
): { readonly manifest: Manifest; readonly clusterId: string } {
  if (bytes.length < firstHeaderBytes + crcBytes || magic.compare(bytes, 0, 8) !== 0)
    throw manifestCorrupt('no magic at its start');
  const view = viewOf(bytes);
  if (view.getUint32(12, true) !== bytes.length)
    throw manifestCorrupt(`${bytes.length} bytes, it says ${view.getUint32(12, true)}`);
  if (view.getUint32(bytes.length - crcBytes, true) !== crc32c(bytes, 0, bytes.length - crcBytes))
    throw manifestCorrupt('its CRC');
  const found = view.getUint16(8, true);
  if (found !== 1 && found !== 2 && found !== 3) {
    const message = `a manifest has format version ${found}; this release reads versions 1 to ${manifestFormatVersion}`;
    throw new MillraceError('invalid', 'MANIFEST_VERSION', message);
  }
  const headBytes = found < 3 ? firstHeaderBytes : headerBytes;
  if (view.getUint16(10, true) !== headBytes || bytes.length < headBytes + crcBytes)
    throw manifestCorrupt('the length of its header');
  const nameBytes = view.getUint16(36, true);
  const objectCount = view.getUint32(72, true);
  const epochCount = view.getUint32(76, true);
  const producerBytes = view.getUint32(80, true);
  const abortedBytes = view.getUint32(84, true);
  const objectsAt = headBytes + nameBytes;
  const epochsAt = objectsAt + objectCount * objectBytes;
  const producersAt = epochsAt + epochCount * epochBytes;
  const abortedAt = producersAt + producerBytes;
  if (abortedAt + abortedBytes + crcBytes !== bytes.length)
    throw manifestCorrupt('its counts do not give its length');
  const label = bytes.toString('base64url', 16, 32);
  const number = (at: number): number => {
    const value = getInt64(view, at);
    if (Number.isNaN(value)) throw manifestCorrupt(`a number beyond 2^53 at byte ${at}`);
    return value;
  };
  const endOffset = number(56);
  const objects: ManifestObject[] = [];
  let reached = 0;
  for (let i = 0; i < objectCount; i++) {
    const at = objectsAt + i * objectBytes;
    const object = {
      objectId: bytes.toString('hex', at, at + 8),
      size: number(at + 8),
      baseOffset: number(at + 16),
      endOffset: number(at + 24),
      maxTimestamp: number(at + 32),
      bytes: number(at + 40),
    };
    const ordered = object.baseOffset >= reached && object.endOffset > object.baseOffset;
    if (!ordered || object.endOffset > endOffset) throw manifestCorrupt(`offsets of object ${i}`);
    reached = object.endOffset;
    objects.push(object);
  }
  const epochs: ManifestEpoch[] = [];
  for (let i = 0; i < epochCount; i++) {
    const at = epochsAt + i * epochBytes;
    epochs.push({ epoch: view.getInt32(at, true), startOffset: number(at + 4) });
  }
  const producers = bytes.subarray(producersAt, abortedAt);
  const manifest: Manifest = {
    topicId: label,
    partition: view.getUint32(32, true),
    version: number(40),
    startOffset: number(48),
    endOffset,
    objects,
    epochs,
    producers: inside(() => decodeProducers(producers, label, 1, found === 1 ? 1 : 2)[0]?.producers ?? []),
    lastStableOffset: number(64),
    cleanedTo: found < 3 ? 0 : number(88),
    horizonMs: found < 3 ? -1 : number(96),
  };
  return { manifest, clusterId: bytes.toString('utf8', headBytes, objectsAt) };
}

/** The sections are an object's; what is wrong in them here is the manifest's. */
function inside<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw manifestCorrupt(error instanceof Error ? error.message : String(error));
  }
}

/**
 * Bytes of an object (stream set object or stream object, one format): head, footer, section table, limits.
 * Any thread; pure functions. The layout is drawn in docs/internals/objects.md. Little endian, CRC-32C.
 *
 *   ┌──────┬───────────────────────────┬────────┬─────────┬───────────┬────────────┬───────┬────────┐
 *   │ head │ data blocks, stream after │ states │ aborted │ producers │ descriptor │ index │ footer │
 *   │ 32 B │ stream, offsets ascending │        │         │           │            │       │ 128 B  │
 *   └──────┴───────────────────────────┴────────┴─────────┴───────────┴────────────┴───────┴────────┘
 *                                                                       └ one read of the tail ────┘
 *
 * Invariants: sections follow each other without gaps, in this order; every byte is covered by a CRC (head and footer
 * by their own, sections by the footer, blocks by the index). The last 16 bytes keep their meaning in every version,
 * so a damaged version number is told from an unknown version.
 *
 * Version 3 is what an upload writes. Version 4 is what a compaction writes: ranges of other objects, copied by the store,
 * and blocks written anew. It has no head, and blocks lie in any order with gaps between them. Versions 1 and 2 are the same
 * without what transactions need of the small sections.
 */

import { MillraceError } from '../../ports/errors.ts';
import { spreadDigits } from '../../ports/fnv1a.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';

/** What uploads write. */
export const objectVersion = 3;
/** What compactions write. */
export const mergedVersion = 4;
/** Their forms before transactions. */
const firstObjectVersion = 1;
const firstMergedVersion = 2;
export const headBytes = 32;
export const footerBytes = 128;
/** Bytes of the footer that every version has: version, footer length, CRC, magic. */
export const trailerBytes = 16;
/** Whole batches of one stream; a single larger batch makes a larger block. */
export const blockBytesMax = 1 << 20;
/** 64 MiB of index is 1.6 million blocks; a 500 MB upload of 1 KiB blocks has half a million. */
export const sectionBytesMax = 64 << 20;
/** One read of this many bytes holds footer and index of about 900 streams of a block each, or 1,600 blocks of one. */
export const tailReadBytes = 64 << 10;

const headMagic = Buffer.from('MRLOBJ\r\n', 'latin1');
const footerMagic = Buffer.from('MRLOBEND', 'latin1');

/** Order in the file; the index lies last, so that the tail of the object is what every reader needs. */
export const sectionNames = ['states', 'aborted', 'producers', 'descriptor', 'index'] as const;
export type SectionName = (typeof sectionNames)[number];

export interface SectionPlace {
  readonly position: number;
  readonly length: number;
  readonly crc: number;
}

export interface Footer {
  readonly version: number;
  readonly objectId: string;
  /** Whole object, footer included. */
  readonly objectBytes: number;
  /** First byte behind the data blocks. */
  readonly dataEnd: number;
  readonly streamCount: number;
  readonly entryCount: number;
  readonly sections: Readonly<Record<SectionName, SectionPlace>>;
}

export function objectCorrupt(objectId: string, what: string): MillraceError {
  return new MillraceError('corrupt', 'OBJECT_CORRUPT', `object ${objectId} is damaged: ${what}`);
}

/** The object is not in the store: the plan that named it is stale. Reload it once, then it is an error. */
export function objectGone(objectId: string, cause: unknown): MillraceError {
  return new MillraceError('unavailable', 'OBJECT_GONE', `object ${objectId} is not in the store`, { cause });
}

/** Throws for a caller's mistake: a plan that contradicts itself or the arena. */
export function requirePlan(condition: boolean, what: string): asserts condition {
  if (!condition) throw new MillraceError('internal', 'UPLOAD_PLAN', `upload plan refused: ${what}`);
}

const objectIdPattern = /^[0-9a-f]{16}$/;

/** Key below the store's root. The two hash digits spread ascending ids over the key space. */
export function objectKey(objectId: string): string {
  requirePlan(objectIdPattern.test(objectId), `object id '${objectId}' is not 16 hex digits`);
  return `data/${spreadDigits(objectId)}/${objectId}`;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Writes a checked integer as a signed 64-bit value; exact for ±(2^53 − 1). */
export function putInt64(view: DataView, at: number, value: number): void {
  requirePlan(Number.isSafeInteger(value), `${value} is not an exact integer`);
  view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  view.setUint32(at, value >>> 0, true);
}

/** Reads a signed 64-bit value; NaN when it is no exact number (then no comparison with it succeeds). */
export function getInt64(view: DataView, at: number): number {
  const value = view.getInt32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true);
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

/** Made by a compaction: no head, blocks in any order. */
export function isMerged(version: number): boolean {
  return version === mergedVersion || version === firstMergedVersion;
}

/** Forms of the small sections: 2 knows transactions. */
export type SectionForm = 1 | 2;
export const sectionForm = 2;

export function sectionFormOf(version: number): SectionForm {
  return version === firstObjectVersion || version === firstMergedVersion ? 1 : 2;
}

/** First byte of the data blocks. */
export function dataStart(version: number): number {
  return isMerged(version) ? 0 : headBytes;
}

export function encodeHead(objectId: string, brokerEpoch: number, crc32c: Crc32c): Buffer {
  const head = Buffer.alloc(headBytes);
  const view = viewOf(head);
  headMagic.copy(head, 0);
  view.setUint16(8, objectVersion, true);
  view.setUint16(10, headBytes, true);
  head.write(objectId, 12, 8, 'hex');
  putInt64(view, 20, brokerEpoch);
  view.setUint32(28, crc32c(head, 0, 28), true);
  return head;
}

/** Checks the first bytes of an object of an upload, for repair tools; merged ones have no head. */
export function checkHead(head: Uint8Array, objectId: string, crc32c: Crc32c): void {
  if (head.length < headBytes) throw objectCorrupt(objectId, `only ${head.length} bytes of head`);
  const view = viewOf(head);
  if (headMagic.compare(head, 0, 8) !== 0) throw objectCorrupt(objectId, 'no magic at its start');
  if (view.getUint32(28, true) !== crc32c(head, 0, 28)) throw objectCorrupt(objectId, 'CRC of the head');
  const version = view.getUint16(8, true);
  if (version !== objectVersion && version !== firstObjectVersion) throw unknownVersion(objectId, version);
  const stored = Buffer.from(head.buffer, head.byteOffset + 12, 8).toString('hex');
  if (stored !== objectId) throw objectCorrupt(objectId, `its head says object ${stored}`);
}

export function encodeFooter(footer: Footer, crc32c: Crc32c): Buffer {
  const bytes = Buffer.alloc(footerBytes);
  const view = viewOf(bytes);
  let at = 0;
  for (const name of sectionNames) {
    const place = footer.sections[name];
    putInt64(view, at, place.position);
    view.setUint32(at + 8, place.length, true);
    view.setUint32(at + 12, place.crc, true);
    at += 16;
  }
  putInt64(view, 80, footer.objectBytes);
  putInt64(view, 88, footer.dataEnd);
  bytes.write(footer.objectId, 96, 8, 'hex');
  view.setUint32(104, footer.streamCount, true);
  view.setUint32(108, footer.entryCount, true);
  view.setUint16(112, footer.version, true);
  view.setUint16(114, footerBytes, true);
  view.setUint32(116, crc32c(bytes, 0, 116), true);
  footerMagic.copy(bytes, 120);
  return bytes;
}

/**
 * Reads the footer from the end of `tail`, the last bytes of an object.
 * @throws OBJECT_CORRUPT, OBJECT_VERSION
 */
export function decodeFooter(
  tail: Uint8Array,
  objectId: string,
  objectBytes: number,
  crc32c: Crc32c,
): Footer {
  if (tail.length < footerBytes || objectBytes < headBytes + footerBytes) {
    throw objectCorrupt(objectId, `${objectBytes} bytes are too few`);
  }
  const view = viewOf(tail);
  const end = tail.length;
  if (footerMagic.compare(tail, end - 8, end) !== 0) throw objectCorrupt(objectId, 'no magic at its end');
  const version = view.getUint16(end - 16, true);
  const length = view.getUint16(end - 14, true);
  if (length < trailerBytes || length > end) throw objectCorrupt(objectId, `a footer of ${length} bytes`);
  const base = end - length;
  if (view.getUint32(end - 12, true) !== crc32c(tail, base, length - 12)) {
    throw objectCorrupt(objectId, 'CRC of the footer');
  }
  if (version < firstObjectVersion || version > mergedVersion) throw unknownVersion(objectId, version);
  if (length !== footerBytes) throw objectCorrupt(objectId, `a footer of ${length} bytes`);

  const sections = {} as Record<SectionName, SectionPlace>;
  const dataEnd = getInt64(view, base + 88);
  let expected = dataEnd;
  let at = base;
  for (const name of sectionNames) {
    const place = {
      position: getInt64(view, at),
      length: view.getUint32(at + 8, true),
      crc: view.getUint32(at + 12, true),
    };
    if (place.position !== expected || place.length > sectionBytesMax) {
      throw objectCorrupt(objectId, `section ${name} at ${place.position}, ${place.length} bytes`);
    }
    expected += place.length;
    sections[name] = place;
    at += 16;
  }
  const stored = getInt64(view, base + 80);
  if (stored !== objectBytes)
    throw objectCorrupt(objectId, `${objectBytes} bytes, its footer says ${stored}`);
  if (!(dataEnd >= dataStart(version)) || expected + footerBytes !== objectBytes)
    throw objectCorrupt(objectId, 'section table');
  const storedId = Buffer.from(tail.buffer, tail.byteOffset + base + 96, 8).toString('hex');
  if (storedId !== objectId) throw objectCorrupt(objectId, `its footer says object ${storedId}`);
  return {
    version,
    objectId,
    objectBytes,
    dataEnd,
    streamCount: view.getUint32(base + 104, true),
    entryCount: view.getUint32(base + 108, true),
    sections,
  };
}

function unknownVersion(objectId: string, version: number): MillraceError {
  const message = `object ${objectId} has format version ${version}; this build reads versions 1 to ${mergedVersion}`;
  return new MillraceError('invalid', 'OBJECT_VERSION', message);
}

/**
 * The bytes of a block WAL: superblock, commit header, descriptor, pad. Drawn in docs/internals/wal.md. Little endian,
 * CRC-32C. Magic, the CRC's place and the version's place (8, 12) are the same in every version, so a version that is
 * not known can be told from damage and refused with its number. Pure functions over buffers; no I/O.
 */

import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import {
  batchHeaderBytes,
  commitHeaderBytes,
  descriptorBytes,
  descriptorsMax,
  pageBytes,
} from './wal-limits.ts';

export const walVersion = 1;
/** "MRWALSUP" and "MRWALCMT" as little-endian words. */
const magicWord = 0x4157524d;
const superblockWord = 0x5055534c;
const commitWord = 0x544d434c;

export const commitKinds = { commit: 1, pad: 2 } as const;
export const descriptorKinds = { inline: 0, run: 1 } as const;

export interface Superblock {
  /** 22 characters base64url each. */
  logId: string;
  clusterId: string;
  /** Counts superblock writes; the page is generation mod 2, the higher one counts. */
  generation: number;
  /** Bytes the volume may take, front pages included. */
  capacityBytes: number;
  /** Bytes written so far, front pages included: the ring ends here. */
  writtenBytes: number;
  trimPosition: number;
  /** Sequence of the newest freed commit: the next one is expected at trimPosition, naming trimChainCrc. */
  trimSequence: number;
  trimChainCrc: number;
  /** Newest sequence that was durable when this superblock was written. */
  durableSequence: number;
  epoch: number;
  /** Commits from this sequence on carry `epoch`, those before a lower one. */
  epochFirstSequence: number;
  node: number;
  clean: boolean;
  corrupt: boolean;
  /** No commit of this log is longer. */
  commitBytesMax: number;
}

export interface CommitHeader {
  epoch: number;
  sequence: number;
  position: number;
  /** Whole commit in bytes, header included; of a pad: up to the ring's end. */
  length: number;
  previousCrc: number;
  descriptors: number;
  kind: number;
  /** Header, descriptors and small batches, whole pages. */
  headBytes: number;
  crc: number;
}

export function writeId(into: Buffer, position: number, id: string): void {
  const bytes = Buffer.from(id, 'base64url');
  if (bytes.length !== 16 || bytes.toString('base64url') !== id) {
    throw new MillraceError('invalid', 'WAL_BAD_ID', `${id} is not 22 characters of base64url`);
  }
  bytes.copy(into, position);
}

export function readId(from: Buffer, position: number): string {
  return from.toString('base64url', position, position + 16);
}

export function writeU64(into: DataView, position: number, value: number): void {
  into.setUint32(position, value % 4294967296, true);
  into.setUint32(position + 4, Math.floor(value / 4294967296), true);
}

export function readU64(from: DataView, position: number): number {
  return from.getUint32(position, true) + from.getUint32(position + 4, true) * 4294967296;
}

export function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

const flagClean = 1;
const flagCorrupt = 2;

/** Fills one page at `position`. */
export function encodeSuperblock(into: Buffer, position: number, s: Superblock, crc32c: Crc32c): void {
  const view = viewOf(into);
  into.fill(0, position, position + pageBytes);
  view.setUint32(position, magicWord, true);
  view.setUint32(position + 4, superblockWord, true);
  view.setUint32(position + 12, walVersion, true);
  writeId(into, position + 16, s.logId);
  writeId(into, position + 32, s.clusterId);
  writeU64(view, position + 48, s.generation);
  writeU64(view, position + 56, s.capacityBytes);
  writeU64(view, position + 64, s.writtenBytes);
  writeU64(view, position + 72, s.trimPosition);
  writeU64(view, position + 80, s.trimSequence);
  writeU64(view, position + 88, s.durableSequence);
  writeU64(view, position + 96, s.epoch);
  writeU64(view, position + 104, s.epochFirstSequence);
  view.setUint32(position + 112, s.trimChainCrc, true);
  view.setInt32(position + 116, s.node, true);
  view.setUint32(position + 120, (s.clean ? flagClean : 0) | (s.corrupt ? flagCorrupt : 0), true);
  writeU64(view, position + 128, s.commitBytesMax);
  view.setUint32(position + 8, crc32c(into, position + 12, pageBytes - 12) >>> 0, true);
}

/** @returns null for a page that is not a whole superblock; throws for a version that is not known. */
export function decodeSuperblock(from: Buffer, position: number, crc32c: Crc32c): Superblock | null {
  const view = viewOf(from);
  if (view.getUint32(position, true) !== magicWord) return null;
  if (view.getUint32(position + 4, true) !== superblockWord) return null;
  if (crc32c(from, position + 12, pageBytes - 12) >>> 0 !== view.getUint32(position + 8, true)) return null;
  refuseUnknownVersion(view.getUint32(position + 12, true));
  const flags = view.getUint32(position + 120, true);
  return {
    logId: readId(from, position + 16),
    clusterId: readId(from, position + 32),
    generation: readU64(view, position + 48),
    capacityBytes: readU64(view, position + 56),
    writtenBytes: readU64(view, position + 64),
    trimPosition: readU64(view, position + 72),
    trimSequence: readU64(view, position + 80),
    durableSequence: readU64(view, position + 88),
    epoch: readU64(view, position + 96),
    epochFirstSequence: readU64(view, position + 104),
    trimChainCrc: view.getUint32(position + 112, true),
    node: view.getInt32(position + 116, true),
    clean: (flags & flagClean) !== 0,
    corrupt: (flags & flagCorrupt) !== 0,
    commitBytesMax: readU64(view, position + 128),
  };
}

export function refuseUnknownVersion(version: number): void {
  if (version !== walVersion) {
    throw new MillraceError(
      'invalid',
      'WAL_VERSION_UNKNOWN',
      `this WAL has format version ${version}, known is ${walVersion}: use the release that wrote it`,
    );
  }
}

/** Writes the fields that are the same in every commit of a log; done once per staging buffer. */
export function encodeCommitConstants(
  into: Buffer,
  position: number,
  logId: string,
  clusterId: string,
): void {
  const view = viewOf(into);
  into.fill(0, position, position + commitHeaderBytes);
  view.setUint32(position, magicWord, true);
  view.setUint32(position + 4, commitWord, true);
  view.setUint32(position + 12, walVersion, true);
  writeId(into, position + 16, logId);
  writeId(into, position + 32, clusterId);
}

/**
 * Writes the changing fields of a header whose constants and descriptors are in place already.
 * @returns the header's CRC, which the next commit names.
 */
export function sealCommit(
  into: Buffer,
  view: DataView,
  position: number,
  header: Omit<CommitHeader, 'crc'>,
  crc32c: Crc32c,
): number {
  writeU64(view, position + 48, header.epoch);
  writeU64(view, position + 56, header.sequence);
  writeU64(view, position + 64, header.position);
  writeU64(view, position + 72, header.length);
  view.setUint32(position + 80, header.previousCrc, true);
  view.setUint32(position + 84, header.descriptors, true);
  view.setUint32(position + 88, header.kind, true);
  view.setUint32(position + 92, header.headBytes, true);
  const covered = commitHeaderBytes - 12 + header.descriptors * descriptorBytes;
  const crc = crc32c(into, position + 12, covered) >>> 0;
  view.setUint32(position + 8, crc, true);
  return crc;
}

/**
 * Bytes that must be at hand to check the header at `position`, or 0 when this page is no commit of the log `idBytes`
 * (16 bytes). The first 128 bytes must be there.
 */
export function commitHeadLength(from: Buffer, view: DataView, position: number, idBytes: Buffer): number {
  if (view.getUint32(position, true) !== magicWord || view.getUint32(position + 4, true) !== commitWord)
    return 0;
  if (from.compare(idBytes, 0, 16, position + 16, position + 32) !== 0) return 0;
  const count = view.getUint32(position + 84, true);
  if (count > descriptorsMax) return 0;
  return commitHeaderBytes + count * descriptorBytes;
}

/**
 * @param unit what lengths are whole multiples of: pages on a volume, bytes in an object.
 * @returns false when the CRC or a length does not hold; all bytes of commitHeadLength must be at hand.
 */
export function decodeCommit(
  from: Buffer,
  view: DataView,
  position: number,
  into: CommitHeader,
  crc32c: Crc32c,
  unit: number = pageBytes,
): boolean {
  const descriptors = view.getUint32(position + 84, true);
  const covered = commitHeaderBytes - 12 + descriptors * descriptorBytes;
  const crc = view.getUint32(position + 8, true);
  if (crc32c(from, position + 12, covered) >>> 0 !== crc) return false;
  refuseUnknownVersion(view.getUint32(position + 12, true));
  into.epoch = readU64(view, position + 48);
  into.sequence = readU64(view, position + 56);
  into.position = readU64(view, position + 64);
  into.length = readU64(view, position + 72);
  into.previousCrc = view.getUint32(position + 80, true);
  into.descriptors = descriptors;
  into.kind = view.getUint32(position + 88, true);
  into.headBytes = view.getUint32(position + 92, true);
  into.crc = crc;
  if (into.kind !== commitKinds.commit && into.kind !== commitKinds.pad) return false;
  if (into.length < commitHeaderBytes || into.length % unit !== 0 || into.headBytes > into.length)
    return false;
  return (into.kind === commitKinds.pad) === (descriptors === 0);
}

/** Fields of a descriptor behind the stream id and the batch header. */
export const descriptorAt = {
  topic: 0,
  partition: 16,
  header: 20,
  kind: 20 + batchHeaderBytes,
  /** Where the batch's records begin, in bytes from the commit's start. */
  records: 84,
  /** Whole batch in bytes, its header included. */
  length: 88,
} as const;

export function emptyCommitHeader(): CommitHeader {
  return {
    epoch: 0,
    sequence: 0,
    position: 0,
    length: 0,
    previousCrc: 0,
    descriptors: 0,
    kind: 0,
    headBytes: 0,
    crc: 0,
  };
}

/**
 * Bytes of one object of a sequenced log (little endian; docs/internals/metadata.md).
 *
 *    0        4    5    6    7    8        16       24       40        44        92     96
 *   ┌────────┬────┬────┬────┬────┬────────┬────────┬────────┬─────────┬─────────┬──────┬─────────┐
 *   │ magic  │ver │kind│wlen│ 0  │ number │ epoch  │ nonce  │ payload │ writer  │ CRC  │ payload │
 *   │ "MRSL" │    │    │    │    │  u64   │  u64   │ 16 B   │ length  │ 48 B    │ 32C  │         │
 *   └────────┴────┴────┴────┴────┴────────┴────────┴────────┴─────────┴─────────┴──────┴─────────┘
 *
 * The CRC covers bytes 0–91 and the payload. Seals and moved records have no payload and everything else has one, so a
 * listing tells by size what must never be deleted.
 */

import { MillraceError } from '../ports/errors.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';

export const sequencedKinds = ['data', 'seal', 'moved', 'snapshot'] as const;
export type SequencedKind = (typeof sequencedKinds)[number];

export const sequencedHeaderBytes = 96;
export const nonceBytes = 16;
const magic = 0x4c53524d; // "MRSL"
const version = 1;
const writerAt = 44;
const writerBytesMax = 48;
const crcAt = 92;

export interface SequencedHeader {
  readonly kind: SequencedKind;
  readonly number: number;
  readonly epoch: number;
  readonly nonce: Buffer;
  readonly writer: string;
  readonly payloadBytes: number;
}

export interface SequencedObject extends SequencedHeader {
  readonly payload: Buffer;
}

/** The object as a body for put: header, then the payload as it lies. Writers longer than 48 bytes are cut. */
export function encodeSequenced(
  crc32c: Crc32c,
  object: Omit<SequencedObject, 'payload' | 'payloadBytes'>,
  payload: Uint8Array,
): Uint8Array[] {
  return encodeSequencedParts(crc32c, object, [payload]);
}

/** The same with a payload in pieces, which are not copied. */
export function encodeSequencedParts(
  crc32c: Crc32c,
  object: Omit<SequencedObject, 'payload' | 'payloadBytes'>,
  payload: readonly Uint8Array[],
): Uint8Array[] {
  const parts = payload.filter((part) => part.length > 0);
  const header = Buffer.alloc(sequencedHeaderBytes);
  header.writeUInt32LE(magic, 0);
  header[4] = version;
  header[5] = sequencedKinds.indexOf(object.kind);
  header[6] = header.write(object.writer, writerAt, writerBytesMax, 'utf8');
  header.writeBigUInt64LE(BigInt(object.number), 8);
  header.writeBigUInt64LE(BigInt(object.epoch), 16);
  object.nonce.copy(header, 24, 0, nonceBytes);
  header.writeUInt32LE(
    parts.reduce((sum, part) => sum + part.length, 0),
    40,
  );
  let crc = crc32c(header, 0, crcAt);
  for (const part of parts) {
    const view = Buffer.from(part.buffer, part.byteOffset, part.length);
    crc = crc32c(view, 0, view.length, crc);
  }
  header.writeUInt32LE(crc >>> 0, crcAt);
  return [header, ...parts];
}

/** Checks everything; rejects damage with SEQUENCED_LOG_CORRUPT and other versions with SEQUENCED_LOG_VERSION. */
export function decodeSequenced(crc32c: Crc32c, key: string, number: number, bytes: Buffer): SequencedObject {
  const header = decodeSequencedHeader(key, bytes);
  if (header.number !== number) throw corrupt(key, `is numbered ${header.number} inside`);
  if (bytes.length !== sequencedHeaderBytes + header.payloadBytes)
    throw corrupt(key, `has ${bytes.length} bytes`);
  const seed = crc32c(bytes, 0, crcAt);
  const crc = crc32c(bytes, sequencedHeaderBytes, header.payloadBytes, seed);
  if (crc !== bytes.readUInt32LE(crcAt)) throw corrupt(key, 'fails its CRC');
  return { ...header, payload: bytes.subarray(sequencedHeaderBytes) };
}

/** The header alone, its CRC unchecked. */
export function decodeSequencedHeader(key: string, bytes: Buffer): SequencedHeader {
  if (bytes.length < sequencedHeaderBytes) throw corrupt(key, `has ${bytes.length} bytes`);
  if (bytes.readUInt32LE(0) !== magic) throw corrupt(key, 'does not begin as one');
  if (bytes[4] !== version) {
    const message = `${key} has format version ${bytes[4]}; this release reads version ${version}`;
    throw new MillraceError('invalid', 'SEQUENCED_LOG_VERSION', message);
  }
  const kind = sequencedKinds[bytes[5]!];
  const writerBytes = bytes[6]!;
  if (kind === undefined || writerBytes > writerBytesMax) throw corrupt(key, 'has a broken header');
  const payloadBytes = bytes.readUInt32LE(40);
  const bare = kind === 'seal' || kind === 'moved';
  if (bare !== (payloadBytes === 0))
    throw corrupt(key, `is a ${kind} entry with ${payloadBytes} bytes of payload`);
  return {
    kind,
    number: Number(bytes.readBigUInt64LE(8)),
    epoch: Number(bytes.readBigUInt64LE(16)),
    nonce: bytes.subarray(24, 24 + nonceBytes),
    writer: bytes.toString('utf8', writerAt, writerAt + writerBytes),
    payloadBytes,
  };
}

export function corrupt(key: string, what: string): MillraceError {
  return new MillraceError('corrupt', 'SEQUENCED_LOG_CORRUPT', `sequenced log object ${key} ${what}`);
}

/** Numbers in keys: 20 digits, so that key order is number order. */
export function digits(number: number): string {
  return String(number).padStart(20, '0');
}

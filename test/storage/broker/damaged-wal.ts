/**
 * What tests of damaged write-ahead logs look at: where commits and batches lie in a file, and what a partition gives over
 * the wire when some of its offsets are lost.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { batchBytesOf } from '../../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../../src/protocol/records/batch-reader.ts';
import { descriptorAt } from '../../../src/stream/wal/wal-format.ts';
import {
  commitHeaderBytes,
  descriptorBytes,
  pageBytes,
  ringStartBytes,
} from '../../../src/stream/wal/wal-limits.ts';
import type { ReadRecord } from '../../support/inline-broker.ts';
import type { RawConnection } from '../../support/raw-client.ts';

const corruptMessage = 2;
const codecs = createCodecs();

export interface WrittenBatch {
  readonly partition: number;
  /** Where its records lie in the file, and their number of bytes. */
  readonly recordsAt: number;
  readonly recordBytes: number;
  readonly from: number;
  readonly until: number;
}

export interface WrittenCommit {
  readonly sequence: number;
  /** Position in the file. */
  readonly at: number;
  readonly length: number;
  readonly batches: readonly WrittenBatch[];
}

/** Commits of the first lap, as they lie in the file. */
export function commitsOf(path: string): WrittenCommit[] {
  const bytes = readFileSync(path);
  const commits: WrittenCommit[] = [];
  for (let at = ringStartBytes; at + pageBytes <= bytes.length; at += pageBytes) {
    if (bytes.toString('latin1', at, at + 8) !== 'MRWALCMT') continue;
    const batches: WrittenBatch[] = [];
    for (let i = 0; i < bytes.readUInt32LE(at + 84); i++) {
      const descriptor = at + commitHeaderBytes + i * descriptorBytes;
      const header = descriptor + descriptorAt.header;
      const from = Number(bytes.readBigInt64BE(header));
      batches.push({
        partition: bytes.readInt32LE(descriptor + descriptorAt.partition),
        recordsAt: at + bytes.readUInt32LE(descriptor + descriptorAt.records),
        recordBytes: bytes.readUInt32LE(descriptor + descriptorAt.length) - 61,
        from,
        until: from + bytes.readInt32BE(header + 23) + 1,
      });
    }
    const sequence = Number(bytes.readBigUInt64LE(at + 56));
    commits.push({ sequence, at, length: Number(bytes.readBigUInt64LE(at + 72)), batches });
  }
  return commits;
}

export function change(path: string, what: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path);
  what(bytes);
  writeFileSync(path, bytes);
}

/** What a partition gives from its start to its end: records, and offsets that answered CORRUPT_MESSAGE. */
export async function survey(
  connection: RawConnection,
  topic: string,
  partition: number,
): Promise<{ records: ReadRecord[]; lost: number[]; end: number }> {
  const records: ReadRecord[] = [];
  const lost: number[] = [];
  const cursor = new RecordCursor();
  const end = await connection.listOffset(topic, partition, -1);
  for (let offset = await connection.listOffset(topic, partition, -2); offset < end; ) {
    const { errorCode, records: bytes } = await connection.fetch(topic, partition, offset, {
      maxWaitMs: 5_000,
    });
    if (errorCode === corruptMessage) {
      lost.push(offset++);
      continue;
    }
    assert.equal(errorCode, 0, `fetch at ${offset}`);
    assert.ok(bytes !== null && bytes.byteLength > 0, `nothing at ${offset} of ${end}`);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.byteLength; at += batchBytesOf(view, at)) {
      cursor.open(bytes as Uint8Array, at, batchBytesOf(view, at), codecs, 1 << 24);
      while (cursor.next()) {
        if (cursor.offset < offset) continue;
        assert.equal(cursor.offset, offset, 'no record is passed over');
        records.push({ offset, value: cursor.value()!.toString() });
        offset = cursor.offset + 1;
      }
    }
  }
  return { records, lost, end };
}

export const range = (from: number, end: number): number[] =>
  Array.from({ length: end - from }, (_, i) => from + i);

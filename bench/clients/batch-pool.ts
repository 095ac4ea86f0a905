/**
 * Batches that loads send, made once and kept in a file:
 *
 *   | length, 32 bits | patch, 32 bits | batch | …            numbers in the machine's order
 *
 * A load makes each use of a batch unlike the others by its patch: 1 = eight bytes before the last record's count of
 * headers (uncompressed batches), 2 = base and maximum timestamp (compressed ones, whose records it cannot reach).
 */
import { randomFillSync } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { codecId } from '../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { crc32c } from '../../test/support/load/batches.ts';
import { realRecords } from '../../test/support/real-records.ts';

export interface BatchShape {
  readonly recordsPerBatch: number;
  /** Of each record; a batch has 61 bytes of header and some 7 to 12 a record on top. */
  readonly valueBytes: number;
  readonly codec: keyof typeof codecId;
  /** random = bytes that do not compress; real = rows of public data sets. */
  readonly content: 'random' | 'real';
}

export const patchKinds = { none: 0, counter: 1, timestamps: 2 } as const;

/** Distinct content that a pool has at least, so that no cache of anybody holds all of it. */
const poolBytesMin = 64 * 1024 * 1024;
/** Building compressed batches takes time: fewer of them. */
const compressedBytesMin = 4 * 1024 * 1024;
const batchesMax = 16_384;

/** A shape whose batch has as many bytes as wanted, or a few less. */
export function shapeOf(batchBytes: number, recordsPerBatch: number): BatchShape {
  const overhead = 61 + recordsPerBatch * 12;
  const valueBytes = Math.max(16, Math.floor((batchBytes - overhead) / recordsPerBatch));
  return { recordsPerBatch, valueBytes, codec: 'none', content: 'random' };
}

export interface PoolFacts {
  readonly batches: number;
  /** Of a batch on average, as it is sent. */
  readonly batchBytes: number;
  /** The same uncompressed. */
  readonly plainBytes: number;
}

/** Writes at least `inFlight` + 1 batches. */
export function writePool(path: string, shape: BatchShape, inFlight: number): PoolFacts {
  const codecs = createCodecs();
  const codec = codecId[shape.codec];
  const patch = shape.codec === 'none' ? patchKinds.counter : patchKinds.timestamps;
  const plainBytes = 61 + shape.recordsPerBatch * (shape.valueBytes + 10);
  const contentMin = shape.codec === 'none' ? poolBytesMin : compressedBytesMin;
  const count = Math.max(inFlight + 1, Math.min(batchesMax, Math.ceil(contentMin / plainBytes)));
  const next = shape.content === 'random' ? randomValues(shape.valueBytes) : realValues(shape.valueBytes);
  // Of now, or retention by time would take them away.
  const timestamp = Date.now();
  const file = openSync(path, 'w');
  let bytes = 0;
  try {
    for (let i = 0; i < count; i++) {
      const records = Array.from({ length: shape.recordsPerBatch }, () => ({
        key: null,
        value: next(),
        timestamp,
      }));
      const batch = buildBatch(records, { codec, codecs }, crc32c);
      writeSync(file, Buffer.from(Uint32Array.of(batch.length, patch).buffer));
      writeSync(file, batch);
      bytes += batch.length;
    }
  } finally {
    closeSync(file);
  }
  return { batches: count, batchBytes: bytes / count, plainBytes };
}

function randomValues(bytes: number): () => Buffer {
  return () => randomFillSync(Buffer.allocUnsafe(bytes));
}

/** Rows one after the other, cut to one size, each beginning elsewhere. */
function realValues(bytes: number): () => Buffer {
  const text = Buffer.concat(realRecords('flights').map(({ value }) => value ?? Buffer.alloc(0)));
  let at = 0;
  return () => {
    const value = Buffer.alloc(bytes);
    for (let filled = 0; filled < bytes; ) {
      if (at >= text.length) at = (at % text.length) + 1;
      const copied = text.copy(value, filled, at, Math.min(text.length, at + bytes - filled));
      filled += copied;
      at += copied;
    }
    return value;
  };
}

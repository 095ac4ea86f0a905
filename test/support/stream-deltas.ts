/**
 * Record batches laid into an arena as a shard would leave them, and the StreamDelta that names them. The records are
 * pseudo-random bytes: uploads and reads look at headers only.
 */
import assert from 'node:assert/strict';
import { crcStart, currentMagic, headerField, writeInt64 } from '../../src/protocol/records/batch-header.ts';
import { portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import { markLost } from '../../src/protocol/records/lost-batch.ts';
import type { AbortedTxn, ProducerEntry, StreamDelta } from '../../src/stream/objects/objects.ts';
import type { HeapArena } from './heap-arena.ts';
import type { SeededRandom } from './seeded-random.ts';

export const { crc32c } = portableCrc32c();

/** 22 characters for a small number; ascending numbers are ascending ids. */
export function topicIdOf(number: number): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(number, 0);
  bytes.writeUInt32LE(0x9e3779b9, 12);
  return bytes.toString('base64url');
}

export interface BatchShape {
  /** Whole batch, 61 and more. */
  readonly bytes: number;
  readonly records?: number;
  readonly leaderEpoch?: number;
  readonly maxTimestamp?: number;
  /** A header that stands for lost records: 61 bytes. */
  readonly lost?: boolean;
  /** Free bytes left in front of the batch in the arena. */
  readonly gap?: number;
}

/** Fills one run of arena segments from its start. */
export class DeltaWriter {
  readonly arena: HeapArena;
  readonly #random: SeededRandom;
  #at: number;
  readonly #end: number;

  constructor(arena: HeapArena, random: SeededRandom, segments = arena.segmentCount) {
    const first = arena.acquireRun(segments);
    assert.notEqual(first, -1, 'no room in the arena');
    this.arena = arena;
    this.#random = random;
    this.#at = first * arena.segmentBytes;
    this.#end = this.#at + segments * arena.segmentBytes;
  }

  delta(
    topicId: string,
    partition: number,
    baseOffset: number,
    shapes: readonly BatchShape[],
    extra: {
      readonly producers?: readonly ProducerEntry[];
      readonly aborted?: readonly AbortedTxn[];
      /** Default: no transaction is open at the end. */
      readonly lastStableOffset?: number;
    } = {},
  ): StreamDelta {
    const positions = new Float64Array(shapes.length);
    const lengths = new Uint32Array(shapes.length);
    let offset = baseOffset;
    for (const [i, shape] of shapes.entries()) {
      this.#at += shape.gap ?? 0;
      positions[i] = this.#at;
      lengths[i] = shape.bytes;
      offset = this.#batch(offset, shape);
    }
    const { producers = [], aborted = [], lastStableOffset = offset } = extra;
    const sections = { producers, aborted, lastStableOffset };
    return { topicId, partition, baseOffset, endOffset: offset, positions, lengths, ...sections };
  }

  #batch(offset: number, shape: BatchShape): number {
    const at = this.#at;
    const { buffer, view } = this.arena;
    assert(at + shape.bytes <= this.#end, 'the run of segments is full');
    const records = shape.records ?? 1;
    this.#random.bytes(buffer.subarray(at + 61, at + shape.bytes));
    writeInt64(view, at, offset);
    view.setInt32(at + headerField.batchLength, shape.bytes - 12);
    view.setInt32(at + headerField.partitionLeaderEpoch, shape.leaderEpoch ?? 0);
    view.setInt8(at + headerField.magic, currentMagic);
    view.setInt16(at + headerField.attributes, 0);
    view.setInt32(at + headerField.lastOffsetDelta, records - 1);
    writeInt64(view, at + headerField.baseTimestamp, shape.maxTimestamp ?? offset * 10);
    writeInt64(view, at + headerField.maxTimestamp, shape.maxTimestamp ?? offset * 10);
    writeInt64(view, at + headerField.producerId, -1);
    view.setInt16(at + headerField.producerEpoch, -1);
    view.setInt32(at + headerField.baseSequence, -1);
    view.setInt32(at + headerField.recordCount, records);
    view.setUint32(at + headerField.crc, crc32c(buffer, at + crcStart, shape.bytes - crcStart));
    if (shape.lost === true) markLost(buffer, view, at, true, crc32c);
    this.#at += shape.bytes;
    return offset + records;
  }
}

/** The bytes that a delta names, one behind the other. */
export function deltaContent(arena: HeapArena, delta: StreamDelta): Buffer {
  const pieces: Buffer[] = [];
  for (const [i, at] of delta.positions.entries())
    pieces.push(arena.buffer.subarray(at, at + delta.lengths[i]!));
  return Buffer.concat(pieces);
}

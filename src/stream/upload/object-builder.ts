/**
 * Second pass of an upload: hands out the object's bytes front to back, part after part, as lists of views. Batches are
 * sent from the arena as they lie, neighbours as one piece; blocks of small scattered batches are copied together first
 * (scatterBytesMin). Block CRCs are computed on the way, so the index is encoded only when the last block is out.
 * Any thread, one upload per builder. Views of a part are valid until its staging chunks go back to their pool.
 */
import type { Arena } from '../../ports/arena.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import {
  encodeFooter,
  encodeHead,
  footerBytes,
  headBytes,
  objectVersion,
  requirePlan,
  type SectionName,
  type SectionPlace,
  sectionBytesMax,
  sectionNames,
} from '../objects/object-format.ts';
import { encodeIndex, indexSectionBytes } from '../objects/object-index.ts';
import {
  encodeAborted,
  encodeDescriptor,
  encodeProducers,
  encodeStates,
} from '../objects/object-sections.ts';
import type { UploadPlan, UploadResult } from '../objects/objects.ts';
import { layOut, type ObjectLayout } from './object-layout.ts';
import { type StagingPool, stagingChunkBytes } from './staging-pool.ts';

export interface ObjectPart {
  readonly body: Uint8Array[];
  readonly bytes: number;
  /** Staging chunks in use by the body. */
  readonly taken: Buffer[];
}

/** One part while it is filled. */
class PartSink implements ObjectPart {
  readonly body: Uint8Array[] = [];
  readonly taken: Buffer[] = [];
  bytes = 0;
  #chunkUsed = stagingChunkBytes;
  #spanStart = 0;

  add(piece: Uint8Array): void {
    this.endSpan();
    this.body.push(piece);
    this.bytes += piece.length;
  }

  /** Copies a stretch of the arena behind what was copied before; chains the CRC over the copy, which is in cache. */
  copy(
    arena: Arena,
    position: number,
    length: number,
    staging: StagingPool,
    crc32c: Crc32c,
    seed: number,
  ): number {
    let crc = seed;
    let done = 0;
    while (done < length) {
      if (this.#chunkUsed === stagingChunkBytes) {
        this.endSpan();
        this.taken.push(staging.take());
        this.#chunkUsed = 0;
        this.#spanStart = 0;
      }
      const chunk = this.taken[this.taken.length - 1]!;
      const take = Math.min(length - done, stagingChunkBytes - this.#chunkUsed);
      arena.buffer.copy(chunk, this.#chunkUsed, position + done, position + done + take);
      crc = crc32c(chunk, this.#chunkUsed, take, crc);
      this.#chunkUsed += take;
      done += take;
    }
    this.bytes += length;
    return crc;
  }

  /** Makes one view of what was copied since the last one. */
  endSpan(): void {
    const chunk = this.taken[this.taken.length - 1];
    if (chunk === undefined || this.#chunkUsed === this.#spanStart) return;
    this.body.push(chunk.subarray(this.#spanStart, this.#chunkUsed));
    this.#spanStart = this.#chunkUsed;
  }
}

export class ObjectBuilder {
  readonly objectBytes: number;
  readonly stagedBytes: number;
  readonly #plan: UploadPlan;
  readonly #arena: Arena;
  readonly #crc32c: Crc32c;
  readonly #layout: ObjectLayout;
  readonly #sections: Map<SectionName, Buffer>;
  readonly #head: Buffer;
  #headDone = false;
  /** Cursor: stream, block, batch within the stream's delta, byte within the batch. */
  #stream = 0;
  #block = 0;
  #batch = 0;
  #byte = 0;
  #crc = 0;
  #tail: Buffer | null = null;
  #tailDone = 0;

  constructor(plan: UploadPlan, arena: Arena, crc32c: Crc32c) {
    this.#plan = plan;
    this.#arena = arena;
    this.#crc32c = crc32c;
    this.#layout = layOut(plan, arena);
    this.#head = encodeHead(plan.objectId, plan.brokerEpoch, crc32c);
    this.#sections = encodeSections(plan, this.#layout);
    const indexBytes = indexSectionBytes(this.#layout.streams, this.#layout.blocks.count);
    let size = headBytes + this.#layout.dataBytes + indexBytes + footerBytes;
    for (const [name, bytes] of this.#sections) {
      requirePlan(bytes.length <= sectionBytesMax, `a section ${name} of ${bytes.length} bytes`);
      size += bytes.length;
    }
    requirePlan(indexBytes <= sectionBytesMax, `an index of ${indexBytes} bytes`);
    this.objectBytes = size;
    this.stagedBytes = this.#layout.stagedBytes;
    this.#startBlock();
  }

  get ranges(): UploadResult['ranges'] {
    const ranges = [];
    for (const stream of this.#layout.streams) {
      if (stream.delta === null) continue;
      const { topicId, partition, baseOffset, endOffset, maxTimestamp, bytes } = stream;
      ranges.push({ topicId, partition, baseOffset, endOffset, maxTimestamp, bytes });
    }
    return ranges;
  }

  /** The next at most `limit` bytes, or null behind the end. The caller has reserved staging chunks for them. */
  nextPart(limit: number, staging: StagingPool): ObjectPart | null {
    const part = new PartSink();
    if (!this.#headDone) {
      part.add(this.#head);
      this.#headDone = true;
    }
    while (part.bytes < limit && this.#block < this.#layout.blocks.count)
      this.#emitRun(part, limit - part.bytes, staging);
    part.endSpan();
    if (part.bytes < limit && this.#block === this.#layout.blocks.count) {
      this.#tail ??= this.#encodeTail();
      const take = Math.min(limit - part.bytes, this.#tail.length - this.#tailDone);
      if (take > 0) part.add(this.#tail.subarray(this.#tailDone, this.#tailDone + take));
      this.#tailDone += take;
    }
    return part.bytes === 0 ? null : part;
  }

  /** Emits neighbouring batches of the current block, at most `room` bytes, and moves the cursor behind them. */
  #emitRun(part: PartSink, room: number, staging: StagingPool): void {
    const { blocks } = this.#layout;
    const delta = this.#layout.streams[this.#stream]!.delta!;
    const { positions, lengths } = delta;
    const end = blocks.firstBatch[this.#block]! + blocks.batchCount[this.#block]!;
    const start = positions[this.#batch]! + this.#byte;
    let stop = start;
    do {
      const batchEnd = positions[this.#batch]! + lengths[this.#batch]!;
      if (batchEnd - start > room) {
        this.#byte += start + room - stop;
        stop = start + room;
        break;
      }
      stop = batchEnd;
      this.#byte = 0;
      this.#batch++;
    } while (this.#batch < end && positions[this.#batch] === stop);

    if (blocks.staged(this.#block)) {
      this.#crc = part.copy(this.#arena, start, stop - start, staging, this.#crc32c, this.#crc);
    } else {
      this.#crc = this.#crc32c(this.#arena.buffer, start, stop - start, this.#crc);
      part.add(this.#arena.buffer.subarray(start, stop));
    }
    if (this.#batch === end) {
      blocks.crc[this.#block] = this.#crc;
      this.#block++;
      this.#startBlock();
    }
  }

  #startBlock(): void {
    const { streams, blocks } = this.#layout;
    this.#crc = 0;
    if (this.#block === blocks.count) return;
    for (;;) {
      const stream = streams[this.#stream]!;
      if (this.#block < stream.firstBlock + stream.entryCount) break;
      this.#stream++;
    }
    this.#batch = blocks.firstBatch[this.#block]!;
    this.#byte = 0;
  }

  #encodeTail(): Buffer {
    const { streams, blocks, dataBytes } = this.#layout;
    this.#sections.set('index', encodeIndex(streams, blocks, headBytes));
    const dataEnd = headBytes + dataBytes;
    const places = {} as Record<SectionName, SectionPlace>;
    const pieces: Buffer[] = [];
    let position = dataEnd;
    for (const name of sectionNames) {
      const bytes = this.#sections.get(name)!;
      places[name] = { position, length: bytes.length, crc: this.#crc32c(bytes, 0, bytes.length) };
      position += bytes.length;
      pieces.push(bytes);
    }
    const footer = {
      version: objectVersion,
      objectId: this.#plan.objectId,
      objectBytes: position + footerBytes,
      dataEnd,
      streamCount: streams.length,
      entryCount: blocks.count,
      sections: places,
    };
    requirePlan(footer.objectBytes === this.objectBytes, 'the object is not as long as computed');
    pieces.push(encodeFooter(footer, this.#crc32c));
    return Buffer.concat(pieces);
  }
}

/** All sections but the index, which needs the block CRCs. */
function encodeSections(plan: UploadPlan, layout: ObjectLayout): Map<SectionName, Buffer> {
  const producers = [];
  const aborted = [];
  const states = [];
  for (let number = 0; number < layout.streams.length; number++) {
    const { delta, state } = layout.streams[number]!;
    if (delta !== null && delta.producers.length > 0)
      producers.push({ stream: number, producers: delta.producers });
    if (delta !== null && (delta.aborted.length > 0 || delta.lastStableOffset < delta.endOffset))
      aborted.push({
        stream: number,
        lastStableOffset: delta.lastStableOffset,
        aborted: delta.aborted,
      });
    if (state !== null) {
      const { endOffset, lastStableOffset } = state;
      states.push({ stream: number, endOffset, lastStableOffset, producers: state.producers });
    }
  }
  return new Map<SectionName, Buffer>([
    ['states', encodeStates(states)],
    ['aborted', encodeAborted(aborted)],
    ['producers', encodeProducers(producers)],
    ['descriptor', encodeDescriptor(plan)],
  ]);
}

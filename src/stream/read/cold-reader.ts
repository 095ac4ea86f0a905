/**
 * Reads a stream's uploaded data: from the list of its objects to arena ranges of whole batches. One thread (a shard);
 * memory and waiting are the block cache's, which all readers of the thread share.
 *
 * Read-ahead: a read that begins where an earlier one ended doubles the window (1 MiB to readAheadBytesMax); one that
 * finds its block evicted although it was loaded ahead halves it. Bound: at most `positionsMax` remembered ends, the
 * least recently used is forgotten; the cache bounds the bytes.
 *
 * Offsets are contiguous in uploaded data: a hole is loss, and reading it fails (OFFSETS_MISSING), it is never skipped.
 */
import type { Arena } from '../../ports/arena.ts';
import { MillraceError } from '../../ports/errors.ts';
import { streamKey } from '../../ports/stream-id.ts';
import {
  baseOffsetOf,
  batchBytesOf,
  batchHeaderBytes,
  lastOffsetOf,
  maxTimestampOf,
} from '../../protocol/records/batch-header.ts';
import type { BlockCache, BlockHandle, BlockLoader } from '../cache/block-cache.ts';
import { objectCorrupt } from '../objects/object-format.ts';
import type { IndexEntry } from '../objects/objects.ts';
import type { ObjectReader } from './object-reader.ts';

/** A stream's objects, ascending and contiguous; offsets are [base, end). */
export type ObjectList = readonly {
  readonly objectId: string;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestamp: number;
}[];

export interface ColdRequest {
  readonly topicId: string;
  readonly partition: number;
  readonly objects: ObjectList;
  readonly offset: number;
  /** The first batch comes even if it is larger. */
  readonly maxBytes: number;
  /** Monotonic ms. */
  readonly deadline: number;
  /** Batches that reach this offset stay out (high watermark, last stable offset). */
  readonly limitOffset?: number;
}

export interface ArenaRange {
  readonly position: number;
  readonly length: number;
}

export interface ColdRead {
  /** Whole batches in offset order; the first holds the offset asked for. Empty when the limit or the end of the objects lies before it. */
  readonly ranges: readonly ArenaRange[];
  readonly bytes: number;
  /** Offset behind the last batch; the offset asked for when there is none. */
  readonly nextOffset: number;
  /** Ends the use of the bytes. Exactly once. */
  release(): void;
}

export interface ColdReaderOptions {
  readonly arena: Arena;
  readonly reader: ObjectReader;
  readonly cache: BlockCache;
  readonly readAheadBytesMax?: number;
  readonly positionsMax?: number;
}

const readAheadBytesMin = 1 << 20;

/** Loads blocks in this thread. */
export class DirectBlockLoader implements BlockLoader {
  readonly #reader: ObjectReader;
  readonly #arena: Arena;

  constructor(reader: ObjectReader, arena: Arena) {
    this.#reader = reader;
    this.#arena = arena;
  }

  loadBlocks(objectId: string, entries: readonly IndexEntry[], position: number): Promise<void> {
    return this.#reader.readBlocks(objectId, entries, this.#arena.buffer, position);
  }
}

interface HeldBlock {
  readonly entry: IndexEntry;
  readonly handle: BlockHandle;
  readonly objectId: string;
}

export class ColdReader {
  readonly #view: DataView;
  readonly #reader: ObjectReader;
  readonly #cache: BlockCache;
  readonly #readAheadBytesMax: number;
  readonly #positionsMax: number;
  /** Window in bytes of the reader expected at a stream's offset. Insertion order = order of last use. */
  readonly #expected = new Map<string, number>();

  constructor(options: ColdReaderOptions) {
    this.#view = options.arena.view;
    this.#reader = options.reader;
    this.#cache = options.cache;
    this.#readAheadBytesMax = options.readAheadBytesMax ?? 16 << 20;
    this.#positionsMax = options.positionsMax ?? 1024;
  }

  /**
   * @throws OFFSETS_MISSING, OBJECT_GONE (reload the object list once), OBJECT_CORRUPT, BLOCK_CACHE_FULL,
   * BLOCK_READ_SLOW, and the store's errors.
   */
  async readCold(request: ColdRequest): Promise<ColdRead> {
    const { objects, offset } = request;
    const maxBytes = Math.max(1, request.maxBytes);
    const limit = request.limitOffset ?? Number.POSITIVE_INFINITY;
    if (offset >= limit) return emptyRead(offset);
    const held: HeldBlock[] = [];
    let known = false;
    try {
      let expected = offset;
      let bytes = 0;
      for (
        let o = objectAt(objects, offset);
        o < objects.length && bytes < maxBytes && expected < limit;
        o++
      ) {
        const { objectId, endOffset } = objects[o]!;
        const found = await this.#entries(request, o, expected, maxBytes - bytes, limit, held.length > 0);
        if (found.length === 0) break;
        if (held.length === 0) known = this.#cache.has(objectId, found[0]!);
        const handles = await this.#cache.readAll(objectId, found, request.deadline, held.length > 0);
        for (let i = 0; i < handles.length; i++) {
          held.push({ entry: found[i]!, handle: handles[i]!, objectId });
          bytes += found[i]!.size;
          expected = found[i]!.lastOffset + 1;
        }
        if (handles.length < found.length || expected < endOffset) break;
      }
      const read = this.#cut(held, offset, maxBytes, limit);
      this.#advance(request, read, known);
      return read;
    } catch (error) {
      for (const block of held) block.handle.release();
      throw error;
    }
  }

  /**
   * The first batch at or behind request.offset that has a record not older than `timestamp` (ms), or null. The record
   * itself is for the caller to find in it. maxBytes is not looked at.
   */
  async findSince(request: ColdRequest, timestamp: number): Promise<ColdRead | null> {
    const { objects, topicId, partition, deadline } = request;
    const limit = request.limitOffset ?? Number.POSITIVE_INFINITY;
    let offset = request.offset;
    for (const object of objects) {
      if (object.endOffset <= offset || object.maxTimestamp < timestamp) continue;
      const opened = await this.#reader.open(object.objectId);
      for (;;) {
        const entry = this.#reader.findBlockSince(opened, topicId, partition, offset, timestamp);
        if (entry === null) break;
        if (entry.baseOffset >= limit) return null;
        const handle = await this.#cache.read(object.objectId, entry, deadline);
        const found = this.#batchSince(
          { entry, handle, objectId: object.objectId },
          request.offset,
          timestamp,
        );
        if (found !== null && found.nextOffset <= limit) return found;
        handle.release();
        if (found !== null) return null;
        offset = entry.lastOffset + 1;
      }
    }
    return null;
  }

  async #entries(
    request: ColdRequest,
    object: number,
    offset: number,
    maxBytes: number,
    limit: number,
    more: boolean,
  ): Promise<IndexEntry[]> {
    const { topicId, partition, objects } = request;
    const { objectId, baseOffset, endOffset } = objects[object]!;
    let entries: IndexEntry[] = [];
    if (baseOffset <= offset) {
      const opened = await this.#reader.open(objectId);
      entries = this.#reader.findBlocks(opened, topicId, partition, offset, maxBytes);
    }
    if (entries.length === 0 || entries[0]!.baseOffset > offset) {
      // A later read begins here and says so.
      if (more) return [];
      const message = `offset ${offset} of ${streamKey(topicId, partition)} is in no object (next: ${objectId}, ${baseOffset}–${endOffset})`;
      throw new MillraceError('corrupt', 'OFFSETS_MISSING', message);
    }
    let count = 1;
    while (count < entries.length && entries[count]!.baseOffset === entries[count - 1]!.lastOffset + 1)
      count++;
    while (count > 0 && entries[count - 1]!.baseOffset >= limit) count--;
    return entries.slice(0, count);
  }

  /** Cuts the held blocks down to whole batches from `offset` to the limits and gives back those not needed. */
  #cut(held: HeldBlock[], offset: number, maxBytes: number, limit: number): ColdRead {
    const ranges: { position: number; length: number }[] = [];
    let bytes = 0;
    let nextOffset = offset;
    let used = 0;
    for (const block of held) {
      const { position, length } = block.handle;
      let from = position;
      if (used === 0) from = this.#batchHolding(block, offset);
      let to = from;
      if (used > 0 && bytes + length <= maxBytes && block.entry.lastOffset < limit) {
        to = position + length;
        nextOffset = block.entry.lastOffset + 1;
      } else {
        while (to < position + length) {
          const size = this.#batchAt(block, to);
          const last = lastOffsetOf(this.#view, to);
          const first = bytes === 0 && to === from;
          if (last >= limit || (!first && bytes + (to - from) + size > maxBytes)) break;
          to += size;
          nextOffset = last + 1;
        }
      }
      if (to === from) break;
      const before = ranges[ranges.length - 1];
      if (before !== undefined && before.position + before.length === from) before.length += to - from;
      else ranges.push({ position: from, length: to - from });
      bytes += to - from;
      used++;
      if (to < position + length) break;
    }
    for (const block of held.splice(used)) block.handle.release();
    return makeRead(ranges, bytes, nextOffset, held);
  }

  #batchHolding(block: HeldBlock, offset: number): number {
    let at = block.handle.position;
    for (;;) {
      const size = this.#batchAt(block, at);
      if (lastOffsetOf(this.#view, at) >= offset) return at;
      at += size;
    }
  }

  #batchSince(block: HeldBlock, offset: number, timestamp: number): ColdRead | null {
    const { position, length } = block.handle;
    for (let at = position; at < position + length; ) {
      const size = this.#batchAt(block, at);
      const last = lastOffsetOf(this.#view, at);
      if (last >= offset && maxTimestampOf(this.#view, at) >= timestamp) {
        return makeRead([{ position: at, length: size }], size, last + 1, [block]);
      }
      at += size;
    }
    return null;
  }

  /** Size of the batch at `at`, checked against its block: a block whose CRC is right may still have been built wrong. */
  #batchAt(block: HeldBlock, at: number): number {
    const left = block.handle.position + block.handle.length - at;
    const size = left >= batchHeaderBytes ? batchBytesOf(this.#view, at) : 0;
    const base = size === 0 ? -1 : baseOffsetOf(this.#view, at);
    if (
      size < batchHeaderBytes ||
      size > left ||
      base < block.entry.baseOffset ||
      base > block.entry.lastOffset
    ) {
      const place = block.entry.position + at - block.handle.position;
      throw objectCorrupt(block.objectId, `no batch at ${place} of the block at ${block.entry.position}`);
    }
    return size;
  }

  /** Notes where the reader will be next, and loads ahead of it. */
  #advance(request: ColdRequest, read: ColdRead, known: boolean): void {
    const stream = streamKey(request.topicId, request.partition);
    const here = `${stream}@${request.offset}`;
    const before = this.#expected.get(here);
    let window = 0;
    if (before !== undefined) {
      this.#expected.delete(here);
      this.#expected.set(here, before);
      if (before === 0) window = readAheadBytesMin;
      else
        window = known
          ? Math.min(before * 2, this.#readAheadBytesMax)
          : Math.max(before / 2, readAheadBytesMin);
    }
    if (read.bytes === 0) return;
    const next = `${stream}@${read.nextOffset}`;
    this.#expected.delete(next);
    this.#expected.set(next, window);
    if (this.#expected.size > this.#positionsMax) {
      const [oldest] = this.#expected.keys();
      this.#expected.delete(oldest!);
    }
    if (window > 0) {
      this.#loadAhead(request, read.nextOffset, window).catch(() => {
        // The read that needs these bytes meets the same error and reports it.
      });
    }
  }

  async #loadAhead(request: ColdRequest, from: number, window: number): Promise<void> {
    const { topicId, partition, objects } = request;
    let offset = from;
    let left = window;
    for (let o = objectAt(objects, offset); o < objects.length && left > 0; o++) {
      const { objectId, endOffset } = objects[o]!;
      const opened = await this.#reader.open(objectId);
      const entries = this.#reader.findBlocks(opened, topicId, partition, offset, left);
      if (this.#cache.prefetch(objectId, entries) < entries.length) return;
      for (const entry of entries) left -= entry.size;
      offset = endOffset;
    }
  }
}

/** Index of the first object that ends behind the offset. */
function objectAt(objects: ObjectList, offset: number): number {
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (objects[middle]!.endOffset <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function makeRead(
  ranges: ArenaRange[],
  bytes: number,
  nextOffset: number,
  held: readonly HeldBlock[],
): ColdRead {
  return {
    ranges,
    bytes,
    nextOffset,
    release: () => {
      for (const block of held) block.handle.release();
    },
  };
}

function emptyRead(offset: number): ColdRead {
  return { ranges: [], bytes: 0, nextOffset: offset, release: () => {} };
}

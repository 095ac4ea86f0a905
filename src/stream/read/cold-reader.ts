/**
 * Reads a stream's uploaded data: from the list of its objects to arena ranges of whole batches. One thread (a shard);
 * memory and waiting are the block cache's, which all readers of the thread share.
 *
 * Read-ahead is per reader and stream (read-ahead.ts); who misses a block gets those behind it with the same request.
 * Bounds: one read brings at most `readBytesMax`, or its first batch; the cache bounds memory and waiting; answers leave
 * in portions per turn of the loop (turn-lane.ts).
 *
 * Blocks of a stream are contiguous: an index entry states [base, last] and its batches may leave gaps inside, also at its
 * end, where compaction took records; a read passes over those. A hole between entries is loss, and reading it fails
 * (OFFSETS_MISSING), it is never skipped. So does reading offsets of which a salvage recorded that they are lost (OFFSETS_LOST).
 */
import type { Arena } from '../../ports/arena.ts';
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import { streamKey } from '../../ports/stream-id.ts';
import {
  baseOffsetOf,
  batchBytesOf,
  batchHeaderBytes,
  lastOffsetOf,
  maxTimestampOf,
} from '../../protocol/records/batch-header.ts';
import { isLost, lostBatchBytes } from '../../protocol/records/lost-batch.ts';
import type { BlockCache, BlockHandle, BlockLoader } from '../cache/block-cache.ts';
import type { BlockWait } from '../cache/cached-block.ts';
import type { Reader } from '../cache/fair-queue.ts';
import { objectCorrupt } from '../objects/object-format.ts';
import type { AbortedTxn, IndexEntry } from '../objects/objects.ts';
import { AbortedIndex, type AbortedRange } from './aborted-index.ts';
import type { ObjectReader, OpenObject } from './object-reader.ts';
import { type Cursor, ReadAhead } from './read-ahead.ts';
import { TurnLane } from './turn-lane.ts';

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
  /** Readers are served by turns, each with a read-ahead of its own. Default: the stream. */
  readonly reader?: Reader;
  /** Nobody wants the answer any more: what has not begun is left. */
  readonly gone?: () => boolean;
}

export interface ArenaRange {
  readonly position: number;
  readonly length: number;
}

export interface ColdRead {
  /**
   * Whole batches in offset order; the first holds the offset asked for, or is the next one behind a gap. Empty when the limit or
   * the end of the objects lies before it.
   */
  readonly ranges: readonly ArenaRange[];
  readonly bytes: number;
  /** Offset to go on from: behind the last batch and the gap after it, if its block ends there. */
  readonly nextOffset: number;
  /** Ends the use of the bytes. Exactly once. */
  release(): void;
}

export interface ColdReaderOptions {
  readonly arena: Arena;
  readonly reader: ObjectReader;
  readonly cache: BlockCache;
  readonly readAheadBytesMax?: number;
  readonly cursorsMax?: number;
  /** Bytes of one read at most, unless its first batch is larger. */
  readonly readBytesMax?: number;
  /** Without it answers leave as soon as they are there. */
  readonly clock?: Clock;
}

/** About 0.3 ms of copying into sockets. */
const bytesPerTurn = 1 << 20;

/** Loads blocks in this thread. */
export class DirectBlockLoader implements BlockLoader {
  readonly #reader: ObjectReader;
  readonly #arena: Arena;

  constructor(reader: ObjectReader, arena: Arena) {
    this.#reader = reader;
    this.#arena = arena;
  }

  async loadBlocks(objectId: string, entries: readonly IndexEntry[], position: number): Promise<void> {
    await this.#reader.readBlocks(objectId, entries, this.#arena.buffer, position);
  }
}

interface HeldBlock {
  readonly entry: IndexEntry;
  readonly handle: BlockHandle;
  readonly objectId: string;
  /** The read goes to the end of the block. */
  finished: boolean;
}

export class ColdReader {
  readonly #view: DataView;
  readonly #reader: ObjectReader;
  readonly #cache: BlockCache;
  readonly #readBytesMax: number;
  readonly #readAhead: ReadAhead;
  readonly #lane: TurnLane | null;
  readonly #aborted: AbortedIndex;
  /** Reads answered, their bytes, and reads that wait. */
  readonly counters = { reads: 0, servedBytes: 0, waiting: 0 };

  constructor(options: ColdReaderOptions) {
    this.#view = options.arena.view;
    this.#reader = options.reader;
    this.#cache = options.cache;
    this.#aborted = new AbortedIndex(options.reader);
    this.#readBytesMax = options.readBytesMax ?? 8 << 20;
    this.#readAhead = new ReadAhead(options.readAheadBytesMax ?? 16 << 20, options.cursorsMax ?? 1024);
    this.#lane = options.clock === undefined ? null : new TurnLane(options.clock, bytesPerTurn);
  }

  /**
   * @throws OFFSETS_MISSING, OFFSETS_LOST, OBJECT_GONE (reload the object list once), OBJECT_CORRUPT, BLOCK_CACHE_FULL,
   * BLOCK_READ_SLOW, BLOCK_TOO_LARGE, and the store's errors.
   */
  async readCold(request: ColdRequest): Promise<ColdRead> {
    this.counters.waiting++;
    try {
      const reader = request.reader ?? streamKey(request.topicId, request.partition);
      const read = await this.#read(request, reader);
      if (this.#lane !== null && read.bytes > 0) await this.#lane.enter(reader, read.bytes);
      this.counters.reads++;
      this.counters.servedBytes += read.bytes;
      return read;
    } finally {
      this.counters.waiting--;
    }
  }

  async #read(request: ColdRequest, reader: Reader): Promise<ColdRead> {
    const { objects, offset, topicId, partition } = request;
    const maxBytes = Math.max(1, Math.min(request.maxBytes, this.#readBytesMax));
    const limit = request.limitOffset ?? Number.POSITIVE_INFINITY;
    if (offset >= limit) return emptyRead(offset);
    const held: HeldBlock[] = [];
    let cursor: Cursor | null = null;
    try {
      let expected = offset;
      let bytes = 0;
      for (
        let o = objectAt(objects, offset);
        o < objects.length && bytes < maxBytes && expected < limit;
        o++
      ) {
        const { objectId, baseOffset, endOffset } = objects[o]!;
        const opened = baseOffset > expected ? null : await this.#reader.open(objectId);
        const found = this.#entries(request, o, opened, expected, maxBytes - bytes, limit, held.length > 0);
        if (found.length === 0) break;
        const last = found[found.length - 1]!;
        const missing = !this.#cache.has(objectId, found[0]!);
        cursor ??= this.#readAhead.begin(reader, streamKey(topicId, partition), offset, missing);
        // What has to be fetched anyway brings some of the window with it.
        const ahead =
          missing && cursor.windowBytes > 0
            ? this.#reader.findBlocks(opened!, topicId, partition, last.lastOffset + 1, cursor.windowBytes)
            : [];
        const wait = this.#waitOf(request, reader, held.length > 0);
        const handles = await this.#cache.readAll(objectId, found, { ...wait, ahead });
        for (let i = 0; i < handles.length; i++) {
          held.push({ entry: found[i]!, handle: handles[i]!, objectId, finished: false });
          bytes += found[i]!.size;
          expected = found[i]!.lastOffset + 1;
        }
        if (handles.length < found.length || expected < endOffset) break;
      }
      const read = this.#cut(held, offset, maxBytes, limit);
      if (cursor !== null) this.#advance(request, reader, cursor, read);
      return read;
    } catch (error) {
      for (const block of held) block.handle.release(false);
      throw error;
    }
  }

  #waitOf(request: ColdRequest, reader: Reader, holding: boolean): BlockWait {
    const { deadline, gone } = request;
    return gone === undefined ? { deadline, reader, holding } : { deadline, reader, holding, gone };
  }

  /** See AbortedIndex.search. */
  abortedIn(
    topicId: string,
    partition: number,
    range: AbortedRange,
    from: number,
    end: number,
    found: AbortedTxn[],
  ): Promise<boolean> {
    return this.#aborted.search(topicId, partition, range, from, end, found);
  }

  /** See AbortedIndex.stableEnd. */
  stableEnd(topicId: string, partition: number, range: AbortedRange): Promise<number> {
    return this.#aborted.stableEnd(topicId, partition, range);
  }

  /**
   * The first batch at or behind request.offset that has a record not older than `timestamp` (ms), or null. The record
   * itself is for the caller to find in it. maxBytes is not looked at.
   */
  async findSince(request: ColdRequest, timestamp: number): Promise<ColdRead | null> {
    const { objects, topicId, partition } = request;
    const wait = this.#waitOf(request, request.reader ?? streamKey(topicId, partition), false);
    const limit = request.limitOffset ?? Number.POSITIVE_INFINITY;
    let offset = request.offset;
    for (const object of objects) {
      if (object.endOffset <= offset || object.maxTimestamp < timestamp) continue;
      const opened = await this.#reader.open(object.objectId);
      for (;;) {
        const entry = this.#reader.findBlockSince(opened, topicId, partition, offset, timestamp);
        // A merged object may hold later ranges of the stream too, with another object's between them.
        if (entry === null || entry.baseOffset >= object.endOffset) break;
        if (entry.baseOffset >= limit) return null;
        const handle = await this.#cache.read(object.objectId, entry, wait);
        let found: ColdRead | null;
        try {
          const block = { entry, handle, objectId: object.objectId, finished: true };
          found = this.#batchSince(block, request.offset, timestamp);
        } catch (error) {
          handle.release();
          throw error;
        }
        if (found !== null && found.nextOffset <= limit) return found;
        handle.release();
        if (found !== null) return null;
        offset = entry.lastOffset + 1;
      }
    }
    return null;
  }

  #entries(
    request: ColdRequest,
    object: number,
    opened: OpenObject | null,
    offset: number,
    maxBytes: number,
    limit: number,
    more: boolean,
  ): IndexEntry[] {
    const { topicId, partition, objects } = request;
    const { objectId, baseOffset, endOffset } = objects[object]!;
    const entries =
      opened === null ? [] : this.#reader.findBlocks(opened, topicId, partition, offset, maxBytes);
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
    // A last block of which little would fit is for the next read: its first batch may be too large for what is left.
    let left = maxBytes;
    for (let e = 0; e < count - 1; e++) left -= entries[e]!.size;
    if (count > 1 && left < entries[count - 1]!.size / 2) count--;
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
      if (length === lostBatchBytes && isLost(this.#view, position)) {
        // A later read begins here and says so.
        if (used > 0) break;
        throw offsetsLost(block);
      }
      let from = position;
      if (bytes === 0) from = this.#batchHolding(block, offset);
      let to = from;
      if (bytes > 0 && bytes + length <= maxBytes && block.entry.lastOffset < limit) {
        to = position + length;
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
      // Behind the block's last batch may be a gap; all of it may be one.
      if (to === position + length) nextOffset = Math.min(block.entry.lastOffset + 1, limit);
      else if (to === from) break;
      const before = ranges[ranges.length - 1];
      if (before !== undefined && before.position + before.length === from) before.length += to - from;
      else if (to > from) ranges.push({ position: from, length: to - from });
      bytes += to - from;
      used++;
      if (to < position + length) break;
      block.finished = true;
    }
    for (const block of held.splice(used)) block.handle.release(false);
    return makeRead(ranges, bytes, nextOffset, held);
  }

  /** Place of the first batch that does not end before `offset`; the end of the block when all do. */
  #batchHolding(block: HeldBlock, offset: number): number {
    let at = block.handle.position;
    const end = at + block.handle.length;
    while (at < end) {
      const size = this.#batchAt(block, at);
      if (lastOffsetOf(this.#view, at) >= offset) return at;
      at += size;
    }
    return at;
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
  #advance(request: ColdRequest, reader: Reader, cursor: Cursor, read: ColdRead): void {
    this.#readAhead.end(cursor, read.bytes, read.nextOffset);
    const bytes = cursor.missing;
    if (bytes === 0 || read.bytes === 0) return;
    cursor.filling = true;
    this.#loadAhead(request, reader, cursor, bytes).catch(() => {
      // The read that needs these bytes meets the same error and reports it.
      cursor.filling = false;
    });
  }

  async #loadAhead(request: ColdRequest, reader: Reader, cursor: Cursor, bytes: number): Promise<void> {
    const { topicId, partition, objects } = request;
    const limit = request.limitOffset ?? Number.POSITIVE_INFINITY;
    let offset = Math.max(cursor.next, cursor.aheadTo);
    let loaded = 0;
    let whole = true;
    for (
      let o = objectAt(objects, offset);
      o < objects.length && loaded < bytes && offset < limit && whole;
      o++
    ) {
      const opened = await this.#reader.open(objects[o]!.objectId);
      const entries = this.#reader.findBlocks(opened, topicId, partition, offset, bytes - loaded);
      const count = this.#cache.prefetch(objects[o]!.objectId, entries, reader);
      for (const entry of entries.slice(0, count)) {
        loaded += entry.size;
        offset = entry.lastOffset + 1;
      }
      whole = count === entries.length;
    }
    this.#readAhead.filled(cursor, loaded, offset, whole);
  }
}

function offsetsLost({ entry, objectId }: HeldBlock): MillraceError {
  const message = `offsets ${entry.baseOffset} to ${entry.lastOffset} were lost with a write-ahead log (object ${objectId})`;
  return new MillraceError('corrupt', 'OFFSETS_LOST', message);
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
      for (const block of held) block.handle.release(block.finished);
    },
  };
}

function emptyRead(offset: number): ColdRead {
  return { ranges: [], bytes: 0, nextOffset: offset, release: () => {} };
}

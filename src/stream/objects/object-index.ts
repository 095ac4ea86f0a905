/**
 * The index section of an object: which block holds which offsets of which stream. Any thread; immutable once parsed.
 * Entries stay in their bytes: a lookup reads a few numbers, and an IndexEntry is made only for a block that is wanted.
 *
 *   0  topic count u32 │ stream count u32 │ entry count u32 │ 0 u32
 *   16 topics   16 B each, ascending: uuid
 *      streams  32 B each, ascending: topic u32 │ partition u32 │ first entry u32 │ entry count u32 │ base i64 │ end i64
 *      entries  40 B each: leader epoch i32 │ size u32 │ base offset i64 │ max timestamp i64 │ position i64
 *                          │ last offset − base u32 │ CRC u32
 *
 * A stream without entries has only its state in the object. Entries of a stream are ascending in offset and leader
 * epoch; [base, end) of the stream covers them. In version 1 positions ascend over the whole index; in version 2, whose
 * data is copied from several objects, they do not.
 */

import {
  dataStart,
  type Footer,
  getInt64,
  isMerged,
  objectCorrupt,
  putInt64,
  requirePlan,
  viewOf,
} from './object-format.ts';
import type { IndexEntry } from './objects.ts';

export const indexHeadBytes = 16;
export const topicBytes = 16;
export const streamBytes = 32;
export const entryBytes = 40;

export interface IndexedStream {
  readonly topicId: string;
  readonly partition: number;
  readonly firstEntry: number;
  readonly entryCount: number;
  readonly baseOffset: number;
  readonly endOffset: number;
}

/** Binary topic id of the 22-character form. */
export function topicIdBytes(topicId: string): Buffer {
  const bytes = Buffer.from(topicId, 'base64url');
  requirePlan(bytes.length === 16, `topic id '${topicId}' is not 16 bytes of base64url`);
  return bytes;
}

/** Order of streams in an object: bytes of the topic id, then the partition. */
export function compareStreams(
  a: { readonly topicId: string; readonly partition: number },
  b: { readonly topicId: string; readonly partition: number },
): number {
  if (a.topicId !== b.topicId) return topicIdBytes(a.topicId).compare(topicIdBytes(b.topicId));
  return a.partition - b.partition;
}

export class ObjectIndex {
  readonly objectId: string;
  readonly streamCount: number;
  readonly entryCount: number;
  /** Memory held, for the cache's account. */
  readonly bytes: number;
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #streamsAt: number;
  readonly #entriesAt: number;

  /** @param section the checked bytes of the section (CRC compared); kept, so it must not be a slice of a pool. */
  constructor(section: Buffer, footer: Footer) {
    this.objectId = footer.objectId;
    this.#bytes = section;
    this.#view = viewOf(section);
    this.bytes = section.length + 200;
    const fail = (what: string): never => {
      throw objectCorrupt(footer.objectId, `index: ${what}`);
    };
    if (section.length < indexHeadBytes) fail('too short');
    const topicCount = this.#view.getUint32(0, true);
    this.streamCount = this.#view.getUint32(4, true);
    this.entryCount = this.#view.getUint32(8, true);
    this.#streamsAt = indexHeadBytes + topicCount * topicBytes;
    this.#entriesAt = this.#streamsAt + this.streamCount * streamBytes;
    if (this.#entriesAt + this.entryCount * entryBytes !== section.length)
      fail('its counts do not give its length');
    if (this.streamCount !== footer.streamCount || this.entryCount !== footer.entryCount)
      fail('counts differ from the footer');
    this.#check(topicCount, footer, fail);
  }

  #check(topicCount: number, footer: Footer, fail: (what: string) => never): void {
    const { dataEnd, version } = footer;
    const ascending = !isMerged(version);
    for (let t = 1; t < topicCount; t++) {
      const at = indexHeadBytes + t * topicBytes;
      if (this.#bytes.compare(this.#bytes, at - topicBytes, at, at, at + topicBytes) <= 0)
        fail(`topic ${t} out of order`);
    }
    let nextEntry = 0;
    const start = dataStart(version);
    let position = start;
    let dataBytes = 0;
    let topicBefore = 0;
    let partitionBefore = -1;
    for (let s = 0; s < this.streamCount; s++) {
      const at = this.#streamsAt + s * streamBytes;
      const topic = this.#view.getUint32(at, true);
      const partition = this.#view.getUint32(at + 4, true);
      const ordered = topic > topicBefore || (topic === topicBefore && partition > partitionBefore);
      if (topic >= topicCount || partition > 0x7fffffff || !ordered) fail(`stream ${s} out of order`);
      const count = this.#view.getUint32(at + 12, true);
      if (this.#view.getUint32(at + 8, true) !== nextEntry || nextEntry + count > this.entryCount)
        fail(`entries of stream ${s}`);
      const base = getInt64(this.#view, at + 16);
      const end = getInt64(this.#view, at + 24);
      if (!(base >= 0 && end >= base)) fail(`range of stream ${s}`);
      let offset = base;
      let epoch = -1;
      for (let e = nextEntry; e < nextEntry + count; e++) {
        const entry = this.#entriesAt + e * entryBytes;
        const size = this.#view.getUint32(entry + 4, true);
        const first = getInt64(this.#view, entry + 8);
        const place = getInt64(this.#view, entry + 24);
        const entryEpoch = this.#view.getInt32(entry, true);
        const last = first + this.#view.getUint32(entry + 32, true);
        if (!(first >= offset && last < end) || entryEpoch < epoch) fail(`offsets of entry ${e}`);
        if (!(place >= (ascending ? position : start) && size > 0 && place + size <= dataEnd))
          fail(`position of entry ${e}`);
        if (Number.isNaN(getInt64(this.#view, entry + 16))) fail(`timestamp of entry ${e}`);
        offset = last + 1;
        epoch = entryEpoch;
        position = place + size;
        dataBytes += size;
      }
      nextEntry += count;
      topicBefore = topic;
      partitionBefore = partition;
    }
    if (nextEntry !== this.entryCount) fail('entries without a stream');
    if (start + dataBytes > dataEnd) fail('blocks overlap');
  }

  stream(number: number): IndexedStream {
    const at = this.#streamsAt + number * streamBytes;
    const topicAt = indexHeadBytes + this.#view.getUint32(at, true) * topicBytes;
    return {
      topicId: this.#bytes.toString('base64url', topicAt, topicAt + topicBytes),
      partition: this.#view.getUint32(at + 4, true),
      firstEntry: this.#view.getUint32(at + 8, true),
      entryCount: this.#view.getUint32(at + 12, true),
      baseOffset: getInt64(this.#view, at + 16),
      endOffset: getInt64(this.#view, at + 24),
    };
  }

  /** Number of the stream in this object, or −1. */
  streamNumber(topicId: string, partition: number): number {
    const wanted = topicIdBytes(topicId);
    let low = 0;
    let high = this.streamCount - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const at = this.#streamsAt + middle * streamBytes;
      const topicAt = indexHeadBytes + this.#view.getUint32(at, true) * topicBytes;
      const order =
        wanted.compare(this.#bytes, topicAt, topicAt + topicBytes) ||
        partition - this.#view.getUint32(at + 4, true);
      if (order === 0) return middle;
      if (order < 0) high = middle - 1;
      else low = middle + 1;
    }
    return -1;
  }

  /** @param stream the result of stream(); `number` counts over the whole object. */
  entry(stream: IndexedStream, number: number): IndexEntry {
    const at = this.#entriesAt + number * entryBytes;
    const baseOffset = getInt64(this.#view, at + 8);
    return {
      topicId: stream.topicId,
      partition: stream.partition,
      leaderEpoch: this.#view.getInt32(at, true),
      baseOffset,
      lastOffset: baseOffset + this.#view.getUint32(at + 32, true),
      maxTimestamp: getInt64(this.#view, at + 16),
      position: getInt64(this.#view, at + 24),
      size: this.#view.getUint32(at + 4, true),
      crc: this.#view.getUint32(at + 36, true),
    };
  }

  /** Number of the first entry of the stream that ends at or behind the offset, or −1. */
  firstEntryAt(stream: IndexedStream, offset: number): number {
    let low = stream.firstEntry;
    let high = stream.firstEntry + stream.entryCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const at = this.#entriesAt + middle * entryBytes;
      if (getInt64(this.#view, at + 8) + this.#view.getUint32(at + 32, true) < offset) low = middle + 1;
      else high = middle;
    }
    return low < stream.firstEntry + stream.entryCount ? low : -1;
  }

  /** Number of the first entry at or behind `offset` with maxTimestamp ≥ timestamp, or −1. */
  firstEntrySince(stream: IndexedStream, offset: number, timestamp: number): number {
    const first = this.firstEntryAt(stream, offset);
    if (first === -1) return -1;
    for (let e = first; e < stream.firstEntry + stream.entryCount; e++) {
      if (getInt64(this.#view, this.#entriesAt + e * entryBytes + 16) >= timestamp) return e;
    }
    return -1;
  }
}

/** Blocks of an object in columns, in file order; filled by the upload's layout pass, CRCs by its emission. */
export interface BlockColumns {
  readonly count: number;
  readonly leaderEpoch: Int32Array;
  readonly size: Uint32Array;
  readonly baseOffset: Float64Array;
  readonly lastOffset: Float64Array;
  readonly maxTimestamp: Float64Array;
  readonly crc: Uint32Array;
  /** Where each block lies; without it they follow each other. */
  readonly position?: Float64Array;
}

export interface StreamRow {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly entryCount: number;
}

export function indexSectionBytes(streams: readonly StreamRow[], blockCount: number): number {
  let topics = 0;
  let before = '';
  for (const stream of streams) {
    if (stream.topicId !== before) topics++;
    before = stream.topicId;
  }
  return indexHeadBytes + topics * topicBytes + streams.length * streamBytes + blockCount * entryBytes;
}

/**
 * @param streams in the order of compareStreams; their entries follow each other in `blocks`.
 * @param position of the first block, where the blocks do not say theirs.
 */
export function encodeIndex(streams: readonly StreamRow[], blocks: BlockColumns, position: number): Buffer {
  const bytes = Buffer.alloc(indexSectionBytes(streams, blocks.count));
  const view = viewOf(bytes);
  const topicCount =
    (bytes.length - indexHeadBytes - streams.length * streamBytes - blocks.count * entryBytes) / topicBytes;
  view.setUint32(0, topicCount, true);
  view.setUint32(4, streams.length, true);
  view.setUint32(8, blocks.count, true);
  let at = indexHeadBytes + topicCount * topicBytes;
  let topic = -1;
  let topicBefore = '';
  let entry = 0;
  for (const stream of streams) {
    if (stream.topicId !== topicBefore) {
      topic++;
      topicIdBytes(stream.topicId).copy(bytes, indexHeadBytes + topic * topicBytes);
      topicBefore = stream.topicId;
    }
    view.setUint32(at, topic, true);
    view.setUint32(at + 4, stream.partition, true);
    view.setUint32(at + 8, entry, true);
    view.setUint32(at + 12, stream.entryCount, true);
    putInt64(view, at + 16, stream.baseOffset);
    putInt64(view, at + 24, stream.endOffset);
    at += streamBytes;
    entry += stream.entryCount;
  }
  requirePlan(entry === blocks.count, 'blocks without a stream');
  let place = position;
  for (let e = 0; e < blocks.count; e++) {
    const base = blocks.baseOffset[e]!;
    view.setInt32(at, blocks.leaderEpoch[e]!, true);
    view.setUint32(at + 4, blocks.size[e]!, true);
    putInt64(view, at + 8, base);
    putInt64(view, at + 16, blocks.maxTimestamp[e]!);
    putInt64(view, at + 24, blocks.position?.[e] ?? place);
    view.setUint32(at + 32, blocks.lastOffset[e]! - base, true);
    view.setUint32(at + 36, blocks.crc[e]!, true);
    place += blocks.size[e]!;
    at += entryBytes;
  }
  return bytes;
}

/**
 * Writes what log compaction keeps into new objects of one stream, batch after batch: blocks as in every object, with gaps
 * inside where batches were taken, and no gap between them. An object is stored by one put when it fits a part, else by a
 * multipart upload. One owner; nothing names the objects until they are committed.
 *
 *   batches  ──[3–4]────[9]──────[20–29]─────         object 1 = [0, 20), object 2 = [20, end)
 *   blocks   [0 ────────── 19]  [20 ──── end)         a block reaches to the batch behind it
 *
 * A block ends where the leader epoch changes, before it would exceed its limit (1 MiB) or span more offsets than an entry states. A
 * header that stands for lost offsets has a block of its own.
 * Memory: one part (`partBytes`) and the rows of one object's index. A failed upload is aborted.
 */
import {
  baseOffsetOf,
  keptTimestampOf,
  lastOffsetOf,
  leaderEpochOf,
  recordCountOf,
} from '../../protocol/records/batch-header.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { isLost } from '../../protocol/records/lost-batch.ts';
import type { MultipartUpload, ObjectStore } from '../../store/object-store.ts';
import type { CompactionTraffic } from '../compaction/compaction-task.ts';
import { encodeTail } from '../compaction/merge-sections.ts';
import { MergedBlocks } from '../compaction/merge-tables.ts';
import type { ManifestObject } from '../manifest/manifest.ts';
import { objectKey, requirePlan, type SectionName } from '../objects/object-format.ts';
import { encodeAborted, encodeDescriptor, encodeProducers } from '../objects/object-sections.ts';
import type { AbortedTxn, ProducerEntry } from '../objects/objects.ts';
import type { CleanTask } from './clean-task.ts';

export interface OutputDeps {
  readonly store: ObjectStore;
  readonly crc32c: Crc32c;
  readonly pace: (bytes: number) => Promise<void>;
  readonly traffic: CompactionTraffic;
  /** What the sections of an object with these offsets say. */
  readonly sections: (
    baseOffset: number,
    endOffset: number,
  ) => {
    readonly producers: readonly ProducerEntry[];
    readonly aborted: readonly AbortedTxn[];
    readonly lastStableOffset: number;
  };
}

/** Offsets that one block spans at most; an entry states 2^32. */
const blockSpanMax = 2 ** 31;

export class CleanOutput {
  readonly objects: ManifestObject[] = [];
  /** Ids of the objects that are stored. */
  readonly stored: string[] = [];
  readonly #task: CleanTask;
  readonly #deps: OutputDeps;
  readonly #buffer: Buffer;
  #filled = 0;
  #blocks = new MergedBlocks();
  /** Row of the block that takes batches, −1 = none does. */
  #open = -1;
  #baseOffset: number;
  #dataBytes = 0;
  #maxTimestamp = -1;
  #upload: MultipartUpload | null = null;
  #parts = 0;
  /** Behind the last batch. */
  reached: number;
  /** The last batch stands for lost offsets: the next block must begin right behind it. */
  afterLost = false;

  /** @param baseOffset of the first object; gaps before its first batch are in its first block. */
  constructor(task: CleanTask, deps: OutputDeps, baseOffset: number) {
    this.#task = task;
    this.#deps = deps;
    this.#baseOffset = baseOffset;
    this.reached = baseOffset;
    this.#buffer = Buffer.allocUnsafeSlow(task.limits.partBytes);
  }

  /** Whether the last block cannot reach to this offset. */
  isFar(lastOffset: number): boolean {
    const { count, baseOffset } = this.#blocks;
    return lastOffset - (count === 0 ? this.#baseOffset : baseOffset[count - 1]!) >= blockSpanMax;
  }

  /** Adds the batch of `length` bytes at `at`; offsets ascend. */
  async add(bytes: Buffer, view: DataView, at: number, length: number): Promise<void> {
    const base = baseOffsetOf(view, at);
    const last = lastOffsetOf(view, at);
    const epoch = leaderEpochOf(view, at);
    requirePlan(base >= this.reached && last >= base, `batch ${base}–${last} behind ${this.reached}`);
    const lost = isLost(view, at);
    if (!this.#fits(last, epoch, length, lost)) {
      this.#closeBlock(base);
      const whole = this.#dataBytes >= this.#task.limits.objectBytesMax;
      if (whole && this.#blocks.count > 0 && this.#hasIds()) await this.#finishObject(base);
      this.#openBlock(base, epoch);
    }
    const { size, crc, maxTimestamp, lastOffset } = this.#blocks;
    const block = this.#open;
    crc[block] = this.#deps.crc32c(bytes, at, length, crc[block]);
    size[block]! += length;
    lastOffset[block] = last;
    // A header whose records are gone must not be found by its time.
    const timestamp = recordCountOf(view, at) > 0 || lost ? keptTimestampOf(view, at) : -1;
    maxTimestamp[block] = Math.max(maxTimestamp[block]!, timestamp);
    this.#maxTimestamp = Math.max(this.#maxTimestamp, timestamp);
    this.#dataBytes += length;
    this.reached = last + 1;
    this.afterLost = lost;
    // Nothing joins it.
    if (lost) this.#open = -1;
    await this.#write(bytes, at, length);
  }

  #fits(last: number, epoch: number, length: number, lost: boolean): boolean {
    const { size, leaderEpoch, baseOffset } = this.#blocks;
    const block = this.#open;
    if (block < 0 || lost) return false;
    return (
      leaderEpoch[block] === epoch &&
      size[block]! + length <= this.#task.limits.blockBytesMax &&
      last - baseOffset[block]! < blockSpanMax
    );
  }

  /** The last block reaches to `end`. */
  #closeBlock(end: number): void {
    if (this.#blocks.count > 0) this.#blocks.lastOffset[this.#blocks.count - 1] = end - 1;
    this.#open = -1;
  }

  #openBlock(base: number, epoch: number): void {
    const blocks = this.#blocks;
    const first = blocks.count === 0;
    const before = first ? -1 : blocks.leaderEpoch[blocks.count - 1]!;
    requirePlan(epoch >= before, `leader epoch ${epoch} goes back`);
    const block = blocks.add();
    blocks.leaderEpoch[block] = epoch;
    blocks.size[block] = 0;
    blocks.baseOffset[block] = first ? this.#baseOffset : base;
    blocks.maxTimestamp[block] = -1;
    blocks.crc[block] = 0;
    blocks.position[block] = this.#dataBytes;
    this.#open = block;
  }

  #hasIds(): boolean {
    return this.objects.length + 1 < this.#task.objectIds.length;
  }

  /** Ends the last object at `end`. */
  async finish(end: number): Promise<void> {
    this.#closeBlock(end);
    await this.#finishObject(end);
  }

  async #finishObject(end: number): Promise<void> {
    const { topicId, partition } = this.#task;
    const baseOffset = this.#baseOffset;
    const objectId = this.#task.objectIds[this.objects.length]!;
    const entryCount = this.#blocks.count;
    const stream = { topicId, partition, baseOffset, endOffset: end, entryCount };
    const layout = {
      copiedBytes: 0,
      writtenBytes: this.#dataBytes,
      streams: [stream],
      blocks: this.#blocks,
    };
    const tail = encodeTail({ objectId }, layout, this.#sections(end), this.#deps.crc32c);
    await this.#write(tail, 0, tail.length);
    await this.#store(objectId);
    this.objects.push({
      objectId,
      size: this.#dataBytes + tail.length,
      baseOffset,
      endOffset: end,
      maxTimestamp: this.#maxTimestamp,
      bytes: this.#dataBytes,
    });
    this.#blocks = new MergedBlocks();
    this.#baseOffset = end;
    this.#dataBytes = 0;
    this.#maxTimestamp = -1;
    this.#parts = 0;
    this.reached = end;
  }

  #sections(end: number): Map<SectionName, Buffer> {
    const { producers, aborted, lastStableOffset } = this.#deps.sections(this.#baseOffset, end);
    const plain = aborted.length === 0 && lastStableOffset >= end;
    return new Map<SectionName, Buffer>([
      ['states', Buffer.alloc(0)],
      ['aborted', encodeAborted(plain ? [] : [{ stream: 0, lastStableOffset, aborted }])],
      ['producers', encodeProducers(producers.length === 0 ? [] : [{ stream: 0, producers }])],
      ['descriptor', encodeDescriptor(this.#task)],
    ]);
  }

  async #write(bytes: Buffer, at: number, length: number): Promise<void> {
    for (let done = 0; done < length; ) {
      if (this.#filled === this.#buffer.length) await this.#sendPart();
      const copied = bytes.copy(this.#buffer, this.#filled, at + done, at + length);
      this.#filled += copied;
      done += copied;
    }
  }

  async #sendPart(): Promise<void> {
    const { store, pace, traffic } = this.#deps;
    if (this.#upload === null) {
      await pace(0);
      traffic.puts++;
      this.#upload = await store.multipart(objectKey(this.#task.objectIds[this.objects.length]!));
    }
    await pace(this.#filled);
    traffic.puts++;
    traffic.bytesOut += this.#filled;
    await this.#upload.uploadPart(++this.#parts, [this.#buffer.subarray(0, this.#filled)]);
    this.#filled = 0;
  }

  async #store(objectId: string): Promise<void> {
    const { store, pace, traffic } = this.#deps;
    if (this.#upload === null) {
      await pace(this.#filled);
      traffic.puts++;
      traffic.bytesOut += this.#filled;
      // Its answer may be lost: it counts as stored from here on.
      this.stored.push(objectId);
      await store.put(objectKey(objectId), [this.#buffer.subarray(0, this.#filled)]);
      this.#filled = 0;
      return;
    }
    if (this.#filled > 0) await this.#sendPart();
    this.stored.push(objectId);
    traffic.puts++;
    await this.#upload.complete();
    this.#upload = null;
  }

  /** After a failure: no upload stays behind unfinished. */
  async abort(): Promise<void> {
    await this.#upload?.abort().catch(() => {
      // Left for the sweep of unfinished uploads; the first error is the one to tell.
    });
    this.#upload = null;
  }
}

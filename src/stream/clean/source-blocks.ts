/**
 * Reads the blocks of a stream from the objects that hold it, front to back, through one window. Checked on the way: CRCs,
 * and that blocks follow each other without a hole from the log start on, since a hole carried over could never be told from
 * lost data. One owner.
 *
 * Bound: one window of `windowBytes`, or one block that is larger; the indexes of one object at a time.
 */
import type { CompactionTraffic } from '../compaction/compaction-task.ts';
import { objectCorrupt } from '../objects/object-format.ts';
import type { AbortedTxn, IndexEntry, ProducerEntry } from '../objects/objects.ts';
import type { ObjectReader } from '../read/object-reader.ts';
import type { CleanSource } from './clean-task.ts';

export interface SourceDeps {
  readonly reader: ObjectReader;
  /** Asked before each request with its bytes. */
  readonly pace: (bytes: number) => Promise<void>;
  readonly traffic: CompactionTraffic;
  readonly windowBytes: number;
}

/** A block in memory; valid until the next one is asked for. */
export interface SourceBlock {
  readonly objectId: string;
  readonly entry: IndexEntry;
  readonly bytes: Buffer;
  readonly view: DataView;
}

export class SourceBlocks {
  readonly #deps: SourceDeps;
  readonly #topicId: string;
  readonly #partition: number;
  #window = Buffer.alloc(0);

  constructor(deps: SourceDeps, topicId: string, partition: number) {
    this.#deps = deps;
    this.#topicId = topicId;
    this.#partition = partition;
  }

  /** Blocks of the sources that reach `from`, until the caller stops asking. */
  async *blocks(sources: readonly CleanSource[], from: number): AsyncGenerator<SourceBlock, void, void> {
    let reached = from;
    for (const source of sources) {
      if (source.endOffset <= reached) continue;
      const entries = await this.#entries(source, reached);
      for (let first = 0; first < entries.length; ) {
        let bytes = 0;
        let end = first;
        while (
          end < entries.length &&
          (end === first || bytes + entries[end]!.size <= this.#deps.windowBytes)
        )
          bytes += entries[end++]!.size;
        const run = entries.slice(first, end);
        await this.#load(source, run, bytes);
        let at = 0;
        for (const entry of run) {
          const block = this.#window.subarray(at, at + entry.size);
          const view = new DataView(block.buffer, block.byteOffset, block.length);
          yield { objectId: source.objectId, entry, bytes: block, view };
          at += entry.size;
        }
        first = end;
      }
      reached = source.endOffset;
    }
  }

  async #load(source: CleanSource, run: readonly IndexEntry[], bytes: number): Promise<void> {
    const { pace, reader, traffic } = this.#deps;
    if (this.#window.length < bytes) this.#window = Buffer.allocUnsafeSlow(bytes);
    await pace(bytes);
    // Blocks of a merged object need not lie in the order of their offsets.
    const requests = await reader.readBlocks(source.objectId, run, this.#window, 0);
    traffic.gets += requests;
    traffic.bytesIn += bytes;
  }

  /** The source's blocks from `from` on, which follow each other to its end. */
  async #entries(source: CleanSource, from: number): Promise<IndexEntry[]> {
    const { reader, pace } = this.#deps;
    await pace(0);
    const opened = await reader.open(source.objectId);
    const all = reader.findBlocks(opened, this.#topicId, this.#partition, from, Number.POSITIVE_INFINITY);
    const entries: IndexEntry[] = [];
    let reached = Math.max(from, source.baseOffset);
    for (const entry of all) {
      if (entry.baseOffset >= source.endOffset) break;
      const follows = entries.length === 0 ? entry.baseOffset <= reached : entry.baseOffset === reached;
      if (!follows) break;
      entries.push(entry);
      reached = entry.lastOffset + 1;
    }
    if (reached < source.endOffset) {
      const what = `${this.#topicId}/${this.#partition}: a hole at ${reached}, before ${source.endOffset}`;
      throw objectCorrupt(source.objectId, what);
    }
    return entries;
  }

  /** Transactions whose abort markers lie in the parts, at or above `from`. */
  async aborted(parts: readonly CleanSource[], from: number): Promise<AbortedTxn[]> {
    const { reader, pace, traffic } = this.#deps;
    const found: AbortedTxn[] = [];
    for (const { objectId, baseOffset, endOffset } of parts) {
      await pace(0);
      const opened = await reader.open(objectId);
      const { length } = opened.footer.sections.aborted;
      if (length === 0) continue;
      traffic.gets++;
      traffic.bytesIn += length;
      const groups = await reader.aborted(opened);
      const group = groups.find((one) => one.topicId === this.#topicId && one.partition === this.#partition);
      for (const txn of group?.aborted ?? [])
        if (txn.lastOffset >= Math.max(from, baseOffset) && txn.lastOffset < endOffset) found.push(txn);
    }
    return found;
  }

  /** What the parts say of the stream's producers, part by part. */
  async producers(parts: readonly CleanSource[]): Promise<(readonly ProducerEntry[])[]> {
    const { reader, pace, traffic } = this.#deps;
    const found: (readonly ProducerEntry[])[] = [];
    for (const { objectId } of parts) {
      await pace(0);
      const opened = await reader.open(objectId);
      const { length } = opened.footer.sections.producers;
      if (length === 0) continue;
      traffic.gets++;
      traffic.bytesIn += length;
      const groups = await reader.producers(opened);
      const group = groups.find((one) => one.topicId === this.#topicId && one.partition === this.#partition);
      if (group !== undefined) found.push(group.producers);
    }
    return found;
  }
}

/**
 * Reads one object from end to end and compares all there is to compare: footer, sections, index, the CRC of every block,
 * the CRC and the offsets of every batch, and the ranges that the metadata name it for. Memory: the index, and a window
 * of 4 MiB or one larger block.
 *
 * An object may hold several ranges of one stream, with others between them in other objects, and blocks below the log
 * start may be left out: only what it is named for, from the log start on, has to be there.
 */
import {
  baseOffsetOf,
  batchBytesOf,
  batchHeaderBytes,
  crcOf,
  crcStart,
  currentMagic,
  lastOffsetOf,
  leaderEpochOf,
  magicOf,
} from '../protocol/records/batch-header.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { isLost } from '../protocol/records/lost-batch.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { checkHead, headBytes, isMerged, objectKey } from '../stream/objects/object-format.ts';
import type { IndexedStream } from '../stream/objects/object-index.ts';
import type { IndexEntry } from '../stream/objects/objects.ts';
import { ObjectReader, type OpenObject } from '../stream/read/object-reader.ts';
import type { Problems } from './inspect-report.ts';
import type { NamedObject, NamedRange } from './named-objects.ts';

const windowBytes = 4 << 20;

export interface ObjectCheckDeps {
  readonly store: ObjectStore;
  readonly crc32c: Crc32c;
  readonly clusterId: string;
  readonly streamName: (topicId: string, partition: number) => string;
  readonly logStart: (topicId: string, partition: number) => number;
  readonly problems: Problems;
}

export class ObjectCheck {
  readonly #deps: ObjectCheckDeps;
  readonly #reader: ObjectReader;
  #window = Buffer.allocUnsafeSlow(windowBytes);
  objects = 0;
  batches = 0;
  bytes = 0;

  constructor(deps: ObjectCheckDeps) {
    this.#deps = deps;
    // Each object is opened once: nothing is worth keeping.
    this.#reader = new ObjectReader({ store: deps.store, crc32c: deps.crc32c, indexBytesMax: 0 });
  }

  async check(named: NamedObject): Promise<void> {
    const { problems } = this.#deps;
    const key = objectKey(named.objectId);
    const concerns = named.ranges
      .map((range) => this.#offsets(range, range.baseOffset, range.endOffset - 1))
      .join(', ');
    try {
      const opened = await this.#reader.open(named.objectId);
      this.objects++;
      await this.#sections(opened, key);
      for (let s = 0; s < opened.index.streamCount; s++) {
        const stream = opened.index.stream(s);
        await this.#stream(opened, stream, this.#live(named, stream), key);
      }
      this.#absent(named, opened, key);
    } catch (error) {
      problems.add(key, (error as Error).message, null, concerns);
    }
  }

  async #sections(opened: OpenObject, key: string): Promise<void> {
    const { problems, store, crc32c, clusterId } = this.#deps;
    const attempt = async (read: () => Promise<unknown>): Promise<void> => {
      await read().catch((error: unknown) => problems.add(key, (error as Error).message));
    };
    if (!isMerged(opened.footer.version)) {
      await attempt(async () =>
        checkHead(await store.get(key, { start: 0, end: headBytes }), opened.objectId, crc32c),
      );
    }
    await attempt(async () => {
      const found = (await this.#reader.describe(opened)).clusterId;
      if (found !== clusterId) throw new Error(`it says that it belongs to cluster ${found}`);
    });
    await attempt(() => this.#reader.producers(opened));
    await attempt(() => this.#reader.aborted(opened));
    await attempt(() => this.#reader.states(opened));
  }

  /** What of the stream the object is named for, from the log start on, ascending. */
  #live(named: NamedObject, stream: { readonly topicId: string; readonly partition: number }): NamedRange[] {
    const start = this.#deps.logStart(stream.topicId, stream.partition);
    return named.ranges
      .filter(
        (range) =>
          range.topicId === stream.topicId && range.partition === stream.partition && range.endOffset > start,
      )
      .map((range) => ({ ...range, baseOffset: Math.max(range.baseOffset, start) }))
      .sort((a, b) => a.baseOffset - b.baseOffset);
  }

  /** Streams that the object is named for and knows nothing of. */
  #absent(named: NamedObject, opened: OpenObject, key: string): void {
    for (const range of named.ranges) {
      if (opened.index.streamNumber(range.topicId, range.partition) !== -1) continue;
      for (const live of this.#live(named, range))
        this.#missing(live, live.baseOffset, live.endOffset, null, key);
    }
  }

  #missing(stream: NamedRange, from: number, end: number, position: number | null, key: string): void {
    this.#deps.problems.add(key, 'no block holds these', position, this.#offsets(stream, from, end - 1));
  }

  /** No block begins between the two offsets: wrong where the object is named for them. */
  #gap(live: readonly NamedRange[], from: number, end: number, position: number | null, key: string): void {
    for (const range of live) {
      const [first, last] = [Math.max(from, range.baseOffset), Math.min(end, range.endOffset)];
      if (first < last) this.#missing(range, first, last, position, key);
    }
  }

  async #stream(
    opened: OpenObject,
    stream: IndexedStream,
    live: readonly NamedRange[],
    key: string,
  ): Promise<void> {
    let next = 0;
    let run: IndexEntry[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      if (run.length > 0) await this.#blocks(opened, run, key);
      run = [];
      bytes = 0;
    };
    for (let e = stream.firstEntry; e < stream.firstEntry + stream.entryCount; e++) {
      const entry = opened.index.entry(stream, e);
      this.#gap(live, next, entry.baseOffset, entry.position, key);
      next = entry.lastOffset + 1;
      if (bytes + entry.size > windowBytes) await flush();
      run.push(entry);
      bytes += entry.size;
    }
    await flush();
    this.#gap(live, next, Number.POSITIVE_INFINITY, null, key);
  }

  async #blocks(opened: OpenObject, run: readonly IndexEntry[], key: string): Promise<void> {
    const total = run.reduce((sum, entry) => sum + entry.size, 0);
    if (total > this.#window.length) this.#window = Buffer.allocUnsafeSlow(total);
    const sound = await this.#read(opened, run);
    let at = 0;
    for (const [i, entry] of run.entries()) {
      if (sound[i]) this.#batches(entry, at, isMerged(opened.footer.version), key);
      else {
        const concerns = this.#offsets(entry, entry.baseOffset, entry.lastOffset);
        this.#deps.problems.add(key, 'the block fails its CRC or cannot be read', entry.position, concerns);
      }
      at += entry.size;
    }
  }

  /** Which of the blocks came and match their CRC: all at once, or, when that fails, one by one. */
  async #read(opened: OpenObject, run: readonly IndexEntry[]): Promise<boolean[]> {
    const sound = run.map(() => true);
    try {
      await this.#reader.readBlocks(opened.objectId, run, this.#window, 0);
    } catch {
      let at = 0;
      for (const [i, entry] of run.entries()) {
        sound[i] = await this.#reader.readBlocks(opened.objectId, [entry], this.#window, at).then(
          () => true,
          () => false,
        );
        at += entry.size;
      }
    }
    return sound;
  }

  /**
   * Walks the batches of a block that lies at `at` in the window.
   * @param sparse log compaction may have taken batches: the block's offsets have gaps then, also at its end.
   */
  #batches(entry: IndexEntry, at: number, sparse: boolean, key: string): void {
    const view = new DataView(this.#window.buffer, this.#window.byteOffset + at, entry.size);
    let place = 0;
    let next = entry.baseOffset;
    const fail = (what: string, last = entry.lastOffset): void =>
      this.#deps.problems.add(key, what, entry.position + place, this.#offsets(entry, next, last));
    while (place < entry.size) {
      if (entry.size - place < batchHeaderBytes) return fail('the block ends within a batch header');
      const length = batchBytesOf(view, place);
      if (length < batchHeaderBytes || length > entry.size - place) return fail(`a batch of ${length} bytes`);
      if (magicOf(view, place) !== currentMagic) return fail(`a batch of format ${magicOf(view, place)}`);
      const last = lastOffsetOf(view, place);
      const base = baseOffsetOf(view, place);
      if (sparse ? base < next || last > entry.lastOffset : base !== next)
        fail(`a batch that begins at offset ${base}`, Math.max(next, last));
      const crc = this.#deps.crc32c(this.#window, at + place + crcStart, length - crcStart);
      if (crc !== crcOf(view, place)) fail('a batch fails its CRC', last);
      if (leaderEpochOf(view, place) !== entry.leaderEpoch)
        fail(
          `a batch of leader epoch ${leaderEpochOf(view, place)}, the index says ${entry.leaderEpoch}`,
          last,
        );
      if (isLost(view, place)) fail('records were lost with a damaged write-ahead log', last);
      next = last + 1;
      place += length;
      this.batches++;
    }
    if (!sparse && next !== entry.lastOffset + 1)
      fail(`the block ends at offset ${next - 1}, its index says ${entry.lastOffset}`);
    this.bytes += entry.size;
  }

  #offsets(
    stream: { readonly topicId: string; readonly partition: number },
    from: number,
    to: number,
  ): string {
    const name = this.#deps.streamName(stream.topicId, stream.partition);
    return from === to ? `${name} offset ${from}` : `${name} offsets ${from} to ${to}`;
  }
}

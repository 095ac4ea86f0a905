/**
 * One pass of log compaction over a stream, as Kafka's cleaner makes it (KIP-98, KIP-534), over objects:
 *
 *   1  keys of [dirtyFrom, cleanedTo) → newest offset of each; ends at cleanEnd, at the first young record, or with a full map
 *   2  all batches from the log start on, into new objects: below cleanedTo only what rules.ts keeps, behind it all as it is
 *
 * What one map does not hold is for the next pass: below cleanedTo each key has one record by then, and only keys that are
 * written again replace it. Nothing changes for readers until the caller has committed the new objects.
 * Any thread; a CPU-bound stretch is at most `bytesPerTurn`, then the loop turns. Memory: key map, one window, one part, one batch unpacked.
 */
import type { Clock } from '../../ports/clock.ts';
import { errorToWire, MillraceError } from '../../ports/errors.ts';
import type { Codecs } from '../../protocol/compression/codecs.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  batchHeaderBytes,
  isControl,
  lastOffsetOf,
  maxTimestampOf,
  recordCountOf,
} from '../../protocol/records/batch-header.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { isLost } from '../../protocol/records/lost-batch.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { CompactionPace } from '../compaction/compaction-pace.ts';
import { noTraffic } from '../compaction/compaction-task.ts';
import { objectCorrupt } from '../objects/object-format.ts';
import type { AbortedTxn, ProducerEntry } from '../objects/objects.ts';
import { ProducerFold } from '../producers/producer-fold.ts';
import { ObjectReader } from '../read/object-reader.ts';
import { BatchRewriter } from './batch-rewriter.ts';
import { BatchSieve, type Fate } from './batch-sieve.ts';
import { CleanOutput } from './clean-output.ts';
import type { CleanNumbers, CleanResult, CleanTask } from './clean-task.ts';
import { type KeyHash, KeyMap } from './key-map.ts';
import { type SourceBlock, SourceBlocks } from './source-blocks.ts';
import { TransactionWatch } from './transaction-watch.ts';

export interface CleanDeps {
  readonly store: ObjectStore;
  readonly crc32c: Crc32c;
  readonly codecs: Codecs;
  readonly hash: KeyHash;
  /** Asked before each request with the bytes it moves; rejects when the broker stops. */
  readonly pace: (bytes: number) => Promise<void>;
  readonly clock: Clock;
}

/** Some milliseconds of unpacking, hashing and packing. */
const bytesPerTurn = 64 << 10;

/** Never rejects. */
export async function runClean(task: CleanTask, deps: CleanDeps): Promise<CleanResult> {
  const pass = new CleanPass(task, deps);
  try {
    return await pass.run();
  } catch (error) {
    await pass.abort();
    return pass.result(null, errorToWire(error));
  }
}

class CleanPass {
  readonly #task: CleanTask;
  readonly #deps: CleanDeps;
  readonly #traffic = noTraffic();
  readonly #numbers: CleanNumbers = { keys: 0, full: false, recordsRead: 0, recordsKept: 0, batchesLeft: 0 };
  readonly #source: SourceBlocks;
  readonly #pace: (bytes: number) => Promise<void>;
  readonly #rewriter: BatchRewriter;
  #output: CleanOutput | null = null;
  #cleanedTo: number;
  #horizonMs = -1;
  #turnBytes = 0;

  constructor(task: CleanTask, deps: CleanDeps) {
    this.#task = task;
    this.#deps = deps;
    this.#cleanedTo = task.dirtyFrom;
    this.#rewriter = new BatchRewriter(deps.codecs, deps.crc32c, task.decompressedBytesMax);
    const sizes = new Map([...task.sources, ...task.behind].map(({ objectId, size }) => [objectId, size]));
    const reader = new ObjectReader({
      store: deps.store,
      crc32c: deps.crc32c,
      sizeOf: (objectId) => sizes.get(objectId),
      pause: () => this.#pause(),
    });
    this.#pace = paceOf(task, deps);
    this.#source = new SourceBlocks(
      { reader, pace: this.#pace, traffic: this.#traffic, windowBytes: task.limits.windowBytes },
      task.topicId,
      task.partition,
    );
  }

  async run(): Promise<CleanResult> {
    const { sources, behind, startOffset, dirtyFrom } = this.#task;
    const aborted = await this.#source.aborted([...sources, ...behind], startOffset);
    const keys = await this.#mapKeys(aborted);
    if (this.#cleanedTo > dirtyFrom || this.#task.due) await this.#rewrite(keys, aborted);
    return this.result(this.#output?.objects ?? [], null);
  }

  result(objects: CleanResult['objects'], error: CleanResult['error']): CleanResult {
    return {
      objects,
      stored: this.#output?.stored ?? [],
      cleanedTo: this.#cleanedTo,
      horizonMs: this.#horizonMs,
      numbers: this.#numbers,
      traffic: this.#traffic,
      error,
    };
  }

  async abort(): Promise<void> {
    await this.#output?.abort();
  }

  async #mapKeys(aborted: readonly AbortedTxn[]): Promise<KeyMap> {
    const { dirtyFrom, cleanEnd, mapBytes, loadFactor, nowMs, minLagMs, sources } = this.#task;
    const keys = new KeyMap(mapBytes, loadFactor, Math.max(1, cleanEnd - dirtyFrom), this.#deps.hash);
    const watch = new TransactionWatch(aborted);
    const youngFrom = minLagMs === 0 ? Number.POSITIVE_INFINITY : nowMs - minLagMs;
    if (dirtyFrom >= cleanEnd) return keys;
    for await (const block of this.#source.blocks(sources, dirtyFrom)) {
      for (let at = 0; at < block.bytes.length; ) {
        const { view } = block;
        const length = lengthAt(block, at);
        const last = lastOffsetOf(view, at);
        if (baseOffsetOf(view, at) >= cleanEnd) return this.#mapped(keys, cleanEnd);
        if (last >= dirtyFrom) {
          if (maxTimestampOf(view, at) > youngFrom) return this.#mapped(keys, this.#cleanedTo);
          if (!this.#mapBatch(keys, watch, block, at, length)) return this.#mapped(keys, this.#cleanedTo);
          this.#cleanedTo = Math.min(last + 1, cleanEnd);
        }
        at += length;
        await this.#turn(length);
      }
      if (block.entry.lastOffset + 1 >= cleanEnd) break;
    }
    return this.#mapped(keys, cleanEnd);
  }

  #mapped(keys: KeyMap, cleanedTo: number): KeyMap {
    this.#cleanedTo = cleanedTo;
    this.#numbers.keys = keys.size;
    return keys;
  }

  /** False when the map is full; then the pass cleans to the record that found no room. */
  #mapBatch(keys: KeyMap, watch: TransactionWatch, block: SourceBlock, at: number, length: number): boolean {
    const { dirtyFrom, cleanEnd } = this.#task;
    const { bytes, view } = block;
    const skipped =
      isControl(attributesOf(view, at)) || watch.isAborted(view, at) || recordCountOf(view, at) === 0;
    if (skipped || isLost(view, at) || !this.#rewriter.open(bytes, at, length)) return true;
    const { cursor } = this.#rewriter;
    try {
      while (cursor.next()) {
        const { offset, keyPosition, keyLength } = cursor;
        if (offset < dirtyFrom || offset >= cleanEnd || keyLength < 0) continue;
        if (keys.note(cursor.bytes, keyPosition, keyLength, offset)) continue;
        this.#numbers.full = true;
        this.#cleanedTo = offset;
        return false;
      }
    } catch (error) {
      // Records that cannot be read stay, whatever their keys are; so do those that they would replace.
      if (!(error instanceof MillraceError)) throw error;
    }
    return true;
  }

  async #rewrite(keys: KeyMap, aborted: readonly AbortedTxn[]): Promise<void> {
    const { sources, startOffset, producers } = this.#task;
    const cleanedTo = this.#cleanedTo;
    const watch = new TransactionWatch(aborted);
    const states = await this.#source.producers(sources);
    const sieve = new BatchSieve({
      task: this.#task,
      cleanedTo,
      keys,
      watch,
      producers,
      rewriter: this.#rewriter,
      numbers: this.#numbers,
    });
    const from = Math.max(startOffset, sources[0]!.baseOffset);
    let output: CleanOutput | null = null;
    /** Stands for the batches that were taken since the last one that stayed. */
    let taken: Buffer | null = null;
    const put = async (bytes: Buffer): Promise<void> => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      await output!.add(bytes, view, 0, bytes.length);
    };
    for await (const block of this.#source.blocks(sources, from)) {
      const { bytes, view } = block;
      for (let at = 0; at < bytes.length; ) {
        const length = lengthAt(block, at);
        const last = lastOffsetOf(view, at);
        if (last >= from) {
          output ??= this.#begin(Math.min(from, baseOffsetOf(view, at)), { states, aborted, watch });
          const fate: Fate = sieve.judge(bytes, view, at, length);
          if (fate === 'gone') {
            taken = sieve.remainder(bytes, view, at, length);
            // The gap that it leaves must not be part of a block that stands for lost offsets, nor longer than a block.
            if (output.afterLost || output.isFar(last)) {
              await put(taken);
              taken = null;
            }
          } else {
            if (taken !== null && isLost(view, at)) await put(taken);
            taken = null;
            if (fate === 'whole') await output.add(bytes, view, at, length);
            else await put(fate);
          }
        }
        at += length;
        await this.#turn(length);
      }
    }
    if (output === null) return;
    // The end of the log stays: readers come to it, and see that nothing more follows.
    if (taken !== null) await put(taken);
    await output.finish(sources[sources.length - 1]!.endOffset);
    this.#horizonMs = sieve.horizonMs;
  }

  #begin(
    baseOffset: number,
    from: {
      readonly states: readonly (readonly ProducerEntry[])[];
      readonly aborted: readonly AbortedTxn[];
      readonly watch: TransactionWatch;
    },
  ): CleanOutput {
    const { store, crc32c } = this.#deps;
    const cleanedTo = this.#cleanedTo;
    const sections = (base: number, end: number) => ({
      producers: producersIn(from.states, base, end),
      // The records of those with markers below are gone with this pass.
      aborted: from.aborted.filter(
        ({ lastOffset }) => lastOffset >= Math.max(base, cleanedTo) && lastOffset < end,
      ),
      lastStableOffset: from.watch.lastStableAt(end),
    });
    const deps = { store, crc32c, pace: this.#pace, traffic: this.#traffic, sections };
    this.#output = new CleanOutput(this.#task, deps, baseOffset);
    return this.#output;
  }

  async #turn(bytes: number): Promise<void> {
    this.#turnBytes += bytes;
    if (this.#turnBytes < bytesPerTurn) return;
    this.#turnBytes = 0;
    await this.#pause();
  }

  /** Lets the loop of this thread turn. */
  #pause(): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.soon(resolve));
  }
}

/** That of merging, and the task's own. */
function paceOf({ bytesPerSecond }: CleanTask, { clock, pace }: CleanDeps): CleanDeps['pace'] {
  if (bytesPerSecond === Number.POSITIVE_INFINITY) return pace;
  const own = new CompactionPace(
    clock,
    { bytesPerSecond, requestsPerSecond: Number.POSITIVE_INFINITY },
    () => false,
  );
  return async (bytes) => {
    await pace(bytes);
    await own.wait(bytes);
  };
}

/** Bytes of the batch at `at`, checked against its block. */
function lengthAt({ objectId, entry, bytes, view }: SourceBlock, at: number): number {
  const left = bytes.length - at;
  const length = left < batchHeaderBytes ? 0 : batchBytesOf(view, at);
  const sound = length >= batchHeaderBytes && length <= left;
  if (!sound || baseOffsetOf(view, at) < entry.baseOffset || lastOffsetOf(view, at) > entry.lastOffset)
    throw objectCorrupt(objectId, `no batch at ${at} of the block at ${entry.position}`);
  return length;
}

/** State as of `endOffset` of the producers that were active from `baseOffset` on. */
function producersIn(
  states: readonly (readonly ProducerEntry[])[],
  baseOffset: number,
  endOffset: number,
): ProducerEntry[] {
  const fold = new ProducerFold();
  for (const entries of states) for (const entry of entries) fold.take(entry);
  return fold.snapshot(baseOffset, endOffset);
}

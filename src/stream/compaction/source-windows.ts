/**
 * Reads the pieces of a merge: blocks that are wanted in the order of the new object, which in each source is the order
 * of a few interleaved runs (an upload's object is one run, a copied one has a run for each of its sources). Each run is
 * read front to back through a window of its own, so every byte is fetched once, in large GETs, whatever the order between
 * runs. Every block is compared with its CRC when it is taken.
 *
 * Bounds: windows together ≤ memoryBytes, but for a block larger than its window and at least windowBytesMin a run.
 * Owned by one compaction.
 */
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { objectCorrupt, objectKey } from '../objects/object-format.ts';
import type { CompactionSource } from './compaction-task.ts';
import type { PieceTable } from './merge-tables.ts';

const windowBytesMin = 16 << 10;
const windowBytesMax = 8 << 20;
/** Runs of one source that get a window each; what belongs to none of them shares the first and is read block by block. */
const runsPerSourceMax = 64;

interface Run {
  readonly number: number;
  readonly source: number;
  /** Piece numbers, ascending in position (but for the first run of a source with too many). */
  readonly pieces: number[];
  /** End of the last piece, while runs are made. */
  reached: number;
  /** Place in `pieces` of the first that is not taken. */
  next: number;
  buffer: Buffer;
  start: number;
  end: number;
}

export interface WindowDeps {
  readonly store: ObjectStore;
  readonly crc32c: Crc32c;
  readonly memoryBytes: number;
  /** Sources that are in memory as a whole, by object id. */
  readonly held: ReadonlyMap<string, Buffer>;
  /** Asked before each GET with its size. */
  readonly pace: (bytes: number) => Promise<void>;
  readonly onRead: (bytes: number) => void;
}

export class SourceWindows {
  readonly #sources: readonly CompactionSource[];
  readonly #pieces: PieceTable;
  readonly #deps: WindowDeps;
  readonly #runOf: Int32Array;
  readonly #runs: Run[] = [];
  readonly #windowBytes: number;

  constructor(sources: readonly CompactionSource[], pieces: PieceTable, deps: WindowDeps) {
    this.#sources = sources;
    this.#pieces = pieces;
    this.#deps = deps;
    this.#runOf = new Int32Array(pieces.count);
    const bySource: Run[][] = sources.map(() => []);
    for (let p = 0; p < pieces.count; p++) {
      const run = this.#runFor(bySource[pieces.source[p]!]!, p);
      this.#runOf[p] = run.number;
      run.pieces.push(p);
      run.reached = pieces.position[p]! + pieces.size[p]!;
    }
    const share = Math.floor(deps.memoryBytes / Math.max(1, this.#runs.length));
    this.#windowBytes = Math.min(windowBytesMax, Math.max(windowBytesMin, share));
  }

  /** The run whose end is nearest before the piece; a new one when it lies before all of them. */
  #runFor(runs: Run[], piece: number): Run {
    const position = this.#pieces.position[piece]!;
    let best: Run | null = null;
    for (const run of runs)
      if (run.reached <= position && (best === null || run.reached > best.reached)) best = run;
    if (best !== null) return best;
    if (runs.length === runsPerSourceMax) return runs[0]!;
    const source = this.#pieces.source[piece]!;
    const buffer = this.#deps.held.get(this.#sources[source]!.objectId) ?? Buffer.alloc(0);
    const run: Run = {
      number: this.#runs.length,
      source,
      pieces: [],
      reached: 0,
      next: 0,
      buffer,
      start: 0,
      end: buffer.length,
    };
    runs.push(run);
    this.#runs.push(run);
    return run;
  }

  /** Bytes of the next piece; pieces are taken in their order. Valid until the run's next piece is taken. */
  async take(piece: number): Promise<Buffer> {
    const run = this.#runs[this.#runOf[piece]!]!;
    const position = this.#pieces.position[piece]!;
    const size = this.#pieces.size[piece]!;
    if (position < run.start || position + size > run.end) await this.#load(run);
    run.next++;
    const at = position - run.start;
    if (this.#deps.crc32c(run.buffer, at, size) !== this.#pieces.crc[piece]) {
      const { objectId } = this.#sources[run.source]!;
      throw objectCorrupt(objectId, `CRC of the block at ${position}, ${size} bytes`);
    }
    return run.buffer.subarray(at, at + size);
  }

  /** Fetches the run's next pieces, as many as the window holds, small gaps included. */
  async #load(run: Run): Promise<void> {
    const { position, size } = this.#pieces;
    const first = run.pieces[run.next]!;
    const start = position[first]!;
    let end = start + size[first]!;
    for (let i = run.next + 1; i < run.pieces.length; i++) {
      const piece = run.pieces[i]!;
      const place = position[piece]!;
      const near = place >= end && place - end <= this.#windowBytes / 8;
      if (!near || place + size[piece]! - start > this.#windowBytes) break;
      end = place + size[piece]!;
    }
    const bytes = end - start;
    await this.#deps.pace(bytes);
    if (run.buffer.length < bytes) run.buffer = Buffer.allocUnsafeSlow(bytes);
    const { objectId } = this.#sources[run.source]!;
    const got = await this.#deps.store.getInto(objectKey(objectId), start, run.buffer.subarray(0, bytes));
    this.#deps.onRead(got);
    if (got !== bytes) throw objectCorrupt(objectId, `${got} bytes at ${start}, ${bytes} expected`);
    run.start = start;
    run.end = end;
  }
}

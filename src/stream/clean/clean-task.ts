/**
 * CONTRACT of one pass of log compaction over one stream: which objects are rewritten, up to where, by which rules. Plain
 * structured-cloneable values. Any thread.
 *
 *   log start          dirtyFrom          cleanedTo        cleanEnd            end
 *      │ cleaned before    │ keys of this pass  │ not this pass │ open or young    │
 *      ├───────────────────┴────────────────────┤───────────────┴──────────────────┤
 *      │ of each key the newest record is kept  │ batches are copied as they lie   │
 *
 * `cleanedTo` is what the pass says: where its key map was full, or `cleanEnd`. All sources are rewritten to `end`, so that
 * the new objects take the place of the old ones whole.
 */
import type { WireError } from '../../ports/errors.ts';
import type { CompactionSource, CompactionTraffic } from '../compaction/compaction-task.ts';
import type { ManifestObject } from '../manifest/manifest.ts';
import { blockBytesMax } from '../objects/object-format.ts';

/** What the work is bounded by; tests make all of it small. */
export interface CleanLimits {
  /** Of a block, unless one batch is larger. */
  readonly blockBytesMax: number;
  /** A new object ends with the block that reaches it. */
  readonly objectBytesMax: number;
  /** Size of an uploaded part; one is in memory. */
  readonly partBytes: number;
  /** Of the window that sources are read through; one block may be larger. */
  readonly windowBytes: number;
}

const MiB = 1 << 20;

export const cleanLimits: CleanLimits = {
  blockBytesMax,
  objectBytesMax: 256 * MiB,
  partBytes: 16 * MiB,
  windowBytes: 8 * MiB,
};

/** A stream's part in an object, [base, end). */
export interface CleanSource extends CompactionSource {
  readonly baseOffset: number;
  readonly endOffset: number;
}

/** A producer that may go on: the batch with its newest sequence stays, without one the marker of its epoch. */
export interface LiveProducer {
  readonly producerId: number;
  readonly epoch: number;
  /** −1 = it has written no data in its epoch. */
  readonly lastDataOffset: number;
}

export interface CleanTask {
  readonly clusterId: string;
  readonly node: number;
  readonly brokerEpoch: number;
  readonly sequence: number;
  readonly topicId: string;
  readonly partition: number;
  /** For the new objects, in order; the last one takes what is left. */
  readonly objectIds: readonly string[];
  /** Ascending and without holes from the log start on. */
  readonly sources: readonly CleanSource[];
  /** Parts behind them that may hold markers of transactions that began below. */
  readonly behind: readonly CleanSource[];
  readonly startOffset: number;
  readonly dirtyFrom: number;
  /** Not above the last stable offset. */
  readonly cleanEnd: number;
  readonly producers: readonly LiveProducer[];
  readonly nowMs: number;
  /** Records younger than this are not looked at (min.compaction.lag.ms). */
  readonly minLagMs: number;
  /** Rewrite even if no record is new: the time of something that waited has come. */
  readonly due: boolean;
  readonly deleteRetentionMs: number;
  /** Memory of the key map. */
  readonly mapBytes: number;
  readonly loadFactor: number;
  /** Of one batch; larger ones stay as they are. */
  readonly decompressedBytesMax: number;
  /** Read and written together; Infinity = no limit beside that of merging. */
  readonly bytesPerSecond: number;
  readonly limits: CleanLimits;
}

export interface CleanNumbers {
  /** Keys in the map, and whether it was full. */
  keys: number;
  full: boolean;
  recordsRead: number;
  recordsKept: number;
  /** Batches that could not be unpacked here and stay as they are. */
  batchesLeft: number;
}

export interface CleanResult {
  /** Null when the pass failed; then `error` says why, and `stored` what it has left in the store. */
  readonly objects: readonly ManifestObject[] | null;
  readonly stored: readonly string[];
  readonly cleanedTo: number;
  /** The last time from which something that is still there may go (delete horizons); −1 = nothing waits. */
  readonly horizonMs: number;
  readonly numbers: CleanNumbers;
  readonly traffic: CompactionTraffic;
  readonly error: WireError | null;
}

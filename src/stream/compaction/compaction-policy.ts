/**
 * Numbers of the compaction planner, with the arithmetic behind them. Money: a PUT-class request (copies are such) costs
 * 5 µ$, a GET 0.4 µ$; bytes between a broker and a store of its region cost nothing but the wire.
 */
import type { CopyCost } from '../../store/object-store.ts';
import { compactionLimits } from './compaction-task.ts';

export interface CompactionPolicy {
  /** As the work's limits have them (compaction-task.ts). */
  readonly copyBytesMin: number;
  readonly runBytesMin: number;
  /** Objects of one tier that are merged into one of the next: each byte is moved log₈(size) times. */
  readonly fanIn: number;
  /** Most objects merged at once where it pays to wait: small objects, and streams in short runs. */
  readonly smallFanIn: number;
  /** Ranges of objects that wait to be merged: bounds metadata (about 200 bytes a range in memory). */
  readonly waitingRangesMax: number;
  /** Runs of this length are long enough: a group with short runs is merged as soon as it makes them. */
  readonly goodRunBytes: number;
  /** From this size on a stream gets an object of its own, if its parts can be copied. */
  readonly streamObjectBytesMin: number;
  /** Average of a stream's ranges from which they are copied one by one into its own object. */
  readonly streamRunBytesMin: number;
  /** Merged objects do not grow beyond … */
  readonly objectBytesMax: number;
  /** … but for objects of many streams, which may hold so much of each … */
  readonly bytesPerStreamMax: number;
  /** … up to here. */
  readonly setBytesMax: number;
  /** An object with less that is live is rewritten without the rest. */
  readonly liveShareMin: number;
  /** Ranges that one plan looks at for that. */
  readonly liveRangesPerPlan: number;
}

const KiB = 1 << 10;
const MiB = 1 << 20;
const GiB = 2 ** 30;

export const compactionDefaults: CompactionPolicy = {
  copyBytesMin: compactionLimits.copyBytesMin,
  runBytesMin: compactionLimits.runBytesMin,
  // An upload of 500 MB is copied once into 4 GB and, where that is allowed, once into 32 GB: 8 copies and 3 further
  // requests per 4 GB = 2.75 a GB.
  fanIn: 8,
  // 64 uploads of a minute each: an hour of an idle cluster becomes one object.
  smallFanIn: 64,
  waitingRangesMax: 128 * 1024,
  goodRunBytes: 256 * KiB,
  streamObjectBytesMin: 64 * MiB,
  // 125 copies a GB at most, 0.6 m$: where a stream is so much larger than its neighbours that they are read for.
  streamRunBytesMin: 8 * MiB,
  objectBytesMax: 4 * GiB,
  // 5,000 streams: 80 GB, bounded to 32 GiB = 6 MB of each; 1 TB is then 160,000 ranges instead of 10 million.
  bytesPerStreamMax: 16 * MiB,
  setBytesMax: 32 * GiB,
  liveShareMin: 0.5,
  // Some milliseconds of main's loop each time.
  liveRangesPerPlan: 10_000,
};

/**
 * Where a copied byte is read and written by this very machine and requests cost nothing. What merging still buys is fewer
 * objects and ranges to remember, so it ends where those are few: at 16 MiB an object (half of the most that is made), or
 * half a MiB a stream. 1 TB is then 64,000 objects or 2 million ranges at most. A busy broker's uploads are larger than that
 * from the start and are never touched again; of a byte that came in a small object one copy is made for each tier below.
 */
export const compactionOfFiles: CompactionPolicy = {
  ...compactionDefaults,
  // A seek costs a disk less than a copy: shorter runs may stay.
  runBytesMin: 16 * KiB,
  objectBytesMax: 32 * MiB,
  bytesPerStreamMax: MiB,
};

export function compactionPolicyOf(copyCost: CopyCost): CompactionPolicy {
  switch (copyCost) {
    case 'free':
      return compactionDefaults;
    case 'bytes':
      return compactionOfFiles;
  }
}

/** Tier of a size: −2 and −1 below what a store can copy, then one more for each factor of `fanIn`. */
export function tierOf(size: number, policy: CompactionPolicy): number {
  const { copyBytesMin } = policy;
  if (size < copyBytesMin / policy.smallFanIn) return -2;
  if (size < copyBytesMin) return -1;
  return Math.floor(Math.log(size / copyBytesMin) / Math.log(policy.fanIn));
}

/** Whether the ranges of an object are mostly too short to be read one by one. */
export function isScattered(ranges: readonly { readonly bytes: number }[], runBytesMin: number): boolean {
  let short = 0;
  for (const { bytes } of ranges) if (bytes < runBytesMin) short++;
  return 2 * short > ranges.length;
}

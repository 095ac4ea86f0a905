/**
 * CONTRACT of one compaction: which ranges of which objects make up one new object. Plain structured-cloneable values:
 * a plan of many thousand ranges crosses to the pool as columns, not as objects. Any thread.
 *
 * Two ways to move bytes, chosen per source (merge-layout.ts) once its index is known:
 *   whole     its data is copied by the store as it lies, dead blocks along with it: one request a source
 *   regions   each run of 5 MiB and more that lies in one piece is copied by the store; the rest is read and written
 *             anew, stream after stream, so that what lay in small pieces lies in large ones
 * A source below 5 MiB is always read: no store copies less into a part that is not the last. Stores that take less than
 * S3 does have a rule of their own (PartRule).
 */
import type { ObjectRecord } from '../../metadata/metadata-store.ts';
import type { WireError } from '../../ports/errors.ts';
import type { PartRule } from '../../store/object-store.ts';

/** What the work is bounded by; tests make all of it small. */
export interface CompactionLimits {
  /** Least that the store copies into a part, and least size of every part but the last. */
  readonly copyBytesMin: number;
  readonly copyPartBytesMax: number;
  /** An uploaded object whose streams mostly lie in shorter runs is read and written anew in its first compaction. */
  readonly runBytesMin: number;
  /** The same for an object that was written anew before: only data so sparse is read a second time. */
  readonly mergedRunBytesMin: number;
  /** Size of an uploaded part; one is in memory. */
  readonly partBytes: number;
  /** Memory of all read windows. */
  readonly windowBytes: number;
}

const KiB = 1 << 10;
const MiB = 1 << 20;

export const compactionLimits: CompactionLimits = {
  copyBytesMin: 5 * MiB,
  // S3 copies up to 5 GiB in one part; smaller ones end sooner, so that a failed one costs less.
  copyPartBytesMax: 1024 * MiB,
  runBytesMin: 64 * KiB,
  mergedRunBytesMin: 8 * KiB,
  partBytes: 64 * MiB,
  windowBytes: 32 * MiB,
};

/** The limits with what the store's rule on parts makes of them. */
export interface MergeLimits extends CompactionLimits {
  /** Copied areas are whole multiples of it. */
  readonly copyStepBytes: number;
}

/**
 * Where all parts have one size, an area is copied as far as it fills such parts, and its rest is read and written with
 * what is written anyway. Where nothing is copied everything is.
 */
export function limitsUnder(rule: PartRule, limits: CompactionLimits): MergeLimits {
  const { partBytes } = limits;
  switch (rule) {
    case 'any':
      return { ...limits, copyStepBytes: 1 };
    case 'equal':
      return { ...limits, copyBytesMin: partBytes, copyPartBytesMax: partBytes, copyStepBytes: partBytes };
    case 'written':
      return { ...limits, copyBytesMin: Number.POSITIVE_INFINITY, copyStepBytes: 1 };
  }
}

/** Parts of one object (S3). */
export const partsMax = 10_000;

export interface CompactionSource {
  readonly objectId: string;
  /** As the metadata states it; saves a HEAD. */
  readonly size: number;
}

/** Ranges to take over, one row each. A stream may have several; they may leave holes between them. */
export interface SelectedRanges {
  readonly topicIds: readonly string[];
  /** Row of topicIds. */
  readonly topic: Int32Array;
  readonly partition: Int32Array;
  /** Row of the task's sources. */
  readonly source: Int32Array;
  /** As the metadata lists the range, [base, end). */
  readonly baseOffset: Float64Array;
  readonly endOffset: Float64Array;
  /** Log start: blocks that end below it are left out. */
  readonly startOffset: Float64Array;
}

export interface CompactionTask {
  readonly objectId: string;
  readonly clusterId: string;
  readonly node: number;
  readonly brokerEpoch: number;
  readonly sequence: number;
  readonly sources: readonly CompactionSource[];
  readonly ranges: SelectedRanges;
  /** `regions`: no source is copied whole, since what is dead in it must not come along. */
  readonly copy: 'auto' | 'regions';
}

/** What a compaction asked of the store. */
export interface CompactionTraffic {
  gets: number;
  /** Puts and the three steps of multipart uploads, copies apart. */
  puts: number;
  copies: number;
  bytesIn: number;
  bytesOut: number;
  /** Moved inside the store. */
  bytesCopied: number;
}

export interface CompactionResult {
  /** The new object, stored whole; null when it failed. */
  readonly record: ObjectRecord | null;
  readonly traffic: CompactionTraffic;
  readonly error: WireError | null;
}

export function noTraffic(): CompactionTraffic {
  return { gets: 0, puts: 0, copies: 0, bytesIn: 0, bytesOut: 0, bytesCopied: 0 };
}

export function addTraffic(to: CompactionTraffic, from: CompactionTraffic): void {
  to.gets += from.gets;
  to.puts += from.puts;
  to.copies += from.copies;
  to.bytesIn += from.bytesIn;
  to.bytesOut += from.bytesOut;
  to.bytesCopied += from.bytesCopied;
}

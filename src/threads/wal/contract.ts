/**
 * Between a shard and a WAL thread: two rings per (shard, volume), and MessagePort calls from main for control.
 *
 *   append ring, shard → WAL, 8 words        0..3 topic id   4 partition   5 arena position (u32)   6 length (u32)   7 unused
 *   completion ring, WAL → shard, 4 words    0,1 appends durable so far (low, high)   2,3 commit sequence (low, high);
 *                                            sequence 0 = the epoch failed, the shard's appends beyond it with it
 *
 * A slot of the append ring is consumed only once its append is durable, so the ring bounds what is in flight; when it is
 * full produce is refused with a retriable error. Completions come one a commit, in order, and are never merged.
 */

import type { WireError } from '../../ports/errors.ts';
import type { LogLevel } from '../../ports/logger.ts';
import type { ObjectWalResume, ObjectWalSettings } from '../../stream/wal/object-wal-writer.ts';
import type { RecoveredWal } from '../../stream/wal/recovery.ts';
import type { WalCut } from '../../stream/wal/wal.ts';
import { histogramBuckets } from '../../stream/wal/wal-stats.ts';
import type { ArenaHandle } from '../memory/arena.ts';
import type { DoorbellMemory } from '../memory/doorbell.ts';
import type { RingMemory } from '../memory/ring.ts';
import type { StoreBoardMemory } from '../memory/store-board.ts';

export const appendSlotWords = 8;
export const appendSlots = 1 << 16;
export const completionSlotWords = 4;
export const completionSlots = 1 << 12;

export interface WalLane {
  readonly appends: RingMemory;
  readonly completions: RingMemory;
  /** Doorbell of the shard that reads the completions. */
  readonly shardBell: DoorbellMemory;
}

/** What threads of both kinds are given. */
export interface WalThreadData {
  readonly arena: ArenaHandle;
  readonly volume: number;
  readonly native: boolean;
  readonly lanes: readonly WalLane[];
  /** Doorbell on which this WAL thread sleeps. */
  readonly bell: DoorbellMemory;
  /** See write-watch.ts; a WAL of objects never blocks and leaves it alone. */
  readonly watch: SharedArrayBuffer;
  /** walStatDoubles doubles, see walStats: written by the WAL thread, read by anyone. */
  readonly stats: SharedArrayBuffer;
  /** See batch-wish.ts. */
  readonly wish: SharedArrayBuffer;
}

/** A block WAL: wal.worker.ts, a blocking loop. */
export interface WalWorkerData extends WalThreadData {
  readonly path: string;
  /** Where recovery left the log; the writer goes on behind it under `epoch`. */
  readonly resume: Pick<RecoveredWal, 'state' | 'superblock' | 'trim' | 'next'>;
  readonly epoch: number;
  readonly lingerMs: number;
  readonly iops: number;
  readonly bandwidth: number;
  readonly extraWriteDelayMs: number;
  readonly writeTimeoutMs: number;
  /** The fence page that must lie there. */
  readonly fence: Uint8Array | null;
  readonly fenceCached: boolean;
}

/** An object WAL: object-wal.worker.ts, an event loop. */
export interface ObjectWalWorkerData extends WalThreadData {
  readonly storeUrl: string;
  readonly storeBoard: StoreBoardMemory;
  /** `wal/<log id>/`. */
  readonly entryPrefix: string;
  readonly writer: string;
  readonly resume: ObjectWalResume;
  readonly settings: ObjectWalSettings;
  readonly log: { readonly level: LogLevel; readonly format: 'text' | 'json' };
}

/** Indices of the doubles that a WAL thread keeps up to date. */
export const walStats = {
  usedBytes: 0,
  capacityBytes: 1,
  sequence: 2,
  failed: 3,
  commits: 4,
  bytes: 5,
  batches: 6,
  writtenBytes: 7,
  /** Milliseconds in commit writes. */
  commitMs: 8,
  /** Longest batch that has room in the ring as it is, and as it may become; 0 until the thread has begun. */
  batchBytesMax: 9,
  batchBytesEver: 10,
} as const;

/** Behind the named ones: commits by write time, bucket i = up to 2^i µs. */
export const walWriteBuckets = 11;
export const walStatDoubles = walWriteBuckets + histogramBuckets;

export function createWalStats(): SharedArrayBuffer {
  return new SharedArrayBuffer(walStatDoubles * Float64Array.BYTES_PER_ELEMENT);
}

/** Control calls; the thread takes them between commits and before it sleeps, so main rings the doorbell after posting. */
export type WalCall =
  | { readonly id: number; readonly method: 'status' }
  | { readonly id: number; readonly method: 'trim'; readonly cut: WalCut }
  | { readonly id: number; readonly method: 'close'; readonly clean: boolean };

/** Not the answer to a call: another broker has fenced the log. */
export const fencedId = 0;

export interface WalAnswer {
  readonly id: number;
  readonly result: unknown;
  readonly error: WireError | null;
}

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
import type { ArenaHandle } from '../memory/arena.ts';
import type { DoorbellMemory } from '../memory/doorbell.ts';
import type { RingMemory } from '../memory/ring.ts';
import type { WalCut, WalStatus } from '../../stream/wal/wal.ts';

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

export interface WalWorkerData {
  readonly arena: ArenaHandle;
  readonly volume: number;
  readonly native: boolean;
  readonly path: string;
  readonly logId: string;
  readonly lanes: readonly WalLane[];
  /** Doorbell on which this WAL thread sleeps. */
  readonly bell: DoorbellMemory;
  /** Epoch to make durable before the first commit. */
  readonly epoch: number;
  readonly clusterId: string;
  readonly nodeId: number;
  readonly freed: WalCut;
  readonly capacityBytes: number;
  readonly lingerMs: number;
  readonly iops: number;
  readonly bandwidth: number;
  readonly extraWriteDelayMs: number;
}

/** What main may call on a WAL thread. */
export interface WalWorkerApi {
  status(): WalStatus & { stats: Record<string, number> };
  trim(cut: WalCut): void;
  close(options: { clean: boolean }): void;
}

/** What main gives the pools' workers: the arena they read and write, and those that work on objects the store. */
import type { CompactionRates } from '../../stream/compaction/compaction-pace.ts';
import type { ArenaHandle } from '../memory/arena.ts';
import type { StoreBoardMemory } from '../memory/store-board.ts';

export interface PoolWorkerData {
  /** What its threads are called. */
  readonly name: string;
  readonly arena: ArenaHandle;
  readonly native: boolean;
  readonly storeUrl: string;
  readonly storeBoard: StoreBoardMemory;
  readonly stagingBytes: number;
  readonly compaction: CompactionRates;
  /** [0] not zero: compactions end with their next request. */
  readonly compactionStop: SharedArrayBuffer;
}

export interface RecordWorkerData {
  readonly name: string;
  readonly arena: ArenaHandle;
  readonly native: boolean;
}

/** What main gives the object pool's workers: the arena they read and write, and the store. */
import type { ArenaHandle } from '../memory/arena.ts';
import type { StoreBoardMemory } from '../memory/store-board.ts';

export interface PoolWorkerData {
  readonly arena: ArenaHandle;
  readonly native: boolean;
  readonly storeUrl: string;
  readonly storeBoard: StoreBoardMemory;
  readonly stagingBytes: number;
}

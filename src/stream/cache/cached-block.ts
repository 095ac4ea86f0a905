/**
 * A block of the cache and a run of blocks that come with one request. States and their changes are the cache's
 * (block-cache.ts); here is what a block remembers and whom it tells.
 */
import type { IndexEntry } from '../objects/objects.ts';
import type { BlockSlab } from './block-slabs.ts';
import type { Reader } from './fair-queue.ts';

export const blockState = { queued: 0, loading: 1, ready: 2, gone: 3 } as const;
export type BlockState = (typeof blockState)[keyof typeof blockState];

/** How a reader waits. */
export interface BlockWait {
  /** Monotonic ms. */
  readonly deadline: number;
  /** Readers are served by turns. */
  readonly reader: Reader;
  /** The caller holds other blocks, so it must not wait for memory: what it gets may be empty. */
  readonly holding?: boolean;
  /** Nobody wants the answer any more: what has not begun is left. */
  readonly gone?: () => boolean;
  /** Blocks behind the last one wanted that may come with the same request. */
  readonly ahead?: readonly IndexEntry[];
}

/** Blocks of one object on their way with one request. */
export interface BlockRun {
  readonly objectId: string;
  readonly reader: Reader;
  /** In order of position. */
  blocks: CachedBlock[];
  bytes: number;
  /** Those who wait for its first block to be loaded; empty for read-ahead. */
  readonly askers: BlockWait[];
  /** It has been held back by the budget, which counts once. */
  heldBack: boolean;
}

export class CachedBlock {
  readonly key: string;
  readonly objectId: string;
  readonly entry: IndexEntry;
  state: BlockState = blockState.queued;
  /** While queued. */
  run: BlockRun | null = null;
  slab: BlockSlab | null = null;
  position = -1;
  pins = 0;
  /** Readers that waited for it, while it was queued, before anything else. */
  firsts = 0;
  /** Loaded before anybody asked for it. */
  readonly ahead: boolean;
  /** Nobody has read it to its end. */
  unread = true;
  /** Why it is gone. */
  failure: Error | null = null;
  readonly #waiting: ((error: Error | null) => void)[] = [];

  constructor(objectId: string, entry: IndexEntry, ahead: boolean) {
    this.key = blockKey(objectId, entry);
    this.objectId = objectId;
    this.entry = entry;
    this.ahead = ahead;
  }

  whenSettled(fn: (error: Error | null) => void): void {
    this.#waiting.push(fn);
  }

  settle(error: Error | null): void {
    this.failure = error;
    for (const fn of this.#waiting.splice(0)) fn(error);
  }
}

export function blockKey(objectId: string, entry: IndexEntry): string {
  return `${objectId}@${entry.position}`;
}

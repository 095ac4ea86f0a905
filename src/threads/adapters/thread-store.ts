/**
 * The object store as one thread of a broker uses it: opened from its URL, guarded, and counted on the board that all
 * threads share. Any thread.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Random } from '../../ports/random.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { guardStore } from '../../store/guard-store.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { openStore } from '../../store/open-store.ts';
import type { StoreObserver } from '../../store/store-decorators.ts';
import { StoreStats, storeStatDoubles } from '../../store/store-stats.ts';
import { createStoreBoard, type StoreBoard, type StoreBoardMemory } from '../memory/store-board.ts';

export interface BrokerStoreParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly crc32c: Crc32c;
  readonly board: StoreBoard;
  readonly observer?: StoreObserver;
  /** What stands between the guard and the store itself. */
  readonly layer?: (store: ObjectStore) => ObjectStore;
}

export async function guardedStore(url: string, parts: BrokerStoreParts): Promise<ObjectStore> {
  const { clock, random, crc32c, board, observer, layer } = parts;
  const opened = await openStore(url, { clock, random, crc32c });
  return guardStore(layer?.(opened) ?? opened, {
    clock,
    random,
    stats: new StoreStats(board.stats()),
    pace: board.pace(),
    ...(observer === undefined ? {} : { observer }),
  });
}

/** Threads of a pool are replaced when one ends; each takes a place of its own. */
const spareSlots = 8;

export function storeBoardFor(
  config: {
    readonly threads: number;
    readonly wals: { readonly length: number };
    /** Bytes per second, all threads together. */
    readonly storeBandwidth: number;
  },
  poolThreads: number,
): StoreBoardMemory {
  return createStoreBoard(
    1 + config.threads + config.wals.length + poolThreads + spareSlots,
    storeStatDoubles,
    config.storeBandwidth,
  );
}

/** What all threads' requests came to. */
export function storeStats(board: StoreBoard): StoreStats {
  return StoreStats.sum(Array.from({ length: board.slots }, (_, slot) => new StoreStats(board.stats(slot))));
}

/**
 * The memory that the threads of one broker share: the arena, a ring each way between every shard and every volume, links between
 * shards, doorbells and numbers; and what each thread is told of it. Made once, before the threads. Main thread.
 */
import { peerSlots, peerSlotWords } from '../shard/peers/peers.ts';
import { createLinkMemory } from '../threads/link.ts';
import type { SharedArena } from '../threads/memory/arena.ts';
import { createDoorbellMemory, type DoorbellMemory } from '../threads/memory/doorbell.ts';
import { createRingMemory } from '../threads/memory/ring.ts';
import type { ShardWorkerData } from '../threads/shard/contract.ts';
import { createBatchWish } from '../threads/wal/batch-wish.ts';
import {
  appendSlots,
  appendSlotWords,
  completionSlots,
  completionSlotWords,
  createWalStats,
  type WalLane,
  type WalThreadData,
} from '../threads/wal/contract.ts';
import { createWriteWatch } from '../threads/wal/write-watch.ts';
import { createArena, seedOf, tlsListeners } from './deploy-parts.ts';
import type { DeployParts } from './deployment.ts';

/** Of one volume. */
interface VolumeMemory {
  readonly bell: DoorbellMemory;
  readonly stats: SharedArrayBuffer;
  readonly watch: SharedArrayBuffer;
  readonly wish: SharedArrayBuffer;
}

export interface ThreadMemory {
  readonly arena: SharedArena;
  readonly shardBells: readonly DoorbellMemory[];
  readonly volumes: readonly VolumeMemory[];
  /** By shard and volume. */
  readonly lanes: readonly (readonly WalLane[])[];
  readonly links: readonly ShardWorkerData['links'][];
}

export function createThreadMemory(parts: DeployParts, shards: number): ThreadMemory {
  const { config, native } = parts;
  const shardBells = Array.from({ length: shards }, () => createDoorbellMemory(native.native));
  return {
    arena: createArena(parts),
    shardBells,
    volumes: config.wals.map(() => ({
      bell: createDoorbellMemory(null),
      stats: createWalStats(),
      watch: createWriteWatch(),
      wish: createBatchWish(),
    })),
    lanes: shardBells.map((shardBell) =>
      config.wals.map(() => ({
        appends: createRingMemory(appendSlots, appendSlotWords),
        completions: createRingMemory(completionSlots, completionSlotWords),
        shardBell,
      })),
    ),
    links: linksOf(shardBells),
  };
}

export function shardData(parts: DeployParts, memory: ThreadMemory, index: number): ShardWorkerData {
  const { config, native } = parts;
  return {
    seed: seedOf(parts, index, memory.shardBells.length),
    arena: memory.arena.handle,
    native: native.native !== null,
    storeUrl: config.storeUrl,
    storeBoard: parts.storeBoard,
    alone: parts.alone,
    session: parts.session,
    addresses: parts.addresses,
    bell: memory.shardBells[index]!,
    wals: memory.volumes.map(({ bell, stats, watch, wish }, volume) => ({
      logId: parts.logIds[volume]!,
      lane: memory.lanes[index]![volume]!,
      walBell: bell,
      stats,
      watch,
      wish,
    })),
    links: memory.links[index]!,
    tls: parts.tls,
    tlsListeners: tlsListeners(config),
    log: { level: config.logLevel, format: config.logFormat },
  };
}

/** What a thread of a volume has of it, whatever its kind. */
export function volumeData({ native }: DeployParts, memory: ThreadMemory, volume: number): WalThreadData {
  const { bell, stats, watch, wish } = memory.volumes[volume]!;
  return {
    arena: memory.arena.handle,
    volume,
    native: native.native !== null,
    lanes: memory.lanes.map((byVolume) => byVolume[volume]!),
    bell,
    stats,
    watch,
    wish,
  };
}

/** A link between every two shards, seen from each. */
function linksOf(bells: readonly DoorbellMemory[]): ShardWorkerData['links'][] {
  const links: ShardWorkerData['links'][number][][] = bells.map(() => bells.map(() => null));
  for (let a = 0; a < bells.length; a++) {
    for (let b = a + 1; b < bells.length; b++) {
      const memory = createLinkMemory(peerSlots, peerSlotWords, { a: bells[a]!, b: bells[b]! });
      links[a]![b] = { memory, side: 'a' };
      links[b]![a] = { memory, side: 'b' };
    }
  }
  return links;
}

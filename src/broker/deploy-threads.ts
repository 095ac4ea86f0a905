/** Shards, WALs and the object pool in threads of their own; in the portable build the one shard stays in main. */
import type { Clock, Timer } from '../ports/clock.ts';
import { peerSlots, peerSlotWords } from '../shard/peers/peers.ts';
import type { ShardHost } from '../shard/shard-host.ts';
import type { WalControl } from '../stream/wal/wal.ts';
import type { ThreadNative } from '../threads/adapters/thread-native.ts';
import { createLinkMemory } from '../threads/link.ts';
import { attachDoorbell, createDoorbellMemory, type DoorbellMemory } from '../threads/memory/doorbell.ts';
import { createRingMemory } from '../threads/memory/ring.ts';
import { ObjectPool, RecordPool } from '../threads/pool/client.ts';
import { ShardThread, SpawnedShard } from '../threads/shard/client.ts';
import type { ShardHelpers, ShardWorkerData } from '../threads/shard/contract.ts';
import { createBatchWish } from '../threads/wal/batch-wish.ts';
import { WalThread } from '../threads/wal/client.ts';
import {
  appendSlots,
  appendSlotWords,
  completionSlots,
  completionSlotWords,
  createWalStats,
  type ObjectWalWorkerData,
  type WalLane,
  type WalThreadData,
  type WalWorkerData,
} from '../threads/wal/contract.ts';
import { createWriteWatch } from '../threads/wal/write-watch.ts';
import { isShared, volumePath } from '../volumes/shared-volume.ts';
import type { Volume } from '../volumes/volume.ts';
import type { BrokerConfig } from './broker-config.ts';
import { createArena, localDoor, objectSettings, seedOf, tlsListeners } from './deploy-parts.ts';
import { type Deployment, type DeployParts, poolThreads } from './deployment.ts';

/** Copies of small batches on their way out, per uploading thread: a part of an upload is no larger (decision 0021). */
const stagingBytesMax = 104 * 1024 * 1024;
const stagingBytesMin = 16 * 1024 * 1024;
/** A stop waits so long for its threads. */
const threadEndMs = 1_000;
/** How often main looks whether a volume answers. */
const judgeMs = 1_000;
const poolTasks = 4;
/** Requests under way for cold reads of all shards, in one thread. */
const readTasks = 32;

/** Shard threads that load their code while the metadata is read; none where main is the shard. */
export function spawnShards(config: BrokerConfig, native: ThreadNative): SpawnedShard[] {
  if (native.native === null) return [];
  return Array.from({ length: config.threads }, (_, index) => new SpawnedShard(index));
}

export async function deployThreads(parts: DeployParts): Promise<Deployment> {
  const { config, ports, native, store } = parts;
  const addon = native.native;
  const shardCount = addon === null ? 1 : config.threads;
  const arena = createArena(parts);
  const shardBells = Array.from({ length: shardCount }, () => createDoorbellMemory(addon));
  const walBells = config.wals.map(() => createDoorbellMemory(null));
  const walNumbers = config.wals.map(() => createWalStats());
  const walWatches = config.wals.map(() => createWriteWatch());
  const batchWishes = config.wals.map(() => createBatchWish());
  const lanes: WalLane[][] = shardBells.map((shardBell) =>
    config.wals.map(() => ({
      appends: createRingMemory(appendSlots, appendSlotWords),
      completions: createRingMemory(completionSlots, completionSlotWords),
      shardBell,
    })),
  );
  const links = linksOf(shardBells);
  const dataOf = (index: number): ShardWorkerData => ({
    seed: seedOf(parts, index, shardCount),
    arena: arena.handle,
    native: addon !== null,
    storeUrl: config.storeUrl,
    storeBoard: parts.storeBoard,
    alone: parts.alone,
    bell: shardBells[index]!,
    wals: config.wals.map((_wal, volume) => ({
      logId: parts.logIds[volume]!,
      lane: lanes[index]![volume]!,
      walBell: walBells[volume]!,
      stats: walNumbers[volume]!,
      watch: walWatches[volume]!,
      wish: batchWishes[volume]!,
    })),
    links: links[index]!,
    tls: parts.tls,
    tlsListeners: tlsListeners(config),
    log: { level: config.logLevel, format: config.logFormat },
  });
  const poolData = {
    arena: arena.handle,
    native: addon !== null,
    storeUrl: config.storeUrl,
    storeBoard: parts.storeBoard,
    stagingBytes: Math.max(stagingBytesMin, Math.min(stagingBytesMax, arena.buffer.length / 8)),
    compaction: config.compaction,
  };
  const pool = new ObjectPool({ ...poolData, name: 'object pool' }, poolThreads, poolTasks);
  const reads = new ObjectPool({ ...poolData, name: 'cold reads' }, 1, readTasks);
  const records = new RecordPool(
    { name: 'records', arena: arena.handle, native: addon !== null },
    Math.ceil(shardCount / 2),
  );
  const helpers: ShardHelpers = {
    readBlocks: (task) => reads.readBlocks(task),
    recordTask: (task) => records.run(task),
  };
  const threads: ShardThread[] = [];
  let local: ShardHost | null = null;
  let closeLocal = (): void => {};
  if (addon === null) {
    const { assembleShard } = await import('../threads/shard/assemble.ts');
    const { host, waiter } = assembleShard({
      data: dataOf(0),
      arena,
      native,
      ...ports,
      store,
      control: parts.control,
      helpers,
    });
    local = host;
    closeLocal = () => waiter.close();
  } else {
    for (let index = 0; index < shardCount; index++)
      threads.push(
        new ShardThread(parts.spawned[index]!, dataOf(index), parts.control, helpers, parts.onDeath),
      );
  }
  const wals: WalThread[] = [];
  const shardRingers = shardBells.map((bell) => attachDoorbell(bell, addon));
  let judging: Timer | null = null;
  /** A thread that is stuck in a write can say nothing: its epoch is ended for it. */
  const judge = (): void => {
    for (const [volume, wal] of wals.entries()) {
      const reason = wal.judge(ports.clock.monotonic());
      if (reason === null) continue;
      ports.logger.error('a volume does not answer: its epoch is ended', { volume, error: reason.message });
      for (const bell of shardRingers) bell.ring();
    }
    judging = ports.clock.after(judgeMs, judge);
  };
  const controls: WalControl[] = [];
  return {
    arena,
    shards: local === null ? threads.map((thread) => thread.door) : [localDoor(local)],
    local,
    controls,
    async startWals(volumes, epochs) {
      for (const volume of volumes) {
        const thread = new WalThread(
          walThreadData(volume, epochs[volume.index]!, parts, {
            arena: arena.handle,
            volume: volume.index,
            native: addon !== null,
            lanes: lanes.map((byVolume) => byVolume[volume.index]!),
            bell: walBells[volume.index]!,
            stats: walNumbers[volume.index]!,
            watch: walWatches[volume.index]!,
            wish: batchWishes[volume.index]!,
          }),
          attachDoorbell(walBells[volume.index]! satisfies DoorbellMemory, addon),
          parts.onDeath,
        );
        wals.push(thread);
        controls.push(thread);
      }
      judging = ports.clock.after(judgeMs, judge);
      await Promise.all(wals.map((wal) => wal.status()));
    },
    stuck: () => wals.some((wal) => wal.stuck),
    usedBytes: (volume) => wals[volume]!.usedBytes(),
    walMetrics: (volume) => wals[volume]!.metrics(),
    walWriteBuckets: (volume) => wals[volume]!.writeBuckets(),
    upload: (plan, share) => pool.upload(plan, share),
    compact: (task) => pool.compact(task),
    stopCompaction: () => pool.stopCompaction(),
    async close(clean) {
      // Sockets of a thread end with it, but this one lives on.
      await local?.drain(0);
      for (const wal of wals) {
        if (clean)
          await wal
            .close({ clean: true })
            .catch((error: Error) =>
              ports.logger.warn('a write-ahead log was not closed cleanly', { error: error.message }),
            );
        // Objects: a last sign spares the next start its wait. A thread inside a write would not answer.
        else if (wal.objects) await wal.close({ clean: false }).catch(() => {});
        void wal.terminate();
      }
      closeLocal();
      const ended = Promise.all([...threads, ...wals].map((thread) => thread.terminate())).then(() => {
        // Not before: a thread that lives on would ring a stranger's descriptor.
        for (const { eventFd } of shardBells) if (eventFd >= 0) addon!.closeFd(eventFd);
      });
      await Promise.all([pool.close(), reads.close(), records.close()]);
      await withinTime(ended, threadEndMs, ports.clock);
      judging?.cancel();
    },
  };
}

function walThreadData(
  volume: Volume,
  epoch: number,
  parts: DeployParts,
  common: WalThreadData,
): WalWorkerData | ObjectWalWorkerData {
  const { objects, config } = volume;
  if (objects !== null) {
    const { superblock, trim, next, first } = objects.claimed!;
    return {
      ...common,
      storeUrl: objects.storeUrl,
      storeBoard: parts.storeBoard,
      entryPrefix: objects.entries.prefix,
      writer: objects.entries.writer,
      resume: { superblock, trim, next, first },
      settings: objectSettings(volume),
      log: { level: parts.config.logLevel, format: parts.config.logFormat },
    };
  }
  const { state, superblock, trim, next } = volume.recovered!;
  return {
    ...common,
    path: volumePath(volume),
    resume: { state, superblock, trim, next },
    epoch,
    lingerMs: config.lingerMs,
    iops: config.iops,
    bandwidth: config.bandwidth,
    extraWriteDelayMs: config.extraWriteDelayMs,
    writeTimeoutMs: config.writeTimeoutMs,
    fence: volume.fence,
    fenceCached: !isShared(volume),
  };
}

/** Waits for it, at most so long: a thread inside a write cannot be ended. */
async function withinTime(done: Promise<void>, ms: number, clock: Clock): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = clock.after(ms, resolve);
    void done.then(() => {
      timer.cancel();
      resolve();
    });
  });
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

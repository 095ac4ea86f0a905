/**
 * How the parts of one broker are spread over threads. The parts are the same each time:
 *
 *   threaded   main │ shard × N │ WAL × V (blocking) │ object pool       native addon, threads ≥ 1
 *   portable   main + shard     │ WAL × V (blocking) │ object pool       no addon: a descriptor cannot change hands
 *   inline     everything in the caller's thread                         threads = 0
 */

import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { ControlPlane } from '../requests/control-plane.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { UploadPlan, UploadResult } from '../stream/objects/objects.ts';
import { runCompaction } from '../stream/compaction/compact-objects.ts';
import { CompactionPace } from '../stream/compaction/compaction-pace.ts';
import {
  type CompactionResult,
  type CompactionTask,
  compactionLimits,
} from '../stream/compaction/compaction-task.ts';
import { runUpload } from '../stream/upload/object-pool.ts';
import { StagingPool } from '../stream/upload/staging-pool.ts';
import { DelayedWalDevice } from '../stream/wal/delayed-wal-device.ts';
import { InlineWal } from '../stream/wal/inline-wal.ts';
import { MemoryWal } from '../stream/wal/memory-wal.ts';
import type { ObjectWalSettings } from '../stream/wal/object-wal-writer.ts';
import type { Wal, WalControl } from '../stream/wal/wal.ts';
import { histogramBuckets } from '../stream/wal/wal-stats.ts';
import { createLinkMemory } from '../threads/link.ts';
import { SharedArena } from '../threads/memory/arena.ts';
import { attachDoorbell, createDoorbellMemory, type DoorbellMemory } from '../threads/memory/doorbell.ts';
import { createRingMemory } from '../threads/memory/ring.ts';
import type { StoreBoard, StoreBoardMemory } from '../threads/memory/store-board.ts';
import { ObjectPool } from '../threads/pool/client.ts';
import { assembleShard } from '../threads/shard/assemble.ts';
import { ShardThread } from '../threads/shard/client.ts';
import type { ShardWorkerData } from '../threads/shard/contract.ts';
import { peerSlots, peerSlotWords } from '../threads/shard/peers.ts';
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
import type { BrokerPorts } from './broker.ts';
import type { BrokerConfig } from './broker-config.ts';
import { composeShard, type ShardSeed } from './compose-shard.ts';
import type { ShardDoor } from './recovery.ts';
import type { ShardApi } from './shard-api.ts';
import { ShardHost, type TlsMaterial } from './shard-host.ts';
import { volumePath } from './shared-volume.ts';
import type { ThreadNative } from './thread-native.ts';
import type { Volume } from './volume.ts';
import type { VolumeFiles } from './volume-files.ts';

export interface DeployParts {
  readonly config: BrokerConfig;
  readonly ports: BrokerPorts;
  readonly native: ThreadNative;
  readonly store: ObjectStore;
  /** Main's place on the board, and the board for the other threads. */
  readonly board: StoreBoard;
  readonly storeBoard: StoreBoardMemory;
  readonly image: Buffer;
  readonly clusterId: string;
  readonly endpoints: ShardSeed['settings']['endpoints'];
  readonly tls: TlsMaterial | null;
  readonly control: ControlPlane;
  readonly logIds: readonly string[];
  /** Where inline WALs lie. */
  readonly files: VolumeFiles;
  readonly onDeath: (error: Error) => void;
}

export interface Deployment {
  readonly arena: SharedArena;
  readonly shards: readonly ShardDoor[];
  /** The shard in this thread, where there is one (portable and inline). */
  readonly local: ShardHost | null;
  /** One per volume, once startWals has resolved. */
  readonly controls: WalControl[];
  /** Recovery is over: the WALs go on behind what was recovered, each under its new epoch. */
  startWals(volumes: readonly Volume[], epochs: readonly number[]): Promise<void>;
  usedBytes(volume: number): number;
  walMetrics(volume: number): Readonly<Record<string, number>>;
  /** Commits by write time, powers of two of microseconds. */
  walWriteBuckets(volume: number): Float64Array;
  /** `share` = the object's part of the upload rate. */
  upload(plan: UploadPlan, share: number): Promise<UploadResult>;
  /** Makes one object of others; never rejects but for the pool's own end. */
  compact(task: CompactionTask): Promise<CompactionResult>;
  /** Compactions under way end with their next request, and none begins any more. */
  stopCompaction(): void;
  close(clean: boolean): Promise<void>;
}

/** Copies of small batches on their way out, per uploading thread. */
const stagingBytes = 64 * 1024 * 1024;
/** A stop waits so long for its threads. */
const threadEndMs = 1_000;
export const poolThreads = 2;
const poolTasks = 4;
/** Requests under way for cold reads of all shards, in one thread. */
const readTasks = 32;

function seedOf(parts: DeployParts, index: number, shards: number): ShardSeed {
  const { config } = parts;
  return {
    settings: {
      index,
      shards,
      nodeId: config.nodeId,
      clusterId: parts.clusterId,
      rack: config.rack,
      journalCapacity: config.journalEntries,
      batchBytesMax: batchBytesMax(config),
      logCacheBytes: config.logCacheBytes / shards,
      ringBytes: ringBytes(config) / shards,
      receiveBytes: config.receiveBytes / shards,
      fetchBytesMax: config.fetchBytesMax,
      sessionSlots: Math.max(1, Math.ceil(config.fetchSessionSlots / shards)),
      producerExpirationMs: config.producerExpirationMs,
      connection: config.connection,
      connectionsMax: Math.ceil(config.connectionsMax / shards),
      group: config.group,
      endpoints: parts.endpoints,
    },
    handlers: {
      autoCreateTopics: config.autoCreateTopics,
      defaultPartitions: config.defaultPartitions,
      deleteTopics: config.deleteTopics,
      storeUrl: config.storeUrl,
    },
    image: parts.image,
    blockCacheBytes: Math.floor(config.blockCacheBytes / shards),
    coldReads: {
      requestsPerSecond: config.coldReads.requestsPerSecond / shards,
      bytesPerSecond: config.coldReads.bytesPerSecond / shards,
    },
    staticConfigs: config.staticConfigs,
  };
}

/**
 * Headers and page padding take room beside the batches: a tenth covers batches of 4 KiB and more. Where tiny commits
 * need more, the ring's own fullness slows and refuses producers (AppendJournal).
 */
function ringBytes(config: BrokerConfig): number {
  return Math.floor(0.9 * Math.min(...config.wals.map((wal) => wal.capacityBytes)));
}

/** A batch may take half a ring less its headers, and a quarter of the log cache so that uploads can keep up. */
function batchBytesMax(config: BrokerConfig): number {
  const ring = Math.min(...config.wals.map((wal) => wal.capacityBytes));
  return Math.max(
    64 * 1024,
    Math.min(Math.floor(ring / 2) - 64 * 1024, Math.floor(config.logCacheBytes / 4)),
  );
}

function createArena(parts: DeployParts): SharedArena {
  return SharedArena.create({ ...parts.config.arena, native: parts.native.native });
}

/** A shard in this thread behind the same asynchronous door as one in another. */
function localDoor(host: ShardApi): ShardDoor {
  return new Proxy({} as ShardDoor, {
    get: (_target, method) =>
      method === 'then'
        ? undefined
        : async (...args: unknown[]) =>
            (host as unknown as Record<string, (...a: unknown[]) => unknown>)[String(method)]!(...args),
  });
}

/** Refuses what no deployment can do, before anything is opened. */
export function checkDeployment(config: BrokerConfig): void {
  if (config.threads > 0 && config.wals.some((wal) => wal.location === 'memory:')) {
    throw new MillraceError(
      'invalid',
      'WAL_MEMORY_THREADS',
      'a memory WAL runs inline only: set threads to 0, or give --wal a path',
    );
  }
}

export function deploy(parts: DeployParts): Promise<Deployment> {
  return parts.config.threads === 0 ? deployInline(parts) : deployThreads(parts);
}

async function deployInline(parts: DeployParts): Promise<Deployment> {
  const { config, ports, native, store } = parts;
  const { clock } = ports;
  const arena = createArena(parts);
  const lazies = config.wals.map((_wal, volume) => new LateWal(volume, parts.logIds[volume]!, parts.onDeath));
  const shard = composeShard(seedOf(parts, 0, 1), {
    arena,
    wals: lazies,
    ...ports,
    native,
    store,
    control: parts.control,
    peers: null,
  });
  const host = new ShardHost(shard, parts.tls, tlsListeners(config), ports.logger);
  const controls: WalControl[] = [];
  let compacting = true;
  const compactionPace = new CompactionPace(clock, config.compaction, () => !compacting);
  const usage: (() => { usedBytes: number; capacityBytes: number; commits: number; failed: number })[] = [];
  const deps = {
    crc32c: native.crc32c,
    staging: new StagingPool({ bytesMax: 8 << 20 }),
    clock,
    flow: parts.board,
    ...(ports.storage?.upload === undefined ? {} : { settings: ports.storage.upload }),
  };
  return {
    arena,
    shards: [localDoor(host)],
    local: host,
    controls,
    async startWals(volumes, epochs) {
      for (const volume of volumes) {
        const wal = await inlineWal(volume, epochs[volume.index]!, parts, arena);
        lazies[volume.index]!.begin(wal);
        controls.push(wal);
        usage.push(
          wal instanceof InlineWal
            ? () => {
                const { usedBytes, capacityBytes, failed } = wal.writer.status;
                const { commits } = wal.writer.stats;
                return { usedBytes, capacityBytes, commits, failed: failed === null ? 0 : 1 };
              }
            : () => ({
                usedBytes: wal.usedBytes,
                capacityBytes: volume.config.capacityBytes,
                commits: 0,
                failed: 0,
              }),
        );
      }
    },
    usedBytes: (volume) => usage[volume]!().usedBytes,
    walMetrics: (volume) => usage[volume]!(),
    walWriteBuckets: (volume) => {
      const wal = controls[volume]!;
      return wal instanceof InlineWal ? wal.writer.stats.writeMicros : new Float64Array(histogramBuckets);
    },
    upload: (plan, share) => runUpload(plan, arena, store, deps, share),
    compact: (task) =>
      runCompaction(task, {
        store,
        crc32c: native.crc32c,
        pace: compactionPace.wait,
        limits: ports.storage?.compaction?.limits ?? compactionLimits,
      }),
    stopCompaction: () => {
      compacting = false;
    },
    async close(clean) {
      // A volume may be stuck: clients are told that it is over all the same.
      const closing = controls.map((control) => control.close({ clean }).catch(() => {}));
      await shard.drain(0);
      await Promise.all(closing);
      void clock;
    },
  };
}

async function inlineWal(
  volume: Volume,
  epoch: number,
  parts: DeployParts,
  arena: SharedArena,
): Promise<InlineWal | MemoryWal> {
  const { clock } = parts.ports;
  if (volume.kind === 'memory')
    return new MemoryWal({
      clock,
      logId: volume.logId,
      volume: volume.index,
      capacityBytes: volume.config.capacityBytes,
    });
  if (volume.objects !== null) {
    return InlineWal.overObjects(
      {
        entries: volume.objects.entries,
        clock,
        logger: parts.ports.logger,
        arena,
        crc32c: parts.native.crc32c,
        volume: volume.index,
        settings: objectSettings(volume),
      },
      volume.objects.claimed!,
    );
  }
  const opened = await parts.files.openAsync(volumePath(volume));
  const file = parts.ports.storage?.walDevice?.(opened) ?? opened;
  const { extraWriteDelayMs, lingerMs, iops, bandwidth } = volume.config;
  const growth = parts.ports.storage?.walGrowth;
  const device =
    extraWriteDelayMs > 0
      ? new DelayedWalDevice(file, (then) => void clock.after(extraWriteDelayMs, then))
      : file;
  return InlineWal.resume(
    {
      device,
      clock,
      arena,
      crc32c: parts.native.crc32c,
      volume: volume.index,
      settings: {
        lingerMs,
        iops,
        bandwidth,
        ...(growth === undefined ? {} : { growChunkBytes: growth.chunk, growSliceBytes: growth.slice }),
      },
      fence: volume.fence ?? undefined,
    },
    volume.recovered!,
    epoch,
  );
}

function objectSettings(volume: Volume): ObjectWalSettings {
  const { objects, iops, bandwidth } = volume.config;
  return { ...objects, iops, bandwidth };
}

/** Stands in for an inline WAL until recovery is over; nothing is appended before that. */
class LateWal implements Wal {
  readonly volume: number;
  readonly logId: string;
  private wal: Wal | null = null;
  private durable: Wal['onDurable'] = () => {};
  private failed: Wal['onFailed'] = () => {};
  private readonly onFenced: (error: Error) => void;

  /** @param onFenced another broker has taken the log: this one is over. */
  constructor(volume: number, logId: string, onFenced: (error: Error) => void) {
    this.volume = volume;
    this.logId = logId;
    this.onFenced = onFenced;
  }

  begin(wal: Wal): void {
    this.wal = wal;
    wal.onDurable = this.durable;
    wal.onFailed = (error) => {
      this.failed(error);
      if (error instanceof MillraceError && error.kind === 'fenced') this.onFenced(error);
    };
  }

  set onDurable(fn: Wal['onDurable']) {
    this.durable = fn;
  }

  get onDurable(): Wal['onDurable'] {
    return this.durable;
  }

  set onFailed(fn: Wal['onFailed']) {
    this.failed = fn;
  }

  get onFailed(): Wal['onFailed'] {
    return this.failed;
  }

  tryAppend(...append: Parameters<Wal['tryAppend']>): number {
    return this.wal === null ? 0 : this.wal.tryAppend(...append);
  }

  fullness(): number {
    return this.wal?.fullness?.() ?? 0;
  }

  flush(): void {
    this.wal?.flush();
  }
}

function tlsListeners(config: BrokerConfig): string[] {
  return config.listeners.filter((listener) => listener.tls).map((listener) => listener.name);
}

async function deployThreads(parts: DeployParts): Promise<Deployment> {
  const { config, ports, native, store } = parts;
  const addon = native.native;
  const shardCount = addon === null ? 1 : config.threads;
  const arena = createArena(parts);
  const shardBells = Array.from({ length: shardCount }, () => createDoorbellMemory(addon));
  const walBells = config.wals.map(() => createDoorbellMemory(null));
  const walNumbers = config.wals.map(() => createWalStats());
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
    bell: shardBells[index]!,
    wals: config.wals.map((_wal, volume) => ({
      logId: parts.logIds[volume]!,
      lane: lanes[index]![volume]!,
      walBell: walBells[volume]!,
      stats: walNumbers[volume]!,
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
    stagingBytes,
    compaction: config.compaction,
  };
  const pool = new ObjectPool(poolData, poolThreads, poolTasks);
  const reads = new ObjectPool(poolData, 1, readTasks);
  const threads: ShardThread[] = [];
  let local: ShardHost | null = null;
  let closeLocal = (): void => {};
  if (addon === null) {
    const { host, waiter } = assembleShard({
      data: dataOf(0),
      arena,
      native,
      ...ports,
      store,
      control: parts.control,
      readBlocks: (task) => reads.readBlocks(task),
    });
    local = host;
    closeLocal = () => waiter.close();
  } else {
    for (let index = 0; index < shardCount; index++)
      threads.push(new ShardThread(dataOf(index), parts.control, reads, parts.onDeath));
  }
  const wals: WalThread[] = [];
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
          }),
          attachDoorbell(walBells[volume.index]! satisfies DoorbellMemory, addon),
          parts.onDeath,
        );
        wals.push(thread);
        controls.push(thread);
      }
      await Promise.all(wals.map((wal) => wal.status()));
    },
    usedBytes: (volume) => wals[volume]!.usedBytes(),
    walMetrics: (volume) => wals[volume]!.metrics(),
    walWriteBuckets: (volume) => wals[volume]!.writeBuckets(),
    upload: (plan, share) => pool.upload(plan, share),
    compact: (task) => pool.compact(task),
    stopCompaction: () => pool.stopCompaction(),
    async close(clean) {
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
      await Promise.all([pool.close(), reads.close()]);
      await withinTime(ended, threadEndMs, ports.clock);
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
    fence: volume.fence,
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

/** Shards, WALs and the object pool in threads of their own; in the portable build the one shard stays in main. */
import type { Clock } from '../ports/clock.ts';
import { codecId } from '../protocol/compression/codec.ts';
import { createCodecs } from '../protocol/compression/codecs.ts';
import type { ThreadNative } from '../threads/adapters/thread-native.ts';
import { ObjectPool, RecordPool } from '../threads/pool/client.ts';
import { ShardThread, SpawnedShard } from '../threads/shard/client.ts';
import type { ShardHelpers } from '../threads/shard/contract.ts';
import type { BrokerConfig } from './broker-config.ts';
import { localDoor } from './deploy-parts.ts';
import { type Deployment, type DeployParts, poolThreads } from './deployment.ts';
import { createThreadMemory, shardData, type ThreadMemory } from './thread-memory.ts';
import { WalThreads } from './wal-threads.ts';

/** Copies of small batches on their way out, per uploading thread: a part of an upload is no larger (decision 0021). */
const stagingBytesMax = 104 * 1024 * 1024;
const stagingBytesMin = 16 * 1024 * 1024;
/** A stop waits so long for its threads. */
const threadEndMs = 1_000;
const poolTasks = 4;
/** Requests under way for cold reads of all shards, in one thread. */
const readTasks = 32;

/**
 * Snappy's library crashes the process when the last thread that has it ends: once main has it, too, none of the others is
 * the last. Threads load it when a client first uses it, long after.
 */
function holdSnappy(): void {
  createCodecs().unavailable(codecId.snappy);
}

/** Shard threads that load their code while the metadata is read; none where main is the shard. */
export function spawnShards(config: BrokerConfig, native: ThreadNative): SpawnedShard[] {
  if (native.native === null) return [];
  return Array.from({ length: config.threads }, (_, index) => new SpawnedShard(index));
}

/** Threads that do what would hold others' loops. */
function helperPools(parts: DeployParts, { arena, shardBells }: ThreadMemory) {
  const { config, native, storeBoard } = parts;
  const common = { arena: arena.handle, native: native.native !== null };
  const objects = {
    ...common,
    storeUrl: config.storeUrl,
    storeBoard,
    stagingBytes: Math.max(stagingBytesMin, Math.min(stagingBytesMax, arena.buffer.length / 8)),
    compaction: config.compaction,
  };
  return {
    pool: new ObjectPool({ ...objects, name: 'object pool' }, poolThreads, poolTasks),
    reads: new ObjectPool({ ...objects, name: 'cold reads' }, 1, readTasks),
    records: new RecordPool({ ...common, name: 'records' }, Math.ceil(shardBells.length / 2)),
  };
}

/** The portable build's one shard, in this thread. */
async function localShard(parts: DeployParts, memory: ThreadMemory, helpers: ShardHelpers) {
  const { assembleShard } = await import('../threads/shard/assemble.ts');
  const { ports, native, store, control } = parts;
  const data = shardData(parts, memory, 0);
  return assembleShard({ data, arena: memory.arena, native, ...ports, store, control, helpers });
}

export async function deployThreads(parts: DeployParts): Promise<Deployment> {
  const { config, ports, native, control, onDeath } = parts;
  const addon = native.native;
  holdSnappy();
  const memory = createThreadMemory(parts, addon === null ? 1 : config.threads);
  const { arena, shardBells } = memory;
  const { pool, reads, records } = helperPools(parts, memory);
  const helpers: ShardHelpers = {
    readBlocks: (task) => reads.readBlocks(task),
    recordTask: (task) => records.run(task),
  };
  const local = addon === null ? await localShard(parts, memory, helpers) : null;
  const threads = parts.spawned.map(
    (spawned, index) => new ShardThread(spawned, shardData(parts, memory, index), control, helpers, onDeath),
  );
  const wals = new WalThreads(parts, memory);
  return {
    arena,
    shards: local === null ? threads.map((thread) => thread.door) : [localDoor(local.host)],
    local: local?.host ?? null,
    controls: wals.threads,
    startWals: (volumes, epochs) => wals.start(volumes, epochs),
    stuck: () => wals.threads.some((wal) => wal.stuck),
    usedBytes: (volume) => wals.threads[volume]!.usedBytes(),
    walMetrics: (volume) => wals.threads[volume]!.metrics(),
    walWriteBuckets: (volume) => wals.threads[volume]!.writeBuckets(),
    upload: (plan, share) => pool.upload(plan, share),
    compact: (task) => pool.compact(task),
    clean: (task) => pool.clean(task),
    stopCompaction: () => pool.stopCompaction(),
    async close(clean) {
      // Sockets of a thread end with it, but this one lives on.
      await local?.host.drain(0);
      await wals.close(clean);
      local?.waiter.close();
      const all = [...threads, ...wals.threads];
      const ended = Promise.all(all.map((thread) => thread.terminate())).then(() => {
        // Not before: a thread that lives on would ring a stranger's descriptor.
        for (const { eventFd } of shardBells) if (eventFd >= 0) addon!.closeFd(eventFd);
      });
      await Promise.all([pool.close(), reads.close(), records.close()]);
      await withinTime(ended, threadEndMs, ports.clock);
      wals.ended();
    },
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

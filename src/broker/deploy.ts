/**
 * How the parts of one broker are spread over threads. The parts are the same each time:
 *
 *   threaded   main │ shard × N │ WAL × V (blocking) │ object pool       native addon, threads ≥ 1
 *   portable   main + shard     │ WAL × V (blocking) │ object pool       no addon: a descriptor cannot change hands
 *   inline     everything in the caller's thread                         threads = 0
 */

import { MillraceError } from '../ports/errors.ts';
import type { ControlPlane } from '../requests/control-plane.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { CompactionResult, CompactionTask } from '../stream/compaction/compaction-task.ts';
import type { UploadPlan, UploadResult } from '../stream/objects/objects.ts';
import type { WalControl } from '../stream/wal/wal.ts';
import type { SharedArena } from '../threads/memory/arena.ts';
import type { StoreBoard, StoreBoardMemory } from '../threads/memory/store-board.ts';
import type { SpawnedShard } from '../threads/shard/client.ts';
import type { AloneMemory } from './alone-watch.ts';
import type { BrokerPorts } from './broker.ts';
import type { BrokerConfig } from './broker-config.ts';
import type { ShardSeed } from './compose-shard.ts';
import type { ShardDoor } from './recovery.ts';
import type { ShardHost, TlsMaterial } from './shard-host.ts';
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
  readonly alone: AloneMemory;
  readonly image: Buffer;
  readonly clusterId: string;
  readonly endpoints: ShardSeed['settings']['endpoints'];
  readonly tls: TlsMaterial | null;
  readonly control: ControlPlane;
  readonly logIds: readonly string[];
  /** Of `spawn`. */
  readonly spawned: readonly SpawnedShard[];
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
  /** A WAL thread is inside a write that does not return: it cannot be ended, and its volume may still change. */
  stuck(): boolean;
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

export const poolThreads = 2;

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

/** Begins what takes long and needs nothing of the store: threads that load their code. `deploy` takes them over. */
export async function spawn(config: BrokerConfig, native: ThreadNative): Promise<SpawnedShard[]> {
  return config.threads === 0 ? [] : (await import('./deploy-threads.ts')).spawnShards(config, native);
}

/** Loads what this deployment needs and no more: the main thread of a threaded broker runs no shard. */
export async function deploy(parts: DeployParts): Promise<Deployment> {
  if (parts.config.threads === 0) return (await import('./deploy-inline.ts')).deployInline(parts);
  return (await import('./deploy-threads.ts')).deployThreads(parts);
}

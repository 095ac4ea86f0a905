/** What every deployment is made of, and what the broker may ask of one. */
import type { TlsMaterial } from '../net/tls-handshake.ts';
import type { ControlPlane } from '../requests/support/control-plane.ts';
import type { AloneMemory } from '../shard/alone-watch.ts';
import type { ShardSeed } from '../shard/compose-shard.ts';
import type { ShardDoor } from '../shard/shard-api.ts';
import type { ShardHost } from '../shard/shard-host.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { CleanResult, CleanTask } from '../stream/clean/clean-task.ts';
import type { CompactionResult, CompactionTask } from '../stream/compaction/compaction-task.ts';
import type { UploadPlan, UploadResult } from '../stream/objects/objects.ts';
import type { WalControl } from '../stream/wal/wal.ts';
import type { ThreadNative } from '../threads/adapters/thread-native.ts';
import type { SharedArena } from '../threads/memory/arena.ts';
import type { StoreBoard, StoreBoardMemory } from '../threads/memory/store-board.ts';
import type { SpawnedShard } from '../threads/shard/client.ts';
import type { Volume } from '../volumes/volume.ts';
import type { VolumeFiles } from '../volumes/volume-files.ts';
import type { BrokerConfig } from './broker-config.ts';
import type { BrokerPorts } from './broker-ports.ts';

export interface DeployParts {
  readonly config: BrokerConfig;
  readonly ports: BrokerPorts;
  readonly native: ThreadNative;
  readonly store: ObjectStore;
  /** Main's place on the board, and the board for the other threads. */
  readonly board: StoreBoard;
  readonly storeBoard: StoreBoardMemory;
  readonly alone: AloneMemory;
  /** The word of SessionWatch; null outside a cluster. */
  readonly session: SharedArrayBuffer | null;
  /** Connections by client address (AddressLimits); null where they are not limited. */
  readonly addresses: SharedArrayBuffer | null;
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

/** What the writer of one volume counts. */
export interface WalNumbers {
  readonly usedBytes: number;
  /** 0 until its thread has begun. */
  readonly capacityBytes: number;
  /** 1 once its epoch has ended. */
  readonly failed: number;
  readonly commits: number;
  readonly batches: number;
  readonly bytes: number;
  /** Milliseconds in commit writes. */
  readonly commitMs: number;
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
  walMetrics(volume: number): WalNumbers;
  /** Commits by write time, powers of two of microseconds. */
  walWriteBuckets(volume: number): Float64Array;
  /** `share` = the object's part of the upload rate. */
  upload(plan: UploadPlan, share: number): Promise<UploadResult>;
  /** Makes one object of others; never rejects but for the pool's own end. */
  compact(task: CompactionTask): Promise<CompactionResult>;
  /** Makes one pass of log compaction; never rejects but for the pool's own end. */
  clean(task: CleanTask): Promise<CleanResult>;
  /** Compactions of either kind under way end with their next request, and none begins any more. */
  stopCompaction(): void;
  close(clean: boolean): Promise<void>;
}

export const poolThreads = 2;

/** What main gives a shard thread at its start; calls go over its MessagePort (rpc.ts): ShardApi in, ControlPlane out. */
import type { TlsMaterial } from '../../net/tls-handshake.ts';
import type { RecordTask, RecordTaskResult } from '../../protocol/records/record-tasks.ts';
import type { ShardSeed } from '../../shard/compose-shard.ts';
import type { BlocksRead, ReadBlocksTask } from '../../stream/upload/object-pool.ts';
import type { LinkMemory } from '../link.ts';
import type { ArenaHandle } from '../memory/arena.ts';
import type { DoorbellMemory } from '../memory/doorbell.ts';
import type { StoreBoardMemory } from '../memory/store-board.ts';
import type { WalLane } from '../wal/contract.ts';

/** What a shard has other threads do for it. */
export interface ShardHelpers {
  readBlocks(task: ReadBlocksTask): Promise<BlocksRead>;
  recordTask(task: RecordTask): Promise<RecordTaskResult>;
}

export interface ShardWorkerData {
  readonly seed: ShardSeed;
  readonly arena: ArenaHandle;
  readonly native: boolean;
  readonly storeUrl: string;
  readonly storeBoard: StoreBoardMemory;
  /** Until when this broker may acknowledge without its metadata (AloneWatch). */
  readonly alone: SharedArrayBuffer | null;
  /** Until when nobody else can have this broker's partitions (SessionWatch). */
  readonly session: SharedArrayBuffer | null;
  /** Connections by client address (AddressCounts); null where they are not limited. */
  readonly addresses: SharedArrayBuffer | null;
  /** Doorbell this shard sleeps on. */
  readonly bell: DoorbellMemory;
  readonly wals: readonly {
    readonly logId: string;
    readonly lane: WalLane;
    readonly walBell: DoorbellMemory;
    /** The volume's numbers (createWalStats), kept by its thread. */
    readonly stats: SharedArrayBuffer;
    /** The write that its thread is inside (createWriteWatch). */
    readonly watch: SharedArrayBuffer;
    /** The longest batch that its ring is too short for (createBatchWish). */
    readonly wish: SharedArrayBuffer;
  }[];
  /** Links to the other shards, by shard index; null at its own. */
  readonly links: readonly ({ readonly memory: LinkMemory; readonly side: 'a' | 'b' } | null)[];
  readonly tls: TlsMaterial | null;
  readonly tlsListeners: readonly string[];
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly format: 'text' | 'json' };
}

/** What a broker tells of all its threads, for the metrics page. */
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { ShardNumbers } from '../shard/shard-api.ts';
import type { StoreStats } from '../store/store-stats.ts';
import type { CompactionNumbers } from '../upkeep/compaction.ts';
import type { CleanerNumbers } from '../upkeep/log-cleaner.ts';
import type { OrphanSweep } from '../upkeep/orphan-sweep.ts';
import type { HousekeepingNumbers } from './background.ts';
import type { ClusterNumbers } from './cluster-role.ts';
import type { WalNumbers } from './deployment.ts';

export type { ShardNumbers } from '../shard/shard-api.ts';

export interface BrokerNumbers {
  readonly shards: readonly ShardNumbers[];
  readonly wals: readonly WalNumbers[];
  readonly snapshots: readonly MetricsSnapshot[];
  readonly walWriteBuckets: readonly Float64Array[];
  readonly uploads: {
    readonly uploads: number;
    readonly uploadedBytes: number;
    readonly uploadedObjects: number;
    readonly failures: number;
  };
  /** Null where it is switched off. */
  readonly compaction: CompactionNumbers | null;
  readonly cleaner: CleanerNumbers | null;
  readonly orphans: OrphanSweep;
  readonly housekeeping: HousekeepingNumbers;
  readonly arena: { readonly bytes: number; readonly freeBytes: number };
  /** Null where the broker has its store to itself. */
  readonly cluster: ClusterNumbers | null;
  readonly store: {
    readonly stats: StoreStats;
    readonly available: boolean;
    readonly uploadRate: number;
    /** Of the objects of records that the metadata name. */
    readonly storedBytes: number;
    /** Whether somebody sends a bill for it. */
    readonly billed: boolean;
  };
}

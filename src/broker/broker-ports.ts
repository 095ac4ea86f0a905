/** What a broker is given besides its configuration: clock, randomness, log, and what stands between it and its storage. */
import type { EmbeddedMetadataOptions } from '../metadata/embedded-metadata-store.ts';
import type { Authority } from '../metadata/metadata-claim.ts';
import type { Dial } from '../net/outgoing-socket.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { ScalingHook } from '../ports/scaling-hook.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { CleanLimits } from '../stream/clean/clean-task.ts';
import type { CompactionPolicy } from '../stream/compaction/compaction-policy.ts';
import type { CompactionLimits } from '../stream/compaction/compaction-task.ts';
import type { PlanLimits } from '../stream/upload/plan-objects.ts';
import type { UploadSettings } from '../stream/upload/upload-object.ts';
import type { WalDevice } from '../stream/wal/wal-device.ts';
import type { VolumeFiles } from '../volumes/volume-files.ts';
import type { BrokerListeners } from './listeners.ts';

export interface BrokerPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** CPU time that this broker has had, microseconds; absent: the process's. */
  readonly cpuMicros?: () => number;
  /** What stands between a broker and its storage: faults, measurements. WAL devices of inline deployments only. */
  readonly storage?: StorageLayers;
  /** Instead of the store's own journal: where the brokers of a cluster come together. */
  readonly cluster?: (options: EmbeddedMetadataOptions) => Promise<Authority>;
  /** Instead of the one that the settings name. */
  readonly scalingHook?: ScalingHook;
  /** Instead of sockets; inline deployments only. */
  readonly listeners?: BrokerListeners;
  /** Instead of sockets to other brokers; inline deployments only. */
  readonly dial?: Dial;
}

export interface StorageLayers {
  store?(store: ObjectStore): ObjectStore;
  walDevice?(device: WalDevice): WalDevice;
  /** Instead of the system's files, and of its name. */
  readonly volumeFiles?: VolumeFiles;
  readonly host?: string;
  /** How the WALs of a small volume begin and grow, in bytes. */
  readonly walGrowth?: { readonly initial: number; readonly chunk: number; readonly slice: number };
  /** Journal entries after which the metadata take a snapshot. */
  readonly snapshotEntries?: number;
  /** Sizes of puts and parts, and from which size on a stream has an object of its own. */
  readonly upload?: UploadSettings;
  readonly planLimits?: PlanLimits;
  /** When objects are compacted, and the sizes that the work goes by. */
  readonly compaction?: { readonly policy: CompactionPolicy; readonly limits: CompactionLimits };
  /** Sizes that log compaction goes by. */
  readonly clean?: CleanLimits;
}

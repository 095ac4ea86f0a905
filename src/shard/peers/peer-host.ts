/** What the doors to other shards need of their own shard; Shard fits. */
import type { LogManager } from '../../log/log-manager.ts';
import type { LogSettings } from '../../log/log-settings.ts';
import type { PartitionLog } from '../../log/partition-log.ts';
import type { ClusterImage, TopicImage } from '../../metadata/metadata-store.ts';
import type { Slab } from '../../net/slab.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Dispatcher } from '../../requests/dispatcher.ts';
import type { ShardServicesTable } from '../../requests/routing.ts';

export interface PeerHost {
  readonly clock: Pick<Clock, 'monotonic' | 'soon'>;
  readonly image: ClusterImage;
  logSettings(topic: TopicImage): LogSettings;
  /** Tells of an append that failed in a way no rule of the log foresees. */
  appendFailed(log: PartitionLog, error: unknown): void;
  readonly logs: Pick<LogManager, 'get' | 'traffic'>;
  readonly pool: { readonly slab: Slab };
  readonly dispatcher: Pick<Dispatcher, 'serveForwarded'>;
  readonly services: Pick<ShardServicesTable, 'serve'>;
}

/** An operator's commands over a cluster's metadata, from settings to what was found or done: for the command line. */
import { hostname } from 'node:os';
import {
  type MetadataStatus,
  MetadataTools,
  type MigrateReport,
  type RestoreReport,
} from '../broker/metadata-tools.ts';
import type { Settings } from '../config/setting-keys.ts';
import { storeUrlOf } from '../config/store-url.ts';
import type { Logger } from '../ports/logger.ts';
import { SystemClock } from '../threads/adapters/system-clock.ts';
import { SystemRandom } from '../threads/adapters/system-random.ts';
import { threadNative } from '../threads/adapters/thread-native.ts';
import { etcdAccess } from './settings-to-config.ts';

export type { MetadataStatus, MigrateReport, RestoreReport };

export interface MetadataRequest {
  readonly settings: Settings;
  readonly logger: Logger;
  readonly takeOver: boolean;
  readonly dryRun: boolean;
}

export function metadataTools({ settings, logger, takeOver, dryRun }: MetadataRequest): MetadataTools {
  const native = threadNative(settings.native === 'auto');
  return new MetadataTools(
    {
      storeUrl: storeUrlOf(settings),
      dataDir: settings['data.dir'],
      etcdUrl: settings['metadata.url'] === '' ? null : settings['metadata.url'],
      access: etcdAccess(settings),
      takeOver,
      dryRun,
      writer: `operator on ${hostname()}`,
    },
    { clock: new SystemClock(native.boottime), random: new SystemRandom(), logger, native },
  );
}

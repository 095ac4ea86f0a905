/**
 * What giving up a write-ahead log gives up, said per partition before it is recorded: from the end that objects hold to
 * the newest record in the log where it can still be read, else to an end that nobody knows. Main thread; reads only.
 */

import { committedEnd } from '../metadata/committed-end.ts';
import type { ClusterImage, WalRecord } from '../metadata/metadata-store.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import { SequencedEntries } from '../store/sequenced-entries.ts';
import { ObjectWalRecovery } from '../stream/wal/object-wal-recovery.ts';
import type { RecoveredBatches } from '../stream/wal/recovered-batches.ts';
import { recoverWal } from '../stream/wal/recovery.ts';
import { pathOf } from './shared-volume.ts';
import type { VolumeDeps } from './volume.ts';
import type { WalConfig } from './wal-config.ts';

/** Partitions named; the rest is counted. */
const linesMax = 1_000;

export async function tellAbandoned(
  wal: WalRecord,
  image: ClusterImage,
  configs: readonly WalConfig[],
  deps: VolumeDeps,
): Promise<void> {
  const { logger } = deps;
  logger.warn(
    'a write-ahead log was abandoned: what only it held is lost; the broker that wrote it must be stopped',
    { log: wal.logId, location: wal.location },
  );
  let batches: RecoveredBatches | null = null;
  try {
    batches = await readLog(wal, image.clusterId, configs, deps);
  } catch (error) {
    logger.warn('the abandoned log cannot be read', { log: wal.logId, reason: String(error) });
  }
  tell(wal, image, batches === null ? null : endsOf(batches), logger);
}

/** Store of a volume of objects; null = the broker's own. */
export function storeUrlOf(location: string, configs: readonly WalConfig[]): string | null {
  const config = configs.find((one) => one.location === location);
  if (config !== undefined) return config.storeUrl;
  return location === 'store:' ? null : location.replace(/^store:/, '');
}

async function readLog(
  wal: WalRecord,
  clusterId: string,
  configs: readonly WalConfig[],
  deps: VolumeDeps,
): Promise<RecoveredBatches | null> {
  const { crc32c, random, writer, files } = deps;
  if (wal.kind === 'object') {
    const url = storeUrlOf(wal.location, configs);
    const store = url === null ? deps.store : await deps.openStore(url);
    const entries = new SequencedEntries({
      store,
      entryPrefix: `wal/${wal.logId}/`,
      writer,
      random,
      crc32c,
    });
    const identity = { entries, crc32c, logId: wal.logId, clusterId };
    const recovery = await ObjectWalRecovery.open(identity, wal.freed, 0);
    await recovery.read();
    await recovery.lookBehind();
    const { batches } = await recovery.result();
    if (url !== null) await store.close();
    return batches;
  }
  const path = pathOf(wal.location);
  if (wal.kind !== 'block' || !(await files.exists(path))) return null;
  const device = await files.open(path, { create: false });
  try {
    return (await recoverWal(device, { crc32c, expectClusterId: clusterId, from: wal.freed })).batches;
  } finally {
    await device.close();
  }
}

function endsOf(batches: RecoveredBatches): Map<string, number> {
  const ends = new Map<string, number>();
  for (let i = 0; i < batches.count; i++) {
    const key = streamKey(batches.topicId(i), batches.partitions[i]!);
    ends.set(key, Math.max(ends.get(key) ?? 0, batches.lastOffset(i) + 1));
  }
  return ends;
}

/** @param ends null when the log could not be read: then every partition that wrote to it may have lost records. */
function tell(
  wal: WalRecord,
  image: ClusterImage,
  ends: ReadonlyMap<string, number> | null,
  logger: Logger,
): void {
  let told = 0;
  for (const topic of image.topicsById.values()) {
    for (const partition of topic.partitions) {
      if (partition.wal !== wal.logId || partition.state !== 'open') continue;
      const from = committedEnd(partition);
      const until =
        ends === null ? 'unknown' : (ends.get(streamKey(topic.topicId, partition.partition)) ?? 0);
      if (until !== 'unknown' && until <= from) continue;
      if (++told > linesMax) continue;
      logger.warn('offsets given up', {
        log: wal.logId,
        topic: topic.name,
        partition: partition.partition,
        from,
        until,
      });
    }
  }
  if (told > linesMax) {
    logger.warn('offsets given up in more partitions', { log: wal.logId, partitions: told - linesMax });
  }
}

/**
 * Fail-over, the part of the broker that takes over: logs that it has claimed become objects and states, and their streams end
 * closed, for whoever is to own them. May be ended by a crash anywhere and begun again, here or by another taker. Main thread.
 *
 *   open, fence, read ─► drain to objects ─► one commit: streams closed at their recovered ends, logs empty ─► files removed
 */
import type { MetadataChange, MetadataStore, PartitionImage, WalRecord } from '../metadata/metadata-store.ts';
import { openClaimed, removeDrained } from '../volumes/claimed-logs.ts';
import { type DrainedLog, nothingRecovered } from '../volumes/drain.ts';
import type { Volume, VolumeDeps } from '../volumes/volume.ts';
import type { WalConfig } from '../volumes/wal-config.ts';
import type { OwnershipDeps } from './ownership.ts';
import { type DrainingDeps, drainLogs } from './recover-streams.ts';

export interface RecoverClaimedDeps extends DrainingDeps {
  readonly metadata: Pick<MetadataStore, 'image' | 'commit' | 'persisted'>;
  readonly fold: OwnershipDeps['fold'];
  readonly wals: readonly WalConfig[];
  readonly volumes: VolumeDeps;
}

/**
 * @param records claimed logs. Of those that were given up nothing is read: their streams end where objects do.
 * Rejects with what opening, reading and storing say; then nothing is closed, and it may be called again.
 */
export async function recoverClaimed(
  records: readonly WalRecord[],
  deps: RecoverClaimedDeps,
): Promise<{ readonly streams: number; readonly batches: number }> {
  const { metadata, fold, wals, volumes: volumeDeps } = deps;
  const readable = records.filter(({ state }) => state === 'open');
  const logs = await openClaimed(readable, wals, metadata.image.clusterId, volumeDeps);
  try {
    const drained = [...logs, ...records.filter(({ state }) => state !== 'open').map(givenUp)];
    const producers = new Map(await fold(openIn(drained, deps)));
    const { closes, taken } = await drainLogs(drained, producers, deps);
    // Their files go only when the bucket alone says where the records are.
    await metadata.persisted(await metadata.commit([...closes, ...logs.map((log) => emptied(log, deps))]));
    const streams = closes.filter(({ type }) => type === 'close').length;
    const gone: MetadataChange[] = [];
    for (const log of logs) {
      if (await removeDrained(log, volumeDeps)) gone.push({ type: 'walRemoved', logId: log.logId });
    }
    if (gone.length > 0) await metadata.commit(gone);
    return { streams, batches: taken };
  } catch (error) {
    for (const log of logs) log.release();
    throw error;
  }
}

/** Streams whose producers a drain goes on from. */
function openIn(logs: readonly Pick<Volume, 'logId'>[], { metadata }: RecoverClaimedDeps): PartitionImage[] {
  const logIds = new Set(logs.map(({ logId }) => logId));
  const open: PartitionImage[] = [];
  for (const { partitions } of metadata.image.topicsById.values()) {
    for (const partition of partitions)
      if (partition.state === 'open' && logIds.has(partition.wal)) open.push(partition);
  }
  return open;
}

function givenUp({ logId, location }: WalRecord): DrainedLog {
  return { logId, path: location, recovered: nothingRecovered, bytes: null };
}

function emptied({ logId, recovered }: Volume, { metadata }: RecoverClaimedDeps): MetadataChange {
  const record = metadata.image.wals.get(logId)!;
  return { type: 'wal', wal: { ...record, state: 'empty', freed: { ...recovered!.next } } };
}

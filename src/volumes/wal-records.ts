/**
 * What a start commits about write-ahead logs: new and taken ones are open under their new epoch before anything is
 * written to them, abandoned ones are given up, and shared logs of fenced owners are retired once objects hold their
 * records. Main thread.
 */
import type { MetadataChange, MetadataStore, WalRecord } from '../metadata/metadata-store.ts';
import type { Logger } from '../ports/logger.ts';
import { removeRetired, retiredLogs } from './shared-volume.ts';
import { type Volume, type VolumeDeps, volumeEpoch } from './volume.ts';

export function walRecords(
  wals: Iterable<WalRecord>,
  volumes: readonly Volume[],
  abandoned: ReadonlySet<string>,
  nodeId: number,
  logger: Logger,
): MetadataChange[] {
  const changes: MetadataChange[] = [];
  for (const wal of wals) {
    if (wal.state !== 'open') continue;
    if (wal.kind === 'memory') {
      logger.warn('a memory log was open: what only it held is lost', { log: wal.logId });
    } else if (!abandoned.has(wal.logId)) continue;
    changes.push({ type: 'wal', wal: { ...wal, state: 'abandoned' } });
  }
  for (const volume of volumes) {
    changes.push({ type: 'wal', wal: openRecord(volume, nodeId) });
    for (const { record } of volume.predecessors)
      if (record !== null && record.node !== nodeId)
        changes.push({ type: 'wal', wal: { ...record, node: nodeId } });
  }
  return changes;
}

function openRecord(volume: Volume, nodeId: number): WalRecord {
  const { record, recovered } = volume;
  const freed = record?.freed ?? { sequence: 0, position: 0, chainCrc: 0 };
  return {
    logId: volume.logId,
    kind: volume.kind,
    location: volume.kind === 'memory' ? 'memory:' : volume.path,
    node: nodeId,
    epoch: volumeEpoch(volume),
    state: 'open',
    // A log that is empty starts where it stands, so that recovery never looks for what an earlier life freed.
    freed: record?.state === 'open' || recovered === null ? freed : { ...recovered.next },
    lastUploadMs: record?.lastUploadMs ?? 0,
  };
}

/**
 * Logs of fenced owners, whose records are in objects now: recorded empty, then removed, then forgotten. Damaged ones are
 * recorded as given up and stay where they are: somebody may want to look at them.
 */
export async function retirePredecessors(
  volumes: readonly Volume[],
  metadata: MetadataStore,
  deps: VolumeDeps,
): Promise<void> {
  const emptied: MetadataChange[] = [];
  for (const { predecessors } of volumes) {
    for (const { logId, path, recovered } of predecessors) {
      const record = metadata.image.wals.get(logId)!;
      const damaged = recovered!.state === 'damaged';
      const state = damaged ? 'abandoned' : 'empty';
      emptied.push({ type: 'wal', wal: { ...record, location: path, state, freed: { ...recovered!.next } } });
      if (!damaged) continue;
      const fields = { log: logId, location: record.location };
      deps.logger.warn(
        'what is whole of the damaged write-ahead log is in objects now; it stays and is not used',
        fields,
      );
    }
  }
  if (emptied.length > 0) await metadata.commit(emptied);
  const retired = retiredLogs(metadata.image, volumes);
  if (retired.length === 0) return;
  // Their files go only when the bucket alone says where the records are.
  await metadata.persisted(metadata.image.revision);
  const gone = await removeRetired(retired, deps);
  if (gone.length > 0) {
    await metadata.commit(gone.map(({ logId }) => ({ type: 'walRemoved' as const, logId })));
  }
}

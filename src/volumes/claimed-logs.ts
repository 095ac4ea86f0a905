/**
 * Logs of brokers that are fenced, which the metadata have given to this one: found, fenced and read, so that they can be drained.
 * They are never written again; a former owner that lives finds itself fenced at its next commit (design §8). Main thread.
 *
 *   claimed in the metadata ─► open ─► fence page or seal ─► read what was durable by then
 */
import type { WalRecord } from '../metadata/metadata-store.ts';
import { isReachable } from '../metadata/owners.ts';
import { storeUrlOf } from './abandoned-offsets.ts';
import { claimObjectVolume, openObjectVolume } from './object-volume.ts';
import { claimPredecessor, openPredecessor, pathOf } from './shared-volume.ts';
import { refused, type Volume, type VolumeDeps } from './volume.ts';
import type { WalConfig } from './wal-config.ts';

/**
 * @param configs of this broker's own volumes: a claimed log is read with the budgets of the first.
 * Rejects with WAL_MISSING, WAL_DAMAGED, WAL_UNREACHABLE and whatever storage says, having released all of them.
 */
export async function openClaimed(
  records: readonly WalRecord[],
  configs: readonly WalConfig[],
  clusterId: string,
  own: VolumeDeps,
): Promise<Volume[]> {
  // Whoever wrote it is fenced by the claim: nobody's silence or lock is waited for.
  const deps = { ...own, takeOver: true };
  const opened: Volume[] = [];
  try {
    for (const record of records) {
      const volume = await open(record, configs, clusterId, deps);
      opened.push(volume);
      if (volume.kind === 'object') await claimObjectVolume(volume, record, clusterId, deps);
      else await claimPredecessor(volume, clusterId, deps);
    }
    return opened;
  } catch (error) {
    for (const volume of opened) volume.release();
    throw error;
  }
}

function open(
  record: WalRecord,
  configs: readonly WalConfig[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<Volume> {
  const { location, logId } = record;
  if (record.kind === 'memory' || !isReachable(record))
    throw refused(
      'WAL_UNREACHABLE',
      `the write-ahead log ${logId} (${location}) is on the machine of the broker that wrote it; only that broker can bring it back`,
    );
  const config = { ...configs[0]!, location, storeUrl: storeUrlOf(location, configs) };
  return record.kind === 'object'
    ? openObjectVolume(0, config, [record], clusterId, deps)
    : openPredecessor(0, config, record, deps);
}

/** Removes the file of a drained log; logs in buckets are swept. */
export async function removeDrained(volume: Volume, deps: VolumeDeps): Promise<boolean> {
  volume.release();
  if (volume.kind !== 'block') return false;
  try {
    await deps.files.remove(pathOf(volume.path));
    return true;
  } catch (error) {
    const fields = { log: volume.logId, location: volume.path, reason: String(error) };
    deps.logger.warn('the file of a drained write-ahead log could not be removed', fields);
    return false;
  }
}

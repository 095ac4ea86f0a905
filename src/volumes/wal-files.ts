/**
 * The files of block logs as a start finds them: strangers are refused, and a log that lies elsewhere than recorded (its
 * directory was moved, a volume mounted at another place) is known by the log id in its superblock. Main thread.
 *
 * A log that was moved counts only where nothing speaks for a copy of it: its recorded place must not hold it any more, no
 * second file may, and it must be as new as the metadata know it (`refuseOld`). A copy made while its broker ran, and before
 * that broker's next upload, cannot be told from the log itself.
 */
import { dirname, join } from 'node:path';
import type { WalRecord } from '../metadata/metadata-store.ts';
import { MillraceError } from '../ports/errors.ts';
import { hasCode } from '../store/store-errors.ts';
import { readFence } from '../stream/wal/fence-page.ts';
import { readSuperblock, recoverWal } from '../stream/wal/recovery.ts';
import type { WalDevice } from '../stream/wal/wal-device.ts';
import type { Superblock } from '../stream/wal/wal-format.ts';
import { isInDirectory, pathOf, volumePath } from './shared-volume.ts';
import { locationKind, refused, type Volume, type VolumeDeps } from './volume.ts';
import type { WalConfig } from './wal-config.ts';

/** Whether a location names the file or device itself, not a directory. */
export async function isWalFile(path: string, deps: VolumeDeps): Promise<boolean> {
  return path.endsWith('.wal') || ((await deps.files.exists(path)) && !(await deps.files.isDirectory(path)));
}

/** Paths of all logs at a configured location. */
async function logsAt(location: string, deps: VolumeDeps): Promise<string[]> {
  const path = pathOf(location);
  if (!(await deps.files.exists(path))) return [];
  if (await isWalFile(path, deps)) return [path];
  const names = (await deps.files.list(path)).filter((name) => name.endsWith('.wal'));
  return names.map((name) => join(path, name));
}

/** A WAL of another cluster, or one that is not clean and not ours, is never overwritten and never overlooked. */
export async function refuseStrangers(
  directory: string,
  recorded: readonly WalRecord[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  if (!(await deps.files.exists(directory))) return;
  for (const name of await deps.files.list(directory)) {
    if (!name.endsWith('.wal')) continue;
    const path = join(directory, name);
    if (recorded.some(({ location }) => pathOf(location) === path)) continue;
    await refuseUsed(path, clusterId, deps);
  }
}

export async function refuseUsed(path: string, clusterId: string, deps: VolumeDeps): Promise<void> {
  const device = await deps.files.open(path, { create: false });
  try {
    const superblock = await readSuperblock(device, deps.crc32c);
    if (superblock.clusterId !== clusterId && clusterId !== '') {
      throw refused(
        'WAL_FOREIGN',
        `${path} is a write-ahead log of cluster ${superblock.clusterId}, not of ${clusterId}; move it away or point --wal elsewhere`,
      );
    }
    if (!superblock.clean || superblock.durableSequence > superblock.trimSequence) {
      throw refused(
        'WAL_UNLISTED',
        `${path} holds records of log ${superblock.logId}, which the metadata does not list; move it away to start without it`,
      );
    }
  } catch (error) {
    if (!hasCode(error, 'WAL_NOT_FORMATTED')) throw error;
  } finally {
    await device.close();
  }
}

/**
 * Removes logs that a start formatted and did not live to record, from the directories of these volumes: of this cluster,
 * opened by nobody, recorded nowhere. The metadata are claimed, so no other start can be about to record them.
 */
export async function removeUnrecorded(
  volumes: readonly Volume[],
  recorded: ReadonlyMap<string, WalRecord>,
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  const known = new Set(volumes.map(({ logId }) => logId));
  for (const directory of new Set(
    volumes.filter(isInDirectory).map((volume) => dirname(volumePath(volume))),
  )) {
    for (const path of await logsAt(directory, deps)) {
      const superblock = await superblockAt(path, deps);
      if (superblock === null || superblock.clusterId !== clusterId || superblock.epoch > 0) continue;
      if (known.has(superblock.logId) || recorded.has(superblock.logId)) continue;
      const lock = await deps.files.lock(path);
      if ('heldBy' in lock) continue;
      try {
        await deps.files.remove(path);
        deps.logger.info('a write-ahead log that a start left unrecorded was removed', { path });
      } finally {
        lock.release();
      }
    }
  }
}

/** What lies at a path, null for anything but a log that can be read. */
async function superblockAt(path: string, deps: VolumeDeps): Promise<Superblock | null> {
  if (!(await deps.files.exists(path)) || (await deps.files.isDirectory(path))) return null;
  const device = await deps.files.open(path, { create: false });
  try {
    return await readSuperblock(device, deps.crc32c);
  } catch (error) {
    // Damage and later versions are judged by whoever wants to use the file.
    if (error instanceof MillraceError && (error.kind === 'corrupt' || error.kind === 'invalid')) return null;
    throw error;
  } finally {
    await device.close();
  }
}

/**
 * The records with the places where their logs really lie. Logs are looked for at the configured locations only, and
 * only those that are not at their recorded place.
 */
export async function withPlaces(
  recorded: readonly WalRecord[],
  configs: readonly WalConfig[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<WalRecord[]> {
  const known = new Set(recorded.filter(({ kind }) => kind === 'block').map((wal) => pathOf(wal.location)));
  const found = new Map<string, string>();
  for (const { location } of configs) {
    const kind = locationKind(location);
    if (kind !== 'block' && kind !== 'shared') continue;
    for (const path of await logsAt(location, deps)) {
      if (known.has(path)) continue;
      const superblock = await superblockAt(path, deps);
      const record = recorded.find((wal) => wal.kind === 'block' && wal.logId === superblock?.logId);
      if (record === undefined || superblock === null || superblock.clusterId !== clusterId) continue;
      if (locationKind(record.location) !== kind) continue;
      const other = found.get(record.logId) ?? record.location;
      if ((await superblockAt(pathOf(other), deps))?.logId === record.logId) {
        if (record.state !== 'open') continue;
        throw copied(record, path, pathOf(other));
      }
      found.set(record.logId, kind === 'shared' ? `shared:${path}` : path);
    }
  }
  return Promise.all(
    recorded.map(async (record) => {
      const location = found.get(record.logId);
      if (location === undefined) return record;
      if (record.state === 'open') await refuseBehind(record, pathOf(location), deps);
      const fields = { log: record.logId, recorded: record.location, found: location };
      deps.logger.warn('a write-ahead log was moved: it is taken where it was found', fields);
      return { ...record, location };
    }),
  );
}

function copied({ logId }: WalRecord, path: string, other: string): MillraceError {
  return refused(
    'WAL_COPIED',
    `the write-ahead log ${logId} is there twice, as ${path} and as ${other}, and nothing tells which one is newer. ` +
      `Move away the copy; point --wal at ${dirname(other)} if that one is the log`,
  );
}

/** A log that is found in another place must reach as far as the metadata say that it was uploaded. */
async function refuseBehind(record: WalRecord, path: string, deps: VolumeDeps): Promise<void> {
  const device = await deps.files.open(path, { create: false });
  try {
    await refuseOld(record, path, device, deps);
    const { crc32c } = deps;
    const { clusterId, trimSequence } = await readSuperblock(device, crc32c);
    if (trimSequence >= record.freed.sequence) return;
    const { next } = await recoverWal(device, { crc32c, expectClusterId: clusterId });
    if (next.sequence < record.freed.sequence)
      throw old(
        record,
        path,
        `it ends at commit ${next.sequence}, and ${record.freed.sequence} is in objects`,
      );
  } finally {
    await device.close();
  }
}

/**
 * A copy that was made before the log was last opened says so: whoever opens a log writes its fence page before the
 * metadata record the epoch. Logs of versions that left the page empty go by their superblock, which may be one behind
 * where a start was cut short: those are believed at their recorded place only.
 */
export async function refuseOld(
  record: WalRecord,
  path: string,
  device: WalDevice,
  deps: VolumeDeps,
): Promise<void> {
  const fence = await readFence(device, deps.crc32c);
  if (fence === null && pathOf(record.location) === path) return;
  const epoch = fence?.epoch ?? (await readSuperblock(device, deps.crc32c)).epoch;
  if (epoch < record.epoch)
    throw old(
      record,
      path,
      `it was last opened under epoch ${epoch}, and the metadata record ${record.epoch}`,
    );
}

function old({ logId, lastUploadMs }: WalRecord, path: string, why: string): MillraceError {
  const upload = lastUploadMs > 0 ? `; the last upload was at ${new Date(lastUploadMs).toISOString()}` : '';
  return refused(
    'WAL_OLD_COPY',
    `${path} is an older copy of the write-ahead log ${logId}: ${why}${upload}. ` +
      `Bring the newest one, or give up what only that holds with --abandon-wal ${logId}`,
  );
}

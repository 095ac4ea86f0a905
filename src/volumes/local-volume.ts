/**
 * A WAL volume that no other machine writes, at start: a file in a directory, or a file or device by its name. The lock
 * keeps a second broker of this machine away. Where it cannot prove that the log's last owner has ended (the portable build
 * beside brokers in other containers), that owner's last write may still come:
 *
 *   lock held ─► refused
 *   lock free, end of the owner proven ────────► its ring is gone on with, under a higher epoch
 *   lock free, end not proven, a directory ────► its log is a predecessor: fenced, read, brought into objects, removed;
 *                                                a new file takes its place (as with shared volumes)
 *                              a file, device ─► refused unless told to take over: there is no other place
 *
 * Main thread.
 */
import { dirname, join, resolve } from 'node:path';
import type { LockAttempt } from '../../native-bindings/portable/lock-file.ts';
import type { WalRecord } from '../metadata/metadata-store.ts';
import { readFence } from '../stream/wal/fence-page.ts';
import { readSuperblock } from '../stream/wal/recovery.ts';
import { blockVolume, newLogId, refused, type Volume, type VolumeDeps } from './volume.ts';
import type { WalConfig } from './wal-config.ts';
import { isWalFile, refuseOld, refuseStrangers, refuseUsed } from './wal-files.ts';

type Lock = Extract<LockAttempt, { readonly release: () => void }>;

export async function openLocalVolume(
  index: number,
  config: WalConfig,
  recorded: readonly WalRecord[],
  candidates: readonly WalRecord[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<Volume> {
  const { files } = deps;
  const location = resolve(config.location);
  const isFile = await isWalFile(location, deps);
  const here: WalRecord[] = [];
  for (const wal of candidates) {
    const place = resolve(wal.location);
    if (wal.kind !== 'block' || (isFile ? place : dirname(place)) !== location) continue;
    if (await files.exists(wal.location)) here.push(wal);
  }
  if (isFile) await files.makeDirectory(dirname(location));
  else {
    if (here.length === 0) await files.makeDirectory(location);
    await refuseStrangers(location, recorded, clusterId, deps);
  }
  const fresh = async (predecessors: Volume[]): Promise<Volume> => {
    const logId = newLogId(deps.random);
    const path = isFile ? location : join(location, `${logId}.wal`);
    return openAt(
      { index, config, logId, path, record: null, predecessors },
      clusterId,
      deps,
      await lockFile(path, deps),
    );
  };
  const open = here.find((wal) => wal.state === 'open');
  const record = open ?? (await firstReusable(here, isFile, deps));
  if (record === null) return fresh([]);
  const { logId } = record;
  const path = resolve(record.location);
  const lock = await lockFile(path, deps);
  const unproven = lock.unproven === true && record.state === 'open';
  if (unproven && isFile && !deps.takeOver) {
    lock.release();
    throw refused(
      'WAL_OWNER_ALIVE',
      `the write-ahead log ${logId} (${path}) was not closed, and whether its owner has ended cannot be seen from here ` +
        '(another container?). If that broker is stopped, start with --take-over',
    );
  }
  const volume = await openAt(
    { index, config, logId, path, record, predecessors: [] },
    clusterId,
    deps,
    lock,
  );
  if (!unproven || isFile) return volume;
  deps.logger.warn(
    'whether the last owner of the write-ahead log has ended cannot be seen from here: it is fenced, and a new log takes its place',
    { log: logId },
  );
  try {
    return await fresh([volume]);
  } catch (error) {
    volume.release();
    throw error;
  }
}

/** One broker per file. */
async function lockFile(path: string, deps: VolumeDeps): Promise<Lock> {
  const lock = await deps.files.lock(path);
  if ('heldBy' in lock)
    throw refused(
      'WAL_IN_USE',
      `the write-ahead log ${path} is in use by ${lock.heldBy}; stop that broker or choose another --wal`,
    );
  return lock;
}

/** An empty log may be written again, unless it was taken from an owner that might still write to it. */
async function firstReusable(
  here: readonly WalRecord[],
  isFile: boolean,
  deps: VolumeDeps,
): Promise<WalRecord | null> {
  for (const record of here) {
    if (isFile) return record;
    const device = await deps.files.open(record.location, { create: false });
    try {
      const fence = await readFence(device, deps.crc32c);
      if (fence === null || fence.epoch <= (await readSuperblock(device, deps.crc32c)).epoch) return record;
    } finally {
      await device.close();
    }
  }
  return null;
}

async function openAt(
  at: Pick<Volume, 'index' | 'config' | 'logId' | 'path' | 'record' | 'predecessors'>,
  clusterId: string,
  deps: VolumeDeps,
  lock: Lock,
): Promise<Volume> {
  const { path, record } = at;
  try {
    const existed = await deps.files.exists(path);
    if (existed && record === null) await refuseUsed(path, clusterId, deps);
    const device = existed ? await deps.files.open(path, { create: false }) : null;
    const volume = blockVolume(at, device, () => lock.release());
    if (device !== null && record?.state === 'open') {
      try {
        await refuseOld(record, path, device, deps);
      } catch (error) {
        await device.close();
        throw error;
      }
    }
    return volume;
  } catch (error) {
    lock.release();
    throw error;
  }
}

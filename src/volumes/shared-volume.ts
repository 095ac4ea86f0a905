/**
 * A WAL volume in a directory that other machines reach too (`shared:/mnt/…`: NFS, a shared file system) at start. The
 * lock of another machine may be invisible here and its last write still on the way, so a log that was not closed in
 * order is never written again: it is fenced, read, brought into objects, and removed; a new file takes its place.
 *
 *   open: direct, lock free, owner was this machine (or take-over) ─► read ─► (metadata claimed) ─► fence ─► read again
 *         ─► restore, upload ─► recorded empty ─► removed
 *
 * Main thread.
 */
import { dirname, join, resolve } from 'node:path';
import type { ClusterImage, WalRecord } from '../metadata/metadata-store.ts';
import { encodeFence, readFence, writeFence } from '../stream/wal/fence-page.ts';
import { readSuperblock, recoverWal } from '../stream/wal/recovery.ts';
import type { WalDevice } from '../stream/wal/wal-device.ts';
import {
  blockVolume,
  judgeRecovered,
  locationKind,
  missingWal,
  newLogId,
  refused,
  type Volume,
  type VolumeDeps,
  volumeEpoch,
} from './volume.ts';
import type { WalConfig } from './wal-config.ts';

const scheme = 'shared:';

export function sharedPath(location: string): string {
  return resolve(location.slice(scheme.length).replace(/^\/\/(?=\/)/, ''));
}

export function isShared(volume: Volume): boolean {
  return locationKind(volume.path) === 'shared';
}

/** Path of a block log's file, device or directory, wherever its location says that it lies. */
export function pathOf(location: string): string {
  return locationKind(location) === 'shared' ? sharedPath(location) : resolve(location);
}

/** Path of a block volume's file or device. */
export function volumePath(volume: Volume): string {
  return pathOf(volume.path);
}

/** What the metadata records of this directory. */
export function sharedRecords(directory: string, recorded: readonly WalRecord[]): WalRecord[] {
  return recorded.filter(
    ({ location }) => location.startsWith(scheme) && dirname(sharedPath(location)) === directory,
  );
}

async function openDirect(path: string, deps: VolumeDeps, create: boolean): Promise<WalDevice> {
  const device = await deps.files.open(path, { create });
  if (device.direct && device.reread !== undefined) return device;
  void device.close();
  throw refused(
    'WAL_NOT_DIRECT',
    `${path}: a shared write-ahead log needs O_DIRECT, which this file system does not have; use file:///… where no other machine writes`,
  );
}

export async function openSharedVolume(
  index: number,
  config: WalConfig,
  candidates: readonly WalRecord[],
  deps: VolumeDeps,
): Promise<Volume> {
  const directory = sharedPath(config.location);
  await deps.files.makeDirectory(directory);
  const here = sharedRecords(directory, candidates);
  const predecessors: Volume[] = [];
  try {
    for (const record of here.filter((wal) => wal.state === 'open')) {
      predecessors.push(await openPredecessor(index, config, record, deps));
    }
    const reusable = predecessors.length > 0 ? null : await closedInOrder(here, deps);
    const logId = reusable?.logId ?? newLogId(deps.random);
    const path = join(directory, `${logId}.wal`);
    const lock = await deps.files.lock(path);
    if ('heldBy' in lock) throw inUse(path, lock.heldBy);
    const device = reusable === null ? null : await openDirect(path, deps, false);
    const at = { index, config, logId, path: `${scheme}${path}`, record: reusable, predecessors };
    return blockVolume(at, device, () => lock.release());
  } catch (error) {
    for (const predecessor of predecessors) predecessor.release();
    throw error;
  }
}

function inUse(path: string, by: string): Error {
  return refused(
    'WAL_IN_USE',
    `the write-ahead log ${path} is in use by ${by}; stop that broker, or take the log from it with --take-over`,
  );
}

export async function openPredecessor(
  index: number,
  config: WalConfig,
  record: WalRecord,
  deps: VolumeDeps,
): Promise<Volume> {
  const path = sharedPath(record.location);
  if (!(await deps.files.exists(path))) throw missingWal(record);
  const lock = await deps.files.lock(path);
  if ('heldBy' in lock && !deps.takeOver) throw inUse(path, lock.heldBy);
  const unlock = 'heldBy' in lock ? () => {} : lock.release;
  try {
    const device = await openDirect(path, deps, false);
    const at = { index, config, logId: record.logId, path: record.location, record, predecessors: [] };
    const volume = blockVolume(at, device, unlock);
    volume.bytes = device;
    if (!deps.takeOver) await refuseOtherMachine(volume, deps);
    return volume;
  } catch (error) {
    unlock();
    throw error;
  }
}

/** A free lock proves the owner's end only on the owner's own machine. */
async function refuseOtherMachine(volume: Volume, deps: VolumeDeps): Promise<void> {
  const fence = await readFence(volume.device!, deps.crc32c);
  if (fence === null || fence.writer === deps.writer) return;
  volume.release();
  throw refused(
    'WAL_OWNER_ALIVE',
    `the write-ahead log ${volume.logId} (${volume.path}) was opened by ${fence.writer} and not closed. ` +
      'If that broker is stopped, or shall be fenced, start with --take-over',
  );
}

/** An empty log whose owner closed it himself may be written again; others wait to be removed. */
async function closedInOrder(here: readonly WalRecord[], deps: VolumeDeps): Promise<WalRecord | null> {
  for (const record of here) {
    const path = sharedPath(record.location);
    if (record.state !== 'empty' || !(await deps.files.exists(path))) continue;
    const device = await openDirect(path, deps, false);
    try {
      if ((await readSuperblock(device, deps.crc32c)).clean) return record;
    } finally {
      await device.close();
    }
  }
  return null;
}

/** Fences the owner of a log in a volume's place, then reads what it had written by then. */
export async function claimPredecessor(
  predecessor: Volume,
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  const { crc32c, random, writer } = deps;
  const { logId } = predecessor;
  const epoch = volumeEpoch(predecessor);
  await writeFence(predecessor.device!, encodeFence({ logId, clusterId, epoch, writer }, random, crc32c));
  const from = predecessor.record!.freed;
  predecessor.recovered = await recoverWal(predecessor.device!, { crc32c, expectClusterId: clusterId, from });
  judgeRecovered(predecessor, predecessor.recovered, deps);
}

/** Makes the volume this broker's own: the page is durable before the first commit. */
export async function fenceOwn(volume: Volume, clusterId: string, deps: VolumeDeps): Promise<void> {
  const { logId } = volume;
  const fence = { logId, clusterId, epoch: volumeEpoch(volume), writer: deps.writer };
  volume.fence = encodeFence(fence, deps.random, deps.crc32c);
  await writeFence(volume.device!, volume.fence);
}

/** Files that the broker made in a directory are its own to remove; those that were named to it are not. */
export function isInDirectory(volume: Volume): boolean {
  const { kind, config } = volume;
  return kind === 'block' && (isShared(volume) || dirname(volume.path) === resolve(config.location));
}

/** Logs that are recorded empty, beside volumes in use, and no volume: their files are not needed any more. */
export function retiredLogs(image: ClusterImage, volumes: readonly Volume[]): WalRecord[] {
  const here = new Set(volumes.filter(isInDirectory).map((volume) => dirname(volumePath(volume))));
  return [...image.wals.values()].filter(
    ({ state, kind, location, logId }) =>
      state === 'empty' &&
      kind === 'block' &&
      here.has(dirname(pathOf(location))) &&
      !volumes.some((volume) => volume.logId === logId),
  );
}

/** @returns those whose files are gone. */
export async function removeRetired(records: readonly WalRecord[], deps: VolumeDeps): Promise<WalRecord[]> {
  const gone: WalRecord[] = [];
  for (const record of records) {
    try {
      await deps.files.remove(pathOf(record.location));
      gone.push(record);
    } catch (error) {
      const fields = { log: record.logId, reason: String(error) };
      deps.logger.warn('a write-ahead log that is not needed any more could not be removed', fields);
    }
  }
  return gone;
}

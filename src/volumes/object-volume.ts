/**
 * A WAL volume in a bucket at start: `store:` is the broker's own store, `store:URL` and `s3://…` are another. Its
 * objects lie under `wal/<log id>/` there. Main thread.
 *
 *   open: its birth is there, its owner silent ─► read, judge ─► (metadata claimed) ─► claim: seal, read the rest
 */
import type { WalRecord } from '../metadata/metadata-store.ts';
import { SequencedEntries } from '../store/sequenced-entries.ts';
import { hasCode } from '../store/store-errors.ts';
import {
  createObjectWal,
  type ObjectWalIdentity,
  ObjectWalRecovery,
  readBirth,
} from '../stream/wal/object-wal-recovery.ts';
import { awaitSilence } from '../stream/wal/sign-of-life.ts';
import { judgeRecovered, missingWal, newLogId, type Volume, type VolumeDeps } from './volume.ts';
import type { WalConfig } from './wal-config.ts';

const nothingFreed = { sequence: 0, position: 0, chainCrc: 0 };

/** Finds the log that belongs at the location, or names a new one. Stores nothing, but asks the store for its time. */
export async function openObjectVolume(
  index: number,
  config: WalConfig,
  candidates: readonly WalRecord[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<Volume> {
  const { location, storeUrl } = config;
  const own = storeUrl === null;
  const store = own ? deps.store : await deps.openStore(storeUrl);
  try {
    const here = candidates.filter((wal) => wal.kind === 'object' && wal.location === location);
    let record = here.find((wal) => wal.state === 'open') ?? here[0] ?? null;
    const logId = record?.logId ?? newLogId(deps.random);
    const { random, crc32c, writer } = deps;
    const entries = new SequencedEntries({ store, entryPrefix: `wal/${logId}/`, writer, random, crc32c });
    if (record !== null) {
      try {
        await readBirth({ entries, crc32c, logId, clusterId });
      } catch (error) {
        if (!hasCode(error, 'WAL_NOT_FORMATTED')) throw error;
        if (record.state === 'open') throw missingWal(record);
        // An empty log that somebody has removed holds nothing to miss.
        record = null;
      }
    }
    if (record?.state === 'open' && !deps.takeOver)
      await awaitSilence(entries, { ...deps, logId, epoch: record.epoch });
    const volume: Volume = {
      index,
      config,
      kind: 'object',
      logId,
      path: location,
      record,
      device: null,
      bytes: null,
      recovered: null,
      objects: { entries, storeUrl: storeUrl ?? deps.storeUrl, recovery: null, claimed: null },
      fence: null,
      predecessors: [],
      release() {
        if (!own) void store.close().catch(() => {});
        for (const predecessor of volume.predecessors) predecessor.release();
      },
    };
    return volume;
  } catch (error) {
    if (!own) await store.close().catch(() => {});
    throw error;
  }
}

function identityOf(volume: Volume, clusterId: string, deps: VolumeDeps): ObjectWalIdentity {
  return { entries: volume.objects!.entries, crc32c: deps.crc32c, logId: volume.logId, clusterId };
}

/** Reads what is there and refuses damage. An owner that may still write shows no proof of it: that is left to claim. */
export async function recoverObjectVolume(
  volume: Volume,
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  const { capacityBytes } = volume.config;
  const identity = identityOf(volume, clusterId, deps);
  const recovery = await ObjectWalRecovery.open(identity, volume.record!.freed, capacityBytes);
  await recovery.read();
  if (!deps.takeOver || deps.salvage.has(volume.logId)) await recovery.lookBehind();
  const recovered = await recovery.result();
  judgeRecovered(volume, recovered, deps);
  volume.objects!.recovery = recovery;
  volume.recovered = recovered;
  volume.bytes = recovered.bytes;
}

/**
 * Fences every earlier owner. The metadata are claimed, so `current` is the last word on what is freed: where it moved
 * since the log was read, entries that were read are gone, and reading begins anew.
 */
export async function claimObjectVolume(
  volume: Volume,
  current: WalRecord,
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  const objects = volume.objects!;
  const moved = current.freed.sequence !== volume.record!.freed.sequence;
  volume.record = current;
  const identity = identityOf(volume, clusterId, deps);
  const recovery =
    moved || objects.recovery === null
      ? await ObjectWalRecovery.open(identity, current.freed, volume.config.capacityBytes)
      : objects.recovery;
  const claimed = await recovery.claim(deps.clock, current.epoch, deps.salvage.has(volume.logId));
  if (claimed.state === 'damaged' || moved) judgeRecovered(volume, claimed, deps);
  objects.claimed = claimed;
  volume.recovered = claimed;
  volume.bytes = claimed.bytes;
}

/** A new log: its birth is stored, and its first epoch sealed, before anything records it. */
export async function createObjectVolume(volume: Volume, clusterId: string, deps: VolumeDeps): Promise<void> {
  const { capacityBytes } = volume.config;
  const identity = identityOf(volume, clusterId, deps);
  await createObjectWal(identity, deps.nodeId, capacityBytes);
  const recovery = await ObjectWalRecovery.open(identity, nothingFreed, capacityBytes);
  const claimed = await recovery.claim(deps.clock, 0);
  volume.objects!.claimed = claimed;
  volume.recovered = claimed;
  volume.bytes = claimed.bytes;
}

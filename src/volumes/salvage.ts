/**
 * `--salvage-wal ID` at start: a damaged write-ahead log is opened where it lies and read to the last byte. What is whole is
 * brought into objects as from a fenced owner's log (predecessors of a volume), then the log is recorded as given up and
 * left where it is: nothing but the fence page is ever written to it again, and a new log takes its place.
 *
 *   open, read, verify every batch ─► whole: opened like any other, the option changes nothing
 *                                 └─► damaged: predecessor ─► (metadata claimed) ─► fence ─► restore, upload ─► given up
 *
 * Main thread; writes nothing before the claim.
 */
import { dirname, resolve } from 'node:path';
import type { WalRecord } from '../metadata/metadata-store.ts';
import { MillraceError } from '../ports/errors.ts';
import { hasCode } from '../store/store-errors.ts';
import { lostOffsets } from '../stream/wal/lost-offsets.ts';
import { PayloadReader } from '../stream/wal/payload-reader.ts';
import { payloadStates } from '../stream/wal/recovered-batches.ts';
import { type RecoveredWal, recoverWal } from '../stream/wal/recovery.ts';
import { storeUrlOf } from './abandoned-offsets.ts';
import { claimObjectVolume, openObjectVolume, recoverObjectVolume } from './object-volume.ts';
import { claimPredecessor, openPredecessor, pathOf } from './shared-volume.ts';
import { blockVolume, locationKind, missingWal, refused, type Volume, type VolumeDeps } from './volume.ts';
import type { VolumeFiles } from './volume-files.ts';
import type { WalConfig } from './wal-config.ts';

/**
 * Opens and reads every log that shall be salvaged. Those that prove whole leave `deps.salvage` and are let go.
 * @returns the damaged ones, read, each with the index of the volume that takes its place.
 */
export async function openSalvaged(
  configs: readonly WalConfig[],
  recorded: readonly WalRecord[],
  clusterId: string,
  abandon: ReadonlySet<string>,
  deps: VolumeDeps,
): Promise<Volume[]> {
  const { salvage, logger } = deps;
  const damaged: Volume[] = [];
  try {
    for (const logId of [...salvage]) {
      const record = recordOf(logId, recorded, abandon);
      if (record.state !== 'open') {
        logger.info('nothing to salvage: the write-ahead log is not in use', {
          log: logId,
          state: record.state,
        });
        salvage.delete(logId);
        continue;
      }
      const volume = await openRecorded(record, configs, clusterId, deps);
      damaged.push(volume);
      await readAll(volume, clusterId, deps);
      const { state, reasons, batches } = volume.recovered!;
      if (state === 'damaged') {
        const why = reasons.join('; ');
        logger.warn('salvaging a damaged write-ahead log', { log: logId, why, batches: batches.count });
        continue;
      }
      logger.info('the write-ahead log is whole: it is recovered as usual', { log: logId });
      salvage.delete(logId);
      damaged.pop();
      volume.release();
    }
    return damaged;
  } catch (error) {
    for (const volume of damaged) volume.release();
    throw error;
  }
}

function recordOf(logId: string, recorded: readonly WalRecord[], abandon: ReadonlySet<string>): WalRecord {
  if (abandon.has(logId)) {
    const what = `the write-ahead log ${logId} cannot be salvaged and abandoned at once; give one of the two options`;
    throw refused('WAL_SALVAGE', what);
  }
  const record = recorded.find((wal) => wal.logId === logId);
  if (record !== undefined) return record;
  const open = recorded.filter((wal) => wal.state === 'open').map((wal) => `${wal.logId} (${wal.location})`);
  const known = open.length === 0 ? 'none' : open.join(', ');
  throw refused('WAL_SALVAGE', `there is no write-ahead log ${logId} to salvage; in use: ${known}`);
}

/** Why no volume takes a log that is in use: it is not there, or other logs in use have its place. */
export async function notTaken(
  wal: WalRecord,
  open: readonly WalRecord[],
  files: VolumeFiles,
): Promise<MillraceError> {
  const placeOf = (record: WalRecord): string =>
    record.kind === 'object' ? record.location : dirname(pathOf(record.location));
  const here = open.filter((record) => placeOf(record) === placeOf(wal));
  let gone = false;
  for (const record of here)
    gone ||= record.kind === 'block' && !(await files.exists(pathOf(record.location)));
  if (gone || here.length < 2) return missingWal(wal);
  const ids = here.map(({ logId }) => logId).join(', ');
  return refused(
    'WAL_MISSING',
    `the write-ahead logs ${ids} are all in use at ${placeOf(wal)}, and --wal names fewer volumes there. ` +
      'If the salvage of one of them was interrupted, start with --salvage-wal and its id again; else name a volume more',
  );
}

/** The volume that goes on in the log's place: where the new log lies beside it, else the first. */
function placeOf(record: WalRecord, configs: readonly WalConfig[]): number {
  const index = configs.findIndex(({ location }) => {
    if (record.kind === 'object') return location === record.location;
    const kind = locationKind(location);
    if (kind !== locationKind(record.location)) return false;
    return pathOf(location) === dirname(pathOf(record.location));
  });
  return Math.max(0, index);
}

async function openRecorded(
  record: WalRecord,
  configs: readonly WalConfig[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<Volume> {
  const { location } = record;
  const index = placeOf(record, configs);
  const storeUrl = record.kind === 'object' ? storeUrlOf(location, configs) : null;
  const config: WalConfig = { ...configs[index]!, location, storeUrl };
  if (record.kind === 'object') return openObjectVolume(index, config, [record], clusterId, deps);
  if (locationKind(location) === 'shared') return openPredecessor(index, config, record, deps);
  return openBlock(index, config, record, configs, deps);
}

async function openBlock(
  index: number,
  config: WalConfig,
  record: WalRecord,
  configs: readonly WalConfig[],
  deps: VolumeDeps,
): Promise<Volume> {
  const { files } = deps;
  const path = resolve(record.location);
  if (!(await files.exists(path))) throw missingWal(record);
  if (configs.some((one) => locationKind(one.location) === 'block' && resolve(one.location) === path)) {
    const what = `${path} is the damaged write-ahead log itself, which is kept as it is: name another place for the new one with --wal`;
    throw refused('WAL_SALVAGE', what);
  }
  const lock = await files.lock(path);
  if ('heldBy' in lock)
    throw refused('WAL_IN_USE', `the write-ahead log ${path} is in use by ${lock.heldBy}; stop that broker`);
  try {
    const device = await files.open(path, { create: false });
    const volume = blockVolume(
      { index, config, logId: record.logId, path, record, predecessors: [] },
      device,
      () => lock.release(),
    );
    volume.bytes = device;
    return volume;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Reads the log and all its payload: a salvage must not find out half way. */
async function readAll(volume: Volume, clusterId: string, deps: VolumeDeps): Promise<void> {
  const { crc32c } = deps;
  try {
    if (volume.kind === 'object') await recoverObjectVolume(volume, clusterId, deps);
    else {
      const from = volume.record!.freed;
      volume.recovered = await recoverWal(volume.device!, { crc32c, expectClusterId: clusterId, from });
    }
  } catch (error) {
    if (hasCode(error, 'WAL_SUPERBLOCKS_LOST')) throw nothingToGoBy(volume, error as Error);
    throw error;
  }
  const { batches } = volume.recovered!;
  const reader = new PayloadReader(volume.bytes!, crc32c);
  let bad = 0;
  for (let i = 0; i < batches.count; i++) {
    if (batches.payloads[i] === payloadStates.unverified) await reader.verify(batches, i);
    if (batches.payloads[i] === payloadStates.bad) bad++;
  }
  if (bad > 0)
    volume.recovered = withDamage(volume.recovered!, [`the records of ${bad} batches are damaged`]);
}

function nothingToGoBy({ path, logId }: Volume, error: Error): MillraceError {
  return new MillraceError(
    'corrupt',
    'WAL_SUPERBLOCKS_LOST',
    `${error.message}: nothing of ${path} can be salvaged. Restore the volume, or give up all that only it holds with --abandon-wal ${logId}`,
  );
}

function withDamage(recovered: RecoveredWal, reasons: readonly string[]): RecoveredWal {
  const lost = lostOffsets(recovered.batches, recovered.lostCommits);
  return { ...recovered, state: 'damaged', reasons: [...recovered.reasons, ...reasons], lost };
}

/** The metadata are claimed: fences whoever may still write the log, and reads it to its true end. */
export async function claimSalvaged(
  volume: Volume,
  current: WalRecord,
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  const { reasons } = volume.recovered!;
  if (volume.kind === 'object') await claimObjectVolume(volume, current, clusterId, deps);
  else await claimPredecessor(volume, clusterId, deps);
  // Fencing looks at commits, not at the payload of all.
  if (volume.recovered!.state !== 'damaged') volume.recovered = withDamage(volume.recovered!, reasons);
}

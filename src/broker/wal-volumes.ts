/**
 * The broker's WAL volumes at start (design §4, startup order): find what the metadata lists as open, lock and read it,
 * and refuse, having written nothing, when something acknowledged would be left behind. Main thread.
 */
import { dirname, join, resolve } from 'node:path';
import type { ClusterImage, WalRecord } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { formatWal } from '../stream/wal/format-wal.ts';
import { type RecoveredWal, readSuperblock, recoverWal } from '../stream/wal/recovery.ts';
import type { WalDevice } from '../stream/wal/wal-device.ts';
import type { WalConfig } from './broker-config.ts';
import type { VolumeFiles } from './volume-files.ts';

export interface VolumeDeps {
  readonly files: VolumeFiles;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly nodeId: number;
  /** Bytes written at a first start; the default where absent. */
  readonly initialBytes?: number | undefined;
}

export interface Volume {
  readonly index: number;
  readonly config: WalConfig;
  readonly kind: 'block' | 'memory';
  readonly logId: string;
  /** '' for memory. */
  readonly path: string;
  /** What the metadata recorded, null for a new log. */
  readonly record: WalRecord | null;
  /** Null for memory, and for a new log until `formatNew`: a start that is refused leaves no file. */
  device: WalDevice | null;
  recovered: RecoveredWal | null;
  release(): void;
}

function refused(code: string, message: string): MillraceError {
  return new MillraceError('invalid', code, message);
}

export function newLogId(random: Random): string {
  // No leading '-' : it names a file.
  for (;;) {
    const id = Buffer.from(random.bytes(new Uint8Array(16))).toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

/** Finds, locks and opens every volume; nothing is written but the lock files. */
export async function openVolumes(
  configs: readonly WalConfig[],
  image: ClusterImage,
  abandon: ReadonlySet<string>,
  deps: VolumeDeps,
): Promise<Volume[]> {
  const recorded = [...image.wals.values()].filter((wal) => wal.node === deps.nodeId && wal.kind === 'block');
  const open = recorded.filter((wal) => wal.state === 'open' && !abandon.has(wal.logId));
  const volumes: Volume[] = [];
  try {
    for (const [index, config] of configs.entries())
      volumes.push(await openVolume(index, config, recorded, volumes, image.clusterId, abandon, deps));
    for (const wal of open) {
      if (volumes.some((volume) => volume.logId === wal.logId)) continue;
      throw refused('WAL_MISSING', missing(wal));
    }
    return volumes;
  } catch (error) {
    for (const volume of volumes) volume.release();
    throw error;
  }
}

function missing(wal: WalRecord): string {
  const last =
    wal.lastUploadMs > 0
      ? `its last upload was at ${new Date(wal.lastUploadMs).toISOString()}`
      : 'it never uploaded anything';
  return (
    `the write-ahead log ${wal.logId} (${wal.location}) may hold acknowledged records that are nowhere else, and it is not here; ${last}. ` +
    `Bring the file back, or give up what it holds with --abandon-wal ${wal.logId}`
  );
}

async function openVolume(
  index: number,
  config: WalConfig,
  recorded: readonly WalRecord[],
  taken: readonly Volume[],
  clusterId: string,
  abandon: ReadonlySet<string>,
  deps: VolumeDeps,
): Promise<Volume> {
  if (config.location === 'memory:') {
    return {
      index,
      config,
      kind: 'memory',
      logId: newLogId(deps.random),
      path: '',
      record: null,
      device: null,
      recovered: null,
      release() {},
    };
  }
  const location = resolve(config.location);
  const isFile =
    location.endsWith('.wal') || (deps.files.exists(location) && !deps.files.isDirectory(location));
  const inPlace = (wal: WalRecord): boolean =>
    !taken.some((volume) => volume.logId === wal.logId) &&
    !abandon.has(wal.logId) &&
    (isFile ? resolve(wal.location) === location : dirname(resolve(wal.location)) === location);
  const candidates = recorded.filter(
    (wal) => inPlace(wal) && wal.state !== 'abandoned' && deps.files.exists(wal.location),
  );
  const record = candidates.find((wal) => wal.state === 'open') ?? candidates[0] ?? null;
  if (record === null && !isFile) deps.files.makeDirectory(location);
  if (!isFile) await refuseStrangers(location, recorded, clusterId, deps);
  const logId = record?.logId ?? newLogId(deps.random);
  const path =
    record !== null ? resolve(record.location) : isFile ? location : join(location, `${logId}.wal`);
  if (isFile) deps.files.makeDirectory(dirname(location));
  const lock = deps.files.lock(path);
  if ('heldBy' in lock)
    throw refused('WAL_IN_USE', `the write-ahead log ${path} is in use by ${lock.heldBy}`);
  const existed = deps.files.exists(path);
  try {
    if (existed && record === null) await refuseUsed(path, clusterId, deps);
    const volume: Volume = {
      index,
      config,
      kind: 'block',
      logId,
      path,
      record,
      device: existed ? deps.files.open(path, { create: false }) : null,
      recovered: null,
      release() {
        void volume.device?.close();
        lock.release();
      },
    };
    return volume;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** A WAL of another cluster, or one that is not clean and not ours, is never overwritten and never overlooked. */
async function refuseStrangers(
  directory: string,
  recorded: readonly WalRecord[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  for (const name of deps.files.list(directory)) {
    if (!name.endsWith('.wal')) continue;
    const path = join(directory, name);
    if (recorded.some((wal) => resolve(wal.location) === path)) continue;
    await refuseUsed(path, clusterId, deps);
  }
}

async function refuseUsed(path: string, clusterId: string, deps: VolumeDeps): Promise<void> {
  const device = deps.files.open(path, { create: false });
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
    if (
      error instanceof MillraceError &&
      (error.code === 'WAL_NOT_FORMATTED' || error.code === 'WAL_SUPERBLOCKS_LOST')
    ) {
      if (error.code === 'WAL_NOT_FORMATTED') return;
    }
    throw error;
  } finally {
    await device.close();
  }
}

/** Reads what each block volume holds; damage is reported and refused. */
export async function recoverVolumes(
  volumes: readonly Volume[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  for (const volume of volumes) {
    if (volume.device === null || volume.record === null) continue;
    volume.recovered = await recoverWal(volume.device, {
      crc32c: deps.crc32c,
      expectClusterId: clusterId,
      from: volume.record.freed,
    });
    const { recovered } = volume;
    if (recovered.state === 'damaged') {
      for (const lost of recovered.lost)
        deps.logger.error('offsets lost in a damaged write-ahead log', {
          topic: lost.topicId,
          partition: lost.partition,
          from: lost.from,
          until: lost.until,
          reason: lost.reason,
        });
      throw new MillraceError(
        'corrupt',
        'WAL_DAMAGED',
        `the write-ahead log ${volume.path} is damaged (${recovered.reasons.join('; ')}); nothing was changed. ` +
          `Restore the volume, or give up what it holds with --abandon-wal ${volume.logId}`,
      );
    }
    deps.logger.info('write-ahead log read', {
      log: volume.logId,
      state: recovered.state,
      batches: recovered.batches.count,
    });
  }
}

/** Formats volumes that are new; durable before anything records them. */
export async function formatNew(
  volumes: readonly Volume[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  for (const volume of volumes) {
    if (volume.kind === 'memory' || volume.record !== null) continue;
    volume.device ??= deps.files.open(volume.path, { create: true });
    const capacityBytes = Math.floor(volume.config.capacityBytes / 4096) * 4096;
    await formatWal(volume.device, {
      crc32c: deps.crc32c,
      logId: volume.logId,
      clusterId,
      node: deps.nodeId,
      capacityBytes,
      initialBytes: Math.min(capacityBytes, deps.initialBytes ?? initialBytes),
    });
    volume.recovered = await recoverWal(volume.device, { crc32c: deps.crc32c, expectClusterId: clusterId });
  }
}

/** Written at the first start; the rest of the first chunk follows between commits. */
const initialBytes = 8 * 1024 * 1024;

/**
 * The broker's WAL volumes at start (design §4, startup order): find what the metadata lists as open, lock and read it,
 * and refuse, having written nothing, when something acknowledged would be left behind. Main thread.
 */
import type { ClusterImage, WalRecord } from '../metadata/metadata-store.ts';
import { formatWal } from '../stream/wal/format-wal.ts';
import { recoverWal } from '../stream/wal/recovery.ts';
import { openLocalVolume } from './local-volume.ts';
import {
  claimObjectVolume,
  createObjectVolume,
  openObjectVolume,
  recoverObjectVolume,
} from './object-volume.ts';
import { claimSalvaged, notTaken, openSalvaged } from './salvage.ts';
import {
  claimPredecessor,
  fenceOwn,
  isShared,
  openSharedVolume,
  sharedPath,
  volumePath,
} from './shared-volume.ts';
import {
  isOwnLog,
  judgeRecovered,
  locationKind,
  newLogId,
  refused,
  type Volume,
  type VolumeDeps,
} from './volume.ts';
import type { WalConfig } from './wal-config.ts';
import { refuseStrangers, removeUnrecorded, withPlaces } from './wal-files.ts';

/** Finds, locks and opens every volume; nothing is written but the lock files. */
export async function openVolumes(
  configs: readonly WalConfig[],
  image: ClusterImage,
  abandon: ReadonlySet<string>,
  deps: VolumeDeps,
): Promise<Volume[]> {
  const durable = [...image.wals.values()].filter((wal) => wal.kind !== 'memory');
  const recorded = await withPlaces(durable, configs, image.clusterId, deps);
  const open = recorded.filter(
    (wal) => wal.state === 'open' && !abandon.has(wal.logId) && isOwnLog(wal, deps),
  );
  const salvaged = await openSalvaged(configs, recorded, image.clusterId, abandon, deps);
  const passed = new Set([...abandon, ...deps.salvage]);
  const volumes: Volume[] = [];
  try {
    for (const [index, config] of configs.entries()) {
      volumes.push(await openAnyVolume(index, config, recorded, volumes, image.clusterId, passed, deps));
    }
    while (salvaged.length > 0) {
      const log = salvaged.pop()!;
      volumes[log.index]!.predecessors.push(log);
    }
    for (const wal of open) {
      if (!isTaken(wal, volumes)) throw await notTaken(wal, open, deps.files);
    }
    return volumes;
  } catch (error) {
    for (const volume of [...volumes, ...salvaged]) volume.release();
    throw error;
  }
}

function isTaken(wal: WalRecord, volumes: readonly Volume[]): boolean {
  return volumes.some(
    (volume) =>
      volume.logId === wal.logId ||
      volume.predecessors.some((predecessor) => predecessor.logId === wal.logId),
  );
}

async function openAnyVolume(
  index: number,
  config: WalConfig,
  recorded: readonly WalRecord[],
  taken: readonly Volume[],
  clusterId: string,
  passed: ReadonlySet<string>,
  deps: VolumeDeps,
): Promise<Volume> {
  const candidates = recorded.filter(
    (wal) =>
      wal.state !== 'abandoned' && !passed.has(wal.logId) && !isTaken(wal, taken) && isOwnLog(wal, deps),
  );
  switch (locationKind(config.location)) {
    case 'memory':
      return memoryVolume(index, config, deps);
    case 'object':
      return openObjectVolume(index, config, candidates, clusterId, deps);
    case 'shared': {
      await refuseStrangers(sharedPath(config.location), recorded, clusterId, deps);
      return openSharedVolume(index, config, candidates, deps);
    }
    case 'block':
      return openLocalVolume(index, config, recorded, candidates, clusterId, deps);
  }
}

function memoryVolume(index: number, config: WalConfig, deps: VolumeDeps): Volume {
  return {
    index,
    config,
    kind: 'memory',
    logId: newLogId(deps.random),
    path: '',
    record: null,
    device: null,
    bytes: null,
    recovered: null,
    objects: null,
    fence: null,
    predecessors: [],
    release() {
      for (const predecessor of this.predecessors) predecessor.release();
    },
  };
}

/** Reads what each volume holds; damage is reported and refused. */
export async function recoverVolumes(
  volumes: readonly Volume[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  for (const volume of volumes) {
    for (const predecessor of volume.predecessors) {
      // Salvaged ones were read when they were opened.
      if (predecessor.recovered === null) await recoverBlockVolume(predecessor, clusterId, deps);
    }
    if (volume.record === null) continue;
    if (volume.kind === 'object') await recoverObjectVolume(volume, clusterId, deps);
    else if (volume.device !== null) await recoverBlockVolume(volume, clusterId, deps);
  }
}

async function recoverBlockVolume(volume: Volume, clusterId: string, deps: VolumeDeps): Promise<void> {
  const recovered = await recoverWal(volume.device!, {
    crc32c: deps.crc32c,
    expectClusterId: clusterId,
    from: volume.record!.freed,
  });
  judgeRecovered(volume, recovered, deps);
  volume.recovered = recovered;
  volume.bytes = volume.device;
}

/**
 * The metadata are claimed: from now on nobody else moves what is freed. Fences whoever may still write the logs, and
 * reads them to their true end.
 */
export async function claimVolumes(
  volumes: readonly Volume[],
  image: ClusterImage,
  deps: VolumeDeps,
): Promise<void> {
  for (const volume of volumes) {
    for (const predecessor of volume.predecessors) {
      const record = image.wals.get(predecessor.logId) ?? predecessor.record!;
      if (deps.salvage.has(predecessor.logId))
        await claimSalvaged(predecessor, record, image.clusterId, deps);
      else await claimPredecessor(predecessor, image.clusterId, deps);
    }
    if (volume.record === null) continue;
    const current = image.wals.get(volume.logId) ?? volume.record;
    if (volume.kind === 'object') await claimObjectVolume(volume, current, image.clusterId, deps);
    else if (volume.kind === 'block') {
      await fenceOwn(volume, image.clusterId, deps);
      // An owner that lives may have written until it was fenced.
      if (deps.takeOver) await recoverBlockVolume(volume, image.clusterId, deps);
    }
  }
  await removeUnrecorded(volumes, image.wals, image.clusterId, deps);
}

/** Formats volumes that are new; durable before anything records them. */
export async function formatNew(
  volumes: readonly Volume[],
  clusterId: string,
  deps: VolumeDeps,
): Promise<void> {
  for (const volume of volumes) {
    if (volume.kind === 'memory' || volume.record !== null) continue;
    if (volume.kind === 'object') await createObjectVolume(volume, clusterId, deps);
    else await formatBlockVolume(volume, clusterId, deps);
  }
}

async function formatBlockVolume(volume: Volume, clusterId: string, deps: VolumeDeps): Promise<void> {
  const shared = isShared(volume);
  const path = volumePath(volume);
  volume.device ??= await deps.files.open(path, { create: true });
  if (shared && !volume.device.direct) {
    throw refused(
      'WAL_NOT_DIRECT',
      `${path}: a shared write-ahead log needs O_DIRECT, which is not to be had`,
    );
  }
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
  volume.bytes = volume.device;
  await fenceOwn(volume, clusterId, deps);
}

/** Written at the first start; the rest of the first chunk follows between commits. */
const initialBytes = 8 * 1024 * 1024;

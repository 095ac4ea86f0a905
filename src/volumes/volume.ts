/**
 * One WAL volume of a broker, as its start sees it: found, read, claimed, and then given to whoever writes it. Main
 * thread.
 */
import type { WalRecord } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { SequencedEntries } from '../store/sequenced-entries.ts';
import type { ObjectWalRecovery, RecoveredObjectWal } from '../stream/wal/object-wal-recovery.ts';
import type { RecoveredWal } from '../stream/wal/recovery.ts';
import type { WalBytes, WalDevice } from '../stream/wal/wal-device.ts';
import type { VolumeFiles } from './volume-files.ts';
import type { WalConfig } from './wal-config.ts';

export interface VolumeDeps {
  readonly files: VolumeFiles;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly nodeId: number;
  /** Other brokers have logs of their own in the same metadata; else all that are on record are this broker's to bring in. */
  readonly inCluster: boolean;
  /** Who writes, for people: node and host. */
  readonly writer: string;
  /** The broker's own store, its URL, and any other. */
  readonly store: ObjectStore;
  readonly storeUrl: string;
  readonly openStore: (url: string) => Promise<ObjectStore>;
  /** Take logs from an owner that may live: it is fenced. */
  readonly takeOver: boolean;
  /** Ids of logs whose damage is accepted; those that prove whole are removed from it. */
  readonly salvage: Set<string>;
  /** Bytes written at a first start; the default where absent. */
  readonly initialBytes?: number | undefined;
}

/** What a volume of objects has besides. */
export interface ObjectLog {
  readonly entries: SequencedEntries;
  /** For the thread that will write it. */
  readonly storeUrl: string;
  recovery: ObjectWalRecovery | null;
  /** Set once the log is fenced: where its new epoch begins. */
  claimed: RecoveredObjectWal | null;
}

export interface Volume {
  readonly index: number;
  readonly config: WalConfig;
  readonly kind: 'block' | 'memory' | 'object';
  readonly logId: string;
  /** Where it lies, as the metadata records it; '' for memory. */
  readonly path: string;
  /** What the metadata recorded, null for a new log. */
  record: WalRecord | null;
  /** Null for memory and objects, and for a new log until `formatNew`: a start that is refused leaves no file. */
  device: WalDevice | null;
  /** Where the batches that were recovered are read from. */
  bytes: WalBytes | null;
  recovered: RecoveredWal | null;
  readonly objects: ObjectLog | null;
  /** Block volumes: the fence page that their owner must find after each write. */
  fence: Buffer | null;
  /** Logs of fenced owners in this volume's place, and damaged ones: read, brought into objects, and never written again. */
  readonly predecessors: Volume[];
  release(): void;
}

/**
 * A block volume with its file or device, null where none is made yet. Letting it go closes that and unlocks it, its
 * predecessors with it.
 */
export function blockVolume(
  at: Pick<Volume, 'index' | 'config' | 'logId' | 'path' | 'record' | 'predecessors'>,
  device: WalDevice | null,
  unlock: () => void,
): Volume {
  const volume: Volume = {
    ...at,
    kind: 'block',
    device,
    bytes: null,
    recovered: null,
    objects: null,
    fence: null,
    release() {
      void volume.device?.close();
      unlock();
      for (const predecessor of volume.predecessors) predecessor.release();
    },
  };
  return volume;
}

/** Whether the log is this broker's to bring in and to go on with. */
export function isOwnLog(
  { node }: Pick<WalRecord, 'node'>,
  deps: Pick<VolumeDeps, 'inCluster' | 'nodeId'>,
): boolean {
  return !deps.inCluster || node === deps.nodeId;
}

export function refused(code: string, message: string): MillraceError {
  return new MillraceError('invalid', code, message);
}

export function newLogId(random: Random): string {
  // No leading '-' : it names a file.
  for (;;) {
    const id = Buffer.from(random.bytes(new Uint8Array(16))).toString('base64url');
    if (!id.startsWith('-')) return id;
  }
}

/** The kind of volume that a location names. */
export function locationKind(location: string): 'memory' | 'object' | 'shared' | 'block' {
  if (location === 'memory:') return 'memory';
  if (/^(store|s3):/.test(location)) return 'object';
  return location.startsWith('shared:') ? 'shared' : 'block';
}

/**
 * Epoch under which a volume is written from now on: higher than any that was recorded, so that a fence page tells a log
 * from an older copy of itself even where a start ended between its record and its first superblock.
 */
export function volumeEpoch(volume: Volume): number {
  const { objects, recovered, record } = volume;
  const claimed = objects?.claimed?.superblock.epoch;
  return claimed ?? Math.max(recovered?.superblock.epoch ?? 0, record?.epoch ?? 0) + 1;
}

export function missingWal(wal: WalRecord): MillraceError {
  const last =
    wal.lastUploadMs > 0
      ? `its last upload was at ${new Date(wal.lastUploadMs).toISOString()}`
      : 'it never uploaded anything';
  const what =
    `the write-ahead log ${wal.logId} (${wal.location}) may hold acknowledged records that are nowhere else, and it is not here; ${last}. ` +
    `Bring it back${wal.kind === 'object' ? ' or point --wal at it' : ''}, or give up what it holds with --abandon-wal ${wal.logId}`;
  return refused('WAL_MISSING', what);
}

const rangesNamed = 10;

/** Logs what a volume holds, and refuses damage, unless it is salvaged, by naming what is lost. */
export function judgeRecovered(
  volume: Volume,
  recovered: RecoveredWal,
  { logger, salvage }: Pick<VolumeDeps, 'logger' | 'salvage'>,
): void {
  const { logId, path } = volume;
  if (recovered.state !== 'damaged') {
    const fields = { log: logId, state: recovered.state, batches: recovered.batches.count };
    logger.info('write-ahead log read', fields);
    return;
  }
  if (salvage.has(logId)) return;
  for (const { topicId, partition, from, until, reason } of recovered.lost) {
    const fields = { topic: topicId, partition, from, until, reason };
    logger.error('offsets lost in a damaged write-ahead log', fields);
  }
  const lost = recovered.lost
    .slice(0, rangesNamed)
    .map(({ topicId, partition, from, until }) => `${topicId}-${partition} offsets ${from} to ${until - 1}`);
  const more = recovered.lost.length - lost.length;
  const commits = recovered.lostCommits
    .slice(0, rangesNamed)
    .map(({ from, until }) => (until === from + 1 ? `${from}` : `${from} to ${until - 1}`));
  const loss =
    (lost.length === 0 ? '' : `; lost: ${lost.join(', ')}${more > 0 ? ` and ${more} ranges more` : ''}`) +
    (commits.length === 0 ? '' : `; missing commits: ${commits.join(', ')}`);
  throw new MillraceError(
    'corrupt',
    'WAL_DAMAGED',
    `the write-ahead log ${path} is damaged (${recovered.reasons.slice(0, rangesNamed).join('; ')}${loss}); nothing was changed. ` +
      `Restore the volume; or start with --salvage-wal ${logId}, which keeps every whole one of the ${recovered.batches.count} batches found and ` +
      `loses what is damaged or missing; or with --abandon-wal ${logId}, which gives up all that only this log holds`,
  );
}

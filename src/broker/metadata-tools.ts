/** An operator's commands over a cluster's metadata, with what they work on opened and closed again. No broker runs in this process. */
import { existsSync } from 'node:fs';
import { parseMetadataUrl } from '../config/cluster-settings.ts';
import { EtcdPlace } from '../metadata/etcd/etcd-place.ts';
import type { EtcdKv } from '../metadata/etcd/kv.ts';
import { type MetadataStatus, metadataStatus } from '../metadata/etcd/metadata-status.ts';
import { type MigrateReport, migrate } from '../metadata/etcd/migrate.ts';
import { type RestoreReport, restore } from '../metadata/etcd/restore.ts';
import type { ClusterImage, MetadataAuthority } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { SequencedEntries } from '../store/sequenced-entries.ts';
import { hasCode } from '../store/store-errors.ts';
import { awaitSilence } from '../stream/wal/sign-of-life.ts';
import type { ThreadNative } from '../threads/adapters/thread-native.ts';
import { guardedStore, storeBoardFor } from '../threads/adapters/thread-store.ts';
import { StoreBoard } from '../threads/memory/store-board.ts';
import { pathOf } from '../volumes/shared-volume.ts';
import { SystemVolumeFiles } from '../volumes/volume-files.ts';
import { openEtcdKv } from './authority.ts';
import type { ClusterConfig } from './broker-config.ts';
import { lockDataDirectory } from './data-directory.ts';

export type { MetadataStatus, MigrateReport, RestoreReport };

/** How an etcd is spoken to, wherever it is. */
export type EtcdAccess = Omit<ClusterConfig, 'endpoints' | 'prefix' | 'url'>;

export interface MetadataToolsConfig {
  readonly storeUrl: string;
  readonly dataDir: string;
  /** Of the etcd that is named; null = none is. */
  readonly etcdUrl: string | null;
  readonly access: EtcdAccess;
  /** Signs of life of brokers are not waited for. */
  readonly takeOver: boolean;
  readonly dryRun: boolean;
  /** Who writes, for people. */
  readonly writer: string;
}

export interface MetadataToolsPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly native: ThreadNative;
}

export class MetadataTools {
  readonly #config: MetadataToolsConfig;
  readonly #ports: MetadataToolsPorts;
  readonly #opened: EtcdKv[] = [];

  constructor(config: MetadataToolsConfig, ports: MetadataToolsPorts) {
    this.#config = config;
    this.#ports = ports;
  }

  show(): Promise<MetadataStatus> {
    return this.#withStore((store) =>
      metadataStatus(this.#options(store), async ({ location }) => {
        const url = this.#config.etcdUrl ?? location;
        return url === '' ? null : new EtcdPlace(await this.#etcd(url));
      }),
    );
  }

  restore(): Promise<RestoreReport> {
    const { etcdUrl, dryRun } = this.#config;
    if (etcdUrl === null) throw setting('restore needs --metadata etcd://…: where the metadata are to be');
    return this.#withStore(async (store) =>
      restore({
        ...this.#options(store),
        ...(await this.#etcd(etcdUrl)),
        alive: (image) => this.#alive(image, store),
        former: (authority) => this.#former(authority, etcdUrl),
        dryRun,
      }),
    );
  }

  /** @param to an etcd's URL, or `embedded`. */
  migrate(to: string): Promise<MigrateReport> {
    const { dryRun } = this.#config;
    return this.#withStore(async (store) => {
      const options = this.#options(store);
      const embedded = to === 'embedded';
      const status = embedded ? await metadataStatus(options, async () => null) : null;
      const url = embedded ? (this.#config.etcdUrl ?? status!.store.authority.location) : to;
      // Without an etcd there is nothing to move: the store's own metadata say so.
      if (url === '') return already(status!);
      return migrate({
        ...options,
        ...(await this.#etcd(url)),
        alive: (image) => this.#alive(image, store),
        to: embedded ? 'store' : 'etcd',
        dryRun,
      });
    });
  }

  async #withStore<T>(use: (store: ObjectStore) => Promise<T>): Promise<T> {
    const { clock, random, native } = this.#ports;
    const alone = { threads: 0, wals: [], storeBandwidth: Number.POSITIVE_INFINITY };
    const board = StoreBoard.claim(storeBoardFor(alone, 0));
    const { crc32c } = native;
    const store = await guardedStore(this.#config.storeUrl, { clock, random, crc32c, board });
    try {
      return await use(store);
    } finally {
      for (const kv of this.#opened.splice(0)) await kv.close();
      await store.close();
    }
  }

  #options(store: ObjectStore) {
    const { clock, random, logger, native } = this.#ports;
    const { writer } = this.#config;
    return { store, clock, random, logger, crc32c: native.crc32c, writer };
  }

  async #etcd(url: string) {
    const place = parseMetadataUrl(url);
    if (place === null) throw setting(`${url} is no etcd://HOST:PORT,HOST:PORT/prefix`);
    const { clock, random } = this.#ports;
    const kv = await openEtcdKv({ ...this.#config.access, ...place, url }, this.#ports);
    this.#opened.push(kv);
    return { kv, prefix: place.prefix, location: url, clock, random };
  }

  /** What the etcd that the store names says of itself. */
  async #former({ location }: MetadataAuthority, target: string) {
    if (location === target || parseMetadataUrl(location) === null) return null;
    try {
      return (await new EtcdPlace(await this.#etcd(location)).look()).record;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#ports.logger.info('the etcd that the store names does not answer', { etcd: location, reason });
      return null;
    }
  }

  /** What can be seen from this machine: locks of directories and logs, and what is written to logs in the store. */
  async #alive(image: ClusterImage, store: ObjectStore): Promise<string[]> {
    const { dataDir, takeOver } = this.#config;
    const { native } = this.#ports.native;
    const signs: string[] = [];
    if (existsSync(dataDir)) {
      try {
        lockDataDirectory(dataDir, native)();
      } catch (error) {
        if (!(error instanceof MillraceError) || error.code !== 'DATA_DIR_IN_USE') throw error;
        signs.push(error.message);
      }
    }
    const open = [...image.wals.values()].filter(({ state }) => state === 'open');
    const files = new SystemVolumeFiles(this.#ports.native.files, native);
    for (const { logId, kind, location } of open) {
      if (kind !== 'block' || !existsSync(pathOf(location))) continue;
      const lock = await files.lock(pathOf(location));
      if ('heldBy' in lock) signs.push(`the log ${logId} (${location}) is in use by ${lock.heldBy}`);
      else lock.release();
    }
    if (takeOver || signs.length > 0) return signs;
    const inStore = open.filter(({ kind, location }) => kind === 'object' && location === 'store:');
    const { clock, logger, random } = this.#ports;
    const { crc32c } = this.#ports.native;
    const { writer } = this.#config;
    await Promise.all(
      inStore.map(async ({ logId, epoch }) => {
        const entries = new SequencedEntries({ store, entryPrefix: `wal/${logId}/`, writer, random, crc32c });
        try {
          await awaitSilence(entries, { clock, logger, crc32c, logId, epoch });
        } catch (error) {
          if (!hasCode(error, 'WAL_OWNER_ALIVE')) throw error;
          signs.push(`the log ${logId} in the store is written`);
        }
      }),
    );
    return signs;
  }
}

function already({ store: { clusterId, revision, logs } }: MetadataStatus): MigrateReport {
  if (clusterId === '')
    throw new MillraceError('invalid', 'METADATA_NONE', 'the store holds no metadata of a cluster');
  return { outcome: 'already', clusterId, from: 'the store', to: 'the store', revision, logs };
}

function setting(message: string): MillraceError {
  return new MillraceError('invalid', 'SETTING', message);
}

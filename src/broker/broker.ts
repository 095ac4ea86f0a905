/**
 * One broker from start to stop on the main thread. The order of a start is the design's (§4): lock → read metadata →
 * find, lock and read WALs, refuse here → seal the metadata → restore → one commit that closes and re-opens everything
 * under higher leader epochs → new WAL epochs → serve. A stop goes the other way: drain → upload all → close → clean.
 */
import { hostname } from 'node:os';
import type { NativeBindings } from '../../native-bindings/contract.ts';
import { TopicAdmin } from '../cluster/topic-admin.ts';
import { KafkaConfigCatalog } from '../config/config-catalog.ts';
import { EmbeddedMetadataStore } from '../metadata/embedded-metadata-store.ts';
import type { BrokerRegistration, MetadataClaim } from '../metadata/metadata-claim.ts';
import { ObjectIds } from '../ownership/object-ids.ts';
import { Ownership } from '../ownership/ownership.ts';
import { recoverStreams } from '../ownership/recover-streams.ts';
import { foldProducers } from '../ownership/stored-producers.ts';
import { UploadCoordinator } from '../ownership/upload-coordinator.ts';
import { VolumePins } from '../ownership/volume-pins.ts';
import type { Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import { AloneWatch } from '../shard/alone-watch.ts';
import { makeDurableDirectory } from '../store/file-io.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import { ObjectReader } from '../stream/read/object-reader.ts';
import { keepAlive } from '../threads/adapters/keep-alive.ts';
import { type ThreadNative, threadNative } from '../threads/adapters/thread-native.ts';
import { guardedStore, storeBoardFor, storeStats } from '../threads/adapters/thread-store.ts';
import { StoreBoard, type StoreBoardMemory } from '../threads/memory/store-board.ts';
import type { SpawnedShard } from '../threads/shard/client.ts';
import type { BackgroundService } from '../upkeep/background-service.ts';
import { Compaction } from '../upkeep/compaction.ts';
import { OrphanSweep } from '../upkeep/orphan-sweep.ts';
import { SoleScope } from '../upkeep/scope.ts';
import { tellAbandoned } from '../volumes/abandoned-offsets.ts';
import { StartWatch } from '../volumes/start-watch.ts';
import { type Volume, type VolumeDeps, volumeEpoch } from '../volumes/volume.ts';
import { SystemVolumeFiles, type VolumeFiles } from '../volumes/volume-files.ts';
import { retirePredecessors, walRecords } from '../volumes/wal-records.ts';
import { claimVolumes, formatNew, openVolumes, recoverVolumes } from '../volumes/wal-volumes.ts';
import { answerMs, WatchedVolumeFiles } from '../volumes/watched-files.ts';
import { backgroundServices, housekeepingNumbers } from './background.ts';
import type { BrokerConfig } from './broker-config.ts';
import type { BrokerNumbers } from './broker-numbers.ts';
import type { BrokerPorts } from './broker-ports.ts';
import { lockDataDirectory } from './data-directory.ts';
import { checkDeployment, deploy, spawn } from './deploy.ts';
import { type Deployment, poolThreads } from './deployment.ts';
import { inTime } from './in-time.ts';
import { type BrokerListeners, Listeners } from './listeners.ts';
import { MetadataDistributor } from './metadata-distributor.ts';
import { shardLoad } from './shard-load.ts';
import { StopProgress } from './stop-progress.ts';
import { StoreHealth } from './store-health.ts';
import { readTlsMaterial } from './tls-material.ts';

const housekeepingMs = 30_000;
/** A device that answers nothing must not hold up an end. */
const closeTimeoutMs = 5_000;

/** A write-ahead log's thread loads its code before it opens the log. */
const threadStartMs = 30_000;

export class RunningBroker {
  readonly config: BrokerConfig;
  readonly native: boolean;
  /** Rejects never; resolves with the reason when the broker failed and must be stopped. */
  readonly failed: Promise<Error>;
  private readonly ports: BrokerPorts;
  private readonly threadNative: ThreadNative;
  private fail!: (error: Error) => void;
  private releases: (() => void)[] = [];
  private store!: ObjectStore;
  private readonly storeBoard: StoreBoardMemory;
  private readonly board: StoreBoard;
  private readonly health: StoreHealth;
  private metadata!: MetadataDistributor;
  private volumes: Volume[] = [];
  /** Shard threads that the deployment has not taken yet. */
  private spawned: SpawnedShard[] = [];
  private deployment!: Deployment;
  private uploads!: UploadCoordinator;
  private pins!: VolumePins;
  private ownership!: Ownership;
  private alone: AloneWatch | null = null;
  private readonly listeners: BrokerListeners;
  private readonly files: VolumeFiles;
  private readonly watch: StartWatch;
  private brokerEpoch = 0;
  private background: BackgroundService[] = [];
  private stopping: Promise<'clean' | 'unfinished'> | null = null;
  private aborted = false;

  private constructor(config: BrokerConfig, ports: BrokerPorts) {
    this.config = config;
    this.ports = ports;
    this.threadNative = threadNative(config.native);
    this.native = this.threadNative.native !== null;
    this.storeBoard = storeBoardFor(config, poolThreads);
    this.board = StoreBoard.claim(this.storeBoard);
    this.health = new StoreHealth(ports.clock, ports.logger);
    this.listeners = ports.listeners ?? new Listeners(ports.clock, ports.logger);
    this.watch = new StartWatch(ports.clock, ports.logger);
    const files =
      ports.storage?.volumeFiles ?? new SystemVolumeFiles(this.threadNative.files, this.threadNative.native);
    this.files = new WatchedVolumeFiles(files, this.watch, answerMs(config.wals));
    this.failed = new Promise((resolve) => {
      this.fail = resolve;
    });
  }

  /**
   * @param stopping ends a start that waits for what does not answer. A start that ends while a call of a volume is out
   * rejects with an error that is `stuck`.
   */
  static async start(
    config: BrokerConfig,
    ports: BrokerPorts,
    stopping?: AbortSignal,
  ): Promise<RunningBroker> {
    const broker = new RunningBroker(config, ports);
    const stop = (): void => broker.watch.stop();
    // Timers keep no process alive, and while it waits for a silent owner or for its store there may be nothing else.
    const letGo = keepAlive();
    stopping?.addEventListener('abort', stop);
    if (stopping?.aborted) stop();
    try {
      await broker.open();
      return broker;
    } catch (error) {
      await broker.abort();
      throw broker.stuck && error instanceof Error ? Object.assign(error, { stuck: true }) : error;
    } finally {
      stopping?.removeEventListener('abort', stop);
      letGo();
    }
  }

  get clusterId(): string {
    return this.metadata.image.clusterId;
  }

  address(listener: string): string | null {
    return this.listeners.address(listener);
  }

  /** A thread is inside a call of a volume that does not return: its lock is kept, and process.exit waits for it. */
  get stuck(): boolean {
    return (this.deployment?.stuck() ?? false) || this.watch.outstanding > 0;
  }

  private async open(): Promise<void> {
    const { config, ports, watch } = this;
    const { clock, random, logger } = ports;
    const { native, crc32c } = this.threadNative;
    checkDeployment(config);
    const tls = readTlsMaterial(config.tls, random);
    if (config.dataDir !== null) {
      const { dataDir } = config;
      await watch.call(dataDir, answerMs(config.wals), () => makeDurableDirectory(dataDir));
      this.releases.push(lockDataDirectory(dataDir, native));
    }
    this.spawned = await watch.step('threads', () => spawn(config, this.threadNative));
    await this.listeners.bind(config.listeners, this.acceptorNative());
    this.store = await watch.step(`the store ${config.storeUrl}`, () =>
      guardedStore(config.storeUrl, {
        clock,
        random,
        crc32c,
        board: this.board,
        observer: this.health,
        layer: (opened) => ports.storage?.store?.(opened) ?? opened,
      }),
    );
    const snapshotEntries = ports.storage?.snapshotEntries;
    const claim: MetadataClaim = await watch.step('reading the metadata', () =>
      EmbeddedMetadataStore.open({
        store: this.store,
        clock,
        random,
        logger,
        crc32c,
        writer: `node ${config.nodeId} on ${ports.storage?.host ?? hostname()}`,
        onFenced: (error) => this.fail(error),
        ...(snapshotEntries === undefined ? {} : { snapshotEntries }),
      }),
    );
    const abandon = new Set(config.abandonWals);
    const volumeDeps: VolumeDeps = {
      writer: `node ${config.nodeId} on ${ports.storage?.host ?? hostname()}`,
      store: this.store,
      storeUrl: config.storeUrl,
      openStore: (url) => guardedStore(url, { clock, random, crc32c, board: this.board }),
      takeOver: config.takeOver,
      salvage: new Set(config.salvageWals),
      files: this.files,
      crc32c,
      clock,
      random,
      logger,
      nodeId: config.nodeId,
      initialBytes: ports.storage?.walGrowth?.initial,
    };
    const before = claim.image.revision;
    this.volumes = await watch.step('finding the write-ahead logs', () =>
      openVolumes(config.wals, claim.image, abandon, volumeDeps),
    );
    await watch.step('reading the write-ahead logs', () =>
      recoverVolumes(this.volumes, claim.image.clusterId, volumeDeps),
    );
    await watch.step('claiming the metadata', () => claim.claim(config.takeOver ? undefined : before));
    const { image } = claim;
    await watch.step('claiming the write-ahead logs', () => claimVolumes(this.volumes, image, volumeDeps));
    await watch.step('formatting new write-ahead logs', () =>
      formatNew(this.volumes, image.clusterId, volumeDeps),
    );
    for (const wal of image.wals.values()) {
      if (wal.state === 'open' && abandon.has(wal.logId)) {
        await tellAbandoned(wal, image, config.wals, volumeDeps);
      }
    }
    // New WALs are recorded before anything can be written to them; opens below are conditional on that.
    const registered = await watch.step('recording the write-ahead logs', () =>
      claim.register(
        this.registration(),
        walRecords(image.wals.values(), this.volumes, abandon, config.nodeId, logger),
      ),
    );
    this.brokerEpoch = registered.epoch;
    this.metadata = new MetadataDistributor(registered.store, (error) => this.fail(error));
    this.pins = new VolumePins(this.volumes);
    const admin = new TopicAdmin({
      metadata: this.metadata,
      clock,
      random,
      logger,
      nodeId: config.nodeId,
      drops: {
        references: this.metadata.references,
        graceMs: config.objectGraceMs,
      },
      walFor: (topicId, partition) => this.pins.logFor(topicId, partition),
    });
    this.alone = new AloneWatch(config.aloneMaxMs, () => claim.contactedAt, clock, logger);
    this.deployment = await deploy({
      alone: this.alone.memory,
      config,
      ports,
      native: this.threadNative,
      store: this.store,
      board: this.board,
      storeBoard: this.storeBoard,
      image: this.metadata.snapshot(),
      clusterId: image.clusterId,
      endpoints: this.listeners.endpoints(),
      tls,
      control: admin,
      logIds: this.volumes.map(({ logId }) => logId),
      files: this.files,
      spawned: this.spawned,
      onDeath: (error) => this.fail(error),
    });
    this.spawned = [];
    for (const shard of this.deployment.shards)
      this.metadata.addSink((revisionNow, changes) => shard.applyChanges(revisionNow, changes));
    this.uploads = this.uploadCoordinator();
    this.ownership = this.makeOwnership();
    await watch.step('recovering', () => this.openAll());
    await watch.step('retiring former write-ahead logs', () =>
      retirePredecessors(this.volumes, this.metadata, volumeDeps),
    );
    const epochs = this.volumes.map(volumeEpoch);
    await watch.call('a write-ahead log', answerMs(config.wals) + threadStartMs, () =>
      this.deployment.startWals(this.volumes, epochs),
    );
    this.alone.start();
    for (const shard of this.deployment.shards) await shard.beginServing();
    this.uploads.start();
    this.ownership.start();
    this.background = backgroundServices({
      config,
      ports,
      store: this.store,
      openStore: volumeDeps.openStore,
      metadata: this.metadata,
      scope: new SoleScope(claim.idFloor, clock),
      deployment: this.deployment,
      crc32c: this.threadNative.crc32c,
      brokerEpoch: this.brokerEpoch,
    });
    for (const service of this.background) service.start();
    this.keepHouse();
    this.listeners.serve(this.deployment);
  }

  /** Descriptors can be given to shard threads; else Node's own servers listen. */
  private acceptorNative(): NativeBindings | null {
    return this.config.threads > 0 ? this.threadNative.native : null;
  }

  private registration(): BrokerRegistration {
    const { listeners, interBrokerListener } = this.config;
    const told = this.listeners.endpoints();
    const endpoints = listeners.map(({ name, tls }) => ({ listener: name, tls, ...told[name]! }));
    const first = endpoints.filter(({ listener }) => listener === interBrokerListener);
    return {
      node: this.config.nodeId,
      endpoints: [...first, ...endpoints.filter((endpoint) => !first.includes(endpoint))],
      rack: this.config.rack,
    };
  }

  private makeOwnership(): Ownership {
    const { config, deployment, metadata, ports, pins } = this;
    const { crc32c } = this.threadNative;
    return new Ownership({
      metadata,
      shards: deployment.shards,
      uploads: this.uploads,
      pins,
      failed: (index) => deployment.walMetrics(index).failed === 1,
      fold: (partitions) => {
        // Read anew each time: what was cached may be gone since.
        const { store } = this;
        const sizeOf = (id: string): number | undefined => metadata.image.objects.get(id)?.size;
        const manifests = new ManifestCache({ store, crc32c, clusterId: () => this.clusterId });
        return foldProducers(partitions, new ObjectReader({ store, crc32c, sizeOf }), manifests);
      },
      catalog: new KafkaConfigCatalog(config.staticConfigs),
      nodeId: config.nodeId,
      clock: ports.clock,
      logger: ports.logger,
    });
  }

  /** Opens every stream at its recovered end, under a higher leader epoch. */
  private async openAll(): Promise<void> {
    const { metadata, config, ports, deployment } = this;
    const streams = [...metadata.image.topicsById.values()].flatMap(({ partitions }) => partitions);
    if (streams.length === 0) return;
    const recovered = await recoverStreams({
      volumes: this.volumes,
      shards: deployment.shards,
      metadata,
      fold: this.ownership.fold,
      arena: deployment.arena,
      crc32c: this.threadNative.crc32c,
      clock: ports.clock,
      logger: ports.logger,
      ids: new ObjectIds(metadata),
      upload: (upload) => deployment.upload(upload, 1),
      discard: (objectIds) => this.store.delete(objectIds.map(objectKey)),
      identity: { clusterId: this.clusterId, node: config.nodeId, brokerEpoch: this.brokerEpoch },
      ...(ports.storage?.planLimits === undefined ? {} : { planLimits: ports.storage.planLimits }),
      roomBytes: config.logCacheBytes * 0.75,
      roomBatches: config.journalEntries / 2,
      relieve: (index, sequence) => this.uploads.relieve(index, sequence),
    });
    await this.ownership.open(streams, recovered);
  }

  private uploadCoordinator(): UploadCoordinator {
    const { config, deployment } = this;
    return new UploadCoordinator({
      volumes: this.volumes.map((volume, i) => ({
        index: i,
        logId: volume.logId,
        get control() {
          return deployment.controls[i]!;
        },
        usedBytes: () => deployment.usedBytes(i),
        capacityBytes: () => deployment.walMetrics(i).capacityBytes ?? volume.config.capacityBytes,
      })),
      shards: deployment.shards,
      metadata: this.metadata,
      ids: new ObjectIds(this.metadata),
      upload: (plan, share) => deployment.upload(plan, share),
      flow: this.board,
      discard: (objectIds) => this.store.delete(objectIds.map(objectKey)),
      observe: (ms) => this.onUploaded(ms),
      load: () => shardLoad(deployment.shards),
      health: this.health,
      clock: this.ports.clock,
      random: this.ports.random,
      logger: this.ports.logger,
      ...(this.ports.storage?.planLimits === undefined ? {} : { planLimits: this.ports.storage.planLimits }),
      identity: { clusterId: this.clusterId, node: config.nodeId, brokerEpoch: this.brokerEpoch },
      uploadBytes: config.uploadBytes,
      logCacheBytes: config.logCacheBytes,
      ageMs: config.uploadAgeMs,
    });
  }

  /** Told of each upload's time, for the metrics. */
  onUploaded: (ms: number) => void = () => {};

  /** Slow chores of all threads: idle producers are forgotten, idle arena memory goes back to the system. */
  private keepHouse(): void {
    this.housekeeping = this.ports.clock.after(housekeepingMs, () => {
      for (const shard of this.deployment.shards) shard.maintain().catch(() => {});
      const { native } = this.threadNative;
      if (native !== null) this.deployment.arena.giveBack(native);
      this.keepHouse();
    });
  }

  /** Everything uploaded and recorded: the data directory is not needed any more. */
  stop(): Promise<'clean' | 'unfinished'> {
    this.stopping ??= this.close();
    return this.stopping;
  }

  private async close(): Promise<'clean' | 'unfinished'> {
    const { clock, logger } = this.ports;
    const letGo = keepAlive();
    this.listeners.close();
    this.uploads.hurry();
    this.uploads.resetProgress();
    const { shutdownTimeoutMs } = this.config;
    const progress = new StopProgress(clock, logger, shutdownTimeoutMs, () => this.uploads.progress);
    let clean = true;
    try {
      // A store that does not answer keeps a metadata commit trying for ever: the time given ends that, too.
      if (!(await inTime(clock, shutdownTimeoutMs, this.uploadAndClose(progress)))) {
        throw new MillraceError('unavailable', 'STOP_TIMEOUT', `not done within ${shutdownTimeoutMs} ms`);
      }
    } catch (error) {
      clean = false;
      this.aborted = true;
      logger.error('not everything could be uploaded; the write-ahead log stays open', {
        error: (error as Error).message,
      });
    }
    progress.end(clean);
    await this.release(clean);
    letGo();
    return clean ? 'clean' : 'unfinished';
  }

  private async uploadAndClose(progress: StopProgress): Promise<void> {
    const { clock } = this.ports;
    progress.phase = 'answering what is under way';
    await Promise.all(
      this.deployment.shards.map((shard) => shard.drain(Math.min(5_000, this.config.shutdownTimeoutMs / 4))),
    );
    progress.phase = 'waiting for the write-ahead log';
    await Promise.all(this.deployment.shards.map((shard) => shard.quiesce()));
    progress.phase = 'uploading';
    await this.ownership.stop();
    await this.uploads.stop();
    await Promise.all(this.background.map((service) => service.stop()));
    for (;;) {
      try {
        return await this.ownership.closeAll();
      } catch (error) {
        if (this.aborted) throw error;
        await new Promise<void>((resolve) => clock.after(500, resolve));
      }
    }
  }

  /** Stops at once: nothing is uploaded, the WALs stay recorded as open. */
  async abort(): Promise<void> {
    this.aborted = true;
    const letGo = keepAlive();
    this.listeners.close();
    // What they have under way fails with the store below them; nothing of theirs begins any more.
    const services: (BackgroundService | UploadCoordinator | Ownership | undefined)[] = [
      this.ownership,
      this.uploads,
      ...this.background,
    ];
    for (const service of services) service?.stop().catch(() => {});
    await this.release(false);
    letGo();
  }

  private released = false;
  private housekeeping: Timer | null = null;

  private async release(clean: boolean): Promise<void> {
    if (this.released) return;
    this.released = true;
    this.housekeeping?.cancel();
    this.alone?.stop();
    await Promise.all(this.spawned.map((shard) => shard.terminate()));
    // Not a clean end: what the store has not answered by now is not waited for.
    if (!clean) await this.store?.close().catch(() => {});
    const { clock, logger } = this.ports;
    const closed = await inTime(clock, closeTimeoutMs, this.deployment?.close(clean));
    await inTime(
      clock,
      closeTimeoutMs,
      this.metadata?.close().catch(() => {}),
    );
    if (clean) await this.store?.close().catch(() => {});
    if (closed && !this.stuck) {
      for (const volume of this.volumes) volume.release();
      for (const release of this.releases) release();
      this.threadNative.release();
    } else {
      // A write that is stuck may still reach its volume.
      logger.warn('a write-ahead log did not close in time; its lock is kept until this process ends');
    }
  }

  /** Numbers of all threads for the metrics page. */
  async metrics(): Promise<BrokerNumbers> {
    return {
      shards: await Promise.all(this.deployment.shards.map((shard) => shard.metrics())),
      wals: this.volumes.map((_volume, i) => this.deployment.walMetrics(i)),
      snapshots: await Promise.all(this.deployment.shards.map((shard) => shard.snapshot())),
      walWriteBuckets: this.volumes.map((_volume, i) => this.deployment.walWriteBuckets(i)),
      uploads: {
        uploads: this.uploads.uploads,
        uploadedBytes: this.uploads.uploadedBytes,
        uploadedObjects: this.uploads.uploadedObjects,
        failures: this.uploads.failures,
      },
      compaction: this.background.find((service) => service instanceof Compaction)?.numbers ?? null,
      orphans: this.background.find((service) => service instanceof OrphanSweep)!,
      housekeeping: housekeepingNumbers(this.background),
      arena: {
        bytes: this.deployment.arena.segmentBytes * this.deployment.arena.segmentCount,
        freeBytes: this.deployment.arena.segmentBytes * this.deployment.arena.freeSegments(),
      },
      store: {
        stats: storeStats(this.board),
        available: this.health.available,
        uploadRate: this.board.uploadRate,
      },
    };
  }
}

export { storeOperations } from '../store/store-decorators.ts';
export { storeErrorCodes } from '../store/store-stats.ts';

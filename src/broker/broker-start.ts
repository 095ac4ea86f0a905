/**
 * The start of a broker as a sequence of values, each made of those before it, in the design's order (§4): lock → read metadata →
 * find, lock and read WALs, refuse here → claim the metadata → fence and format WALs → record them → shards → recover and open
 * every partition → new WAL epochs → serve. Main thread; what is taken is noted in the ends, for a start that fails.
 */
import { NewStreams, OwnPlaces } from '../cluster/place-new.ts';
import { PolicySource, readPolicies } from '../cluster/policy-source.ts';
import { TopicAdmin } from '../cluster/topic-admin.ts';
import { KafkaConfigCatalog } from '../config/config-catalog.ts';
import type { Membership } from '../metadata/membership.ts';
import type { Authority, BrokerRegistration, MetadataClaim } from '../metadata/metadata-claim.ts';
import type { ClusterImage, MetadataChange, PartitionImage } from '../metadata/metadata-store.ts';
import type { ReportBoard } from '../metadata/report-board.ts';
import { ObjectIds } from '../ownership/object-ids.ts';
import { Ownership } from '../ownership/ownership.ts';
import { type DrainingDeps, recoverStreams } from '../ownership/recover-streams.ts';
import { foldProducers } from '../ownership/stored-producers.ts';
import { UploadCoordinator } from '../ownership/upload-coordinator.ts';
import { VolumePins } from '../ownership/volume-pins.ts';
import { brokerConfigSources, brokerConfigValue } from '../requests/support/config-catalog.ts';
import { AloneWatch } from '../shard/alone-watch.ts';
import { SessionWatch } from '../shard/session-watch.ts';
import { makeDurableDirectory } from '../store/file-io.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import { ObjectReader } from '../stream/read/object-reader.ts';
import { openScalingHook } from '../threads/adapters/scaling-hook.ts';
import { guardedStore } from '../threads/adapters/thread-store.ts';
import type { BackgroundService } from '../upkeep/background-service.ts';
import { ClusterScope } from '../upkeep/cluster-scope.ts';
import { SoleScope } from '../upkeep/scope.ts';
import { tellAbandoned } from '../volumes/abandoned-offsets.ts';
import { isOwnLog, type Volume, type VolumeDeps, volumeEpoch } from '../volumes/volume.ts';
import { retirePredecessors, walRecords } from '../volumes/wal-records.ts';
import { claimVolumes, formatNew, openVolumes, recoverVolumes } from '../volumes/wal-volumes.ts';
import { answerMs } from '../volumes/watched-files.ts';
import { AddressLimits, addressesOfHost } from './address-limits.ts';
import { openAuthority } from './authority.ts';
import { backgroundServices } from './background.ts';
import type { BrokerEnds } from './broker-ends.ts';
import type { BrokerGround } from './broker-ground.ts';
import { ClusterRole, formerGone } from './cluster-role.ts';
import { lockDataDirectory } from './data-directory.ts';
import { checkDeployment, deploy, spawn } from './deploy.ts';
import type { Deployment } from './deployment.ts';
import { loadSample, processCpuMicros } from './load-sample.ts';
import { MetadataDistributor } from './metadata-distributor.ts';
import { shardLoad } from './shard-load.ts';
import { readTlsMaterial } from './tls-material.ts';

const housekeepingMs = 30_000;
/** A write-ahead log's thread loads its code before it opens the log. */
const threadStartMs = 30_000;

/** A broker that serves. */
export interface BrokerParts {
  readonly metadata: MetadataDistributor;
  readonly volumes: readonly Volume[];
  readonly deployment: Deployment;
  readonly uploads: UploadCoordinator;
  readonly ownership: Ownership;
  readonly background: readonly BackgroundService[];
  /** Null where the broker is alone. */
  readonly cluster: ClusterRole | null;
}

/** The logs of the broker, claimed and ready to be written, and the metadata that say so. */
interface ClaimedLogs {
  readonly claim: MetadataClaim;
  readonly volumes: readonly Volume[];
  readonly deps: VolumeDeps;
  readonly metadata: MetadataDistributor;
  readonly brokerEpoch: number;
}

/** What partitions are opened and uploaded with. */
interface Owning extends ClaimedLogs {
  readonly ground: BrokerGround;
  readonly store: ObjectStore;
  readonly deployment: Deployment;
  readonly pins: VolumePins;
  readonly membership: Membership | null;
}

/** @param uploaded told of each upload's time. */
export async function startBroker(
  ground: BrokerGround,
  ends: BrokerEnds,
  uploaded: (ms: number) => void,
): Promise<BrokerParts> {
  const { config, ports, watch, listeners, native } = ground;
  checkDeployment(config);
  const tls = readTlsMaterial(config.tls, ports.random);
  const addresses =
    config.connectionsPerAddress === null
      ? null
      : await AddressLimits.open(config.connectionsPerAddress, addressesOfHost);
  await lockData(ground, ends);
  const spawned = ends.spawned(await watch.step('threads', () => spawn(config, native)));
  // Descriptors can be given to shard threads; else Node's own servers listen.
  await listeners.bind(config.listeners, config.threads > 0 ? native.native : null);
  const store = ends.store(await openOwnStore(ground));
  const authority = ends.authority(
    await watch.step('reading the metadata', () => openAuthority(ground, store)),
  );
  const { claim, membership, board } = authority;
  const session = membership === null ? null : new SessionWatch(membership, ports.clock, ports.logger);
  ends.stop(() => session?.stop());
  const logs = await claimLogs(ground, ends, store, authority);
  const { metadata, volumes } = logs;
  // A commit is taken only from a registration that is in force.
  session?.begin(() => metadata.commit([]));
  const pins = new VolumePins(volumes);
  const alone = new AloneWatch(config.aloneMaxMs, () => claim.contactedAt, ports.clock, ports.logger);
  ends.stop(() => alone.stop());
  const deployment = ends.deployment(
    await deploy({
      alone: alone.memory,
      session: session?.memory ?? null,
      addresses: addresses?.memory ?? null,
      config,
      ports,
      native,
      store,
      board: ground.board,
      storeBoard: ground.storeBoard,
      image: metadata.startImage(),
      clusterId: metadata.image.clusterId,
      endpoints: listeners.endpoints(),
      tls,
      control: controlPlane(ground, metadata, pins, membership),
      logIds: pins.logIds,
      files: ground.files,
      spawned,
      onDeath: ground.fail,
    }),
  );
  const { shards } = deployment;
  metadata.begin(shards.map((shard) => (revision, changes) => shard.applyChanges(revision, changes)));
  const owning: Owning = { ...logs, ground, store, deployment, pins, membership };
  const uploads = uploadCoordinator(owning, uploaded);
  const ownership = ownershipOf(owning, uploads);
  await watch.step('recovering', () => openAll(owning, uploads, ownership));
  await watch.step('retiring former write-ahead logs', () =>
    retirePredecessors(volumes, metadata, logs.deps),
  );
  await watch.call('a write-ahead log', answerMs(config.wals) + threadStartMs, () =>
    deployment.startWals(volumes, volumes.map(volumeEpoch)),
  );
  alone.start();
  for (const shard of shards) await shard.beginServing();
  for (const started of [uploads, ownership]) {
    started.start();
    ends.service(started);
  }
  const background = backgroundServices({
    config,
    ports,
    store,
    openStore: logs.deps.openStore,
    metadata,
    scope:
      membership === null
        ? new SoleScope(claim.idFloor, ports.clock)
        : new ClusterScope(metadata, config.nodeId),
    deployment,
    crc32c: native.crc32c,
    brokerEpoch: logs.brokerEpoch,
  });
  for (const service of background) {
    service.start();
    ends.service(service);
  }
  keepHouse(ground, ends, deployment);
  listeners.serve(deployment, addresses);
  const cluster = membership === null ? null : clusterRole(owning, membership, board, ownership);
  if (cluster !== null) {
    cluster.start();
    ends.service(cluster);
  }
  return { metadata, volumes, deployment, uploads, ownership, background, cluster };
}

async function lockData({ config, watch, native }: BrokerGround, ends: BrokerEnds): Promise<void> {
  const { dataDir } = config;
  if (dataDir === null) return;
  await watch.call(dataDir, answerMs(config.wals), () => makeDurableDirectory(dataDir));
  ends.lock(lockDataDirectory(dataDir, native.native));
}

function openOwnStore({ config, ports, native, board, health, watch }: BrokerGround): Promise<ObjectStore> {
  const { clock, random, storage } = ports;
  return watch.step(`the store ${config.storeUrl}`, () =>
    guardedStore(config.storeUrl, {
      clock,
      random,
      crc32c: native.crc32c,
      board,
      observer: health,
      layer: (opened) => storage?.store?.(opened) ?? opened,
    }),
  );
}

/** Finds, locks and reads the logs, refusing before anything is written; then claims metadata and logs, and records them. */
async function claimLogs(
  ground: BrokerGround,
  ends: BrokerEnds,
  store: ObjectStore,
  { claim, membership }: Authority,
): Promise<ClaimedLogs> {
  const { config, ports, watch } = ground;
  const inCluster = membership !== null;
  const abandon = new Set(config.abandonWals);
  const deps = volumeDeps(ground, store, inCluster);
  if (membership !== null)
    await watch.step('waiting for the former broker of this node id', () =>
      formerGone(membership, config.nodeId, ports.clock),
    );
  const before = claim.image.revision;
  const opened = await watch.step('finding the write-ahead logs', () =>
    openVolumes(config.wals, claim.image, abandon, deps),
  );
  const volumes = ends.volumes(opened);
  await watch.step('reading the write-ahead logs', () =>
    recoverVolumes(volumes, claim.image.clusterId, deps),
  );
  await watch.step('claiming the metadata', () => claim.claim(config.takeOver ? undefined : before));
  const { image } = claim;
  await watch.step('claiming the write-ahead logs', () => claimVolumes(volumes, image, deps));
  await watch.step('formatting new write-ahead logs', () => formatNew(volumes, image.clusterId, deps));
  for (const wal of image.wals.values()) {
    if (wal.state === 'open' && abandon.has(wal.logId)) await tellAbandoned(wal, image, config.wals, deps);
  }
  // New WALs are recorded before anything can be written to them; opens are conditional on that.
  const own = [...image.wals.values()].filter((wal) => isOwnLog(wal, deps));
  const records = walRecords(own, volumes, abandon, config.nodeId, ports.logger);
  const registered = await watch.step('recording the write-ahead logs', () =>
    claim.register(registration(ground), [
      ...(inCluster ? [] : othersFenced(image, config.nodeId)),
      ...records,
    ]),
  );
  await watch.step('joining the cluster', async () => membership?.join(config.nodeId, registered.epoch));
  const metadata = ends.metadata(
    new MetadataDistributor(registered.store, ground.fail, inCluster ? config.nodeId : null),
  );
  // A log is written once the bucket alone says that it is there, so that none is ever found that nobody knows.
  await watch.step('waiting for the store’s journal to hold the write-ahead logs', () =>
    metadata.persisted(metadata.image.revision),
  );
  return { claim, volumes, deps, metadata, brokerEpoch: registered.epoch };
}

/** The claim has ended all other owners of a journal that has one: whoever is on record besides is gone. */
function othersFenced(image: ClusterImage, nodeId: number): MetadataChange[] {
  const others = [...image.brokers].filter(([node, { state }]) => node !== nodeId && state !== 'fenced');
  return others.map(([node, { epoch }]) => ({ type: 'brokerState', node, epoch, state: 'fenced' }));
}

function volumeDeps(ground: BrokerGround, store: ObjectStore, inCluster: boolean): VolumeDeps {
  const { config, ports, native, board, files, writer } = ground;
  const { clock, random, logger, storage } = ports;
  const { crc32c } = native;
  return {
    writer,
    store,
    storeUrl: config.storeUrl,
    openStore: (url) => guardedStore(url, { clock, random, crc32c, board }),
    // In a cluster the registration that follows fences whoever had this node id before.
    takeOver: config.takeOver || inCluster,
    salvage: new Set(config.salvageWals),
    files,
    crc32c,
    clock,
    random,
    logger,
    nodeId: config.nodeId,
    inCluster,
    initialBytes: storage?.walGrowth?.initial,
  };
}

function registration({ config, listeners }: BrokerGround): BrokerRegistration {
  const { nodeId, rack, interBrokerListener } = config;
  const told = listeners.endpoints();
  const endpoints = config.listeners.map(({ name, tls }) => ({ listener: name, tls, ...told[name]! }));
  const first = endpoints.filter(({ listener }) => listener === interBrokerListener);
  return {
    node: nodeId,
    endpoints: [...first, ...endpoints.filter((endpoint) => !first.includes(endpoint))],
    rack,
  };
}

function controlPlane(
  { config, ports }: BrokerGround,
  metadata: MetadataDistributor,
  pins: VolumePins,
  membership: Membership | null,
): TopicAdmin {
  const { clock, random, logger } = ports;
  return new TopicAdmin({
    metadata,
    clock,
    random,
    logger,
    nodeId: config.nodeId,
    drops: { references: metadata.references, graceMs: config.objectGraceMs },
    places:
      membership === null
        ? new OwnPlaces(config.nodeId, (topicId, partition) => pins.logFor(topicId, partition))
        : new NewStreams(metadata, () => membership.alive),
  });
}

/** What uploads and drains have in common. */
function uploading({ ground, store, metadata, brokerEpoch }: Owning) {
  const { config, ports } = ground;
  const { planLimits } = ports.storage ?? {};
  return {
    metadata,
    ids: new ObjectIds(metadata),
    discard: (objectIds: readonly string[]) => store.delete(objectIds.map(objectKey)),
    clock: ports.clock,
    logger: ports.logger,
    identity: { clusterId: metadata.image.clusterId, node: config.nodeId, brokerEpoch },
    ...(planLimits === undefined ? {} : { planLimits }),
  };
}

function uploadCoordinator(owning: Owning, observe: (ms: number) => void): UploadCoordinator {
  const { ground, deployment, volumes } = owning;
  const { config, ports, board, health } = ground;
  return new UploadCoordinator({
    ...uploading(owning),
    volumes: volumes.map((volume, i) => ({
      index: i,
      logId: volume.logId,
      get control() {
        return deployment.controls[i]!;
      },
      usedBytes: () => deployment.usedBytes(i),
      capacityBytes: () => deployment.walMetrics(i).capacityBytes || volume.config.capacityBytes,
    })),
    shards: deployment.shards,
    upload: (plan, share) => deployment.upload(plan, share),
    flow: board,
    observe,
    load: () => shardLoad(deployment.shards),
    health,
    random: ports.random,
    uploadBytes: config.uploadBytes,
    logCacheBytes: config.logCacheBytes,
    ageMs: config.uploadAgeMs,
  });
}

function ownershipOf(
  { ground, store, metadata, deployment, pins }: Owning,
  uploads: UploadCoordinator,
): Ownership {
  const { config, ports, native } = ground;
  const { crc32c } = native;
  return new Ownership({
    metadata,
    shards: deployment.shards,
    uploads,
    pins,
    failed: (index) => deployment.walMetrics(index).failed === 1,
    fold: (partitions) => {
      // Read anew each time: what was cached may be gone since.
      const sizeOf = (id: string): number | undefined => metadata.image.objects.get(id)?.size;
      const manifests = new ManifestCache({ store, crc32c, clusterId: () => metadata.image.clusterId });
      return foldProducers(partitions, new ObjectReader({ store, crc32c, sizeOf }), manifests);
    },
    catalog: new KafkaConfigCatalog(config.staticConfigs),
    nodeId: config.nodeId,
    clock: ports.clock,
    logger: ports.logger,
  });
}

/** Opens every stream that is this broker's at its recovered end, under a higher leader epoch. */
async function openAll(owning: Owning, uploads: UploadCoordinator, ownership: Ownership): Promise<void> {
  const { ground, deployment, volumes } = owning;
  const { config } = ground;
  const streams = ownStreams(owning);
  if (streams.length === 0) return;
  const recovered = await recoverStreams({
    ...draining(owning),
    partitions: streams,
    volumes,
    shards: deployment.shards,
    fold: ownership.fold,
    roomBytes: config.logCacheBytes * 0.75,
    roomBatches: config.journalEntries / 2,
    relieve: (index) => uploads.relieve(index),
  });
  await ownership.open(streams, recovered);
}

/** Alone all that there are; in a cluster those that it had open, or that lie in a log of its own. */
function ownStreams({ metadata, volumes, membership, ground }: Owning): PartitionImage[] {
  const all = [...metadata.image.topicsById.values()].flatMap(({ partitions }) => partitions);
  if (membership === null) return all;
  const logs = new Set(
    volumes.flatMap(({ logId, predecessors }) => [logId, ...predecessors.map((each) => each.logId)]),
  );
  const { nodeId } = ground.config;
  const { wals } = metadata.image;
  // What is open on a log that another broker has claimed is that broker's to close.
  return all.filter(
    ({ state, node, wal }) =>
      state === 'open' && (logs.has(wal) || (node === nodeId && wals.get(wal)?.state !== 'open')),
  );
}

/** What a drain of logs takes. */
function draining(owning: Owning): DrainingDeps {
  const { ground, deployment } = owning;
  const { crc32c } = ground.native;
  const { arena } = deployment;
  return { ...uploading(owning), arena, crc32c, upload: (plan) => deployment.upload(plan, 1) };
}

/** Read anew whenever the configs of brokers changed. */
function clusterPolicies({ config, ports }: BrokerGround, metadata: MetadataDistributor): PolicySource {
  const catalog = new KafkaConfigCatalog(config.staticConfigs);
  const read = (name: string): string =>
    brokerConfigValue(catalog, metadata.image, config.nodeId, name) ?? '';
  return new PolicySource(
    () => readPolicies(read, config.costHour),
    () => brokerConfigSources(metadata.image, config.nodeId),
    ports.logger,
  );
}

function clusterRole(
  owning: Owning,
  membership: Membership,
  board: ReportBoard | null,
  ownership: Ownership,
): ClusterRole {
  const { ground, metadata, volumes, deps, brokerEpoch, deployment } = owning;
  const { config, ports } = ground;
  const { clock, logger } = ports;
  const { scalingHook: hook } = config;
  const policies = clusterPolicies(ground, metadata);
  return new ClusterRole({
    metadata,
    membership,
    board,
    sample: () =>
      loadSample(
        deployment.shards,
        volumes.map(({ logId }) => logId),
        ports.cpuMicros ?? processCpuMicros,
      ),
    cores: config.cores,
    volumes,
    ownership,
    recovering: {
      ...draining(owning),
      metadata,
      fold: ownership.fold,
      wals: config.wals,
      volumes: deps,
    },
    nodeId: config.nodeId,
    brokerEpoch,
    fenced: ground.fail,
    policies: () => policies.now,
    scalingHook: ports.scalingHook ?? (hook === null ? null : openScalingHook(hook.url, hook.timeoutMs)),
    audit: {
      record: (record) =>
        logger.debug('cluster decision', { ...record, event: JSON.stringify(record.event) }),
    },
    clock,
    logger,
  });
}

/** Slow chores of all threads: idle producers are forgotten, idle arena memory goes back to the system. */
function keepHouse({ ports, native }: BrokerGround, ends: BrokerEnds, { shards, arena }: Deployment): void {
  const look = () =>
    ports.clock.after(housekeepingMs, () => {
      for (const shard of shards) shard.maintain().catch(() => {});
      if (native.native !== null) arena.giveBack(native.native);
      next = look();
    });
  let next = look();
  ends.stop(() => next.cancel());
}

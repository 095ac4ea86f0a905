/**
 * Services that work beside the data path: each starts when the broker serves, does one pass at a time, and stops before
 * the last upload. Main thread. A pass that fails is logged by its service and tried again; none of them ends the broker.
 */
import { KafkaConfigCatalog } from '../config/config-catalog.ts';
import type { MetadataStore } from '../metadata/metadata-store.ts';
import { ObjectIds } from '../ownership/object-ids.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { brokerConfigValue, topicConfigValue } from '../requests/support/config-catalog.ts';
import { decompressedBytesMax } from '../shard/placement.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { cleanRules } from '../stream/clean/clean-policy.ts';
import { cleanLimits } from '../stream/clean/clean-task.ts';
import { type CompactionPolicy, compactionPolicyOf } from '../stream/compaction/compaction-policy.ts';
import { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import { ManifestWriter } from '../stream/manifest/manifest-writer.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import { ObjectReader } from '../stream/read/object-reader.ts';
import type { BackgroundService } from '../upkeep/background-service.ts';
import { Compaction } from '../upkeep/compaction.ts';
import { LogCleaner } from '../upkeep/log-cleaner.ts';
import { ManifestKeeper } from '../upkeep/manifest-keeper.ts';
import { ObjectSweep } from '../upkeep/object-sweep.ts';
import { OrphanSweep } from '../upkeep/orphan-sweep.ts';
import { Retention } from '../upkeep/retention.ts';
import { retentionRules } from '../upkeep/retention-plan.ts';
import type { Scope } from '../upkeep/scope.ts';
import { StateKeeper } from '../upkeep/state-keeper.ts';
import { WalSweep } from '../upkeep/wal-sweep.ts';
import { storeUrlOf } from '../volumes/abandoned-offsets.ts';
import type { BrokerConfig } from './broker-config.ts';
import type { BrokerPorts } from './broker-ports.ts';
import type { Deployment } from './deployment.ts';

/** Objects handed to a manifest at once, at least: a step writes the whole file, 48 bytes an object. */
const manifestBatchMin = 8;

/** One typed array of V8 holds more, and no log that one broker cleans needs it. */
const mapBytesMax = 2 ** 32;

/** DeleteRecords needs a state now and then, retention one after each pass that moved log starts. */
const uploadsPerState = 5;
const stateIntervalMsMax = 300_000;

export interface BackgroundDeps {
  readonly config: BrokerConfig;
  readonly ports: BrokerPorts;
  readonly store: ObjectStore;
  /** Another one than the broker's own, for logs that lie there. */
  readonly openStore: (url: string) => Promise<ObjectStore>;
  readonly metadata: MetadataStore;
  readonly scope: Scope;
  readonly deployment: Deployment;
  readonly crc32c: Crc32c;
  readonly brokerEpoch: number;
}

function compactionService(deps: BackgroundDeps): Compaction {
  const { config, ports, store, metadata, scope, deployment, brokerEpoch } = deps;
  return new Compaction({
    metadata,
    scope,
    ids: new ObjectIds(metadata),
    store,
    clock: ports.clock,
    logger: ports.logger,
    compact: (task) => deployment.compact(task),
    cancel: () => deployment.stopCompaction(),
    busy: () => uploadsNeedTheWire(deps),
    identity: { clusterId: metadata.image.clusterId, node: config.nodeId, brokerEpoch },
    policy: policyOf(deps),
    intervalMs: config.compaction.intervalMs,
    graceMs: config.objectGraceMs,
  });
}

/** The same for all that merges and all that goes by what is merged. */
function policyOf({ ports, store }: BackgroundDeps): CompactionPolicy {
  return ports.storage?.compaction?.policy ?? compactionPolicyOf(store.copyCost ?? 'free');
}

async function uploadsNeedTheWire({ config, deployment }: BackgroundDeps): Promise<boolean> {
  const shards = await Promise.all(deployment.shards.map((shard) => shard.metrics()));
  const delta = shards.reduce((sum, shard) => sum + shard.deltaBytes, 0);
  return delta > config.logCacheBytes / 2;
}

function logCleaner(deps: BackgroundDeps, manifests: ManifestCache, writer: ManifestWriter): LogCleaner {
  const { config, ports, store, metadata, scope, deployment, brokerEpoch, crc32c } = deps;
  const { image } = metadata;
  const catalog = new KafkaConfigCatalog(config.staticConfigs);
  const setting = (name: string): number =>
    Number(brokerConfigValue(catalog, metadata.image, config.nodeId, name));
  return new LogCleaner({
    metadata,
    scope,
    ids: new ObjectIds(metadata),
    store,
    manifests,
    writer,
    reader: new ObjectReader({
      store,
      crc32c,
      indexBytesMax: 4 << 20,
      sizeOf: (objectId) => metadata.image.objects.get(objectId)?.size ?? manifests.sizeOf(objectId),
    }),
    clock: ports.clock,
    logger: ports.logger,
    clean: (task) => deployment.clean(task),
    cancel: () => deployment.stopCompaction(),
    busy: () => uploadsNeedTheWire(deps),
    rules: (topic) =>
      cleanRules((name) => topicConfigValue(catalog, metadata.image, config.nodeId, topic.configs, name)),
    settings: () => ({
      backoffMs: setting('log.cleaner.backoff.ms'),
      mapBytes: Math.min(mapBytesMax, setting('log.cleaner.dedupe.buffer.size')),
      loadFactor: setting('log.cleaner.io.buffer.load.factor'),
      bytesPerSecond: setting('log.cleaner.io.max.bytes.per.second'),
    }),
    identity: { clusterId: image.clusterId, node: config.nodeId, brokerEpoch },
    limits: ports.storage?.clean ?? cleanLimits,
    decompressedBytesMax,
  });
}

/** What retention, manifests and the sweep have done since the start. */
export interface HousekeepingNumbers {
  readonly logStartsMoved: number;
  readonly objectsAdopted: number;
  readonly objectsDropped: number;
  readonly deleted: number;
}

export function housekeepingNumbers(services: readonly BackgroundService[]): HousekeepingNumbers {
  const retention = services.find((service) => service instanceof Retention);
  const keeper = services.find((service) => service instanceof ManifestKeeper);
  const sweep = services.find((service) => service instanceof ObjectSweep);
  return {
    logStartsMoved: retention?.moves ?? 0,
    objectsAdopted: keeper?.adopted ?? 0,
    objectsDropped: retention?.dropped ?? 0,
    deleted: sweep?.deleted ?? 0,
  };
}

function manifestWriter(deps: BackgroundDeps, manifests: ManifestCache): ManifestWriter {
  const { config, ports, store, metadata, crc32c } = deps;
  const sizeOf = (objectId: string): number | undefined =>
    metadata.image.objects.get(objectId)?.size ?? manifests.sizeOf(objectId);
  return new ManifestWriter({
    store,
    metadata,
    cache: manifests,
    reader: new ObjectReader({ store, crc32c, sizeOf }),
    crc32c,
    clock: ports.clock,
    graceMs: config.objectGraceMs,
    producerExpirationMs: config.producerExpirationMs,
  });
}

function manifestKeeper(deps: BackgroundDeps, writer: ManifestWriter): ManifestKeeper {
  const { config, ports, metadata, scope } = deps;
  const { objectBytesMax } = policyOf(deps);
  return new ManifestKeeper({
    metadata,
    scope,
    writer,
    clock: ports.clock,
    logger: ports.logger,
    intervalMs: config.compaction.intervalMs,
    // Larger ones are not merged any more.
    doneBytesMin: Math.floor(objectBytesMax / 2) + 1,
    batchMin: manifestBatchMin,
  });
}

function retentionService(
  deps: BackgroundDeps,
  manifests: ManifestCache,
  writer: ManifestWriter,
  states: StateKeeper,
): Retention {
  const { config, ports, metadata, scope } = deps;
  const { clock, logger } = ports;
  const catalog = new KafkaConfigCatalog(config.staticConfigs);
  return new Retention({
    metadata,
    scope,
    manifests,
    writer,
    rules: (topic) =>
      retentionRules((name) => topicConfigValue(catalog, metadata.image, config.nodeId, topic.configs, name)),
    clock,
    logger,
    intervalMs: config.retentionCheckMs,
    keepStates: () => states.pass(),
  });
}

function stateKeeper(deps: BackgroundDeps): StateKeeper {
  const { config, ports, store, metadata, scope, deployment, brokerEpoch } = deps;
  return new StateKeeper({
    metadata,
    scope,
    ids: new ObjectIds(metadata),
    shards: deployment.shards,
    upload: (plan) => deployment.upload(plan, 1),
    discard: (objectIds) => store.delete(objectIds.map(objectKey)),
    clock: ports.clock,
    logger: ports.logger,
    identity: { clusterId: metadata.image.clusterId, node: config.nodeId, brokerEpoch },
    intervalMs: Math.min(stateIntervalMsMax, uploadsPerState * config.uploadAgeMs),
  });
}

function orphanSweep(deps: BackgroundDeps): OrphanSweep {
  const { config, ports, store, metadata, scope, crc32c } = deps;
  return new OrphanSweep({
    metadata,
    scope,
    // One look at each manifest a round is nothing to keep, nor to push others' out for.
    manifests: new ManifestCache({ store, crc32c, clusterId: () => metadata.image.clusterId, bytesMax: 0 }),
    store,
    clock: ports.clock,
    logger: ports.logger,
    ...config.orphanSweep,
  });
}

function walSweep(deps: BackgroundDeps): WalSweep {
  const { config, ports, store, metadata, scope, crc32c } = deps;
  return new WalSweep({
    metadata,
    scope,
    async storeAt(location) {
      const url = storeUrlOf(location, config.wals);
      if (url === null) return { store, release() {} };
      const other = await deps.openStore(url);
      return { store: other, release: () => void other.close().catch(() => {}) };
    },
    writer: `sweep of node ${config.nodeId}`,
    clock: ports.clock,
    random: ports.random,
    crc32c,
    logger: ports.logger,
    ...config.orphanSweep,
  });
}

export function backgroundServices(deps: BackgroundDeps): BackgroundService[] {
  const { config, ports, store, metadata, scope, crc32c } = deps;
  const { clock, logger } = ports;
  const manifests = new ManifestCache({ store, crc32c, clusterId: () => metadata.image.clusterId });
  const writer = manifestWriter(deps, manifests);
  const states = stateKeeper(deps);
  return [
    ...(config.compaction.enabled ? [compactionService(deps)] : []),
    ...(config.compaction.enabled ? [manifestKeeper(deps, writer)] : []),
    ...(config.logCleaner ? [logCleaner(deps, manifests, writer)] : []),
    retentionService(deps, manifests, writer, states),
    states,
    orphanSweep(deps),
    walSweep(deps),
    new ObjectSweep({
      metadata,
      scope,
      manifests,
      store,
      clock,
      logger,
      graceMs: config.objectGraceMs,
    }),
  ];
}

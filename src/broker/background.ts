/**
 * Services that work beside the data path: each starts when the broker serves, does one pass at a time, and stops before
 * the last upload. Main thread. A pass that fails is logged by its service and tried again; none of them ends the broker.
 */
import type { EmbeddedMetadataStore } from '../metadata/embedded-metadata-store.ts';
import type { MetadataStore } from '../metadata/metadata-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { compactionDefaults } from '../stream/compaction/compaction-policy.ts';
import type { BrokerPorts } from './broker.ts';
import type { BrokerConfig } from './broker-config.ts';
import { Compaction } from './compaction.ts';
import type { Deployment } from './deploy.ts';
import { ObjectIds } from './object-ids.ts';
import { ObjectSweep } from './object-sweep.ts';

export interface BackgroundService {
  start(): void;
  /** Resolves when no pass is under way; none begins after it. */
  stop(): Promise<void>;
}

export interface BackgroundDeps {
  readonly config: BrokerConfig;
  readonly ports: BrokerPorts;
  readonly store: ObjectStore;
  readonly metadata: MetadataStore;
  /** The same metadata before it is distributed to shards, for what only the embedded store knows. */
  readonly embedded: EmbeddedMetadataStore;
  readonly deployment: Deployment;
  readonly brokerEpoch: number;
}

function compactionService(deps: BackgroundDeps): Compaction {
  const { config, ports, store, metadata, deployment, brokerEpoch } = deps;
  return new Compaction({
    metadata,
    ids: new ObjectIds(metadata),
    store,
    clock: ports.clock,
    logger: ports.logger,
    compact: (task) => deployment.compact(task),
    cancel: () => deployment.stopCompaction(),
    async busy() {
      const shards = await Promise.all(deployment.shards.map((shard) => shard.metrics()));
      const delta = shards.reduce((sum, shard) => sum + (shard.deltaBytes ?? 0), 0);
      return delta > config.logCacheBytes / 2;
    },
    identity: { clusterId: metadata.image.clusterId, node: config.nodeId, brokerEpoch },
    policy: ports.storage?.compaction?.policy ?? compactionDefaults,
    intervalMs: config.compaction.intervalMs,
    graceMs: config.objectGraceMs,
  });
}

export function backgroundServices(deps: BackgroundDeps): BackgroundService[] {
  const { config, ports, store, metadata, embedded } = deps;
  const { clock, logger } = ports;
  return [
    ...(config.compaction.enabled ? [compactionService(deps)] : []),
    new ObjectSweep({
      metadata,
      unreferenced: () => embedded.unreferenced,
      store,
      clock,
      logger,
      graceMs: config.objectGraceMs,
    }),
  ];
}

/**
 * Services that work beside the data path: each starts when the broker serves, does one pass at a time, and stops before
 * the last upload. Main thread. A pass that fails is logged by its service and tried again; none of them ends the broker.
 */
import type { EmbeddedMetadataStore } from '../metadata/embedded-metadata-store.ts';
import type { MetadataStore } from '../metadata/metadata-store.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { BrokerPorts } from './broker.ts';
import type { BrokerConfig } from './broker-config.ts';
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
}

export function backgroundServices(deps: BackgroundDeps): BackgroundService[] {
  const { config, ports, store, metadata, embedded } = deps;
  const { clock, logger } = ports;
  return [
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

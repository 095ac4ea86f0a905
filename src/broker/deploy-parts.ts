/** What the deployments share: a shard's seed from the configuration, sizes, the door to a shard in the caller's thread. */

import { type Address, addressText, kafkaListenerName } from '../config/addresses.ts';
import type { ShardSeed } from '../shard/compose-shard.ts';
import type { ShardApi, ShardDoor } from '../shard/shard-api.ts';
import type { ObjectWalSettings } from '../stream/wal/object-wal-writer.ts';
import { SharedArena } from '../threads/memory/arena.ts';
import type { Volume } from '../volumes/volume.ts';
import type { BrokerConfig } from './broker-config.ts';
import type { DeployParts } from './deployment.ts';

export function seedOf(parts: DeployParts, index: number, shards: number): ShardSeed {
  const { config } = parts;
  return {
    settings: {
      index,
      shards,
      nodeId: config.nodeId,
      clusterId: parts.clusterId,
      rack: config.rack,
      journalCapacity: config.journalEntries,
      batchBytesMax: batchBytesMax(config, shards),
      logCacheBytes: config.logCacheBytes / shards,
      ringBytes: ringBytes(config) / shards,
      receiveBytes: config.receiveBytes / shards,
      fetchBytesMax: config.fetchBytesMax,
      sessionSlots: Math.max(1, Math.ceil(config.fetchSessionSlots / shards)),
      producerExpirationMs: config.producerExpirationMs,
      connection: config.connection,
      connectionsMax: Math.ceil(config.connectionsMax / shards),
      group: config.group,
      transaction: config.transaction,
      coordinatorPartitions: config.coordinatorPartitions,
      endpoints: parts.endpoints,
    },
    handlers: {
      autoCreateTopics: config.autoCreateTopics,
      defaultPartitions: config.defaultPartitions,
      deleteTopics: config.deleteTopics,
      storeUrl: config.storeUrl,
    },
    image: parts.image,
    nativeSockets: config.nativeSockets,
    blockCacheBytes: Math.floor(config.blockCacheBytes / shards),
    coldReads: {
      requestsPerSecond: config.coldReads.requestsPerSecond / shards,
      bytesPerSecond: config.coldReads.bytesPerSecond / shards,
    },
    staticConfigs: { ...config.staticConfigs, ...listenerConfigs(config, parts.endpoints) },
  };
}

/**
 * Headers and page padding take room beside the batches: a tenth covers batches of 4 KiB and more. Where tiny commits
 * need more, the ring's own fullness slows and refuses producers (AppendJournal).
 */
function ringBytes(config: BrokerConfig): number {
  return Math.floor(0.9 * Math.min(...config.wals.map((wal) => wal.capacityBytes)));
}

/**
 * A batch may take half a ring less its headers, a quarter of the log cache so that uploads can keep up, and the whole
 * segments of a shard's block cache, which must hold it to be read again.
 */
function batchBytesMax(
  { wals, logCacheBytes, blockCacheBytes, arena }: BrokerConfig,
  shards: number,
): number {
  const ring = Math.min(...wals.map((wal) => wal.capacityBytes));
  const blocks = Math.floor(blockCacheBytes / shards);
  return Math.max(
    64 * 1024,
    Math.min(
      Math.floor(ring / 2) - 64 * 1024,
      Math.floor(logCacheBytes / 4),
      blocks - (blocks % arena.segmentBytes),
    ),
  );
}

export function createArena(parts: DeployParts): SharedArena {
  return SharedArena.create({ ...parts.config.arena, native: parts.native.native });
}

/** A shard in this thread behind the same asynchronous door as one in another. */
export function localDoor(host: ShardApi): ShardDoor {
  return new Proxy({} as ShardDoor, {
    get: (_target, method) =>
      method === 'then'
        ? undefined
        : async (...args: unknown[]) =>
            (host as unknown as Record<string, (...a: unknown[]) => unknown>)[String(method)]!(...args),
  });
}

export function objectSettings(volume: Volume): ObjectWalSettings {
  const { objects, iops, bandwidth } = volume.config;
  return { ...objects, iops, bandwidth };
}

export function tlsListeners(config: BrokerConfig): string[] {
  return config.listeners.filter((listener) => listener.tls).map((listener) => listener.name);
}

/** The listeners as they are in force, under Kafka's names and in its spelling. */
function listenerConfigs(
  { listeners, interBrokerListener }: BrokerConfig,
  endpoints: DeployParts['endpoints'],
): Record<string, string> {
  const at = (name: string, address: Address) => `${kafkaListenerName(name)}://${addressText(address)}`;
  return {
    listeners: listeners.map((listener) => at(listener.name, listener)).join(','),
    'advertised.listeners': listeners.map(({ name }) => at(name, endpoints[name]!)).join(','),
    'listener.security.protocol.map': listeners
      .map(({ name, tls }) => `${kafkaListenerName(name)}:${kafkaListenerName(tls ? 'tls' : 'plain')}`)
      .join(','),
    'inter.broker.listener.name': kafkaListenerName(interBrokerListener),
  };
}

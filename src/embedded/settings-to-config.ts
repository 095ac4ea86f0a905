/** From the settings table to what the broker is built from: derived limits, addresses, budgets. Pure. */
import { fileURLToPath } from 'node:url';
import type {
  AddressLimitsConfig,
  BrokerConfig,
  ClusterConfig,
  ListenerConfig,
} from '../broker/broker-config.ts';
import {
  isUnspecified,
  listenerName,
  parseHostLimit,
  parseListener,
  parseProtocolMapping,
  protocolOf,
} from '../config/addresses.ts';
import { staticBrokerConfigs } from '../config/broker-configs.ts';
import { parseMetadataUrl } from '../config/cluster-settings.ts';
import { deriveLimits } from '../config/derive.ts';
import type { Settings } from '../config/setting-keys.ts';
import { storeUrlOf } from '../config/store-url.ts';
import { defaultGroupSettings } from '../coordinator/group/group-settings.ts';
import { defaultTransactionSettings } from '../coordinator/transaction/transaction-settings.ts';

/** Time an object stays after nothing names it: longer than any read plan lives. */
const objectGraceMs = 10 * 60_000;

function location(url: string): string {
  return url.startsWith('file:') ? fileURLToPath(url) : url;
}

/** Brokers of a cluster may name one shared directory: each has its own below it. */
function walLocation(url: string, settings: Settings): string {
  if (url.startsWith('memory:')) return 'memory:';
  const own = url.startsWith('shared:') && settings['metadata.url'] !== '';
  return own ? `${url.replace(/\/+$/, '')}/node-${settings['node.id']}` : location(url);
}

function cluster(settings: Settings): ClusterConfig | null {
  const url = settings['metadata.url'];
  const place = parseMetadataUrl(url);
  return place === null ? null : { ...place, url, ...etcdAccess(settings) };
}

/** How an etcd is spoken to, wherever it is. */
export function etcdAccess(settings: Settings): Omit<ClusterConfig, 'endpoints' | 'prefix' | 'url'> {
  const name = settings['etcd.user'];
  return {
    user: name === '' ? null : { name, password: settings['etcd.password'] },
    caFile: settings['etcd.ca.file'],
    certFile: settings['etcd.cert.file'],
    keyFile: settings['etcd.key.file'],
    sessionMs: settings['cluster.session.ms'],
  };
}

/** The store of a WAL of objects that is not the broker's own. */
function walStoreUrl(url: string, settings: Settings): string | null {
  const other = url.startsWith('s3:') ? url : /^store:(.+)$/.exec(url)?.[1];
  return other === undefined ? null : storeUrlOf(settings, other);
}

function listeners(settings: Settings): ListenerConfig[] {
  const advertised = settings['advertised.listeners'].map(parseListener);
  const map = settings['listener.security.protocol.map'].map(parseProtocolMapping);
  return settings.listeners.map((text) => {
    const { name, host, port } = parseListener(text);
    const told = advertised.find((other) => other.name === name);
    return {
      name,
      tls: protocolOf(name, map) === 'tls',
      host,
      port,
      // Every interface has no name that a client could use: this machine's own is the best guess.
      advertisedHost: told?.host ?? (isUnspecified(host) ? '' : host),
      advertisedPort: told?.port ?? 0,
    };
  });
}

/** The one under which other brokers reach this one. */
function interBrokerListener(settings: Settings): string {
  const name = settings['inter.broker.listener.name'];
  return name === '' ? parseListener(settings.listeners[0]!).name : listenerName(name);
}

export function brokerConfig(
  settings: Settings,
  machine: { readonly hostname: string; readonly cores: number },
  given: {
    readonly abandonWals: readonly string[];
    readonly salvageWals?: readonly string[];
    readonly takeOver?: boolean;
  },
): BrokerConfig {
  const limits = deriveLimits(settings);
  const inMemory =
    settings['store.url'].startsWith('memory:') &&
    settings['wal.url'].every((url) => url.startsWith('memory:'));
  const unlimited = (value: number): number => (value === 0 ? Number.POSITIVE_INFINITY : value);
  return {
    nodeId: settings['node.id'],
    rack: settings['broker.rack'] === '' ? null : settings['broker.rack'],
    cores: machine.cores,
    dataDir: inMemory ? null : settings['data.dir'],
    storeUrl: storeUrlOf(settings),
    cluster: cluster(settings),
    scalingHook:
      settings['cluster.scaling.hook'] === ''
        ? null
        : { url: settings['cluster.scaling.hook'], timeoutMs: settings['cluster.scaling.hook.timeout.ms'] },
    costHour: settings['cost.broker.hour'],
    wals: settings['wal.url'].map((url) => ({
      location: walLocation(url, settings),
      storeUrl: walStoreUrl(url, settings),
      capacityBytes: settings['wal.capacity'],
      lingerMs: settings['wal.linger.max.ms'],
      iops: unlimited(settings['wal.iops']),
      bandwidth: unlimited(settings['wal.bandwidth']),
      writeTimeoutMs: settings['wal.write.timeout.ms'],
      extraWriteDelayMs: settings['wal.extra.write.delay.ms'],
      objects: {
        batchBytes: settings['wal.object.batch.bytes'],
        lingerMs: settings['wal.object.linger.max.ms'],
        inFlight: settings['wal.object.in.flight'],
      },
    })),
    threads: settings.threads,
    native: settings.native === 'auto',
    nativeSockets: settings['native.sockets'] === 'auto',
    arena: { segmentBytes: settings['arena.segment.bytes'], segmentCount: limits.segments },
    logCacheBytes: settings['log.cache.bytes'],
    blockCacheBytes: settings['block.cache.bytes'],
    coldReads: {
      requestsPerSecond: settings['cold.read.requests'],
      bytesPerSecond: settings['cold.read.bandwidth'],
    },
    receiveBytes: limits.receiveBudgetBytes,
    journalEntries: limits.journalEntries,
    uploadBytes: limits.uploadTriggerBytes,
    uploadAgeMs: settings['upload.age.ms'],
    orphanSweep: {
      intervalMs: settings['orphan.sweep.interval.ms'],
      graceMs: settings['orphan.sweep.grace.ms'],
    },
    compaction: {
      enabled: settings['compaction.enable'],
      intervalMs: settings['compaction.interval.ms'],
      bytesPerSecond: unlimited(settings['compaction.bandwidth']),
      requestsPerSecond: unlimited(settings['compaction.requests']),
    },
    logCleaner: settings['log.cleaner.enable'],
    storeBandwidth: unlimited(settings['store.bandwidth']),
    listeners: listeners(settings).map((listener) =>
      listener.advertisedHost === '' ? { ...listener, advertisedHost: machine.hostname } : listener,
    ),
    interBrokerListener: interBrokerListener(settings),
    tls:
      settings['tls.cert.file'] === ''
        ? null
        : {
            certFile: settings['tls.cert.file'],
            keyFile: settings['tls.key.file'],
            caFile: settings['tls.ca.file'] === '' ? null : settings['tls.ca.file'],
            clientAuth: settings['tls.client.auth'],
          },
    connection: {
      frameBytesMax: limits.frameBytesMax,
      frameTimeoutMs: settings['frame.timeout.ms'],
      sendTimeoutMs: settings['send.timeout.ms'],
      idleTimeoutMs: settings['connections.max.idle.ms'],
    },
    connectionsMax: settings['max.connections'],
    connectionsPerAddress: connectionsPerAddress(settings),
    fetchBytesMax: settings['fetch.max.bytes'],
    fetchSessionSlots: settings['max.incremental.fetch.session.cache.slots'],
    producerExpirationMs: settings['producer.id.expiration.ms'],
    group: {
      ...defaultGroupSettings,
      sessionTimeoutMsMin: settings['group.min.session.timeout.ms'],
      sessionTimeoutMsMax: settings['group.max.session.timeout.ms'],
      initialRebalanceDelayMs: settings['group.initial.rebalance.delay.ms'],
      groupSizeMax: settings['group.max.size'],
      consumerSizeMax: settings['group.consumer.max.size'],
      migration: settings['group.consumer.migration.policy'],
      offsetMetadataBytesMax: settings['offset.metadata.max.bytes'],
      offsetsRetentionMs: settings['offsets.retention.minutes'] * 60_000,
      offsetsRetentionCheckMs: settings['offsets.retention.check.interval.ms'],
    },
    transaction: {
      ...defaultTransactionSettings,
      timeoutMsMax: settings['transaction.max.timeout.ms'],
      expirationMs: settings['transactional.id.expiration.ms'],
      abortIntervalMs: settings['transaction.abort.timed.out.transaction.cleanup.interval.ms'],
      removeIntervalMs: settings['transaction.remove.expired.transaction.cleanup.interval.ms'],
    },
    coordinatorPartitions: {
      group: settings['offsets.topic.num.partitions'],
      transaction: settings['transaction.state.log.num.partitions'],
      share: settings['share.coordinator.state.topic.num.partitions'],
    },
    autoCreateTopics: settings['auto.create.topics.enable'],
    defaultPartitions: settings['num.partitions'],
    deleteTopics: settings['delete.topic.enable'],
    staticConfigs: staticBrokerConfigs(settings),
    shutdownTimeoutMs: settings['shutdown.timeout.ms'],
    objectGraceMs,
    retentionCheckMs: settings['log.retention.check.interval.ms'],
    aloneMaxMs: settings['wal.alone.max.ms'],
    abandonWals: given.abandonWals,
    salvageWals: given.salvageWals ?? [],
    takeOver: given.takeOver ?? false,
    logLevel: settings['log.level'],
    logFormat: settings['log.format'],
  };
}

/** Null: no address has a limit of its own, and nothing is counted by address. */
function connectionsPerAddress(settings: Settings): AddressLimitsConfig | null {
  const max = settings['max.connections.per.ip'];
  const overrides = settings['max.connections.per.ip.overrides'].map(parseHostLimit);
  return max === 2 ** 31 - 1 && overrides.length === 0 ? null : { max, overrides };
}

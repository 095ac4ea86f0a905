/**
 * Everything a broker is started with, as plain structured-cloneable values: what the settings table says, with sizes
 * derived for this machine. Components (clock, store, logger) never share a struct with it.
 */

import type { GroupSettings } from '../coordinator/group/group-settings.ts';
import type { TransactionSettings } from '../coordinator/transaction/transaction-settings.ts';
import type { ConnectionSettings } from '../net/connection.ts';
import type { CoordinatorPartitions } from '../shard/coordinator-topics.ts';
import type { ReadBudgetLimits } from '../stream/cache/read-budget.ts';
import type { WalConfig } from '../volumes/wal-config.ts';

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string | null;
  readonly clientAuth: 'none' | 'requested' | 'required';
}

export interface ClusterConfig {
  /** host:port of members of the etcd. */
  readonly endpoints: readonly string[];
  /** Of all its keys. */
  readonly prefix: string;
  /** For people. */
  readonly url: string;
  readonly user: { readonly name: string; readonly password: string } | null;
  /** Empty = none. */
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** Without a sign of life for so long a broker counts as gone. */
  readonly sessionMs: number;
}

export interface ListenerConfig {
  /** Unique, in lower case: "plain", "tls", "internal", … */
  readonly name: string;
  readonly tls: boolean;
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly advertisedHost: string;
  /** 0 = the bound port. */
  readonly advertisedPort: number;
}

export interface CompactionConfig {
  readonly enabled: boolean;
  readonly intervalMs: number;
  /** To and from the object store; Infinity = no limit. */
  readonly bytesPerSecond: number;
  readonly requestsPerSecond: number;
}

/** `max.connections.per.ip` and its overrides. */
export interface AddressLimitsConfig {
  /** Of an address without a limit of its own. */
  readonly max: number;
  /** By host name or address. */
  readonly overrides: readonly (readonly [host: string, max: number])[];
}

export interface BrokerConfig {
  readonly nodeId: number;
  readonly rack: string | null;
  /** That the process may use, for what it reports of its load. */
  readonly cores: number;
  /** Null keeps nothing on disk (embedded with memory store and WAL). */
  readonly dataDir: string | null;
  readonly storeUrl: string;
  /** Null where the broker has the store to itself. */
  readonly cluster: ClusterConfig | null;
  /** Who is asked for brokers; null = nobody. */
  readonly scalingHook: { readonly url: string; readonly timeoutMs: number } | null;
  /** What this broker costs an hour; 0 = not said. */
  readonly costHour: number;
  readonly wals: readonly WalConfig[];
  /** 0 = inline in the caller's thread, else the number of shards. */
  readonly threads: number;
  readonly native: boolean;
  readonly nativeSockets: boolean;
  readonly arena: { readonly segmentBytes: number; readonly segmentCount: number };
  readonly logCacheBytes: number;
  readonly blockCacheBytes: number;
  /** Of all shards together. */
  readonly coldReads: ReadBudgetLimits;
  readonly receiveBytes: number;
  readonly journalEntries: number;
  readonly uploadBytes: number;
  readonly uploadAgeMs: number;
  readonly compaction: CompactionConfig;
  /** log.cleaner.enable */
  readonly logCleaner: boolean;
  /** Search for leftovers of former lives. */
  readonly orphanSweep: { readonly intervalMs: number; readonly graceMs: number };
  /** Bytes per second to and from the object store, all threads together; Infinity = no limit. */
  readonly storeBandwidth: number;
  readonly listeners: readonly ListenerConfig[];
  /** Name of the one under which other brokers reach this one. */
  readonly interBrokerListener: string;
  readonly tls: TlsFiles | null;
  readonly connection: ConnectionSettings;
  readonly connectionsMax: number;
  /** Null = as many of one address as of all. */
  readonly connectionsPerAddress: AddressLimitsConfig | null;
  readonly fetchBytesMax: number;
  readonly fetchSessionSlots: number;
  readonly producerExpirationMs: number;
  readonly group: GroupSettings;
  readonly transaction: TransactionSettings;
  readonly coordinatorPartitions: CoordinatorPartitions;
  readonly autoCreateTopics: boolean;
  readonly defaultPartitions: number;
  readonly deleteTopics: boolean;
  /** Broker configs under Kafka's names that were set at start, for DescribeConfigs. */
  readonly staticConfigs: Readonly<Record<string, string>>;
  readonly shutdownTimeoutMs: number;
  /** How long an object outlives the last metadata that named it. */
  readonly objectGraceMs: number;
  readonly retentionCheckMs: number;
  /** How long a broker acknowledges without reaching its metadata, ms; 0 = for ever. */
  readonly aloneMaxMs: number;
  readonly abandonWals: readonly string[];
  /** Damaged WALs of which all that is whole is kept. */
  readonly salvageWals: readonly string[];
  /** Take WALs from an owner that may still live. */
  readonly takeOver: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat: 'text' | 'json';
}

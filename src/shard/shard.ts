/**
 * One shard put together: connections, request handlers, partition logs, the group coordinator and the cold path, over
 * whatever links and WALs it is given. The same class runs in a thread of its own, in main's thread (portable path) and
 * inline inside a host process (`threads: 0`). Owns everything it creates; `ShardApi` is the only door for main.
 */
import type { GroupSettings } from '../coordinator/group/group-settings.ts';
import type { TransactionSettings } from '../coordinator/transaction/transaction-settings.ts';
import { OtherBrokers } from '../interbroker/other-brokers.ts';
import type { CollectedDelta, StreamName } from '../log/delta-collection.ts';
import { LogManager, type OpenPartition } from '../log/log-manager.ts';
import type { LogSettings } from '../log/log-settings.ts';
import type { PartitionLog } from '../log/partition-log.ts';
import { RecordWork, type RecordWorkDeps } from '../log/record-work.ts';
import type { ClusterImage, MetadataChange, TopicImage } from '../metadata/metadata-store.ts';
import type { Connection, ConnectionSettings, Peer } from '../net/connection.ts';
import { type ReceivePool, scratchBytes } from '../net/frame-receiver.ts';
import type { Dial } from '../net/outgoing-socket.ts';
import { Slab } from '../net/slab.ts';
import type { Transport } from '../net/transport.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Codecs } from '../protocol/compression/codecs.ts';
import { leaderEpochOf } from '../protocol/records/batch-header.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { recordTaskContext } from '../protocol/records/record-tasks.ts';
import type { RecordWalk } from '../protocol/records/record-walk.ts';
import { Dispatcher } from '../requests/dispatcher.ts';
import { RequestRouter, type ShardLinks } from '../requests/request-router.ts';
import type { ShardServicesTable } from '../requests/routing.ts';
import { allowAll } from '../requests/support/authorizer.ts';
import {
  brokerConfigValue,
  type ConfigCatalog,
  groupConfigValue,
} from '../requests/support/config-catalog.ts';
import type { ControlPlane } from '../requests/support/control-plane.ts';
import { FetchSessionCache } from '../requests/support/fetch-session.ts';
import type { AnyRequestHandler } from '../requests/support/handler.ts';
import type { TopicDirectory } from '../requests/support/topic-directory.ts';
import type { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import type { StreamState } from '../stream/objects/objects.ts';
import type { ColdReader } from '../stream/read/cold-reader.ts';
import type { Wal } from '../stream/wal/wal.ts';
import { ObjectColdPath } from './cold-path.ts';
import type { CoordinatorPartitions } from './coordinator-topics.ts';
import type { PeerHost } from './peers/peer-host.ts';
import { describeProducersService, producersService } from './peers/producers-service.ts';
import type { RestoredBatches, ShardApi, ShardNumbers, ShardTraffic, StreamEnd } from './shard-api.ts';
import { ShardConnections } from './shard-connections.ts';
import { ShardCoordinators } from './shard-coordinators.ts';
import { ShardCounters } from './shard-counters.ts';
import { type RemoteHandle, ShardPartitions } from './shard-partitions.ts';

/** Plain numbers and strings a shard runs by; structured-cloneable. */
export interface ShardSettings {
  readonly index: number;
  readonly shards: number;
  readonly nodeId: number;
  readonly clusterId: string;
  readonly rack: string | null;
  readonly journalCapacity: number;
  /** Largest batch that fits every WAL volume and the log cache. */
  readonly batchBytesMax: number;
  readonly logCacheBytes: number;
  /** Bytes of batches that this shard may have in one volume's ring. */
  readonly ringBytes: number;
  readonly receiveBytes: number;
  readonly fetchBytesMax: number;
  readonly sessionSlots: number;
  readonly producerExpirationMs: number;
  readonly connection: ConnectionSettings;
  readonly connectionsMax: number;
  readonly group: GroupSettings;
  readonly transaction: TransactionSettings;
  readonly coordinatorPartitions: CoordinatorPartitions;
  /** Advertised address by listener name. */
  readonly endpoints: Readonly<Record<string, { readonly host: string; readonly port: number }>>;
}

export interface ShardParts {
  readonly settings: ShardSettings;
  /** Encoded image to start from. */
  readonly image: Buffer;
  readonly arena: Arena;
  readonly wals: readonly Wal[];
  readonly mayAcknowledge: () => boolean;
  /** Whether nobody else can have this broker's partitions by now; true where it is alone. */
  readonly leased: () => boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly codecs: Codecs;
  readonly crc32c: Crc32c;
  readonly crc32cAt: (position: number, length: number) => number;
  readonly walk: RecordWalk;
  /** Has a worker run what would hold the loop; null where there is none. */
  readonly recordTask: RecordWorkDeps['worker'];
  readonly coldReader: ColdReader;
  readonly manifests: ManifestCache;
  readonly control: ControlPlane;
  readonly catalog: ConfigCatalog;
  /** Handlers beyond what the shard itself knows; given the shard's services. */
  readonly handlers: (services: ShardServices) => readonly AnyRequestHandler[];
  /** Partitions and coordinators of other shards; null when this shard is alone. */
  readonly peers: ShardPeers | null;
  /** Opens connections to other brokers; null where none can be reached. */
  readonly dial: Dial | null;
}

/** Doors to the other shards. */
export interface ShardPeers extends ShardLinks {
  partition(owner: number, topicId: string, partition: number, topic: TopicImage): RemoteHandle;
  /** The shard's own ends, for what arrives from its peers. */
  attach(shard: Shard): void;
  flush(): void;
}

export interface ShardServices {
  readonly settings: ShardSettings;
  readonly topics: TopicDirectory;
  readonly arena: Arena;
  /** Arena memory with a reference of its own, or −1 while there is none. */
  readonly allocate: (bytes: number) => number;
  readonly clock: Clock;
  readonly leased: () => boolean;
  readonly random: Random;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
  readonly walk: RecordWalk;
  readonly recordWork: RecordWork;
  /** Something was appended outside of a connection's turn: the WALs and the other shards are to be told. */
  readonly appended: () => void;
  readonly congestion: () => number;
  readonly sessions: FetchSessionCache;
  readonly control: ControlPlane;
  readonly coordinators: ShardCoordinators;
  readonly endpoint: (listener: string) => {
    nodeId: number;
    host: string;
    port: number;
    rack: string | null;
  };
  readonly observe: ShardCounters;
}

/** A fetch session may make place for another once it was unused for this long (KIP-227). */
const sessionEvictionMs = 120_000;

const flushNowBytes = 128 * 1024;
/** Large batches of this shard that workers unpack at a time: for producers, and for look-ups by time. */
const judgeTasksMax = 4;
/** Entries of a delta that one turn collects, or as much else: one to two milliseconds. */
const collectedPerTurn = 8192;
const searchTasksMax = 1;

export class Shard implements Omit<ShardApi, 'connect'>, PeerHost {
  readonly settings: ShardSettings;
  readonly logs: LogManager;
  readonly partitions: ShardPartitions;
  readonly connections: ShardConnections;
  readonly dispatcher: Dispatcher;
  readonly coordinators: ShardCoordinators;
  readonly counters = new ShardCounters();
  readonly sessions: FetchSessionCache;
  readonly pool: ReceivePool;
  readonly clock: Clock;
  private readonly parts: ShardParts;
  private readonly others: OtherBrokers | null;
  private flushQueued = false;
  private inTurn = false;
  private flushedBytes = 0;

  constructor(parts: ShardParts) {
    this.parts = parts;
    this.settings = parts.settings;
    this.clock = parts.clock;
    const { arena, clock, logger, settings } = parts;
    const context = recordTaskContext({ arena, codecs: parts.codecs, walk: parts.walk });
    const records = { arena, clock, context, worker: parts.recordTask };
    const cold = new ObjectColdPath({
      arena,
      reader: parts.coldReader,
      manifests: parts.manifests,
      image: () => this.image,
      logger,
      records: new RecordWork({ ...records, workerTasksMax: searchTasksMax }),
      lookupBytes: 1 << 20,
      monotonic: () => clock.monotonic(),
    });
    this.logs = new LogManager({
      arena,
      wals: parts.wals,
      clock,
      logger,
      crc32c: parts.crc32cAt,
      journalCapacity: settings.journalCapacity,
      logCacheBytes: settings.logCacheBytes,
      ringBytes: settings.ringBytes,
      mayAcknowledge: parts.mayAcknowledge,
      cold,
    });
    this.partitions = new ShardPartitions({
      ...parts,
      logs: this.logs,
      cold,
      coordinators: {
        opened: (topic, partition) => this.coordinators.opened(topic, partition),
        closing: (topic, partition) => this.coordinators.closing(topic, partition),
        topicDeleted: (topicId, name) => this.coordinators.topicDeleted(topicId, name),
        imageChanged: (changes) => {
          this.others?.imageChanged(changes);
          this.coordinators.imageChanged(changes);
        },
        described: (name) => this.coordinators.described(name),
      },
      flush: () => this.flush(),
    });
    const slab = new Slab(arena, (segments) => this.logs.reclaim(segments));
    this.pool = {
      arena,
      slab,
      scratch: Buffer.allocUnsafeSlow(scratchBytes),
      chunkBytes: 0,
      chunkBytesMax: settings.receiveBytes,
      arenaFrameBytesMax: settings.receiveBytes,
      outsideBytes: 0,
      outsideBytesMax: settings.connection.frameBytesMax,
    };
    this.others =
      parts.dial === null
        ? null
        : new OtherBrokers({
            nodeId: settings.nodeId,
            image: () => this.image,
            dial: parts.dial,
            clock,
            random: parts.random,
            logger,
            observe: this.counters.interbroker,
          });
    this.coordinators = new ShardCoordinators({
      self: settings.index,
      shards: settings.shards,
      arena,
      slab,
      clock,
      leased: parts.leased,
      random: parts.random,
      logger,
      codecs: parts.codecs,
      crc32c: parts.crc32c,
      topics: this.partitions,
      local: (topicId, partition) => this.logs.get(topicId, partition),
      ownerOf: (topic, partition) => this.partitions.ownerOf(topic, partition),
      brokerOf: (topic, partition) => this.partitions.brokerOf(topic, partition),
      others: this.others,
      control: parts.control,
      group: settings.group,
      transaction: settings.transaction,
      groupConfigs: {
        group: (groupId, name) => groupConfigValue(parts.catalog, this.image, settings.nodeId, groupId, name),
        broker: (name) => brokerConfigValue(parts.catalog, this.image, settings.nodeId, name),
      },
      links: parts.peers,
      partitions: settings.coordinatorPartitions,
      flush: () => this.flush(),
    });
    this.sessions = new FetchSessionCache(settings.sessionSlots, sessionEvictionMs, clock, parts.random);
    const services: ShardServices = {
      settings,
      topics: this.partitions,
      arena,
      allocate: (bytes) => slab.allocate(bytes),
      clock,
      leased: parts.leased,
      random: parts.random,
      logger,
      crc32c: parts.crc32c,
      walk: parts.walk,
      recordWork: new RecordWork({ ...records, workerTasksMax: judgeTasksMax }),
      appended: () => this.flushSoon(),
      congestion: () => this.logs.congestion(),
      sessions: this.sessions,
      control: parts.control,
      coordinators: this.coordinators,
      endpoint: (listener) => {
        const { host, port } = settings.endpoints[listener]!;
        return { nodeId: settings.nodeId, host, port, rack: settings.rack };
      },
      observe: this.counters,
    };
    this.dispatcher = new Dispatcher({
      arena,
      logger,
      handlers: parts.handlers(services),
      router: parts.peers === null ? null : new RequestRouter(this.coordinators, parts.peers),
      authorizer: allowAll,
      monotonic: () => clock.monotonic(),
      observe: this.counters,
    });
    this.connections = new ShardConnections({
      pool: this.pool,
      handler: this.dispatcher,
      clock,
      settings: settings.connection,
      index: settings.index,
      shards: settings.shards,
      connectionsMax: settings.connectionsMax,
      logger,
      counters: this.counters,
      delivered: () => this.flushSoon(),
      closed: (connectionId) => this.coordinators.shares.sessions.connectionClosed(connectionId),
      reclaim: (segments) => this.logs.reclaim(segments),
    });
    this.services.register(producersService, describeProducersService(this.logs));
    parts.peers?.attach(this);
  }

  // ── PeerHost ────────────────────────────────────────────────────────────────────────────────────────────────────

  get services(): ShardServicesTable {
    return this.coordinators.services;
  }

  get image(): ClusterImage {
    return this.partitions.image;
  }

  logSettings(topic: TopicImage): LogSettings {
    return this.partitions.logSettings(topic);
  }

  appendFailed({ name, partition }: PartitionLog, error: unknown): void {
    this.parts.logger.error('an append failed inside the broker', {
      topic: name,
      partition,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }

  /** Registers a connection over a transport. */
  accept(peer: Peer, transport: Transport): Connection {
    return this.connections.accept(peer, transport);
  }

  /**
   * One wake-up for all that the sockets of this loop turn brought: waking a sleeping thread costs more than a small
   * append. Large appends go at once, since the WAL can write them while more is received.
   */
  private flushSoon(): void {
    if (this.counters.producedBytes - this.flushedBytes >= flushNowBytes) {
      this.flush();
      return;
    }
    if (this.flushQueued || this.inTurn) return;
    this.flushQueued = true;
    this.clock.soon(() => {
      this.flushQueued = false;
      this.flush();
    });
  }

  /** A turn of the socket loop begins: what it queues is flushed when it ends. */
  beginTurn(): void {
    this.inTurn = true;
  }

  endTurn(): void {
    this.inTurn = false;
    this.flush();
  }

  /** Tells the WALs and the other shards of what this turn queued for them. */
  flush(): void {
    this.flushedBytes = this.counters.producedBytes;
    for (const wal of this.parts.wals) wal.flush();
    this.parts.peers?.flush();
  }

  // ── ShardApi ────────────────────────────────────────────────────────────────────────────────────────────────────

  stagePartitions(partitions: readonly OpenPartition[]): void {
    this.partitions.stagePartitions(partitions);
  }

  unstage(streams: readonly StreamName[]): void {
    this.partitions.unstage(streams);
  }

  beginClose(streams: readonly StreamName[]): Promise<void> {
    return this.partitions.beginClose(streams);
  }

  cancelClose(streams: readonly StreamName[]): void {
    this.partitions.cancelClose(streams);
  }

  restore(batches: RestoredBatches): void {
    this.partitions.restore(batches);
  }

  ends(): StreamEnd[] {
    return this.partitions.ends();
  }

  beginServing(): void {
    this.partitions.beginServing();
    this.coordinators.serving();
  }

  applyChanges(_revision: number, changes: readonly MetadataChange[]): void {
    this.partitions.apply(changes);
  }

  collect(volume: number, commit: number, named: readonly StreamName[]): CollectedDelta {
    return this.logs.collect(volume, commit, named, collectedPerTurn);
  }

  collectMore(volume: number): CollectedDelta {
    return this.logs.collectMore(volume, collectedPerTurn);
  }

  uploaded(volume: number, end: number): void {
    this.logs.uploaded(volume, end);
    this.connections.feed();
  }

  evictUploaded(): void {
    this.logs.evictUploaded();
  }

  states(streams: readonly StreamName[]): StreamState[] {
    return this.logs.states(streams);
  }

  snapshot(): MetricsSnapshot {
    return this.counters.metrics.snapshot(this.clock.monotonic());
  }

  metrics(): ShardNumbers {
    let delta = 0;
    let pending = 0;
    let held = 0;
    for (const journal of this.logs.journals) {
      delta += journal.deltaBytes;
      pending += journal.pendingBytes;
      held += journal.heldBytes;
    }
    return {
      requestBytes: this.counters.requestBytes,
      failedRequests: this.counters.failedRequests,
      producedBytes: this.counters.producedBytes,
      producedRecords: this.counters.producedRecords,
      producedBatches: this.counters.producedBatches,
      refusedBatches: this.counters.refusedBatches,
      fetchedBytes: this.counters.fetchedBytes,
      connections: this.connections.count,
      connectionsOpened: this.counters.connectionsOpened,
      starvedConnections: this.connections.starvedCount,
      // The host's sockets are counted there.
      loopConnections: 0,
      partitions: this.logs.count,
      fetchSessions: this.sessions.size,
      deltaBytes: delta,
      congestion: this.logs.congestion(),
      pendingBytes: pending,
      logCacheBytes: held,
      receiveChunkBytes: this.pool.chunkBytes,
    };
  }

  takeTraffic(): ShardTraffic {
    const logBytes = this.logs.journals.map(({ deltaBytes, pendingBytes }) => deltaBytes + pendingBytes);
    return { streams: this.logs.traffic.take(), logBytes };
  }

  maintain(): void {
    this.logs.maintain(this.settings.producerExpirationMs);
  }

  drain(timeoutMs: number): Promise<void> {
    this.coordinators.close();
    this.others?.close();
    return this.connections.drain(timeoutMs);
  }

  /** Ends appends, then waits until all that was appended is durable or has failed. */
  async quiesce(): Promise<void> {
    this.logs.endAppends();
    this.flush();
    for (const journal of this.logs.journals) {
      while (journal.durable < journal.tail)
        await new Promise<void>((resolve) => this.clock.after(1, resolve));
    }
  }

  /** Epoch of a restored batch, for the history that recovery rebuilds. */
  epochOf(position: number): number {
    return leaderEpochOf(this.parts.arena.view, position);
  }
}

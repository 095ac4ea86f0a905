/**
 * One shard put together: connections, request handlers, partition logs, the group coordinator and the cold path, over
 * whatever links and WALs it is given. The same class runs in a thread of its own, in main's thread (portable path) and
 * inline inside a host process (`threads: 0`). Owns everything it creates; `ShardApi` is the only door for main.
 */
import type { GroupSettings } from '../coordinator/group/group-settings.ts';
import { type CollectedDelta, LogManager, type OpenPartition } from '../log/log-manager.ts';
import type { LogSettings } from '../log/log-settings.ts';
import type { PartitionHandle } from '../log/partition-handle.ts';
import type { PartitionLog } from '../log/partition-log.ts';
import { RecordWork, type RecordWorkDeps } from '../log/record-work.ts';
import type { ImageBuilder } from '../metadata/image-builder.ts';
import { decodeImage } from '../metadata/image-codec.ts';
import type { ClusterImage, MetadataChange, TopicImage } from '../metadata/metadata-store.ts';
import { Connection, type ConnectionSettings, type Peer, type Transport } from '../net/connection.ts';
import { type ReceivePool, scratchBytes } from '../net/frame-receiver.ts';
import { Slab } from '../net/slab.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { Codecs } from '../protocol/compression/codecs.ts';
import { batchBytesOf, leaderEpochOf } from '../protocol/records/batch-header.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { recordTaskContext } from '../protocol/records/record-tasks.ts';
import type { RecordWalk } from '../protocol/records/record-walk.ts';
import { Dispatcher } from '../requests/dispatcher.ts';
import { RequestRouter, type ShardLinks } from '../requests/request-router.ts';
import type { ShardServicesTable } from '../requests/routing.ts';
import { allowAll } from '../requests/support/authorizer.ts';
import type { ConfigCatalog } from '../requests/support/config-catalog.ts';
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
import { describeProducersService, producersService } from './peers/producers-service.ts';
import { ownerShard, topicLogSettings } from './placement.ts';
import type { RestoredBatches, ShardApi, StreamEnd, StreamName } from './shard-api.ts';
import { ShardCoordinators } from './shard-coordinators.ts';
import { ShardCounters } from './shard-counters.ts';

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
}

/** Doors to the other shards. */
export interface ShardPeers extends ShardLinks {
  partition(owner: number, topicId: string, partition: number, topic: TopicImage): PartitionHandle;
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
const searchTasksMax = 1;

export class Shard implements Omit<ShardApi, 'connect'>, TopicDirectory {
  readonly settings: ShardSettings;
  readonly logs: LogManager;
  readonly dispatcher: Dispatcher;
  readonly coordinators: ShardCoordinators;
  readonly counters = new ShardCounters();
  readonly sessions: FetchSessionCache;
  readonly pool: ReceivePool;
  readonly clock: Clock;
  private readonly parts: ShardParts;
  private readonly builder: ImageBuilder;
  private readonly connections = new Map<number, Connection>();
  private readonly starved = new Set<Connection>();
  private readonly remote = new Map<string, PartitionHandle>();
  private nextConnection: number;
  private serving = false;
  private draining: (() => void) | null = null;
  private feeding = false;
  private flushQueued = false;
  private flushedBytes = 0;

  constructor(parts: ShardParts) {
    this.parts = parts;
    this.settings = parts.settings;
    this.clock = parts.clock;
    this.builder = decodeImage(parts.image);
    this.nextConnection = parts.settings.index;
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
    this.coordinators = new ShardCoordinators({
      self: settings.index,
      shards: settings.shards,
      arena,
      slab,
      clock,
      random: parts.random,
      logger,
      codecs: parts.codecs,
      crc32c: parts.crc32c,
      topics: this,
      local: (topicId, partition) => this.logs.get(topicId, partition),
      ownerOf: (topic, partition) => this.ownerOf(topic, partition),
      control: parts.control,
      group: settings.group,
      partitions: settings.coordinatorPartitions,
      flush: () => this.flush(),
    });
    this.sessions = new FetchSessionCache(settings.sessionSlots, sessionEvictionMs, clock, parts.random);
    const services: ShardServices = {
      settings,
      topics: this,
      arena,
      allocate: (bytes) => slab.allocate(bytes),
      clock,
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
    this.services.register(producersService, describeProducersService(this.logs));
    parts.peers?.attach(this);
  }

  // ── TopicDirectory ──────────────────────────────────────────────────────────────────────────────────────────────

  get services(): ShardServicesTable {
    return this.coordinators.services;
  }

  get image(): ClusterImage {
    return this.builder.image;
  }

  topicByName(name: string): TopicImage | undefined {
    return this.builder.image.topicsByName.get(name);
  }

  topicById(topicId: string): TopicImage | undefined {
    return this.builder.image.topicsById.get(topicId);
  }

  partition(topicId: string, partition: number): PartitionHandle | undefined {
    const local = this.logs.get(topicId, partition);
    if (local !== undefined) return local;
    const { peers } = this.parts;
    if (peers === null) return undefined;
    const topic = this.topicById(topicId);
    if (topic === undefined || topic.partitions[partition]?.state !== 'open') return undefined;
    const owner = this.ownerOf(topic, partition);
    if (owner === this.settings.index) return undefined;
    const key = streamKey(topicId, partition);
    let handle = this.remote.get(key);
    if (handle === undefined) {
      handle = peers.partition(owner, topicId, partition, topic);
      this.remote.set(key, handle);
    }
    return handle;
  }

  /** Settings that the topic's logs follow as of the image. */
  logSettings(topic: TopicImage): LogSettings {
    return topicLogSettings(topic, this.image, this.parts.catalog, this.settings.nodeId);
  }

  appendFailed({ name, partition }: PartitionLog, error: unknown): void {
    this.parts.logger.error('an append failed inside the broker', {
      topic: name,
      partition,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
    });
  }

  ownerOf(topic: TopicImage, partition: number): number {
    return ownerShard(topic.topicId, partition, this.settings.shards);
  }

  // ── Connections ─────────────────────────────────────────────────────────────────────────────────────────────────

  get connectionCount(): number {
    return this.connections.size;
  }

  /** Registers a connection over a transport; it is closed at once where there are too many. */
  accept(peer: Peer, transport: Transport): Connection {
    const id = this.nextConnection;
    this.nextConnection += this.settings.shards;
    const connection = new Connection(id, peer, transport, {
      pool: this.pool,
      handler: this.dispatcher,
      clock: this.clock,
      settings: this.settings.connection,
      onStarved: (starved) => this.onStarved(starved),
      onDelivered: () => this.flushSoon(),
      onClosed: (closed, reason, notable) => this.onClosed(closed, reason, notable),
    });
    this.connections.set(id, connection);
    this.counters.connectionsOpened++;
    if (this.connections.size > this.settings.connectionsMax) connection.close('too many connections');
    return connection;
  }

  onStarved(connection: Connection): void {
    this.starved.add(connection);
    this.scheduleFeed();
  }

  onClosed(connection: Connection, reason: string, notable: boolean): void {
    this.connections.delete(connection.id);
    this.starved.delete(connection);
    this.counters.connectionsClosed++;
    const { host, listener, principal } = connection.peer;
    const fields = { connection: connection.id, host, listener, principal, reason };
    if (notable) this.parts.logger.warn('a connection was closed', fields);
    else this.parts.logger.debug('connection closed', fields);
    if (this.connections.size === 0) this.draining?.();
  }

  /** Memory comes back with uploads and finished sends, neither of which is announced: look again soon. */
  private scheduleFeed(): void {
    if (this.feeding) return;
    this.feeding = true;
    this.clock.after(5, () => {
      this.feeding = false;
      if (this.starved.size === 0) return;
      this.logs.reclaim(2);
      const waiting = [...this.starved];
      this.starved.clear();
      for (const connection of waiting) connection.feed();
    });
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
    if (this.flushQueued) return;
    this.flushQueued = true;
    this.clock.soon(() => {
      this.flushQueued = false;
      this.flush();
    });
  }

  /** Tells the WALs and the other shards of what this turn queued for them. */
  flush(): void {
    this.flushedBytes = this.counters.producedBytes;
    for (const wal of this.parts.wals) wal.flush();
    this.parts.peers?.flush();
  }

  // ── ShardApi ────────────────────────────────────────────────────────────────────────────────────────────────────

  openPartitions(partitions: readonly OpenPartition[]): void {
    for (const spec of partitions) this.logs.open(spec);
  }

  restore(batches: RestoredBatches): void {
    const { arena } = this.parts;
    for (let i = 0; i < batches.position.length; i++) {
      const position = batches.position[i]!;
      const log = this.logs.get(batches.topicIds[batches.topic[i]!]!, batches.partition[i]!);
      // Recovery loads no more than fits; a batch must never be left out for want of room, or of a place.
      if (log === undefined || log.journal.entriesFull() || !log.follows(position))
        throw new MillraceError('internal', 'RESTORE_ORDER', 'a recovered batch does not fit its log');
      log.restore(position, batchBytesOf(arena.view, position), batches.commit[i]!);
      arena.releaseRange(position, batches.length[i]!);
    }
  }

  ends(): StreamEnd[] {
    return [...this.logs.all()].map((log) => ({
      topicId: log.topicId,
      partition: log.partition,
      endOffset: log.nextOffset,
    }));
  }

  beginServing(): void {
    this.logs.beginAppends();
    this.serving = true;
    for (const log of this.logs.all()) this.coordinators.opened(this.topicById(log.topicId)!, log.partition);
    this.coordinators.serving();
  }

  applyChanges(_revision: number, changes: readonly MetadataChange[]): void {
    const deleted: TopicImage[] = [];
    for (const change of changes) {
      if (change.type !== 'topicDeleted') continue;
      const topic = this.topicById(change.topicId);
      if (topic !== undefined) deleted.push(topic);
      for (const partition of topic?.partitions ?? []) {
        this.coordinators.closing(topic!.name, partition.partition);
        this.logs.remove(change.topicId, partition.partition);
        this.remote.delete(streamKey(change.topicId, partition.partition));
      }
    }
    this.builder.apply(changes);
    for (const { topicId, name } of deleted) this.coordinators.topicDeleted(topicId, name);
    for (const change of changes) {
      switch (change.type) {
        case 'open':
          this.onOpen(change.topicId, change.partition);
          break;
        case 'topic':
          if (this.serving) this.coordinators.described(change.name);
          break;
        case 'logStart':
          this.logs.get(change.topicId, change.partition)?.moveStart(change.startOffset);
          break;
        case 'config':
          this.refreshSettings(change.resource === 'topic' ? change.name : null);
          if (change.resource === 'topic' && this.serving) this.coordinators.described(change.name);
          break;
        default:
      }
    }
  }

  private onOpen(topicId: string, partition: number): void {
    const topic = this.topicById(topicId);
    const image = topic?.partitions[partition];
    if (topic === undefined || image === undefined || this.ownerOf(topic, partition) !== this.settings.index)
      return;
    this.logs.open({
      name: topic.name,
      topicId,
      partition,
      settings: this.logSettings(topic),
      leaderEpoch: image.leaderEpoch,
      epochs: image.epochs,
      startOffset: image.startOffset,
      endOffset: this.logs.get(topicId, partition)?.nextOffset ?? image.startOffset,
      volume: this.volumeOf(image.wal),
      producers: [],
    });
    if (this.serving) this.coordinators.opened(topic, partition);
  }

  private volumeOf(logId: string): number {
    const index = this.parts.wals.findIndex((wal) => wal.logId === logId);
    return index < 0 ? 0 : index;
  }

  private refreshSettings(topicName: string | null): void {
    for (const log of this.logs.all()) {
      if (topicName !== null && log.name !== topicName) continue;
      const topic = this.topicById(log.topicId);
      if (topic !== undefined) log.settings = this.logSettings(topic);
    }
  }

  collect(volume: number, commit: number, withStates: boolean): CollectedDelta {
    return this.logs.collect(volume, commit, withStates);
  }

  uploaded(volume: number, end: number): void {
    this.logs.uploaded(volume, end);
    if (this.starved.size > 0) this.scheduleFeed();
  }

  states(streams: readonly StreamName[]): StreamState[] {
    return this.logs.states(streams);
  }

  snapshot(): MetricsSnapshot {
    return this.counters.metrics.snapshot(this.clock.monotonic());
  }

  metrics(): Readonly<Record<string, number>> {
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
      connections: this.connections.size,
      connectionsOpened: this.counters.connectionsOpened,
      starvedConnections: this.starved.size,
      partitions: this.logs.count,
      fetchSessions: this.sessions.size,
      deltaBytes: delta,
      congestion: this.logs.congestion(),
      pendingBytes: pending,
      logCacheBytes: held,
      receiveChunkBytes: this.pool.chunkBytes,
    };
  }

  maintain(): void {
    this.logs.maintain(this.settings.producerExpirationMs);
  }

  async drain(timeoutMs: number): Promise<void> {
    this.coordinators.close();
    for (const connection of [...this.connections.values()]) connection.leave();
    if (this.connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.clock.after(timeoutMs, () => {
        for (const connection of [...this.connections.values()]) connection.close('the broker stops');
        resolve();
      });
      this.draining = () => {
        timer.cancel();
        resolve();
      };
    });
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

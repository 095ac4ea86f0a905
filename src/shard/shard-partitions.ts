/**
 * The image and the partitions of one shard: what there is, what it serves and what its peers do, and how that turns as the
 * metadata change. A partition is served here while the image says that it is open on this broker, and its log was made with
 * its state. Owned by the shard.
 */
import type { StreamName } from '../log/delta-collection.ts';
import type { LogManager, OpenPartition } from '../log/log-manager.ts';
import type { LogSettings } from '../log/log-settings.ts';
import type { PartitionHandle } from '../log/partition-handle.ts';
import type { PartitionLog } from '../log/partition-log.ts';
import type { ImageBuilder } from '../metadata/image-builder.ts';
import { decodeImage } from '../metadata/image-codec.ts';
import type { ClusterImage, MetadataChange, PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import { batchBytesOf } from '../protocol/records/batch-header.ts';
import type { ConfigCatalog } from '../requests/support/config-catalog.ts';
import type { TopicDirectory } from '../requests/support/topic-directory.ts';
import type { Wal } from '../stream/wal/wal.ts';
import { ObjectReplica, type ReplicaPath } from './object-replica.ts';
import { ownerShard, topicLogSettings } from './placement.ts';
import type { RestoredBatches, StreamEnd } from './shard-api.ts';

/** A partition of another shard. */
export interface RemoteHandle extends PartitionHandle {
  /** It was opened or closed: whoever waits for it looks again. */
  touch(): void;
}

/** Whoever coordinates over partitions of internal topics. */
export interface PartitionHooks {
  /** It is served from now on. */
  opened(topic: TopicImage, partition: number): void;
  /** It takes no appends soon: what is coordinated over it is gone when this returns. */
  closing(topicName: string, partition: number): void;
  topicDeleted(topicId: string, name: string): void;
  /** The image has taken the changes. */
  imageChanged(changes: readonly MetadataChange[]): void;
  /** A topic was made, or its configs were changed. */
  described(topicName: string): void;
}

export interface ShardPartitionsDeps {
  readonly settings: { readonly index: number; readonly shards: number; readonly nodeId: number };
  /** Encoded image to start from. */
  readonly image: Buffer;
  readonly logs: LogManager;
  /** Reads what objects hold of partitions that are elsewhere. */
  readonly cold: ReplicaPath;
  readonly wals: readonly Wal[];
  readonly arena: Arena;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly catalog: ConfigCatalog;
  /** Null when this shard is alone. */
  readonly peers: {
    partition(owner: number, topicId: string, partition: number, topic: TopicImage): RemoteHandle;
  } | null;
  readonly coordinators: PartitionHooks;
  /** Tells the WALs of what was appended. */
  readonly flush: () => void;
}

export class ShardPartitions implements TopicDirectory {
  readonly #deps: ShardPartitionsDeps;
  readonly #builder: ImageBuilder;
  readonly #remote = new Map<string, RemoteHandle>();
  #serving = false;
  readonly #watchers = new Set<() => void>();

  constructor(deps: ShardPartitionsDeps) {
    this.#deps = deps;
    this.#builder = decodeImage(deps.image);
  }

  get image(): ClusterImage {
    return this.#builder.image;
  }

  topicByName(name: string): TopicImage | undefined {
    return this.#builder.image.topicsByName.get(name);
  }

  topicById(topicId: string): TopicImage | undefined {
    return this.#builder.image.topicsById.get(topicId);
  }

  partition(topicId: string, partition: number): PartitionHandle | undefined {
    const local = this.#deps.logs.get(topicId, partition);
    if (local !== undefined) return local;
    const { peers } = this.#deps;
    if (peers === null) return undefined;
    const topic = this.topicById(topicId);
    const image = topic?.partitions[partition];
    if (topic === undefined || image?.state !== 'open' || image.node !== this.#deps.settings.nodeId)
      return undefined;
    const owner = this.ownerOf(topic, partition);
    if (owner === this.#deps.settings.index) return undefined;
    const key = streamKey(topicId, partition);
    let handle = this.#remote.get(key);
    if (handle === undefined) {
      handle = peers.partition(owner, topicId, partition, topic);
      this.#remote.set(key, handle);
    }
    return handle;
  }

  replica(topicId: string, partition: number): PartitionHandle | undefined {
    const topic = this.topicById(topicId);
    const image = topic?.partitions[partition];
    if (topic === undefined || image?.state !== 'open' || image.node === this.#deps.settings.nodeId)
      return undefined;
    return new ObjectReplica({
      topic,
      partition: image,
      cold: this.#deps.cold,
      settings: this.logSettings(topic),
    });
  }

  /** Settings that the topic's logs follow as of the image. */
  logSettings(topic: TopicImage): LogSettings {
    return topicLogSettings(topic, this.image, this.#deps.catalog, this.#deps.settings.nodeId);
  }

  ownerOf(topic: TopicImage, partition: number): number {
    return ownerShard(topic.topicId, partition, this.#deps.settings.shards);
  }

  /** The other broker that has the partition open; −1 = this one, or nobody. */
  brokerOf(topic: TopicImage, partition: number): number {
    const image = topic.partitions[partition];
    return image?.state === 'open' && image.node !== this.#deps.settings.nodeId ? image.node : -1;
  }

  stagePartitions(partitions: readonly OpenPartition[]): void {
    for (const spec of partitions) this.#deps.logs.stage(spec);
  }

  unstage(streams: readonly StreamName[]): void {
    for (const { topicId, partition } of streams) this.#deps.logs.unstage(topicId, partition);
  }

  async beginClose(streams: readonly StreamName[]): Promise<void> {
    const closing: PartitionLog[] = [];
    for (const { topicId, partition } of streams) {
      const log = this.#deps.logs.get(topicId, partition);
      if (log === undefined) continue;
      this.#deps.coordinators.closing(log.name, partition);
      this.#deps.logs.beginClose(log);
      closing.push(log);
    }
    this.#deps.flush();
    for (const log of closing) await this.#settled(log);
  }

  /** Nothing of the log is on its way to the WAL any more. */
  async #settled(log: PartitionLog): Promise<void> {
    while (log.highWatermark < log.nextOffset)
      await new Promise<void>((resolve) => this.#deps.clock.after(1, resolve));
  }

  cancelClose(streams: readonly StreamName[]): void {
    for (const { topicId, partition } of streams) {
      const log = this.#deps.logs.get(topicId, partition);
      if (log === undefined) continue;
      this.#deps.logs.cancelClose(log);
      this.#deps.coordinators.opened(this.topicById(topicId)!, partition);
    }
  }

  restore(batches: RestoredBatches): void {
    const { arena } = this.#deps;
    for (let i = 0; i < batches.position.length; i++) {
      const position = batches.position[i]!;
      const log = this.#deps.logs.find(batches.topicIds[batches.topic[i]!]!, batches.partition[i]!);
      // Recovery loads no more than fits; a batch must never be left out for want of room, or of a place.
      if (log === undefined || log.journal.entriesFull() || !log.follows(position))
        throw new MillraceError('internal', 'RESTORE_ORDER', 'a recovered batch does not fit its log');
      log.restore(position, batchBytesOf(arena.view, position), batches.commit[i]!);
      arena.releaseRange(position, batches.length[i]!);
    }
  }

  ends(): StreamEnd[] {
    return [...this.#deps.logs.all()].map((log) => ({
      topicId: log.topicId,
      partition: log.partition,
      endOffset: log.nextOffset,
    }));
  }

  /** Recovery is over. */
  beginServing(): void {
    const { logs, coordinators } = this.#deps;
    logs.beginAppends();
    this.#serving = true;
    for (const log of logs.all()) coordinators.opened(this.topicById(log.topicId)!, log.partition);
  }

  apply(changes: readonly MetadataChange[]): void {
    const deleted: TopicImage[] = [];
    /** Streams whose owner or epoch changed, and whether they were never opened before. */
    const turned = new Map<string, StreamName & { readonly fresh: boolean }>();
    for (const change of changes) {
      if (change.type === 'open' || change.type === 'close') {
        const { topicId, partition } = change;
        const before = this.topicById(topicId)?.partitions[partition]?.state ?? 'new';
        turned.set(streamKey(topicId, partition), { topicId, partition, fresh: before === 'new' });
      }
      if (change.type !== 'topicDeleted') continue;
      const topic = this.topicById(change.topicId);
      if (topic !== undefined) deleted.push(topic);
      for (const partition of topic?.partitions ?? []) {
        this.#deps.coordinators.closing(topic!.name, partition.partition);
        this.#deps.logs.remove(change.topicId, partition.partition);
        this.#remote.delete(streamKey(change.topicId, partition.partition));
      }
    }
    this.#builder.apply(changes);
    this.#deps.coordinators.imageChanged(changes);
    for (const { topicId, name } of deleted) this.#deps.coordinators.topicDeleted(topicId, name);
    for (const { topicId, partition, fresh } of turned.values()) this.#turn(topicId, partition, fresh);
    for (const change of changes) {
      switch (change.type) {
        case 'topic':
          if (this.#serving) this.#deps.coordinators.described(change.name);
          break;
        case 'logStart':
          this.#deps.logs.find(change.topicId, change.partition)?.moveStart(change.startOffset);
          break;
        case 'config':
          this.#refreshSettings(change.resource === 'topic' ? change.name : null);
          if (change.resource === 'topic' && this.#serving) this.#deps.coordinators.described(change.name);
          break;
        default:
      }
    }
    for (const watcher of [...this.#watchers]) watcher();
  }

  watch(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** A stream was opened or closed, here or elsewhere; only where it is now counts. */
  #turn(topicId: string, partition: number, fresh: boolean): void {
    const topic = this.topicById(topicId);
    const image = topic?.partitions[partition];
    if (topic === undefined || image === undefined) return;
    if (this.ownerOf(topic, partition) !== this.#deps.settings.index) {
      this.#remote.get(streamKey(topicId, partition))?.touch();
      return;
    }
    const log = this.#deps.logs.find(topicId, partition);
    if (image.state !== 'open' || image.node !== this.#deps.settings.nodeId) {
      if (log?.live !== true) return;
      this.#deps.coordinators.closing(topic.name, partition);
      this.#deps.logs.close(log);
      return;
    }
    if (log !== undefined) this.#deps.logs.serve(log, image.leaderEpoch, image.epochs);
    else if (fresh) this.#deps.logs.open(this.#firstOpen(topic, image));
    else {
      // Nothing may be served of which the producers are not known.
      this.#deps.logger.error('a partition was opened here without its state; it is not served', {
        topic: topic.name,
        partition,
        leaderEpoch: image.leaderEpoch,
      });
      return;
    }
    if (this.#serving) this.#deps.coordinators.opened(topic, partition);
  }

  /** A stream that was never open has no state. */
  #firstOpen(topic: TopicImage, image: PartitionImage): OpenPartition {
    const volume = this.#deps.wals.findIndex((wal) => wal.logId === image.wal);
    if (volume < 0)
      throw new MillraceError('internal', 'WAL_UNKNOWN', `${topic.name} is opened in the log ${image.wal}`);
    return {
      name: topic.name,
      topicId: topic.topicId,
      partition: image.partition,
      settings: this.logSettings(topic),
      leaderEpoch: image.leaderEpoch,
      epochs: image.epochs,
      startOffset: image.startOffset,
      endOffset: image.startOffset,
      volume,
      producers: [],
    };
  }

  #refreshSettings(topicName: string | null): void {
    for (const log of this.#deps.logs.all()) {
      if (topicName !== null && log.name !== topicName) continue;
      const topic = this.topicById(log.topicId);
      if (topic !== undefined) log.settings = this.logSettings(topic);
    }
  }
}

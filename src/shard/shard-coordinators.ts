/**
 * The coordinators of one shard: which there are, over which internal topic each runs, and when their partitions are
 * loaded and unloaded. A coordinator runs where its partition is owned. Shard thread.
 *
 * Another coordinator is added here: a runtime (coordinator/runtime) in `#hosts`, under its internal topic's name.
 */
import { GroupCoordinatorShard } from '../coordinator/group/group-coordinator.ts';
import type { GroupTopics } from '../coordinator/group/group-services.ts';
import type { GroupSettings } from '../coordinator/group/group-settings.ts';
import {
  offsetsPlacement,
  type PlacementPorts,
  placeOffsets,
} from '../coordinator/group/offsets-placement.ts';
import type { EndMarker } from '../coordinator/runtime/coordinator-log.ts';
import {
  type CoordinatorKind,
  coordinatorPartition,
  coordinatorTopics,
} from '../coordinator/runtime/coordinator-place.ts';
import type { PartitionHost } from '../coordinator/runtime/coordinator-runtime.ts';
import { TransactionCoordinatorShard } from '../coordinator/transaction/transaction-coordinator.ts';
import type { TransactionSettings } from '../coordinator/transaction/transaction-settings.ts';
import type { OtherBrokers } from '../interbroker/other-brokers.ts';
import type { PartitionHandle } from '../log/partition-handle.ts';
import { MarkerAppender } from '../log/transaction-seam.ts';
import type { MetadataChange, TopicImage } from '../metadata/metadata-store.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import { errorName } from '../protocol/generated/errors.ts';
import type { CoordinatorPlaces, ShardLinks } from '../requests/request-router.ts';
import { ShardServicesTable } from '../requests/routing.ts';
import type { ControlPlane } from '../requests/support/control-plane.ts';
import { GroupLimits } from '../requests/support/group-limits.ts';
import { ProducerIds } from '../requests/support/producer-ids.ts';
import type { TopicDirectory } from '../requests/support/topic-directory.ts';
import { type CoordinatorPartitions, coordinatorTopicSpec } from './coordinator-topics.ts';
import { type CoordinatorLogDeps, PartitionCoordinatorLog } from './partition-coordinator-log.ts';
import { ShardShares } from './share/shard-shares.ts';
import type { ShareConfigs } from './share/share-settings.ts';
import { TransactionLinks } from './transaction-links.ts';

export interface ShardCoordinatorsDeps extends Omit<CoordinatorLogDeps, 'topic' | 'partition' | 'moveStart'> {
  readonly self: number;
  /** Shards of this broker; they begin to serve in the order of their numbers. */
  readonly shards: number;
  readonly random: Random;
  /** Whether nobody else can coordinate this broker's partitions by now. */
  readonly leased: () => boolean;
  readonly logger: Logger;
  readonly topics: TopicDirectory;
  /** A partition of this shard. */
  readonly local: (topicId: string, partition: number) => PartitionHandle | undefined;
  readonly ownerOf: (topic: TopicImage, partition: number) => number;
  /** The other broker that has a partition open; −1 = this one, or nobody. */
  readonly brokerOf: (topic: TopicImage, partition: number) => number;
  /** Null where no other broker can be reached. */
  readonly others: OtherBrokers | null;
  readonly control: ControlPlane;
  readonly group: GroupSettings;
  readonly transaction: TransactionSettings;
  readonly groupConfigs: ShareConfigs;
  /** Null where this shard is alone. */
  readonly links: ShardLinks | null;
  readonly partitions: CoordinatorPartitions;
}

export class ShardCoordinators implements CoordinatorPlaces {
  readonly groups: GroupCoordinatorShard;
  readonly transactions: TransactionCoordinatorShard;
  /** Markers to partitions and questions to transaction coordinators, wherever they are; and in this broker alone, for others. */
  readonly transactionLinks: TransactionLinks;
  readonly transactionLinksHere: TransactionLinks;
  readonly ids: ProducerIds;
  readonly shares: ShardShares;
  /** What other shards may ask of this one (requests/routing.ts). */
  readonly services = new ShardServicesTable();
  readonly topicNames: GroupTopics;
  #topicsVersion = 0;
  readonly #limits: GroupLimits;
  readonly #deps: ShardCoordinatorsDeps;
  readonly #hosts: ReadonlyMap<string, PartitionHost>;
  /** Each settles when the topic is there, or could not be made. */
  readonly #making = new Map<CoordinatorKind, Promise<void>>();
  #placing = false;
  #closed = false;

  constructor(deps: ShardCoordinatorsDeps) {
    this.#deps = deps;
    const { topics } = deps;
    const version = () => this.#topicsVersion;
    this.topicNames = {
      idOf: (name) => topics.topicByName(name)?.topicId ?? null,
      nameOf: (topicId) => topics.topicById(topicId)?.name ?? null,
      partitionsOf: (name) => topics.topicByName(name)?.partitions.length ?? 0,
      partitionCount: (topicId) => topics.topicById(topicId)?.partitions.length ?? 0,
      names: () => topics.image.topicsByName.keys(),
      get version() {
        return version();
      },
    };
    this.#limits = new GroupLimits(deps.groupConfigs.group, deps.groupConfigs.broker);
    this.shares = new ShardShares({
      ...deps,
      places: this,
      coordinatorBroker: (topic, key) => this.brokerOf(topic, key),
      services: this.services,
      configs: deps.groupConfigs,
      log: this.#logOf('share', deps.local),
      partitions: () => this.partitionsOf('share'),
      makeTopic: () => void this.makeTopic('share'),
    });
    this.groups = new GroupCoordinatorShard({
      clock: deps.clock,
      leased: deps.leased,
      random: deps.random,
      logger: deps.logger,
      settings: deps.group,
      log: this.#logOf('group', deps.local),
      topics: this.topicNames,
      limitsOf: (groupId) => this.#limits.consumer(groupId),
      streamsLimitsOf: (groupId) => this.#limits.streams(groupId),
      partitions: () => this.partitionsOf('group'),
      share: this.shares.groupPorts,
    });
    this.ids = new ProducerIds(deps);
    const transactionLinks = {
      ...deps,
      places: this,
      coordinatorBroker: (topic: string, key: string) => this.brokerOf(topic, key),
      coordinator: () => this.transactions,
      endTransaction: this.endTransaction.bind(this),
      appender: new MarkerAppender(deps),
    };
    this.transactionLinks = new TransactionLinks(transactionLinks);
    this.transactionLinksHere = new TransactionLinks({ ...transactionLinks, others: null });
    this.transactionLinks.serve(this.services);
    this.transactions = new TransactionCoordinatorShard({
      clock: deps.clock,
      leased: deps.leased,
      random: deps.random,
      logger: deps.logger,
      settings: deps.transaction,
      log: this.#logOf('transaction', deps.local),
      partitions: () => this.partitionsOf('transaction'),
      sender: this.transactionLinks,
      leaderEpoch: (partition) => {
        const topic = topics.topicByName(coordinatorTopics.transaction);
        return topic === undefined ? 0 : (deps.local(topic.topicId, partition)?.leaderEpoch ?? 0);
      },
      freshId: (done) => this.ids.take(done),
    });
    this.#hosts = new Map<string, PartitionHost>([
      [coordinatorTopics.group, this.groups],
      [coordinatorTopics.transaction, this.transactions],
      [coordinatorTopics.share, this.shares.coordinator],
    ]);
  }

  /** Makes an internal topic on its first use; joins what is under way. */
  makeTopic(kind: CoordinatorKind): Promise<void> {
    const { control, partitions, logger } = this.#deps;
    const making = this.#making.get(kind);
    if (making !== undefined) return making;
    const made = control
      .createTopics([coordinatorTopicSpec(kind, partitions)])
      .then(
        () => undefined,
        (error: unknown) =>
          logger.warn('an internal topic could not be made', { kind, error: String(error) }),
      )
      .finally(() => this.#making.delete(kind));
    this.#making.set(kind, made);
    return made;
  }

  #logOf(
    kind: CoordinatorKind,
    handleOf: (topicId: string, partition: number) => PartitionHandle | undefined,
  ): PartitionCoordinatorLog {
    const { control, topics } = this.#deps;
    const topic = coordinatorTopics[kind];
    return new PartitionCoordinatorLog({
      ...this.#deps,
      topic,
      partition: (index) => {
        const image = topics.topicByName(topic);
        return image === undefined ? undefined : handleOf(image.topicId, index);
      },
      moveStart: async (topicId, partition, startOffset) => {
        const [result] = await control.moveLogStarts([{ topicId, partition, startOffset }]);
        return result!.error;
      },
    });
  }

  // ── Who coordinates a key ───────────────────────────────────────────────────────────────────────────────────────

  /** Of the topic, or those that it will be made with. */
  partitionsOf(kind: CoordinatorKind): number {
    return (
      this.#deps.topics.topicByName(coordinatorTopics[kind])?.partitions.length ?? this.#deps.partitions[kind]
    );
  }

  partitionOf(kind: CoordinatorKind, key: string): number {
    return coordinatorPartition(key, this.partitionsOf(kind));
  }

  ownerOf(topicName: string, key: string): number {
    const topic = this.#deps.topics.topicByName(topicName);
    if (topic === undefined) return this.#deps.self;
    return this.#deps.ownerOf(topic, coordinatorPartition(key, topic.partitions.length));
  }

  /** The other broker that coordinates a key; −1 = this one, or nobody. */
  brokerOf(topicName: string, key: string): number {
    const topic = this.#deps.topics.topicByName(topicName);
    if (topic === undefined) return -1;
    return this.#deps.brokerOf(topic, coordinatorPartition(key, topic.partitions.length));
  }

  // ── Partitions come and go ──────────────────────────────────────────────────────────────────────────────────────

  /** A partition of this shard serves appends and reads from now on: whoever coordinates by it loads it. */
  opened(topic: TopicImage, partition: number): void {
    const host = this.#hosts.get(topic.name);
    if (host === undefined || this.#deps.local(topic.topicId, partition) === undefined) return;
    // Groups are not served before all of them are where they belong; `described` comes when they are.
    if (topic.name === coordinatorTopics.group && !offsetsPlacement.isSettled(topic.configs)) return;
    void host.load(partition);
  }

  /** A partition of this shard is about to close, or to be deleted: its coordinator is gone when this returns. */
  closing(topicName: string, partition: number): void {
    this.#hosts.get(topicName)?.unload(partition);
  }

  /**
   * Ends a transaction in a partition of an internal topic that this shard owns; false for other topics, whose markers go
   * to their logs directly.
   */
  endTransaction(
    topicName: string,
    partition: number,
    marker: EndMarker,
    done: (errorCode: number) => void,
  ): boolean {
    const host = this.#hosts.get(topicName);
    host?.endTransaction(partition, marker, done);
    return host !== undefined;
  }

  /** The image has taken the changes. */
  imageChanged(changes: readonly MetadataChange[]): void {
    for (const { type } of changes) {
      if (type === 'topic' || type === 'topicDeleted' || type === 'partitions') this.#topicsVersion++;
      else if (type === 'config') this.#limits.clear();
    }
  }

  /** The image does not hold the topic any more. */
  topicDeleted(topicId: string, name: string): void {
    for (const host of this.#hosts.values()) host.topicDeleted(topicId, name);
  }

  /** All partitions that the shard has at its start are open. */
  serving(): void {
    this.described(coordinatorTopics.group);
  }

  /** A topic is there, or its configs changed: groups that waited for their places to be settled are loaded. */
  described(topicName: string): void {
    const topic = this.#deps.topics.topicByName(topicName);
    if (topic === undefined || topicName !== coordinatorTopics.group) return;
    if (!offsetsPlacement.isSettled(topic.configs)) this.#place(topic);
    else for (const { partition } of topic.partitions) this.opened(topic, partition);
  }

  close(): void {
    this.#closed = true;
    this.shares.close();
    for (const host of this.#hosts.values()) host.close();
  }

  /** One shard moves the groups of all, the last to begin: all take appends then. The others wait for the config. */
  #place({ name, partitions }: TopicImage): void {
    const { self, shards, clock, logger, topics, control } = this.#deps;
    if (this.#placing || self !== shards - 1) return;
    this.#placing = true;
    const ports: PlacementPorts = {
      clock,
      logger,
      log: this.#logOf('group', (id, partition) => topics.partition(id, partition)),
      partitions: partitions.length,
      settle: async () => {
        const entries = offsetsPlacement.config;
        const [result] = await control.alterConfigs([{ resource: 'topic', name, entries }]);
        if (result!.error !== 0)
          throw new MillraceError('unavailable', 'COORDINATOR_PLACEMENT', errorName(result!.error));
      },
      stopped: () => this.#closed,
    };
    // In a later turn: the topic's partitions open in this one.
    clock.soon(() =>
      placeOffsets(ports).finally(() => {
        this.#placing = false;
      }),
    );
  }
}

/**
 * What the records of one `__consumer_offsets` partition amount to: its groups, their members and offsets. The runtime
 * (coordinator/runtime) loads, appends and unloads. Groups of the consumer and the streams protocol join here, by the type of
 * their records (consumer/, streams/), and so do share groups (share/); a group keeps its offsets when it changes between the
 * protocols. Shard thread.
 *
 *     groups     what members see: rebalances run ahead of the log, answers that hand out a generation's parts do not
 *     offsets    what fetches see: durable only
 *     consumer   members of the consumer protocol, and of streams: as soon as the log has taken their records; answers wait
 *
 * Offsets belong to a topic by its id: those of a topic that is gone are hidden at once and get tombstones, when the topic
 * is deleted, when a commit that was on its way becomes durable, after a load, and again with every expiry until the log
 * has taken them.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorRecord, EndMarker, TransactionalProducer } from '../runtime/coordinator-log.ts';
import { coordinatorPartition } from '../runtime/coordinator-place.ts';
import {
  type CoordinatorState,
  type PartitionContext,
  type Replayed,
  replayed,
} from '../runtime/coordinator-state.ts';
import { ClassicMembers } from './consumer/classic-members.ts';
import { ConsumerGroup } from './consumer/consumer-group.ts';
import { ConsumerGroups } from './consumer/consumer-groups.ts';
import { ConsumerHeartbeats, type HeartbeatHost } from './consumer/consumer-heartbeat.ts';
import {
  type ConsumerRecordKey,
  consumerRecordTypes,
  groupTombstones,
  recordsOf,
  replayConsumerRecord,
} from './consumer/consumer-records.ts';
import {
  adoptProtocols,
  classicTombstones,
  downgradeOf,
  mayDowngrade,
  type Refusal,
  upgradeRecords,
} from './consumer/migration.ts';
import { RegexResolver } from './consumer/regex-resolver.ts';
import { Group } from './group.ts';
import type { OffsetEntry } from './group-offsets.ts';
import {
  type GroupRecordKey,
  groupKey,
  groupValue,
  offsetKey,
  offsetValue,
  readKey,
  readOffsetValue,
  restoreGroup,
  storedGroup,
} from './group-records.ts';
import type { GroupTopics } from './group-services.ts';
import type { ConsumerLimits, GroupSettings } from './group-settings.ts';
import { groupStates } from './group-state.ts';
import { Membership } from './membership.ts';
import { ignored, OffsetBurial } from './offset-burial.ts';
import { expiryOf } from './offset-expiry.ts';
import type { GroupHost } from './rebalance.ts';
import type { ShareGroupPorts } from './share/share-group-api.ts';
import { readShareRecord } from './share/share-group-records.ts';
import { ShareGroups } from './share/share-groups.ts';
import { StreamsGroup } from './streams/streams-group.ts';
import type { StreamsLimits } from './streams/streams-group-api.ts';
import { StreamsGroups } from './streams/streams-groups.ts';
import { type StreamsHeartbeatHost, StreamsHeartbeats } from './streams/streams-heartbeat.ts';
import {
  replayStreamsRecord,
  type StreamsRecordKey,
  recordsOf as streamsRecordsOf,
  streamsRecordTypes,
  groupTombstones as streamsTombstones,
} from './streams/streams-records.ts';
import { TransactionalOffsets } from './transactional-offsets.ts';
import { writeNow } from './write-now.ts';

export interface GroupPartitionPorts {
  readonly settings: GroupSettings;
  readonly topics: GroupTopics;
  /** Configs in force for a group of the consumer protocol. */
  readonly limitsOf: (groupId: string) => ConsumerLimits;
  /** Partitions of `__consumer_offsets`. */
  readonly partitions: () => number;
  readonly share: ShareGroupPorts;
  /** Configs in force for a group of the streams protocol. */
  readonly streamsLimitsOf: (groupId: string) => StreamsLimits;
}

export class GroupPartition implements CoordinatorState, GroupHost, HeartbeatHost, StreamsHeartbeatHost {
  readonly context: PartitionContext;
  readonly settings: GroupSettings;
  readonly groups = new Map<string, Group>();
  readonly membership: Membership;
  readonly share: ShareGroups;
  readonly transactions = new TransactionalOffsets();
  readonly burial: OffsetBurial;
  readonly topics: GroupTopics;
  readonly consumers: ConsumerGroups;
  readonly heartbeats: ConsumerHeartbeats;
  readonly streams: StreamsGroups;
  readonly streamsHeartbeats: StreamsHeartbeats;
  /** Members of the classic protocol in groups of the other. */
  readonly classicMembers: ClassicMembers;
  readonly #ports: GroupPartitionPorts;
  /** Loaded: what is replayed now was decided here. */
  #live = false;
  /** Newest value of each group's record while the partition is loading. */
  readonly #groupValues = new Map<string, Buffer>();

  constructor(context: PartitionContext, ports: GroupPartitionPorts) {
    this.context = context;
    this.settings = ports.settings;
    this.topics = ports.topics;
    this.#ports = ports;
    this.burial = new OffsetBurial(this);
    this.membership = new Membership(this);
    this.consumers = new ConsumerGroups(this);
    this.heartbeats = new ConsumerHeartbeats(this, this.consumers, new RegexResolver(this.consumers));
    this.classicMembers = new ClassicMembers(this.consumers);
    this.streams = new StreamsGroups(this);
    this.streamsHeartbeats = new StreamsHeartbeats(this, this.streams);
    this.share = new ShareGroups(context, ports.share);
  }

  get clock(): Clock {
    return this.context.clock;
  }

  get random(): Random {
    return this.context.random;
  }

  get logger(): Logger {
    return this.context.logger;
  }

  limitsOf(groupId: string): ConsumerLimits {
    return this.#ports.limitsOf(groupId);
  }

  streamsLimitsOf(groupId: string): StreamsLimits {
    return this.#ports.streamsLimitsOf(groupId);
  }

  group(id: string): Group | undefined {
    return this.groups.get(id);
  }

  /** The group, made if there is room; null at the limit. */
  groupFor(id: string): Group | null {
    const known = this.groups.get(id);
    if (known !== undefined) return known;
    if (this.groups.size >= this.settings.groupsPerPartitionMax) {
      this.logger.warn('a group is refused: too many groups in one partition', {
        group: id,
        partition: this.context.partition,
        max: this.settings.groupsPerPartitionMax,
      });
      return null;
    }
    return this.#groupOf(id);
  }

  #groupOf(id: string): Group {
    let group = this.groups.get(id);
    if (group === undefined) {
      group = new Group(id, this.clock.now());
      this.groups.set(id, group);
    }
    return group;
  }

  dropIfVoid(group: Group): void {
    if (!this.context.closed && group.isVoid() && this.groups.get(group.id) === group)
      this.groups.delete(group.id);
  }

  /** Room for another client's records; the coordinator's own are bounded by its groups and always go. */
  hasRoom(): boolean {
    return this.context.hasRoom();
  }

  // ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────

  replay(
    key: Buffer,
    value: Buffer | null,
    _offset: number,
    producer: TransactionalProducer | null,
  ): Replayed {
    const read = readKey(key);
    if (read.kind === 'other') return this.#replayShare(key, value);
    if (coordinatorPartition(read.group, this.#ports.partitions()) !== this.context.partition)
      return replayed.misplaced;
    if (read.kind === 'offset') this.#replayOffset(read, value, producer);
    else if (read.kind === 'consumer') this.#replayConsumer(read.key, value);
    else if (read.kind === 'streams') this.#replayStreams(read.key, value);
    else if (value === null) this.#groupValues.delete(read.group);
    else if (this.#live) restoreGroup(this.#groupOf(read.group), value);
    else {
      storedGroup(value);
      this.#groupValues.set(read.group, Buffer.from(value));
    }
    return replayed.applied;
  }

  #replayConsumer(key: ConsumerRecordKey, value: Buffer | null): void {
    const known = this.groups.get(key.group);
    if (value !== null) {
      const consumer = known?.consumer ?? new ConsumerGroup(key.group);
      replayConsumerRecord(consumer, key, value);
      // Also where other records of the group are still to come.
      if (known?.consumer == null) this.#toConsumer(this.#groupOf(key.group), consumer);
      return;
    }
    if (known?.consumer == null) return;
    replayConsumerRecord(known.consumer, key, null);
    if (key.type === consumerRecordTypes.group) known.becomeClassic();
  }

  #toConsumer(group: Group, consumer: ConsumerGroup): void {
    this.membership.rebalance.abandon(group, ErrorCode.REBALANCE_IN_PROGRESS);
    group.becomeConsumer(consumer);
  }

  #toStreams(group: Group, streams: StreamsGroup): void {
    this.membership.rebalance.abandon(group, ErrorCode.REBALANCE_IN_PROGRESS);
    group.becomeStreams(streams);
  }

  #replayStreams(key: StreamsRecordKey, value: Buffer | null): void {
    const known = this.groups.get(key.group);
    if (value !== null) {
      const streams = known?.streams ?? new StreamsGroup(key.group);
      replayStreamsRecord(streams, key, value);
      if (known?.streams == null) this.#toStreams(this.#groupOf(key.group), streams);
      return;
    }
    if (known?.streams == null) return;
    replayStreamsRecord(known.streams, key, null);
    if (key.type === streamsRecordTypes.group) known.becomeClassic();
  }

  #replayShare(key: Buffer, value: Buffer | null): Replayed {
    const record = readShareRecord(key, value);
    if (record === null) return replayed.foreign;
    if (coordinatorPartition(record.groupId, this.#ports.partitions()) !== this.context.partition)
      return replayed.misplaced;
    this.share.replay(record);
    return replayed.applied;
  }

  #replayOffset(
    { group, topic, partition, legacy }: GroupRecordKey & { kind: 'offset' },
    value: Buffer | null,
    producer: TransactionalProducer | null,
  ): void {
    const entry = value === null ? null : readOffsetValue(value, legacy, topic, partition);
    if (producer !== null) this.transactions.put(producer.producerId, group, topic, partition, entry);
    else if (entry === null) this.groups.get(group)?.offsets.delete(topic, partition);
    else this.#groupOf(group).offsets.put(entry);
  }

  endTransaction({ producerId, committed }: EndMarker): void {
    for (const { group, topic, partition, entry } of this.transactions.take(producerId)) {
      if (!committed) continue;
      if (entry === null) this.groups.get(group)?.offsets.delete(topic, partition);
      else this.#groupOf(group).offsets.put(entry);
    }
  }

  *liveRecords(): Generator<CoordinatorRecord, void, undefined> {
    for (const group of this.groups.values()) {
      // Tombstones of several batches count when the last of them is durable: until then they are only pending here.
      if (group.state === groupStates.dead) continue;
      if (group.storedValue !== null) yield { key: groupKey(group.id), value: group.storedValue };
      if (group.consumer !== null) yield* recordsOf(group.consumer);
      if (group.streams !== null) yield* streamsRecordsOf(group.streams);
      for (const entry of group.offsets.entries()) {
        if (group.offsets.isPending(entry.topic, entry.partition)) continue;
        yield { key: offsetKey(group.id, entry.topic, entry.partition), value: offsetValue(entry) };
      }
    }
    yield* this.share.liveRecords();
  }

  /** A new owner cannot know how long a member has been silent: each gets a full session time-out. */
  started(): void {
    this.#live = true;
    for (const group of this.groups.values()) {
      group.consumer?.settle();
      // Records of members whose group is deleted, in a log that was cut between them.
      if (group.consumer?.epoch === -1) group.consumer = null;
      group.streams?.settle();
      if (group.streams?.stored === null) group.streams = null;
    }
    for (const [id, value] of this.#groupValues) {
      const group = this.#groupOf(id);
      if (group.consumer === null && group.streams === null) restoreGroup(group, value);
    }
    this.#groupValues.clear();
    const { rebalance } = this.membership;
    for (const group of [...this.groups.values()]) {
      this.dropIfVoid(group);
      this.consumers.started(group);
      if (group.streams !== null) this.streams.started(group.id, group.streams);
      for (const member of [...group.members.values()]) rebalance.watch(group, member);
      if (group.members.size > this.settings.groupSizeMax) rebalance.prepare(group, 'group is over its size');
    }
    this.burial.buryGone();
    this.share.started();
  }

  /** Ends all groups: parked calls are answered NOT_COORDINATOR. */
  close(): void {
    for (const group of this.groups.values()) {
      this.membership.rebalance.abandon(group, ErrorCode.NOT_COORDINATOR);
      group.consumer?.stopTimers();
      group.streams?.stopTimers();
    }
    this.groups.clear();
    this.share.close();
  }

  /** 0, or why the log did not take the group's record: then nothing has changed. */
  store(
    group: Group,
    assignments: ReadonlyMap<string, Buffer> | null,
    durable: () => void,
    lost: () => void,
  ): number {
    const value = groupValue(group, assignments);
    const { lives } = group;
    const refused = this.context.append([{ key: groupKey(group.id), value }], {
      durable: () => {
        group.pendingStores--;
        if (group.lives === lives) group.storedValue = value;
        durable();
      },
      lost,
    });
    group.storeDue = refused !== ErrorCode.NONE;
    if (refused === ErrorCode.NONE) group.pendingStores++;
    return refused;
  }

  // ── Between the protocols ───────────────────────────────────────────────────────────────────────────────────────

  upgrade(group: Group): readonly CoordinatorRecord[] | Refusal {
    // Whoever was given a member id and has not come joins as anybody does.
    if (group.state === groupStates.empty) return classicTombstones(group);
    const { migration, consumerSizeMax } = this.settings;
    const records = upgradeRecords(group, migration, consumerSizeMax, this.topics);
    if ('errorCode' in records) return records;
    const errorCode = this.consumers.write(records);
    if (errorCode !== ErrorCode.NONE) return { errorCode, errorMessage: null };
    this.logger.info('a classic group goes on by the consumer protocol', { group: group.id });
    this.consumers.started(group);
    return [];
  }

  downgradeWithout(group: Group, memberId: string): boolean {
    const consumer = group.consumer!;
    const { migration, groupSizeMax } = this.settings;
    if (!mayDowngrade(migration) || consumer.members.size - 1 > groupSizeMax) return false;
    const { records, classic } = downgradeOf(consumer, memberId, this.topics, this.clock.now());
    if (this.consumers.write(records) !== ErrorCode.NONE) return false;
    this.logger.info('a consumer group goes on by the classic protocol', { group: group.id });
    adoptProtocols(group, classic);
    const { rebalance } = this.membership;
    for (const member of group.members.values()) rebalance.watch(group, member);
    rebalance.prepare(group, 'the group was one of the consumer protocol');
    return true;
  }

  /** A group of another protocol without members becomes a classic one. 0, or why the log did not take it. */
  emptyToClassic(group: Group): number {
    return writeNow(this.context, modernTombstones(group));
  }

  // ── Deletion ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Tombstones for a group and its offsets; Dead until they are durable, then gone. 0, or why the log refused. */
  deleteGroup(group: Group, durable: () => void, lost: () => void): number {
    const last: CoordinatorRecord[] = [];
    if (group.storedValue !== null || group.pendingStores > 0) {
      last.push({ key: groupKey(group.id), value: null });
    }
    last.push(...modernTombstones(group));
    const gone = () => {
      this.groups.delete(group.id);
      durable();
    };
    const offsets = [...group.offsets.keys()];
    if (offsets.length > 0 || last.length > 0) {
      const refused = this.burial.deleteOffsets(group, offsets, { durable: gone, lost }, last);
      if (refused !== ErrorCode.NONE) return refused;
    }
    group.step(groupStates.dead, this.clock.now());
    for (const timer of group.pendingIds.values()) timer.cancel();
    group.pendingIds.clear();
    if (offsets.length === 0 && last.length === 0) gone();
    return ErrorCode.NONE;
  }

  /** Whether the topic that the offset was committed for exists no more; of old records only its name is known. */
  isGone({ topic, topicId }: Pick<OffsetEntry, 'topic' | 'topicId'>): boolean {
    const current = this.topics.idOf(topic);
    return topicId === null ? current === null : current !== topicId;
  }

  topicDeleted(topicId: string, name: string): void {
    // From here on a record without an id is known to be of this topic, however long its tombstone takes.
    for (const group of this.groups.values()) group.offsets.adopt(name, topicId);
    this.burial.buryGone();
    this.share.topicDeleted(topicId);
  }

  /** Offsets past their retention, groups that have nothing left, and what the log has refused so far. */
  expire(): void {
    this.burial.buryGone();
    const now = this.clock.now();
    for (const group of [...this.groups.values()]) {
      if (group.state === groupStates.dead || !this.hasRoom()) continue;
      const expired = [...group.offsets.entries()].filter(
        (entry) =>
          !group.offsets.isPending(entry.topic, entry.partition) &&
          now >= expiryOf(group, entry, this.settings.offsetsRetentionMs),
      );
      let total = 0;
      for (const _ of group.offsets.entries()) total++;
      const idle = group.hasNoMembers() && group.pendingIds.size === 0 && !group.offsets.hasPending;
      if (idle && expired.length === total) {
        if (this.deleteGroup(group, ignore, ignore) === ErrorCode.NONE)
          this.logger.info('group removed: nothing left in it', { group: group.id, offsets: total });
        continue;
      }
      if (expired.length > 0) this.burial.deleteOffsets(group, expired, ignored);
      // In the other states a record follows anyhow.
      const settled = group.state === groupStates.empty || group.state === groupStates.stable;
      const isClassic = group.consumer === null && group.streams === null;
      if (isClassic && group.storeDue && settled) this.store(group, null, ignore, ignore);
    }
  }
}

function modernTombstones({ consumer, streams }: Group): CoordinatorRecord[] {
  if (consumer !== null) return groupTombstones(consumer);
  return streams === null ? [] : streamsTombstones(streams);
}

function ignore(): void {}

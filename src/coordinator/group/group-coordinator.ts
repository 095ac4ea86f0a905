/**
 * The group coordinator of one shard: the entry of every request about a group, over the runtime that loads and
 * stores the partitions of `__consumer_offsets` which this shard owns (coordinator/runtime). Owned by the shard;
 * single-threaded. Every `done` is called once.
 *
 * A log that refuses an append has changed nothing: the request is answered with a retriable error, and groups live on.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorLog, EndMarker } from '../runtime/coordinator-log.ts';
import { coordinatorPartition, coordinatorTopics } from '../runtime/coordinator-place.ts';
import { CoordinatorRuntime, type PartitionHost } from '../runtime/coordinator-runtime.ts';
import { describeConsumerGroup, describeError } from './consumer/consumer-answers.ts';
import { type Group, joinError, metadataOf, noBytes, syncError } from './group.ts';
import { listedGroup } from './group-answers.ts';
import type {
  CommitQuery,
  ConsumerDescribeAnswer,
  ConsumerHeartbeatAnswer,
  ConsumerHeartbeatQuery,
  DescribeAnswer,
  FetchAnswer,
  GroupCoordinator,
  HeartbeatQuery,
  JoinAnswer,
  JoinQuery,
  LeaveAnswer,
  LeavingMember,
  ListedGroup,
  OffsetDeleteAnswer,
  OffsetReader,
  SyncAnswer,
  SyncQuery,
  TopicPartitions,
} from './group-api.ts';
import { GroupPartition } from './group-partition.ts';
import type { GroupTopics } from './group-services.ts';
import type { ConsumerLimits, GroupSettings } from './group-settings.ts';
import { groupStates } from './group-state.ts';
import { commitOffsets, deleteOffsets, fetchOffsets } from './offset-requests.ts';
import type { ShareGroupPorts } from './share/share-group-api.ts';
import type { ShareGroups } from './share/share-groups.ts';
import { describeStreamsError, describeStreamsGroup } from './streams/streams-answers.ts';
import type {
  StreamsDescribeAnswer,
  StreamsHeartbeatAnswer,
  StreamsHeartbeatQuery,
  StreamsLimits,
} from './streams/streams-group-api.ts';
import { streamsRefusal } from './streams/streams-heartbeat.ts';

export interface CoordinatorPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: GroupSettings;
  readonly log: CoordinatorLog;
  readonly topics: GroupTopics;
  /** Configs in force for a group of the consumer protocol. */
  readonly limitsOf: (groupId: string) => ConsumerLimits;
  /** Partitions of `__consumer_offsets`: those of the topic, or those that it will have. */
  readonly partitions: () => number;
  readonly share: ShareGroupPorts;
  /** Whether this broker's lease is in force (RuntimePorts). */
  readonly leased?: () => boolean;
  /** Configs in force for a group of the streams protocol. */
  readonly streamsLimitsOf: (groupId: string) => StreamsLimits;
}

export class GroupCoordinatorShard implements GroupCoordinator, PartitionHost {
  readonly #ports: CoordinatorPorts;
  readonly #runtime: CoordinatorRuntime<GroupPartition>;

  constructor(ports: CoordinatorPorts) {
    this.#ports = ports;
    const { settings } = ports;
    this.#runtime = new CoordinatorRuntime(
      {
        ...ports,
        topic: coordinatorTopics.group,
        settings: { ...settings, expireIntervalMs: settings.offsetsRetentionCheckMs },
      },
      (context) => new GroupPartition(context, ports),
    );
  }

  load(partition: number): Promise<void> {
    return this.#runtime.load(partition);
  }

  unload(partition: number): void {
    this.#runtime.unload(partition);
  }

  topicDeleted(topicId: string, name: string): void {
    this.#runtime.topicDeleted(topicId, name);
  }

  endTransaction(partition: number, marker: EndMarker, done: (errorCode: number) => void): void {
    this.#runtime.endTransaction(partition, marker, done);
  }

  close(): void {
    this.#runtime.close();
  }

  partitionOf(groupId: string): number {
    return coordinatorPartition(groupId, this.#ports.partitions());
  }

  /** The groups of a group's partition, or the code that says why not here and now. */
  #at(groupId: string): GroupPartition | number {
    return this.#runtime.at(this.partitionOf(groupId));
  }

  /** The same, for answers from memory. */
  #readable(groupId: string): GroupPartition | number {
    return this.#runtime.readable(this.partitionOf(groupId));
  }

  refusal(groupId: string): number {
    const at = this.#at(groupId);
    return typeof at === 'number' ? at : ErrorCode.NONE;
  }

  /** The share groups of a group's partition, or the code that says why not here and now. */
  shareGroups(groupId: string): ShareGroups | number {
    const at = this.#at(groupId);
    return typeof at === 'number' ? at : at.share;
  }

  /** Whether a group of another kind has the id; undefined while nobody can tell. */
  isOtherKind(groupId: string): boolean | undefined {
    const at = this.#at(groupId);
    return typeof at === 'number' ? undefined : at.groups.has(groupId);
  }

  join(query: JoinQuery, done: (answer: JoinAnswer) => void): void {
    const refused = this.#joinProblem(query);
    const at = refused === ErrorCode.NONE ? this.#at(query.groupId) : refused;
    if (typeof at === 'number') {
      done(joinError(at, query.memberId));
      return;
    }
    if (at.share.groups.has(query.groupId)) {
      done(joinError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, query.memberId));
      return;
    }
    const known = at.groups.get(query.groupId);
    if (known === undefined && query.memberId !== '') {
      done(joinError(ErrorCode.UNKNOWN_MEMBER_ID, query.memberId));
      return;
    }
    const group = known ?? at.groupFor(query.groupId);
    if (group === null) {
      done(joinError(ErrorCode.COORDINATOR_NOT_AVAILABLE, query.memberId));
      return;
    }
    this.#joinTo(at, group, query, done);
    at.dropIfVoid(group);
  }

  #joinTo(at: GroupPartition, group: Group, query: JoinQuery, done: (answer: JoinAnswer) => void): void {
    if (group.consumer !== null && group.consumer.members.size > 0) {
      at.classicMembers.join(group, query, done, (memberId) =>
        at.membership.join(group, { ...query, memberId }, done),
      );
      return;
    }
    if (group.streams !== null && group.streams.members.size > 0) {
      done(joinError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, ''));
      return;
    }
    if ((group.consumer ?? group.streams) !== null && group.state !== groupStates.dead) {
      const refused = at.emptyToClassic(group);
      if (refused !== ErrorCode.NONE) {
        done(joinError(refused, query.memberId));
        return;
      }
    }
    at.membership.join(group, query, done);
  }

  #joinProblem(query: JoinQuery): number {
    const { settings } = this.#ports;
    if (query.groupId === '') return ErrorCode.INVALID_GROUP_ID;
    if (
      query.sessionTimeoutMs < settings.sessionTimeoutMsMin ||
      query.sessionTimeoutMs > settings.sessionTimeoutMsMax
    ) {
      return ErrorCode.INVALID_SESSION_TIMEOUT;
    }
    let bytes = 0;
    for (const { name, metadata } of query.protocols) bytes += name.length + metadata.length;
    return bytes > settings.memberMetadataBytesMax ? ErrorCode.INVALID_REQUEST : ErrorCode.NONE;
  }

  sync(query: SyncQuery, done: (answer: SyncAnswer) => void): void {
    const at = query.groupId === '' ? ErrorCode.INVALID_GROUP_ID : this.#at(query.groupId);
    const group = typeof at === 'number' ? undefined : at.groups.get(query.groupId);
    if (typeof at === 'number') done(syncError(at));
    else if (group?.streams != null || at.share.groups.has(query.groupId))
      done(syncError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL));
    else if (group === undefined) done(syncError(ErrorCode.UNKNOWN_MEMBER_ID));
    else if (group.consumer !== null) at.classicMembers.sync(group, query, done);
    else at.membership.sync(group, query, done);
  }

  heartbeat(query: HeartbeatQuery, done: (errorCode: number) => void): void {
    const at = query.groupId === '' ? ErrorCode.INVALID_GROUP_ID : this.#at(query.groupId);
    const group = typeof at === 'number' ? undefined : at.groups.get(query.groupId);
    if (typeof at === 'number') done(at);
    else if (group === undefined || group.streams !== null) done(ErrorCode.UNKNOWN_MEMBER_ID);
    else if (group.consumer !== null) at.classicMembers.heartbeat(group, query, done);
    else done(at.membership.heartbeat(group, query));
  }

  consumerHeartbeat(query: ConsumerHeartbeatQuery, done: (answer: ConsumerHeartbeatAnswer) => void): void {
    const at = this.#at(query.groupId);
    const isOther =
      typeof at !== 'number' &&
      (at.share.groups.has(query.groupId) || at.groups.get(query.groupId)?.streams != null);
    if (typeof at !== 'number' && !isOther) {
      at.heartbeats.beat(query, done);
      return;
    }
    done({
      errorCode: typeof at === 'number' ? at : ErrorCode.GROUP_ID_NOT_FOUND,
      errorMessage: isOther ? `Group ${query.groupId} is not a consumer group.` : null,
      memberId: query.memberId,
      memberEpoch: query.memberEpoch,
      heartbeatIntervalMs: 0,
      assignment: null,
    });
  }

  consumerDescribe(groupId: string, done: (answer: ConsumerDescribeAnswer) => void): void {
    const at = this.#readable(groupId);
    if (typeof at === 'number') {
      done(describeError(at, null));
      return;
    }
    const group = at.groups.get(groupId);
    const consumer = group?.state === groupStates.dead ? null : (group?.consumer ?? null);
    const answer =
      consumer === null
        ? describeError(
            ErrorCode.GROUP_ID_NOT_FOUND,
            group === undefined ? `Group ${groupId} not found.` : `Group ${groupId} is not a consumer group.`,
          )
        : describeConsumerGroup(consumer);
    at.context.read((errorCode) =>
      done(errorCode === ErrorCode.NONE ? answer : describeError(errorCode, null)),
    );
  }

  streamsHeartbeat(query: StreamsHeartbeatQuery, done: (answer: StreamsHeartbeatAnswer) => void): void {
    const at = this.#at(query.groupId);
    if (typeof at === 'number') done(streamsRefusal({ errorCode: at, errorMessage: null }));
    else if (!at.share.groups.has(query.groupId)) at.streamsHeartbeats.beat(query, done);
    else {
      const errorMessage = `Group ${query.groupId} is not a streams group.`;
      done(streamsRefusal({ errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorMessage }));
    }
  }

  streamsDescribe(groupId: string, done: (answer: StreamsDescribeAnswer) => void): void {
    const at = this.#readable(groupId);
    if (typeof at === 'number') {
      done(describeStreamsError(at, null));
      return;
    }
    const group = at.groups.get(groupId);
    const streams = group?.state === groupStates.dead ? null : (group?.streams ?? null);
    const isThere = group !== undefined || at.share.groups.has(groupId);
    const answer =
      streams === null
        ? describeStreamsError(
            ErrorCode.GROUP_ID_NOT_FOUND,
            isThere ? `Group ${groupId} is not a streams group.` : `Group ${groupId} not found.`,
          )
        : describeStreamsGroup(streams);
    at.context.read((errorCode) =>
      done(errorCode === ErrorCode.NONE ? answer : describeStreamsError(errorCode, null)),
    );
  }

  leave(groupId: string, members: readonly LeavingMember[], done: (answer: LeaveAnswer) => void): void {
    const at = groupId === '' ? ErrorCode.INVALID_GROUP_ID : this.#at(groupId);
    if (typeof at === 'number') {
      done({ errorCode: at, members: [] });
      return;
    }
    const group = at.groups.get(groupId);
    if (group === undefined || group.streams !== null) {
      const errorCode = ErrorCode.UNKNOWN_MEMBER_ID;
      done({ errorCode: ErrorCode.NONE, members: members.map((member) => ({ ...member, errorCode })) });
    } else if (group.consumer !== null) {
      at.classicMembers.leave(
        group,
        members,
        done,
        (one) => at.membership.leave(group, [one]).members[0]!.errorCode,
      );
    } else {
      done(at.membership.leave(group, members));
    }
  }

  commit(query: CommitQuery, done: (codes: readonly number[]) => void): void {
    const at = this.#at(query.groupId);
    if (typeof at === 'number') done(query.offsets.map(() => at));
    else commitOffsets(at, query, done);
  }

  fetch(
    groupId: string,
    topics: readonly TopicPartitions[] | null,
    done: (answer: FetchAnswer) => void,
    requireStable = false,
    caller: OffsetReader | null = null,
  ): void {
    const at = this.#readable(groupId);
    if (typeof at === 'number') done({ errorCode: at, offsets: [] });
    else fetchOffsets(at, groupId, topics, requireStable, caller, done);
  }

  describe(groupId: string, done: (answer: DescribeAnswer) => void): void {
    const at = this.#readable(groupId);
    const group = typeof at === 'number' ? undefined : at.groups.get(groupId);
    const isClassic = group !== undefined && group.consumer === null && group.streams === null;
    if (!isClassic || group.state === groupStates.dead) {
      const errorCode = typeof at === 'number' ? at : ErrorCode.GROUP_ID_NOT_FOUND;
      done({ errorCode, state: groupStates.dead, protocolType: '', protocolName: '', members: [] });
      return;
    }
    const stable = group.state === groupStates.stable;
    done({
      errorCode: ErrorCode.NONE,
      state: group.state,
      protocolType: group.protocolType ?? '',
      protocolName: stable ? (group.protocolName ?? '') : '',
      members: [...group.members.values()].map((member) => ({
        memberId: member.id,
        instanceId: member.instanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        metadata: stable ? metadataOf(member.protocols, group.protocolName) : noBytes,
        assignment: stable ? member.assignment : noBytes,
      })),
    });
  }

  list(done: (errorCode: number, groups: readonly ListedGroup[]) => void): void {
    const all = this.#runtime.all();
    if (typeof all === 'number') {
      done(all, []);
      return;
    }
    const listed: ListedGroup[] = [];
    let waiting = 1;
    let failed: number = ErrorCode.NONE;
    const durable = (errorCode: number): void => {
      if (errorCode !== ErrorCode.NONE) failed = errorCode;
      waiting--;
      if (waiting === 0) done(failed, failed === ErrorCode.NONE ? listed : []);
    };
    for (const { groups, share, context } of all) {
      let ahead = share.groups.size > 0;
      for (const { id: groupId, state } of share.groups.values())
        listed.push({ groupId, protocolType: 'share', state, groupType: 'share' });
      for (const group of groups.values()) {
        listed.push(listedGroup(group));
        ahead ||= group.consumer !== null || group.streams !== null;
      }
      if (!ahead) continue;
      waiting++;
      context.read(durable);
    }
    durable(ErrorCode.NONE);
  }

  deleteGroup(groupId: string, done: (errorCode: number) => void): void {
    const at = this.#at(groupId);
    if (typeof at === 'number') {
      done(at);
      return;
    }
    const group = at.groups.get(groupId);
    if (at.share.groups.has(groupId)) at.share.admin.delete(groupId, done);
    else if (group === undefined || group.state === groupStates.dead) done(ErrorCode.GROUP_ID_NOT_FOUND);
    else if (!group.hasNoMembers()) done(ErrorCode.NON_EMPTY_GROUP);
    else if (!at.hasRoom()) done(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    else {
      const refused = at.deleteGroup(
        group,
        () => done(ErrorCode.NONE),
        () => done(ErrorCode.NOT_COORDINATOR),
      );
      if (refused !== ErrorCode.NONE) done(refused);
    }
  }

  deleteOffsets(
    groupId: string,
    topics: readonly TopicPartitions[],
    done: (answer: OffsetDeleteAnswer) => void,
  ): void {
    const at = this.#at(groupId);
    if (typeof at === 'number') done({ errorCode: at, topics: [] });
    else deleteOffsets(at, groupId, topics, done);
  }
}

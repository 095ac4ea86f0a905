/**
 * The group coordinator of one shard: which offsets partitions it leads, their loading, and the entry of every request
 * about a classic group. Owned by the shard; single-threaded.
 *
 *     (not owned) ── load ──► loading ──► active ── append failed ──► (closed) ── all appends settled ──► loading
 *      NOT_COORDINATOR         LOAD_IN_PROGRESS        parked calls: NOT_COORDINATOR        LOAD_IN_PROGRESS
 *
 * Invariants: a partition is never read while appends of an earlier life are under way, so no record can become durable
 * behind the replay's end; every `done` is called once.
 */
import type { Timer } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { consumerProtocolType } from './consumer-subscription.ts';
import { type Group, joinError, metadataOf, noBytes, syncError } from './group.ts';
import type {
  CommitQuery,
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
  SyncAnswer,
  SyncQuery,
  TopicPartitions,
} from './group-api.ts';
import type { OffsetEntry } from './group-offsets.ts';
import { offsetKey, offsetValue } from './group-records.ts';
import { groupStates } from './group-state.ts';
import type { OffsetsRecord } from './offsets-log.ts';
import { coordinatorPartition } from './offsets-partition.ts';
import { type CoordinatorPorts, OffsetsPartitionCoordinator } from './offsets-partition-coordinator.ts';

interface OwnedPartition {
  coordinator: OffsetsPartitionCoordinator;
  /** Called at the first time the partition is active, or given up. */
  waiters: (() => void)[];
  retry: Timer | null;
}

/** Bytes of a record around its key and value, rounded up. */
const recordOverheadBytes = 32;

export class GroupCoordinatorShard implements GroupCoordinator {
  readonly #ports: CoordinatorPorts;
  readonly #owned = new Map<number, OwnedPartition>();
  /** Appends under way per partition, over all lives of it. */
  readonly #underWay = new Map<number, number>();
  readonly #replaying = new WeakSet<OffsetsPartitionCoordinator>();
  #expiryTimer: Timer | null = null;
  #closed = false;

  constructor(ports: CoordinatorPorts) {
    this.#ports = ports;
    this.#scheduleExpiry();
  }

  /** Starts to lead a partition; resolves when it serves, or when it was unloaded before that. */
  load(partition: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    let owned = this.#owned.get(partition);
    if (owned === undefined) {
      owned = { coordinator: this.#newCoordinator(partition, false), waiters: [], retry: null };
      this.#owned.set(partition, owned);
      this.#tryReplay(partition);
    }
    if (owned.coordinator.loaded) return Promise.resolve();
    const { waiters } = owned;
    return new Promise((resolve) => waiters.push(resolve));
  }

  /** Stops to lead a partition; parked calls are answered before this returns. */
  unload(partition: number): void {
    const owned = this.#owned.get(partition);
    if (owned === undefined) return;
    this.#owned.delete(partition);
    owned.retry?.cancel();
    owned.coordinator.close();
    for (const resolve of owned.waiters.splice(0)) resolve();
  }

  close(): void {
    this.#closed = true;
    this.#expiryTimer?.cancel();
    for (const partition of [...this.#owned.keys()]) this.unload(partition);
  }

  isLoaded(partition: number): boolean {
    return this.#owned.get(partition)?.coordinator.loaded ?? false;
  }

  partitionOf(groupId: string): number {
    return coordinatorPartition(groupId, this.#ports.settings.offsetsPartitions);
  }

  #newCoordinator(partition: number, afterFailure: boolean): OffsetsPartitionCoordinator {
    const coordinator: OffsetsPartitionCoordinator = new OffsetsPartitionCoordinator(
      partition,
      this.#countingPorts(),
      (error) => this.#reload(partition, coordinator, error),
      () => this.#settled(partition),
      afterFailure,
    );
    return coordinator;
  }

  #countingPorts(): CoordinatorPorts {
    const { log } = this.#ports;
    return {
      ...this.#ports,
      log: {
        append: (partition, records, callback) => {
          this.#underWay.set(partition, (this.#underWay.get(partition) ?? 0) + 1);
          log.append(partition, records, callback);
        },
        load: (partition, onRecord) => log.load(partition, onRecord),
        trim: (partition, offset) => log.trim(partition, offset),
      },
    };
  }

  #settled(partition: number): void {
    const count = (this.#underWay.get(partition) ?? 0) - 1;
    if (count > 0) {
      this.#underWay.set(partition, count);
      return;
    }
    this.#underWay.delete(partition);
    this.#tryReplay(partition);
  }

  /** An append failed: what memory holds may never be in the log. */
  #reload(partition: number, coordinator: OffsetsPartitionCoordinator, error: Error): void {
    const owned = this.#owned.get(partition);
    if (owned === undefined || owned.coordinator !== coordinator) return;
    this.#ports.logger.error('append to the offsets log failed: partition is loaded again', {
      partition,
      error: error.message,
    });
    coordinator.close();
    owned.coordinator = this.#newCoordinator(partition, true);
    this.#tryReplay(partition);
  }

  #tryReplay(partition: number): void {
    const owned = this.#owned.get(partition);
    if (owned === undefined || this.#underWay.has(partition)) return;
    const { coordinator } = owned;
    if (coordinator.loaded || this.#replaying.has(coordinator)) return;
    this.#replaying.add(coordinator);
    coordinator.replay().then(
      () => {
        if (!coordinator.closed) for (const resolve of owned.waiters.splice(0)) resolve();
      },
      (error: unknown) => {
        if (coordinator.closed) return;
        this.#ports.logger.error('load of an offsets partition failed, will be tried again', {
          partition,
          error: error instanceof Error ? error.message : String(error),
        });
        coordinator.close();
        owned.coordinator = this.#newCoordinator(partition, coordinator.afterFailure);
        owned.retry = this.#ports.clock.after(this.#ports.settings.reloadDelayMs, () => {
          owned.retry = null;
          this.#tryReplay(partition);
        });
      },
    );
  }

  #scheduleExpiry(): void {
    const { clock, settings } = this.#ports;
    this.#expiryTimer = clock.after(settings.offsetsRetentionCheckMs, () => {
      for (const { coordinator } of this.#owned.values()) if (coordinator.loaded) coordinator.expire();
      this.#scheduleExpiry();
    });
  }

  /** The coordinator of a group, or the code that says why not here and now. */
  #at(groupId: string): OffsetsPartitionCoordinator | number {
    const owned = this.#owned.get(this.partitionOf(groupId));
    if (owned === undefined) return ErrorCode.NOT_COORDINATOR;
    return owned.coordinator.loaded ? owned.coordinator : ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
  }

  join(query: JoinQuery, done: (answer: JoinAnswer) => void): void {
    const refused = this.#joinProblem(query);
    const at = refused === ErrorCode.NONE ? this.#at(query.groupId) : refused;
    if (typeof at === 'number') {
      done(joinError(at, query.memberId));
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
    at.membership.join(group, query, done);
    at.dropIfVoid(group);
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
    else if (group === undefined) done(syncError(ErrorCode.UNKNOWN_MEMBER_ID));
    else at.membership.sync(group, query, done);
  }

  heartbeat(query: HeartbeatQuery, done: (errorCode: number) => void): void {
    const at = query.groupId === '' ? ErrorCode.INVALID_GROUP_ID : this.#at(query.groupId);
    const group = typeof at === 'number' ? undefined : at.groups.get(query.groupId);
    if (typeof at === 'number') done(at);
    else if (group === undefined) done(ErrorCode.UNKNOWN_MEMBER_ID);
    else done(at.membership.heartbeat(group, query));
  }

  leave(groupId: string, members: readonly LeavingMember[], done: (answer: LeaveAnswer) => void): void {
    const at = groupId === '' ? ErrorCode.INVALID_GROUP_ID : this.#at(groupId);
    if (typeof at === 'number') {
      done({ errorCode: at, members: [] });
      return;
    }
    const group = at.groups.get(groupId);
    if (group === undefined) {
      const errorCode = ErrorCode.UNKNOWN_MEMBER_ID;
      done({ errorCode: ErrorCode.NONE, members: members.map((member) => ({ ...member, errorCode })) });
    } else {
      done(at.membership.leave(group, members));
    }
  }

  commit(query: CommitQuery, done: (codes: readonly number[]) => void): void {
    const at = this.#at(query.groupId);
    const group = typeof at === 'number' ? at : this.#committingGroup(at, query);
    if (typeof at === 'number' || typeof group === 'number') {
      done(query.offsets.map(() => group as number));
      return;
    }
    this.#commitTo(at, group, query, done);
    at.dropIfVoid(group);
  }

  #committingGroup(at: OffsetsPartitionCoordinator, query: CommitQuery): Group | number {
    if (!at.groups.has(query.groupId) && query.generation >= 0) return query.unknownGroupCode;
    if (!at.hasRoom()) return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    const group = at.groupFor(query.groupId);
    if (group === null) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const refused = at.membership.admitCommit(group, query);
    return refused === ErrorCode.NONE ? group : refused;
  }

  #commitTo(
    at: OffsetsPartitionCoordinator,
    group: Group,
    query: CommitQuery,
    done: (codes: readonly number[]) => void,
  ): void {
    const { settings, clock } = this.#ports;
    const now = clock.now();
    const codes: number[] = [];
    const entries: OffsetEntry[] = [];
    const records: OffsetsRecord[] = [];
    let bytes = 0;
    for (const offset of query.offsets) {
      if (Buffer.byteLength(offset.metadata) > settings.offsetMetadataBytesMax) {
        codes.push(ErrorCode.OFFSET_METADATA_TOO_LARGE);
        continue;
      }
      const entry: OffsetEntry = {
        ...offset,
        commitTimestamp: now,
        expireTimestamp: query.retentionMs === -1 ? -1 : now + query.retentionMs,
      };
      const record = {
        key: offsetKey(group.id, entry.topic, entry.partition),
        value: offsetValue(entry),
      };
      bytes += record.key.length + record.value.length + recordOverheadBytes;
      codes.push(ErrorCode.NONE);
      entries.push(entry);
      records.push(record);
    }
    const answer = (errorCode: number) =>
      done(codes.map((code) => (code === ErrorCode.NONE ? errorCode : code)));
    if (bytes > settings.recordsBytesMax) {
      answer(ErrorCode.INVALID_COMMIT_OFFSET_SIZE);
      return;
    }
    if (records.length === 0) {
      done(codes);
      return;
    }
    for (const { topic, partition } of entries) group.offsets.notePending(topic, partition);
    at.append(
      records,
      () => {
        for (const entry of entries) {
          group.offsets.settlePending(entry.topic, entry.partition);
          group.offsets.put(entry);
        }
        answer(ErrorCode.NONE);
      },
      () => answer(ErrorCode.NOT_COORDINATOR),
    );
  }

  fetch(
    groupId: string,
    topics: readonly TopicPartitions[] | null,
    done: (answer: FetchAnswer) => void,
  ): void {
    const at = this.#at(groupId);
    if (typeof at === 'number') {
      done({ errorCode: at, offsets: [] });
      return;
    }
    const offsets = at.groups.get(groupId)?.offsets;
    const found: OffsetEntry[] = [];
    if (offsets !== undefined && topics === null) found.push(...offsets.entries());
    for (const { topic, partitions } of topics ?? []) {
      for (const partition of partitions) {
        const entry = offsets?.get(topic, partition);
        if (entry !== undefined) found.push(entry);
      }
    }
    done({ errorCode: ErrorCode.NONE, offsets: found });
  }

  describe(groupId: string, done: (answer: DescribeAnswer) => void): void {
    const at = this.#at(groupId);
    const group = typeof at === 'number' ? undefined : at.groups.get(groupId);
    if (group === undefined || group.state === groupStates.dead) {
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
    const groups: ListedGroup[] = [];
    for (const { coordinator } of this.#owned.values()) {
      if (!coordinator.loaded) {
        done(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, []);
        return;
      }
      for (const group of coordinator.groups.values()) {
        groups.push({ groupId: group.id, protocolType: group.protocolType ?? '', state: group.state });
      }
    }
    done(ErrorCode.NONE, groups);
  }

  deleteGroup(groupId: string, done: (errorCode: number) => void): void {
    const at = this.#at(groupId);
    if (typeof at === 'number') {
      done(at);
      return;
    }
    const group = at.groups.get(groupId);
    if (group === undefined || group.state === groupStates.dead) done(ErrorCode.GROUP_ID_NOT_FOUND);
    else if (group.state !== groupStates.empty) done(ErrorCode.NON_EMPTY_GROUP);
    else if (!at.hasRoom()) done(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    else
      at.deleteGroup(
        group,
        () => done(ErrorCode.NONE),
        () => done(ErrorCode.NOT_COORDINATOR),
      );
  }

  deleteOffsets(
    groupId: string,
    topics: readonly TopicPartitions[],
    done: (answer: OffsetDeleteAnswer) => void,
  ): void {
    const at = this.#at(groupId);
    const group = typeof at === 'number' ? undefined : at.groups.get(groupId);
    const refused = typeof at === 'number' ? at : offsetDeleteProblem(group);
    if (typeof at === 'number' || group === undefined || refused !== ErrorCode.NONE) {
      done({ errorCode: refused, topics: [] });
      return;
    }
    if (!at.hasRoom()) {
      done({ errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, topics: [] });
      return;
    }
    const doomed: { topic: string; partition: number }[] = [];
    const answers = topics.map(({ topic, partitions }) => {
      const subscribed = group.state !== groupStates.empty && group.isSubscribed(topic);
      const errorCode = subscribed ? ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC : ErrorCode.NONE;
      for (const partition of partitions) {
        const there =
          group.offsets.get(topic, partition) !== undefined || group.offsets.isPending(topic, partition);
        if (!subscribed && there) doomed.push({ topic, partition });
      }
      return { topic, partitions: partitions.map((partition) => ({ partition, errorCode })) };
    });
    const answer = () => done({ errorCode: ErrorCode.NONE, topics: answers });
    if (doomed.length === 0) answer();
    else
      at.deleteOffsets(group, doomed, answer, () =>
        done({ errorCode: ErrorCode.NOT_COORDINATOR, topics: [] }),
      );
  }
}

/** Offsets of a group with members go only per topic, which only consumers' subscriptions tell. */
function offsetDeleteProblem(group: Group | undefined): number {
  if (group === undefined || group.state === groupStates.dead) return ErrorCode.GROUP_ID_NOT_FOUND;
  if (group.state === groupStates.empty || group.protocolType === consumerProtocolType) return ErrorCode.NONE;
  return ErrorCode.NON_EMPTY_GROUP;
}

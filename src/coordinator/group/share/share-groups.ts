/**
 * The share groups of one `__consumer_offsets` partition (KIP-932): members, epochs, targets. They run ahead of the log: records
 * are replayed when the log has taken them, and answers wait until they are durable. Shard thread.
 *
 *     heartbeat ─► member changes: group epoch + 1 ─► share partitions initialised ─► target at that epoch ─► member has it
 *
 * There is no revocation: a partition may belong to several members, so a member gets its target at once. A member that joins
 * is answered when the target is there, or after `joinWaitMs` with what it has.
 * Invariants: only initialised share partitions are assigned, so whoever fetches finds a state with the right epoch; a group
 * that loses its last member, or whose offsets change, has its share partitions forgotten by the shards that hold them.
 * Bounds: `group.share.max.size` members a group; groups as of GroupPartition.
 */

import { onceWithin } from '../../../ports/once-within.ts';
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import { javaHashCode } from '../../runtime/coordinator-place.ts';
import type { PartitionContext } from '../../runtime/coordinator-state.ts';
import { mutable, ShareGroup, type ShareMember, sameParts } from './share-group.ts';
import { ShareGroupAdmin } from './share-group-admin.ts';
import type {
  DescribedShareGroup,
  ShareGroupPorts,
  ShareHeartbeatAnswer,
  ShareHeartbeatQuery,
  ShareTopic,
  TopicParts,
} from './share-group-api.ts';
import {
  currentRecord,
  groupRecord,
  memberRecord,
  type ShareGroupRecord,
  statePartitionsRecord,
  targetEpochRecord,
  targetRecord,
} from './share-group-records.ts';
import { heartbeatProblem, refusedHeartbeat } from './share-heartbeat.ts';
import { initializeAll, merged } from './share-topics.ts';
import { type AssignedTopic, assignSimply } from './simple-assignor.ts';

const joinWaitMs = 3_000;
const initializeRetryMs = 100;
const groupsMax = 20_000;

type Answer = (answer: ShareHeartbeatAnswer) => void;

export class ShareGroups {
  readonly groups = new Map<string, ShareGroup>();
  readonly admin: ShareGroupAdmin;
  readonly #context: PartitionContext;
  readonly #ports: ShareGroupPorts;
  #started = false;

  constructor(context: PartitionContext, ports: ShareGroupPorts) {
    this.#context = context;
    this.#ports = ports;
    this.admin = new ShareGroupAdmin(this.groups, context, ports, () => this.#hasRoom());
  }

  // ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────

  replay(record: ShareGroupRecord): void {
    const { groupId } = record;
    let group = this.groups.get(groupId);
    if (group === undefined) {
      if (record.value === null) return;
      group = new ShareGroup(groupId);
      this.groups.set(groupId, group);
    }
    group.apply(record);
    if (record.type === 11 && record.value === null && this.#started) this.groups.delete(groupId);
  }

  *liveRecords(): Generator<CoordinatorRecord, void, undefined> {
    for (const group of this.groups.values()) yield* group.liveRecords();
  }

  /** A new owner cannot know how long members have been silent: each gets a full session. */
  started(): void {
    this.#started = true;
    for (const group of [...this.groups.values()]) {
      // What is left of a group whose own record cannot be read is none.
      if (!group.stored) {
        this.groups.delete(group.id);
        continue;
      }
      group.dropUnknown();
      for (const member of group.members.values()) this.#watch(group, member);
      if (group.members.size > 0) this.#advance(group);
    }
  }

  close(): void {
    for (const group of this.groups.values()) {
      group.stopTimers();
      for (const done of group.waiting.splice(0)) done();
    }
    this.groups.clear();
  }

  /** Its share partitions are gone with it; members get the rest with their next heartbeat. */
  topicDeleted(topicId: string): void {
    for (const group of this.groups.values()) {
      if (!group.topics.has(topicId)) continue;
      const left = [...group.topics.values()].filter((topic) => topic.topicId !== topicId);
      this.#context.write([statePartitionsRecord(group.id, group.topicsValue(left))], ignore);
      if (group.members.size > 0) this.#bump(group);
    }
  }

  #hasRoom(): boolean {
    return this.groups.size < groupsMax && this.#context.hasRoom();
  }

  // ── Heartbeats ──────────────────────────────────────────────────────────────────────────────────────────────────

  heartbeat(query: ShareHeartbeatQuery, done: Answer): void {
    const group = this.groups.get(query.groupId);
    const settings = this.#ports.settings(query.groupId);
    const problem = heartbeatProblem(query, group, settings);
    if (problem !== null) done(problem);
    else if (query.memberEpoch === -1) this.#leave(group!, query.memberId, done);
    else if (query.memberEpoch === 0) this.#join(group ?? null, query, done);
    else this.#beat(group!, group!.members.get(query.memberId)!, query, done);
  }

  #join(known: ShareGroup | null, query: ShareHeartbeatQuery, done: Answer): void {
    if (known === null && !this.#hasRoom()) {
      done(refusedHeartbeat(ErrorCode.COORDINATOR_NOT_AVAILABLE));
      return;
    }
    const group = known ?? new ShareGroup(query.groupId);
    const records = this.#memberRecords(group, query);
    // A member that joins again has forgotten what it had.
    if (group.members.has(query.memberId)) records.push(currentRecord(group.id, query.memberId, null));
    this.#write(records, done, () => {
      const joined = this.groups.get(query.groupId);
      const member = joined?.members.get(query.memberId);
      if (joined === undefined || member === undefined) {
        done(refusedHeartbeat(ErrorCode.NOT_COORDINATOR));
        return;
      }
      this.#watch(joined, member);
      this.#whenAssigned(joined, () => this.#answer(joined, query.memberId, true, done));
    });
  }

  #beat(group: ShareGroup, member: ShareMember, query: ShareHeartbeatQuery, done: Answer): void {
    this.#watch(group, member);
    const records = this.#memberRecords(group, query);
    const full = query.topics !== null;
    if (records.length > 0) {
      this.#write(records, done, () => {
        this.#advance(group);
        this.#answer(group, member.id, full, done);
      });
      return;
    }
    this.#advance(group);
    this.#answer(group, member.id, full, done);
  }

  /** What a heartbeat changes: the member, and with it or with its topics the group's epoch. */
  #memberRecords(group: ShareGroup, query: ShareHeartbeatQuery): CoordinatorRecord[] {
    const { memberId, rackId, clientId, clientHost, topics } = query;
    const before = group.members.get(memberId)?.metadata;
    const names = topics === null ? (before?.subscribedTopicNames ?? []) : [...new Set(topics)].sort();
    const records: CoordinatorRecord[] = [];
    const value = {
      rackId: rackId ?? before?.rackId ?? null,
      clientId,
      clientHost,
      subscribedTopicNames: names,
    };
    if (before === undefined || JSON.stringify(value) !== JSON.stringify(sorted(before)))
      records.push(memberRecord(group.id, memberId, value));
    const subscribed = new Set(group.subscribed().keys());
    for (const name of names) subscribed.add(name);
    const metadataHash = this.#hashOf([...subscribed].sort());
    const subscriptionChanged = before === undefined || before.subscribedTopicNames.join() !== names.join();
    if (subscriptionChanged || metadataHash !== group.metadataHash)
      records.push(groupRecord(group.id, { epoch: group.epoch + 1, metadataHash }));
    return records;
  }

  #hashOf(names: readonly string[]): number {
    return javaHashCode(
      names
        .map((name) => {
          const topic = this.#ports.topic(name);
          return topic === null ? name : `${name}:${topic.topicId}:${topic.partitions}`;
        })
        .join(' '),
    );
  }

  #leave(group: ShareGroup, memberId: string, done: Answer): void {
    this.#write(this.#removal(group, memberId), done, () => {
      done({ ...refusedHeartbeat(ErrorCode.NONE), memberEpoch: -1 });
      this.#left(group);
    });
  }

  #removal(group: ShareGroup, memberId: string): CoordinatorRecord[] {
    const { id, epoch, metadataHash } = group;
    const records = [
      currentRecord(id, memberId, null),
      targetRecord(id, memberId, null),
      memberRecord(id, memberId, null),
      groupRecord(id, { epoch: epoch + 1, metadataHash }),
    ];
    // Without members there is nothing to assign, and what is told of the group is that all is done.
    if (group.members.size === 1)
      records.push(
        targetEpochRecord(id, { assignmentEpoch: epoch + 1, assignmentTimestamp: this.#context.clock.now() }),
      );
    return records;
  }

  #left(group: ShareGroup): void {
    if (group.members.size === 0) this.#ports.forget(group.id);
    this.#advance(group);
  }

  #watch(group: ShareGroup, member: ShareMember): void {
    member.session?.cancel();
    const { sessionTimeoutMs } = this.#ports.settings(group.id);
    member.session = this.#context.clock.after(sessionTimeoutMs, () => {
      if (this.#context.closed || group.members.get(member.id) !== member) return;
      this.#context.logger.info('a share group lost a member: no heartbeat in its session', {
        group: group.id,
        member: member.id,
        timeoutMs: sessionTimeoutMs,
      });
      this.#context.write(this.#removal(group, member.id), (error) => {
        // What the log refuses is tried again a session later.
        if (error === ErrorCode.NONE) this.#left(group);
        else if (!this.#context.closed && group.members.get(member.id) === member) this.#watch(group, member);
      });
    });
  }

  /** Gives the member its target, stored first, and answers. */
  #answer(group: ShareGroup, memberId: string, full: boolean, done: Answer): void {
    const member = group.members.get(memberId);
    if (member === undefined || this.#context.closed) {
      done(refusedHeartbeat(this.#context.closed ? ErrorCode.NOT_COORDINATOR : ErrorCode.UNKNOWN_MEMBER_ID));
      return;
    }
    const { heartbeatIntervalMs } = this.#ports.settings(group.id);
    const ready = group.assignmentEpoch >= member.epoch;
    const epoch = Math.max(group.assignmentEpoch, member.epoch, 1);
    const assigned = this.#subscribedParts(member, ready ? member.target : member.assigned);
    const moved = !sameParts(assigned, member.assigned);
    const changed = full || moved;
    const records = epoch === member.epoch && !moved ? [] : [group.currentRecordOf(member, epoch, assigned)];
    this.#write(records, done, () =>
      done({
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        memberEpoch: epoch,
        heartbeatIntervalMs,
        assignment: changed ? assigned : null,
      }),
    );
  }

  /** The target may be of a time when the member read other topics. */
  #subscribedParts(member: ShareMember, parts: readonly TopicParts[]): readonly TopicParts[] {
    const ids = new Set(member.metadata.subscribedTopicNames.map((name) => this.#ports.topic(name)?.topicId));
    return parts.every(({ topicId }) => ids.has(topicId))
      ? parts
      : parts.filter(({ topicId }) => ids.has(topicId));
  }

  #write(records: readonly CoordinatorRecord[], refused: Answer, done: () => void): void {
    this.#context.write(records, (error) => {
      if (error === ErrorCode.NONE) done();
      else refused(refusedHeartbeat(error));
    });
  }

  // ── Targets ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #bump(group: ShareGroup): void {
    const metadataHash = this.#hashOf([...group.subscribed().keys()]);
    this.#context.write([groupRecord(group.id, { epoch: group.epoch + 1, metadataHash })], (error) => {
      if (error === ErrorCode.NONE) this.#advance(group);
    });
  }

  #whenAssigned(group: ShareGroup, done: () => void): void {
    group.waiting.push(onceWithin(this.#context.clock, joinWaitMs, done));
    this.#advance(group);
  }

  /** Brings the target to the group's epoch: new share partitions are initialised first. */
  #advance(group: ShareGroup): void {
    if (this.#context.closed || group.initializing || group.locked) return;
    const missing = this.#missing(group);
    if (missing.length > 0) {
      this.#initialize(group, missing);
      return;
    }
    this.#assign(group);
  }

  #missing(group: ShareGroup): ShareTopic[] {
    const missing: ShareTopic[] = [];
    for (const name of group.subscribed().keys()) {
      const topic = this.#ports.topic(name);
      if (topic === null) continue;
      const known = new Set(group.topics.get(topic.topicId)?.partitions ?? []);
      const partitions: number[] = [];
      for (let i = 0; i < topic.partitions; i++) if (!known.has(i)) partitions.push(i);
      if (partitions.length > 0) missing.push({ topicId: topic.topicId, name, partitions });
    }
    return missing;
  }

  #initialize(group: ShareGroup, missing: readonly ShareTopic[]): void {
    group.initializing = true;
    initializeAll(this.#ports, group, missing, (topics, failed) => {
      const again = (): void => {
        group.initializing = false;
        group.retry?.cancel();
        group.retry = this.#context.clock.after(initializeRetryMs, () => this.#advance(group));
      };
      if (this.#context.closed) return;
      if (topics.length === 0) {
        again();
        return;
      }
      const all = [...merged(group.topics, topics).values()];
      this.#context.write([statePartitionsRecord(group.id, group.topicsValue(all))], (error) => {
        if (error !== ErrorCode.NONE || failed) again();
        else {
          group.initializing = false;
          this.#advance(group);
        }
      });
    });
  }

  #assign(group: ShareGroup): void {
    if (group.assignmentEpoch >= group.epoch || group.members.size === 0) {
      for (const done of group.waiting.splice(0)) done();
      return;
    }
    const { clock } = this.#context;
    const due = group.assignedAt + this.#ports.settings(group.id).assignmentIntervalMs;
    if (clock.monotonic() < due && group.assignmentEpoch >= 0) {
      group.assignTimer ??= clock.after(due - clock.monotonic(), () => {
        group.assignTimer = null;
        this.#advance(group);
      });
      return;
    }
    const records: CoordinatorRecord[] = [];
    const targets = this.#targets(group);
    for (const member of group.members.values()) {
      const target = targets.get(member.id) ?? [];
      if (!sameParts(target, member.target))
        records.push(targetRecord(group.id, member.id, { topicPartitions: mutable(target) }));
    }
    const assignmentTimestamp = clock.now();
    records.push(targetEpochRecord(group.id, { assignmentEpoch: group.epoch, assignmentTimestamp }));
    group.assignedAt = clock.monotonic();
    this.#context.write(records, () => {
      for (const done of group.waiting.splice(0)) done();
    });
  }

  #targets(group: ShareGroup): ReadonlyMap<string, readonly TopicParts[]> {
    const topics: AssignedTopic[] = [];
    for (const [name, subscribers] of group.subscribed()) {
      const topic = this.#ports.topic(name);
      const known = topic === null ? undefined : group.topics.get(topic.topicId);
      if (known !== undefined)
        topics.push({ topicId: known.topicId, partitions: known.partitions, subscribers });
    }
    const targets = new Map<string, readonly TopicParts[]>();
    for (const [member, parts] of assignSimply(topics))
      targets.set(
        member,
        [...parts].map(([topicId, partitions]) => ({ topicId, partitions })),
      );
    return targets;
  }

  // ── Looking ──────────────────────────────────────────────────────────────────────────────────

  describe(groupId: string): DescribedShareGroup | null {
    const group = this.groups.get(groupId);
    if (group === undefined) return null;
    return {
      state: group.state,
      epoch: group.epoch,
      assignmentEpoch: Math.max(0, group.assignmentEpoch),
      members: [...group.members.values()].map(({ id, metadata, epoch, assigned }) => ({
        memberId: id,
        rackId: metadata.rackId,
        memberEpoch: epoch,
        clientId: metadata.clientId,
        clientHost: metadata.clientHost,
        topics: metadata.subscribedTopicNames,
        assignment: assigned,
      })),
    };
  }

  /** Calls back when what `groups` shows now is durable. */
  read(done: (error: number) => void): void {
    this.#context.read(done);
  }
}

function sorted<
  T extends {
    readonly rackId: string | null;
    readonly clientId: string;
    readonly clientHost: string;
    readonly subscribedTopicNames: readonly string[];
  },
>(value: T) {
  const { rackId, clientId, clientHost, subscribedTopicNames } = value;
  return { rackId, clientId, clientHost, subscribedTopicNames };
}

function ignore(): void {}

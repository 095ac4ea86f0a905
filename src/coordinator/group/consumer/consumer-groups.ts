/**
 * The steps of the consumer protocol (KIP-848) for the groups of one partition: a member comes, changes or goes; the group's
 * epoch rises; targets are made for it; a member goes one step towards its target. Each step is one batch of records, which
 * counts as soon as the log has taken it, so that a crash between two steps leaves a group that the next heartbeat takes
 * further. Also the clock of members: sessions, and the time that a member has for what only it can do. Shard thread.
 *
 *     change ──► epoch + 1 ──► targets at that epoch, at most every assignment interval ──► members, one by one
 *
 * Bounds: members by `group.consumer.max.size`, a member's subscription by `memberMetadataBytesMax`, a batch by
 * `recordsBytesMax`: the targets of a large group are several, of which the last brings the epoch.
 */
import type { Clock } from '../../../ports/clock.ts';
import type { Logger } from '../../../ports/logger.ts';
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import type { PartitionContext } from '../../runtime/coordinator-state.ts';
import type { Group } from '../group.ts';
import type { GroupTopics } from '../group-services.ts';
import type { ConsumerLimits, GroupSettings } from '../group-settings.ts';
import { MemberTimes } from '../member-times.ts';
import { writeInBatches, writeNow } from '../write-now.ts';
import { type Assignment, sameAssignment, type TopicPartitionList } from './assignment.ts';
import { type AssignorMember, defaultAssignor } from './assignor.ts';
import { assignors } from './assignors.ts';
import type { ConsumerGroup, ConsumerMember, MemberChange, Subscription } from './consumer-group.ts';
import {
  groupRecord,
  memberRecord,
  memberTombstones,
  progressRecord,
  regexRecord,
  targetEpochRecord,
  targetRecord,
} from './consumer-records.ts';
import { progressStates, reconcile } from './reconcile.ts';
import { topicsHash } from './topics-hash.ts';

/** What the consumer protocol needs of the partition that its groups live in. */
export interface ConsumerHost {
  readonly context: PartitionContext;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: GroupSettings;
  readonly topics: GroupTopics;
  group(id: string): Group | undefined;
  /** Configs in force for a group. */
  limitsOf(groupId: string): ConsumerLimits;
  /** Turns the group into a classic one when that member is gone and only classic members are left; false: it does not. */
  downgradeWithout(group: Group, memberId: string): boolean;
}

export class ConsumerGroups {
  readonly host: ConsumerHost;
  readonly #times: MemberTimes;

  constructor(host: ConsumerHost) {
    this.host = host;
    this.#times = new MemberTimes({
      clock: host.clock,
      isGone: (groupId, member) =>
        host.context.closed || host.group(groupId)?.consumer?.members.get(member.id) !== member,
      expire: (groupId, { id }, reason) => {
        host.logger.info('a member of a consumer group is out of time', {
          group: groupId,
          member: id,
          reason,
        });
        return this.remove(host.group(groupId)!, id, reason);
      },
    });
  }

  /** 0 when the log has taken the records, which count from then on; else the wire error, and nothing has changed. */
  write(records: readonly CoordinatorRecord[]): number {
    return writeNow(this.host.context, records);
  }

  // ── Members and the group's epoch ───────────────────────────────────────────────────────────────────────────────

  /** The record that raises the group's epoch, for its topics as the change makes them. */
  bump(groupId: string, group: ConsumerGroup | null, change: MemberChange | null): CoordinatorRecord {
    const topics = group?.subscribedTopics(change) ?? new Set(change?.subscription?.topics);
    // As in Kafka, a new group begins at 1, and its first member raises that.
    const epoch = Math.max(group?.epoch ?? 1, 0) + 1;
    return groupRecord(groupId, { epoch, metadataHash: topicsHash(topics, this.host.topics) });
  }

  /**
   * Stores what a member told of itself. `before` are records that go ahead of it in the same batch. The epoch rises when
   * the group's targets depend on what has changed; a regex that is not resolved yet raises it when it is.
   */
  store(
    shell: Group,
    memberId: string,
    subscription: Subscription,
    before: readonly CoordinatorRecord[],
    known: Subscription | null,
  ): number {
    const group = shell.consumer;
    const records = [...before, memberRecord(shell.id, memberId, subscription)];
    const oldRegex = known?.regex ?? null;
    const { regex } = subscription;
    if (group !== null && oldRegex !== null && oldRegex !== regex) {
      if (!group.usesRegex(oldRegex, memberId) && group.regexes.has(oldRegex))
        records.push(regexRecord(shell.id, oldRegex, null));
    }
    const names =
      known === null ? subscription.topics.length > 0 : !sameNames(known.topics, subscription.topics);
    const ready = regex === null || group?.regexes.has(regex) === true;
    const regexChanged = known === null ? regex !== null : oldRegex !== regex;
    const depends = names || (regexChanged && ready);
    if (group === null && !depends) records.push(groupRecord(shell.id, { epoch: 1, metadataHash: 0 }));
    else if (group === null || group.epoch <= 0 || depends)
      records.push(this.bump(shell.id, group, { memberId, subscription }));
    return this.write(records);
  }

  /** Raises the epoch if topics that the group subscribes to came, went or grew. Costs nothing while no topic changed. */
  lookAtTopics(group: ConsumerGroup): number {
    const { topics } = this.host;
    if (group.topicsVersion === topics.version) return ErrorCode.NONE;
    const hash = topicsHash(group.subscribedTopics(null), topics);
    if (hash !== group.metadataHash) {
      const refused = this.write([groupRecord(group.id, { epoch: group.epoch + 1, metadataHash: hash })]);
      if (refused !== ErrorCode.NONE) return refused;
    }
    group.topicsVersion = topics.version;
    return ErrorCode.NONE;
  }

  /** Takes a member out: it left, or is fenced. */
  remove(shell: Group, memberId: string, reason: string): number {
    const group = shell.consumer;
    const member = group?.members.get(memberId);
    if (group == null || member === undefined) return ErrorCode.NONE;
    const { logger } = this.host;
    logger.debug('a member leaves a consumer group', { group: shell.id, member: memberId, reason });
    if (group.isClassicWithout(memberId) && this.host.downgradeWithout(shell, memberId))
      return ErrorCode.NONE;
    const records = memberTombstones(shell.id, memberId);
    const regex = member.subscription?.regex ?? null;
    if (regex !== null && !group.usesRegex(regex, memberId) && group.regexes.has(regex))
      records.push(regexRecord(shell.id, regex, null));
    records.push(this.bump(shell.id, group, { memberId, subscription: null }));
    // Nobody is left to make targets for, and whoever comes next need not wait for them.
    if (group.members.size === 1)
      records.push(targetEpochRecord(shell.id, { assignmentEpoch: group.epoch + 1, assignmentTimestamp: 0 }));
    return this.write(records);
  }

  // ── Targets ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Makes targets for the group's epoch, unless the last ones are too new. */
  assign(group: ConsumerGroup): number {
    if (group.epoch <= group.assignmentEpoch || group.members.size === 0) return ErrorCode.NONE;
    const now = this.host.clock.now();
    const age = now - group.assignmentTimestamp;
    // A clock that was set back makes no group wait.
    const early = age >= 0 && age < this.host.limitsOf(group.id).assignmentIntervalMs;
    if (group.assignmentEpoch > 0 && early) return ErrorCode.NONE;
    const name = group.preferredAssignor();
    const assignor = assignors.get(name) ?? assignors.get(defaultAssignor)!;
    const targets = assignor(this.#assignorMembers(group), (topicId) =>
      this.host.topics.partitionCount(topicId),
    );
    const records: CoordinatorRecord[] = [];
    for (const [id, target] of targets) {
      const before = group.targets.get(id);
      if (before === undefined || !sameAssignment(before, target))
        records.push(targetRecord(group.id, id, target));
    }
    for (const id of group.targets.keys())
      if (!targets.has(id)) records.push(targetRecord(group.id, id, null));
    records.push(targetEpochRecord(group.id, { assignmentEpoch: group.epoch, assignmentTimestamp: now }));
    return writeInBatches(this.host.context, records, this.host.settings.recordsBytesMax);
  }

  #assignorMembers(group: ConsumerGroup): AssignorMember[] {
    const shared = new Map<string, readonly string[]>();
    const members: AssignorMember[] = [];
    for (const { id, subscription } of group.members.values()) {
      const { topics, regex } = subscription!;
      const key = `${regex ?? ''}\0${topics.join('\0')}`;
      let topicIds = shared.get(key);
      if (topicIds === undefined) {
        topicIds = [...this.topicIdsOf(group, subscription!)];
        shared.set(key, topicIds);
      }
      members.push({ id, topicIds, target: group.targetOf(id) });
    }
    return members;
  }

  /** Ids of the topics that a member subscribes to, as far as they exist. */
  topicIdsOf(group: ConsumerGroup, { topics, regex }: Subscription): Set<string> {
    const ids = new Set<string>();
    const add = (name: string): void => {
      const id = this.host.topics.idOf(name);
      if (id !== null) ids.add(id);
    };
    for (const name of topics) add(name);
    if (regex !== null) for (const name of group.regexes.get(regex)?.topics ?? []) add(name);
    return ids;
  }

  // ── One member towards its target ───────────────────────────────────────────────────────────────────────────────

  /** @param owned what the client says that it has; null = it did not say */
  advance(
    shell: Group,
    member: ConsumerMember,
    owned: readonly TopicPartitionList[] | null,
    subscriptionChanged: boolean,
  ): number {
    const group = shell.consumer!;
    const before = member.progress;
    const settled = before.state === progressStates.stable && before.epoch === group.assignmentEpoch;
    if (settled && !subscriptionChanged) return ErrorCode.NONE;
    const progress = reconcile(before, {
      targetEpoch: group.assignmentEpoch,
      target: this.#subscribedTarget(group, member),
      owned,
      isFree: (topicId, partition) => {
        const owner = group.ownerOf(topicId, partition);
        return owner === undefined || owner === member.id;
      },
      force: subscriptionChanged,
    });
    if (progress === before) return ErrorCode.NONE;
    const refused = this.write([progressRecord(group.id, member.id, progress)]);
    if (refused !== ErrorCode.NONE) return refused;
    if (member.subscription!.classic === null) this.#watchRevocation(shell, member);
    return ErrorCode.NONE;
  }

  #subscribedTarget(group: ConsumerGroup, member: ConsumerMember): Assignment {
    const target = group.targetOf(member.id);
    const subscribed = this.topicIdsOf(group, member.subscription!);
    for (const topicId of target.keys()) {
      if (subscribed.has(topicId)) continue;
      return new Map([...target].filter(([id]) => subscribed.has(id)));
    }
    return target;
  }

  // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────────

  sessionMs(groupId: string, member: ConsumerMember): number {
    return member.subscription?.classic?.sessionTimeoutMs ?? this.host.limitsOf(groupId).sessionTimeoutMs;
  }

  /** A sign of life. */
  touch(shell: Group, member: ConsumerMember): void {
    this.#times.touch(shell.id, member, this.sessionMs(shell.id, member));
  }

  /** Sessions and other waits begin anew: a new owner cannot know how long a member has been silent. */
  started(shell: Group): void {
    for (const member of shell.consumer?.members.values() ?? []) {
      this.touch(shell, member);
      if (member.subscription!.classic === null) this.#watchRevocation(shell, member);
    }
  }

  /** A member that is told to give partitions up has its rebalance time-out for it. */
  #watchRevocation(shell: Group, member: ConsumerMember): void {
    const { progress } = member;
    if (progress.state !== progressStates.unrevoked) this.stopWaiting(member);
    else
      this.waitFor(shell, member, member.subscription!.rebalanceTimeoutMs, 'partitions not given up in time');
  }

  stopWaiting(member: ConsumerMember): void {
    this.#times.stopWaiting(member);
  }

  /** Fences the member unless `stopWaiting` is called in time. */
  waitFor(shell: Group, member: ConsumerMember, delayMs: number, reason: string): void {
    this.#times.waitFor(shell.id, member, delayMs, reason);
  }
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i]);
}

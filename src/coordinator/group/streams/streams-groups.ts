/**
 * The steps of the streams protocol (KIP-1071) for the groups of one partition: a member comes, changes or goes; the group's
 * epoch rises; targets are made for it; a member goes one step towards its target. Each step is one batch of records, which
 * counts as soon as the log has taken it, so that a crash between two steps leaves a group that the next heartbeat takes
 * further. Shard thread.
 *
 *     change ──► epoch + 1 ──► targets at that epoch ──► warm-ups on the way to them ──► members, one by one
 *                                │ after the initial delay, at most every assignment interval
 *
 * Bounds: members by `group.streams.max.size`, a topology and what a member tells of itself by `memberMetadataBytesMax`, a batch
 * by `recordsBytesMax`: the targets of a large group are several, of which the last brings the epoch.
 */
import type { Clock } from '../../../ports/clock.ts';
import type { Logger } from '../../../ports/logger.ts';
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import type { PartitionContext } from '../../runtime/coordinator-state.ts';
import { topicsHash } from '../consumer/topics-hash.ts';
import type { Group } from '../group.ts';
import type { GroupTopics } from '../group-services.ts';
import type { GroupSettings } from '../group-settings.ts';
import { MemberTimes } from '../member-times.ts';
import { writeInBatches, writeNow } from '../write-now.ts';
import type { StreamsGroup, StreamsGroupState, StreamsMember } from './streams-group.ts';
import { streamsGroupStates } from './streams-group.ts';
import type { StreamsLimits } from './streams-group-api.ts';
import {
  groupRecord,
  memberTombstones,
  progressRecord,
  targetEpochRecord,
  targetRecord,
} from './streams-records.ts';
import type { TaskMember } from './task-assignor.ts';
import { defaultTaskAssignor, taskAssignors } from './task-assignors.ts';
import { reconcileTasks, taskStates } from './task-reconcile.ts';
import { noTasks, sameTasks, type TaskLists, type Tasks, taskKey, tasksHeld } from './tasks.ts';
import { requiredTopics, type Topology } from './topology.ts';
import { withWarmups } from './warmups.ts';

/** What the streams protocol needs of the partition that its groups live in. */
export interface StreamsHost {
  readonly context: PartitionContext;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: GroupSettings;
  readonly topics: GroupTopics;
  group(id: string): Group | undefined;
  /** Configs in force for a group. */
  streamsLimitsOf(groupId: string): StreamsLimits;
}

/** What keeps a group from new targets. */
export type AssignmentDelay = 'initial delay' | 'assignment interval';

export class StreamsGroups {
  readonly host: StreamsHost;
  readonly #times: MemberTimes;

  constructor(host: StreamsHost) {
    this.host = host;
    this.#times = new MemberTimes({
      clock: host.clock,
      isGone: (groupId, member) =>
        host.context.closed || host.group(groupId)?.streams?.members.get(member.id) !== member,
      expire: (groupId, { id }, reason) => {
        host.logger.info('a member of a streams group is out of time', {
          group: groupId,
          member: id,
          reason,
        });
        return this.remove(host.group(groupId)!.streams!, id);
      },
    });
  }

  /** 0 when the log has taken the records, which count from then on; else the wire error, and nothing has changed. */
  write(records: readonly CoordinatorRecord[]): number {
    return writeNow(this.host.context, records);
  }

  // ── The group's epoch ───────────────────────────────────────────────────────────────────────────────────────────

  topologyHash(topology: Topology): number {
    return topicsHash(requiredTopics(topology), this.host.topics);
  }

  /** Configs that targets depend on, as the group's record holds them. */
  assignmentConfigs(groupId: string): ReadonlyMap<string, string> {
    const { standbyReplicas, rackTags } = this.host.streamsLimitsOf(groupId);
    const configs = new Map([['num.standby.replicas', String(standbyReplicas)]]);
    if (rackTags.length > 0) configs.set('rack.aware.assignment.tags', rackTags.join(','));
    return configs;
  }

  /** Takes a member out: it left, or is fenced. */
  remove(group: StreamsGroup, memberId: string): number {
    if (!group.members.has(memberId)) return ErrorCode.NONE;
    const epoch = group.epoch + 1;
    const records = memberTombstones(group.id, memberId);
    records.push(groupRecord(group.id, { ...group.stored!, epoch }));
    // Nobody is left to make targets for, and whoever comes next need not wait for them.
    if (group.members.size === 1)
      records.push(targetEpochRecord(group.id, { assignmentEpoch: epoch, assignmentTimestamp: 0 }));
    return this.write(records);
  }

  // ── Targets ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The group was empty: its first targets wait for more members. */
  delayTargets(shell: Group): void {
    const group = shell.streams!;
    const { initialDelayMs } = this.host.streamsLimitsOf(shell.id);
    if (initialDelayMs === 0 || group.delayTimer !== null) return;
    group.delayTimer = this.host.clock.after(initialDelayMs, () => {
      group.delayTimer = null;
      if (this.host.context.closed || shell.streams !== group) return;
      // A refused batch is made by the next heartbeat.
      this.assign(group);
    });
  }

  /** Makes targets for the group's epoch if they are due; what keeps them back, or the wire error of a log that refuses. */
  assign(group: StreamsGroup): AssignmentDelay | number {
    if (group.delayTimer !== null) return 'initial delay';
    if (group.epoch <= group.assignmentEpoch || group.members.size === 0) return ErrorCode.NONE;
    const now = this.host.clock.now();
    const { assignmentIntervalMs, standbyReplicas, rackTags } = this.host.streamsLimitsOf(group.id);
    const age = now - group.assignmentTimestamp;
    // A clock that was set back makes no group wait.
    if (age >= 0 && age < assignmentIntervalMs) return 'assignment interval';
    const ready = group.configured?.problem === null;
    const assignor = taskAssignors.get(defaultTaskAssignor)!;
    const subtopologies = ready ? group.configured!.subtopologies : [];
    const targets = assignor(taskMembers(group), subtopologies, { standbyReplicas, rackTags });
    const records: CoordinatorRecord[] = [];
    for (const [id, target] of targets) {
      const before = group.targets.get(id);
      if (before === undefined || !sameTasks(before, target))
        records.push(targetRecord(group.id, id, target));
    }
    for (const id of group.targets.keys())
      if (!targets.has(id)) records.push(targetRecord(group.id, id, null));
    records.push(targetEpochRecord(group.id, { assignmentEpoch: group.epoch, assignmentTimestamp: now }));
    return writeInBatches(this.host.context, records, this.host.settings.recordsBytesMax);
  }

  /** Whether somebody's tasks have warmed up, or no longer have to, so that this member is to have others. */
  isRefined(group: StreamsGroup, member: StreamsMember): boolean {
    if (this.host.streamsLimitsOf(group.id).warmupReplicas === 0 && group.refined === null) return false;
    if (group.state !== streamsGroupStates.stable) return false;
    const tasks = this.#refine(group).get(member.id) ?? noTasks;
    return !sameTasks(tasks, tasksHeld(member.progress.assigned));
  }

  /** The same targets at the group's epoch, for which warm-ups are looked at anew. */
  keepTargets(group: StreamsGroup, state: StreamsGroupState): CoordinatorRecord {
    const { assignmentTimestamp } = group;
    return targetEpochRecord(group.id, { assignmentEpoch: state.epoch, assignmentTimestamp });
  }

  /** Tasks on the way to the targets: one answer for each assignment epoch, whatever members tell meanwhile. */
  targetsNow(group: StreamsGroup): ReadonlyMap<string, Tasks> {
    const { assignmentEpoch: epoch } = group;
    if (group.refined?.epoch !== epoch) group.refined = { epoch, targets: this.#refine(group) };
    return group.refined.targets;
  }

  #refine(group: StreamsGroup): ReadonlyMap<string, Tasks> {
    const { warmupReplicas: warmupsMax, acceptableLag } = this.host.streamsLimitsOf(group.id);
    const { configured, targets } = group;
    if (configured === null) return targets;
    const members = [...group.members.values()].map(({ id, metadata, progress, offsets, endOffsets }) => ({
      id,
      processId: metadata!.processId,
      assigned: progress.assigned,
      offsets,
      endOffsets,
    }));
    return withWarmups(members, targets, configured.subtopologies, { warmupsMax, acceptableLag });
  }

  // ── One member towards its target ───────────────────────────────────────────────────────────────────────────────

  /** @param owned what the client says that it has; null = it did not say */
  advance(group: StreamsGroup, member: StreamsMember, owned: TaskLists | null): number {
    const before = member.progress;
    const delayed = group.delayTimer !== null;
    if (before.state === taskStates.stable && before.epoch === group.assignmentEpoch) return ErrorCode.NONE;
    const progress = reconcileTasks(before, {
      targetEpoch: group.assignmentEpoch,
      target: delayed ? noTasks : (this.targetsNow(group).get(member.id) ?? noTasks),
      owned,
      isHeld: (role, subtopologyId, partition, inProcess) =>
        group.isHeldBesides(member, role, taskKey(subtopologyId, partition), inProcess),
    });
    if (progress === before) return ErrorCode.NONE;
    const refused = this.write([progressRecord(group.id, member.id, progress)]);
    if (refused === ErrorCode.NONE) this.#watchRevocation(group.id, member);
    return refused;
  }

  // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────────

  touch(groupId: string, member: StreamsMember): void {
    this.#times.touch(groupId, member, this.host.streamsLimitsOf(groupId).sessionTimeoutMs);
  }

  /** Sessions and other waits begin anew: a new owner cannot know how long a member has been silent. */
  started(groupId: string, group: StreamsGroup): void {
    for (const member of group.members.values()) {
      this.touch(groupId, member);
      this.#watchRevocation(groupId, member);
    }
  }

  /** A member that is told to give tasks up has its rebalance time-out for it. */
  #watchRevocation(groupId: string, member: StreamsMember): void {
    const { state } = member.progress;
    if (state !== taskStates.unrevoked) this.stopWaiting(member);
    else
      this.#times.waitFor(groupId, member, member.metadata!.rebalanceTimeoutMs, 'tasks not given up in time');
  }

  stopWaiting(member: StreamsMember): void {
    this.#times.stopWaiting(member);
  }
}

function taskMembers(group: StreamsGroup): TaskMember[] {
  return [...group.members.values()].map(({ id, metadata, progress, offsets }) => ({
    id,
    processId: metadata!.processId,
    clientTags: metadata!.clientTags,
    held: tasksHeld(progress.assigned),
    target: group.targetOf(id),
    offsets,
  }));
}

/**
 * StreamsGroupHeartbeat as the groups of one partition answer it (KIP-1071): who the caller is, what changed of it, and the one
 * step towards its target that it may take. An answer leaves when everything it may have seen is durable. A heartbeat that
 * changes nothing writes nothing. Shard thread.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import { memberRefusal } from '../consumer/consumer-answers.ts';
import { classicTombstones } from '../consumer/migration.ts';
import type { Group } from '../group.ts';
import { groupStates } from '../group-state.ts';
import { type ConfiguredTopology, configureTopology, statusCodes } from './configured-topology.ts';
import { endpointsOf } from './endpoints.ts';
import { heldTaskLists } from './streams-answers.ts';
import type { StreamsGroup, StreamsGroupState, StreamsMember, StreamsMetadata } from './streams-group.ts';
import type { StreamsHeartbeatAnswer, StreamsHeartbeatQuery, StreamsStatus } from './streams-group-api.ts';
import type { AssignmentDelay, StreamsGroups, StreamsHost } from './streams-groups.ts';
import {
  groupRecord,
  memberRecord,
  memberTombstones,
  progressRecord,
  targetRecord,
  topologyRecord,
} from './streams-records.ts';
import {
  invalid,
  isPlacedAlike,
  leaveEpoch,
  offsetsOf,
  ownedOf,
  requestProblem,
  type StreamsRefusal,
  sameEndpoint,
  staticLeaveEpoch,
  taskProblem,
  updatedMetadata,
} from './streams-request.ts';
import { type TaskProgress, taskStates } from './task-reconcile.ts';
import { type HeldTasks, isWithin, listsExactly, nothingHeld, sameHeld, type TaskEpochs } from './tasks.ts';
import { sameTopology, type Topology } from './topology.ts';

export interface StreamsHeartbeatHost extends StreamsHost {
  /** The group, made if there is room. */
  groupFor(id: string): Group | null;
  dropIfVoid(group: Group): void;
}

type Done = (answer: StreamsHeartbeatAnswer) => void;

/** A member as a heartbeat finds it. */
interface Caller {
  readonly shell: Group;
  readonly memberId: string;
  readonly known: StreamsMember | undefined;
  readonly metadata: StreamsMetadata | null;
  /** Records that go ahead of the member's own in the same batch. */
  readonly before: readonly CoordinatorRecord[];
  /** Static member in whose place it comes. */
  readonly replaced: StreamsMember | null;
}

export class StreamsHeartbeats {
  readonly #host: StreamsHeartbeatHost;
  readonly #groups: StreamsGroups;

  constructor(host: StreamsHeartbeatHost, groups: StreamsGroups) {
    this.#host = host;
    this.#groups = groups;
  }

  beat(query: StreamsHeartbeatQuery, done: Done): void {
    const problem = requestProblem(query, this.#host.settings.memberMetadataBytesMax);
    if (problem !== null) done(refusal(problem));
    else if (query.memberEpoch === 0) this.#join(query, done);
    else this.#goOn(query, done);
  }

  #goOn(query: StreamsHeartbeatQuery, done: Done): void {
    const { groupId, memberId, instanceId, memberEpoch } = query;
    const shell = this.#host.group(groupId);
    const group = shell?.state === groupStates.dead ? null : (shell?.streams ?? null);
    if (shell === undefined || group === null) {
      this.#refuse(notStreams(groupId, shell !== undefined), done);
      return;
    }
    if (query.shutdown && memberEpoch < 0) group.shutdownBy ??= memberId;
    const member = group.find(memberId, instanceId);
    if (typeof member === 'number') this.#refuse(memberRefusal(member, query), done);
    else if (memberEpoch === leaveEpoch) this.#answerLeave(this.#groups.remove(group, memberId), query, done);
    else if (memberEpoch === staticLeaveEpoch) this.#pause(group, member, query, done);
    else {
      const fenced = epochRefusal(member, query);
      if (fenced !== null) this.#refuse(fenced, done);
      else {
        const { metadata } = member;
        this.#proceed({ shell, memberId, known: member, metadata, before: [], replaced: null }, query, done);
      }
    }
  }

  /** What is said from memory may only be said when it is durable. */
  #refuse(problem: StreamsRefusal, done: Done): void {
    this.#host.context.read((errorCode) =>
      done(refusal(errorCode === ErrorCode.NONE ? problem : { errorCode, errorMessage: null })),
    );
  }

  // ── Joining ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #join(query: StreamsHeartbeatQuery, done: Done): void {
    const shell = this.#host.groupFor(query.groupId);
    if (shell === null || shell.state === groupStates.dead) {
      done(refusal({ errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, errorMessage: null }));
      return;
    }
    const isOther = shell.consumer !== null || (shell.streams === null && !shell.hasNoMembers());
    if (isOther) this.#refuse(notStreams(query.groupId, true), done);
    else this.#enter(shell, query, done);
    this.#host.dropIfVoid(shell);
  }

  #enter(shell: Group, query: StreamsHeartbeatQuery, done: Done): void {
    const group = shell.streams;
    const { memberId, instanceId } = query;
    const known = group?.members.get(memberId);
    const holder =
      instanceId === null ? undefined : group?.members.get(group.staticIds.get(instanceId) ?? '');
    const size = group?.members.size ?? 0;
    const { membersMax } = this.#host.streamsLimitsOf(shell.id);
    if (known === undefined && holder === undefined && size >= membersMax) {
      const errorMessage = `The streams group has reached its maximum capacity of ${membersMax} members.`;
      this.#refuse({ errorCode: ErrorCode.GROUP_MAX_SIZE_REACHED, errorMessage }, done);
      return;
    }
    if (holder !== undefined && holder.progress.epoch !== staticLeaveEpoch) {
      const errorMessage = `Static member ${memberId} with instance id ${instanceId} cannot join the group because the instance id is owned by ${holder.id} member.`;
      this.#refuse({ errorCode: ErrorCode.UNRELEASED_INSTANCE_ID, errorMessage }, done);
      return;
    }
    if (holder !== undefined) {
      const before = takeOverRecords(group!, holder, memberId);
      this.#proceed(
        { shell, memberId, known, metadata: holder.metadata, before, replaced: holder },
        query,
        done,
      );
      return;
    }
    const before = group === null ? classicTombstones(shell) : [];
    const metadata = known?.metadata ?? null;
    this.#proceed({ shell, memberId, known, metadata, before, replaced: null }, query, done);
  }

  // ── Leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A static member keeps its tasks for the one that comes in its place, and gives up what it was to give up. */
  #pause(group: StreamsGroup, member: StreamsMember, query: StreamsHeartbeatQuery, done: Done): void {
    const { previousEpoch, assigned } = member.progress;
    const progress: TaskProgress = {
      epoch: staticLeaveEpoch,
      previousEpoch,
      state: taskStates.stable,
      // Nobody commits by an epoch of the past for it.
      assigned: { ...assigned, active: atEpoch(assigned.active, 0) },
      revoking: nothingHeld,
    };
    const refused = this.#groups.write([progressRecord(group.id, member.id, progress)]);
    this.#groups.stopWaiting(member);
    this.#groups.touch(group.id, member);
    this.#answerLeave(refused, query, done);
  }

  #answerLeave(refused: number, { memberId, memberEpoch }: StreamsHeartbeatQuery, done: Done): void {
    this.#answer(refused, { ...noAnswer, memberId, memberEpoch }, done);
  }

  // ── Every other heartbeat ───────────────────────────────────────────────────────────────────────────────────────

  #proceed(caller: Caller, query: StreamsHeartbeatQuery, done: Done): void {
    const { shell, memberId, known, replaced } = caller;
    const groups = this.#groups;
    const metadata = updatedMetadata(caller.metadata, query);
    const plan = this.#plan(caller, metadata, query);
    if ('errorCode' in plan) {
      this.#refuse(plan, done);
      return;
    }
    const wasEmpty = (shell.streams?.members.size ?? 0) === 0;
    const had = (replaced ?? known)?.progress ?? null;
    if (plan.records.length > 0) {
      const refused = this.#host.context.hasRoom()
        ? groups.write(plan.records)
        : ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
      if (refused !== ErrorCode.NONE) {
        done(refusal({ errorCode: refused, errorMessage: null }));
        return;
      }
    }
    const group = shell.streams!;
    const member = group.members.get(memberId)!;
    group.configured = plan.configured;
    group.topicsVersion = this.#host.topics.version;
    if (replaced !== null) relabel(group, replaced.id, memberId);
    remember(member, plan.offsets, plan.endOffsets);
    groups.touch(shell.id, member);
    if (wasEmpty) groups.delayTargets(shell);
    const assigned = groups.assign(group);
    let refused = typeof assigned === 'number' ? assigned : ErrorCode.NONE;
    if (refused === ErrorCode.NONE) refused = groups.advance(group, member, ownedOf(query));
    if (query.shutdown) group.shutdownBy ??= memberId;
    const delay = typeof assigned === 'number' ? null : assigned;
    this.#answer(refused, this.#answerOf(group, member, caller.metadata, had, delay, query), done);
  }

  /** What the heartbeat changes, checked as a whole before anything is written. */
  #plan(
    { shell, memberId, known, metadata: before, before: ahead }: Caller,
    metadata: StreamsMetadata,
    query: StreamsHeartbeatQuery,
  ): Plan | StreamsRefusal {
    const groups = this.#groups;
    const group = shell.streams;
    const topology = topologyFor(group, query);
    if ('errorCode' in topology) return topology;
    const configured = this.#configured(group, topology);
    if ('errorCode' in configured) return configured;
    const ready = configured.problem === null;
    const wrong = ready ? taskProblem(ownedOf(query), configured) : null;
    if (wrong !== null) return wrong;
    const offsets = query.taskOffsets === null ? null : offsetsOf(query.taskOffsets);
    const endOffsets = query.taskEndOffsets === null ? null : offsetsOf(query.taskEndOffsets);
    if (offsets !== null && 'errorCode' in offsets) return offsets;
    if (endOffsets !== null && 'errorCode' in endOffsets) return endOffsets;
    if (known !== undefined) remember(known, offsets, endOffsets);
    const records = [...ahead];
    if (metadata !== before) records.push(memberRecord(shell.id, memberId, metadata));
    if (group?.topology == null) records.push(topologyRecord(shell.id, topology));
    const stored = group?.stored ?? null;
    const state: StreamsGroupState = {
      epoch: (group?.epoch ?? 1) + 1,
      metadataHash:
        configured === group?.configured ? (stored?.metadataHash ?? 0) : groups.topologyHash(topology),
      validatedTopologyEpoch: ready ? topology.epoch : -1,
      assignmentConfigs: groups.assignmentConfigs(shell.id),
      storedDescriptionEpoch: stored?.storedDescriptionEpoch ?? -1,
      failedDescriptionEpoch: stored?.failedDescriptionEpoch ?? -1,
    };
    // Who comes back in the place of a static member changes no target, unless it is another process.
    const moved = before === null || !isPlacedAlike(before, metadata);
    const changed = query.instanceId === null ? metadata !== before : moved;
    if (changed || !sameConditions(stored, state)) records.push(groupRecord(shell.id, state));
    else if (group !== null && known !== undefined && groups.isRefined(group, known))
      records.push(groupRecord(shell.id, state), groups.keepTargets(group, state));
    return { records, configured, offsets, endOffsets };
  }

  #configured(group: StreamsGroup | null, topology: Topology): ConfiguredTopology | StreamsRefusal {
    const { topics } = this.#host;
    if (group?.configured != null && group.topicsVersion === topics.version) return group.configured;
    const configured = configureTopology(topology, topics);
    if ('errorCode' in configured || group?.configured == null) return configured;
    // The same object for the same content: then nothing has changed.
    return JSON.stringify(configured) === JSON.stringify(group.configured) &&
      this.#groups.topologyHash(topology) === group.stored?.metadataHash
      ? group.configured
      : configured;
  }

  #answerOf(
    group: StreamsGroup,
    member: StreamsMember,
    before: StreamsMetadata | null,
    had: TaskProgress | null,
    delay: AssignmentDelay | null,
    query: StreamsHeartbeatQuery,
  ): StreamsHeartbeatAnswer {
    const limits = this.#host.streamsLimitsOf(group.id);
    const { progress } = member;
    const metadata = member.metadata!;
    const changed =
      had === null ? progress.assigned !== nothingHeld : !sameHeld(had.assigned, progress.assigned);
    // Also whoever has not got what it was told last: its answer was lost.
    const owned = ownedOf(query);
    const behind = owned !== null && !listsExactly(owned, progress.assigned);
    const tells = query.memberEpoch === 0 || changed || behind;
    const moved = !sameEndpoint(before ?? { endpoint: null }, metadata);
    if (moved || (changed && metadata.endpoint !== null)) group.endpointEpoch++;
    const knows = group.endpointEpoch === query.endpointEpoch;
    return {
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      memberId: member.id,
      memberEpoch: progress.epoch,
      heartbeatIntervalMs: limits.heartbeatIntervalMs,
      taskOffsetIntervalMs: limits.taskOffsetIntervalMs,
      acceptableLag: limits.acceptableLag,
      status: statusOf(group, metadata, delay, limits.rackTags, query.version),
      tasks: tells ? heldTaskLists(progress.assigned) : null,
      endpointEpoch: group.endpointEpoch,
      endpoints: knows ? null : endpointsOf(group, this.#host.topics),
      missing: group.configured!.missing,
    };
  }

  #answer(refused: number, answer: StreamsHeartbeatAnswer, done: Done): void {
    if (refused !== ErrorCode.NONE) {
      done(refusal({ errorCode: refused, errorMessage: null }));
      return;
    }
    this.#host.context.read((errorCode) =>
      done(errorCode === ErrorCode.NONE ? answer : refusal({ errorCode, errorMessage: null })),
    );
  }
}

interface Plan {
  readonly records: readonly CoordinatorRecord[];
  readonly configured: ConfiguredTopology;
  readonly offsets: ReadonlyMap<string, number> | null;
  readonly endOffsets: ReadonlyMap<string, number> | null;
}

const noAnswer: StreamsHeartbeatAnswer = {
  errorCode: ErrorCode.NONE,
  errorMessage: null,
  memberId: '',
  memberEpoch: 0,
  heartbeatIntervalMs: 0,
  taskOffsetIntervalMs: 0,
  acceptableLag: -1,
  status: [],
  tasks: null,
  endpointEpoch: 0,
  endpoints: null,
  missing: [],
};

export function streamsRefusal(problem: StreamsRefusal): StreamsHeartbeatAnswer {
  return { ...noAnswer, ...problem };
}

const refusal = streamsRefusal;

function notStreams(groupId: string, isThere: boolean): StreamsRefusal {
  const errorMessage = isThere
    ? `Group ${groupId} is not a streams group.`
    : `Streams group ${groupId} not found.`;
  return { errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorMessage };
}

/** An earlier epoch passes if the answer that raised it may have got lost: the client has nothing that it may not have. */
function epochRefusal({ progress }: StreamsMember, query: StreamsHeartbeatQuery): StreamsRefusal | null {
  const { memberEpoch } = query;
  if (memberEpoch === progress.epoch) return null;
  const lost = memberEpoch === progress.previousEpoch && memberEpoch < progress.epoch;
  if (lost && isWithin(ownedOf(query), progress.assigned)) return null;
  const than = memberEpoch > progress.epoch ? 'greater' : 'smaller';
  return {
    errorCode: ErrorCode.FENCED_MEMBER_EPOCH,
    errorMessage: `The streams group member has a ${than} member epoch (${memberEpoch}) than the one known by the group coordinator (${progress.epoch}). The member must abandon all its partitions and rejoin.`,
  };
}

/** The group's topology, or the first member's; whoever brings another one of the same or a higher epoch is refused. */
function topologyFor(
  group: StreamsGroup | null,
  { topology }: StreamsHeartbeatQuery,
): Topology | StreamsRefusal {
  const known = group?.topology ?? null;
  if (known === null) return topology ?? invalid('The group has no topology, and the member brings none.');
  if (topology === null || topology.epoch < known.epoch || sameTopology(topology, known)) return known;
  return invalid('Topology updates are not supported yet.');
}

/** Whether targets were made under the same conditions. */
function sameConditions(a: StreamsGroupState | null, b: StreamsGroupState): boolean {
  if (a === null || a.metadataHash !== b.metadataHash) return false;
  if (a.validatedTopologyEpoch !== b.validatedTopologyEpoch) return false;
  if (a.assignmentConfigs.size !== b.assignmentConfigs.size) return false;
  return [...a.assignmentConfigs].every(([name, value]) => b.assignmentConfigs.get(name) === value);
}

function statusOf(
  group: StreamsGroup,
  { topologyEpoch, clientTags }: StreamsMetadata,
  delay: AssignmentDelay | null,
  rackTags: readonly string[],
  version: number,
): StreamsStatus[] {
  const status: StreamsStatus[] = [];
  const say = (statusCode: number, statusDetail: string): void => {
    status.push({ statusCode, statusDetail });
  };
  const current = group.topology!.epoch;
  if (topologyEpoch < current)
    say(
      statusCodes.staleTopology,
      `The member's topology epoch ${topologyEpoch} is behind the group's topology epoch ${current}.`,
    );
  if (delay !== null)
    say(statusCodes.assignmentDelayed, `Assignment delayed due to the configured ${delayNames[delay]}.`);
  const problem = group.configured?.problem ?? null;
  if (problem !== null) status.push(problem);
  if (group.shutdownBy !== null)
    say(
      statusCodes.shutdownApplication,
      `Streams group member ${group.shutdownBy} encountered a fatal error and requested a shutdown for the entire application.`,
    );
  const missing = version >= tagsVersion ? rackTags.filter((tag) => !clientTags.has(tag)) : [];
  if (missing.length > 0)
    say(
      statusCodes.missingClientTags,
      `Missing required client tags for rack-aware standby assignment: [${missing.join(', ')}]. Configure them via 'client.tag.<tagKey>' in your Streams config.`,
    );
  return status;
}

const tagsVersion = 1;
const delayNames: Readonly<Record<AssignmentDelay, string>> = {
  'initial delay': 'initial rebalance delay',
  'assignment interval': 'assignment interval',
};

/** A static member comes in the place of another, and gets its target and its tasks. */
function takeOverRecords(group: StreamsGroup, holder: StreamsMember, memberId: string): CoordinatorRecord[] {
  const { assigned, revoking, state } = holder.progress;
  return [
    ...memberTombstones(group.id, holder.id),
    memberRecord(group.id, memberId, holder.metadata),
    targetRecord(group.id, memberId, group.targetOf(holder.id)),
    progressRecord(group.id, memberId, { epoch: 0, previousEpoch: 0, state, assigned, revoking }),
  ];
}

function remember(
  member: StreamsMember,
  offsets: ReadonlyMap<string, number> | null,
  endOffsets: ReadonlyMap<string, number> | null,
): void {
  if (offsets !== null) member.offsets = offsets;
  if (endOffsets !== null) member.endOffsets = endOffsets;
}

function relabel(group: StreamsGroup, from: string, to: string): void {
  const { refined } = group;
  const tasks = refined?.targets.get(from);
  if (refined === null || tasks === undefined || from === to) return;
  const targets = new Map(refined.targets);
  targets.delete(from);
  targets.set(to, tasks);
  group.refined = { ...refined, targets };
}

function atEpoch(held: TaskEpochs, epoch: number): HeldTasks['active'] {
  return new Map(
    [...held].map(([id, epochs]) => [id, new Map([...epochs.keys()].map((partition) => [partition, epoch]))]),
  );
}

/**
 * ConsumerGroupHeartbeat as the groups of one partition answer it (KIP-848): who the caller is, what changed of it, and the
 * one step towards its target that it may take. An answer leaves when everything it may have seen is durable. A heartbeat
 * that changes nothing writes nothing. Shard thread.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import { compilePattern } from '../../../protocol/pattern.ts';
import { randomUuid } from '../../../protocol/random-uuid.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import type { Group } from '../group.ts';
import type { ConsumerHeartbeatAnswer, ConsumerHeartbeatQuery } from '../group-api.ts';
import { groupStates, isBlank } from '../group-state.ts';
import { isSubset, nothingOwned, ownedLists, sameOwned } from './assignment.ts';
import { assignors } from './assignors.ts';
import { memberRefusal } from './consumer-answers.ts';
import type { ConsumerGroup, ConsumerMember, Subscription } from './consumer-group.ts';
import type { ConsumerGroups, ConsumerHost } from './consumer-groups.ts';
import { memberTombstones, progressRecord, targetRecord } from './consumer-records.ts';
import type { Refusal } from './migration.ts';
import { progressStates } from './reconcile.ts';
import type { RegexResolver } from './regex-resolver.ts';

/** Epochs of a request that are none. */
export const leaveEpoch = -1;
export const staticLeaveEpoch = -2;

export interface HeartbeatHost extends ConsumerHost {
  /** The group, made if there is room. */
  groupFor(id: string): Group | null;
  dropIfVoid(group: Group): void;
  /**
   * Makes a classic group one of the consumer protocol, or says why not. Of a group without members it gives the records
   * that go ahead of the first member's.
   */
  upgrade(group: Group): readonly CoordinatorRecord[] | Refusal;
}

type Done = (answer: ConsumerHeartbeatAnswer) => void;

export class ConsumerHeartbeats {
  readonly #host: HeartbeatHost;
  readonly #groups: ConsumerGroups;
  readonly #regexes: RegexResolver;

  constructor(host: HeartbeatHost, groups: ConsumerGroups, regexes: RegexResolver) {
    this.#host = host;
    this.#groups = groups;
    this.#regexes = regexes;
  }

  beat(query: ConsumerHeartbeatQuery, done: Done): void {
    const problem = heartbeatProblem(query) ?? this.#subscriptionProblem(query);
    if (problem !== null) {
      done(refusal(problem));
      return;
    }
    const shell = this.#host.group(query.groupId);
    if (query.memberEpoch === 0) {
      this.#join(query, done);
      return;
    }
    const group = shell?.state === groupStates.dead ? null : (shell?.consumer ?? null);
    if (shell === undefined || group === null) {
      const errorMessage = `Group ${query.groupId} is not a consumer group, or does not exist.`;
      this.#refuse({ errorCode: ErrorCode.GROUP_ID_NOT_FOUND, errorMessage }, done);
      return;
    }
    const member = group.find(query.memberId, query.instanceId);
    if (typeof member === 'number') this.#refuse(memberRefusal(member, query), done);
    else if (query.memberEpoch < 0) this.#leave(shell, member, query, done);
    else {
      const fenced = epochRefusal(member, query);
      if (fenced !== null) this.#refuse(fenced, done);
      else this.#proceed(shell, member.id, member, [], member.subscription, query, done);
    }
  }

  /** What is said from memory may only be said when it is durable. */
  #refuse(problem: Refusal, done: Done): void {
    this.#host.context.read((errorCode) =>
      done(refusal(errorCode === ErrorCode.NONE ? problem : { errorCode, errorMessage: null })),
    );
  }

  #subscriptionProblem({ topics, regex }: ConsumerHeartbeatQuery): Refusal | null {
    const { settings } = this.#host;
    let bytes = 0;
    for (const topic of topics ?? []) bytes += topic.length + 2;
    if (bytes > settings.memberMetadataBytesMax)
      return invalid(`Subscribed topics are longer than ${settings.memberMetadataBytesMax} bytes.`);
    if (regex === null || regex === '') return null;
    return compilePattern(regex) === null
      ? {
          errorCode: ErrorCode.INVALID_REGULAR_EXPRESSION,
          errorMessage: `SubscribedTopicRegex '${regex}' is not a regular expression of RE2.`,
        }
      : null;
  }

  // ── Joining ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #join(query: ConsumerHeartbeatQuery, done: Done): void {
    const host = this.#host;
    const shell = host.groupFor(query.groupId);
    if (shell === null || shell.state === groupStates.dead) {
      done(refusal({ errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, errorMessage: null }));
      return;
    }
    const before = shell.consumer === null ? host.upgrade(shell) : [];
    if ('errorCode' in before) this.#refuse(before, done);
    else this.#enter(shell, before, query, done);
    host.dropIfVoid(shell);
  }

  #enter(
    shell: Group,
    upgrade: readonly CoordinatorRecord[],
    query: ConsumerHeartbeatQuery,
    done: Done,
  ): void {
    const host = this.#host;
    const group = shell.consumer;
    const memberId = query.memberId === '' ? randomUuid(host.context.random) : query.memberId;
    const known = group?.members.get(memberId);
    const holder = group === null ? undefined : staticHolder(group, query.instanceId);
    const takesOver = holder !== undefined && holder.id !== memberId;
    if (takesOver && holder.progress.epoch !== staticLeaveEpoch) {
      const errorMessage = `Instance id ${query.instanceId} is in use by member ${holder.id}.`;
      this.#refuse({ errorCode: ErrorCode.UNRELEASED_INSTANCE_ID, errorMessage }, done);
      return;
    }
    const size = group?.members.size ?? 0;
    if (known === undefined && !takesOver && size >= host.settings.consumerSizeMax) {
      const errorMessage = `The group has ${size} members, and may have no more.`;
      this.#refuse({ errorCode: ErrorCode.GROUP_MAX_SIZE_REACHED, errorMessage }, done);
      return;
    }
    const before = takesOver ? [...upgrade, ...takeOverRecords(group!, holder, memberId)] : upgrade;
    const subscription = takesOver ? holder.subscription : (known?.subscription ?? null);
    this.#proceed(shell, memberId, known, before, subscription, query, done);
  }

  // ── Leaving ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #leave(shell: Group, member: ConsumerMember, query: ConsumerHeartbeatQuery, done: Done): void {
    let refused: number;
    if (query.memberEpoch === staticLeaveEpoch) {
      // It keeps its partitions for the one that comes in its place, and gives up what it was to give up.
      refused = this.#groups.write([
        progressRecord(shell.id, member.id, {
          epoch: staticLeaveEpoch,
          previousEpoch: member.progress.epoch,
          state: progressStates.stable,
          assigned: member.progress.assigned,
          revoking: nothingOwned,
        }),
      ]);
      this.#groups.stopWaiting(member);
      this.#groups.touch(shell, member);
    } else {
      refused = this.#groups.remove(shell, member.id, 'it left');
    }
    this.#answer(refused, { ...noAnswer, memberId: member.id, memberEpoch: query.memberEpoch }, done);
  }

  // ── Every other heartbeat ───────────────────────────────────────────────────────────────────────────────────────

  /** @param before records that go ahead of the member's own */
  #proceed(
    shell: Group,
    memberId: string,
    known: ConsumerMember | undefined,
    before: readonly CoordinatorRecord[],
    subscribed: Subscription | null,
    query: ConsumerHeartbeatQuery,
    done: Done,
  ): void {
    const groups = this.#groups;
    const had = known?.progress.assigned ?? nothingOwned;
    const subscription = updated(subscribed, query);
    const changed = subscription !== subscribed || before.length > 0;
    if (changed) {
      const problem = this.#changeProblem(shell, memberId, subscription);
      if (problem !== null) {
        this.#refuse(problem, done);
        return;
      }
      const refused = groups.store(shell, memberId, subscription, before, subscribed);
      if (refused !== ErrorCode.NONE) {
        done(refusal({ errorCode: refused, errorMessage: null }));
        return;
      }
    }
    const group = shell.consumer!;
    const member = group.members.get(memberId)!;
    groups.touch(shell, member);
    this.#regexes.refresh(shell);
    let refused = groups.lookAtTopics(group);
    if (refused === ErrorCode.NONE) refused = groups.assign(group);
    if (refused === ErrorCode.NONE) refused = groups.advance(shell, member, query.owned, changed);
    const { progress } = member;
    const tell = isFull(query) || !sameOwned(had, progress.assigned);
    this.#answer(
      refused,
      {
        errorCode: ErrorCode.NONE,
        errorMessage: null,
        memberId,
        memberEpoch: progress.epoch,
        heartbeatIntervalMs: this.#host.limitsOf(shell.id).heartbeatIntervalMs,
        assignment: tell ? ownedLists(progress.assigned) : null,
      },
      done,
    );
  }

  #changeProblem(shell: Group, memberId: string, { regex }: Subscription): Refusal | null {
    if (!this.#host.context.hasRoom())
      return { errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, errorMessage: null };
    const group = shell.consumer;
    if (group === null || regex === null || group.usesRegex(regex, memberId)) return null;
    const { regexesMax } = this.#host.settings;
    return group.regexUsers.size < regexesMax
      ? null
      : invalid(
          `Members of the group subscribe with ${regexesMax} regular expressions, and may with no more.`,
        );
  }

  #answer(refused: number, answer: ConsumerHeartbeatAnswer, done: Done): void {
    if (refused !== ErrorCode.NONE) {
      done(refusal({ errorCode: refused, errorMessage: null }));
      return;
    }
    this.#host.context.read((errorCode) =>
      done(errorCode === ErrorCode.NONE ? answer : refusal({ errorCode, errorMessage: null })),
    );
  }
}

const noAnswer: ConsumerHeartbeatAnswer = {
  errorCode: ErrorCode.NONE,
  errorMessage: null,
  memberId: '',
  memberEpoch: 0,
  heartbeatIntervalMs: 0,
  assignment: null,
};

function refusal(problem: Refusal): ConsumerHeartbeatAnswer {
  return { ...noAnswer, ...problem };
}

function invalid(errorMessage: string): Refusal {
  return { errorCode: ErrorCode.INVALID_REQUEST, errorMessage };
}

/** What is wrong with the request by itself. */
function heartbeatProblem(query: ConsumerHeartbeatQuery): Refusal | null {
  const { memberEpoch, topics, regex } = query;
  if (isBlank(query.groupId)) return invalid("GroupId can't be empty.");
  if (isBlank(query.memberId) && (query.version >= 1 || memberEpoch !== 0))
    return invalid("MemberId can't be empty.");
  if (isBlank(query.instanceId)) return invalid("InstanceId can't be empty.");
  if (isBlank(query.rackId)) return invalid("RackId can't be empty.");
  if (memberEpoch < staticLeaveEpoch) return invalid(`MemberEpoch ${memberEpoch} is invalid.`);
  if (memberEpoch === staticLeaveEpoch && query.instanceId === null)
    return invalid("InstanceId can't be null when a static member leaves for a while.");
  if (memberEpoch === 0) {
    if (query.rebalanceTimeoutMs === -1) return invalid('RebalanceTimeoutMs must be provided when joining.');
    if (query.owned === null || query.owned.length > 0)
      return invalid('TopicPartitions must be empty when joining.');
    if (topics === null && regex === null)
      return invalid('SubscribedTopicNames or SubscribedTopicRegex must be provided when joining.');
  }
  if (query.assignor !== null && !assignors.has(query.assignor)) {
    return {
      errorCode: ErrorCode.UNSUPPORTED_ASSIGNOR,
      errorMessage: `ServerAssignor ${query.assignor} is not supported. Supported assignors: ${[...assignors.keys()].join(', ')}.`,
    };
  }
  return null;
}

/** An earlier epoch passes if the answer that raised it may have got lost: the client has nothing that it may not have. */
function epochRefusal(
  { progress }: ConsumerMember,
  { memberEpoch, owned }: ConsumerHeartbeatQuery,
): Refusal | null {
  if (memberEpoch === progress.epoch) return null;
  const lost = memberEpoch === progress.previousEpoch && memberEpoch < progress.epoch;
  if (lost && isSubset(owned, progress.assigned)) return null;
  return {
    errorCode: ErrorCode.FENCED_MEMBER_EPOCH,
    errorMessage: `Member epoch ${memberEpoch} is not ${progress.epoch}: give up all partitions and join again.`,
  };
}

/** Clients that have lost an answer send everything again, and are told everything. */
function isFull({ memberEpoch, rebalanceTimeoutMs, topics, regex, owned }: ConsumerHeartbeatQuery): boolean {
  if (memberEpoch === 0) return true;
  return rebalanceTimeoutMs !== -1 && (topics !== null || regex !== null) && owned !== null;
}

function staticHolder(group: ConsumerGroup, instanceId: string | null): ConsumerMember | undefined {
  return instanceId === null ? undefined : group.members.get(group.staticIds.get(instanceId) ?? '');
}

/** A static member comes in the place of another, and gets its target and its partitions. */
export function takeOverRecords(
  group: ConsumerGroup,
  holder: ConsumerMember,
  memberId: string,
): CoordinatorRecord[] {
  return [
    ...memberTombstones(group.id, holder.id),
    targetRecord(group.id, memberId, group.targetOf(holder.id)),
    progressRecord(group.id, memberId, {
      epoch: 0,
      previousEpoch: holder.progress.previousEpoch,
      state: progressStates.stable,
      assigned: holder.progress.assigned,
      revoking: nothingOwned,
    }),
  ];
}

/** The subscription with what the request brings; the same object when that changes nothing. */
function updated(known: Subscription | null, query: ConsumerHeartbeatQuery): Subscription {
  const { clientId, clientHost, rebalanceTimeoutMs } = query;
  if (known !== null && tellsNothing(known, query)) return known;
  const regex = query.regex === '' ? null : (query.regex ?? known?.regex ?? null);
  const next: Subscription = {
    instanceId: query.instanceId ?? known?.instanceId ?? null,
    rackId: query.rackId ?? known?.rackId ?? null,
    clientId,
    clientHost,
    topics: query.topics === null ? (known?.topics ?? []) : sameList(known?.topics, query.topics),
    regex,
    rebalanceTimeoutMs: rebalanceTimeoutMs === -1 ? (known?.rebalanceTimeoutMs ?? -1) : rebalanceTimeoutMs,
    assignor: query.assignor ?? known?.assignor ?? null,
    classic: null,
  };
  return known !== null && sameSubscription(known, next) ? known : next;
}

/** The common heartbeat: it allocates nothing here. */
function tellsNothing(known: Subscription, query: ConsumerHeartbeatQuery): boolean {
  return (
    query.topics === null &&
    query.regex === null &&
    query.assignor === null &&
    query.rackId === null &&
    query.rebalanceTimeoutMs === -1 &&
    (query.instanceId === null || query.instanceId === known.instanceId) &&
    query.clientId === known.clientId &&
    query.clientHost === known.clientHost &&
    known.classic === null
  );
}

function sameSubscription(a: Subscription, b: Subscription): boolean {
  return (
    a.topics === b.topics &&
    a.regex === b.regex &&
    a.clientId === b.clientId &&
    a.clientHost === b.clientHost &&
    a.instanceId === b.instanceId &&
    a.rackId === b.rackId &&
    a.rebalanceTimeoutMs === b.rebalanceTimeoutMs &&
    a.assignor === b.assignor &&
    a.classic === b.classic
  );
}

/** Sorted, each once; the known array when it holds the same. */
function sameList(known: readonly string[] | undefined, names: readonly string[]): readonly string[] {
  const sorted = [...new Set(names)].sort();
  const same = known?.length === sorted.length && sorted.every((name, i) => known[i] === name);
  return same ? known! : sorted;
}

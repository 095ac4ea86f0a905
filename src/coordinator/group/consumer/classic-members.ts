/**
 * Members that speak the classic protocol in a group of the consumer protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup
 * for them. The broker assigns as to all others; a member's epoch is its generation, "rebalance in progress" tells it to join
 * again, and a join is one step towards its target. Nobody leads, and no join or sync is parked. Shard thread.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import { randomUuid } from '../../../protocol/random-uuid.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import { consumerProtocolType } from '../consumer-subscription.ts';
import { type Group, joinError, syncError } from '../group.ts';
import type {
  HeartbeatQuery,
  JoinAnswer,
  JoinQuery,
  LeaveAnswer,
  LeavingMember,
  SyncAnswer,
  SyncQuery,
} from '../group-api.ts';
import { classicAssignmentBytes, readClassicSubscription } from './classic-bytes.ts';
import type { ConsumerGroup, ConsumerMember, Subscription } from './consumer-group.ts';
import type { ConsumerGroups } from './consumer-groups.ts';
import { takeOverRecords } from './consumer-heartbeat.ts';
import { progressStates } from './reconcile.ts';

export class ClassicMembers {
  readonly #groups: ConsumerGroups;

  constructor(groups: ConsumerGroups) {
    this.#groups = groups;
  }

  /** @param joinClassic takes the join over where it has turned the group into a classic one */
  join(
    shell: Group,
    query: JoinQuery,
    done: (answer: JoinAnswer) => void,
    joinClassic: (memberId: string) => void,
  ): void {
    const { context, settings, topics } = this.#groups.host;
    const group = shell.consumer!;
    const memberId = query.memberId === '' ? randomUuid(context.random) : query.memberId;
    const refuse = (errorCode: number, id = query.memberId): void =>
      context.read((failed) => done(joinError(failed === ErrorCode.NONE ? errorCode : failed, id)));
    const holder = holderOf(group, query);
    if (typeof holder === 'number') {
      refuse(holder);
      return;
    }
    const known = group.members.get(memberId) ?? holder;
    const metadata = Buffer.from(query.protocols[0]?.metadata ?? []);
    const told = readClassicSubscription(metadata, topics);
    if (told === null || !supports(group, query) || settings.migration === 'disabled') {
      refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL);
    } else if (known === undefined && group.members.size >= settings.consumerSizeMax) {
      refuse(ErrorCode.GROUP_MAX_SIZE_REACHED, '');
    } else if (query.memberIdRequired && query.memberId === '' && query.instanceId === null) {
      refuse(ErrorCode.MEMBER_ID_REQUIRED, memberId);
    } else {
      const takesOver = holder !== undefined && holder.id !== memberId;
      const before = takesOver ? takeOverRecords(group, holder, memberId) : [];
      const subscription = subscriptionOf(query, told.topics, told.rackId);
      const refused = this.#store(shell, memberId, subscription, before, known?.subscription ?? null);
      if (refused !== ErrorCode.NONE) {
        done(joinError(refused, query.memberId));
        return;
      }
      if (group.isClassicWithout('') && this.#groups.host.downgradeWithout(shell, '')) {
        joinClassic(memberId);
        return;
      }
      this.#advance(shell, memberId, told.owned, query.protocols[0]!.name, done);
    }
  }

  #store(
    shell: Group,
    memberId: string,
    subscription: Subscription,
    before: readonly CoordinatorRecord[],
    known: Subscription | null,
  ): number {
    if (!this.#groups.host.context.hasRoom()) return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    return this.#groups.store(shell, memberId, subscription, before, known);
  }

  #advance(
    shell: Group,
    memberId: string,
    owned: Parameters<ConsumerGroups['advance']>[2],
    protocolName: string,
    done: (answer: JoinAnswer) => void,
  ): void {
    const groups = this.#groups;
    const group = shell.consumer!;
    const member = group.members.get(memberId)!;
    let refused = groups.lookAtTopics(group);
    if (refused === ErrorCode.NONE) refused = groups.assign(group);
    if (refused === ErrorCode.NONE) refused = groups.advance(shell, member, owned, true);
    if (refused !== ErrorCode.NONE) {
      done(joinError(refused, memberId));
      return;
    }
    groups.touch(shell, member);
    groups.waitFor(shell, member, member.subscription!.rebalanceTimeoutMs, 'it did not sync in time');
    const answer: JoinAnswer = {
      errorCode: ErrorCode.NONE,
      generation: member.progress.epoch,
      protocolType: consumerProtocolType,
      protocolName,
      leaderId: '',
      memberId,
      skipAssignment: false,
      members: [],
    };
    groups.host.context.read((failed) =>
      done(failed === ErrorCode.NONE ? answer : joinError(failed, memberId)),
    );
  }

  sync(shell: Group, query: SyncQuery, done: (answer: SyncAnswer) => void): void {
    const { context, topics } = this.#groups.host;
    const group = shell.consumer!;
    const member = classicMember(group, query);
    let errorCode: number = typeof member === 'number' ? member : ErrorCode.NONE;
    if (typeof member !== 'number') {
      const { protocols } = member.subscription!.classic!;
      const { protocolType, protocolName } = query;
      const wrongType = protocolType !== null && protocolType !== consumerProtocolType;
      if (wrongType || (protocolName !== null && !protocols.some(({ name }) => name === protocolName)))
        errorCode = ErrorCode.INCONSISTENT_GROUP_PROTOCOL;
      else if (group.epoch > member.progress.epoch && member.progress.state !== progressStates.unrevoked) {
        // It is behind, and joins again; what it is to give up comes first.
        errorCode = ErrorCode.REBALANCE_IN_PROGRESS;
        this.#expectJoin(shell, member);
      }
    }
    if (typeof member === 'number' || errorCode !== ErrorCode.NONE) {
      context.read((failed) => done(syncError(failed === ErrorCode.NONE ? errorCode : failed)));
      return;
    }
    this.#groups.touch(shell, member);
    this.#groups.stopWaiting(member);
    const answer: SyncAnswer = {
      errorCode: ErrorCode.NONE,
      protocolType: consumerProtocolType,
      protocolName: query.protocolName ?? member.subscription!.classic!.protocols[0]!.name,
      assignment: classicAssignmentBytes(member.progress.assigned, topics),
    };
    context.read((failed) => done(failed === ErrorCode.NONE ? answer : syncError(failed)));
  }

  heartbeat(shell: Group, query: HeartbeatQuery, done: (errorCode: number) => void): void {
    const { context } = this.#groups.host;
    const group = shell.consumer!;
    const member = classicMember(group, query);
    let errorCode: number = typeof member === 'number' ? member : ErrorCode.NONE;
    if (typeof member !== 'number') {
      this.#groups.touch(shell, member);
      const refused = this.#groups.lookAtTopics(group);
      if (refused !== ErrorCode.NONE) errorCode = refused;
      else if (this.#mustJoin(group, member)) {
        errorCode = ErrorCode.REBALANCE_IN_PROGRESS;
        if (member.stepTimer === null) this.#expectJoin(shell, member);
      }
    }
    context.read((failed) => done(failed === ErrorCode.NONE ? errorCode : failed));
  }

  /** Whether a join would bring the member further. */
  #mustJoin(group: ConsumerGroup, member: ConsumerMember): boolean {
    const { epoch, state, assigned } = member.progress;
    if (epoch < group.epoch || state === progressStates.unrevoked) return true;
    if (state !== progressStates.unreleased) return false;
    for (const [topicId, partitions] of group.targetOf(member.id)) {
      for (const partition of partitions) {
        const held = assigned.get(topicId)?.has(partition) === true;
        if (!held && group.ownerOf(topicId, partition) === undefined) return true;
      }
    }
    return false;
  }

  #expectJoin(shell: Group, member: ConsumerMember): void {
    this.#groups.waitFor(
      shell,
      member,
      member.subscription!.rebalanceTimeoutMs,
      'it did not join again in time',
    );
  }

  /** @param leaveClassic takes the rest over where the group has become a classic one */
  leave(
    shell: Group,
    leaving: readonly LeavingMember[],
    done: (answer: LeaveAnswer) => void,
    leaveClassic: (one: LeavingMember) => number,
  ): void {
    const members = leaving.map((one) => ({
      ...one,
      errorCode: shell.consumer === null ? leaveClassic(one) : this.#leaveOne(shell, shell.consumer, one),
    }));
    this.#groups.host.context.read((errorCode) =>
      done({ errorCode, members: errorCode === ErrorCode.NONE ? members : [] }),
    );
  }

  #leaveOne(shell: Group, group: ConsumerGroup, { memberId, instanceId }: LeavingMember): number {
    // An administrator removes members of both protocols, static ones by their instance id alone.
    const byInstance = memberId === '' && instanceId !== null;
    const member = group.find(byInstance ? (group.staticIds.get(instanceId) ?? '') : memberId, instanceId);
    if (typeof member === 'number') return member;
    return this.#groups.remove(shell, member.id, 'it left');
  }
}

/** Who has the caller's instance id, or why the caller may not have it. */
function holderOf(group: ConsumerGroup, query: JoinQuery): ConsumerMember | undefined | number {
  if (query.instanceId === null) return undefined;
  const holder = group.members.get(group.staticIds.get(query.instanceId) ?? '');
  if (query.memberId === '') return holder;
  if (holder === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
  return holder.id === query.memberId ? holder : ErrorCode.FENCED_INSTANCE_ID;
}

/** Consumers only, and with a protocol that all classic members of the group know: it may become theirs again. */
function supports(group: ConsumerGroup, { protocolType, protocols, memberId }: JoinQuery): boolean {
  if (protocolType !== consumerProtocolType) return false;
  return protocols.some(({ name }) => {
    for (const { id, subscription } of group.members.values()) {
      const classic = subscription?.classic ?? null;
      if (id === memberId || classic === null) continue;
      if (!classic.protocols.some((protocol) => protocol.name === name)) return false;
    }
    return true;
  });
}

function subscriptionOf(query: JoinQuery, topics: readonly string[], rackId: string | null): Subscription {
  return {
    instanceId: query.instanceId,
    rackId,
    clientId: query.clientId,
    clientHost: query.clientHost,
    topics,
    regex: null,
    rebalanceTimeoutMs: query.rebalanceTimeoutMs === -1 ? query.sessionTimeoutMs : query.rebalanceTimeoutMs,
    assignor: null,
    classic: {
      sessionTimeoutMs: query.sessionTimeoutMs,
      // Requests hold views into their frame.
      protocols: query.protocols.map(({ name, metadata }) => ({ name, metadata: Buffer.from(metadata) })),
    },
  };
}

function classicMember(group: ConsumerGroup, query: HeartbeatQuery): ConsumerMember | number {
  const member = group.find(query.memberId, query.instanceId);
  if (typeof member === 'number') return member;
  if (member.subscription?.classic == null) return ErrorCode.UNKNOWN_MEMBER_ID;
  return query.generation === member.progress.epoch ? member : ErrorCode.ILLEGAL_GENERATION;
}

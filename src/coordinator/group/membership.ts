/**
 * What members of a classic group may ask: join, sync, heartbeat, leave, and whether they may commit. Decides by the
 * group's state and hands the consequences to Rebalance. Owned by the shard of the group's partition.
 */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import {
  type Group,
  joinError,
  type Member,
  metadataOf,
  newMember,
  noBytes,
  sameProtocols,
  syncError,
} from './group.ts';
import type {
  CommitQuery,
  HeartbeatQuery,
  JoinAnswer,
  JoinQuery,
  LeaveAnswer,
  LeavingMember,
  MemberProtocol,
  OfferedProtocol,
  SyncAnswer,
  SyncQuery,
} from './group-api.ts';
import { groupStates } from './group-state.ts';
import { type GroupHost, Rebalance } from './rebalance.ts';

type JoinDone = (answer: JoinAnswer) => void;
type SyncDone = (answer: SyncAnswer) => void;

export class Membership {
  readonly rebalance: Rebalance;
  readonly #host: GroupHost;

  constructor(host: GroupHost) {
    this.#host = host;
    this.rebalance = new Rebalance(host);
  }

  join(group: Group, query: JoinQuery, done: JoinDone): void {
    const { memberId } = query;
    if (group.state === groupStates.dead) {
      done(joinError(ErrorCode.COORDINATOR_NOT_AVAILABLE, memberId));
    } else if (!this.#hasRoom(group, memberId)) {
      group.pendingIds.get(memberId)?.cancel();
      group.pendingIds.delete(memberId);
      done(joinError(ErrorCode.GROUP_MAX_SIZE_REACHED, ''));
    } else if (!group.supports(query.protocolType, query.protocols)) {
      done(joinError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, memberId));
    } else if (memberId === '') {
      this.#joinWithoutId(group, query, done);
    } else {
      this.#joinWithId(group, query, done);
    }
  }

  /** `group.max.size` counts members and ids on the way; whoever is in may always come again. */
  #hasRoom(group: Group, memberId: string): boolean {
    if (group.members.has(memberId) || group.pendingIds.has(memberId)) return true;
    return group.members.size + group.pendingIds.size < this.#host.settings.groupSizeMax;
  }

  #joinWithoutId(group: Group, query: JoinQuery, done: JoinDone): void {
    if (query.instanceId !== null) {
      const memberId = `${query.instanceId}-${this.#uuid()}`;
      const present = group.members.get(group.staticIds.get(query.instanceId) ?? '');
      if (present === undefined) this.#enter(group, memberId, query, done);
      else this.#replace(group, present, memberId, query, done);
      return;
    }
    const memberId = `${query.clientId}-${this.#uuid()}`;
    if (query.memberIdRequired) {
      // KIP-394: a join that is lost or timed out then leaves no ghost member behind.
      this.rebalance.expect(group, memberId, query.sessionTimeoutMs);
      done(joinError(ErrorCode.MEMBER_ID_REQUIRED, memberId));
    } else {
      this.#enter(group, memberId, query, done);
    }
  }

  #joinWithId(group: Group, query: JoinQuery, done: JoinDone): void {
    if (group.pendingIds.has(query.memberId) && query.instanceId === null) {
      group.pendingIds.get(query.memberId)?.cancel();
      group.pendingIds.delete(query.memberId);
      this.#enter(group, query.memberId, query, done);
      return;
    }
    const member = this.#find(group, query.memberId, query.instanceId);
    if (typeof member === 'number') {
      done(joinError(member, query.memberId));
      return;
    }
    switch (group.state) {
      case groupStates.preparingRebalance:
        this.#rejoin(group, member, query, done, 'member joins again');
        break;
      case groupStates.completingRebalance:
        // The answer to the same join may have got lost: give it again.
        if (sameProtocols(member.protocols, query.protocols)) this.#answerAgain(group, member, done);
        else this.#rejoin(group, member, query, done, 'member changed its protocols');
        break;
      case groupStates.stable:
        if (member.id === group.leaderId) {
          this.#rejoin(group, member, query, done, 'leader joins again');
        } else if (sameProtocols(member.protocols, query.protocols)) this.#answerAgain(group, member, done);
        else this.#rejoin(group, member, query, done, 'member changed its protocols');
        break;
      case groupStates.empty:
      case groupStates.dead:
        done(joinError(ErrorCode.UNKNOWN_MEMBER_ID, query.memberId));
        break;
    }
  }

  #answerAgain(group: Group, member: Member, done: JoinDone): void {
    this.rebalance.touch(member);
    done(group.joinAnswer(member));
  }

  #enter(group: Group, memberId: string, query: JoinQuery, done: JoinDone): void {
    const member = newMember(
      memberId,
      query.instanceId,
      query.clientId,
      query.clientHost,
      query.sessionTimeoutMs,
      rebalanceTimeoutOf(query),
      copied(query.protocols),
      noBytes,
    );
    member.isNew = true;
    if (group.members.size === 0) group.protocolType = query.protocolType;
    group.add(member);
    group.park(member, done);
    this.rebalance.watch(group, member);
    if (group.state === groupStates.preparingRebalance) {
      group.newMemberAdded = true;
      this.rebalance.tryComplete(group);
    } else {
      this.rebalance.prepare(group, 'new member');
    }
  }

  #update(group: Group, member: Member, query: JoinQuery): void {
    group.setProtocols(member, copied(query.protocols));
    member.clientId = query.clientId;
    member.clientHost = query.clientHost;
    member.rebalanceTimeoutMs = rebalanceTimeoutOf(query);
    member.sessionTimeoutMs = query.sessionTimeoutMs;
    this.rebalance.rewatch(group, member);
  }

  #rejoin(group: Group, member: Member, query: JoinQuery, done: JoinDone, reason: string): void {
    this.#update(group, member, query);
    // A client that gave its first call up has sent this one: the first is answered too, to whoever still listens.
    const given = group.unpark(member);
    group.park(member, done);
    given?.(joinError(ErrorCode.REBALANCE_IN_PROGRESS, member.id));
    if (group.state === groupStates.preparingRebalance) this.rebalance.tryComplete(group);
    else this.rebalance.prepare(group, reason);
  }

  /** KIP-345: the same instance under a new member id; the old id is fenced from here on. */
  #replace(group: Group, member: Member, newId: string, query: JoinQuery, done: JoinDone): void {
    const oldId = member.id;
    const oldLeader = group.leaderId ?? '';
    const before = metadataOf(member.protocols, group.protocolName);
    const joinDone = group.unpark(member);
    const syncDone = member.syncDone;
    member.syncDone = null;
    group.renameStatic(member, newId);
    this.#update(group, member, query);
    joinDone?.(joinError(ErrorCode.FENCED_INSTANCE_ID, oldId));
    syncDone?.(syncError(ErrorCode.FENCED_INSTANCE_ID));
    switch (group.state) {
      case groupStates.stable:
        if (
          group.selectProtocol() === group.protocolName &&
          metadataOf(member.protocols, group.protocolName).equals(before)
        ) {
          this.#storeReplacement(group, member, oldLeader, query.canSkipAssignment, done);
          return;
        }
        group.park(member, done);
        this.rebalance.prepare(group, 'static member changed its subscription');
        return;
      case groupStates.completingRebalance:
        group.park(member, done);
        this.rebalance.prepare(group, 'static member replaced');
        return;
      case groupStates.preparingRebalance:
        group.park(member, done);
        this.rebalance.tryComplete(group);
        return;
      case groupStates.empty:
      case groupStates.dead:
        throw new Error(`group ${group.id} is ${group.state} and has members`);
    }
  }

  #storeReplacement(
    group: Group,
    member: Member,
    oldLeader: string,
    canSkipAssignment: boolean,
    done: JoinDone,
  ): void {
    const current = group.joinAnswer(member);
    const isLeader = member.id === group.leaderId;
    // Before v9 a leader cannot be told to leave the assignment alone, so it is told that the old id leads.
    const answer: JoinAnswer = canSkipAssignment
      ? { ...current, skipAssignment: isLeader }
      : { ...current, leaderId: oldLeader, members: [] };
    const refused = this.#host.store(
      group,
      null,
      () => done(answer),
      () => done(joinError(ErrorCode.NOT_COORDINATOR, member.id)),
    );
    // The old id stays fenced: the instance joins again, and gets another.
    if (refused !== ErrorCode.NONE) done(joinError(refused, member.id));
  }

  sync(group: Group, query: SyncQuery, done: SyncDone): void {
    if (group.state === groupStates.dead) {
      done(syncError(ErrorCode.COORDINATOR_NOT_AVAILABLE));
      return;
    }
    const member = this.#find(group, query.memberId, query.instanceId);
    if (typeof member === 'number') {
      done(syncError(member));
      return;
    }
    const wrong = this.#syncProblem(group, query);
    if (wrong !== ErrorCode.NONE) {
      done(syncError(wrong));
      return;
    }
    this.rebalance.touch(member);
    this.rebalance.synced(group, member);
    if (group.state === groupStates.stable) {
      done(group.syncAnswer(member));
      return;
    }
    const given = member.syncDone;
    member.syncDone = done;
    given?.(syncError(ErrorCode.REBALANCE_IN_PROGRESS));
    if (member.id !== group.leaderId || group.storing) return;
    const assignments = new Map<string, Buffer>();
    for (const { memberId, assignment } of query.assignments) {
      if (group.members.has(memberId)) assignments.set(memberId, Buffer.from(assignment));
    }
    this.rebalance.assign(group, assignments);
  }

  #syncProblem(group: Group, query: SyncQuery): number {
    if (query.generation !== group.generation) return ErrorCode.ILLEGAL_GENERATION;
    if (query.protocolType !== null && query.protocolType !== group.protocolType) {
      return ErrorCode.INCONSISTENT_GROUP_PROTOCOL;
    }
    if (query.protocolName !== null && query.protocolName !== group.protocolName) {
      return ErrorCode.INCONSISTENT_GROUP_PROTOCOL;
    }
    switch (group.state) {
      case groupStates.preparingRebalance:
        return ErrorCode.REBALANCE_IN_PROGRESS;
      case groupStates.completingRebalance:
      case groupStates.stable:
        return ErrorCode.NONE;
      case groupStates.empty:
      case groupStates.dead:
        return ErrorCode.UNKNOWN_MEMBER_ID;
    }
  }

  heartbeat(group: Group, query: HeartbeatQuery): number {
    if (group.state === groupStates.dead) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const member = this.#find(group, query.memberId, query.instanceId);
    if (typeof member === 'number') return member;
    if (query.generation !== group.generation) return ErrorCode.ILLEGAL_GENERATION;
    switch (group.state) {
      case groupStates.completingRebalance:
      case groupStates.stable:
        this.rebalance.touch(member);
        return ErrorCode.NONE;
      case groupStates.preparingRebalance:
        this.rebalance.touch(member);
        return ErrorCode.REBALANCE_IN_PROGRESS;
      case groupStates.empty:
        return ErrorCode.UNKNOWN_MEMBER_ID;
    }
  }

  leave(group: Group, leaving: readonly LeavingMember[]): LeaveAnswer {
    if (group.state === groupStates.dead) {
      return { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, members: [] };
    }
    return {
      errorCode: ErrorCode.NONE,
      members: leaving.map((one) => ({ ...one, errorCode: this.#leaveOne(group, one) })),
    };
  }

  #leaveOne(group: Group, { memberId, instanceId }: LeavingMember): number {
    if (instanceId === null && this.rebalance.forget(group, memberId)) return ErrorCode.NONE;
    // An administrator removes a static member by its instance id alone.
    const id = memberId === '' && instanceId !== null ? (group.staticIds.get(instanceId) ?? '') : memberId;
    const member = this.#find(group, id, instanceId);
    if (typeof member === 'number') return member;
    this.rebalance.remove(group, member, 'member left');
    return ErrorCode.NONE;
  }

  /**
   * Whether the caller may commit now; counts as a sign of life. In a transaction it need not say who it is (before
   * KIP-447), and a rebalance that is about to complete does not stop it.
   */
  admitCommit(group: Group, query: CommitQuery): number {
    if (group.state === groupStates.dead) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const { generation, memberId, instanceId } = query;
    // A commit outside the group protocol is allowed while nobody uses the protocol.
    if (generation < 0 && group.state === groupStates.empty) return ErrorCode.NONE;
    const transactional = query.producer !== undefined;
    if (generation < 0 && memberId === '' && instanceId === null)
      return transactional ? ErrorCode.NONE : ErrorCode.UNKNOWN_MEMBER_ID;
    const member = this.#find(group, memberId, instanceId);
    if (typeof member === 'number') return member;
    if (generation !== group.generation) return ErrorCode.ILLEGAL_GENERATION;
    switch (group.state) {
      case groupStates.stable:
      case groupStates.preparingRebalance:
        this.rebalance.touch(member);
        return ErrorCode.NONE;
      case groupStates.completingRebalance:
        return transactional ? ErrorCode.NONE : ErrorCode.REBALANCE_IN_PROGRESS;
      case groupStates.empty:
        return ErrorCode.UNKNOWN_MEMBER_ID;
    }
  }

  /** The member, or why the caller is not it: its instance id belongs to another member id, or nobody has it. */
  #find(group: Group, memberId: string, instanceId: string | null): Member | number {
    if (instanceId !== null) {
      const owner = group.staticIds.get(instanceId);
      if (owner === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
      if (owner !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
    }
    return group.members.get(memberId) ?? ErrorCode.UNKNOWN_MEMBER_ID;
  }

  /** RFC 9562 version 4. */
  #uuid(): string {
    const bytes = Buffer.from(this.#host.random.bytes(new Uint8Array(16)));
    bytes[6] = (bytes[6]! & 0x0f) | 0x40;
    bytes[8] = (bytes[8]! & 0x3f) | 0x80;
    const hex = bytes.toString('hex');
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  }
}

function rebalanceTimeoutOf(query: JoinQuery): number {
  return query.rebalanceTimeoutMs === -1 ? query.sessionTimeoutMs : query.rebalanceTimeoutMs;
}

/** Requests hold views into their frame; what stays must not keep the frame alive. */
function copied(protocols: readonly OfferedProtocol[]): MemberProtocol[] {
  return protocols.map(({ name, metadata }) => ({ name, metadata: Buffer.from(metadata) }));
}

/**
 * One group: its offsets, and of a classic one its members, votes and state, without time, records or requests. A group
 * of the consumer or the streams protocol has its members in `consumer` or `streams`, and is an empty classic one beside that. Owned by the shard that
 * leads the group's `__consumer_offsets` partition; changed only by Membership and Rebalance and by replay.
 *
 * Invariants: `staticIds` names exactly the members with an instance id; `votersOf` counts, per protocol name, the
 * members listing it; `parkedJoins` counts the members with a parked join; a member id is never both in `members` and
 * in `pendingIds`.
 */
import type { Timer } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ConsumerGroup } from './consumer/consumer-group.ts';
import { addSubscribedTopics, consumerProtocolType } from './consumer-subscription.ts';
import type { JoinAnswer, JoinedMember, MemberProtocol, OfferedProtocol, SyncAnswer } from './group-api.ts';
import { GroupOffsets } from './group-offsets.ts';
import { type GroupState, groupStates, mayStep } from './group-state.ts';
import type { StreamsGroup } from './streams/streams-group.ts';

export const noBytes = Buffer.alloc(0);

export interface Member {
  /** Changes only when a static member is replaced (KIP-345). */
  id: string;
  readonly instanceId: string | null;
  clientId: string;
  clientHost: string;
  sessionTimeoutMs: number;
  rebalanceTimeoutMs: number;
  protocols: readonly MemberProtocol[];
  assignment: Buffer;
  joinDone: ((answer: JoinAnswer) => void) | null;
  syncDone: ((answer: SyncAnswer) => void) | null;
  /** True until its first join was answered: such a member lives by the join time-out, not by heartbeats. */
  isNew: boolean;
  /** Monotonic time at which the session ends unless a call moves it. */
  deadline: number;
  sessionTimer: Timer | null;
}

export function newMember(
  id: string,
  instanceId: string | null,
  clientId: string,
  clientHost: string,
  sessionTimeoutMs: number,
  rebalanceTimeoutMs: number,
  protocols: readonly MemberProtocol[],
  assignment: Buffer,
): Member {
  return {
    id,
    instanceId,
    clientId,
    clientHost,
    sessionTimeoutMs,
    rebalanceTimeoutMs,
    protocols,
    assignment,
    joinDone: null,
    syncDone: null,
    isNew: false,
    deadline: 0,
    sessionTimer: null,
  };
}

export function metadataOf(protocols: readonly MemberProtocol[], name: string | null): Buffer {
  return protocols.find((protocol) => protocol.name === name)?.metadata ?? noBytes;
}

export function sameProtocols(a: readonly MemberProtocol[], b: readonly OfferedProtocol[]): boolean {
  return (
    a.length === b.length &&
    a.every((protocol, i) => protocol.name === b[i]?.name && protocol.metadata.equals(b[i].metadata))
  );
}

export class Group {
  readonly id: string;
  readonly members = new Map<string, Member>();
  /** Instance id → member id. */
  readonly staticIds = new Map<string, string>();
  /** Member ids given out with MEMBER_ID_REQUIRED and not used yet, each with the timer that forgets it. */
  readonly pendingIds = new Map<string, Timer>();
  readonly offsets = new GroupOffsets();
  /** Set while the group is one of the consumer protocol (KIP-848). */
  consumer: ConsumerGroup | null = null;
  /** Set while the group is one of the streams protocol (KIP-1071); never beside `consumer`. */
  streams: StreamsGroup | null = null;
  /** Counts the changes between the protocols: what an earlier life of the group waited for is none of the next. */
  lives = 0;
  /** Members that have the generation but have not sent their SyncGroup. */
  readonly unsynced = new Set<string>();
  state: GroupState = groupStates.empty;
  /** Wall-clock time of the last state change: offsets of an empty group age from here. */
  stateTimestamp: number;
  generation = 0;
  /** null until the first join; stays when the group empties. */
  protocolType: string | null = null;
  protocolName: string | null = null;
  leaderId: string | null = null;
  /** Topics of the current generation; null = not known (not a consumer group, or bytes that do not parse). */
  subscribedTopics: ReadonlySet<string> | null = null;
  parkedJoins = 0;
  /** Someone joined during the current slice of the initial delay. */
  newMemberAdded = false;
  /** The rebalance timer is that of the initial delay, which nothing cuts short. */
  initialDelay = false;
  /** The leader's assignment is appended and not durable yet. */
  storing = false;
  /** Value of the group's newest durable record; null = none in the log. */
  storedValue: Buffer | null = null;
  /** Group records appended and not durable yet. */
  pendingStores = 0;
  /** The log has refused the newest record of the group. */
  storeDue = false;
  rebalanceTimer: Timer | null = null;
  unsyncedTimer: Timer | null = null;
  readonly #votersOf = new Map<string, number>();

  constructor(id: string, now: number) {
    this.id = id;
    this.stateTimestamp = now;
  }

  step(to: GroupState, now: number): void {
    if (!mayStep(this.state, to)) {
      throw new Error(`group ${this.id}: no step from ${this.state} to ${to}`);
    }
    this.state = to;
    this.stateTimestamp = now;
  }

  becomeConsumer(consumer: ConsumerGroup): void {
    this.#forgetClassic();
    this.consumer = consumer;
  }

  becomeStreams(streams: StreamsGroup): void {
    this.#forgetClassic();
    this.streams = streams;
  }

  /** The records of another protocol's group are deleted: it is an empty classic one. */
  becomeClassic(): void {
    this.consumer?.stopTimers();
    this.streams?.stopTimers();
    this.consumer = null;
    this.streams = null;
    this.lives++;
  }

  /** The classic group, whose timers and parked calls are ended, gives way to another protocol. */
  #forgetClassic(): void {
    for (const member of [...this.members.values()]) this.remove(member);
    this.pendingIds.clear();
    this.unsynced.clear();
    this.lives++;
    this.state = groupStates.empty;
    this.generation = 0;
    this.protocolType = null;
    this.protocolName = null;
    this.leaderId = null;
    this.subscribedTopics = null;
    this.newMemberAdded = false;
    this.initialDelay = false;
    this.storing = false;
    this.storedValue = null;
    this.storeDue = false;
  }

  /** Without members of any protocol. */
  hasNoMembers(): boolean {
    const others = (this.consumer?.members.size ?? 0) + (this.streams?.members.size ?? 0);
    return this.state === groupStates.empty && others === 0;
  }

  add(member: Member): void {
    if (this.members.size === 0) this.leaderId = null;
    this.members.set(member.id, member);
    if (member.instanceId !== null) this.staticIds.set(member.instanceId, member.id);
    this.#countVoter(member, 1);
    if (this.leaderId === null) this.leaderId = member.id;
    if (member.joinDone !== null) this.parkedJoins++;
  }

  /** Takes the member out; the caller has answered its parked calls. */
  remove(member: Member): void {
    this.members.delete(member.id);
    if (member.instanceId !== null) this.staticIds.delete(member.instanceId);
    this.unsynced.delete(member.id);
    this.#countVoter(member, -1);
    if (member.joinDone !== null) this.parkedJoins--;
    member.joinDone = null;
    if (this.leaderId === member.id) this.leaderId = this.members.keys().next().value ?? null;
  }

  /** KIP-345: a static member comes back under a new id and keeps its place, assignment and leadership. */
  renameStatic(member: Member, newId: string): void {
    if (member.instanceId === null) throw new Error(`member ${member.id} is not static`);
    this.members.delete(member.id);
    if (this.unsynced.delete(member.id)) this.unsynced.add(newId);
    if (this.leaderId === member.id) this.leaderId = newId;
    member.id = newId;
    this.members.set(newId, member);
    this.staticIds.set(member.instanceId, newId);
  }

  setProtocols(member: Member, protocols: readonly MemberProtocol[]): void {
    this.#countVoter(member, -1);
    member.protocols = protocols;
    this.#countVoter(member, 1);
  }

  #countVoter(member: Member, change: 1 | -1): void {
    for (const name of new Set(member.protocols.map((protocol) => protocol.name))) {
      const count = (this.#votersOf.get(name) ?? 0) + change;
      if (count === 0) this.#votersOf.delete(name);
      else this.#votersOf.set(name, count);
    }
  }

  park(member: Member, done: (answer: JoinAnswer) => void): void {
    if (member.joinDone === null) this.parkedJoins++;
    member.joinDone = done;
  }

  /** Takes the parked join, if there is one, so that it is answered once. */
  unpark(member: Member): ((answer: JoinAnswer) => void) | null {
    const done = member.joinDone;
    if (done !== null) this.parkedJoins--;
    member.joinDone = null;
    return done;
  }

  /** Whether somebody with these protocols can be in the group: same type, one protocol that all members list. */
  supports(protocolType: string, protocols: readonly OfferedProtocol[]): boolean {
    if (protocolType === '' || protocols.length === 0) return false;
    if (this.members.size === 0) return true;
    if (protocolType !== this.protocolType) return false;
    return protocols.some(({ name }) => this.#votersOf.get(name) === this.members.size);
  }

  /** Each member votes for the first protocol of its list that all know; ties go to the order of the votes' coming. */
  selectProtocol(): string {
    const votes = new Map<string, number>();
    for (const member of this.members.values()) {
      const vote = member.protocols.find(({ name }) => this.#votersOf.get(name) === this.members.size);
      if (vote === undefined) throw new Error(`group ${this.id}: members share no protocol`);
      votes.set(vote.name, (votes.get(vote.name) ?? 0) + 1);
    }
    let winner = '';
    let most = 0;
    for (const [name, count] of votes) {
      if (count > most) {
        winner = name;
        most = count;
      }
    }
    return winner;
  }

  rebalanceTimeoutMs(): number {
    let longest = 0;
    for (const member of this.members.values()) longest = Math.max(longest, member.rebalanceTimeoutMs);
    return longest;
  }

  allJoined(): boolean {
    return this.parkedJoins === this.members.size && this.pendingIds.size === 0;
  }

  /** Opens the next generation over the present members; without members the group becomes Empty. */
  nextGeneration(now: number): void {
    this.generation = this.generation === 0x7fffffff ? 1 : this.generation + 1;
    if (this.members.size === 0) {
      this.protocolName = null;
      this.leaderId = null;
      this.step(groupStates.empty, now);
    } else {
      this.protocolName = this.selectProtocol();
      this.step(groupStates.completingRebalance, now);
    }
    this.readSubscriptions();
  }

  readSubscriptions(): void {
    this.subscribedTopics = null;
    if (this.protocolType !== consumerProtocolType) return;
    const topics = new Set<string>();
    for (const member of this.members.values()) {
      if (!addSubscribedTopics(metadataOf(member.protocols, this.protocolName), topics)) return;
    }
    this.subscribedTopics = topics;
  }

  /** An unknown subscription counts as one to every topic. */
  isSubscribed(topic: string): boolean {
    const other = this.consumer ?? this.streams;
    if (other !== null) return other.isSubscribed(topic);
    return this.subscribedTopics?.has(topic) ?? true;
  }

  joinedMembers(): JoinedMember[] {
    return [...this.members.values()].map((member) => ({
      memberId: member.id,
      instanceId: member.instanceId,
      metadata: metadataOf(member.protocols, this.protocolName),
    }));
  }

  joinAnswer(member: Member): JoinAnswer {
    const isLeader = member.id === this.leaderId;
    return {
      errorCode: ErrorCode.NONE,
      generation: this.generation,
      protocolType: this.protocolType,
      protocolName: this.protocolName,
      leaderId: this.leaderId ?? '',
      memberId: member.id,
      skipAssignment: false,
      members: isLeader ? this.joinedMembers() : [],
    };
  }

  syncAnswer(member: Member): SyncAnswer {
    return {
      errorCode: ErrorCode.NONE,
      protocolType: this.protocolType,
      protocolName: this.protocolName,
      assignment: member.assignment,
    };
  }

  /** Nothing in memory or in the log would be missed. */
  isVoid(): boolean {
    return (
      this.state === groupStates.empty &&
      this.consumer === null &&
      this.streams === null &&
      this.members.size === 0 &&
      this.pendingIds.size === 0 &&
      this.storedValue === null &&
      this.pendingStores === 0 &&
      this.offsets.isEmpty()
    );
  }
}

export function joinError(errorCode: number, memberId: string): JoinAnswer {
  return {
    errorCode,
    generation: -1,
    protocolType: null,
    protocolName: null,
    leaderId: '',
    memberId,
    skipAssignment: false,
    members: [],
  };
}

export function syncError(errorCode: number): SyncAnswer {
  return { errorCode, protocolType: null, protocolName: null, assignment: noBytes };
}

/**
 * One group of the consumer protocol (KIP-848) as its records say, without time or requests. Changed only by
 * consumer-replay.ts, record by record, at a load and as soon as the log has taken what consumer-groups.ts decided. Owned
 * by the shard that leads the group's `__consumer_offsets` partition.
 *
 *     epoch             grows with every change of members, subscriptions or topics
 *     assignmentEpoch   the epoch that the targets were made for; behind `epoch`, new ones are due
 *     member's epoch    the assignmentEpoch that the member has reached
 *
 * Invariant: `ownerOf` names who has a partition, or has been told to give it up and has not yet; nobody else gets it.
 */
import type { Timer } from '../../../ports/clock.ts';
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { MemberProtocol } from '../group-api.ts';
import { type Assignment, noAssignment, type OwnedPartitions } from './assignment.ts';
import { defaultAssignor } from './assignor.ts';
import { freshProgress, type Progress, progressStates } from './reconcile.ts';

/** A member that speaks the classic protocol in this group (migration). */
export interface ClassicPart {
  readonly sessionTimeoutMs: number;
  readonly protocols: readonly MemberProtocol[];
}

/** What a member told of itself. Never changed once made. */
export interface Subscription {
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** Sorted, each once. */
  readonly topics: readonly string[];
  readonly regex: string | null;
  readonly rebalanceTimeoutMs: number;
  readonly assignor: string | null;
  /** null: it speaks the consumer protocol. */
  readonly classic: ClassicPart | null;
}

export interface ResolvedRegex {
  /** Sorted. */
  readonly topics: readonly string[];
  /** Version of the topics that it was resolved against. */
  readonly version: number;
  readonly timestamp: number;
}

export interface ConsumerMember {
  readonly id: string;
  /** null only while a load has seen other records of it, and not this one. */
  subscription: Subscription | null;
  progress: Progress;
  /** Monotonic time at which the session ends unless a call moves it. */
  deadline: number;
  sessionTimer: Timer | null;
  /** Runs while something is waited for that only the member can do: give up partitions, join, sync. */
  stepTimer: Timer | null;
}

/** Names of ConsumerGroupDescribe and ListGroups. */
export const consumerGroupStates = {
  empty: 'Empty',
  assigning: 'Assigning',
  reconciling: 'Reconciling',
  stable: 'Stable',
} as const;
export type ConsumerGroupState = (typeof consumerGroupStates)[keyof typeof consumerGroupStates];

/** Topics of the group as the change of one member would make them. */
export interface MemberChange {
  readonly memberId: string;
  /** null: it is gone. */
  readonly subscription: Subscription | null;
}

export class ConsumerGroup {
  readonly id: string;
  readonly members = new Map<string, ConsumerMember>();
  /** Instance id → member id. */
  readonly staticIds = new Map<string, string>();
  readonly targets = new Map<string, Assignment>();
  readonly regexes = new Map<string, ResolvedRegex>();
  /** −1: no record has told it yet. */
  epoch = -1;
  metadataHash = 0;
  assignmentEpoch = 0;
  /** Wall-clock milliseconds. */
  assignmentTimestamp = 0;
  /** Version of the topics that `metadataHash` was compared with; −1 = of none, in this life. */
  topicsVersion = -1;
  /** Members by the regex that they subscribe with. */
  readonly regexUsers = new Map<string, number>();
  /** Version of the topics that all regexes were resolved against in this life; −1 = none. */
  regexVersion = -1;
  /** Regexes are being resolved. */
  resolving = false;
  /** Monotonic time from which those may be resolved again that were before. */
  resolveAt = 0;
  readonly #owners = new Map<string, Map<number, string>>();
  #subscribed: ReadonlySet<string> | null = null;

  constructor(id: string) {
    this.id = id;
  }

  member(id: string): ConsumerMember {
    let member = this.members.get(id);
    if (member === undefined) {
      member = {
        id,
        subscription: null,
        progress: freshProgress,
        deadline: 0,
        sessionTimer: null,
        stepTimer: null,
      };
      this.members.set(id, member);
    }
    return member;
  }

  /** The member, or why the caller is not it: its instance id belongs to another member id, or nobody has it. */
  find(memberId: string, instanceId: string | null): ConsumerMember | number {
    if (instanceId !== null) {
      const owner = this.staticIds.get(instanceId);
      if (owner === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
      if (owner !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
    }
    return this.members.get(memberId) ?? ErrorCode.UNKNOWN_MEMBER_ID;
  }

  targetOf(memberId: string): Assignment {
    return this.targets.get(memberId) ?? noAssignment;
  }

  // ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────

  subscribe(id: string, subscription: Subscription | null): void {
    this.#subscribed = null;
    const before = this.members.get(id);
    const instance = before?.subscription?.instanceId ?? null;
    if (instance !== null && this.staticIds.get(instance) === id) this.staticIds.delete(instance);
    this.#countRegex(before?.subscription ?? null, -1);
    this.#countRegex(subscription, 1);
    if (subscription === null) {
      if (before === undefined) return;
      this.#disown(id, before.progress.assigned);
      this.#disown(id, before.progress.revoking);
      before.sessionTimer?.cancel();
      before.stepTimer?.cancel();
      this.members.delete(id);
      return;
    }
    this.member(id).subscription = subscription;
    if (subscription.instanceId !== null) this.staticIds.set(subscription.instanceId, id);
  }

  #countRegex(subscription: Subscription | null, change: 1 | -1): void {
    const regex = subscription?.regex ?? null;
    if (regex === null) return;
    const count = (this.regexUsers.get(regex) ?? 0) + change;
    if (count === 0) this.regexUsers.delete(regex);
    else this.regexUsers.set(regex, count);
  }

  /** null: the record is deleted, the member may follow. */
  progressed(id: string, progress: Progress | null): void {
    const member = progress === null ? this.members.get(id) : this.member(id);
    if (member === undefined) return;
    this.#disown(id, member.progress.assigned);
    this.#disown(id, member.progress.revoking);
    member.progress = progress ?? freshProgress;
    this.#own(id, member.progress.assigned);
    this.#own(id, member.progress.revoking);
  }

  resolved(regex: string, topics: ResolvedRegex | null): void {
    this.#subscribed = null;
    if (topics === null) this.regexes.delete(regex);
    else this.regexes.set(regex, topics);
  }

  /** After a load, whose records come in no special order: drops what belongs to no member, and counts anew. */
  settle(): void {
    for (const [id, { subscription }] of [...this.members])
      if (subscription === null) this.members.delete(id);
    for (const id of [...this.targets.keys()]) if (!this.members.has(id)) this.targets.delete(id);
    this.#owners.clear();
    for (const [id, { progress }] of this.members) {
      this.#own(id, progress.assigned);
      this.#own(id, progress.revoking);
    }
  }

  #own(id: string, owned: OwnedPartitions): void {
    for (const [topicId, epochs] of owned) {
      let owners = this.#owners.get(topicId);
      if (owners === undefined) {
        owners = new Map();
        this.#owners.set(topicId, owners);
      }
      for (const partition of epochs.keys()) owners.set(partition, id);
    }
  }

  #disown(id: string, owned: OwnedPartitions): void {
    for (const [topicId, epochs] of owned) {
      const owners = this.#owners.get(topicId);
      if (owners === undefined) continue;
      for (const partition of epochs.keys()) if (owners.get(partition) === id) owners.delete(partition);
      if (owners.size === 0) this.#owners.delete(topicId);
    }
  }

  ownerOf(topicId: string, partition: number): string | undefined {
    return this.#owners.get(topicId)?.get(partition);
  }

  // ── What they amount to ─────────────────────────────────────────────────────────────────────────────────────────

  get state(): ConsumerGroupState {
    if (this.members.size === 0) return consumerGroupStates.empty;
    if (this.epoch > this.assignmentEpoch) return consumerGroupStates.assigning;
    for (const { progress } of this.members.values())
      if (progress.epoch !== this.assignmentEpoch || progress.state !== progressStates.stable)
        return consumerGroupStates.reconciling;
    return consumerGroupStates.stable;
  }

  /** Names, those that regexes stand for included. */
  isSubscribed(topic: string): boolean {
    this.#subscribed ??= this.subscribedTopics(null);
    return this.#subscribed.has(topic);
  }

  /** Names as they would be after a change of one member, or with other results of the regexes. */
  subscribedTopics(
    change: MemberChange | null,
    regexes: ReadonlyMap<string, ResolvedRegex> = this.regexes,
  ): Set<string> {
    const topics = new Set<string>();
    const add = (subscription: Subscription | null): void => {
      for (const topic of subscription?.topics ?? []) topics.add(topic);
      for (const topic of regexes.get(subscription?.regex ?? '')?.topics ?? []) topics.add(topic);
    };
    for (const { id, subscription } of this.members.values()) if (id !== change?.memberId) add(subscription);
    add(change?.subscription ?? null);
    return topics;
  }

  /** Whether a member other than this one subscribes with the regex. */
  usesRegex(regex: string, exceptMember: string): boolean {
    const own = this.members.get(exceptMember)?.subscription?.regex === regex ? 1 : 0;
    return (this.regexUsers.get(regex) ?? 0) > own;
  }

  /** The assignor that most members ask for; the first asked for of several. */
  preferredAssignor(): string {
    const votes = new Map<string, number>();
    let winner = defaultAssignor;
    let most = 0;
    for (const { subscription } of this.members.values()) {
      const name = subscription?.assignor ?? null;
      if (name === null) continue;
      const count = (votes.get(name) ?? 0) + 1;
      votes.set(name, count);
      if (count > most) {
        winner = name;
        most = count;
      }
    }
    return winner;
  }

  /** Whether all members but these speak the classic protocol, and there is one. */
  isClassicWithout(memberId: string): boolean {
    let others = 0;
    for (const { id, subscription } of this.members.values()) {
      if (id === memberId) continue;
      if (subscription?.classic == null) return false;
      others++;
    }
    return others > 0;
  }

  stopTimers(): void {
    for (const member of this.members.values()) {
      member.sessionTimer?.cancel();
      member.stepTimer?.cancel();
      member.sessionTimer = null;
      member.stepTimer = null;
    }
  }
}

/**
 * One streams group (KIP-1071) as its records say, without time or requests. Changed only by streams-records.ts, record by
 * record, at a load and as soon as the log has taken what streams-groups.ts decided; what is no record (offsets of tasks,
 * endpoints' epoch, a wish to shut down) is soft, and begins anew with each load. Owned by the shard that leads the group's
 * `__consumer_offsets` partition.
 *
 *     epoch             grows with every change of members, topology, its topics or the configs that assignments depend on
 *     assignmentEpoch   the epoch that the targets were made for; behind `epoch`, new ones are due
 *     member's epoch    the assignmentEpoch that the member has reached
 *
 * Invariant: `holders` names who has a task in a role, or has been told to give it up and has not yet.
 */
import type { Timer } from '../../../ports/clock.ts';
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { ConfiguredTopology } from './configured-topology.ts';
import type { Endpoint } from './streams-group-api.ts';
import { freshTaskProgress, type TaskProgress, taskStates } from './task-reconcile.ts';
import { type HeldTasks, noTasks, type TaskRole, type Tasks, taskKey, taskRoles } from './tasks.ts';
import { readerOf, requiredTopics, type Topology } from './topology.ts';

/** What a member told of itself. Never changed once made. */
export interface StreamsMetadata {
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly rebalanceTimeoutMs: number;
  readonly topologyEpoch: number;
  readonly processId: string;
  /** Where other members ask it for its state. */
  readonly endpoint: Endpoint | null;
  readonly clientTags: ReadonlyMap<string, string>;
}

export interface StreamsMember {
  readonly id: string;
  /** null only while a load has seen other records of it, and not this one. */
  metadata: StreamsMetadata | null;
  progress: TaskProgress;
  /** Sums of changelog offsets that it has told last, and of their ends, by taskKey. */
  offsets: ReadonlyMap<string, number>;
  endOffsets: ReadonlyMap<string, number>;
  /** Monotonic time at which the session ends unless a call moves it. */
  deadline: number;
  sessionTimer: Timer | null;
  /** Runs while the member is to give tasks up. */
  stepTimer: Timer | null;
}

/** What the group's own record holds. */
export interface StreamsGroupState {
  readonly epoch: number;
  readonly metadataHash: number;
  /** Epoch of the topology that the topics fit; −1 = none. */
  readonly validatedTopologyEpoch: number;
  /** Configs that the targets depend on, as they were, by name. */
  readonly assignmentConfigs: ReadonlyMap<string, string>;
  /** Of descriptions that a plugin keeps in Apache Kafka; carried along. */
  readonly storedDescriptionEpoch: number;
  readonly failedDescriptionEpoch: number;
}

/** Names of StreamsGroupDescribe and ListGroups. */
export const streamsGroupStates = {
  empty: 'Empty',
  notReady: 'NotReady',
  assigning: 'Assigning',
  reconciling: 'Reconciling',
  stable: 'Stable',
} as const;
export type StreamsGroupStateName = (typeof streamsGroupStates)[keyof typeof streamsGroupStates];

/** As long as no record has told them. */
const firstEpoch = 1;

export const noOffsets: ReadonlyMap<string, number> = new Map();

export class StreamsGroup {
  readonly id: string;
  readonly members = new Map<string, StreamsMember>();
  /** Instance id → member id. */
  readonly staticIds = new Map<string, string>();
  readonly targets = new Map<string, Tasks>();
  topology: Topology | null = null;
  /** null: no record has told it yet. */
  stored: StreamsGroupState | null = null;
  assignmentEpoch = firstEpoch;
  /** Wall-clock milliseconds. */
  assignmentTimestamp = 0;

  // Soft: nothing below is in the log.

  /** The topology over the topics of `topicsVersion`. */
  configured: ConfiguredTopology | null = null;
  topicsVersion = -1;
  /** Targets on the way to which tasks warm up, for the assignment epoch that they were made for. */
  refined: { readonly epoch: number; readonly targets: ReadonlyMap<string, Tasks> } | null = null;
  /** Grows when it changes who answers questions about which partitions. */
  endpointEpoch = 0;
  /** Member that asked for the end of the whole application. */
  shutdownBy: string | null = null;
  /** Runs while a group that was empty waits for more members. */
  delayTimer: Timer | null = null;
  readonly #holders = new Map<string, Set<string>>();

  constructor(id: string) {
    this.id = id;
  }

  get epoch(): number {
    return this.stored?.epoch ?? firstEpoch;
  }

  member(id: string): StreamsMember {
    let member = this.members.get(id);
    if (member === undefined) {
      member = {
        id,
        metadata: null,
        progress: freshTaskProgress,
        offsets: noOffsets,
        endOffsets: noOffsets,
        deadline: 0,
        sessionTimer: null,
        stepTimer: null,
      };
      this.members.set(id, member);
    }
    return member;
  }

  /** The member, or why the caller is not it: its instance id belongs to another member id, or nobody has it. */
  find(memberId: string, instanceId: string | null): StreamsMember | number {
    if (instanceId !== null) {
      const owner = this.staticIds.get(instanceId);
      if (owner === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
      if (owner !== memberId) return ErrorCode.FENCED_INSTANCE_ID;
    }
    return this.members.get(memberId) ?? ErrorCode.UNKNOWN_MEMBER_ID;
  }

  targetOf(memberId: string): Tasks {
    return this.targets.get(memberId) ?? noTasks;
  }

  // ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────

  described(id: string, metadata: StreamsMetadata | null): void {
    const before = this.members.get(id);
    const instance = before?.metadata?.instanceId ?? null;
    if (instance !== null && this.staticIds.get(instance) === id) this.staticIds.delete(instance);
    if (metadata !== null) {
      this.member(id).metadata = metadata;
      if (metadata.instanceId !== null) this.staticIds.set(metadata.instanceId, id);
      return;
    }
    if (before === undefined) return;
    this.#release(id, before.progress);
    before.sessionTimer?.cancel();
    before.stepTimer?.cancel();
    this.members.delete(id);
    if (this.members.size === 0) this.shutdownBy = null;
  }

  /** null: the record is deleted, the member may follow. */
  progressed(id: string, progress: TaskProgress | null): void {
    const member = progress === null ? this.members.get(id) : this.member(id);
    if (member === undefined) return;
    this.#release(id, member.progress);
    member.progress = progress ?? freshTaskProgress;
    this.#hold(id, member.progress);
  }

  /** After a load, whose records come in no special order: drops what belongs to no member, and counts anew. */
  settle(): void {
    for (const [id, { metadata }] of [...this.members]) if (metadata === null) this.members.delete(id);
    for (const id of [...this.targets.keys()]) if (!this.members.has(id)) this.targets.delete(id);
    this.#holders.clear();
    for (const [id, { progress }] of this.members) this.#hold(id, progress);
  }

  #hold(id: string, { assigned, revoking }: TaskProgress): void {
    for (const key of [...heldKeys(assigned), ...heldKeys(revoking)]) {
      const holders = this.#holders.get(key);
      if (holders === undefined) this.#holders.set(key, new Set([id]));
      else holders.add(id);
    }
  }

  #release(id: string, { assigned, revoking }: TaskProgress): void {
    for (const key of [...heldKeys(assigned), ...heldKeys(revoking)]) {
      const holders = this.#holders.get(key);
      holders?.delete(id);
      if (holders?.size === 0) this.#holders.delete(key);
    }
  }

  /** Whether a member other than this one has the task in that role: of its process only, or of any. */
  isHeldBesides(member: StreamsMember, role: TaskRole, task: string, inProcess: boolean): boolean {
    for (const id of this.#holders.get(holderKey(role, task)) ?? []) {
      if (id === member.id) continue;
      const sameProcess = this.members.get(id)?.metadata?.processId === member.metadata?.processId;
      if (!inProcess || sameProcess) return true;
    }
    return false;
  }

  // ── What they amount to ─────────────────────────────────────────────────────────────────────────────────────────

  get state(): StreamsGroupStateName {
    if (this.members.size === 0) return streamsGroupStates.empty;
    if (this.topology === null || this.topology.epoch !== this.stored?.validatedTopologyEpoch)
      return streamsGroupStates.notReady;
    if (this.epoch > this.assignmentEpoch) return streamsGroupStates.assigning;
    for (const { progress } of this.members.values())
      if (progress.epoch !== this.assignmentEpoch || progress.state !== taskStates.stable)
        return streamsGroupStates.reconciling;
    return streamsGroupStates.stable;
  }

  /** Offsets of the topic stay while the group consumes it. */
  isSubscribed(topic: string): boolean {
    if (this.members.size === 0 || this.topology === null) return false;
    return readerOf(this.topology, topic) !== undefined;
  }

  get requiredTopics(): ReadonlySet<string> {
    return this.topology === null ? new Set() : requiredTopics(this.topology);
  }

  stopTimers(): void {
    this.delayTimer?.cancel();
    this.delayTimer = null;
    for (const member of this.members.values()) {
      member.sessionTimer?.cancel();
      member.stepTimer?.cancel();
      member.sessionTimer = null;
      member.stepTimer = null;
    }
  }
}

function holderKey(role: TaskRole, task: string): string {
  return `${role} ${task}`;
}

function* heldKeys(held: HeldTasks): Generator<string> {
  for (const role of taskRoles)
    for (const [id, epochs] of held[role])
      for (const partition of epochs.keys()) yield holderKey(role, taskKey(id, partition));
}

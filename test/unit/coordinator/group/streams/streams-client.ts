/**
 * A member of a streams group as Kafka Streams behaves (KIP-1071): it joins with epoch 0 and its topology, gives up before it takes,
 * says what it has when that has changed, tells how far its copies are, drops everything when it is fenced or could not be heard
 * for a session, and says everything again when an answer failed. Its process keeps the state of tasks on its disk. Driven by a
 * test, on virtual time.
 */
import type {
  StreamsDescribeAnswer,
  StreamsHeartbeatAnswer,
  StreamsHeartbeatQuery,
} from '../../../../../src/coordinator/group/streams/streams-group-api.ts';
import {
  type TaskIds,
  type TaskLists,
  type TaskRole,
  taskKey,
  taskRoles,
} from '../../../../../src/coordinator/group/streams/tasks.ts';
import type { Subtopology, Topology } from '../../../../../src/coordinator/group/streams/topology.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { Answer, group, type Rig } from '../fixtures.ts';

export const rebalanceTimeoutMs = 20_000;

export function part(id: string, more: Partial<Subtopology>): Subtopology {
  return {
    subtopologyId: id,
    sourceTopics: [],
    sourceTopicRegex: [],
    stateChangelogTopics: [],
    repartitionSinkTopics: [],
    repartitionSourceTopics: [],
    copartitionGroups: [],
    ...more,
  };
}

export const changelog = (name: string) => ({ name, partitions: 0, replicationFactor: 0, topicConfigs: [] });

/** Reads t, without state. */
export const plain: Topology = { epoch: 0, subtopologies: [part('0', { sourceTopics: ['t'] })] };

export const nothing: TaskLists = { active: [], standby: [], warmup: [] };

/** Sends a heartbeat of version 1; what is not given is unchanged. */
export function beat(on: Rig, query: Partial<StreamsHeartbeatQuery>): Answer<StreamsHeartbeatAnswer> {
  const answer = new Answer<StreamsHeartbeatAnswer>();
  on.shard.streamsHeartbeat(
    {
      groupId: group,
      memberId: 'm',
      memberEpoch: 0,
      endpointEpoch: 0,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: -1,
      topology: null,
      active: null,
      standby: null,
      warmup: null,
      processId: null,
      endpoint: null,
      clientTags: null,
      taskOffsets: null,
      taskEndOffsets: null,
      shutdown: false,
      clientId: 'client',
      clientHost: '/127.0.0.1',
      version: 1,
      ...query,
    },
    answer.done,
  );
  return answer;
}

/** A join with everything that one must bring. */
export function join(
  on: Rig,
  memberId: string,
  query: Partial<StreamsHeartbeatQuery> = {},
): Answer<StreamsHeartbeatAnswer> {
  return beat(on, {
    memberId,
    memberEpoch: 0,
    rebalanceTimeoutMs,
    topology: plain,
    processId: `process of ${memberId}`,
    clientTags: [],
    ...nothing,
    ...query,
  });
}

export function describeStreams(on: Rig, groupId = group): StreamsDescribeAnswer {
  const answer = new Answer<StreamsDescribeAnswer>();
  on.shard.streamsDescribe(groupId, answer.done);
  return answer.value;
}

/** How far the state of tasks is, by process and task; outlives members. */
export class Disks {
  readonly #offsets = new Map<string, Map<string, number>>();
  /** Where every changelog ends. */
  readonly end = 1_000;

  of(processId: string): Map<string, number> {
    let offsets = this.#offsets.get(processId);
    if (offsets === undefined) {
      offsets = new Map();
      this.#offsets.set(processId, offsets);
    }
    return offsets;
  }
}

export class StreamsClient {
  readonly id: string;
  readonly processId: string;
  readonly instanceId: string | null;
  readonly topology: Topology;
  epoch = 0;
  /** taskKey by role. */
  readonly has: Record<TaskRole, Set<string>> = { active: new Set(), standby: new Set(), warmup: new Set() };
  /** Virtual time from which what is to be given up is given up; 0 = nothing is. */
  revokeAt = 0;
  call: Answer<StreamsHeartbeatAnswer> | null = null;
  /** When it was last heard, as far as it can know. */
  heardAt: number;
  #assigned: Record<TaskRole, ReadonlySet<string>> = {
    active: new Set(),
    standby: new Set(),
    warmup: new Set(),
  };
  #sentAt = 0;
  /** It has to say what it has: that has changed, or the last answer failed. */
  #tells = true;
  readonly #on: Rig;
  readonly #disks: Disks;

  constructor(
    on: Rig,
    id: string,
    processId: string,
    instanceId: string | null,
    topology: Topology,
    disks: Disks,
  ) {
    this.#on = on;
    this.id = id;
    this.processId = processId;
    this.instanceId = instanceId;
    this.topology = topology;
    this.#disks = disks;
    this.heardAt = on.clock.monotonic();
  }

  beat(): void {
    if (this.call !== null) return;
    const { id: memberId, epoch: memberEpoch, instanceId } = this;
    this.#sentAt = this.#on.clock.monotonic();
    const offsets = this.#progress();
    if (memberEpoch === 0) {
      const { topology, processId } = this;
      this.call = join(this.#on, memberId, { instanceId, topology, processId, ...offsets });
    } else {
      const has = this.#tells ? this.#lists() : null;
      this.call = beat(this.#on, { memberId, memberEpoch, instanceId, ...has, ...offsets });
    }
    this.#tells = false;
  }

  /** Copies catch up from beat to beat, and what runs is at the end. */
  #progress() {
    const disk = this.#disks.of(this.processId);
    const { end } = this.#disks;
    for (const key of this.has.active) disk.set(key, end);
    for (const role of ['standby', 'warmup'] as const)
      for (const key of this.has[role]) disk.set(key, Math.min(end, (disk.get(key) ?? 0) + 300));
    const list = (offsetOf: (key: string) => number) =>
      [...disk.keys()].map((key) => ({ ...idOf(key), offset: offsetOf(key) }));
    return { taskOffsets: list((key) => disk.get(key)!), taskEndOffsets: list(() => end) };
  }

  #lists(): TaskLists {
    return {
      active: listOf(this.has.active),
      standby: listOf(this.has.standby),
      warmup: listOf(this.has.warmup),
    };
  }

  /** Takes the answer, if one has come. @param delayMs how long giving up takes */
  collect(delayMs: number): StreamsHeartbeatAnswer | null {
    if (this.call === null || !this.call.given) return null;
    const answer = this.call.value;
    this.call = null;
    switch (answer.errorCode) {
      case ErrorCode.NONE:
        this.heardAt = this.#sentAt;
        this.epoch = answer.memberEpoch;
        if (answer.tasks !== null) this.#assign(answer.tasks, delayMs);
        break;
      case ErrorCode.FENCED_MEMBER_EPOCH:
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.GROUP_ID_NOT_FOUND:
        this.drop();
        break;
      default:
        this.#tells = true;
    }
    return answer;
  }

  #assign({ active, standby, warmup }: TaskLists, delayMs: number): void {
    this.#assigned = { active: keysOf(active), standby: keysOf(standby), warmup: keysOf(warmup) };
    const gone = taskRoles.some((role) => [...this.has[role]].some((key) => !this.#assigned[role].has(key)));
    this.revokeAt = gone ? this.#on.clock.monotonic() + delayMs : 0;
    if (!gone) this.#take();
  }

  #take(): void {
    for (const role of taskRoles) {
      for (const key of this.#assigned[role]) {
        if (this.has[role].has(key)) continue;
        this.has[role].add(key);
        this.#tells = true;
      }
    }
  }

  /** Lets go of what it was told to give up, when it is ready, and of everything when nobody can have heard it. */
  live(sessionMs: number): void {
    const now = this.#on.clock.monotonic();
    if (now - this.heardAt >= sessionMs && taskRoles.some((role) => this.has[role].size > 0)) this.drop();
    if (this.revokeAt === 0 || now < this.revokeAt) return;
    this.revokeAt = 0;
    for (const role of taskRoles)
      for (const key of [...this.has[role]]) if (!this.#assigned[role].has(key)) this.has[role].delete(key);
    this.#tells = true;
    this.#take();
  }

  drop(): void {
    for (const role of taskRoles) this.has[role].clear();
    this.#assigned = { active: new Set(), standby: new Set(), warmup: new Set() };
    this.revokeAt = 0;
    this.epoch = 0;
    this.#tells = true;
  }

  /** @param epoch −1 for good, −2 for a while */
  leave(epoch: number): void {
    for (const role of taskRoles) this.has[role].clear();
    beat(this.#on, { memberId: this.id, instanceId: this.instanceId, memberEpoch: epoch });
  }
}

export function keysOf(lists: readonly TaskIds[]): ReadonlySet<string> {
  return new Set(
    lists.flatMap(({ subtopologyId, partitions }) => partitions.map((each) => taskKey(subtopologyId, each))),
  );
}

function idOf(key: string): { subtopologyId: string; partition: number } {
  const end = key.indexOf('_');
  return { subtopologyId: key.slice(end + 1), partition: Number(key.slice(0, end)) };
}

function listOf(keys: ReadonlySet<string>): TaskIds[] {
  const lists = new Map<string, number[]>();
  for (const key of keys) {
    const { subtopologyId, partition } = idOf(key);
    lists.set(subtopologyId, [...(lists.get(subtopologyId) ?? []), partition]);
  }
  return [...lists].map(([subtopologyId, partitions]) => ({ subtopologyId, partitions }));
}

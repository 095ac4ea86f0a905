/**
 * A group coordinator on virtual time over an offsets log in memory whose writes become durable when the test says so.
 */
import assert from 'node:assert/strict';
import type {
  CommitQuery,
  FetchAnswer,
  JoinAnswer,
  JoinQuery,
  LeaveAnswer,
  LeavingMember,
  SyncAnswer,
  SyncQuery,
} from '../../../../src/coordinator/group/group-api.ts';
import { GroupCoordinatorShard } from '../../../../src/coordinator/group/group-coordinator.ts';
import type { GroupTopics } from '../../../../src/coordinator/group/group-services.ts';
import {
  type ConsumerLimits,
  defaultConsumerLimits,
  defaultGroupSettings,
  type GroupSettings,
} from '../../../../src/coordinator/group/group-settings.ts';
import type { ShareGroupPorts } from '../../../../src/coordinator/group/share/share-group-api.ts';
import {
  defaultStreamsLimits,
  type StreamsLimits,
} from '../../../../src/coordinator/group/streams/streams-group-api.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { MemoryCoordinatorLog } from '../../../support/coordinator-log.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import { noShareGroups } from './share-ports.ts';

/** Topics that are there for good under these ids; every other name is one of them, too. */
export const topicIds: Readonly<Record<string, string>> = {
  t: 'AAAAAAAAAAAAAAAAAAAAAQ',
  u: 'AAAAAAAAAAAAAAAAAAAAAg',
};

/** The answer of one call, and the proof that it came once. */
export class Answer<T> {
  #answers: T[] = [];
  readonly done = (value: T): void => {
    this.#answers.push(value);
    assert.equal(this.#answers.length, 1, 'a call was answered twice');
  };

  get given(): boolean {
    return this.#answers.length > 0;
  }

  get value(): T {
    assert.ok(this.given, 'the call is not answered yet');
    return this.#answers[0] as T;
  }
}

export interface Rig {
  readonly clock: VirtualClock;
  readonly log: MemoryCoordinatorLog;
  readonly shard: GroupCoordinatorShard;
  readonly settings: GroupSettings;
  /** Ids by name; a test deletes a topic by changing them and telling the shard. */
  readonly topics: Map<string, string>;
  readonly metadata: TestTopics;
  /** Configs of all groups of the consumer protocol; a test may change them. */
  limits: ConsumerLimits;
  /** Configs of all streams groups; a test may change them. */
  streamsLimits: StreamsLimits;
  join(query?: Partial<JoinQuery>): Answer<JoinAnswer>;
  sync(query: Partial<SyncQuery>): Answer<SyncAnswer>;
  heartbeat(memberId: string, generation: number, instanceId?: string | null): number;
  leave(members: readonly LeavingMember[]): LeaveAnswer;
  commit(query: Partial<CommitQuery>): Answer<readonly number[]>;
  fetch(): FetchAnswer;
  describe(): { state: string; members: number };
  tick(ms?: number): void;
}

export const group = 'orders';

export const offsetOf = (topic: string, partition: number, offset: number) => ({
  topic,
  topicId: null,
  partition,
  offset,
  leaderEpoch: -1,
  metadata: '',
});

/** Bytes of a consumer subscription v0: version, topics, null user data. */
export function subscription(...topics: string[]): Buffer {
  const names = topics.map((topic) => {
    const name = Buffer.alloc(2 + topic.length);
    name.writeInt16BE(topic.length, 0);
    name.write(topic, 2);
    return name;
  });
  const head = Buffer.alloc(6);
  head.writeInt32BE(topics.length, 2);
  return Buffer.concat([head, ...names, Buffer.from([255, 255, 255, 255])]);
}

/** Partitions of topics by id; those that are not named have one. */
export class TestTopics implements GroupTopics {
  version = 0;
  readonly partitions = new Map<string, number>();
  readonly ids: Map<string, string>;

  constructor(ids: Map<string, string>) {
    this.ids = ids;
  }

  idOf(name: string): string | null {
    return this.ids.get(name) ?? (name.startsWith('gone') ? null : topicIds.t!);
  }

  nameOf(topicId: string): string | null {
    return [...this.ids].find(([, id]) => id === topicId)?.[0] ?? null;
  }

  /** For commits to whatever partition. */
  partitionsOf(): number {
    return 10;
  }

  partitionCount(topicId: string): number {
    if (this.nameOf(topicId) === null) return 0;
    return this.partitions.get(topicId) ?? 1;
  }

  names(): Iterable<string> {
    return this.ids.keys();
  }

  /** Makes a topic, or gives it more partitions. */
  grow(name: string, id: string, partitions: number): void {
    this.ids.set(name, id);
    this.partitions.set(id, partitions);
    this.version++;
  }

  drop(name: string): void {
    this.ids.delete(name);
    this.version++;
  }
}

export async function rig(
  overrides: Partial<GroupSettings> & {
    readonly offsetsPartitions?: number;
    readonly share?: ShareGroupPorts;
  } = {},
  seed = 1,
  earlier?: MemoryCoordinatorLog,
): Promise<Rig> {
  const clock = new VirtualClock();
  const log = new MemoryCoordinatorLog(clock);
  for (const [partition, records] of earlier?.durable ?? []) log.durable.set(partition, [...records]);
  for (const [partition, start] of earlier?.starts ?? []) log.starts.set(partition, start);
  const { offsetsPartitions = 4, share = noShareGroups, ...changed } = overrides;
  const settings: GroupSettings = { ...defaultGroupSettings, initialRebalanceDelayMs: 0, ...changed };
  const topics = new Map(Object.entries(topicIds));
  const metadata = new TestTopics(topics);
  const given = { limits: defaultConsumerLimits, streams: defaultStreamsLimits };
  const shard = new GroupCoordinatorShard({
    clock,
    random: new SeededRandom(seed),
    logger: silentLogger,
    settings,
    log,
    topics: metadata,
    limitsOf: () => given.limits,
    partitions: () => offsetsPartitions,
    share,
    streamsLimitsOf: () => given.streams,
  });
  for (let partition = 0; partition < offsetsPartitions; partition++) await shard.load(partition);
  return {
    clock,
    log,
    shard,
    settings,
    topics,
    metadata,
    get limits() {
      return given.limits;
    },
    set limits(limits) {
      given.limits = limits;
    },
    get streamsLimits() {
      return given.streams;
    },
    set streamsLimits(limits) {
      given.streams = limits;
    },
    join(query = {}) {
      const answer = new Answer<JoinAnswer>();
      shard.join(
        {
          groupId: group,
          memberId: '',
          instanceId: null,
          memberIdRequired: false,
          canSkipAssignment: true,
          clientId: 'client',
          clientHost: '/127.0.0.1',
          sessionTimeoutMs: 10_000,
          rebalanceTimeoutMs: 60_000,
          protocolType: 'consumer',
          protocols: [{ name: 'range', metadata: subscription('t') }],
          ...query,
        },
        answer.done,
      );
      return answer;
    },
    sync(query) {
      const answer = new Answer<SyncAnswer>();
      shard.sync(
        {
          groupId: group,
          generation: 1,
          memberId: '',
          instanceId: null,
          protocolType: null,
          protocolName: null,
          assignments: [],
          ...query,
        },
        answer.done,
      );
      return answer;
    },
    heartbeat(memberId, generation, instanceId = null) {
      const answer = new Answer<number>();
      shard.heartbeat({ groupId: group, memberId, generation, instanceId }, answer.done);
      return answer.value;
    },
    leave(members) {
      const answer = new Answer<LeaveAnswer>();
      shard.leave(group, members, answer.done);
      return answer.value;
    },
    commit(query) {
      const answer = new Answer<readonly number[]>();
      shard.commit(
        {
          groupId: group,
          generation: -1,
          memberId: '',
          instanceId: null,
          unknownGroupCode: 69,
          retentionMs: -1,
          offsets: [],
          ...query,
        },
        answer.done,
      );
      return answer;
    },
    fetch() {
      const answer = new Answer<FetchAnswer>();
      shard.fetch(group, null, answer.done);
      return answer.value;
    },
    describe() {
      let described = { state: '', members: 0 };
      shard.describe(group, ({ state, members }) => {
        described = { state, members: members.length };
      });
      return described;
    },
    tick(ms = 0) {
      clock.advance(ms);
    },
  };
}

/** Brings the given number of members into one Stable generation and names them, the leader first. */
export function stableGroup(on: Rig, size: number, query: Partial<JoinQuery> = {}): string[] {
  const joins = [on.join(query)];
  on.tick(on.settings.initialRebalanceDelayMs);
  const first = joins[0]!.value;
  let generation = first.generation;
  let leader = first.memberId;
  const ids = [leader];
  while (ids.length < size) {
    const newcomer = on.join(query);
    const again = ids.map((memberId) => on.join({ ...query, memberId }));
    on.tick();
    generation = newcomer.value.generation;
    leader = again[0]!.value.leaderId;
    ids.push(newcomer.value.memberId);
  }
  for (const memberId of ids) {
    const assignments =
      memberId === leader
        ? ids.map((id) => ({ memberId: id, assignment: Buffer.from(`part of ${id}`) }))
        : [];
    on.sync({ memberId, generation, assignments });
  }
  on.tick();
  assert.deepEqual(on.describe(), { state: 'Stable', members: size });
  return ids;
}

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
import {
  defaultGroupSettings,
  type GroupSettings,
} from '../../../../src/coordinator/group/group-settings.ts';
import type { OffsetsLog, OffsetsRecord } from '../../../../src/coordinator/group/offsets-log.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

interface HeldAppend {
  readonly partition: number;
  readonly records: readonly OffsetsRecord[];
  readonly callback: (error: Error | null, baseOffset: number) => void;
}

/** Appends wait in `held` while `hold` is set; else they are durable in a later turn of the clock. */
export class MemoryOffsetsLog implements OffsetsLog {
  hold = false;
  loadError: Error | null = null;
  loads = 0;
  trims = 0;
  readonly held: HeldAppend[] = [];
  readonly durable = new Map<number, OffsetsRecord[]>();
  /** Log starts that are not 0. */
  readonly starts = new Map<number, number>();
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  append(
    partition: number,
    records: readonly OffsetsRecord[],
    callback: (error: Error | null, baseOffset: number) => void,
  ): void {
    this.held.push({ partition, records, callback });
    if (!this.hold) this.#clock.soon(() => this.release(1));
  }

  /** Makes the oldest waiting appends durable. */
  release(count = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < count && this.held.length > 0; i++) {
      const { partition, records, callback } = this.held.shift()!;
      const log = this.durable.get(partition) ?? [];
      this.durable.set(partition, log);
      const baseOffset = log.length;
      log.push(...records);
      callback(null, baseOffset);
    }
  }

  trim(partition: number, offset: number): void {
    assert.ok(offset >= (this.starts.get(partition) ?? 0) && offset <= this.durable.get(partition)!.length);
    this.starts.set(partition, offset);
    this.trims++;
  }

  /** Fails the oldest waiting append, written all the same or not. */
  fail(written: boolean): void {
    const { partition, records, callback } = this.held.shift()!;
    if (written) this.durable.set(partition, [...(this.durable.get(partition) ?? []), ...records]);
    callback(new Error('the log is gone'), -1);
  }

  async load(
    partition: number,
    onRecord: (key: Buffer, value: Buffer | null, offset: number) => void,
  ): Promise<void> {
    this.loads++;
    if (this.loadError !== null) throw this.loadError;
    const start = this.starts.get(partition) ?? 0;
    for (const [offset, { key, value }] of (this.durable.get(partition) ?? []).entries()) {
      if (offset < start) continue;
      onRecord(key, value, offset);
    }
  }
}

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
  readonly log: MemoryOffsetsLog;
  readonly shard: GroupCoordinatorShard;
  readonly settings: GroupSettings;
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

export async function rig(
  overrides: Partial<GroupSettings> = {},
  seed = 1,
  earlier?: MemoryOffsetsLog,
): Promise<Rig> {
  const clock = new VirtualClock();
  const log = new MemoryOffsetsLog(clock);
  for (const [partition, records] of earlier?.durable ?? []) log.durable.set(partition, [...records]);
  for (const [partition, start] of earlier?.starts ?? []) log.starts.set(partition, start);
  const settings: GroupSettings = {
    ...defaultGroupSettings,
    offsetsPartitions: 4,
    initialRebalanceDelayMs: 0,
    ...overrides,
  };
  const shard = new GroupCoordinatorShard({
    clock,
    random: new SeededRandom(seed),
    logger: silentLogger,
    settings,
    log,
  });
  for (let partition = 0; partition < settings.offsetsPartitions; partition++) await shard.load(partition);
  return {
    clock,
    log,
    shard,
    settings,
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

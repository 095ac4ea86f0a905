/**
 * Share groups of one partition on virtual time: a log in memory whose writes become durable when the test says so, topics that
 * the test makes, and a share coordinator that answers when the test lets it.
 */
import assert from 'node:assert/strict';
import type {
  ShareGroupSettings,
  ShareHeartbeatAnswer,
  ShareHeartbeatQuery,
} from '../../../../../src/coordinator/group/share/share-group-api.ts';
import { readShareRecord } from '../../../../../src/coordinator/group/share/share-group-records.ts';
import { ShareGroups } from '../../../../../src/coordinator/group/share/share-groups.ts';
import type { CoordinatorRecord } from '../../../../../src/coordinator/runtime/coordinator-log.ts';
import type { PartitionContext } from '../../../../../src/coordinator/runtime/coordinator-state.ts';
import { silentLogger } from '../../../../../src/ports/logger.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { SeededRandom } from '../../../../support/seeded-random.ts';
import { VirtualClock } from '../../../../support/virtual-clock.ts';

export const group = 'shared';
export const limits: ShareGroupSettings = {
  sessionTimeoutMs: 45_000,
  heartbeatIntervalMs: 5_000,
  assignmentIntervalMs: 1_000,
  membersMax: 3,
};

export function topicIdOf(number: number): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32BE(number + 1, 12);
  return bytes.toString('base64url');
}

/** A call to the share coordinator. */
export interface StateCall {
  readonly kind: 'initialize' | 'delete';
  /** Topic id and partition, joined. */
  readonly place: string;
  readonly stateEpoch: number;
  readonly startOffset: number;
  readonly answer: (error: number) => void;
}

export class ShareBed {
  readonly clock = new VirtualClock();
  readonly topics = new Map<string, { readonly topicId: string; readonly partitions: number }>();
  /** What was written, durable or not. */
  readonly log: CoordinatorRecord[] = [];
  /** Calls of the share coordinator that are not answered yet; those made while `answers` is set are answered with it. */
  readonly calls: StateCall[] = [];
  answers: number | null = ErrorCode.NONE;
  /** Of every call ever. */
  readonly called: Omit<StateCall, 'answer'>[] = [];
  /** The log's answer to writes; 0 takes them. */
  refuses = 0;
  /** Writes become durable at once. */
  durable = true;
  hasRoom = true;
  forgotten = 0;
  groups: ShareGroups;
  #pending: ((error: number) => void)[] = [];
  #life = { closed: false };

  constructor() {
    this.groups = this.#make();
    this.groups.started();
  }

  #make(): ShareGroups {
    const life = { closed: false };
    this.#life = life;
    const write = (records: readonly CoordinatorRecord[], done: (error: number) => void): void => {
      if (life.closed) return done(ErrorCode.NOT_COORDINATOR);
      if (records.length > 0 && this.refuses !== 0) return done(this.refuses);
      for (const { key, value } of records) {
        this.log.push({ key, value });
        this.groups.replay(readShareRecord(key, value)!);
      }
      if (this.durable) done(ErrorCode.NONE);
      else this.#pending.push((error) => done(life.closed ? ErrorCode.NOT_COORDINATOR : error));
    };
    const call = (kind: StateCall['kind'], place: string, rest: Omit<StateCall, 'kind' | 'place'>): void => {
      const { stateEpoch, startOffset } = rest;
      this.called.push({ kind, place, stateEpoch, startOffset });
      if (this.answers === null) this.calls.push({ kind, place, ...rest });
      else rest.answer(this.answers);
    };
    const context: Partial<PartitionContext> = {
      clock: this.clock,
      random: new SeededRandom(1),
      logger: silentLogger,
      get closed() {
        return life.closed;
      },
      hasRoom: () => this.hasRoom,
      write,
      read: (done) => write([], done),
    };
    return new ShareGroups(context as PartitionContext, {
      settings: () => limits,
      topic: (name) => this.topics.get(name) ?? null,
      initialize: ({ groupId, topicId, partition }, stateEpoch, startOffset, answer) => {
        assert.equal(groupId, group);
        call('initialize', `${topicId}/${partition}`, { stateEpoch, startOffset, answer });
      },
      delete: ({ topicId, partition }, answer) =>
        call('delete', `${topicId}/${partition}`, { stateEpoch: 0, startOffset: 0, answer }),
      forget: () => this.forgotten++,
    });
  }

  /** What was written becomes durable. */
  settle(error = 0): void {
    for (let some = this.#pending.splice(0); some.length > 0; some = this.#pending.splice(0))
      for (const done of some) done(error);
  }

  /** Another life over these records. */
  restart(records: readonly CoordinatorRecord[] = this.log): void {
    const kept = [...records];
    this.#life.closed = true;
    this.groups.close();
    this.settle();
    this.groups = this.#make();
    for (const { key, value } of kept) this.groups.replay(readShareRecord(key, value)!);
    this.groups.started();
  }

  heartbeat(query: Partial<ShareHeartbeatQuery> = {}): { value: ShareHeartbeatAnswer | null } {
    const answer: { value: ShareHeartbeatAnswer | null } = { value: null };
    const full = {
      groupId: group,
      memberId: 'm',
      memberEpoch: 0,
      rackId: null,
      clientId: 'client',
      clientHost: '/here',
      topics: null,
      ...query,
    };
    this.groups.heartbeat(full, (value) => {
      assert.equal(answer.value, null, 'a call was answered twice');
      answer.value = value;
    });
    return answer;
  }

  join(memberId: string, topics: readonly string[]): { value: ShareHeartbeatAnswer | null } {
    return this.heartbeat({ memberId, topics });
  }
}

/** Topic id and partition, joined, ascending. */
export function placesOf(
  parts: readonly { readonly topicId: string; readonly partitions: readonly number[] }[] | null,
): string[] | null {
  return (
    parts?.flatMap(({ topicId, partitions }) => partitions.map((one) => `${topicId}/${one}`)).sort() ?? null
  );
}

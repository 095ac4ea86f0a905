/**
 * A member of a consumer group as clients behave (KIP-848): it joins with epoch 0, gives up before it takes, says what it owns
 * when that has changed, drops everything when it is fenced or could not be heard for a session, and sends everything again
 * when an answer failed. Driven by a test, on virtual time.
 */
import type { TopicPartitionList } from '../../../../../src/coordinator/group/consumer/assignment.ts';
import type {
  ConsumerHeartbeatAnswer,
  ConsumerHeartbeatQuery,
} from '../../../../../src/coordinator/group/group-api.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { Answer, group, type Rig } from '../fixtures.ts';

export interface Wish {
  readonly topics: readonly string[] | null;
  readonly regex: string | null;
}

export const rebalanceTimeoutMs = 20_000;

/** Sends a heartbeat of version 1; what is not given is unchanged. */
export function beat(on: Rig, query: Partial<ConsumerHeartbeatQuery>): Answer<ConsumerHeartbeatAnswer> {
  const answer = new Answer<ConsumerHeartbeatAnswer>();
  on.shard.consumerHeartbeat(
    {
      groupId: group,
      memberId: 'm',
      memberEpoch: 0,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: -1,
      topics: null,
      regex: null,
      assignor: null,
      owned: null,
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
  query: Partial<ConsumerHeartbeatQuery> = {},
): Answer<ConsumerHeartbeatAnswer> {
  return beat(on, { memberId, memberEpoch: 0, rebalanceTimeoutMs, topics: ['t'], owned: [], ...query });
}

const keysOf = (lists: readonly TopicPartitionList[]): string[] =>
  lists.flatMap(({ topicId, partitions }) => partitions.map((partition) => `${topicId}/${partition}`));

export class MemberClient {
  readonly id: string;
  readonly instanceId: string | null;
  epoch = 0;
  wish: Wish;
  /** Topic id and partition, joined. */
  readonly owned = new Set<string>();
  /** What it was told to have. */
  assigned: readonly string[] = [];
  /** Virtual time from which what is to be given up is given up; 0 = nothing is. */
  revokeAt = 0;
  call: Answer<ConsumerHeartbeatAnswer> | null = null;
  /** When it was last heard, as far as it can know. */
  heardAt: number;
  #sentAt = 0;
  /** It must say everything: its first call, or the last answer failed. */
  #full = true;
  #ownedChanged = false;
  readonly #on: Rig;

  constructor(on: Rig, id: string, instanceId: string | null, wish: Wish) {
    this.#on = on;
    this.id = id;
    this.instanceId = instanceId;
    this.wish = wish;
    this.heardAt = on.clock.monotonic();
  }

  /** Next subscription; sent with the next heartbeat. */
  want(wish: Wish): void {
    this.wish = wish;
    this.#full = true;
  }

  beat(): void {
    if (this.call !== null) return;
    const joining = this.epoch === 0;
    const full = this.#full || joining;
    this.#sentAt = this.#on.clock.monotonic();
    const tellOwned = full || this.#ownedChanged;
    this.call = beat(this.#on, {
      memberId: this.id,
      memberEpoch: this.epoch,
      instanceId: this.instanceId,
      rebalanceTimeoutMs: full ? rebalanceTimeoutMs : -1,
      topics: full ? (this.wish.topics ?? []) : null,
      regex: full ? (this.wish.regex ?? '') : null,
      owned: joining ? [] : tellOwned ? this.#lists() : null,
    });
    this.#ownedChanged = false;
    this.#full = false;
  }

  #lists(): TopicPartitionList[] {
    const topics = new Map<string, number[]>();
    for (const key of this.owned) {
      const at = key.lastIndexOf('/');
      const topicId = key.slice(0, at);
      topics.set(topicId, [...(topics.get(topicId) ?? []), Number(key.slice(at + 1))]);
    }
    return [...topics].map(([topicId, partitions]) => ({ topicId, partitions }));
  }

  /** Takes the answer, if one has come. @param delayMs how long giving up takes */
  collect(delayMs: number): ConsumerHeartbeatAnswer | null {
    if (this.call === null || !this.call.given) return null;
    const answer = this.call.value;
    this.call = null;
    switch (answer.errorCode) {
      case ErrorCode.NONE:
        this.heardAt = this.#sentAt;
        this.epoch = answer.memberEpoch;
        if (answer.assignment !== null) this.#assign(keysOf(answer.assignment), delayMs);
        break;
      case ErrorCode.FENCED_MEMBER_EPOCH:
      case ErrorCode.UNKNOWN_MEMBER_ID:
      case ErrorCode.GROUP_ID_NOT_FOUND:
        this.drop();
        break;
      default:
        // To be tried again, with everything.
        this.#full = true;
    }
    return answer;
  }

  #assign(keys: readonly string[], delayMs: number): void {
    this.assigned = keys;
    const gone = [...this.owned].some((key) => !keys.includes(key));
    this.revokeAt = gone ? this.#on.clock.monotonic() + delayMs : 0;
    if (!gone) this.#take();
  }

  #take(): void {
    for (const key of this.assigned) {
      if (this.owned.has(key)) continue;
      this.owned.add(key);
      this.#ownedChanged = true;
    }
  }

  /** Lets go of what it was told to give up, when it is ready, and of everything when nobody can have heard it. */
  live(sessionMs: number): void {
    const now = this.#on.clock.monotonic();
    if (now - this.heardAt >= sessionMs && this.owned.size > 0) {
      this.owned.clear();
      this.assigned = [];
      this.revokeAt = 0;
      this.#full = true;
      this.epoch = 0;
    }
    if (this.revokeAt === 0 || now < this.revokeAt) return;
    this.revokeAt = 0;
    for (const key of [...this.owned]) if (!this.assigned.includes(key)) this.owned.delete(key);
    this.#ownedChanged = true;
    this.#take();
  }

  get settled(): boolean {
    return this.call === null && this.revokeAt === 0 && this.epoch > 0;
  }

  drop(): void {
    this.owned.clear();
    this.assigned = [];
    this.revokeAt = 0;
    this.epoch = 0;
    this.#full = true;
  }

  /** @param epoch −1 for good, −2 for a while */
  leave(epoch: number): void {
    this.owned.clear();
    beat(this.#on, { memberId: this.id, instanceId: this.instanceId, memberEpoch: epoch });
  }
}

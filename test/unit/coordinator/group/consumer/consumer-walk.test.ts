/**
 * Random walks of consumer groups: members come, go, fall silent, take their time to give up, change what they want; topics
 * come and grow; the log is slow, refuses, fails; the coordinator moves. At every step no two clients have a partition, a
 * load tells what was, and in the end, after quiet, every partition that somebody wants is owned once.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConsumerDescribeAnswer } from '../../../../../src/coordinator/group/group-api.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { SeededRandom } from '../../../../support/seeded-random.ts';
import { Answer, group, type Rig, rig } from '../fixtures.ts';
import { MemberClient, rebalanceTimeoutMs, type Wish } from './member-client.ts';

const tally = {
  given: 0,
  fenced: 0,
  revoked: 0,
  moves: 0,
  failures: 0,
  refusals: 0,
  takeOvers: 0,
  regexes: 0,
};
const limits = { sessionTimeoutMs: 12_000, heartbeatIntervalMs: 1_000, assignmentIntervalMs: 1_000 };
const stepsMax = 300;
const wishes: readonly Wish[] = [
  { topics: ['t'], regex: null },
  { topics: ['t', 'u'], regex: null },
  { topics: ['u', 'w1'], regex: null },
  { topics: null, regex: 'w[0-9]+' },
  { topics: ['t'], regex: '(u|w.)' },
];

function shown(on: Rig): ConsumerDescribeAnswer {
  const answer = new Answer<ConsumerDescribeAnswer>();
  on.shard.consumerDescribe(group, answer.done);
  return answer.value;
}

class Walk {
  readonly #random: SeededRandom;
  readonly #on: Rig;
  #clients: MemberClient[] = [];
  #nextId = 0;
  #topics = 0;

  constructor(on: Rig, random: SeededRandom) {
    this.#on = on;
    this.#random = random;
  }

  async run(): Promise<void> {
    for (let i = 0; i < stepsMax; i++) {
      await this.#step();
      await this.#settle();
    }
    await this.#finish();
  }

  async #step(): Promise<void> {
    const on = this.#on;
    const random = this.#random;
    if (random.chance(0.2)) on.log.refusal = 0;
    const client = this.#clients.length > 0 ? random.pick(this.#clients) : undefined;
    const dice = random.below(100);
    if (dice < 6 && this.#clients.length < 6) this.#enter();
    else if (dice < 50) for (const each of this.#clients) each.beat();
    else if (dice < 53 && client !== undefined)
      this.#clients = this.#clients.filter((each) => each !== client);
    else if (dice < 56 && client !== undefined) {
      client.leave(client.instanceId !== null && random.chance(0.7) ? -2 : -1);
      this.#clients = this.#clients.filter((each) => each !== client);
    } else if (dice < 60 && client !== undefined) client.want(random.pick(wishes));
    else if (dice < 62) on.metadata.grow('t', on.topics.get('t')!, 1 + random.below(8));
    else if (dice < 64) {
      const name = `w${this.#topics++}`;
      on.metadata.grow(name, `${name}AAAAAAAAAAAAAAAAAAAA`.slice(0, 22), 1 + random.below(4));
    } else if (dice < 65 && on.topics.has('w0') && random.chance(0.3)) on.metadata.drop('w0');
    else if (dice < 85) on.tick(random.below(2_500));
    else if (dice < 87) on.tick(random.below(15_000));
    else if (dice < 91) on.log.release(1 + random.below(3));
    else if (dice < 93) on.log.hold = !on.log.hold;
    else if (dice < 94 && on.log.held.length > 0) {
      tally.failures++;
      on.log.fail(random.chance(0.5));
    } else if (dice < 97) await this.#move();
    else if (dice < 99) {
      tally.refusals++;
      on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    }
  }

  #enter(): void {
    const random = this.#random;
    const instanceId = random.chance(0.3) ? `pod-${random.below(2)}` : null;
    if (instanceId !== null && this.#clients.some((client) => client.instanceId === instanceId)) return;
    this.#clients.push(new MemberClient(this.#on, `m${this.#nextId++}`, instanceId, random.pick(wishes)));
  }

  async #settle(): Promise<void> {
    const on = this.#on;
    if (!on.log.hold) on.log.release();
    await on.clock.settle();
    for (const client of [...this.#clients]) {
      const answer = client.collect(
        this.#random.chance(0.5) ? 0 : this.#random.below(rebalanceTimeoutMs / 2),
      );
      if (answer?.errorCode === ErrorCode.FENCED_INSTANCE_ID)
        this.#clients = this.#clients.filter((each) => each !== client);
      if (answer !== null && client.epoch === 0) tally.fenced++;
      if (answer?.errorCode === ErrorCode.NONE && (answer.assignment?.length ?? 0) > 0) tally.given++;
      if (client.revokeAt > 0) tally.revoked++;
      if (client.instanceId !== null && client.epoch > 0) tally.takeOvers++;
      if (client.wish.regex !== null && client.owned.size > 0) tally.regexes++;
      client.live(limits.sessionTimeoutMs);
    }
    this.#checkOwners();
  }

  /** No partition is in two hands. */
  #checkOwners(): Map<string, string> {
    const owners = new Map<string, string>();
    for (const { id, owned } of this.#clients) {
      for (const key of owned) {
        assert.equal(owners.get(key), undefined, `${key} is with ${id} and ${owners.get(key)}`);
        owners.set(key, id);
      }
    }
    return owners;
  }

  async #move(): Promise<void> {
    const on = this.#on;
    tally.moves++;
    on.log.release();
    await on.clock.settle();
    // What a timer did meanwhile is on its way; a log that refuses keeps it from going.
    if (on.log.held.length > 0) return;
    const before = shown(on);
    const partition = on.shard.partitionOf(group);
    on.shard.unload(partition);
    on.log.release();
    await on.shard.load(partition);
    assert.deepEqual(sorted(shown(on)), sorted(before), 'a load tells something else');
  }

  /** Everybody is heard and nothing is in the way: each partition that somebody wants is owned once. */
  async #finish(): Promise<void> {
    const on = this.#on;
    on.log.hold = false;
    on.log.refusal = 0;
    on.log.release();
    await on.clock.settle();
    for (let i = 0; i < 60; i++) {
      for (const client of this.#clients) client.beat();
      await this.#settle();
      on.tick(limits.heartbeatIntervalMs);
      for (const client of this.#clients) client.live(limits.sessionTimeoutMs);
    }
    await this.#settle();
    const owners = this.#checkOwners();
    const wanted = new Set<string>();
    for (const { wish } of this.#clients) {
      for (const name of on.metadata.names()) {
        const matches = wish.regex !== null && new RegExp(`^(?:${wish.regex})$`).test(name);
        if (!matches && wish.topics?.includes(name) !== true) continue;
        const topicId = on.topics.get(name)!;
        for (let p = 0; p < on.metadata.partitionCount(topicId); p++) wanted.add(`${topicId}/${p}`);
      }
    }
    assert.deepEqual(
      [...owners.keys()].sort(),
      [...wanted].sort(),
      'after quiet every partition is owned once',
    );
    const { state, members } = shown(on);
    if (this.#clients.length > 0) assert.equal(state, 'Stable');
    const left = members.filter(({ memberId }) => !this.#clients.some(({ id }) => id === memberId));
    assert.deepEqual(left, [], 'nobody is left of those that went');
    // Quiet means quiet: heartbeats that change nothing write nothing.
    const length = on.log.durable.get(on.shard.partitionOf(group))?.length;
    for (const client of this.#clients) client.beat();
    await this.#settle();
    assert.equal(on.log.durable.get(on.shard.partitionOf(group))?.length, length, 'a heartbeat wrote');
    await this.#move();
    on.shard.close();
    assert.equal(on.clock.timers, 0, 'timers left behind');
  }
}

/** The same with all lists in one order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => JSON.stringify(sorted(item))).sort();
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, sorted(part)]));
}

describe('random walks of a consumer group', () => {
  for (let seed = 1; seed <= 60; seed++) {
    it(`seed ${seed}`, async () => {
      const on = await rig(
        {
          regexRefreshMs: 2_000,
          // In two of three walks the log is shortened again and again; in some, targets take several batches.
          snapshotRecordsMin: seed % 3 === 0 ? 10_000 : 5,
          recordsBytesMax: seed % 4 === 0 ? 150 : 1_000_000,
        },
        seed,
      );
      on.limits = limits;
      on.metadata.grow('t', on.topics.get('t')!, 4);
      on.metadata.grow('u', on.topics.get('u')!, 3);
      await new Walk(on, new SeededRandom(seed * 7919)).run();
    });
  }

  it('reached what they are about', () => {
    const text = JSON.stringify(tally);
    const { given, fenced, revoked, moves, failures, refusals, takeOvers, regexes } = tally;
    assert.ok(given > 500 && revoked > 300 && fenced > 10 && moves > 200, text);
    assert.ok(failures > 20 && refusals > 100 && takeOvers > 100 && regexes > 100, text);
  });
});

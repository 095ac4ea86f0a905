/**
 * Random walks: members join, sync, commit, leave, fall silent, crash; the log is slow, fails, and the coordinator moves.
 * Each walk has a seed, and the seed is in every failure.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { JoinAnswer, SyncAnswer } from '../../../../src/coordinator/group/group-api.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { type Answer, group, offsetOf, type Rig, rig } from './fixtures.ts';

interface Client {
  memberId: string;
  generation: number;
  readonly instanceId: string | null;
  join: Answer<JoinAnswer> | null;
  sync: Answer<SyncAnswer> | null;
}

/** What the walks reached together: without it they would prove nothing. */
const tally = { synced: 0, committed: 0, stableEnds: 0, failures: 0, refusals: 0, replaced: 0, snapshots: 0 };

const partitions = 3;
const stepsMax = 400;

class Walk {
  readonly #random: SeededRandom;
  readonly #on: Rig;
  readonly #clients: Client[] = [];
  readonly #calls: { given: boolean }[] = [];
  /** Assignments seen per generation and lineage: generation → member → part. */
  readonly #parts = new Map<number, Map<string, string>>();
  /** Largest offset whose commit was answered with success, and largest sent, per partition. */
  readonly #acked = new Array<number>(partitions).fill(-1);
  #nextOffset = 0;
  #nextPart = 0;

  constructor(on: Rig, random: SeededRandom) {
    this.#on = on;
    this.#random = random;
  }

  async run(): Promise<void> {
    for (let i = 0; i < stepsMax; i++) {
      this.#collect();
      await this.#step();
      this.#checkOffsets();
    }
    await this.#finish();
  }

  async #step(): Promise<void> {
    const on = this.#on;
    const client = this.#clients.length > 0 ? this.#random.pick(this.#clients) : undefined;
    if (this.#random.chance(0.2)) on.log.refusal = 0;
    const dice = this.#random.below(100);
    if (dice < 8 && this.#clients.length < 5) this.#enter();
    else if (dice < 35 && client !== undefined) this.#advance(client);
    else if (dice < 50 && client !== undefined) this.#commit(client);
    else if (dice < 60 && client !== undefined) this.#beat(client);
    else if (dice < 63 && client !== undefined) this.#crash(client);
    else if (dice < 66 && client !== undefined) this.#depart(client);
    else if (dice < 80) on.tick(this.#random.below(3_000));
    else if (dice < 90) on.log.release(1 + this.#random.below(3));
    else if (dice < 92) on.log.hold = !on.log.hold;
    else if (dice < 93 && on.log.held.length > 0) {
      tally.failures++;
      on.log.fail(this.#random.chance(0.5));
    } else if (dice < 94) await this.#move();
    else if (dice < 96) {
      tally.refusals++;
      on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    } else on.tick();
    if (!on.log.hold) on.log.release();
    await on.clock.settle();
  }

  #enter(): void {
    const instanceId = this.#random.chance(0.3) ? `pod-${this.#random.below(2)}` : null;
    const client: Client = { memberId: '', generation: -1, instanceId, join: null, sync: null };
    this.#clients.push(client);
    this.#sendJoin(client);
  }

  #sendJoin(client: Client): void {
    client.join = this.#on.join({
      memberId: client.memberId,
      instanceId: client.instanceId,
      memberIdRequired: this.#random.chance(0.5),
      rebalanceTimeoutMs: 15_000,
    });
    this.#calls.push(client.join);
  }

  /** The next call of a client that is waiting for none. */
  #advance(client: Client): void {
    if (client.join !== null || client.sync !== null) return;
    if (client.generation < 0 || this.#random.chance(0.2)) this.#sendJoin(client);
  }

  /** Takes the answers that have come: a join is followed by a sync. */
  #collect(): void {
    for (const client of [...this.#clients]) {
      if (client.join?.given) {
        const answer = client.join.value;
        client.join = null;
        if (answer.errorCode === 79) {
          client.memberId = answer.memberId;
          this.#sendJoin(client);
        } else if (answer.errorCode === 82) {
          this.#clients.splice(this.#clients.indexOf(client), 1);
        } else if (answer.errorCode !== 0) {
          if (answer.errorCode === 25) client.memberId = '';
          client.generation = -1;
        } else {
          if (answer.skipAssignment) tally.replaced++;
          client.memberId = answer.memberId;
          client.generation = answer.generation;
          const assignments = answer.skipAssignment
            ? []
            : answer.members.map(({ memberId }) => ({
                memberId,
                assignment: Buffer.from(`${memberId} part ${this.#nextPart++}`),
              }));
          client.sync = this.#on.sync({
            memberId: client.memberId,
            generation: client.generation,
            instanceId: client.instanceId,
            assignments,
          });
          this.#calls.push(client.sync);
        }
      }
      if (client.sync?.given) {
        const answer = client.sync.value;
        client.sync = null;
        if (answer.errorCode !== 0) client.generation = -1;
        else {
          tally.synced++;
          this.#checkPart(client, answer);
        }
        if (answer.errorCode === 25) client.memberId = '';
      }
    }
  }

  /** One generation, one assignment: a member that asks twice hears the same, unless the first never became durable. */
  #checkPart(client: Client, answer: SyncAnswer): void {
    const text = answer.assignment.toString();
    const owner = client.instanceId ?? client.memberId;
    assert.ok(text === '' || text.startsWith(owner), `${owner} got "${text}"`);
    const parts = this.#parts.get(client.generation) ?? new Map<string, string>();
    this.#parts.set(client.generation, parts);
    const earlier = parts.get(client.memberId);
    assert.ok(earlier === undefined || earlier === text, `generation ${client.generation} changed its parts`);
    parts.set(client.memberId, text);
  }

  #commit(client: Client): void {
    const partition = this.#random.below(partitions);
    const offset = this.#nextOffset++;
    const { memberId, generation, instanceId } = client;
    const answer = this.#on.commit({
      memberId,
      generation,
      instanceId,
      offsets: [offsetOf('t', partition, offset)],
    });
    this.#calls.push(answer);
    this.#commits.push({ answer, partition, offset });
  }

  readonly #commits: { answer: Answer<readonly number[]>; partition: number; offset: number }[] = [];

  /** What was answered as committed is there from then on, or something newer. */
  #checkOffsets(): void {
    for (const { answer, partition, offset } of this.#commits) {
      if (answer.given && answer.value[0] === 0) {
        tally.committed++;
        this.#acked[partition] = Math.max(this.#acked[partition]!, offset);
      }
    }
    const { errorCode, offsets } = this.#on.fetch();
    if (errorCode !== 0) return;
    for (let partition = 0; partition < partitions; partition++) {
      const seen = offsets.find((offset) => offset.partition === partition)?.offset ?? -1;
      assert.ok(
        seen >= this.#acked[partition]!,
        `offset went back to ${seen} from ${this.#acked[partition]}`,
      );
      // What a fetch has shown must stay too.
      this.#acked[partition] = seen;
    }
  }

  #beat(client: Client): void {
    if (client.generation < 0) return;
    const code = this.#on.heartbeat(client.memberId, client.generation, client.instanceId);
    if (code === 25 || code === 82) client.memberId = '';
    if (code === 25 || code === 82 || code === 22 || code === 27) client.generation = -1;
  }

  #crash(client: Client): void {
    this.#clients.splice(this.#clients.indexOf(client), 1);
  }

  #depart(client: Client): void {
    const { memberId, instanceId } = client;
    if (memberId === '') return;
    this.#on.leave([{ memberId, instanceId }]);
    this.#clients.splice(this.#clients.indexOf(client), 1);
  }

  async #move(): Promise<void> {
    const partition = this.#on.shard.partitionOf(group);
    this.#on.shard.unload(partition);
    // The old owner's log is closed before the new one reads: nothing is under way.
    this.#on.log.release();
    await this.#on.shard.load(partition);
  }

  /** At the end: everything written, unloaded and loaded is what it was, and no call is left open. */
  async #finish(): Promise<void> {
    const on = this.#on;
    on.log.hold = false;
    on.log.refusal = 0;
    on.log.release();
    // What was refused is written with the next expiry.
    on.tick(on.settings.offsetsRetentionCheckMs);
    await on.clock.settle();
    const partition = on.shard.partitionOf(group);
    // A rebalance under way is not in the log: let it come to its end.
    const { state } = on.describe();
    if (state === 'Stable') tally.stableEnds++;
    else on.tick(60_000);
    const told = () => {
      const answers: unknown[] = [];
      on.shard.describe(group, (answer) => answers.push(answer));
      on.shard.fetch(group, null, (answer) => answers.push(answer));
      return answers;
    };
    const before = told();
    on.shard.unload(partition);
    for (const call of this.#calls) assert.ok(call.given, 'a call was never answered');
    await on.shard.load(partition);
    // A snapshot writes in another order.
    const snapshots = on.log.trims;
    if (snapshots === 0) assert.deepEqual(told(), before, 'replay differs from what was');
    else assert.deepEqual(sorted(told()), sorted(before), 'replay from a snapshot differs from what was');
    tally.snapshots += snapshots;
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

describe('random walks of a group', () => {
  for (let seed = 1; seed <= 60; seed++) {
    it(`seed ${seed}`, async () => {
      const on = await rig(
        {
          initialRebalanceDelayMs: seed % 2 === 0 ? 500 : 0,
          offsetsRetentionCheckMs: 1_000,
          // In two of three walks the log is shortened again and again.
          snapshotRecordsMin: seed % 3 === 0 ? 10_000 : 5,
        },
        seed,
      );
      await new Walk(on, new SeededRandom(seed * 7919)).run();
    });
  }

  it('reached what they are about', () => {
    const { synced, committed, stableEnds, failures, refusals, replaced, snapshots } = tally;
    const text = JSON.stringify(tally);
    assert.ok(synced > 300 && committed > 300 && stableEnds > 5 && failures > 10 && replaced > 3, text);
    assert.ok(snapshots > 50 && refusals > 100, text);
  });
});

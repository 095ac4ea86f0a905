/** What the balancer plans, by example and for clusters at random. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BalancePlan } from '../../../src/cluster/balance-plan.ts';
import { negligible } from '../../../src/cluster/cluster-load.ts';
import { planBalance } from '../../../src/cluster/plan.ts';
import { defaultPolicy } from '../../../src/cluster/policy.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import {
  carried,
  carryOut,
  inputOf,
  loadOf,
  mib,
  randomRig,
  rig,
  settle,
  topicOn,
} from './balance-fixtures.ts';

const spread = (amounts: readonly number[]): number => Math.max(...amounts) - Math.min(...amounts);
const goalsOf = ({ moves }: BalancePlan): string[] => [...new Set(moves.map(({ goal }) => goal))];

describe('balancer, by example', () => {
  it('gives brokers that joined their share of 1,000 partitions, in one plan', () => {
    const made = rig([null, null, null, null]);
    topicOn(made, 1, Array(1_000).fill(1));
    const plan = planBalance(inputOf(made));
    carryOut(made, plan);
    const { streams } = carried(made);
    assert.ok(spread(streams) <= 25, String(streams));
    assert.ok(plan.moves.length <= 775 && plan.moves.length >= 700, String(plan.moves.length));
    assert.deepEqual(goalsOf(plan), ['streams']);
    assert.match(plan.moves[0]!.reason, /streams of broker 1 is 4\.00 of the mean, of broker 2 0\.00/);
    assert.deepEqual(planBalance(inputOf(made)).moves, []);
  });

  it('neither takes from a broker nor gives it anything whose load is not known', () => {
    const made = rig([null, null, null]);
    topicOn(made, 1, [1, 1, 1, 1, 1, 1, 2, 2, 3], () => ({ bytesIn: 4 * mib }));
    const load = loadOf(made);
    const known = new Map([...load.brokers].filter(([node]) => node !== 3));
    const plan = planBalance(inputOf(made, {}, { load: { ...load, brokers: known } }));
    assert.equal(plan.moves.length, 2);
    for (const { from, to } of plan.moves) assert.deepEqual([from, to], [1, 2]);
    assert.ok(planBalance(inputOf(made)).moves.some(({ to }) => to === 3));
  });

  it('moves no more than there is room for, and says so', () => {
    const made = rig([null, null]);
    topicOn(made, 1, Array(100).fill(1));
    const plan = planBalance(inputOf(made, {}, { room: { moves: 10, coldBytes: 1e12 } }));
    assert.equal(plan.moves.length, 10);
    assert.equal(plan.deferred, 'moves');
  });

  it('bounds what readers fetch from the store, but lets one large stream move alone', () => {
    const made = rig([null, null]);
    topicOn(made, 1, Array(20).fill(1), () => ({ bytesIn: mib, bytesOut: 2 * mib }));
    const coldBytes = 35 * mib;
    const plan = planBalance(inputOf(made, { coldMs: 5_000 }, { room: { moves: 100, coldBytes } }));
    assert.equal(plan.moves.length, 3);
    assert.equal(plan.coldBytes, 30 * mib);
    assert.equal(plan.deferred, 'cold reads');
    const least = planBalance(inputOf(made, {}, { room: { moves: 100, coldBytes: 1 } }));
    assert.equal(least.moves.length, 1);
  });

  it('takes what surrounds a hot partition away, where the partition itself cannot move', () => {
    const made = rig([null, null, null]);
    topicOn(made, 1, [1, 1, 1, 2, 2, 2, 3, 3, 3], (i) => ({ bytesIn: i === 0 ? 90 * mib : 10 * mib }));
    const plan = planBalance(inputOf(made));
    assert.deepEqual(
      plan.moves.map(({ partition, from, goal }) => [partition, from, goal]),
      [
        [1, 1, 'bytesIn'],
        [2, 1, 'bytesIn'],
      ],
    );
    const told = plan.rejected.find(({ stream }) => stream === 't1-0')!;
    assert.equal(told.goal, 'bytesIn');
    assert.match(told.reason, /worst one|where this one is/);
  });

  it('divides hot partitions that met on one broker', () => {
    const made = rig([null, null, null]);
    topicOn(made, 1, [1, 1, 1, 2, 2, 2, 3, 3, 3], (i) => ({ bytesIn: i < 3 ? 50 * mib : mib }));
    settle(made, 5);
    assert.ok(spread(carried(made).bytesIn) <= 5 * mib, String(carried(made).bytesIn));
  });

  it('looks at bytes in before bytes out, and at both before numbers of streams', () => {
    const made = rig([null, null]);
    made.cpu = () => 0;
    topicOn(made, 1, [1, 1, 2, 2], (i) => ({
      bytesIn: i < 2 ? 40 * mib : 0,
      bytesOut: i < 2 ? 0 : 40 * mib,
    }));
    topicOn(made, 2, Array(20).fill(1));
    const plan = planBalance(inputOf(made));
    assert.deepEqual(goalsOf(plan), ['bytesIn', 'bytesOut', 'streams']);
    carryOut(made, plan);
    const { bytesIn, bytesOut, streams } = carried(made);
    assert.deepEqual(
      [bytesIn, bytesOut],
      [
        [40 * mib, 40 * mib],
        [40 * mib, 40 * mib],
      ],
    );
    assert.ok(spread(streams) <= 2, String(streams));
  });

  it('brings a topic out of a rack that has too much of it, whatever the brokers carry', () => {
    const made = rig(['a', 'a', 'b', 'b']);
    topicOn(made, 1, [1, 1, 2, 2]);
    topicOn(made, 2, [3, 3, 4, 4]);
    const plan = planBalance(inputOf(made));
    assert.deepEqual(goalsOf(plan), ['racks']);
    carryOut(made, plan);
    for (const { partitions } of made.world.image.topicsById.values())
      assert.equal(partitions.filter(({ node }) => node <= 2).length, 2);
    assert.deepEqual(carried(made).streams, [2, 2, 2, 2]);
  });

  it('has streams of a topic change places where racks forbid that one moves alone', () => {
    const made = rig(['a', 'b']);
    topicOn(made, 1, [1, 1, 2, 2], (i) => ({ bytesIn: i < 2 ? 40 * mib : 2 * mib }));
    const plan = planBalance(inputOf(made));
    assert.equal(plan.moves.length, 2);
    assert.match(plan.moves[0]!.reason, /in exchange/);
    carryOut(made, plan);
    assert.deepEqual(carried(made).bytesIn, [42 * mib, 42 * mib]);
    assert.deepEqual(carried(made).streams, [2, 2]);
  });

  it('does nothing within the outer band, and goes to the inner one beyond it', () => {
    const made = rig([null, null]);
    topicOn(made, 1, [...Array(114).fill(1), ...Array(100).fill(2)], () => ({ bytesIn: mib }));
    assert.deepEqual(planBalance(inputOf(made)).moves, []);
    topicOn(made, 2, Array(30).fill(1), () => ({ bytesIn: mib }));
    const plan = planBalance(inputOf(made));
    assert.ok(plan.moves.length > 0);
    carryOut(made, plan);
    const { bytesIn } = carried(made);
    assert.ok(spread(bytesIn) <= 0.11 * bytesIn[0]!, String(bytesIn));
  });

  it('takes no notice of loads that are next to nothing', () => {
    const made = rig([null, null]);
    const idle = Math.floor(negligible.bytesIn / 4);
    topicOn(made, 1, [1, 1, 2, 2], (i) => ({ bytesIn: i < 2 ? idle : 0 }));
    assert.deepEqual(planBalance(inputOf(made)).moves, []);
  });

  it('leaves excluded topics and brokers, streams on their way and brokers that just came alone', () => {
    const made = rig([null, null, null]);
    topicOn(made, 1, Array(30).fill(1));
    const of = (policy = {}, change = {}) => planBalance(inputOf(made, policy, change));
    const excluded = of({ excludedTopics: ['t1'] });
    assert.deepEqual(excluded.moves, []);
    assert.match(excluded.rejected[0]!.reason, /topic t1 is excluded/);
    assert.deepEqual(of({ excludedBrokers: [1] }).moves, []);
    const two = of({ excludedBrokers: [3] }).moves;
    assert.deepEqual(new Set(two.map(({ to }) => to)), new Set([2]));
    const settling = of({}, { settling: new Set([2]) }).moves;
    assert.deepEqual(new Set(settling.map(({ to }) => to)), new Set([3]));
    const [first] = made.world.partitions;
    made.world.commit(1, 1, [{ type: 'assign', topicId: first!.topicId, partition: 0, node: 2 }]);
    assert.ok(of().moves.every(({ partition }) => partition !== 0));
    for (const node of [2, 3]) made.world.alive.delete(node);
    assert.deepEqual(of().moves, []);
  });

  it('decides by racks and numbers where loads are not known', () => {
    const made = rig([null, null]);
    topicOn(made, 1, [1, 1, 1, 1, 2, 2], (i) => ({ bytesIn: i < 2 ? 80 * mib : 0 }));
    const plan = planBalance(inputOf(made, {}, { load: null }));
    assert.deepEqual(
      plan.goals.map(({ goal }) => goal),
      ['streams'],
    );
    assert.equal(plan.moves.length, 1);
  });

  it('relieves a broker whose cores are the only thing that is short', () => {
    const made = rig([null, null]);
    topicOn(made, 1, [1, 1, 1, 1, 2, 2, 2, 2], () => ({ bytesIn: mib }));
    const input = inputOf(made);
    const brokers = new Map(input.load!.brokers);
    brokers.set(1, { ...brokers.get(1)!, cpu: 0.9 });
    brokers.set(2, { ...brokers.get(2)!, cpu: 0.3 });
    const plan = planBalance({
      ...input,
      load: { ...input.load!, brokers },
      policy: { ...input.policy, inner: 0.3, outer: 0.3 },
    });
    assert.deepEqual(goalsOf(plan), ['cpu']);
    const without = planBalance({ ...input, load: { ...input.load!, brokers }, without: new Set(['cpu']) });
    assert.deepEqual(without.moves, []);
  });
});

describe('balancer, for clusters at random', () => {
  const seeds = 120;

  it('is the same for the same input, and changes nothing of it', () => {
    for (let seed = 0; seed < 50; seed++) {
      const made = randomRig(new SeededRandom(seed));
      const input = inputOf(made);
      const before = JSON.stringify([...input.image.topicsById.values()]);
      const plan = planBalance(input);
      assert.deepEqual(planBalance(input), plan);
      assert.equal(JSON.stringify([...input.image.topicsById.values()]), before);
    }
  });

  it('never makes the worst broker worse, of anything', () => {
    let moves = 0;
    for (let seed = 0; seed < seeds; seed++) {
      const made = randomRig(new SeededRandom(seed));
      const before = carried(made);
      const plan = planBalance(inputOf(made));
      moves += plan.moves.length;
      carryOut(made, plan);
      const after = carried(made);
      for (const resource of ['bytesIn', 'bytesOut', 'requests', 'streams'] as const) {
        const mean = before[resource].reduce((sum, amount) => sum + amount, 0) / before[resource].length;
        const well =
          resource === 'streams'
            ? Math.max(Math.ceil(mean), mean * 1.5 + 1)
            : mean + Math.max(negligible[resource], mean * 0.15);
        const bound = Math.max(well, ...before[resource]) * (1 + 1e-9);
        assert.ok(
          Math.max(...after[resource]) <= bound,
          `seed ${seed}: ${resource} ${before[resource]} → ${after[resource]}`,
        );
      }
    }
    assert.ok(moves > 1_000, `${moves} moves`);
  });

  it('comes to rest within a few rounds, and brings each goal nearer that it was asked for', () => {
    let most = 0;
    for (let seed = 0; seed < seeds; seed++) {
      const made = randomRig(new SeededRandom(seed));
      const { goals } = planBalance(inputOf(made));
      const [first] = goals.filter(({ triggered }) => triggered);
      if (first !== undefined) assert.ok(first.after <= first.before, `seed ${seed}`);
      const rounds = settle(made, 12);
      assert.equal(rounds.at(-1), 0, `seed ${seed}: ${rounds}`);
      most = Math.max(most, rounds.length);
    }
    assert.ok(most <= 8, `${most} rounds`);
  });

  it('comes to rest with little room as well, in as many rounds as that takes', () => {
    for (let seed = 0; seed < 60; seed++) {
      const made = randomRig(new SeededRandom(seed));
      const rounds = settle(made, 200, {}, { room: { moves: 5, coldBytes: 40 * mib } });
      assert.equal(rounds.at(-1), 0, `seed ${seed}: ${rounds}`);
      assert.ok(rounds.every((moves) => moves <= 5));
    }
  });

  it('leaves no broker outside the outer band without saying why', () => {
    for (let seed = 0; seed < seeds; seed++) {
      const made = randomRig(new SeededRandom(seed));
      settle(made, 12);
      const { goals, rejected } = planBalance(inputOf(made));
      for (const { goal, triggered, after } of goals) {
        if (!triggered || after === 0) continue;
        assert.ok(
          rejected.some((rejection) => rejection.goal === goal),
          `seed ${seed}: ${goal}`,
        );
      }
    }
  });

  it('keeps each topic spread over racks while it balances loads', () => {
    for (let seed = 0; seed < seeds; seed++) {
      const made = randomRig(new SeededRandom(seed));
      settle(made, 12);
      const racks = planBalance(inputOf(made)).goals.find(({ goal }) => goal === 'racks');
      if (racks === undefined) continue;
      const told = planBalance(inputOf(made)).rejected.filter(({ goal }) => goal === 'racks');
      assert.ok(racks.after === 0 || told.length > 0, `seed ${seed}: ${racks.after}`);
    }
  });

  it('does nothing in a cluster that is balanced, nor after small changes', () => {
    for (let seed = 0; seed < 100; seed++) {
      const random = new SeededRandom(seed);
      const made = randomRig(random);
      settle(made, 12);
      // Within a part of the outer band loads may come and go.
      const before = planBalance(inputOf(made)).goals.filter(({ triggered }) => triggered).length;
      if (before > 0) continue;
      const inside = (defaultPolicy.balance.outer - defaultPolicy.balance.inner) / 3;
      for (const [key, load] of made.streams) {
        const factor = 1 + inside * (random.below(1_000) / 1_000 - 0.5);
        made.streams.set(key, { ...load, bytesIn: load.bytesIn * factor });
      }
      const after = planBalance(inputOf(made));
      const worst = after.goals.find(({ goal }) => goal === 'bytesIn')!;
      // What was between the bands may be beyond now; what was in the inner one is not.
      if (worst.before > 0) continue;
      assert.deepEqual(after.moves, [], `seed ${seed}`);
    }
  });
});

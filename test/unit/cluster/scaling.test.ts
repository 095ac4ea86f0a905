/** How many brokers a cluster is to have, and how it comes to have them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BrokerLoad } from '../../../src/cluster/cluster-load.ts';
import { Scaler } from '../../../src/cluster/scaler.ts';
import {
  checkScaling,
  decideScaling,
  defaultScaling,
  isWithin,
  type ScalingInput,
  type ScalingPolicy,
} from '../../../src/cluster/scaling.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { ScalingRequest } from '../../../src/ports/scaling-hook.ts';
import { ClusterWorld, settledCluster } from './cluster-world.ts';

const mib = 1 << 20;
const policyOf = (change: Partial<ScalingPolicy> = {}): ScalingPolicy => ({
  ...defaultScaling,
  enabled: true,
  target: { cpu: 0.6, bytesIn: 100 * mib, bytesOut: 0, requests: 0, streams: 0 },
  ...change,
});

function loadOf(world: ClusterWorld, cpu: number, change: Partial<BrokerLoad> = {}) {
  const carried = { cpu, bytesIn: 0, bytesOut: 0, memoryBytes: 0, requests: 0, ...change };
  return {
    brokers: new Map([...world.alive.keys()].map((node) => [node, carried])),
    streams: new Map(),
    logs: new Map(),
  };
}

function brokers(count: number, racks: readonly string[] = []): ClusterWorld {
  const world = new ClusterWorld();
  for (let node = 1; node <= count; node++)
    world.addBroker(node, racks.length === 0 ? {} : { rack: racks[(node - 1) % racks.length]! });
  return world;
}

function decide(world: ClusterWorld, cpu: number, policy: ScalingPolicy, change: Partial<ScalingInput> = {}) {
  return decideScaling({
    image: world.image,
    alive: world.alive,
    load: loadOf(world, cpu),
    policy,
    nowMs: Date.UTC(2026, 0, 7, 12, 0),
    lastOutMs: Number.NEGATIVE_INFINITY,
    lastInMs: Number.NEGATIVE_INFINITY,
    leader: 1,
    ...change,
  });
}

describe('number of brokers', () => {
  it('is what the resource calls for that needs most', () => {
    const world = brokers(3);
    const high = decide(world, 0.9, policyOf());
    assert.deepEqual([high.current, high.desired, high.needs], [3, 5, { cpu: 5, bytesIn: 1 }]);
    assert.deepEqual(high.reasons, ['cpu calls for 5 brokers']);
    const wide = decide(world, 0.3, policyOf(), { load: loadOf(world, 0.3, { bytesIn: 130 * mib }) });
    assert.deepEqual([wide.desired, wide.reasons], [4, ['bytesIn calls for 4 brokers']]);
    world.addTopic(1, 100);
    const many = decide(
      world,
      0.3,
      policyOf({ target: { cpu: 0, bytesIn: 0, bytesOut: 0, requests: 0, streams: 20 } }),
    );
    assert.deepEqual([many.desired, many.needs], [5, { streams: 5 }]);
  });

  it('stays where it is between the two bounds', () => {
    const world = brokers(4);
    // 4 × 0.45 = 1.8: three would carry 0.6 each, which is all of what they are to.
    for (const cpu of [0.35, 0.45, 0.6]) {
      const { desired, drain } = decide(world, cpu, policyOf());
      assert.deepEqual([desired, drain], [4, []], String(cpu));
    }
    const held = decide(world, 0.45, policyOf()).held;
    assert.match(held[0]!, /3 would carry more than 0\.75 of what they are to carry of cpu/);
    assert.equal(decide(world, 0.33, policyOf()).desired, 3);
  });

  it('keeps to least, most, steps and budget, and says what holds it', () => {
    const world = brokers(3);
    const held = (cpu: number, change: Partial<ScalingPolicy>) => {
      const { desired, held: why } = decide(world, cpu, policyOf(change));
      return [desired, ...why];
    };
    assert.deepEqual(held(1, { max: 4 }), [4, '5 brokers would be right; 4 are the most']);
    assert.deepEqual(held(2, { stepOut: 2 }), [5, '10 brokers would be right; 2 are added at a time']);
    assert.deepEqual(held(1, { budget: { broker: 0.5, ceiling: 2.1 } }), [
      4,
      '5 brokers would be right; the budget pays for 4',
    ]);
    // The least number counts for more than money, and nobody is taken away for it.
    assert.deepEqual(held(0.5, { min: 5, budget: { broker: 1, ceiling: 2 } }), [5]);
    assert.deepEqual(held(1, { budget: { broker: 1, ceiling: 2 } }), [
      3,
      '5 brokers would be right; the budget pays for 2',
    ]);
    assert.deepEqual(held(0.1, { min: 3 }), [3]);
    assert.deepEqual(held(0.1, { stepIn: 2 }), [1]);
    assert.deepEqual(held(0.5, { max: 2 }), [2]);
  });

  it('waits for the cool-down of the last change', () => {
    const world = brokers(3);
    const nowMs = Date.UTC(2026, 0, 7, 12, 0);
    const policy = policyOf({ outCooldownMs: 60_000, inCooldownMs: 600_000 });
    const at = (cpu: number, lastOutMs: number, lastInMs: number) =>
      decide(world, cpu, policy, { nowMs, lastOutMs: nowMs - lastOutMs, lastInMs: nowMs - lastInMs });
    assert.equal(at(0.9, 59_000, 1e9).desired, 3);
    assert.match(at(0.9, 59_000, 1e9).held[0]!, /asked for just now/);
    assert.equal(at(0.9, 61_000, 1e9).desired, 5);
    // What was taken away just now does not hold back what is needed.
    assert.equal(at(0.9, 61_000, 0).desired, 5);
    assert.equal(at(0.1, 599_000, 1e9).desired, 3);
    assert.equal(at(0.1, 1e9, 599_000).desired, 3);
    assert.equal(at(0.1, 601_000, 601_000).desired, 2);
  });

  it('changes nothing in a maintenance window', () => {
    const world = brokers(3);
    // A Wednesday.
    const windows = [{ days: [3], from: 11 * 60, to: 13 * 60 }];
    for (const cpu of [0.9, 0.1]) {
      const { desired, held, drain } = decide(world, cpu, policyOf({ windows }));
      assert.deepEqual([desired, drain], [3, []]);
      assert.match(held.at(-1)!, /maintenance window/);
    }
    assert.equal(
      decide(world, 0.9, policyOf({ windows }), { nowMs: Date.UTC(2026, 0, 7, 13, 0) }).desired,
      5,
    );
  });

  it('knows days of the week, and windows that go over midnight', () => {
    const night = { days: [6], from: 23 * 60, to: 60 };
    const at = (day: number, hour: number) => isWithin(night, Date.UTC(2026, 0, day, hour, 30));
    assert.deepEqual(
      [at(10, 22), at(10, 23), at(11, 0), at(11, 1), at(11, 23), at(10, 0)],
      [false, true, true, false, false, false],
    );
  });

  it('takes nobody away while what somebody carries is not known, or somebody is on the way out', () => {
    const world = brokers(3);
    const load = loadOf(world, 0.1);
    load.brokers.delete(2);
    const unknown = decide(world, 0.1, policyOf(), { load });
    assert.deepEqual(
      [unknown.desired, unknown.held],
      [3, ['2 brokers would do; what broker 2 carries is not known']],
    );
    assert.equal(decide(world, 0.1, policyOf(), { load: null }).desired, 3);
    world.commit(1, 1, [{ type: 'brokerState', node: 3, epoch: 1, state: 'draining' }]);
    const draining = decide(world, 0.1, policyOf());
    assert.deepEqual([draining.current, draining.desired], [2, 2]);
    assert.match(draining.held[0]!, /on its way out/);
  });

  it('takes away who is missed least, from the rack that has most, and the one that leads last', () => {
    const world = brokers(5, ['a', 'b']);
    world.addTopic(1, 10, [1, 1, 1, 1, 3, 3, 3, 3, 5, 2]);
    const drain = (leader: number) => decide(world, 0.05, policyOf({ stepIn: 3 }), { leader }).drain;
    // Rack a: 1, 3, 5; rack b: 2, 4.
    assert.deepEqual(drain(1), [5, 4, 3]);
    assert.deepEqual(drain(5), [3, 4, 1]);
  });

  it('refuses a policy that cannot be', () => {
    checkScaling(defaultScaling);
    const bad = policyOf({ min: 5, max: 2, inBelow: 2, windows: [{ days: [9], from: -1, to: 5 }] });
    assert.throws(
      () => checkScaling(bad),
      (error: MillraceError) =>
        error.code === 'SCALING_POLICY' &&
        ['max is 2', 'inBelow is 2', 'days', 'minute -1'].every((part) => error.message.includes(part)),
    );
  });
});

describe('scaler', () => {
  async function scaled(world: ClusterWorld, policy: ScalingPolicy, node = 1) {
    const asked: ScalingRequest[] = [];
    const hook = {
      failing: 0,
      ask: async (request: ScalingRequest) => {
        if (hook.failing-- > 0) throw new MillraceError('unavailable', 'SCALING_HOOK', 'away');
        asked.push(request);
        return 'noted';
      },
    };
    const state = { cpu: 0.4, policy };
    const scaler = new Scaler({
      metadata: world.door(node, 1),
      membership: world,
      leads: () => world.leader?.node === node,
      clock: world.clock,
      logger: silentLogger,
      nodeId: node,
      policy: () => state.policy,
      load: () => loadOf(world, state.cpu),
      audit: { record: (entry) => void world.audit.push(entry) },
      hook,
    });
    scaler.start();
    return { scaler, asked, hook, state };
  }
  const quick = (change: Partial<ScalingPolicy> = {}) =>
    policyOf({ intervalMs: 1_000, outCooldownMs: 5_000, inCooldownMs: 20_000, ...change });

  it('asks for more once, and again when they do not come', async () => {
    const world = await settledCluster(2, 10);
    const { asked, state, scaler } = await scaled(world, quick());
    await world.run(10_000);
    assert.deepEqual(asked, []);
    state.cpu = 0.9;
    await world.run(4_000);
    assert.deepEqual(
      asked.map(({ desired, current, remove }) => [desired, current, remove]),
      [[3, 2, []]],
    );
    assert.equal(scaler.decision!.desired, 2, 'it waits for them');
    await world.run(4_000);
    assert.equal(asked.length, 2);
    world.addBroker(3);
    state.cpu = 0.6;
    await world.run(20_000);
    assert.equal(asked.length, 2);
    assert.ok(world.events('scaling').length >= 2);
  });

  it('drains a broker first, and names it when it has been empty for a while', async () => {
    const world = await settledCluster(3, 30);
    const { asked, state } = await scaled(world, quick());
    state.cpu = 0.24;
    await world.run(18_000);
    assert.equal(world.image.brokers.get(3)!.state, 'active', 'a new leader waits');
    await world.run(5_000);
    assert.equal(world.image.brokers.get(3)!.state, 'draining');
    await world.run(5_000);
    assert.deepEqual(world.openOn(), { 1: 15, 2: 15 });
    assert.deepEqual(asked, []);
    await world.run(10_000);
    assert.deepEqual(asked, [{ desired: 2, current: 2, remove: [3], reason: 'drained: 3' }]);
    // It is still there: it is named again, not at every look.
    await world.run(60_000);
    assert.equal(asked.length, 2);
    world.brokers.get(3)!.die();
    await world.run(120_000);
    assert.equal(asked.length, 2);
    assert.equal(world.image.brokers.get(2)!.state, 'active', 'one would carry 0.48, more than 0.45');
  });

  it('names nobody who still has streams', async () => {
    const world = await settledCluster(3, 30);
    const { asked, state } = await scaled(world, quick());
    state.cpu = 0.24;
    world.brokers.get(3)!.stuck = true;
    await world.run(60_000);
    assert.equal(world.image.brokers.get(3)!.state, 'draining');
    assert.equal(world.openOn()[3], 10);
    assert.deepEqual(asked, []);
  });

  it('names a broker that ended by itself once it was drained', async () => {
    const world = await settledCluster(3, 30);
    const { asked, state } = await scaled(world, quick());
    state.cpu = 0.24;
    await world.run(24_000);
    assert.equal(world.image.brokers.get(3)!.state, 'draining');
    await world.run(1_000);
    world.brokers.get(3)!.die();
    await world.run(3_000);
    assert.deepEqual(
      asked.map(({ desired, remove }) => [desired, remove]),
      [[2, [3]]],
    );
    await world.run(200_000);
    assert.equal(asked.length, 1);
  });

  it('names nobody who drains because it stops', async () => {
    const world = await settledCluster(3, 30);
    const { asked } = await scaled(world, quick());
    world.commit(3, 1, [{ type: 'brokerState', node: 3, epoch: 1, state: 'draining' }]);
    await world.run(5_000);
    world.brokers.get(3)!.die();
    await world.run(60_000);
    assert.deepEqual(asked, []);
  });

  it('goes on with what another leader had begun', async () => {
    const world = await settledCluster(3, 30);
    const first = await scaled(world, quick());
    first.state.cpu = 0.24;
    const second = await scaled(world, quick(), 2);
    second.state.cpu = 0.24;
    await world.run(24_000);
    assert.equal(world.image.brokers.get(3)!.state, 'draining');
    world.brokers.get(1)!.die();
    await world.run(20_000);
    assert.deepEqual(first.asked, []);
    assert.deepEqual(
      second.asked.map(({ remove }) => remove),
      [[3]],
    );
    assert.equal(first.scaler.decision, null);
  });

  it('leaves a platform that does not answer alone for longer each time, and calls it once at a time', async () => {
    const world = await settledCluster(2, 10);
    const { hook, state, scaler } = await scaled(world, quick());
    const calls: number[] = [];
    let under = 0;
    hook.ask = async () => {
      assert.equal(under++, 0, 'one call at a time');
      calls.push(world.clock.monotonic());
      await new Promise<void>((resolve) => world.clock.after(2_500, resolve));
      under--;
      throw new MillraceError('unavailable', 'SCALING_HOOK', 'away');
    };
    state.cpu = 0.9;
    await world.run(120_000);
    const waits = calls.slice(1).map((at, i) => at - calls[i]! - 2_500);
    assert.ok(waits.length >= 4 && waits.length <= 7, String(waits));
    for (const [i, wait] of waits.entries()) assert.ok(wait >= 1_000 * 2 ** i, String(waits));
    assert.equal(scaler.calls.done, 0);
    assert.equal(scaler.calls.failed, calls.length);
  });

  it('never drains below the least number, whatever is carried', async () => {
    const world = await settledCluster(4, 40);
    const { state } = await scaled(world, quick({ min: 3, stepIn: 3, inCooldownMs: 1_000 }));
    state.cpu = 0;
    await world.run(60_000);
    const active = [...world.image.brokers.values()].filter((broker) => broker.state === 'active');
    assert.equal(active.length, 3);
    assert.equal(Object.values(world.openOn()).length, 3);
  });

  it('tries again when the platform does not answer, and does nothing where it is switched off', async () => {
    const world = await settledCluster(2, 10);
    const { asked, hook, state, scaler } = await scaled(world, quick());
    hook.failing = 2;
    state.cpu = 0.9;
    await world.run(5_500);
    assert.deepEqual(asked, []);
    await world.run(4_000);
    assert.equal(asked.length, 1);
    assert.deepEqual(
      world.events('refused').map(({ step, message }) => [step, message]),
      [
        ['hook', 'away'],
        ['hook', 'away'],
      ],
    );
    state.policy = quick({ enabled: false });
    await world.run(30_000);
    assert.equal(asked.length, 1);
    assert.equal(scaler.decision!.desired, 3);
    await scaler.stop();
    assert.equal(
      world.commits.some(({ changes }) => changes.some((change) => change.type === 'brokerState')),
      false,
    );
  });
});

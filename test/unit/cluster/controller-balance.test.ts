/** How the controller carries out what the balancer plans, on a cluster of paper (cluster-world.ts). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BrokerLoad, noLoad } from '../../../src/cluster/cluster-load.ts';
import { defaultPolicy } from '../../../src/cluster/policy.ts';
import { streamKey } from '../../../src/ports/stream-id.ts';
import { type ClusterWorld, settledCluster as cluster } from './cluster-world.ts';

/** All brokers that are there, with next to nothing. */
function known(world: ClusterWorld): Map<number, BrokerLoad> {
  return new Map([...world.alive.keys()].map((node) => [node, { ...noLoad, cpu: 0 }]));
}

describe('controller: balance', () => {
  it('gives a broker that joins its share, in rounds of bounded size', async () => {
    const balance = { ...defaultPolicy.balance, movesMax: 20 };
    const world = await cluster(2, 100, { balance });
    const before = world.commits.length;
    world.addBroker(3);
    await world.run(1_900);
    assert.equal(world.openOn()[3], undefined);
    await world.run(6_000);
    world.assertSettled();
    const counts = Object.values(world.openOn());
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 4, String(counts));
    const rounds = world.commits
      .slice(before)
      .filter(({ changes }) => changes.some(({ type }) => type === 'assign'))
      .map(({ changes }) => changes.length);
    assert.equal(Math.max(...rounds), 20);
    assert.ok(rounds.length >= 2, String(rounds));
    const plans = world.events('plan');
    assert.equal(plans.length, rounds.length);
    assert.equal(plans[0]!.plan.deferred, 'moves');
    // And then it is quiet.
    const after = world.commits.length;
    await world.run(60_000);
    assert.equal(world.commits.length, after);
  });

  it('moves three quarters of 1,000 partitions to three brokers that join, within seconds', async () => {
    const world = await cluster(1, 1_000);
    for (const node of [2, 3, 4]) world.addBroker(node);
    await world.run(9_000);
    world.assertSettled();
    for (const count of Object.values(world.openOn())) assert.ok(count >= 236 && count <= 264, String(count));
  });

  it('never has more streams on their way than the policy allows, whoever asked for the others', async () => {
    const balance = { ...defaultPolicy.balance, movesMax: 10, roundMs: 100 };
    const world = await cluster(2, 60, { balance, moveTimeoutMs: 60_000 });
    for (const node of [1, 2]) world.brokers.get(node)!.stuck = true;
    for (const partition of [0, 2, 4, 6])
      world.commit(1, 1, [{ type: 'assign', topicId: world.partitions[0]!.topicId, partition, node: 2 }]);
    world.addBroker(3);
    await world.run(10_000);
    assert.equal(world.brokers.get(1)!.controller.movesInFlight, 10);
  });

  it('gives a broker that comes and goes nothing until it stays', async () => {
    const world = await cluster(2, 40);
    world.addBroker(3);
    for (let flap = 0; flap < 10; flap++) {
      await world.run(1_500);
      world.setAlive(3, null);
      world.setAlive(3, 1);
    }
    assert.equal(world.openOn()[3], undefined);
    await world.run(10_000);
    assert.ok(world.openOn()[3]! >= 12);
  });

  it('gives a broker that did not open what it got something again after a while', async () => {
    const world = await cluster(3, 30, { moveTimeoutMs: 1_000 });
    world.brokers.get(3)!.stuck = true;
    const [first] = world.partitions;
    world.commit(1, 1, [{ type: 'assign', topicId: first!.topicId, partition: 0, node: 3 }]);
    await world.run(3_000);
    assert.notEqual(first!.target, 3);
    world.brokers.get(3)!.stuck = false;
    world.addTopic(2, 30, [1, 2]);
    await world.run(6_000);
    assert.ok(world.openOn()[3]! <= 10, 'not yet');
    await world.run(20_000);
    world.assertSettled();
    assert.ok(world.openOn()[3]! >= 17, JSON.stringify(world.openOn()));
  });

  it('does not begin while logs of a lost broker are brought into objects', async () => {
    const world = await cluster(3, 60);
    for (const node of [1, 2]) world.brokers.get(node)!.slowReader = true;
    world.brokers.get(3)!.die();
    await world.run(500);
    world.addBroker(4);
    await world.run(15_000);
    assert.equal(world.events('plan').length, 0);
    for (const node of [1, 2]) world.brokers.get(node)!.slowReader = false;
    world.commit(1, 1, []);
    await world.run(15_000);
    world.assertSettled();
    assert.ok(world.openOn()[4]! >= 13, JSON.stringify(world.openOn()));
  });

  it('takes a hot partition from its broker by the loads that are reported', async () => {
    const world = await cluster(3, 30);
    const streams = new Map(
      world.partitions.map(({ topicId, partition }) => [
        streamKey(topicId, partition),
        { bytesIn: partition === 0 ? 60 << 20 : 5 << 20, bytesOut: 0, memoryBytes: 0, requests: 0 },
      ]),
    );
    world.load = { brokers: known(world), streams, logs: new Map() };
    await world.run(12_000);
    world.assertSettled();
    const sums = new Map<number, number>();
    for (const { topicId, partition, node } of world.partitions)
      sums.set(node, (sums.get(node) ?? 0) + streams.get(streamKey(topicId, partition))!.bytesIn);
    const amounts = [...sums.values()];
    assert.ok(Math.max(...amounts) - Math.min(...amounts) <= 10 << 20, String(amounts));
    assert.equal(world.events('plan')[0]!.plan.moves[0]!.goal, 'bytesIn');
  });

  it('says what it would do without doing it, and does nothing where that is switched off', async () => {
    const balance = { ...defaultPolicy.balance, enabled: false };
    const world = await cluster(2, 40, { balance });
    world.addBroker(3);
    const before = world.commits.length;
    await world.run(20_000);
    assert.equal(world.commits.length, before);
    const plan = world.brokers.get(2)!.controller.preview();
    assert.ok(plan.moves.length >= 12);
    assert.equal(world.commits.length, before);
  });

  it('plans, tells once what it would move, and moves nothing in a dry run', async () => {
    const balance = { ...defaultPolicy.balance, dryRun: true };
    const world = await cluster(2, 40, { balance });
    world.addBroker(3);
    const before = world.commits.length;
    await world.run(60_000);
    assert.equal(world.commits.length, before);
    const plans = world.events('plan');
    assert.equal(plans.length, 1);
    assert.ok(plans[0]!.dryRun && plans[0]!.plan.moves.length >= 12);
    world.policy = { ...world.policy, balance: defaultPolicy.balance };
    await world.run(20_000);
    assert.ok(world.openOn()[3]! >= 12);
  });

  it('goes by the goals that are chosen only', async () => {
    const balance = { ...defaultPolicy.balance, goals: ['racks', 'bytesIn'] as const };
    const world = await cluster(2, 40, { balance });
    world.addBroker(3);
    await world.run(20_000);
    assert.equal(world.openOn()[3], undefined);
  });

  it('says once why something stays as it is', async () => {
    const balance = { ...defaultPolicy.balance, excludedTopics: ['t1'] };
    const world = await cluster(2, 40, { balance });
    world.addBroker(3);
    await world.run(60_000);
    assert.equal(world.openOn()[3], undefined);
    const plans = world.events('plan');
    assert.equal(plans.length, 1);
    assert.match(plans[0]!.plan.rejected[0]!.reason, /excluded/);
  });
});

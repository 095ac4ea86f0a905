/** What a broker answers operators, on a cluster of paper. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OperatorDesk } from '../../../src/cluster/operator-desk.ts';
import { defaultPolicy } from '../../../src/cluster/policy.ts';
import { defaultScaling } from '../../../src/cluster/scaling.ts';
import type { ClusterStatus, MovesReport, PlanReport, Refusal } from '../../../src/ports/cluster-reports.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { type ClusterWorld, settledCluster } from './cluster-world.ts';

function deskOf(
  world: ClusterWorld,
  node: number,
  policies = { cluster: defaultPolicy, scaling: defaultScaling },
) {
  const desk = new OperatorDesk({
    metadata: world.door(node, 1),
    membership: world,
    controller: world.brokers.get(node)!.controller,
    scaler: { decision: null },
    policies: () => policies,
    trail: { recorded: 7, after: (sequence) => [{ sequence: sequence + 1 }] },
    reports: async () => {
      throw new Error('no board');
    },
    nodeId: node,
    logger: silentLogger,
  });
  return async <Body>(what: string): Promise<{ status: number; body: Body }> => {
    const [method = '', path = ''] = what.split(' ');
    const url = new URL(path, 'http://broker');
    const answering = desk.answer(method, url.pathname, url.searchParams);
    // A commit takes its time on the world's clock.
    await world.run(100);
    return (await answering) as { status: number; body: Body };
  };
}

describe('operator desk', () => {
  it('says who is there, from any broker and without reports of load', async () => {
    const world = await settledCluster(3, 30);
    for (const node of [1, 2, 3]) {
      const { status, body } = await deskOf(world, node)<ClusterStatus>('GET /cluster');
      assert.equal(status, 200);
      assert.deepEqual(
        [body.node, body.leader, body.partitions],
        [node, 1, { all: 30, open: 30, moving: 0 }],
      );
      assert.deepEqual(
        body.brokers.map(({ node, state, alive, leads, partitions }) => [
          node,
          state,
          alive,
          leads,
          partitions,
        ]),
        [1, 2, 3].map((each) => [each, 'active', true, each === 1, 10]),
      );
    }
  });

  it('names who leads where only that one can answer', async () => {
    const world = await settledCluster(2, 4);
    for (const what of [
      'GET /cluster/plan',
      'GET /cluster/waiting',
      'POST /cluster/drain?node=1',
      'POST /cluster/abandon?log=x',
    ]) {
      const { status, body } = await deskOf(world, 2)<Refusal>(what);
      assert.deepEqual([status, body.code, body.leader, body.http], [421, 'NOT_CONTROLLER', 1, ''], what);
    }
    assert.equal((await deskOf(world, 2)<MovesReport>('GET /cluster/moves')).status, 200);
    assert.equal(world.image.brokers.get(1)!.state, 'active');
  });

  it('drains a broker and has it take partitions again, and never the last one', async () => {
    const world = await settledCluster(2, 20);
    const ask = deskOf(world, 1);
    const drained = await ask('POST /cluster/drain?node=2');
    assert.deepEqual(drained, { status: 200, body: { node: 2, state: 'draining', partitions: 10 } });
    const last = await ask<Refusal>('POST /cluster/drain?node=1');
    assert.deepEqual([last.status, last.body.code], [409, 'NO_OTHER_BROKER']);
    await world.run(5_000);
    assert.deepEqual(world.openOn(), { 1: 20 });
    assert.deepEqual((await ask<{ partitions: number }>('POST /cluster/drain?node=2')).body.partitions, 0);
    assert.equal((await ask('POST /cluster/undrain?node=2')).status, 200);
    await world.run(10_000);
    assert.equal(world.openOn()[2], 10);
    for (const wrong of ['', 'x', '9', '-1']) {
      const { status, body } = await ask<Refusal>(`POST /cluster/drain?node=${wrong}`);
      assert.deepEqual([status, body.code], [409, 'BROKER_UNKNOWN'], wrong);
    }
  });

  it('shows a plan without making it, and refuses what waits for nobody', async () => {
    const balance = { ...defaultPolicy.balance, enabled: false };
    const world = await settledCluster(2, 40, { balance });
    world.addBroker(3);
    await world.run(5_000);
    const commits = world.commits.length;
    const ask = deskOf(world, 1, { cluster: world.policy, scaling: defaultScaling });
    const { body } = await ask<PlanReport>('GET /cluster/plan');
    assert.ok(body.moves.length >= 12);
    assert.deepEqual([body.balance, body.scaling], ['off', 'off']);
    assert.equal(world.commits.length, commits);
    const { status, body: refused } = await ask<Refusal>('POST /cluster/abandon?log=none');
    assert.deepEqual([status, refused.code], [409, 'WAL_NOT_WAITING']);
    for (const [query, after] of [
      ['', 0],
      ['?after=5', 5],
      ['?after=x', 0],
    ] as const)
      assert.deepEqual((await ask(`GET /cluster/audit${query}`)).body, {
        recorded: 7,
        records: [{ sequence: after + 1 }],
      });
    assert.equal((await ask('GET /cluster/nothing')).status, 404);
    assert.equal((await ask('GET /cluster/drain?node=2')).status, 404);
  });
});

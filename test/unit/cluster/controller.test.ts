/** What the controller makes of brokers that come and go, on a cluster of paper (cluster-world.ts). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Controller } from '../../../src/cluster/controller.ts';
import { defaultPolicy } from '../../../src/cluster/policy.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { ClusterWorld, settledCluster as cluster } from './cluster-world.ts';

const disk = (path = '/disk') => ({ kind: 'block', location: path }) as const;

/** A new topic of one partition that nobody has. */
function openable(world: ClusterWorld): string {
  const topicId = 'BBBBBBBBBBBBBBBBBBBBBA';
  world.commit(1, 1, [{ type: 'topic', name: 'one', topicId, partitions: 1, configs: {}, internal: false }]);
  return topicId;
}

describe('controller: brokers that are lost', () => {
  it('fences a broker whose lease ran out, and has its streams served by the others in equal parts', async () => {
    const world = await cluster(3, 30);
    const before = world.commits.length;
    world.brokers.get(3)!.die();
    await world.run(1_000);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { 1: 15, 2: 15 });
    assert.equal(world.image.brokers.get(3)!.state, 'fenced');
    const made = world.commits.slice(before).filter(({ node }) => node === 1);
    assert.deepEqual(made[0]!.changes, [{ type: 'brokerState', node: 3, epoch: 1, state: 'fenced' }]);
    assert.deepEqual(
      world.events('fenced').map(({ node, cause }) => [node, cause]),
      [[3, 'its lease ran out']],
    );
    assert.equal(world.image.wals.get('w3.1.0')!.state, 'empty');
    assert.equal(world.image.wals.get('w3.1.0')!.epoch, 2);
  });

  it('gives the logs of two lost brokers to different takers', async () => {
    const world = await cluster(4, 40);
    world.brokers.get(3)!.die();
    world.brokers.get(4)!.die();
    await world.run(1_000);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { 1: 20, 2: 20 });
    const takers = world.events('claimed').map(({ to }) => to);
    assert.deepEqual(takers.sort(), [1, 2]);
  });

  it('gives all logs of one broker to one taker, in one commit', async () => {
    const world = new ClusterWorld({ changesMax: 2 });
    for (const node of [1, 2, 3]) world.addBroker(node);
    const logs = [0, 1, 2, 3].map(() => ({ kind: 'object', location: 'store:' }) as const);
    const broker = world.addBroker(4, { logs });
    world.addTopic(1, 40, [4]);
    // It lets go of all of them and opens them again, a quarter in each of its logs.
    for (const { topicId, partition } of world.partitions)
      world.commit(4, 1, [
        { type: 'close', topicId, partition, leaderEpoch: 0, endOffset: 0, stateObject: '' },
      ]);
    await world.run(200);
    const before = world.commits.length;
    broker.die();
    await world.run(3_000);
    world.assertSettled();
    const claims = world.commits
      .slice(before)
      .filter(({ node, changes }) => node === 1 && changes.some(({ type }) => type === 'wal'))
      .map(({ changes }) =>
        changes.map((change) => (change.type === 'wal' ? change.wal.state : change.type)),
      );
    assert.deepEqual(claims[0], ['open', 'open', 'open', 'open']);
    assert.equal(new Set(world.events('claimed').map(({ to }) => to)).size, 1);
  });

  it('moves a claim on when the taker is lost in turn', async () => {
    const world = await cluster(3, 30);
    for (const node of [1, 2]) world.brokers.get(node)!.slowReader = true;
    world.brokers.get(3)!.die();
    await world.run(300);
    const [first] = world.events('claimed');
    assert.equal(world.image.wals.get('w3.1.0')!.node, first!.to);
    const other = first!.to === 1 ? 2 : 1;
    world.brokers.get(first!.to)!.die();
    const last = world.brokers.get(other)!;
    last.slowReader = false;
    await world.run(1_000);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { [other]: 30 });
    assert.equal(world.image.wals.get('w3.1.0')!.epoch, 3);
  });

  it('ends the same wherever one controller ends and the next goes on', async () => {
    let died = 0;
    for (let after = 0; after < 20; after++) {
      const world = await cluster(5, 50, { changesMax: 1 });
      let made = 0;
      let over = false;
      world.beforeCommit = (node) => {
        if (made++ !== after || over) return;
        over = true;
        died++;
        world.brokers.get(node)!.die();
        // What it sent is lost with it.
        throw new MillraceError('unavailable', 'GONE', 'the broker died');
      };
      world.brokers.get(5)!.die();
      await world.run(20_000);
      world.assertSettled();
      const counts = Object.values(world.openOn());
      assert.equal(
        counts.reduce((sum, count) => sum + count),
        50,
      );
      assert.ok(Math.max(...counts) - Math.min(...counts) <= 3, `after ${after}: ${counts}`);
      assert.equal(counts.length, over ? 3 : 4);
    }
    assert.ok(died >= 10, `${died} controllers died`);
  });

  it('goes on after a commit whose answer was lost', async () => {
    const world = await cluster(3, 12);
    let failures = 3;
    world.beforeCommit = () => {
      if (failures-- > 0) throw new MillraceError('unavailable', 'AWAY', 'no answer');
    };
    world.brokers.get(3)!.die();
    await world.run(2_000);
    world.assertSettled();
    assert.equal(world.events('refused').length, 3);
    assert.equal(world.events('refused')[0]!.code, 'AWAY');
  });

  it('brings 1,250 partitions of a lost broker to the others in three commits', async () => {
    const world = await cluster(4, 1_000);
    world.addTopic(2, 1_000, [4]);
    await world.run(100);
    const before = world.commits.length;
    world.brokers.get(4)!.die();
    await world.run(2_000);
    world.assertSettled();
    const counts = Object.values(world.openOn());
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, String(counts));
    const sizes = world.commits
      .slice(before)
      .filter(({ changes }) => changes.some(({ type }) => type === 'assign' || type === 'brokerState'))
      .map(({ changes }) => changes.length);
    assert.deepEqual(sizes, [1, 1_000, 251]);
  });

  it('takes a log without streams for finished, so that nobody claims it', async () => {
    const world = await cluster(2, 4);
    const shared = { kind: 'block', location: 'shared:/nfs/a.wal' } as const;
    world.addBroker(3, { logs: [{ kind: 'object', location: 'store:' }, shared, disk()] });
    await world.run(100);
    world.brokers.get(3)!.die();
    await world.run(1_000);
    const states = [0, 1, 2].map((i) => world.image.wals.get(`w3.1.${i}`)!);
    assert.deepEqual(
      states.map(({ state, node }) => [state, node]),
      [
        ['abandoned', 3],
        ['empty', 3],
        ['open', 3],
      ],
    );
    assert.equal(world.events('claimed').length, 0);
  });
});

describe('controller: logs that others cannot read', () => {
  async function withDisk(policy = {}): Promise<ClusterWorld> {
    const world = new ClusterWorld(policy);
    for (const node of [1, 2]) world.addBroker(node);
    world.addBroker(3, { logs: [disk()] });
    world.addTopic(1, 12);
    world.load = { brokers: new Map(), streams: new Map(), logs: new Map([['w3.1.0', 40_000]]) };
    const freed = { sequence: 1, position: 4_096, chainCrc: 0 };
    const timeMs = world.clock.now() - 9_900;
    world.commit(3, 1, [{ type: 'upload', wal: 'w3.1.0', freed, timeMs, objects: [] }]);
    await world.run(100);
    world.brokers.get(3)!.die();
    await world.run(5_000);
    return world;
  }

  it('lets their streams wait for the broker, who goes on with them', async () => {
    const world = await withDisk();
    assert.deepEqual(world.openOn(), { 1: 4, 2: 4, 3: 4 });
    assert.deepEqual(
      world.partitions.map(({ target }) => target),
      Array(12).fill(-1),
    );
    assert.equal(world.image.wals.get('w3.1.0')!.state, 'open');
    const [loss] = world.brokers.get(1)!.controller.waiting();
    assert.equal(loss!.logId, 'w3.1.0');
    assert.deepEqual(
      loss!.streams.map(({ topic, partition, from }) => `${topic}-${partition}@${from}`),
      ['t1-2@0', 't1-5@0', 't1-8@0', 't1-11@0'],
    );
    assert.equal(world.events('waiting').length, 1);
    assert.equal(loss!.bytesEstimate, 40_000);
    world.load = null;
    assert.equal(world.brokers.get(1)!.controller.waiting()[0]!.bytesEstimate, loss!.bytesEstimate);
    assert.equal(world.brokers.get(2)!.controller.waiting()[0]!.bytesEstimate, null);
    // Its start closes and opens what is in its own log.
    const again = world.registerBroker(3, { logs: [], goesOn: ['w3.1.0'] });
    const own = world.partitions.filter(({ node }) => node === 3);
    world.commit(3, again.epoch, [
      { type: 'wal', wal: { ...world.image.wals.get('w3.1.0')!, epoch: 2 } },
      ...own.flatMap(({ topicId, partition }) => [
        { type: 'close', topicId, partition, leaderEpoch: 0, endOffset: 7, stateObject: '' } as const,
        { type: 'open', topicId, partition, leaderEpoch: 1, startOffset: 7, node: 3, wal: 'w3.1.0' } as const,
      ]),
    ]);
    again.join();
    await world.run(1_000);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { 1: 4, 2: 4, 3: 4 });
    assert.equal(world.brokers.get(1)!.controller.waiting().length, 0);
  });

  it('gives them up when an operator says so, and says what that may lose', async () => {
    const world = await withDisk();
    const { controller } = world.brokers.get(1)!;
    assert.throws(() => world.brokers.get(2)!.controller.abandon('w3.1.0'), { code: 'NOT_CONTROLLER' });
    assert.throws(() => controller.abandon('w1.1.0'), { code: 'WAL_NOT_WAITING' });
    assert.equal(controller.abandon('w3.1.0').streams.length, 4);
    await world.run(1_000);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { 1: 6, 2: 6 });
    assert.equal(world.image.wals.get('w3.1.0')!.state, 'abandoned');
    const [abandoned] = world.events('abandoned');
    assert.equal(abandoned!.by, 'operator');
    assert.equal(abandoned!.loss.node, 3);
    assert.equal(abandoned!.loss.streams.length, 4);
    assert.equal(abandoned!.loss.bytesEstimate, 40_000);
  });

  it('gives them up after the time that the policy states, and not before', async () => {
    const world = await withDisk({ unreachableWals: 'abandon', unreachableWaitMs: 20_000 });
    await world.run(14_000);
    assert.equal(world.image.wals.get('w3.1.0')!.state, 'open');
    await world.run(8_000);
    world.assertSettled();
    assert.equal(world.events('abandoned')[0]!.by, 'policy');
  });

  it('has the streams of a memory log closed by a taker where their objects end', async () => {
    const world = new ClusterWorld();
    world.addBroker(1);
    world.addBroker(2, { logs: [{ kind: 'memory', location: 'memory:' }] });
    world.addTopic(1, 4);
    await world.run(100);
    world.brokers.get(2)!.die();
    await world.run(1_000);
    world.assertSettled();
    const wal = world.image.wals.get('w2.1.0')!;
    assert.deepEqual([wal.state, wal.node], ['abandoned', 1]);
    assert.equal(world.events('abandoned')[0]!.by, 'memory');
  });

  it('finds a new taker for a log that was given up while its streams are not closed', async () => {
    const world = new ClusterWorld();
    for (const node of [1, 2]) world.addBroker(node);
    world.addBroker(3, { logs: [{ kind: 'memory', location: 'memory:' }] });
    world.addTopic(1, 6, [3]);
    await world.run(100);
    for (const node of [1, 2]) world.brokers.get(node)!.slowReader = true;
    world.brokers.get(3)!.die();
    await world.run(500);
    const taker = world.image.wals.get('w3.1.0')!.node;
    world.brokers.get(taker)!.die();
    world.brokers.get(3 - taker)!.slowReader = false;
    await world.run(2_000);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { [3 - taker]: 6 });
    assert.equal(world.events('abandoned').length, 1);
  });
});

describe('controller: brokers that come, leave and come back', () => {
  it('moves everything away from a broker that drains', async () => {
    const world = await cluster(3, 30);
    world.commit(3, 1, [{ type: 'brokerState', node: 3, epoch: 1, state: 'draining' }]);
    await world.run(1_000);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { 1: 15, 2: 15 });
    assert.equal(world.events('assigned')[0]!.cause, 'draining broker');
    assert.equal(world.image.brokers.get(3)!.state, 'draining');
  });

  it('leaves streams with the last broker, whether it drains or not', async () => {
    const world = await cluster(1, 3);
    world.commit(1, 1, [{ type: 'brokerState', node: 1, epoch: 1, state: 'draining' }]);
    const before = world.commits.length;
    await world.run(10_000);
    assert.deepEqual(world.openOn(), { 1: 3 });
    assert.equal(world.commits.length, before);
  });

  it('gives a draining or lost broker nothing that was on its way to it', async () => {
    const world = await cluster(3, 9);
    for (const node of [1, 2, 3]) world.brokers.get(node)!.stuck = true;
    const [first] = world.partitions;
    world.commit(1, 1, [{ type: 'assign', topicId: first!.topicId, partition: 0, node: 3 }]);
    world.commit(1, 1, [{ type: 'brokerState', node: 3, epoch: 1, state: 'draining' }]);
    await world.run(200);
    // It stays where it is open.
    assert.equal(first!.target, -1);
  });

  it('fences a registration that never joins after the grace, and not before', async () => {
    const world = await cluster(2, 4, { joinGraceMs: 3_000 });
    world.registerBroker(3);
    await world.run(2_900);
    assert.equal(world.image.brokers.get(3)!.state, 'active');
    await world.run(500);
    assert.equal(world.image.brokers.get(3)!.state, 'fenced');
    assert.equal(world.events('fenced')[0]!.cause, 'it registered and never joined');
  });

  it('does not fence a broker whose lease came back before anybody acted', async () => {
    const world = await cluster(3, 6);
    world.setAlive(3, null);
    world.setAlive(3, 1);
    await world.run(1_000);
    assert.equal(world.image.brokers.get(3)!.state, 'active');
    assert.equal(world.events('fenced').length, 0);
  });

  it('leaves a broker alone that is alive under an epoch which the image does not know yet', async () => {
    const world = await cluster(3, 6);
    world.setAlive(3, 2);
    await world.run(1_000);
    assert.equal(world.image.brokers.get(3)!.state, 'active');
    world.setAlive(3, null);
    await world.run(1_000);
    assert.equal(world.image.brokers.get(3)!.state, 'fenced');
  });

  it('lets a broker come back under a new epoch while its former log is claimed', async () => {
    const world = await cluster(3, 30);
    for (const node of [1, 2]) world.brokers.get(node)!.slowReader = true;
    world.brokers.get(3)!.die();
    await world.run(300);
    world.addBroker(3);
    for (const node of [1, 2]) {
      const broker = world.brokers.get(node)!;
      broker.slowReader = false;
    }
    world.commit(1, 1, []);
    await world.run(2_000);
    world.assertSettled();
    assert.equal(world.image.brokers.get(3)!.epoch, 2);
    assert.equal(world.image.wals.get('w3.1.0')!.state, 'empty');
    assert.equal(world.image.wals.get('w3.2.0')!.state, 'open');
  });

  it('has streams of topics opened that nobody had taken', async () => {
    const world = new ClusterWorld();
    world.addBroker(1);
    world.addBroker(2);
    world.commit(1, 1, [
      {
        type: 'topic',
        name: 'later',
        topicId: 'AAAAAAAAAAAAAAAAAAAAAA',
        partitions: 4,
        configs: {},
        internal: false,
      },
    ]);
    await world.run(500);
    world.assertSettled();
    assert.deepEqual(world.openOn(), { 1: 2, 2: 2 });
    assert.equal(world.events('assigned')[0]!.cause, 'not open yet');
  });

  it('gives a stream another way when its new broker does not open it in time, and that broker nothing more', async () => {
    const balance = { ...defaultPolicy.balance, enabled: false };
    const world = await cluster(3, 9, { moveTimeoutMs: 5_000, balance });
    world.brokers.get(3)!.stuck = true;
    const [first] = world.partitions;
    world.commit(1, 1, [{ type: 'assign', topicId: first!.topicId, partition: 0, node: 3 }]);
    await world.run(4_000);
    assert.deepEqual([first!.state, first!.target], ['closed', 3]);
    await world.run(2_000);
    assert.equal(first!.state, 'open');
    assert.ok(first!.node !== 3);
    assert.equal(world.events('assigned').at(-1)!.cause, 'overdue');
    assert.equal(world.brokers.get(1)!.controller.movesInFlight, 0);
    // What is lost now goes to the broker that opens.
    world.brokers.get(2)!.die();
    await world.run(1_000);
    assert.equal(world.openOn()[1], 6);
    world.brokers.get(3)!.stuck = false;
    world.policy = { ...world.policy, balance: defaultPolicy.balance };
    world.commit(3, 1, [
      {
        type: 'open',
        topicId: openable(world),
        partition: 0,
        leaderEpoch: 0,
        startOffset: 0,
        node: 3,
        wal: 'w3.1.0',
      },
    ]);
    world.addTopic(7, 12, [1]);
    await world.run(10_000);
    world.assertSettled();
    assert.ok(world.openOn()[3]! > 8, 'balanced again');
  });

  it('tries one broker after the other where none opens a stream, and commits no more than that', async () => {
    const balance = { ...defaultPolicy.balance, enabled: false };
    const world = await cluster(2, 4, { moveTimeoutMs: 5_000, balance });
    for (const node of [1, 2]) world.brokers.get(node)!.stuck = true;
    const topicId = openable(world);
    const before = world.commits.length;
    const targets = new Set<number>();
    for (let i = 0; i < 10; i++) {
      await world.run(5_000);
      targets.add(world.image.topicsById.get(topicId)!.partitions[0]!.target);
    }
    assert.deepEqual(targets, new Set([1, 2]));
    const made = world.commits.length - before;
    assert.ok(made >= 8 && made <= 11, `${made} commits`);
    world.brokers.get(2)!.die();
    await world.run(30_000);
    const alone = world.commits.length;
    await world.run(30_000);
    assert.equal(world.commits.length, alone, 'there is no other to try');
  });

  it('leaves a stream with its owner that does not let go of it in time', async () => {
    const world = await cluster(3, 9, { moveTimeoutMs: 5_000 });
    const first = world.partitions.find(({ node }) => node === 3)!;
    world.brokers.get(3)!.stuck = true;
    world.commit(1, 1, [{ type: 'assign', topicId: first.topicId, partition: first.partition, node: 2 }]);
    await world.run(6_000);
    assert.deepEqual([first.state, first.node, first.target], ['open', 3, -1]);
  });
});

describe('controller: who leads', () => {
  it('commits nothing while another leads, or its own lease is in doubt', async () => {
    const world = await cluster(3, 6);
    assert.equal(world.image.controller, 1);
    const before = world.commits.length;
    let validUntil = Number.NEGATIVE_INFINITY;
    const membership = world.membership(1);
    Object.defineProperty(membership, 'validUntil', { get: () => validUntil });
    await world.brokers.get(1)!.controller.stop();
    const controller = new Controller({
      metadata: world.door(1, 1),
      membership,
      clock: world.clock,
      logger: silentLogger,
      nodeId: 1,
      policy: () => world.policy,
      load: () => null,
      audit: { record() {} },
    });
    controller.start();
    world.brokers.get(3)!.die();
    await world.run(2_000);
    assert.equal(controller.leads, false);
    assert.deepEqual(
      world.commits.slice(before).filter(({ node }) => node === 2),
      [],
    );
    assert.equal(world.image.brokers.get(3)!.state, 'active');
    validUntil = Number.POSITIVE_INFINITY;
    await world.run(1_000);
    world.assertSettled();
  });

  it('stands back once another has said in the metadata that it leads', async () => {
    const world = await cluster(3, 6);
    let seenAt: number | null = null;
    const [first, second] = [world.brokers.get(1)!, world.brokers.get(2)!];
    await first.controller.stop();
    const membership = world.membership(1);
    // Its view of the membership stands still from here on.
    Object.defineProperty(membership, 'seenAt', { get: () => seenAt ?? world.clock.boottime() });
    Object.defineProperty(membership, 'leader', { get: () => ({ node: 1, epoch: 1 }) });
    const controller = new Controller({
      metadata: world.door(1, 1),
      membership,
      clock: world.clock,
      logger: silentLogger,
      nodeId: 1,
      policy: () => world.policy,
      load: () => null,
      audit: { record() {} },
    });
    controller.start();
    await world.run(100);
    assert.equal(controller.leads, true);
    seenAt = world.clock.boottime();
    world.leader = { node: 2, epoch: 1 };
    world.setAlive(2, 1);
    await world.run(1_000);
    assert.equal(second.controller.leads, true);
    assert.equal(world.image.controller, 2);
    assert.equal(controller.leads, false);
    assert.equal(
      world.commits.filter(({ changes }) => changes.some(({ type }) => type === 'controller')).length,
      2,
    );
  });

  it('ends when its broker may not commit any more', async () => {
    const world = await cluster(3, 6);
    const { controller } = world.brokers.get(1)!;
    world.commit(2, 1, [{ type: 'brokerState', node: 1, epoch: 1, state: 'fenced' }]);
    world.brokers.get(3)!.die();
    const before = world.commits.length;
    await world.run(2_000);
    assert.equal(controller.leads, false);
    assert.equal(world.commits.slice(before).filter(({ node }) => node === 1).length, 0);
  });

  it('never commits more than the policy allows at a time', async () => {
    const world = await cluster(3, 60, { changesMax: 7 });
    const before = world.commits.length;
    world.brokers.get(3)!.die();
    await world.run(2_000);
    world.assertSettled();
    const assigns = world.commits
      .slice(before)
      .filter(({ changes }) => changes.some(({ type }) => type === 'assign'))
      .map(({ changes }) => changes.length);
    assert.equal(Math.max(...assigns), 7);
    assert.equal(
      assigns.reduce((sum, size) => sum + size),
      21,
    );
  });
});

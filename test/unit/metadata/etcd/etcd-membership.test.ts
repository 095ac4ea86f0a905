/** Who is alive and who leads, over a simulated etcd: what a lease proves, and how soon its loss is seen. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EtcdMembership } from '../../../../src/metadata/etcd/etcd-membership.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { EtcdWorld } from '../../../support/etcd-world.ts';
import type { SimEtcdClient } from '../../../support/sim-etcd.ts';

const sessionMs = 3_000;

interface Member {
  readonly membership: EtcdMembership;
  readonly client: SimEtcdClient;
  registered: boolean;
  /** Views that its listeners were told of. */
  readonly views: string[];
}

const view = ({ alive, leader }: EtcdMembership): string =>
  `${[...alive].map(([node, epoch]) => `${node}:${epoch}`).join(' ')}, ${leader === null ? 'nobody' : `${leader.node}:${leader.epoch}`} leads`;

async function opened(world: EtcdWorld): Promise<Member> {
  const client = world.etcd.client();
  const member = { client, registered: true, views: [] as string[] };
  const membership = await world.run(
    EtcdMembership.open({
      kv: client,
      prefix: 'm',
      clock: world.clock,
      logger: silentLogger,
      sessionMs,
      isRegistered: () => member.registered,
    }),
  );
  membership.watch(() => member.views.push(view(membership)));
  return Object.assign(member, { membership });
}

async function joined(world: EtcdWorld, node: number, epoch = 1): Promise<Member> {
  const member = await opened(world);
  await world.run(member.membership.join(node, epoch));
  await world.clock.advanceAsync(10);
  return member;
}

describe('membership in etcd', () => {
  it('shows who is alive to all, and lets one lead', async () => {
    const world = new EtcdWorld();
    const look = await opened(world);
    assert.equal(view(look.membership), ', nobody leads');
    const members = [await joined(world, 1), await joined(world, 2, 7), await joined(world, 3)];
    await world.clock.advanceAsync(10);
    for (const { membership } of [look, ...members]) assert.equal(view(membership), '1:1 2:7 3:1, 1:1 leads');
    assert.deepEqual(look.views, [
      '1:1, nobody leads',
      '1:1, 1:1 leads',
      '1:1 2:7, 1:1 leads',
      '1:1 2:7 3:1, 1:1 leads',
    ]);
    await world.clock.advanceAsync(60_000);
    for (const { membership } of members) assert.equal(view(membership), '1:1 2:7 3:1, 1:1 leads');
    assert.equal(look.views.length, 4);
  });

  it('sees within its session and a half second that one is gone, and gives its lead to another', async () => {
    for (const afterMs of [1, 400, 999]) {
      const world = new EtcdWorld();
      const [a, b] = [await joined(world, 1), await joined(world, 2)];
      await world.clock.advanceAsync(10_000 + afterMs);
      a.client.cut = true;
      await world.clock.advanceAsync(1_990);
      assert.ok(b.membership.alive.has(1), 'a lease lasts two thirds of a session without being kept alive');
      await world.clock.advanceAsync(1_600);
      assert.equal(view(b.membership), '2:1, 2:1 leads');
      // The one that is cut off sees nothing, and knows that it may be wrong.
      assert.equal(view(a.membership), '1:1 2:1, 1:1 leads');
      assert.ok(a.membership.validUntil < world.clock.boottime());
      assert.ok(a.membership.seenAt < world.clock.boottime() - 3_000);
      a.client.cut = false;
      await world.clock.advanceAsync(3_000);
      for (const { membership } of [a, b]) assert.equal(view(membership), '2:1 1:1, 2:1 leads');
    }
  });

  it('is gone at once when it leaves', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await joined(world, 1), await joined(world, 2)];
    await world.run(a.membership.leave());
    await world.clock.advanceAsync(20);
    assert.equal(view(b.membership), '2:1, 2:1 leads');
    await world.clock.advanceAsync(10_000);
    assert.equal(view(b.membership), '2:1, 2:1 leads');
    assert.equal(a.membership.validUntil, Number.NEGATIVE_INFINITY);
    assert.equal(world.etcd.leases.length, 1);
  });

  it('states its lease as long as from the sending of what granted or kept it, no longer', async () => {
    let latency = 1;
    const world = new EtcdWorld(1, { latencyMs: () => latency });
    const { membership, client } = await joined(world, 1);
    latency = 300;
    await world.clock.advanceAsync(10_000);
    for (let i = 0; i < 50; i++) {
      await world.clock.advanceAsync(100);
      // Sent at the tick, answered 600 ms later, of three seconds.
      const left = membership.validUntil - world.clock.boottime();
      assert.ok(left > 3_000 - 1_000 - 600 - 1 && left <= 3_000 - 600, `${left} ms left`);
    }
    client.cut = true;
    const until = membership.validUntil;
    await world.clock.advanceAsync(until - world.clock.boottime() - 5);
    assert.equal(world.etcd.leases.length, 1, 'it outlives what is stated');
    await world.clock.advanceAsync(2_000);
    assert.equal(membership.validUntil, until);
  });

  it('knows after a suspension that its lease is over, and is back under the same epoch', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await joined(world, 1), await joined(world, 2)];
    await world.clock.advanceAsync(5_000);
    assert.ok(a.membership.validUntil > world.clock.boottime());
    world.clock.suspend(60_000);
    assert.ok(a.membership.validUntil < world.clock.boottime());
    await world.clock.advanceAsync(4_000);
    for (const { membership } of [a, b]) {
      assert.deepEqual([...membership.alive].sort(), [
        [1, 1],
        [2, 1],
      ]);
      assert.ok(membership.validUntil > world.clock.boottime());
    }
  });

  it('comes back when etcd ended its lease before its time, unless its registration is over', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await joined(world, 1), await joined(world, 2)];
    world.etcd.revokeEarly(world.etcd.leases[0]!);
    await world.clock.advanceAsync(2);
    assert.equal(a.membership.validUntil, Number.NEGATIVE_INFINITY);
    await world.clock.advanceAsync(50);
    assert.equal(view(b.membership), '2:1 1:1, 2:1 leads');
    assert.ok(a.membership.validUntil > world.clock.boottime());
    a.registered = false;
    world.etcd.revokeEarly(world.etcd.leases[1]!);
    await world.clock.advanceAsync(30_000);
    assert.equal(view(b.membership), '2:1, 2:1 leads');
    assert.equal(a.membership.validUntil, Number.NEGATIVE_INFINITY);
  });

  it('takes no late word of its former lease’s end for that of the present one', async () => {
    const world = new EtcdWorld();
    const a = await joined(world, 1);
    // Only a keep-alive tells that the lease is gone.
    a.client.told = () => {};
    const range = a.client.range.bind(a.client);
    let ended = false;
    a.client.range = async (request) => {
      if (ended || request.end === undefined) return range(request);
      ended = true;
      // A look finds the key gone, and its answer comes when the broker has joined again.
      world.etcd.revokeEarly(world.etcd.leases[0]!);
      const found = await range(request);
      await new Promise<void>((resolve) => void world.clock.after(100, resolve));
      return found;
    };
    await world.clock.advanceAsync(10_000);
    assert.ok(ended);
    assert.equal(view(a.membership), '1:1, 1:1 leads');
    assert.equal(a.client.calls.grant, 2);
  });

  it('takes the place of its former life, its lead too, and yields to a later one', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await joined(world, 1, 4), await joined(world, 2)];
    assert.equal(view(b.membership), '1:4 2:1, 1:4 leads');
    a.client.cut = true;
    const again = await joined(world, 1, 5);
    await world.clock.advanceAsync(50);
    assert.equal(view(b.membership), '1:5 2:1, 1:5 leads');
    const former = await opened(world);
    assert.equal(await world.outcome(former.membership.join(1, 4)), 'MEMBERSHIP_SUPERSEDED');
    // The former lease's end takes nothing of the new life with it.
    await world.clock.advanceAsync(10_000);
    assert.equal(view(b.membership), '1:5 2:1, 1:5 leads');
    // Cut off, it does not know that it is over; when it can see, it does not come back.
    a.client.cut = false;
    await world.clock.advanceAsync(10_000);
    assert.equal(view(b.membership), '1:5 2:1, 1:5 leads');
    assert.equal(a.membership.validUntil, Number.NEGATIVE_INFINITY);
    assert.ok(again.membership.validUntil > world.clock.boottime());
  });

  it('keeps its view while there is no quorum, and says since when', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await joined(world, 1), await joined(world, 2)];
    world.etcd.quorum = false;
    const { seenAt } = a.membership;
    await world.clock.advanceAsync(60_000);
    for (const { membership } of [a, b]) assert.equal(view(membership), '1:1 2:1, 1:1 leads');
    assert.ok(a.membership.seenAt <= seenAt + 1_000);
    assert.ok(a.membership.validUntil < world.clock.boottime());
    world.etcd.quorum = true;
    await world.clock.advanceAsync(3_000);
    for (const { membership } of [a, b]) {
      assert.equal(view(membership), '1:1 2:1, 1:1 leads');
      assert.ok(membership.validUntil > world.clock.boottime());
      assert.ok(membership.seenAt > world.clock.boottime() - 1_100);
    }
  });

  it('sees by looks what a dead watch, or one whose history is gone, does not tell', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await joined(world, 1), await joined(world, 2)];
    b.client.told = () => {};
    await world.run(a.membership.leave());
    await world.clock.advanceAsync(1_100);
    assert.equal(view(b.membership), '2:1, nobody leads');
    await world.clock.advanceAsync(1_100);
    assert.equal(view(b.membership), '2:1, 2:1 leads');
    const c = await joined(world, 3);
    c.client.cut = true;
    for (let n = 4; n < 8; n++) await joined(world, n);
    world.etcd.compact(world.etcd.revision);
    c.client.cut = false;
    await world.clock.advanceAsync(1_100);
    assert.equal(c.membership.alive.size, 6);
    // And the watch that took the place of the ended one tells at once.
    await joined(world, 8);
    assert.equal(c.membership.alive.size, 7);
  });

  it('joins and is elected once whatever the fate of its requests', async () => {
    // The grant, the key under it, and standing for leader.
    for (const fate of ['lost', 'answer lost', 'late'] as const)
      for (let position = 0; position < 3; position++) {
        const world = new EtcdWorld();
        const a = await opened(world);
        const b = await joined(world, 2);
        await world.run(b.membership.leave());
        // Writes before it go through: then the fate strikes.
        const strike = (): void => void a.client.fates.push(fate);
        let writes = 0;
        for (const name of ['txn', 'grant'] as const) {
          const call = a.client[name].bind(a.client) as (request: never) => Promise<never>;
          a.client[name] = ((request: never) => {
            if (writes++ === position) strike();
            return call(request);
          }) as never;
        }
        while ((await world.outcome(a.membership.join(1, 3))) !== 'done') await world.clock.advanceAsync(100);
        await world.clock.advanceAsync(15_000);
        assert.equal(view(a.membership), '1:3, 1:3 leads', `${fate} of write ${position}`);
        assert.ok(a.membership.validUntil > world.clock.boottime());
      }
  });

  it('begins anew in an etcd that has lost everything', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await joined(world, 1), await joined(world, 2)];
    await world.clock.advanceAsync(30_000);
    world.etcd.wipe();
    await world.clock.advanceAsync(5_000);
    for (const { membership } of [a, b]) {
      assert.deepEqual([...membership.alive.keys()].sort(), [1, 2]);
      assert.ok(membership.leader !== null && membership.alive.has(membership.leader.node));
      assert.ok(membership.validUntil > world.clock.boottime());
    }
    await world.run(a.membership.leave());
    await world.clock.advanceAsync(20);
    assert.equal(view(b.membership), '2:1, 2:1 leads');
  });

  it('costs etcd two small requests a broker for each third of a session', async () => {
    const world = new EtcdWorld();
    const { client } = await joined(world, 1);
    const before = { ...client.calls };
    await world.clock.advanceAsync(60_000);
    assert.equal(client.calls.keepAlive - before.keepAlive, 60);
    assert.equal(client.calls.range - before.range, 60);
    assert.deepEqual([client.calls.txn, client.calls.grant], [before.txn, before.grant]);
  });
});

/** Membership over a real etcd of three members: joins, a broker that falls silent, and the loss of etcd's leader. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { EtcdMembership } from '../../../src/metadata/etcd/etcd-membership.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { SystemClock } from '../../../src/threads/adapters/system-clock.ts';
import { etcdKvOn } from '../../support/etcd-clients.ts';
import { startEtcd } from '../../support/etcd-server.ts';
import { patienceMs } from '../../support/patience.ts';

it('members of a real etcd see each other come and go, and outlive the loss of any member of it', async (test) => {
  const etcd = await startEtcd({ members: 3 });
  if (typeof etcd === 'string') return test.skip(etcd);
  const leaving: (() => Promise<void>)[] = [];
  test.after(async () => {
    for (const leave of leaving) await leave();
    await etcd.stop();
  });
  const clock = new SystemClock();
  const views: string[] = [];
  const open = async (node: number) => {
    const endpoints = [...etcd.endpoints.slice(node), ...etcd.endpoints.slice(0, node)];
    const kv = etcdKvOn(endpoints, { timeoutMs: 60_000 });
    const membership = await EtcdMembership.open({
      kv,
      prefix: 'cluster',
      clock,
      logger: silentLogger,
      sessionMs: 3_000,
      isRegistered: () => true,
    });
    leaving.push(async () => {
      await membership.leave();
      await kv.close();
    });
    return { kv, membership };
  };
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    const deadline = performance.now() + patienceMs;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`never came: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const members = [await open(0), await open(1), await open(2)] as const;
  for (const [node, { membership }] of members.entries()) await membership.join(node, node + 10);
  await until('all alive', () => members.every(({ membership }) => membership.alive.size === 3));
  for (const { membership } of members) {
    assert.deepEqual([...membership.alive].sort(), [
      [0, 10],
      [1, 11],
      [2, 12],
    ]);
    assert.ok(membership.validUntil > clock.boottime());
  }
  await until('a leader', () => members.every(({ membership }) => membership.leader?.node === 0));
  members[2].membership.watch(() => views.push([...members[2].membership.alive.keys()].join()));
  // Its lease runs out: it says nothing any more.
  const silentAt = performance.now();
  await members[0].kv.close();
  await until('broker 0 gone', () => !members[2].membership.alive.has(0));
  test.diagnostic(`gone after ${Math.round(performance.now() - silentAt)} ms, etcd ${etcd.version}`);
  await until('a new leader', () => (members[2].membership.leader?.node ?? 0) > 0);
  // Of etcd's members each is lost in turn, or stops, its leader among them.
  for (const member of [0, 1, 2]) {
    if (member === 1) etcd.pause(member);
    else await etcd.kill(member);
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    if (member === 1) etcd.resume(member);
    else await etcd.restart(member);
  }
  // An etcd leader that was stopped may end leases when it wakes: whoever lost one is back.
  await until('all back', () =>
    members.slice(1).every(({ membership }) => {
      const { alive, leader } = membership;
      return (
        alive.size === 2 &&
        leader !== null &&
        alive.has(leader.node) &&
        membership.validUntil > clock.boottime()
      );
    }),
  );
  test.diagnostic(`broker 2 saw ${views.join('; ')}`);
});

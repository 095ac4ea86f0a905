/** Brokers of a cluster over a simulated etcd: whoever leads keeps the bucket's journal. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { openEtcdAuthority } from '../../../../src/metadata/etcd/etcd-authority.ts';
import { MetadataJournal } from '../../../../src/metadata/metadata-journal.ts';
import { EtcdWorld } from '../../../support/etcd-world.ts';
import { topic } from '../fixtures.ts';

it('what brokers post on the board is read by all, the newest of each', async () => {
  const world = new EtcdWorld();
  const open = () =>
    world.run(openEtcdAuthority({ ...world.options(world.etcd.client()), sessionMs: 3_000 }));
  const [a, b] = [await open(), await open()];
  assert.deepEqual([...(await world.run(a.board!.read()))], []);
  for (const text of ['old', 'new']) await world.run(a.board!.post(1, Buffer.from(text)));
  await world.run(b.board!.post(12, Buffer.from('other')));
  const texts = async () =>
    [...(await world.run(b.board!.read()))].map(([node, value]) => [node, Buffer.from(value).toString()]);
  assert.deepEqual(await texts(), [
    [1, 'new'],
    [12, 'other'],
  ]);
  await world.run(b.board!.remove(1));
  assert.deepEqual(await texts(), [[12, 'other']]);
});

it('the bucket’s journal goes on with the lead, from one broker to the next', async () => {
  const world = new EtcdWorld();
  const started = async (node: number) => {
    const client = world.etcd.client();
    const authority = await world.run(openEtcdAuthority({ ...world.options(client), sessionMs: 3_000 }));
    await world.run(authority.claim.claim());
    const endpoints = [{ listener: 'plain', tls: false, host: `broker-${node}`, port: 9092 }];
    const { store, epoch } = await world.run(authority.claim.register({ node, endpoints, rack: null }));
    await world.run(authority.membership!.join(node, epoch));
    return { ...authority, store, client };
  };
  const brokers = [await started(1), await started(2), await started(3)] as const;
  let n = 0;
  const held = async (broker: (typeof brokers)[number]): Promise<void> => {
    await world.run(broker.store.persisted(await world.run(broker.store.commit([topic(n++)]))));
  };
  await held(brokers[1]);
  assert.equal(brokers[2].membership!.leader?.node, 1);
  // Given up in order.
  await world.run(brokers[0].membership!.leave());
  await held(brokers[1]);
  assert.equal(brokers[2].membership!.leader?.node, 2);
  // Cut off: it takes itself for the leader still, and what it appends is fenced.
  brokers[1].client.cut = true;
  await held(brokers[2]);
  assert.equal(brokers[2].membership!.leader?.node, 3);
  brokers[1].client.cut = false;
  await world.clock.advanceAsync(10_000);
  await held(brokers[1]);
  const journal = new MetadataJournal(world.options());
  await world.run(journal.load());
  assert.ok(journal.live.snapshot().equals(brokers[2].store.snapshot()));
  for (const { release } of brokers) await world.run(release());
  assert.deepEqual(world.etcd.leases, []);
});

/** The simulated etcd keeps the contract of the key space, and does to its clients what it is told to. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { etcdKvContract } from '../../../support/etcd-kv-contract.ts';
import { SimEtcd } from '../../../support/sim-etcd.ts';
import { HandClock, settle } from '../../../support/store-fixtures.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

etcdKvContract('simulated', () => {
  const clock = new HandClock();
  const etcd = new SimEtcd({ clock });
  return Promise.resolve({
    client: () => etcd.client(),
    pass: async (ms) => {
      await settle();
      clock.advance(ms);
      await settle();
    },
    close: () => Promise.resolve(),
  });
});

describe('simulated etcd', () => {
  const put = (key: string) => ({ success: [{ type: 'put', key, value: Buffer.from('1') }] }) as const;
  const world = () => {
    const clock = new VirtualClock();
    const etcd = new SimEtcd({ clock, latencyMs: () => 2, timeoutMs: 1_000 });
    return { clock, etcd, client: etcd.client() };
  };
  const codeOf = (promise: Promise<unknown>) =>
    promise.then(
      () => 'done',
      (error: { code: string }) => error.code,
    );

  it('answers a write of unknown fate alike whether it was done, is done later, or never', async () => {
    const { clock, etcd, client } = world();
    client.fates.push('answer lost', 'late', 'lost');
    const outcomes = ['a', 'b', 'c'].map((key) => codeOf(client.txn(put(key))));
    await clock.advanceAsync(1_100);
    assert.deepEqual(await Promise.all(outcomes), ['ETCD_UNKNOWN', 'ETCD_UNKNOWN', 'ETCD_UNKNOWN']);
    assert.deepEqual([...etcd.dump().keys()], ['a']);
    await clock.advanceAsync(5_000);
    assert.deepEqual([...etcd.dump().keys()], ['a', 'b']);
  });

  it('keeps a client that is cut off from what happens, and tells it afterwards', async () => {
    const { clock, etcd, client } = world();
    const other = etcd.client();
    const seen: string[] = [];
    client.watch(
      { key: 'a', end: 'z', fromRevision: 1 },
      { events: (all) => seen.push(...all.map((each) => each.type)), ended: () => seen.push('ended') },
    );
    client.cut = true;
    const reads = codeOf(client.range({ key: 'a' }));
    const writes = codeOf(client.txn(put('a')));
    void other.txn(put('b'));
    await clock.advanceAsync(1_100);
    assert.deepEqual([await reads, await writes], ['ETCD_UNAVAILABLE', 'ETCD_UNKNOWN']);
    assert.deepEqual([...etcd.dump().keys()], ['b']);
    assert.deepEqual(seen, []);
    client.cut = false;
    await clock.advanceAsync(10);
    assert.deepEqual(seen, ['put']);
  });

  it('ends no lease while there is no quorum, and gives each its time again afterwards', async () => {
    const { clock, etcd, client } = world();
    const granted = client.grant(2);
    await clock.advanceAsync(10);
    const { id } = await granted;
    etcd.quorum = false;
    await clock.advanceAsync(60_000);
    assert.deepEqual(etcd.leases, [id]);
    etcd.quorum = true;
    await clock.advanceAsync(1_500);
    assert.deepEqual(etcd.leases, [id]);
    await clock.advanceAsync(1_100);
    assert.deepEqual(etcd.leases, []);
  });
});

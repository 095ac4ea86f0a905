/** A cluster's metadata over three real etcd members, of which some fail. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { MetadataChange, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import type { MillraceError } from '../../../src/ports/errors.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { etcdKvOn, openEtcdMetadata } from '../../support/etcd-clients.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { patienceMs } from '../../support/patience.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { topic } from '../../unit/metadata/fixtures.ts';

const pass = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never came: ${what}`);
    await pass(20);
  }
}

/** Three members and two brokers, each of which asks another member first. */
async function cluster(test: TestContext): Promise<{
  etcd: EtcdServer;
  stores: readonly [MetadataStore, MetadataStore];
  fenced: MillraceError[];
} | null> {
  const etcd = await startEtcd({ members: 3 });
  if (typeof etcd === 'string') {
    test.skip(etcd);
    return null;
  }
  test.diagnostic(`etcd ${etcd.version}`);
  const bucket = new MemoryStore(new HandClock());
  const fenced: MillraceError[] = [];
  const stores: MetadataStore[] = [];
  const ends: (() => Promise<unknown>)[] = [];
  test.after(async () => {
    for (const end of ends) await end();
    await etcd.stop();
  });
  for (const node of [0, 1]) {
    const endpoints = [...etcd.endpoints.slice(node), ...etcd.endpoints.slice(0, node)];
    const kv = etcdKvOn(endpoints);
    const claim = await openEtcdMetadata(kv, 'cluster', bucket, (error) => fenced.push(error));
    ends.push(
      () => claim.close(),
      () => kv.close(),
    );
    await claim.claim();
    const listener = { listener: 'plain', tls: false, host: `broker-${node}`, port: 9092 };
    stores.push((await claim.register({ node, endpoints: [listener], rack: null })).store);
  }
  return { etcd, stores: [stores[0]!, stores[1]!], fenced };
}

const names = ({ image }: MetadataStore) => [...image.topicsByName.keys()].sort();

describe('metadata over three etcd members', () => {
  it('go on when any one of them is killed, pauses, or comes back with old data', async (test) => {
    const made = await cluster(test);
    if (made === null) return;
    const { etcd, stores, fenced } = made;
    let n = 0;
    const expected: string[] = [];
    /** Each broker commits, and reads what the other has committed. */
    const works = async (): Promise<void> => {
      for (const store of stores) {
        const change = topic(n++) as MetadataChange & { type: 'topic' };
        expected.push(change.name);
        await store.commit([change]);
      }
      const newest = Math.max(...stores.map(({ image }) => image.revision));
      await until('the same revision', () => stores.every(({ image }) => image.revision >= newest));
      for (const store of stores) assert.deepEqual(names(store), [...expected].sort());
      assert.ok(stores[0].snapshot().equals(stores[1].snapshot()));
    };
    await works();
    for (const member of [0, 1, 2]) {
      await etcd.kill(member);
      await works();
      await etcd.restart(member);
      await works();
    }
    etcd.pause(0);
    await works();
    etcd.resume(0);
    await works();
    assert.deepEqual(fenced, []);
  });

  it('wait while there is no quorum, and take each commit once when it is back', async (test) => {
    const made = await cluster(test);
    if (made === null) return;
    const { etcd, stores, fenced } = made;
    await stores[0].commit([topic(0)]);
    await etcd.kill(1);
    await etcd.kill(2);
    const { revision } = stores[0].image;
    let done = 0;
    const commits = stores.flatMap((store, i) =>
      [1, 2, 3].map((n) =>
        store.commit([topic(10 * (i + 1) + n)]).then(() => {
          done++;
        }),
      ),
    );
    await pass(8_000);
    assert.equal(done, 0);
    await etcd.restart(1);
    await Promise.all(commits);
    await until('the same revision', () => stores.every(({ image }) => image.revision === revision + 6));
    await etcd.restart(2);
    for (const store of stores) assert.equal(names(store).length, 7);
    assert.ok(stores[0].snapshot().equals(stores[1].snapshot()));
    assert.deepEqual(fenced, []);
  });
});

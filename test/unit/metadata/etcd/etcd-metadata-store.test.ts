/** What etcd's troubles do to the metadata of a cluster, and what they do not. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeEntry, encodeEntry } from '../../../../src/metadata/change-codec.ts';
import { EmbeddedMetadataStore } from '../../../../src/metadata/embedded-metadata-store.ts';
import { encodeAuthority } from '../../../../src/metadata/etcd/etcd-layout.ts';
import type { EtcdKv } from '../../../../src/metadata/etcd/kv.ts';
import { MetadataJournal } from '../../../../src/metadata/metadata-journal.ts';
import type { MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import { EtcdWorld } from '../../../support/etcd-world.ts';
import type { Fate } from '../../../support/sim-etcd.ts';
import { id, oid, range, topic, upload, wal } from '../fixtures.ts';

/** Names of topics, in the order of their creation. */
const topics = (store: { image: { topicsByName: ReadonlyMap<string, unknown> } }) => [
  ...store.image.topicsByName.keys(),
];

/** Raw keys of etcd below the prefix, shortened. */
const keys = (world: EtcdWorld, of: string) =>
  [...world.etcd.dump(`m/${of}`).keys()].map((key) => key.slice(2).replace(/\/0+(?=\d)/, '/'));

describe('metadata in etcd: what a cluster keeps there', () => {
  it('one entry for all that waits, its key the revision of its first commit', async () => {
    const world = new EtcdWorld();
    const { store, client } = await world.broker(1);
    assert.equal(store.image.revision, 2);
    const before = client.calls.txn;
    await world.run(Promise.all([1, 2, 3].map((n) => store.commit([topic(n)]))));
    assert.equal(client.calls.txn, before + 1);
    await world.run(store.commit([topic(4)]));
    assert.deepEqual(keys(world, 'log/'), ['log/2', 'log/3', 'log/6']);
    assert.equal(world.etcd.dump('m/head').get('m/head'), '6');
  });

  it('an entry above a request’s limit in parts, which a reader puts together', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    await world.run(a.store.commit([topic(1, 70_000), { type: 'wal', wal: { ...walOf(1) } }]));
    const ranges = Array.from({ length: 70_000 }, (_, i) => range(1, i, i * 1_000_000, i * 1_000_000 + 9));
    const large = upload(1, oid(1), ...ranges);
    assert.ok(encodeEntry([{ author: null, changes: [large] }]).length > 1_000_000);
    await world.run(a.store.commit([large]));
    assert.deepEqual(keys(world, 'chunk/').length, 2);
    await world.clock.advanceAsync(100);
    assert.equal(b.store.image.objects.get(oid(1))!.ranges.length, 70_000);
    assert.ok(a.store.snapshot().equals(b.store.snapshot()));
    const c = await world.broker(3);
    assert.deepEqual(c.store.image.objects.get(oid(1)), a.store.image.objects.get(oid(1)));
  });

  it('no parts of an entry that lost its race, and writes those anew that a sweep took', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    const large = (n: number): MetadataChange[] => [
      { ...(topic(n) as MetadataChange & { type: 'topic' }), configs: { a: 'x'.repeat(1_500_000) } },
    ];
    const [, lost] = await Promise.all([
      world.run(a.store.commit([topic(1)])),
      world.outcome(b.store.commit([...large(2), topic(1)])),
    ]);
    assert.equal(lost, 'METADATA_CONDITION');
    await world.clock.advanceAsync(100);
    assert.deepEqual(keys(world, 'chunk/'), []);
    // Between the parts and the entry that names them, somebody deletes them.
    const { client } = a;
    const txn = client.txn.bind(client);
    let swept = 0;
    client.txn = (async (request) => {
      const done = await txn(request);
      if (swept === 0 && keys(world, 'chunk/').length === 2) {
        swept++;
        world.etcd.txn({ success: [{ type: 'delete', key: 'm/chunk/', end: 'm/chunk0' }] });
      }
      return done;
    }) satisfies EtcdKv['txn'];
    await world.run(a.store.commit(large(3)));
    assert.equal(swept, 1);
    await world.clock.advanceAsync(100);
    assert.deepEqual(topics(b.store), ['topic-1', 'topic-3']);
  });

  it('a commit that no number of parts would hold is refused, and what follows is not', async () => {
    const world = new EtcdWorld();
    const { store } = await world.broker(1);
    const huge = {
      ...(topic(1) as MetadataChange & { type: 'topic' }),
      configs: { a: 'x'.repeat(121_000_000) },
    };
    const [refused, taken] = [world.outcome(store.commit([huge])), world.outcome(store.commit([topic(2)]))];
    assert.deepEqual([await refused, await taken], ['METADATA_TOO_LARGE', 'done']);
  });
});

const walOf = (node: number) => ({ ...(wal() as MetadataChange & { type: 'wal' }).wal, node });

describe('metadata in etcd: answers that do not come', () => {
  for (const fate of ['lost', 'answer lost', 'late'] satisfies Fate[])
    it(`commits once when a request's fate is unknown: ${fate}`, async () => {
      const world = new EtcdWorld();
      const [a, b] = [await world.broker(1), await world.broker(2)];
      a.client.fates.push(fate);
      await world.run(a.store.commit([topic(1)]));
      // Later than anything that is late.
      await world.clock.advanceAsync(20_000);
      await world.run(b.store.commit([topic(2)]));
      await world.clock.advanceAsync(10);
      for (const { store } of [a, b]) assert.deepEqual(topics(store), ['topic-1', 'topic-2']);
      assert.deepEqual(keys(world, 'log/').length, 4);
      assert.ok(a.store.snapshot().equals(b.store.snapshot()));
    });

  for (const fate of ['lost', 'answer lost', 'late'] satisfies Fate[])
    it(`takes no other's entry for its own when the fate is unknown: ${fate}`, async () => {
      const world = new EtcdWorld();
      const [a, b] = [await world.broker(1), await world.broker(2)];
      a.client.fates.push(fate);
      const first = world.outcome(a.store.commit([topic(1)]));
      await world.clock.advanceAsync(500);
      const second = await world.outcome(b.store.commit([topic(1)]));
      const outcomes = [await first, second];
      assert.deepEqual([...outcomes].sort(), ['METADATA_CONDITION', 'done']);
      await world.clock.advanceAsync(20_000);
      assert.deepEqual(topics(b.store), ['topic-1']);
      assert.ok(a.store.snapshot().equals(b.store.snapshot()));
    });

  it('waits for as long as etcd is away, and commits once it is back', async () => {
    const world = new EtcdWorld();
    const { store, claim, fenced } = await world.broker(1);
    world.etcd.quorum = false;
    const { contactedAt } = claim;
    const commit = store.commit([topic(1)]);
    await world.clock.advanceAsync(120_000);
    assert.deepEqual(topics(store), []);
    assert.ok(claim.contactedAt <= contactedAt);
    world.etcd.quorum = true;
    await world.run(commit);
    assert.deepEqual(topics(store), ['topic-1']);
    assert.deepEqual(fenced, []);
    assert.ok(claim.contactedAt > contactedAt + 120_000);
  });

  it('states contact as of when it asked, never as of the answer', async () => {
    let latency = 1;
    const world = new EtcdWorld(1, { latencyMs: () => latency });
    const { store, claim } = await world.broker(1);
    latency = 400;
    const sent = world.clock.boottime();
    await world.run(store.commit([topic(1)]));
    assert.ok(world.clock.boottime() >= sent + 800);
    assert.ok(claim.contactedAt >= sent && claim.contactedAt < sent + 5, `${claim.contactedAt - sent}`);
    // Without commits it asks by itself.
    await world.clock.advanceAsync(20_000);
    assert.ok(world.clock.boottime() - claim.contactedAt <= 5_000 + 800 + 5);
  });

  it('finds out by itself what no watch has told, and that it is not itself any more', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    // Its watches are dead, and do not know it.
    a.client.told = () => {};
    await world.run(b.store.commit([topic(1)]));
    await world.clock.advanceAsync(5_100);
    assert.deepEqual(topics(a.store), ['topic-1']);
    const again = await world.broker(1);
    assert.equal(again.epoch, 2);
    await world.clock.advanceAsync(5_100);
    assert.deepEqual(
      a.fenced.map(({ kind, code }) => `${kind} ${code}`),
      ['fenced METADATA_AUTHOR_FENCED'],
    );
    assert.equal(await world.outcome(a.store.commit([topic(2)])), 'METADATA_AUTHOR_FENCED');
    assert.deepEqual([b.fenced, again.fenced], [[], []]);
  });

  it('ends a broker that is fenced', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    await world.run(b.store.commit([{ type: 'brokerState', node: 1, epoch: 1, state: 'fenced' }]));
    await world.clock.advanceAsync(10);
    assert.equal(a.fenced[0]?.code, 'METADATA_AUTHOR_FENCED');
  });

  it('goes on after a cut as if it had been told all along', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    a.client.cut = true;
    for (let n = 0; n < 100; n++) await world.run(b.store.commit([topic(n)]));
    // The history that its watch would need is compacted meanwhile.
    world.etcd.compact(world.etcd.revision);
    const own = a.store.commit([topic(1_000)]);
    await world.clock.advanceAsync(10_000);
    assert.deepEqual(topics(a.store), []);
    a.client.cut = false;
    await world.run(own);
    await world.clock.advanceAsync(10);
    assert.equal(topics(a.store).length, 101);
    assert.ok(a.store.snapshot().equals(b.store.snapshot()));
    // And its watches work again, without another look.
    await world.run(b.store.commit([topic(2_000)]));
    await world.clock.advanceAsync(20);
    assert.equal(topics(a.store).length, 102);
  });
});

describe('metadata in etcd: births, gaps and losses', () => {
  it('a birth may end after any request, and another start completes it', async () => {
    for (let after = 1; after <= 6; after++) {
      const world = new EtcdWorld(after);
      const client = world.etcd.client();
      const claim = await world.open(client);
      let calls = 0;
      for (const name of ['txn', 'range'] as const) {
        const call = client[name].bind(client) as (request: never) => Promise<never>;
        client[name] = ((request: never) => {
          if (++calls > after) client.cut = true;
          return call(request);
        }) as never;
      }
      const first = await world.outcome(claim.claim());
      await claim.close();
      const { store } = await world.broker(1);
      await world.run(store.commit([topic(1)]));
      assert.deepEqual(topics(store), ['topic-1'], `${first} after ${after}`);
      // Nothing but one birth: cluster, registration, topic.
      assert.equal(store.image.revision, 3);
      assert.equal(store.image.authority.kind, 'etcd');
    }
  });

  it('refuses a bucket whose metadata are its own, and leaves both as they were', async () => {
    const world = new EtcdWorld();
    const embedded = await EmbeddedMetadataStore.open(world.options());
    await world.run(embedded.claim());
    await world.run(embedded.commit([topic(1)]));
    assert.equal(await world.outcome(world.open()), 'METADATA_ELSEWHERE');
    await world.run(embedded.commit([topic(2)]));
    assert.deepEqual([...world.etcd.dump().keys()], []);
  });

  it('keeps a single broker from the bucket of a cluster', async () => {
    const world = new EtcdWorld();
    await world.broker(1);
    const embedded = await EmbeddedMetadataStore.open(world.options());
    assert.equal(await world.outcome(embedded.claim()), 'METADATA_MOVED_AWAY');
  });

  it('says that etcd has lost its data, and begins nothing anew', async () => {
    const world = new EtcdWorld();
    const { store } = await world.broker(1);
    await world.run(store.commit([topic(1)]));
    world.etcd.wipe();
    assert.equal(await world.outcome(world.open()), 'METADATA_LOST');
    assert.deepEqual([...world.etcd.dump().keys()], []);
  });

  it('waits, running, for an etcd that has lost its data, and ends when it is made anew', async () => {
    const world = new EtcdWorld();
    const { store, fenced } = await world.broker(1);
    world.etcd.wipe();
    const commit = world.outcome(store.commit([topic(1)]));
    await world.clock.advanceAsync(60_000);
    assert.equal(fenced.length, 0);
    const record = {
      state: 'active',
      incarnation: 'f'.repeat(32),
      clusterId: store.image.clusterId,
      to: '',
    } as const;
    world.etcd.txn({ success: [{ type: 'put', key: 'm/authority', value: encodeAuthority(record) }] });
    assert.equal(await commit, 'METADATA_MOVED_AWAY');
    assert.equal(fenced[0]?.code, 'METADATA_MOVED_AWAY');
  });

  it('ends when the metadata move away', async () => {
    const world = new EtcdWorld();
    const { store, fenced } = await world.broker(1);
    const { clusterId, authority } = store.image;
    const { incarnation } = authority;
    const record = { state: 'moved', incarnation, clusterId, to: 's3://bucket/cluster' } as const;
    world.etcd.txn({ success: [{ type: 'put', key: 'm/authority', value: encodeAuthority(record) }] });
    await world.clock.advanceAsync(10);
    assert.match(fenced.map(String).join(), /moved to s3:\/\/bucket\/cluster/);
    assert.equal(await world.outcome(store.commit([topic(1)])), 'METADATA_MOVED_AWAY');
    assert.equal(await world.outcome(world.open()), 'METADATA_MOVED_AWAY');
  });

  it('ends a broker that fell behind what was trimmed, and never passes a gap over', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    a.client.cut = true;
    for (let n = 0; n < 5; n++) await world.run(b.store.commit([topic(n)]));
    world.etcd.txn({ success: [{ type: 'delete', key: 'm/log/', end: `m/log/${'7'.padStart(20, '0')}` }] });
    world.etcd.compact(world.etcd.revision);
    a.client.cut = false;
    await world.clock.advanceAsync(6_000);
    assert.equal(a.fenced[0]?.code, 'METADATA_GAP');
    assert.deepEqual(topics(a.store), []);
    assert.equal(await world.outcome(world.open()), 'METADATA_GAP');
  });

  it('lets nobody append behind a number that was trimmed while he slept', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    // Its request is under way for so long that the entry whose place it wants is gone again.
    a.client.fates.push('late');
    const late = world.outcome(a.store.commit([topic(1)]));
    await world.clock.advanceAsync(10);
    a.client.cut = true;
    for (let n = 2; n < 5; n++) await world.run(b.store.commit([topic(n)]));
    const gone = `m/log/${'6'.padStart(20, '0')}`;
    world.etcd.txn({ success: [{ type: 'delete', key: 'm/log/', end: gone }] });
    world.etcd.compact(world.etcd.revision);
    await world.clock.advanceAsync(20_000);
    assert.deepEqual(keys(world, 'log/'), ['log/6']);
    a.client.cut = false;
    assert.equal(await late, 'METADATA_GAP');
    assert.deepEqual(topics(b.store), ['topic-2', 'topic-3', 'topic-4']);
  });

  it('answers that the bucket holds a revision when its journal does, and not before', async () => {
    const world = new EtcdWorld();
    const { store } = await world.broker(1);
    const revision = await world.run(store.commit([topic(1)]));
    await world.run(store.persisted(1));
    let held = false;
    const waiting = store.persisted(revision).then(() => {
      held = true;
    });
    const tell = (value: number) =>
      world.etcd.txn({ success: [{ type: 'put', key: 'm/journal', value: Buffer.from(String(value)) }] });
    tell(revision - 1);
    await world.clock.advanceAsync(30_000);
    assert.equal(held, false);
    tell(revision);
    await world.run(waiting);
    assert.equal(held, true);
    const never = world.outcome(store.persisted(revision + 1));
    await store.close();
    assert.equal(await never, 'METADATA_CLOSED');
  });

  it('stops when a listener breaks, since what follows would see another image', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    a.store.watch(() => {
      throw new Error('a listener broke');
    });
    await world.run(b.store.commit([topic(1)]));
    await world.clock.advanceAsync(10);
    assert.match(a.fenced[0]?.message ?? '', /a listener broke/);
    assert.equal(await world.outcome(a.store.commit([topic(2)])), 'METADATA_FAILED');
  });

  it('refuses a damaged entry by its key', async () => {
    const world = new EtcdWorld();
    const { store } = await world.broker(1);
    await world.run(store.commit([topic(1)]));
    const key = [...world.etcd.dump('m/log/').keys()].at(-1)!;
    const value = Buffer.from(world.etcd.range({ key }).entries[0]!.value);
    value[30]! ^= 1;
    world.etcd.txn({ success: [{ type: 'put', key, value }] });
    assert.equal(await world.outcome(world.open()), 'METADATA_CORRUPT');
  });

  it('folds what the bucket holds before what only etcd holds', async () => {
    const world = new EtcdWorld();
    const { store } = await world.broker(1);
    for (let n = 0; n < 4; n++) await world.run(store.commit([topic(n)]));
    // As the controller's copy would: the first entries, then those are trimmed in etcd.
    const journal = new MetadataJournal(world.options());
    await world.run(journal.load());
    await world.run(
      journal.seal(
        () => {},
        () => {},
      ),
    );
    const entries = world.etcd.range({ key: 'm/log/', end: 'm/log0' }).entries.slice(0, 3);
    for (const { value } of entries) {
      assert.equal(decodeEntry(value.subarray(26)).length, 1);
      await world.run(journal.append(value.subarray(26)));
    }
    world.etcd.txn({ success: [{ type: 'delete', key: 'm/log/', end: entries[2]!.key }] });
    const again = await world.broker(2);
    assert.deepEqual(topics(again.store), ['topic-0', 'topic-1', 'topic-2', 'topic-3']);
    await world.clock.advanceAsync(10);
    assert.ok(again.store.snapshot().equals(store.snapshot()));
    assert.ok(again.store.image.topicsById.has(id(3)));
  });
});

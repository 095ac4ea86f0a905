/** The bucket's journal behind etcd's log: what it holds, who may write it, and what may go from etcd then. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeEntry } from '../../../../src/metadata/change-codec.ts';
import { BucketJournal } from '../../../../src/metadata/etcd/bucket-journal.ts';
import { MetadataJournal } from '../../../../src/metadata/metadata-journal.ts';
import type { MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import type { ObjectStore, PutOptions } from '../../../../src/store/object-store.ts';
import { type EtcdBroker, EtcdWorld } from '../../../support/etcd-world.ts';
import { type Fault, FaultStore, HeldStore } from '../../../support/fault-store.ts';
import { HandClock, seededRandom } from '../../../support/store-fixtures.ts';
import { topic } from '../fixtures.ts';

/** Each put by its key. */
class RuledStore extends FaultStore {
  readonly #rule: (key: string) => Fault | null;

  constructor(inner: ObjectStore, rule: (key: string) => Fault | null) {
    super(inner);
    this.#rule = rule;
  }

  override put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    const fault = this.#rule(key);
    if (fault !== null) this.faults.push({ prefix: key, fault });
    return super.put(key, body, options);
  }
}

interface Own {
  readonly store?: ObjectStore;
  readonly snapshotEntries?: number;
  readonly keepRevisions?: number;
}

function journalOf(world: EtcdWorld, { store, client }: EtcdBroker, own: Own = {}): BucketJournal {
  return new BucketJournal({
    ...world.options(client),
    metadata: store,
    kv: client,
    ...own,
    store: own.store ?? world.bucket,
  });
}

/** The image that the bucket alone gives. */
async function inBucket(world: EtcdWorld, bucket = world.bucket): Promise<MetadataJournal['live']> {
  const journal = new MetadataJournal({ ...world.options(), store: bucket });
  await world.run(journal.load());
  return journal.live;
}

const keys = (world: EtcdWorld, of: string) =>
  [...world.etcd.dump(`m/${of}`).keys()].map((key) => key.slice(2).replace(/\/0+(?=\d)/, '/'));

const objects = async (world: EtcdWorld) =>
  (await world.bucket.list('meta/')).map(({ key }) => key.replace(/\/0+(?=\d)/, '/'));

describe('bucket journal', () => {
  it('holds what etcd’s log holds, at the same revisions, and says so', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    const early = await world.run(a.store.commit([topic(1)]));
    const journal = journalOf(world, a);
    assert.equal(journal.held, 0);
    journal.start();
    await world.run(b.store.persisted(early));
    assert.ok((await inBucket(world)).snapshot().equals(b.store.snapshot()));
    const later = await world.run(b.store.commit([topic(2)]));
    let held = false;
    void a.store.persisted(later).then(() => {
      held = true;
    });
    await world.clock.advanceAsync(10);
    assert.equal(held, false);
    await world.clock.advanceAsync(200);
    assert.equal(held, true);
    assert.equal(journal.held, later);
    assert.ok((await inBucket(world)).snapshot().equals(b.store.snapshot()));
    await world.run(journal.stop());
    const never = world.outcome(a.store.persisted(await world.run(a.store.commit([topic(3)]))));
    await world.clock.advanceAsync(60_000);
    await a.store.close();
    assert.equal(await never, 'METADATA_CLOSED');
  });

  it('takes what comes at about the same time in one object', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    const journal = journalOf(world, a);
    journal.start();
    await world.clock.advanceAsync(1_000);
    const before = (await objects(world)).length;
    for (let n = 0; n < 10; n++)
      await world.run(Promise.all([a.store.commit([topic(n)]), b.store.commit([topic(100 + n)])]));
    await world.run(a.store.persisted(a.store.image.revision));
    assert.ok(
      (await objects(world)).length - before <= 2,
      `${(await objects(world)).length - before} objects`,
    );
    assert.ok((await inBucket(world)).snapshot().equals(a.store.snapshot()));
    await world.run(journal.stop());
  });

  it('goes on where another left off, and lets the one that slept write nothing more', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    // Its objects wait until they are let go: it is about to append when another takes over.
    const held = new HeldStore(world.bucket);
    const slow = journalOf(world, a, { store: held });
    slow.start();
    const taken = async (): Promise<void> => {
      while (held.held.length === 0) await world.clock.advanceAsync(10);
    };
    await taken();
    await held.held[0]!.release();
    await world.clock.advanceAsync(100);
    await world.run(a.store.commit([topic(1)]));
    await taken();
    const next = journalOf(world, b);
    next.start();
    await world.run(b.store.persisted(await world.run(b.store.commit([topic(2)]))));
    await held.held.at(-1)!.release();
    await world.clock.advanceAsync(100);
    await world.run(b.store.persisted(await world.run(b.store.commit([topic(3)]))));
    assert.ok((await inBucket(world)).snapshot().equals(b.store.snapshot()));
    await world.run(slow.stop());
    await world.run(next.stop());
  });

  it('lets go of etcd’s log what a snapshot in the bucket covers, but not the newest', async () => {
    const world = new EtcdWorld();
    const a = await world.broker(1);
    const journal = journalOf(world, a, { snapshotEntries: 5, keepRevisions: 4 });
    journal.start();
    const large = {
      ...(topic(0) as MetadataChange & { type: 'topic' }),
      configs: { a: 'x'.repeat(1_200_000) },
    };
    await world.run(a.store.commit([large]));
    assert.equal(keys(world, 'chunk/').length, 2);
    for (let n = 1; n <= 40; n++)
      await world.run(a.store.persisted(await world.run(a.store.commit([topic(n)]))));
    await world.clock.advanceAsync(1_000);
    const log = keys(world, 'log/').map((key) => Number(key.slice(4)));
    assert.deepEqual(keys(world, 'chunk/'), []);
    assert.ok(log.length >= 4 && log.length <= 12, `${log}`);
    assert.equal(log.at(-1), a.store.image.revision);
    // A broker starts from the bucket and goes on in etcd.
    const b = await world.broker(2);
    await world.clock.advanceAsync(10);
    assert.ok(b.store.snapshot().equals(a.store.snapshot()));
    await world.run(journal.stop());
  });

  it('goes on with snapshots where its own store is behind what it copies', async () => {
    const world = new EtcdWorld();
    const [a, b] = [await world.broker(1), await world.broker(2)];
    const told = a.client.told.bind(a.client);
    a.client.told = () => void world.clock.after(180, told);
    const journal = journalOf(world, a, { snapshotEntries: 2, keepRevisions: 0 });
    journal.start();
    for (let n = 0; n < 150; n++) {
      await world.run(b.store.commit([topic(n)]));
      await world.clock.advanceAsync(7 * (n % 5));
    }
    await world.run(b.store.persisted(b.store.image.revision));
    await world.run(journal.stop());
    const log = keys(world, 'log/');
    assert.ok(log.length < 40, `${log.length} entries`);
    assert.ok((await inBucket(world)).snapshot().equals(b.store.snapshot()));
  });

  it('keeps everything in etcd while no snapshot can be stored', async () => {
    const world = new EtcdWorld();
    const a = await world.broker(1);
    const store = new RuledStore(world.bucket, (key) => (key.startsWith('meta/snap/') ? 'no effect' : null));
    const journal = journalOf(world, a, { store, snapshotEntries: 5, keepRevisions: 0 });
    journal.start();
    for (let n = 1; n <= 20; n++)
      await world.run(a.store.persisted(await world.run(a.store.commit([topic(n)]))));
    assert.equal(keys(world, 'log/').length, 21);
    await world.run(journal.stop());
  });

  it('lets commits go on while the bucket is away, and what waits for it wait', async () => {
    const world = new EtcdWorld();
    const a = await world.broker(1);
    let away = false;
    const store = new RuledStore(world.bucket, () => (away ? 'no effect' : null));
    const journal = journalOf(world, a, { store });
    journal.start();
    await world.run(a.store.persisted(a.store.image.revision));
    away = true;
    for (let n = 0; n < 30; n++) await world.run(a.store.commit([topic(n)]));
    let held = false;
    const waits = a.store.persisted(a.store.image.revision).then(() => {
      held = true;
    });
    await world.clock.advanceAsync(120_000);
    assert.equal(held, false);
    away = false;
    await world.run(waits);
    assert.ok((await inBucket(world)).snapshot().equals(a.store.snapshot()));
    await world.run(journal.stop());
  });

  it('copies once whatever the fate of its objects and its words to etcd', async () => {
    for (const fault of ['lost answer', 'no effect', 'twice', 'late'] as const) {
      const world = new EtcdWorld();
      const a = await world.broker(1);
      let n = 0;
      const store = new RuledStore(world.bucket, (key) =>
        key.startsWith('meta/log/') && ++n % 3 === 0 ? fault : null,
      );
      const journal = journalOf(world, a, { store });
      journal.start();
      for (let i = 0; i < 12; i++) {
        if (i % 4 === 0) a.client.fates.push('answer lost', 'lost');
        await world.run(a.store.persisted(await world.run(a.store.commit([topic(i)]))));
      }
      await store.deliverLate();
      assert.ok((await inBucket(world)).snapshot().equals(a.store.snapshot()), fault);
      await world.run(journal.stop());
    }
  });

  it('touches nothing of another incarnation', async () => {
    const world = new EtcdWorld();
    const a = await world.broker(1);
    const stranger: ObjectStore = new MemoryStore(new HandClock());
    const journal = journalOf(world, a, { store: stranger });
    journal.start();
    await world.clock.advanceAsync(30_000);
    assert.deepEqual(await stranger.list(''), []);
    assert.equal(world.etcd.dump('m/journal').get('m/journal'), '1');
    await world.run(journal.stop());
    // The same cluster, made anew: whoever led before has nothing to say any more.
    const { incarnation, location } = a.store.image.authority;
    const restored = new MetadataJournal(world.options());
    await world.run(restored.load());
    await world.run(
      restored.seal(
        () => {},
        () => {},
      ),
    );
    const authority = { kind: 'etcd', incarnation: 'e'.repeat(32), location } as const;
    const changes = [{ type: 'authority', previous: incarnation, ...authority } as const];
    await world.run(restored.append(encodeEntry([{ author: null, changes }])));
    const before = await objects(world);
    const former = journalOf(world, a);
    await world.run(a.store.commit([topic(1)]));
    former.start();
    await world.clock.advanceAsync(30_000);
    assert.deepEqual(await objects(world), before);
    assert.deepEqual(
      a.fenced.map(({ code }) => code),
      ['METADATA_MOVED_AWAY'],
    );
    await world.run(former.stop());
  });

  it('compacts etcd’s history up to where it was five minutes ago', async () => {
    const world = new EtcdWorld();
    const a = await world.broker(1);
    const journal = journalOf(world, a);
    journal.start();
    await world.clock.advanceAsync(60_000);
    const then = world.etcd.revision;
    for (let n = 0; n < 3; n++) await world.run(a.store.commit([topic(n)]));
    await world.clock.advanceAsync(400_000);
    assert.ok(a.client.calls.compact >= 1);
    assert.throws(() => world.etcd.range({ key: 'm/head', revision: then - 2 }), /history is gone/);
    assert.equal(world.etcd.range({ key: 'm/head', revision: world.etcd.revision }).entries.length, 1);
    await world.run(journal.stop());
  });

  it('makes one image of all, whoever leads when and however long snapshots and copies take', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = seededRandom(seed * 77);
      const world = new EtcdWorld(seed, { latencyMs: () => 1 + random.below(30) });
      const brokers = [await world.broker(1), await world.broker(2), await world.broker(3)];
      const journals = brokers.map((broker) =>
        journalOf(world, broker, { snapshotEntries: 3, keepRevisions: 6 }),
      );
      const commits: Promise<unknown>[] = [];
      let n = 0;
      for (let step = 0; step < 60; step++) {
        const which = random.below(3);
        const action = random.below(8);
        // Two may take themselves for the leader.
        if (action === 0) journals[which]!.start();
        else if (action === 1) void journals[which]!.stop();
        else commits.push(brokers[which]!.store.commit([topic(n++)]));
        await world.clock.advanceAsync(random.below(400));
      }
      await world.run(Promise.all(commits));
      for (const journal of journals) await world.run(journal.stop());
      journals[0]!.start();
      const [a, b, c] = brokers as [EtcdBroker, EtcdBroker, EtcdBroker];
      await world.run(a.store.persisted(Math.max(...brokers.map(({ store }) => store.image.revision))));
      await world.clock.advanceAsync(1_000);
      assert.deepEqual([...a.fenced, ...b.fenced, ...c.fenced], []);
      const alone = (await inBucket(world)).snapshot();
      for (const { store } of brokers) assert.ok(alone.equals(store.snapshot()), `seed ${seed}`);
      assert.equal(a.store.image.topicsByName.size, n);
      await world.run(journals[0]!.stop());
    }
  });
});

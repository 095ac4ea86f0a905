/**
 * CONTRACT suite of metadata stores (src/metadata/metadata-claim.ts, metadata-store.ts): every implementation is run through
 * it. A world is one authority, a bucket or an etcd, that several brokers may open.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeImage } from '../../src/metadata/image-codec.ts';
import type { BrokerRegistration, MetadataClaim } from '../../src/metadata/metadata-claim.ts';
import type { MetadataChange, MetadataStore } from '../../src/metadata/metadata-store.ts';
import { close, id, logStart, oid, open, range, topic, upload, wal } from '../unit/metadata/fixtures.ts';

export interface MetadataWorld {
  /** One more broker looks at the authority. */
  open(): Promise<MetadataClaim>;
}

const broker = (node: number): BrokerRegistration => ({
  node,
  endpoints: [{ listener: 'plain', tls: false, host: `broker-${node}`, port: 9092 }],
  rack: null,
});

/** `kind code`, or 'resolved'. */
async function outcome(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'resolved';
  } catch (error) {
    const { kind, code } = error as { kind?: string; code?: string };
    return `${kind} ${code}`;
  }
}

export function metadataContract(name: string, newWorld: () => MetadataWorld): void {
  async function registered(world: MetadataWorld, node = 0): Promise<MetadataStore> {
    const claim = await world.open();
    await claim.claim();
    return (await claim.register(broker(node))).store;
  }

  describe(`metadata store contract: ${name}`, () => {
    it('has nothing before the claim, and one cluster for ever after it', async () => {
      const world = newWorld();
      const look = await world.open();
      assert.equal(look.image.clusterId, '');
      const store = await registered(world);
      const { clusterId } = store.image;
      assert.match(clusterId, /^[A-Za-z0-9_-]{22}$/);
      await store.close();
      const again = await registered(world);
      assert.equal(again.image.clusterId, clusterId);
      await again.close();
    });

    it('registers under the next epoch, with the changes given in the same commit', async () => {
      const world = newWorld();
      for (const epoch of [1, 2, 3]) {
        const claim = await world.open();
        await claim.claim();
        const { revision } = claim.image;
        const made = await claim.register(broker(4), [topic(epoch)]);
        assert.equal(made.epoch, epoch);
        assert.equal(made.store.image.revision, revision + 1);
        assert.equal(made.store.image.brokers.get(4)?.epoch, epoch);
        assert.ok(made.store.image.topicsById.has(id(epoch)));
        await made.store.close();
      }
    });

    it('commits nothing for a broker that was registered anew', async () => {
      const world = newWorld();
      const claim = await world.open();
      await claim.claim();
      const first = await claim.register(broker(4));
      await first.store.commit([topic(1)]);
      // The same authority, so that only the registration tells the two apart.
      const second = await claim.register(broker(4));
      assert.equal(await outcome(first.store.commit([topic(2)])), 'fenced METADATA_AUTHOR_FENCED');
      assert.equal(await outcome(second.store.commit([topic(2)])), 'resolved');
      assert.ok(first.store.image.topicsById.has(id(2)));
      await second.store.close();
    });

    it('leaves alone what other brokers commit when one is registered anew', async () => {
      const world = newWorld();
      const claim = await world.open();
      await claim.claim();
      const other = await claim.register(broker(1));
      await claim.register(broker(2));
      await claim.register(broker(2));
      assert.equal(await outcome(other.store.commit([topic(1)])), 'resolved');
      await other.store.close();
    });

    it('takes a commit whole or not at all, and says so with METADATA_CONDITION', async () => {
      const store = await registered(newWorld());
      await store.commit([topic(1), wal()]);
      const { revision } = store.image;
      assert.equal(await outcome(store.commit([topic(2), topic(1)])), 'invalid METADATA_CONDITION');
      assert.equal(store.image.revision, revision);
      assert.ok(!store.image.topicsById.has(id(2)));
      await store.close();
    });

    it('judges commits made at once one after the other', async () => {
      const store = await registered(newWorld());
      const outcomes = await Promise.all([
        outcome(store.commit([topic(1), wal()])),
        outcome(store.commit([topic(1)])),
        outcome(store.commit([open(1, 0, 0, 0)])),
        outcome(store.commit([open(1, 0, 1, 0)])),
      ]);
      assert.deepEqual(outcomes, [
        'resolved',
        'invalid METADATA_CONDITION',
        'resolved',
        'invalid METADATA_CONDITION',
      ]);
      await store.close();
    });

    it('opens what is new or closed, and under a higher leader epoch only', async () => {
      const store = await registered(newWorld());
      await store.commit([topic(1), wal()]);
      await store.commit([open(1, 0, 3, 0)]);
      // Open: whoever owns it has not let it go.
      assert.equal(await outcome(store.commit([open(1, 0, 4, 0)])), 'invalid METADATA_CONDITION');
      assert.equal(await outcome(store.commit([close(1, 0, 2, 5)])), 'invalid METADATA_CONDITION');
      await store.commit([close(1, 0, 3, 5)]);
      assert.equal(await outcome(store.commit([open(1, 0, 3, 5)])), 'invalid METADATA_CONDITION');
      await store.commit([open(1, 0, 4, 5)]);
      // Both in one commit, as a start does it.
      await store.commit([close(1, 0, 4, 6), open(1, 0, 5, 6)]);
      assert.equal(store.image.topicsById.get(id(1))!.partitions[0]!.leaderEpoch, 5);
      await store.close();
    });

    it('tells watchers every commit once, in order, with the image at its revision', async () => {
      const store = await registered(newWorld());
      const seen: [number, readonly MetadataChange[]][] = [];
      const unwatch = store.watch((revision, changes) => {
        assert.equal(store.image.revision, revision);
        seen.push([revision, changes]);
      });
      const before = store.image.revision;
      const commits = [[topic(1), wal()], [topic(2)], [open(1, 0, 0, 0)], [logStart(1, 0, 0)]];
      const revisions = await Promise.all(commits.map((changes) => store.commit(changes)));
      assert.deepEqual(
        seen,
        commits.map((changes, i) => [before + i + 1, changes]),
      );
      // Answered at its revision or, where several share a write, at a later one.
      for (const [i, revision] of revisions.entries()) assert.ok(revision >= before + i + 1);
      unwatch();
      await store.commit([topic(3)]);
      assert.equal(seen.length, commits.length);
      await store.close();
    });

    it('gives back, after another start, the image that was there', async () => {
      const world = newWorld();
      const store = await registered(world);
      await store.commit([topic(1, 3), wal()]);
      await store.commit([open(1, 2, 0, 0)]);
      await store.commit([upload(1, oid(1), range(1, 2, 0, 10))]);
      await store.commit([close(1, 2, 0, 12)]);
      assert.deepEqual(decodeImage(store.snapshot()).image, store.image);
      const { topicsById, wals, objects, revision } = store.image;
      await store.close();
      const look = await world.open();
      assert.deepEqual(look.image.topicsById, topicsById);
      assert.deepEqual(look.image.wals, wals);
      assert.deepEqual(look.image.objects, objects);
      assert.equal(look.image.revision, revision);
      await look.close();
    });

    it('refuses a claim when somebody was at work since the look', async () => {
      const world = newWorld();
      const store = await registered(world);
      const look = await world.open();
      const seen = look.image.revision;
      await store.commit([topic(1)]);
      assert.equal(await outcome(look.claim(seen)), 'fenced METADATA_MOVED');
      assert.equal(await outcome(store.commit([topic(2)])), 'resolved');
      await store.close();
    });

    it('states a floor of object ids: those below were granted to owners that are fenced', async () => {
      const world = newWorld();
      const store = await registered(world);
      await store.commit([{ type: 'idBlock', kind: 'object', next: 1_000 }]);
      await store.close();
      const claim = await world.open();
      await claim.claim();
      assert.equal(claim.idFloor, 1_000);
      const next = await claim.register(broker(0));
      await next.store.commit([{ type: 'idBlock', kind: 'object', next: 2_000 }]);
      assert.equal(claim.idFloor, 1_000);
      await next.store.close();
    });

    it('names what nobody needs any more, and what a deletion would leave', async () => {
      const store = await registered(newWorld());
      await store.commit([topic(1), topic(2), wal(), open(1, 0, 0, 0), open(2, 0, 0, 0)]);
      await store.commit([upload(1, oid(1), range(1, 0, 0, 10))]);
      await store.commit([upload(2, oid(2), range(1, 0, 10, 20), range(2, 0, 0, 5))]);
      assert.deepEqual(store.references.orphanedBy(id(1)), [oid(1)]);
      await store.commit([{ type: 'topicDeleted', topicId: id(1) }]);
      assert.deepEqual([...store.references.unreferenced], [oid(1)]);
      await store.close();
    });
  });
}

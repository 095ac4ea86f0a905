/**
 * CONTRACT suite of metadata stores (src/metadata/metadata-claim.ts, metadata-store.ts): every implementation is run through
 * it. A world is one authority, a bucket or an etcd, that several brokers may open.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { grantIds } from '../../src/metadata/id-blocks.ts';
import { decodeImage } from '../../src/metadata/image-codec.ts';
import type { BrokerRegistration, MetadataClaim } from '../../src/metadata/metadata-claim.ts';
import type { MetadataChange, MetadataStore } from '../../src/metadata/metadata-store.ts';
import { close, id, logStart, oid, open, range, topic, upload, wal } from '../unit/metadata/fixtures.ts';
import { patienceMs } from './patience.ts';

export interface MetadataWorld {
  /** One more broker looks at the authority. */
  open(): Promise<MetadataClaim>;
}

export interface MetadataContract {
  /** One claim at a time: it fences whoever claimed before. Else brokers are registered side by side. */
  readonly sole: boolean;
  /** A world of its own for each clause; a reason where there is none here. */
  newWorld(): MetadataWorld | Promise<MetadataWorld | string>;
}

const broker = (node: number): BrokerRegistration => ({
  node,
  endpoints: [{ listener: 'plain', tls: false, host: `broker-${node}`, port: 9092 }],
  rack: null,
});

type Registered = (world: MetadataWorld, node?: number) => Promise<MetadataStore>;
type Clause = (what: string, run: (world: MetadataWorld) => Promise<void>) => void;

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

export function metadataContract(name: string, { sole, newWorld }: MetadataContract): void {
  async function registered(world: MetadataWorld, node = 0): Promise<MetadataStore> {
    const claim = await world.open();
    await claim.claim();
    return (await claim.register(broker(node))).store;
  }

  function clause(what: string, run: (world: MetadataWorld) => Promise<void>): void {
    it(what, async (test) => {
      const world = await newWorld();
      if (typeof world === 'string') return test.skip(world);
      await run(world);
    });
  }

  describe(`metadata store contract: ${name}`, () => {
    clause('has nothing before the claim, and one cluster for ever after it', async (world) => {
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

    clause('registers under the next epoch, with the changes given in the same commit', async (world) => {
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

    clause('registers a broker that was removed above all epochs that it had', async (world) => {
      const store = await registered(world, 4);
      await store.close();
      const claim = await world.open();
      await claim.claim();
      const other = (await claim.register(broker(5))).store;
      await other.commit([{ type: 'brokerState', node: 4, epoch: 1, state: 'fenced' }]);
      await other.commit([{ type: 'brokerRemoved', node: 4, epoch: 1 }]);
      assert.deepEqual([...other.image.brokers.keys()], [5]);
      const again = await claim.register(broker(4));
      assert.equal(again.epoch, 2);
      await again.store.close();
    });

    clause('commits nothing for a broker that was registered anew', async (world) => {
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

    clause('leaves alone what other brokers commit when one is registered anew', async (world) => {
      const claim = await world.open();
      await claim.claim();
      const other = await claim.register(broker(1));
      await claim.register(broker(2));
      await claim.register(broker(2));
      assert.equal(await outcome(other.store.commit([topic(1)])), 'resolved');
      await other.store.close();
    });

    clause('takes a commit whole or not at all, and says so with METADATA_CONDITION', async (world) => {
      const store = await registered(world);
      await store.commit([topic(1), wal()]);
      const { revision } = store.image;
      assert.equal(await outcome(store.commit([topic(2), topic(1)])), 'invalid METADATA_CONDITION');
      assert.equal(store.image.revision, revision);
      assert.ok(!store.image.topicsById.has(id(2)));
      await store.close();
    });

    clause('judges commits made at once one after the other', async (world) => {
      const store = await registered(world);
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

    clause('opens what is new or closed, and under a higher leader epoch only', async (world) => {
      const store = await registered(world);
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

    clause('tells watchers every commit once, in order, with the image at its revision', async (world) => {
      const store = await registered(world);
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

    clause('gives back, after another start, the image that was there', async (world) => {
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

    if (sole) {
      soleClauses(registered, clause);
    } else {
      severalClauses(registered, clause);
    }

    clause(
      'states a floor of object ids: those below were granted to owners that are fenced',
      async (world) => {
        const store = await registered(world);
        await store.commit([{ type: 'idBlock', kind: 'object', first: 0, next: 1_000 }]);
        await store.close();
        const claim = await world.open();
        await claim.claim();
        // Where brokers are registered side by side, a claim alone ends nobody's registration.
        assert.equal(claim.idFloor, sole ? 1_000 : 0);
        const next = await claim.register(broker(0));
        assert.equal(claim.idFloor, 1_000);
        await next.store.commit([{ type: 'idBlock', kind: 'object', first: 1_000, next: 2_000 }]);
        assert.equal(claim.idFloor, 1_000);
        await next.store.close();
      },
    );

    clause('names what nobody needs any more, and what a deletion would leave', async (world) => {
      const store = await registered(world);
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

/** Of an authority that one broker owns at a time. */
function soleClauses(registered: Registered, clause: Clause): void {
  clause('refuses a claim when somebody was at work since the look', async (world) => {
    const store = await registered(world);
    const look = await world.open();
    const seen = look.image.revision;
    await store.commit([topic(1)]);
    assert.equal(await outcome(look.claim(seen)), 'fenced METADATA_MOVED');
    assert.equal(await outcome(store.commit([topic(2)])), 'resolved');
    await store.close();
  });

  clause('ends an owner whose authority another claimed', async (world) => {
    const store = await registered(world);
    const next = await registered(world, 1);
    assert.match(await outcome(store.commit([topic(1)])), /^fenced METADATA_/);
    assert.equal(await outcome(next.commit([topic(1)])), 'resolved');
    await store.close();
    await next.close();
  });
}

/** Of an authority that many brokers commit to at once. */
function severalClauses(registered: Registered, clause: Clause): void {
  const several = async (world: MetadataWorld, count: number): Promise<MetadataStore[]> => {
    const stores: MetadataStore[] = [];
    for (let node = 1; node <= count; node++) stores.push(await registered(world, node));
    return stores;
  };

  clause('makes one cluster of brokers that meet an authority where nothing is', async (world) => {
    const stores = await Promise.all([1, 2, 3].map((node) => registered(world, node)));
    await alike(stores);
    assert.match(stores[0]!.image.clusterId, /^[A-Za-z0-9_-]{22}$/);
    assert.deepEqual([...stores[0]!.image.brokers.keys()].sort(), [1, 2, 3]);
    for (const store of stores) await store.close();
  });

  clause(
    'takes every commit once, of many brokers at the same time, and shows all of them the same',
    async (world) => {
      const stores = await several(world, 3);
      const seen = stores.map(() => [] as string[]);
      for (const [i, store] of stores.entries())
        store.watch((revision, changes) => {
          for (const change of changes) seen[i]!.push(`${revision} ${JSON.stringify(change)}`);
        });
      await alike(stores);
      const { revision } = stores[0]!.image;
      const commits = stores.flatMap((store, i) =>
        Array.from({ length: 20 }, (_, n) => store.commit([topic(100 * i + n)])),
      );
      const revisions = await Promise.all(commits);
      // Each at a revision of its own, without a hole.
      assert.deepEqual(
        [...revisions].sort((a, b) => a - b),
        revisions.map((_, i) => revision + 1 + i),
      );
      await alike(stores);
      assert.equal(stores[0]!.image.topicsById.size, 60);
      for (const each of seen) assert.deepEqual(each.slice(-60), seen[0]!.slice(-60));
      for (const store of stores) await store.close();
    },
  );

  clause('lets one of several win where their commits exclude each other', async (world) => {
    const stores = await several(world, 3);
    for (let round = 0; round < 10; round++) {
      const outcomes = await Promise.all(stores.map((store) => outcome(store.commit([topic(round)]))));
      assert.deepEqual(outcomes.sort(), [
        'invalid METADATA_CONDITION',
        'invalid METADATA_CONDITION',
        'resolved',
      ]);
    }
    await alike(stores);
    assert.equal(stores[0]!.image.topicsById.size, 10);
    for (const store of stores) await store.close();
  });

  clause('judges a commit by what others have committed, told of it or not', async (world) => {
    const [a, b] = (await several(world, 2)) as [MetadataStore, MetadataStore];
    await a.commit([topic(1), wal('w1', 1)]);
    // At once, before a watch can have told.
    assert.equal(await outcome(b.commit([{ type: 'topicDeleted', topicId: id(1) }])), 'resolved');
    assert.equal(
      await outcome(a.commit([{ type: 'topicDeleted', topicId: id(1) }])),
      'invalid METADATA_CONDITION',
    );
    await alike([a, b]);
    for (const store of [a, b]) await store.close();
  });

  clause('ends a broker that is registered anew elsewhere, and no other', async (world) => {
    const [a, b] = (await several(world, 2)) as [MetadataStore, MetadataStore];
    const again = await registered(world, 1);
    assert.equal(await outcome(a.commit([topic(1)])), 'fenced METADATA_AUTHOR_FENCED');
    assert.equal(await outcome(b.commit([topic(2)])), 'resolved');
    assert.equal(await outcome(again.commit([topic(3)])), 'resolved');
    await alike([b, again]);
    assert.deepEqual([...b.image.topicsById.keys()], [id(2), id(3)]);
    for (const store of [a, b, again]) await store.close();
  });

  clause('grants blocks of ids that never overlap to brokers that ask at the same time', async (world) => {
    const stores = await several(world, 3);
    const sizes = [1_000, 500, 256];
    const blocks = await Promise.all(
      stores.flatMap((store, i) =>
        Array.from({ length: 4 }, async () => {
          const first = await grantIds(store, 'producer', sizes[i]!);
          return { first, next: first + sizes[i]! };
        }),
      ),
    );
    blocks.sort((a, b) => a.first - b.first);
    let reached = 0;
    for (const { first, next } of blocks) {
      assert.equal(first, reached);
      reached = next;
    }
    assert.equal(reached, 4 * 1_756);
    for (const store of stores) await store.close();
  });

  clause('keeps the floor of object ids at the oldest registration in force', async (world) => {
    const claims = [await world.open(), await world.open()] as const;
    const stores: MetadataStore[] = [];
    for (const [i, claim] of claims.entries()) {
      await claim.claim();
      const { store } = await claim.register(broker(i + 1));
      stores.push(store);
      await store.commit([{ type: 'idBlock', kind: 'object', first: 1_000 * i, next: 1_000 * (i + 1) }]);
    }
    await alike(stores);
    assert.deepEqual(
      claims.map(({ idFloor }) => idFloor),
      [0, 0],
    );
    const again = await registered(world, 1);
    await alike([stores[1]!, again]);
    assert.equal(claims[1].idFloor, 1_000);
    await again.commit([{ type: 'brokerState', node: 2, epoch: 1, state: 'fenced' }]);
    const look = await world.open();
    assert.equal(look.idFloor, 2_000);
    for (const store of [...stores, again]) await store.close();
    await look.close();
  });
}

/** Waits until all have folded what any of them has, and compares them byte by byte. */
async function alike(stores: readonly MetadataStore[]): Promise<void> {
  const newest = Math.max(...stores.map(({ image }) => image.revision));
  const deadline = performance.now() + patienceMs;
  while (stores.some(({ image }) => image.revision < newest) && performance.now() < deadline)
    await new Promise((resolve) => setTimeout(resolve, 2));
  for (const store of stores) {
    assert.equal(store.image.revision, newest);
    assert.ok(store.snapshot().equals(stores[0]!.snapshot()));
  }
}

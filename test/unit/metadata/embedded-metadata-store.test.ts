import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EmbeddedMetadataStore } from '../../../src/metadata/embedded-metadata-store.ts';
import { decodeImage } from '../../../src/metadata/image-codec.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { code } from '../../storage/store-contract.ts';
import { FaultStore, HeldStore } from '../../support/fault-store.ts';
import { crc32cForTests, HandClock, seededRandom, settle } from '../../support/store-fixtures.ts';
import { close, id, logStart, nobody, oid, open, range, topic, upload, wal } from './fixtures.ts';

let seed = 100;

interface Extra {
  clock?: HandClock;
  snapshotEntries?: number;
  onFenced?: () => void;
}

const openOn = (store: ObjectStore, writer = 'a', extra: Extra = {}): Promise<EmbeddedMetadataStore> =>
  EmbeddedMetadataStore.open({
    store,
    clock: new HandClock(),
    random: seededRandom(seed++),
    logger: silentLogger,
    crc32c: crc32cForTests,
    writer,
    ...extra,
  });

async function owned(store: ObjectStore, writer = 'a', extra: Extra = {}): Promise<EmbeddedMetadataStore> {
  const metadata = await openOn(store, writer, extra);
  await metadata.claim();
  return metadata;
}

const memory = (): MemoryStore => new MemoryStore(new HandClock());

describe('embedded metadata store', () => {
  it('writes nothing before it takes over, then creates the cluster once', async () => {
    const store = memory();
    const metadata = await openOn(store);
    assert.equal(metadata.image.clusterId, '');
    assert.deepEqual(await store.list(''), []);
    assert.equal(await code(metadata.commit([topic(1)])), 'internal METADATA_NOT_OWNED');
    await metadata.claim();
    const { clusterId } = metadata.image;
    assert.match(clusterId, /^[A-Za-z0-9_-]{22}$/);
    assert.equal(metadata.image.revision, 1);
    await metadata.close();
    const again = await owned(store);
    assert.equal(again.image.clusterId, clusterId);
    assert.equal(again.image.revision, 1);
    assert.equal(again.epoch, 2);
  });

  it('agrees on one cluster when two brokers meet an empty store', async () => {
    const store = memory();
    const [a, b] = await Promise.all([openOn(store, 'a'), openOn(store, 'b')]);
    await Promise.all([a.claim(), b.claim()]);
    assert.equal(a.image.clusterId, b.image.clusterId);
    const results = await Promise.all([code(a.commit([topic(1)])), code(b.commit([topic(2)]))]);
    assert.deepEqual(results.sort(), ['fenced METADATA_FENCED', 'resolved']);
  });

  it('comes back with what was committed', async () => {
    const store = memory();
    const first = await owned(store);
    await first.commit([topic(1, 3), wal()]);
    await first.commit([open(1, 2, 0, 0)]);
    await first.commit([upload(1, oid(1), range(1, 2, 0, 10))]);
    await first.commit([close(1, 2, 0, 12)]);
    await first.close();
    const second = await owned(store);
    assert.deepEqual(second.image, first.image);
    assert.equal(second.image.topicsByName.get('topic-1')?.partitions[2]?.endOffset, 12);
    assert.equal(await code(first.commit([topic(9)])), 'unavailable METADATA_CLOSED');
  });

  it('lets commits that wait share one object, in order, each atomic', async () => {
    const faulty = new FaultStore(memory());
    const metadata = await owned(faulty);
    faulty.puts.length = 0;
    const revisions: number[] = [];
    metadata.watch((revision, changes) => {
      assert.equal(metadata.image.revision, revision);
      assert.ok(changes.length > 0);
      revisions.push(revision);
    });
    const results = await Promise.all([
      metadata.commit([topic(1)]),
      code(metadata.commit([topic(2), topic(1)])),
      metadata.commit([topic(2)]),
      code(metadata.commit([topic(2)])),
      metadata.commit([{ type: 'topicDeleted', topicId: id(2) }]),
      metadata.commit([topic(2)]),
    ]);
    const refused = 'invalid METADATA_CONDITION';
    assert.deepEqual(results, [2, refused, 3, refused, 4, 5]);
    assert.deepEqual(revisions, [2, 3, 4, 5]);
    assert.equal(faulty.puts.length, 1);
    assert.deepEqual((await owned(faulty)).image, metadata.image);
  });

  it('shows nothing before it is durable', async () => {
    const held = new HeldStore(memory());
    held.holding = false;
    const metadata = await owned(held);
    held.holding = true;
    const seen: number[] = [];
    const stop = metadata.watch((revision) => seen.push(revision));
    const first = metadata.commit([topic(1)]);
    await settle();
    const second = metadata.commit([topic(2)]);
    await settle();
    assert.equal(held.held.length, 1);
    assert.equal(metadata.image.topicsByName.size, 0);
    await held.held[0]!.release();
    assert.equal(await first, 2);
    assert.equal(metadata.image.topicsByName.has('topic-2'), false);
    stop();
    await settle();
    await held.held[0]!.release();
    assert.equal(await second, 3);
    assert.deepEqual(seen, [2]);
  });

  it('refuses what does not fit, and changes nothing then', async () => {
    const metadata = await owned(memory());
    const base: MetadataChange[] = [
      topic(1),
      wal(),
      { type: 'idBlock', kind: 'producer', first: 0, next: 1000 },
    ];
    await metadata.commit([
      ...base,
      {
        type: 'broker',
        node: 0,
        epoch: 1,
        endpoints: [{ listener: 'plain', tls: false, host: 'h', port: 1 }],
        rack: null,
      },
    ]);
    await metadata.commit([open(1, 0, 5, 0), upload(4, oid(1), range(1, 0, 0, 10))]);
    const refused: Record<string, MetadataChange[]> = {
      'second cluster': [{ type: 'cluster', clusterId: 'x', createdMs: 0 }],
      'taken id': [{ ...topic(1), name: 'other' } as MetadataChange],
      'no partitions': [topic(2, 0)],
      'unknown topic': [open(7, 0, 6, 0)],
      'unknown partition': [open(1, 1, 6, 0)],
      'old leader epoch': [open(1, 0, 5, 0)],
      'unknown WAL': [{ ...open(1, 0, 6, 0), wal: 'w9' } as MetadataChange],
      'close of another epoch': [close(1, 0, 4, 10)],
      'close twice': [close(1, 0, 5, 10), close(1, 0, 5, 10)],
      'fewer partitions': [{ type: 'partitions', topicId: id(1), partitions: 1 }],
      'config of no topic': [{ type: 'config', resource: 'topic', name: 'none', entries: {} }],
      'log start backwards': [logStart(1, 0, 5), logStart(1, 0, 4)],
      'WAL epoch backwards': [wal('w1', 0)],
      'removal of an open WAL': [{ type: 'walRemoved', logId: 'w1' }],
      'upload of an unknown WAL': [{ ...upload(5, oid(2)), wal: 'w9' } as MetadataChange],
      'upload that frees less': [upload(3, oid(2), range(1, 0, 10, 20))],
      'object twice': [upload(5, oid(1), range(1, 0, 10, 20))],
      'offsets twice': [upload(5, oid(2), range(1, 0, 9, 20))],
      'offsets twice, around': [upload(5, oid(2), range(1, 0, 0, 5))],
      'empty range': [upload(5, oid(2), range(1, 0, 10, 10))],
      'drop of live data': [{ type: 'objectsDropped', objectIds: [oid(1)], dueMs: 0 }],
      'drop of live data below a low start': [
        logStart(1, 0, 9),
        { type: 'objectsDropped', objectIds: [oid(1)], dueMs: 0 },
      ],
      'drop of the newest state of producers': [
        logStart(1, 0, 10),
        nobody(1, 0, 9),
        { type: 'objectsDropped', objectIds: [oid(1)], dueMs: 0 },
      ],
      'states in an object of others': [
        {
          type: 'states',
          objects: [{ objectId: oid(7), size: 1 }],
          streams: [{ topicId: id(1), partition: 0, offset: 10, stateObject: oid(1) }],
        },
      ],
      'states in a recorded object': [
        { type: 'states', objects: [{ objectId: oid(1), size: 1 }], streams: [] },
      ],
      'forgetting what was not dropped': [{ type: 'objectsForgotten', objectIds: [oid(1)] }],
      'ids again': [{ type: 'idBlock', kind: 'producer', first: 0, next: 1000 }],
      'ids again, in a larger block': [{ type: 'idBlock', kind: 'producer', first: 0, next: 2000 }],
      'ids with a hole': [{ type: 'idBlock', kind: 'producer', first: 1001, next: 2000 }],
      'no ids': [{ type: 'idBlock', kind: 'producer', first: 1000, next: 1000 }],
      'old broker epoch': [
        {
          type: 'broker',
          node: 0,
          epoch: 1,
          endpoints: [{ listener: 'plain', tls: false, host: 'h', port: 1 }],
          rack: null,
        },
      ],
    };
    const before = metadata.snapshot();
    for (const [name, changes] of Object.entries(refused)) {
      assert.equal(await code(metadata.commit(changes)), 'invalid METADATA_CONDITION', name);
    }
    assert.equal(
      await code(metadata.commit([{ type: 'idBlock', kind: 'object', first: 0, next: 0.5 }])),
      'internal METADATA_ENCODING',
    );
    assert.deepEqual(metadata.snapshot(), before);
    await metadata.commit([logStart(1, 0, 10)]);
    const drop: MetadataChange = { type: 'objectsDropped', objectIds: [oid(1)], dueMs: 9 };
    assert.equal(await code(metadata.commit([drop])), 'invalid METADATA_CONDITION', 'producers in it');
    await metadata.commit([nobody(1, 0, 10), drop]);
    assert.equal(metadata.image.dropped.get(oid(1)), 9);
  });

  it('ends when another takes over, at its next commit or when it looks ahead', async () => {
    const store = memory();
    const fenced: string[] = [];
    const clock = new HandClock();
    const quiet = await owned(store, 'quiet', { clock, onFenced: () => fenced.push('quiet') });
    const busy = await owned(store, 'busy', { onFenced: () => fenced.push('busy') });
    clock.advance(9_999);
    await settle();
    assert.deepEqual(fenced, []);
    clock.advance(1);
    await settle();
    assert.deepEqual(fenced, ['quiet']);
    assert.equal(clock.pending, 0);
    assert.equal(await code(quiet.commit([topic(1)])), 'fenced METADATA_FENCED');
    await owned(store, 'last');
    const results = await Promise.all([1, 2, 3].map((n) => code(busy.commit([topic(n)]))));
    assert.deepEqual(results, Array(3).fill('fenced METADATA_FENCED'));
    assert.deepEqual(fenced, ['quiet', 'busy']);
    assert.equal(busy.image.topicsByName.size, 0);
  });

  it('keeps looking ahead while nobody takes over', async () => {
    const store = memory();
    const clock = new HandClock();
    let fenced = 0;
    const metadata = await owned(store, 'a', { clock, onFenced: () => fenced++ });
    for (let i = 0; i < 3; i++) {
      clock.advance(10_000);
      await settle();
    }
    await metadata.commit([topic(1)]);
    await owned(store, 'b');
    clock.advance(10_000);
    await settle();
    assert.equal(fenced, 1);
    await metadata.close();
    assert.equal(clock.pending, 0);
  });

  it('sees at takeover what was committed since it was opened', async () => {
    const store = memory();
    const first = await owned(store);
    const second = await openOn(store);
    await first.commit([topic(1)]);
    const revision = second.image.revision;
    const seen: number[] = [];
    second.watch((at) => seen.push(at));
    assert.equal(await second.claim(), revision + 1);
    assert.deepEqual(seen, [revision + 1]);
    assert.equal(second.image.topicsByName.has('topic-1'), true);
  });

  it('leaves the owner alone when that was at work since the store was opened', async () => {
    const store = memory();
    const first = await owned(store);
    const second = await openOn(store, 'b');
    await first.commit([topic(1)]);
    assert.equal(await code(second.claim(second.image.revision)), 'fenced METADATA_MOVED');
    await first.commit([topic(2)]);
    assert.equal(second.epoch, 0);
    const third = await openOn(store, 'c');
    await third.claim(third.image.revision);
    assert.deepEqual(third.image, first.image);
  });

  it('leaves alone who made the cluster meanwhile', async () => {
    const store = memory();
    const [a, b] = await Promise.all([openOn(store, 'a'), openOn(store, 'b')]);
    assert.equal(await a.claim(0), 1);
    await a.commit([wal()]);
    assert.equal(await code(b.claim(0)), 'fenced METADATA_MOVED');
    await a.commit([topic(1)]);
  });

  it('gives up a claim when an entry came between the last look and the seal', async () => {
    const store = memory();
    const first = await owned(store);
    const gate = new HeldStore(store);
    const second = await openOn(gate, 'b');
    const claim = code(second.claim(second.image.revision));
    await settle();
    await first.commit([topic(1)]);
    // The number of its seal is taken; what took it is seen before the next try.
    await gate.held[0]!.release();
    assert.equal(await claim, 'fenced METADATA_MOVED');
    await first.commit([topic(2)]);
  });

  it('is read and never owned once the metadata moved elsewhere', async () => {
    const store = memory();
    const away: MetadataChange = {
      type: 'authority',
      previous: '',
      kind: 'etcd',
      incarnation: '0'.repeat(32),
      location: 'etcd://a:2379/m',
    };
    const owner = await owned(store, 'owner');
    await owner.commit([topic(1)]);
    const slow = new HeldStore(store);
    const taker = await openOn(slow, 'taker');
    await owner.commit([away]);
    const keys = async () => (await store.list('meta/')).map((info) => info.key);
    const before = await keys();
    // It looked before the move, and is told to take over whatever has happened since.
    assert.equal(await code(taker.claim()), 'fenced METADATA_MOVED_AWAY');
    const late = await openOn(store, 'late');
    assert.ok(late.image.topicsById.has(id(1)));
    assert.equal(await code(late.claim()), 'fenced METADATA_MOVED_AWAY');
    assert.deepEqual(await keys(), before);
    // Back again, by whoever may still append.
    await owner.commit([{ ...away, previous: away.incarnation, kind: 'journal', location: '' }]);
    await late.claim();
    await late.commit([topic(2)]);
  });

  it('takes over even when snapshots overtook its reading', async () => {
    const store = memory();
    const first = await owned(store, 'first', { snapshotEntries: 3 });
    const slow = await openOn(store, 'slow');
    for (let n = 0; n < 20; n++) {
      await first.commit([topic(n)]);
      await settle(12);
    }
    await slow.claim();
    assert.deepEqual(slow.image, first.image);
    assert.equal(await code(first.commit([topic(99)])), 'fenced METADATA_FENCED');
    await slow.commit([topic(99)]);
    assert.deepEqual((await openOn(store)).image, slow.image);
  });

  it('bounds the replay by snapshots, and survives one that cannot be stored', async () => {
    const faulty = new FaultStore(memory());
    const metadata = await owned(faulty, 'a', { snapshotEntries: 10 });
    faulty.fail('meta/snap/', 'no effect');
    for (let n = 0; n < 95; n++) {
      await metadata.commit([topic(n)]);
      await settle(12);
    }
    const entries = await faulty.list('meta/log/');
    assert.ok(entries.length <= 35, `${entries.length} entries are left`);
    assert.equal((await faulty.list('meta/snap/')).length, 2);
    faulty.gets.length = 0;
    const again = await openOn(faulty);
    assert.ok(faulty.gets.length <= 15, `${faulty.gets.length} gets`);
    assert.deepEqual(again.image, metadata.image);
  });

  it('goes on through lost answers without committing twice', async () => {
    const faulty = new FaultStore(memory());
    const metadata = await owned(faulty);
    faulty.fail('meta/log/', 'lost answer');
    assert.equal(await metadata.commit([topic(1)]), 2);
    assert.equal(await metadata.commit([topic(2)]), 3);
    const again = await openOn(faulty);
    assert.equal(again.image.revision, 3);
  });

  it('stops when a listener breaks, since what follows would see another image', async () => {
    const ended: string[] = [];
    const metadata = await owned(memory(), 'a', { onFenced: () => ended.push('ended') });
    metadata.watch(() => {
      throw new Error('broken listener');
    });
    assert.equal(await code(metadata.commit([topic(1)])), 'internal METADATA_FAILED');
    assert.equal(await code(metadata.commit([topic(2)])), 'internal METADATA_FAILED');
    assert.deepEqual(ended, ['ended']);
  });

  it('bounds what waits, and rejects it when closed', async () => {
    const held = new HeldStore(memory());
    held.holding = false;
    const metadata = await owned(held);
    held.holding = true;
    const inFlight = code(metadata.commit([topic(0)]));
    await settle();
    const waiting = Array.from({ length: 20_000 }, () => code(metadata.commit([])));
    assert.equal(await code(metadata.commit([topic(1)])), 'exhausted METADATA_BUSY');
    const closed = metadata.close();
    assert.ok((await Promise.all(waiting)).every((result) => result === 'unavailable METADATA_CLOSED'));
    await held.held[0]!.release();
    await closed;
    assert.equal(await inFlight, 'resolved');
  });

  it('commits 5,000 topics in one object', async () => {
    const store = memory();
    const metadata = await owned(store);
    await Promise.all(Array.from({ length: 5_000 }, (_, n) => metadata.commit([topic(n)])));
    await metadata.commit([topic(6_000, 10_000), wal()]);
    await metadata.commit(Array.from({ length: 10_000 }, (_, p) => open(6_000, p, 0, 0)));
    const ranges = Array.from({ length: 10_000 }, (_, p) => range(6_000, p, 0, 10));
    await metadata.commit([upload(1, oid(1), ...ranges)]);
    const again = decodeImage(metadata.snapshot());
    assert.equal(again.image.topicsById.size, 5_001);
    // Birth, seal, and four entries, of which the first holds 5,000 commits.
    assert.equal((await store.list('meta/log/')).length, 2 + 4);
  });
});

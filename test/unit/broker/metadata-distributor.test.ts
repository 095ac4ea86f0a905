/** What shards are told of the metadata, and when: a stream that is opened here waits for the bucket's journal. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MetadataDistributor } from '../../../src/broker/metadata-distributor.ts';
import type { ChangeListener, MetadataChange, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';

const node = 1;
const open = (on: number, partition = 0): MetadataChange => ({
  type: 'open',
  topicId: 'topic',
  partition,
  leaderEpoch: 0,
  startOffset: 0,
  node: on,
  wal: 'log',
});
const other: MetadataChange = { type: 'controller', node };

/** Commits by hand, and a journal that comes on by hand. */
class HandStore {
  #listener: ChangeListener = () => {};
  #waiting: { revision: number; resolve(): void; reject(error: Error): void }[] = [];
  revision = 0;

  change(...changes: MetadataChange[]): number {
    this.#listener(++this.revision, changes);
    return this.revision;
  }

  commit(changes: readonly MetadataChange[]): Promise<number> {
    return Promise.resolve(this.change(...changes));
  }

  snapshot(): Buffer {
    return Buffer.from(String(this.revision));
  }

  persisted(revision: number): Promise<void> {
    return new Promise((resolve, reject) => void this.#waiting.push({ revision, resolve, reject }));
  }

  watch(listener: ChangeListener): () => void {
    this.#listener = listener;
    return () => {
      this.#listener = () => {};
    };
  }

  /** The journal holds the revision. */
  hold(revision: number): void {
    for (const each of this.#waiting) if (each.revision <= revision) each.resolve();
  }

  end(error: Error): void {
    for (const each of this.#waiting) each.reject(error);
  }
}

interface Made {
  readonly store: HandStore;
  readonly distributor: MetadataDistributor;
  readonly told: number[];
  readonly failures: Error[];
}

function make(of: number | null = node): Made {
  const store = new HandStore();
  const told: number[] = [];
  const failures: Error[] = [];
  const distributor = new MetadataDistributor(
    store as unknown as MetadataStore,
    (error) => failures.push(error),
    of,
  );
  distributor.startImage();
  distributor.begin([async (revision) => void told.push(revision)]);
  return { store, distributor, told, failures };
}

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

describe('metadata distributor', () => {
  it('tells shards at once of what opens nothing here', () => {
    const { store, told } = make();
    store.change(other);
    store.change(open(2));
    assert.deepEqual(told, [1, 2]);
  });

  it('holds a stream that is opened here, and all that follows, until the journal has it', async () => {
    const { store, distributor, told } = make();
    store.change(other);
    let answered = false;
    const opening = distributor.commit([open(node)]).then(() => {
      answered = true;
    });
    store.change(other);
    await settle();
    assert.deepEqual(told, [1]);
    assert.equal(answered, false);
    store.hold(1);
    await settle();
    assert.deepEqual(told, [1]);
    store.hold(2);
    await opening;
    await settle();
    assert.deepEqual(told, [1, 2, 3]);
    store.change(other);
    assert.deepEqual(told, [1, 2, 3, 4]);
  });

  it('waits for each of several, in order', async () => {
    const { store, told } = make();
    for (const partition of [0, 1]) store.change(open(node, partition));
    store.change(other);
    await settle();
    store.hold(1);
    await settle();
    assert.deepEqual(told, [1]);
    store.hold(2);
    await settle();
    assert.deepEqual(told, [1, 2, 3]);
  });

  it('grants ids while a stream waits', async () => {
    const { store, distributor } = make();
    store.change(open(node));
    assert.equal(await distributor.commit([{ type: 'idBlock', kind: 'producer', first: 0, next: 10 }]), 2);
  });

  it('waits for nothing where the journal is where commits are made', () => {
    const { store, told } = make(null);
    store.change(open(node));
    assert.deepEqual(told, [1]);
  });

  it('gives new shards what was committed since their image was taken', async () => {
    const store = new HandStore();
    const distributor = new MetadataDistributor(store as unknown as MetadataStore, assert.fail, node);
    store.change(other);
    assert.equal(distributor.startImage().toString(), '1');
    store.change(other);
    let answered = false;
    const committing = distributor.commit([other]).then(() => {
      answered = true;
    });
    await settle();
    assert.equal(answered, false);
    const told: number[] = [];
    distributor.begin([async (revision) => void told.push(revision)]);
    await committing;
    assert.deepEqual(told, [2, 3]);
  });

  it('refuses what waits when the metadata end', async () => {
    const { store, distributor, told } = make();
    const opening = distributor.commit([open(node)]);
    const following = distributor.commit([other]);
    await settle();
    store.end(new MillraceError('fenced', 'METADATA_MOVED_AWAY', 'elsewhere'));
    await assert.rejects(opening, { code: 'METADATA_MOVED_AWAY' });
    await assert.rejects(following, { code: 'METADATA_MOVED_AWAY' });
    assert.deepEqual(told, []);
  });

  it('lets go of what waits when the shards end', async () => {
    const { store, distributor, told } = make();
    const opening = distributor.commit([open(node)]);
    await settle();
    distributor.endDistribution();
    assert.equal(await opening, 1);
    store.hold(1);
    await settle();
    assert.deepEqual(told, []);
  });

  it('ends the broker where more waits than may', async () => {
    const { store, failures } = make();
    for (let n = 0; n < 20_000; n++) store.change(open(node));
    assert.deepEqual(failures, []);
    store.change(other);
    assert.deepEqual(
      failures.map((error) => (error as MillraceError).code),
      ['METADATA_HELD'],
    );
    store.end(new MillraceError('unavailable', 'METADATA_CLOSED', 'closed'));
    await settle();
  });
});

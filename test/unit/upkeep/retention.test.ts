/** Retention and sweep together, over objects, manifests and metadata in memory; and a crash at every request of theirs. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type LogFields, type Logger, silentLogger } from '../../../src/ports/logger.ts';
import type { ObjectStore, PutOptions } from '../../../src/store/object-store.ts';
import { manifestKey } from '../../../src/stream/manifest/manifest.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { ObjectSweep } from '../../../src/upkeep/object-sweep.ts';
import { Retention } from '../../../src/upkeep/retention.ts';
import type { RetentionRules } from '../../../src/upkeep/retention-plan.ts';
import { SoleScope } from '../../../src/upkeep/scope.ts';
import { emptyStates } from '../../support/compaction-world.ts';
import { PassingStore } from '../../support/fault-store.ts';
import { settle } from '../../support/store-fixtures.ts';
import { id, logStart, oid } from '../metadata/fixtures.ts';
import { ManifestWorld, producer, producerOf } from '../stream/manifest/manifests.ts';

const graceMs = 1_000;
const none = Number.POSITIVE_INFINITY;
const hour = 3_600_000;

class World extends ManifestWorld {
  rules: RetentionRules = { deletes: true, ms: none, bytes: none };
  readonly lines: { readonly message: string; readonly fields: LogFields | undefined }[] = [];

  logger(): Logger {
    const line = (message: string, fields?: LogFields): void => void this.lines.push({ message, fields });
    return { ...silentLogger, info: line, warn: line, error: line };
  }

  retention(): Retention {
    const { metadata, cache: manifests, writer, clock } = this;
    return new Retention({
      metadata,
      scope: new SoleScope(0, clock),
      manifests,
      writer,
      rules: () => this.rules,
      clock,
      logger: this.logger(),
      intervalMs: 300_000,
      keepStates: async () => {
        if (this.keepsStates) await this.keepStates();
      },
    });
  }

  keepsStates = true;
  /** Stands in for the state keeper: nobody has written whom one would have to remember. */
  async keepStates(): Promise<void> {
    const { metadata } = this;
    const streams = emptyStates(metadata.image);
    if (streams.length > 0) await metadata.commit([{ type: 'states', objects: [], streams }]);
  }

  sweep(store: ObjectStore = this.store): ObjectSweep {
    const { metadata, cache: manifests, clock } = this;
    return new ObjectSweep({
      metadata,
      scope: new SoleScope(0, clock),
      graceMs,
      store,
      manifests,
      clock,
      logger: this.logger(),
    });
  }

  /** Ten records of `at`, in an object of their own or together with topic 2. */
  async batch(n: number, from: number, at: number, also: number | null = null): Promise<string> {
    const shapes = [{ bytes: 200, records: 10, maxTimestamp: at }];
    const one = { topic: n, from, shapes, producers: [producer(n, from + 9)] };
    return this.upload(also === null ? [one] : [one, { topic: also, from, shapes }]);
  }

  async keys(): Promise<string[]> {
    const all = [...(await this.store.list('data/')), ...(await this.store.list('manifest/'))];
    return all.map(({ key }) => key).sort();
  }

  /** Keys that ought to be there: what image and manifests name, what is on its way out. */
  async named(): Promise<string[]> {
    const { image } = this.metadata;
    const keys = new Set([...image.objects.keys(), ...image.dropped.keys()].map(objectKey));
    for (const { topicId, partition, version } of image.droppedManifests.values())
      keys.add(manifestKey(topicId, partition, version));
    for (const { partitions } of image.topicsById.values()) {
      for (const { topicId, partition, manifest } of partitions) {
        if (manifest === null) continue;
        keys.add(manifestKey(topicId, partition, manifest.version));
        const { objects } = await this.cache.get(topicId, partition, manifest.version);
        for (const { objectId } of objects) keys.add(objectKey(objectId));
      }
    }
    return [...keys].sort();
  }
}

async function world(): Promise<World> {
  const made = new World();
  await made.own();
  await made.withTopics(1, 2);
  return made;
}

describe('retention of a stream without a manifest', () => {
  it('moves the log start; objects go after the grace, when their last stream has left', async () => {
    const made = await world();
    const now = made.clock.now();
    await made.batch(1, 0, now - 3 * hour);
    await made.batch(1, 10, now - 2 * hour, 2);
    await made.batch(1, 20, now);
    made.rules = { deletes: true, ms: 2 * hour, bytes: none };
    const retention = made.retention();
    await retention.pass();
    assert.deepEqual([made.partition(1).startOffset, made.partition(2).startOffset], [10, 0]);
    made.clock.advance(1);
    await retention.pass();
    assert.deepEqual([made.partition(1).startOffset, made.partition(2).startOffset], [20, 20]);
    assert.equal(retention.moves, 3);

    const sweep = made.sweep();
    await sweep.pass();
    made.clock.advance(graceMs - 1);
    await sweep.pass();
    assert.equal((await made.keys()).length, 3);
    made.clock.advance(1);
    await sweep.pass();
    assert.deepEqual(await made.keys(), [objectKey(oid(3))]);
    assert.equal(made.metadata.image.dropped.size, 0);
    // Everything that was uploaded may go; what comes next begins at the end.
    made.clock.advance(2 * hour);
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 30);
  });

  it('goes by size', async () => {
    const made = await world();
    for (const from of [0, 10, 20, 30]) await made.batch(1, from, made.clock.now());
    made.rules = { deletes: true, ms: none, bytes: 500 };
    await made.retention().pass();
    assert.equal(made.partition(1).startOffset, 10);
    made.rules = { deletes: false, ms: 0, bytes: 0 };
    await made.retention().pass();
    assert.equal(made.partition(1).startOffset, 10);
  });

  it('runs at its interval, one pass at a time, and not after it was stopped', async () => {
    const made = await world();
    await made.batch(1, 0, made.clock.now());
    made.rules = { deletes: true, ms: hour, bytes: none };
    const retention = made.retention();
    retention.start();
    made.clock.advance(299_999);
    await settle();
    made.rules = { deletes: true, ms: 0, bytes: none };
    assert.equal(made.partition(1).startOffset, 0);
    made.clock.advance(1);
    await settle(40);
    assert.equal(made.partition(1).startOffset, 10);
    await made.batch(1, 10, made.clock.now());
    await retention.stop();
    made.clock.advance(900_000);
    await settle(40);
    assert.equal(made.partition(1).startOffset, 10);
  });
});

describe('retention of a stream with a manifest', () => {
  const three = async (): Promise<World> => {
    const made = await world();
    const now = made.clock.now();
    for (const [i, age] of [5, 4, 3, 2, 1].entries()) await made.batch(1, i * 10, now - age * hour);
    await made.adopt(1, 3);
    return made;
  };

  it('moves the log start with the next version, through the manifest and behind it', async () => {
    const made = await three();
    made.rules = { deletes: true, ms: 4.5 * hour, bytes: none };
    const retention = made.retention();
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 10);
    assert.deepEqual(made.partition(1).manifest, {
      version: 2,
      startOffset: 10,
      endOffset: 30,
      objects: 2,
      bytes: 400,
      maxTimestamp: made.clock.now() - 3 * hour,
    });
    assert.deepEqual([...made.metadata.image.dropped.keys()], [oid(1)]);
    made.rules = { deletes: true, ms: 1.5 * hour, bytes: none };
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 40);
    assert.equal(made.partition(1).manifest!.objects, 0);
    assert.deepEqual([...made.metadata.image.dropped.keys()], [oid(1), oid(2), oid(3)]);
    assert.deepEqual([retention.moves, retention.dropped], [2, 3]);
    // Nothing is left in it to let go: from here on its stream goes as if it had none.
    made.rules = { deletes: true, ms: 0.5 * hour, bytes: none };
    await retention.pass();
    assert.deepEqual([made.partition(1).startOffset, made.partition(1).manifest!.version], [50, 3]);
    await retention.pass();
    assert.deepEqual([retention.moves, retention.dropped], [3, 3]);
    // Who wrote what is gone is still known, and the next upload goes on behind.
    const { producers } = await made.cache.get(id(1), 0, 3);
    assert.deepEqual(producers, [producerOf(1, [9, 19, 29])]);
    await made.batch(1, 50, made.clock.now());
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 50);
    made.clock.advance(hour);
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 60);
  });

  it('goes by the size of both', async () => {
    const made = await three();
    made.rules = { deletes: true, ms: none, bytes: 600 };
    await made.retention().pass();
    assert.equal(made.partition(1).startOffset, 20);
    assert.equal(made.partition(1).manifest!.objects, 1);
  });

  it('takes out what DeleteRecords has passed, of compacted topics as well', async () => {
    const made = await three();
    made.rules = { deletes: false, ms: 0, bytes: 0 };
    await made.metadata.commit([logStart(1, 0, 15)]);
    const retention = made.retention();
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 15);
    assert.deepEqual([...made.metadata.image.dropped.keys()], [oid(1)]);
    assert.deepEqual(
      [made.partition(1).manifest!.startOffset, retention.dropped, retention.moves],
      [15, 1, 0],
    );
  });

  it('reads a manifest once and remembers when its oldest part is due', async () => {
    const made = await three();
    await made.metadata.close();
    await made.own();
    made.rules = { deletes: true, ms: 6 * hour, bytes: 10_000 };
    const retention = made.retention();
    await made.metadata.commit([logStart(1, 0, 5)]);
    made.store.gets.length = 0;
    const looked = () => made.store.gets.filter((key) => key.startsWith('manifest/')).length;
    for (let i = 0; i < 3; i++) await retention.pass();
    assert.equal(looked(), 1);
    assert.equal(made.partition(1).manifest!.version, 1);
    made.clock.advance(hour);
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 5);
    made.clock.advance(1);
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 10);
    assert.equal(looked(), 1);
  });

  it('goes on with other streams when one fails', async () => {
    const made = await three();
    await made.batch(2, 0, made.clock.now() - 9 * hour);
    await made.metadata.close();
    await made.own();
    made.rules = { deletes: true, ms: 4.5 * hour, bytes: none };
    made.store.failGet('manifest/');
    const retention = made.retention();
    await retention.pass();
    assert.deepEqual([made.partition(1).startOffset, made.partition(2).startOffset], [0, 10]);
    assert.match(made.lines.map(({ message }) => message).join(), /could not be let go/);
    await retention.pass();
    assert.equal(made.partition(1).startOffset, 10);
  });
});

describe('sweep', () => {
  it('lets what a deleted topic had in manifests go, attempts that were not committed included', async () => {
    const made = await world();
    for (const from of [0, 10, 20]) await made.batch(1, from, made.clock.now());
    await made.batch(2, 0, made.clock.now());
    await made.adopt(1, 1);
    await made.adopt(1, 1);
    await made.store.put(manifestKey(id(1), 0, 9), [Buffer.from('an attempt')]);
    await made.metadata.commit([{ type: 'topicDeleted', topicId: id(1) }]);
    const sweep = made.sweep();
    await sweep.pass();
    const { image } = made.metadata;
    assert.equal(image.deletedManifests.size, 0);
    assert.deepEqual([...image.dropped.keys()].sort(), [oid(1), oid(2), oid(3)]);
    made.clock.advance(graceMs - 1);
    await sweep.pass();
    assert.equal((await made.keys()).length, 4 + 3);
    made.clock.advance(1);
    await sweep.pass();
    assert.deepEqual(await made.keys(), [objectKey(oid(4))]);
    assert.deepEqual([image.dropped.size, image.droppedManifests.size], [0, 0]);
    assert.equal(sweep.deleted, 6);
  });

  it('keeps asking for a manifest that cannot be read, and says when one is gone', async () => {
    const made = await world();
    await made.batch(1, 0, made.clock.now());
    await made.adopt(1, 1);
    await made.metadata.commit([{ type: 'topicDeleted', topicId: id(1) }]);
    await made.metadata.close();
    await made.own();
    const sweep = made.sweep();
    made.store.failGet('manifest/');
    await sweep.pass();
    assert.equal(made.metadata.image.deletedManifests.size, 1);
    await made.store.delete([manifestKey(id(1), 0, 1)]);
    await sweep.pass();
    assert.equal(made.metadata.image.deletedManifests.size, 0);
    assert.match(made.lines.map(({ message }) => message).join(), /is not in the store/);
  });
});

/** Lets `left` requests that change the store through; the one after it ends the process, before or after its effect. */
class DyingStore extends PassingStore {
  left: number;
  readonly after: boolean;
  constructor(inner: ObjectStore, left: number, after: boolean) {
    super(inner);
    this.left = left;
    this.after = after;
  }

  async #dies(run: () => Promise<void>): Promise<void> {
    if (this.left-- > 0) return run();
    if (this.after && this.left === -1) await run();
    await new Promise(() => {});
  }

  override put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    return this.#dies(() => super.put(key, body, options));
  }

  override delete(keys: readonly string[]): Promise<void> {
    return this.#dies(() => super.delete(keys));
  }
}

describe('retention and sweep that end at any request', () => {
  for (const after of [false, true]) {
    it(`lose nothing and leave nothing: the request ${after ? 'takes' : 'has no'} effect`, async () => {
      let crashes = 0;
      for (let left = 0; ; left++) {
        const made = await world();
        const now = made.clock.now();
        for (const [i, age] of [5, 4, 3, 2].entries())
          await made.batch(1, i * 10, now - age * hour, i === 3 ? 2 : null);
        await made.adopt(1, 2);
        await made.adopt(1, 1);
        await made.upload([
          { topic: 2, partition: 1, from: 0, shapes: [{ bytes: 100, records: 5, maxTimestamp: now }] },
        ]);
        await made.writer.advance(id(2), 1, ({ ranges }) => ({
          objects: [{ ...ranges[0]!, size: 1 }],
          endOffset: 5,
          adopted: [ranges[0]!.objectId],
        }));
        await made.metadata.commit([{ type: 'topicDeleted', topicId: id(2) }]);
        await made.metadata.close();

        // A life that ends in the middle of its passes …
        const whole = made.store;
        const dying = new DyingStore(whole, left, after);
        const doomed = new World();
        Object.assign(doomed, {
          store: dying,
          clock: made.clock,
          rules: { deletes: true, ms: 3.5 * hour, bytes: none },
        });
        let ended = false;
        const life = (async () => {
          await doomed.own();
          await doomed.retention().pass();
          const sweep = doomed.sweep(dying);
          await sweep.pass();
          made.clock.advance(graceMs);
          await sweep.pass();
          ended = true;
        })();
        await Promise.race([life, settle(400)]);
        if (ended) break;
        crashes++;

        // … and one that goes on.
        await made.own();
        made.rules = doomed.rules;
        await made.retention().pass();
        for (let i = 0; i < 3; i++) {
          await made.sweep().pass();
          made.clock.advance(graceMs);
        }
        await made.sweep().pass();
        const where = `after ${left} requests`;
        assert.equal(made.partition(1).startOffset, 20, where);
        assert.deepEqual(await made.named(), await made.keys(), where);
        assert.deepEqual(
          [made.metadata.image.dropped.size, made.metadata.image.droppedManifests.size],
          [0, 0],
          where,
        );
        const { objects } = await made.cache.get(id(1), 0, made.partition(1).manifest!.version);
        assert.deepEqual(
          [
            ...objects.map(({ objectId }) => objectId),
            ...made.partition(1).objects.map(({ objectId }) => objectId),
          ],
          [oid(3), oid(4)],
          where,
        );
        await made.metadata.close();
      }
      assert.ok(crashes >= 6, `${crashes} points`);
    });
  }
});

/** Log compaction is cut off at every request, and meets everything else that changes a stream: nothing is lost, nothing is left. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MultipartUpload, ObjectStore, PutOptions } from '../../../../src/store/object-store.ts';
import { unavailable } from '../../../../src/store/store-errors.ts';
import { runCompaction } from '../../../../src/stream/compaction/compact-objects.ts';
import { planCompaction } from '../../../../src/stream/compaction/plan-compaction.ts';
import { manifestKey } from '../../../../src/stream/manifest/manifest.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import { assertSound } from '../../../support/clean-checks.ts';
import { CleanWorld } from '../../../support/clean-world.ts';
import { smallLimits, smallPolicy } from '../../../support/compaction-world.ts';
import { PassingStore } from '../../../support/fault-store.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { crc32c } from '../../../support/stream-deltas.ts';

/** After so many changes nothing reaches the store any more; the last one takes effect and its answer is lost. */
class CutStore extends PassingStore {
  left: number;
  readonly lastArrives: boolean;
  /** Resolves with the cut: who waits for an answer may wait for ever. */
  readonly gone: Promise<void>;
  #cut = (): void => {};

  constructor(inner: ObjectStore, left: number, lastArrives: boolean) {
    super(inner);
    this.left = left;
    this.lastArrives = lastArrives;
    this.gone = new Promise((resolve) => {
      this.#cut = resolve;
    });
  }

  async #change<T>(what: string, run: () => Promise<T>): Promise<T> {
    this.left--;
    if (this.left < 0) throw unavailable(what, 'the broker is gone');
    if (this.left > 0) return run();
    if (this.lastArrives) await run();
    this.#cut();
    throw unavailable(what, 'the broker is gone');
  }

  override put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    const sent = body.map((part) => Uint8Array.from(part));
    return this.#change(key, () => this.inner.put(key, sent, options));
  }

  override async multipart(key: string): Promise<MultipartUpload> {
    const upload = await this.#change(key, () => this.inner.multipart(key));
    return {
      uploadPart: (number, body) => this.#change(key, () => upload.uploadPart(number, body)),
      copyPart: (...range) => this.#change(key, () => upload.copyPart(...range)),
      complete: () => this.#change(key, () => upload.complete()),
      abort: () => this.#change(key, () => upload.abort()),
    };
  }

  override delete(keys: readonly string[]): Promise<void> {
    return this.#change('delete', () => this.inner.delete(keys));
  }
}

async function written(seed: number): Promise<CleanWorld> {
  const random = new SeededRandom(seed);
  const world = await new CleanWorld().start();
  world.mapBytes = 24 * 16;
  for (let i = 0; i < 60; i++) {
    world.step(random, 25);
    if (i % 20 === 19) await world.upload();
  }
  return world;
}

/** Everything in the store is named by somebody, and everything named is there. */
async function assertNothingLeft(world: CleanWorld): Promise<void> {
  const { image } = world.metadata;
  const named = new Set([...image.objects.keys(), ...image.dropped.keys()].map(objectKey));
  for (const { topicId, partition, version } of image.droppedManifests.values())
    named.add(manifestKey(topicId, partition, version));
  if (world.image.manifest !== null) {
    named.add(manifestKey(world.topicId, world.partition, world.image.manifest.version));
    for (const { objectId } of (await world.manifest()).objects) named.add(objectKey(objectId));
  }
  const stored = [...(await world.inner.list('data/')), ...(await world.inner.list('manifest/'))];
  assert.deepEqual(stored.map(({ key }) => key).sort(), [...named].sort());
}

describe('log compaction that is cut off', () => {
  for (const lastArrives of [false, true])
    it(`at any request, ${lastArrives ? 'whose answer is lost' : 'which is lost'}, is as if it had not begun or had ended`, async () => {
      let cuts = 0;
      for (let after = 1; ; after++) {
        const world = await written(3);
        const store = new CutStore(world.inner, Number.POSITIVE_INFINITY, lastArrives);
        await world.own(store);
        store.left = after;
        await Promise.race([world.cleaner().pass(), store.gone]);
        const whole = store.left > 0;
        // The old life hears that it is over.
        for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
        world.warnings.length = 0;
        await world.own();
        await assertSound(world);
        // The next life goes on, and comes to the same end.
        for (let pass = 0; pass < 2; pass++) await world.cleaner().pass();
        assert.deepEqual(world.warnings, []);
        await assertSound(world);
        assert.equal((await world.manifest()).cleanedTo, world.lastStable);
        if (whole) break;
        cuts++;
      }
      assert.ok(cuts >= 20, `${cuts} cuts`);
    });

  it('leaves nothing behind when it ends well', async () => {
    const world = await written(5);
    await world.cleaner().pass();
    await assertSound(world);
    await assertNothingLeft(world);
  });
});

describe('log compaction beside others', () => {
  /** Something happens after the objects are made and before they are committed. */
  const meanwhile = async (
    seed: number,
    happens: (world: CleanWorld) => Promise<void>,
  ): Promise<CleanWorld> => {
    const world = await written(seed);
    world.mapBytes = 1 << 16;
    let once = false;
    world.afterClean = async () => {
      if (once) return;
      once = true;
      await happens(world);
    };
    await world.cleaner().pass();
    return world;
  };

  it('gives way to another manifest, and is made anew', async () => {
    const world = await meanwhile(6, async ({ writer, topicId, partition }) => {
      // What retention does, or a hand-over.
      await writer.advance(topicId, partition, ({ manifest, ranges }) => ({
        objects: [...manifest.objects],
        endOffset: manifest.endOffset,
        startOffset: 0,
        ...(ranges.length < 0 && { adopted: [] }),
      }));
    });
    assert.equal((await world.manifest()).cleanedTo, 0);
    await assertSound(world);
    await assertNothingLeft(world);
    await world.cleaner().pass();
    assert.equal((await world.manifest()).cleanedTo, world.lastStable);
    await assertSound(world);
  });

  it('does not bring back what DeleteRecords or retention took meanwhile', async () => {
    const world = await meanwhile(7, async ({ metadata, topicId, partition }) => {
      await metadata.commit([{ type: 'logStart', topicId, partition, startOffset: 30 }]);
    });
    assert.equal(world.image.startOffset, 30);
    await assertSound(world);
    await assertNothingLeft(world);
    const { objects } = await world.manifest();
    for (const { endOffset } of objects) assert.ok(endOffset > 30);
  });

  it('lets merged objects take the place of those that it read', async () => {
    const world = await written(8);
    world.mapBytes = 1 << 16;
    world.afterClean = async () => {
      const image = world.metadata.image;
      const policy = { ...smallPolicy, smallFanIn: 2, fanIn: 2 };
      const plan = planCompaction(image, { policy });
      assert.ok(plan !== null, 'there is something to merge');
      const added = [];
      for (const [i, planned] of plan.added.entries()) {
        const task = {
          objectId: `00000000000ff00${i}`,
          clusterId: image.clusterId,
          node: 0,
          brokerEpoch: 1,
          sequence: 0,
          ...planned,
        };
        const deps = { store: world.inner, crc32c, limits: smallLimits, pace: async () => {} };
        const { record } = await runCompaction(task, deps);
        added.push(record!);
      }
      await world.metadata.commit([{ type: 'compacted', removed: plan.removed, added, dueMs: 1 }]);
      world.afterClean = () => {};
    };
    await world.cleaner().pass();
    await assertSound(world);
    await assertNothingLeft(world);
    for (let pass = 0; pass < 2; pass++) await world.cleaner().pass();
    assert.equal((await world.manifest()).cleanedTo, world.lastStable);
    await assertSound(world);
  });

  it('ends with its topic, and takes its objects along', async () => {
    const world = await meanwhile(9, async ({ metadata, topicId }) => {
      await metadata.commit([{ type: 'topicDeleted', topicId }]);
    });
    const { image } = world.metadata;
    const named = new Set([...image.objects.keys(), ...image.dropped.keys()].map(objectKey));
    for (const { key } of await world.inner.list('data/')) assert.ok(named.has(key), key);
  });

  it('goes on over what is uploaded while it works', async () => {
    const world = await meanwhile(10, async (working) => {
      working.append([['new', '1']]);
      await working.upload();
    });
    assert.deepEqual(world.warnings, []);
    await assertSound(world);
    assert.ok((await world.manifest()).cleanedTo > 0);
    await world.cleaner().pass();
    await assertSound(world);
  });
});

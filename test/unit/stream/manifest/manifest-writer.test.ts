import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { manifestKey } from '../../../../src/stream/manifest/manifest.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import { coded } from '../../../support/stream-objects.ts';
import { close, id, logStart, oid, open } from '../../metadata/fixtures.ts';
import { ManifestWorld, producer, producerOf } from './manifests.ts';

const shapes = [{ bytes: 200, records: 10 }];

async function world(...topics: number[]): Promise<ManifestWorld> {
  const made = new ManifestWorld();
  await made.own();
  await made.withTopics(...(topics.length > 0 ? topics : [1]));
  return made;
}
const manifestFiles = async (made: ManifestWorld) =>
  (await made.store.list('manifest/')).map(({ key }) => key);

describe('manifest writer', () => {
  it('takes objects over, with epochs and the state at its end', async () => {
    const made = await world();
    const aborted = { producerId: 8, firstOffset: 0, lastOffset: 4, lastStableOffset: 0 };
    await made.upload([
      { topic: 1, from: 0, shapes, producers: [producer(7, 9), producer(8, 4)], aborted: [aborted] },
    ]);
    const producers = [producer(7, 9), producer(8, 4)];
    const stateObject = await made.upload(
      [],
      [{ topicId: id(1), partition: 0, endOffset: 10, lastStableOffset: 10, producers }],
    );
    await made.metadata.commit([{ ...close(1, 0, 0, 10), stateObject } as never, open(1, 0, 3, 10)]);
    await made.upload([{ topic: 1, from: 10, shapes, producers: [producer(7, 19, { txnFirstOffset: 15 })] }]);
    await made.upload([{ topic: 1, from: 20, shapes, producers: [producer(9, 29)] }]);

    const manifest = (await made.adopt(1, 2))!;
    const size = (object: number) => made.objects.results[object - 1]!.size;
    assert.deepEqual(manifest, {
      topicId: id(1),
      partition: 0,
      version: 1,
      startOffset: 0,
      endOffset: 20,
      objects: [
        { objectId: oid(1), size: size(1), baseOffset: 0, endOffset: 10, maxTimestamp: 0, bytes: 200 },
        { objectId: oid(3), size: size(3), baseOffset: 10, endOffset: 20, maxTimestamp: 100, bytes: 200 },
      ],
      epochs: [
        { epoch: 0, startOffset: 0 },
        { epoch: 3, startOffset: 10 },
      ],
      producers: [producerOf(7, [9, 19], { txnFirstOffset: 15 }), producer(8, 4)],
      lastStableOffset: 15,
      cleanedTo: 0,
      horizonMs: -1,
    });
    const { image } = made.metadata;
    assert.deepEqual(made.partition(1).manifest, {
      version: 1,
      startOffset: 0,
      endOffset: 20,
      objects: 2,
      bytes: 400,
      maxTimestamp: 100,
    });
    assert.deepEqual(
      made.partition(1).objects.map(({ objectId }) => objectId),
      [oid(4)],
    );
    // The state is in the manifest now, and its object has nothing else.
    assert.deepEqual([...image.objects.keys()], [stateObject, oid(4)]);
    assert.deepEqual([...made.metadata.references.unreferenced], [stateObject]);
    assert.equal(image.dropped.size, 0);

    const next = (await made.adopt(1, 1))!;
    assert.deepEqual(
      next.producers.map(({ producerId }) => producerId),
      [7, 8, 9],
    );
    assert.equal(next.lastStableOffset, 15);
    const old = { topicId: id(1), partition: 0, version: 1, dueMs: made.clock.now() + 1_000 };
    assert.deepEqual([...image.droppedManifests.values()], [old]);
  });

  it('drops the objects that a step leaves out, and moves the log start with it', async () => {
    const made = await world();
    for (const n of [0, 1, 2])
      await made.upload([{ topic: 1, from: n * 10, shapes, producers: [producer(n, n * 10 + 9)] }]);
    await made.adopt(1, 3);
    const trimmed = await made.writer.advance(id(1), 0, ({ manifest }) => ({
      objects: manifest.objects.slice(2),
      endOffset: manifest.endOffset,
      also: [logStart(1, 0, 25)],
      startOffset: 25,
    }));
    assert.equal(trimmed!.startOffset, 25);
    assert.equal(made.partition(1).startOffset, 25);
    const due = made.clock.now() + 1_000;
    assert.deepEqual(
      [...made.metadata.image.dropped],
      [
        [oid(1), due],
        [oid(2), due],
      ],
    );
    // Who wrote records that are gone is still known.
    assert.deepEqual(
      trimmed!.producers.map(({ producerId }) => producerId),
      [0, 1, 2],
    );
  });

  it('folds from a named state when that is newer than the manifest', async () => {
    const made = await world();
    const states = [
      {
        topicId: id(1),
        partition: 0,
        endOffset: 20,
        lastStableOffset: 20,
        producers: [producer(50, 3), producer(2, 18)],
      },
    ];
    await made.upload([{ topic: 1, from: 0, shapes, producers: [producer(1, 9)] }]);
    await made.upload([{ topic: 1, from: 10, shapes, producers: [producer(2, 18)] }]);
    await made.adopt(1, 1);
    const stateObject = await made.upload([], states);
    await made.metadata.commit([{ ...close(1, 0, 0, 20), stateObject } as never, open(1, 0, 1, 20)]);
    await made.upload([{ topic: 1, from: 20, shapes, producers: [producer(2, 29)] }]);
    assert.deepEqual([...made.metadata.image.stateObjects], [[stateObject, 1]]);
    const manifest = (await made.adopt(1, 2))!;
    assert.deepEqual(manifest.producers, [producerOf(2, [18, 29]), producer(50, 3)]);
    // The manifest holds what the state held.
    assert.equal(made.partition(1).stateObject, '');
    assert.deepEqual([...made.metadata.references.unreferenced], [stateObject]);
  });

  it('forgets producers idle for longer than they are kept, whatever time their records have, but none with a transaction', async () => {
    const made = await world();
    const old = { timestamp: 1 };
    made.clock.time = 1_700_000_000_500 + 86_400_000;
    await made.upload([
      {
        topic: 1,
        from: 0,
        shapes,
        producers: [producer(1, 9, old), producer(2, 8, { ...old, txnFirstOffset: 5 })],
      },
    ]);
    assert.equal((await made.adopt(1, 1))!.producers.length, 2);
    made.clock.time++;
    const activeMs = made.clock.now();
    await made.upload([{ topic: 1, from: 10, shapes, producers: [producer(3, 19, { ...old, activeMs })] }]);
    assert.deepEqual(
      (await made.adopt(1, 1))!.producers.map(({ producerId }) => producerId),
      [2, 3],
    );
  });

  it('asks again when somebody was faster, and leaves no file that nothing names', async () => {
    const made = await world();
    for (const n of [0, 1]) await made.upload([{ topic: 1, from: n * 10, shapes }]);
    await made.adopt(1, 1);
    const other = made.anotherWriter();
    let asked = 0;
    const slow = other.advance(id(1), 0, async ({ manifest }) => {
      if (++asked === 1) await made.adopt(1, 1);
      return { objects: manifest.objects, endOffset: manifest.endOffset };
    });
    assert.equal((await slow)!.endOffset, 20);
    assert.equal(asked, 2);
    // Version 2 was the faster one's, the slow one's first file took number 3 and was not committed.
    assert.equal(made.partition(1).manifest!.version, 4);
    const named = [...made.metadata.image.droppedManifests.values()].map(({ version }) => version);
    assert.deepEqual(named, [1, 2, 3]);
    assert.deepEqual(
      await manifestFiles(made),
      [1, 2, 3, 4].map((version) => manifestKey(id(1), 0, version)).sort(),
    );
  });

  it('passes by a file that an earlier life left, without overwriting it', async () => {
    const made = await world();
    await made.upload([{ topic: 1, from: 0, shapes }]);
    // Stored, and then the process ended.
    const left = Buffer.from('an attempt');
    await made.store.put(manifestKey(id(1), 0, 1), [left]);
    await made.metadata.close();
    await made.own();
    assert.equal(made.partition(1).manifest, null);
    assert.equal((await made.adopt(1, 1))!.version, 2);
    assert.deepEqual(await made.store.get(manifestKey(id(1), 0, 1)), left);
    assert.deepEqual([...made.metadata.image.droppedManifests.keys()], [`${id(1)}/0/1`]);
    // And once more, to be read by the life after.
    await made.metadata.close();
    await made.own();
    assert.equal((await made.cache.get(id(1), 0, 2)).endOffset, 10);
  });

  it('works through steps of one stream one after another', async () => {
    const made = await world();
    for (let n = 0; n < 6; n++) await made.upload([{ topic: 1, from: n * 10, shapes }]);
    const all = await Promise.all(Array.from({ length: 6 }, () => made.adopt(1, 1)));
    assert.deepEqual(
      all.map((manifest) => [manifest!.version, manifest!.endOffset]),
      [
        [1, 10],
        [2, 20],
        [3, 30],
        [4, 40],
        [5, 50],
        [6, 60],
      ],
    );
  });

  it('reads sections once for all streams of an object', async () => {
    const made = await world(1, 2, 3, 4, 5);
    const parts = [1, 2, 3, 4, 5].map((topic) => ({
      topic,
      from: 0,
      shapes,
      producers: [producer(topic, 9)],
    }));
    const shared = await made.upload(parts);
    made.store.gets.length = 0;
    for (const n of [1, 2, 3, 4, 5]) {
      const merged = await made.objects.upload([made.objects.writer.delta(id(n), 0, 0, shapes)]);
      const manifest = await made.writer.advance(id(n), 0, ({ ranges }) => ({
        objects: [{ ...ranges[0]!, objectId: merged.objectId, size: merged.size }],
        endOffset: 10,
      }));
      assert.deepEqual(manifest!.producers, [producer(n, 9)]);
      assert.equal(made.metadata.references.unreferenced.has(shared), n === 5);
    }
    const key = objectKey(shared);
    assert.equal(made.store.gets.filter((each) => each === key).length, 2);
  });

  it('gives up with a reason when its steps do not fit', async () => {
    const made = await world();
    await made.upload([{ topic: 1, from: 0, shapes }]);
    const wrong = made.writer.advance(id(1), 0, () => ({ objects: [], endOffset: 7 }));
    await assert.rejects(wrong, coded('MANIFEST_CONTENDED'));
    assert.equal(made.partition(1).manifest, null);
    assert.equal(await made.writer.advance(id(1), 0, () => null), null);
    assert.equal(await made.writer.advance(id(9), 0, () => null), null);
  });
});

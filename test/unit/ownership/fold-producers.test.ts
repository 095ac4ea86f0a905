/** What a restart knows of producers, from states, manifests and objects; and what it has to read for it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { foldProducers } from '../../../src/ownership/stored-producers.ts';
import { manifestKey } from '../../../src/stream/manifest/manifest.ts';
import { ManifestCache } from '../../../src/stream/manifest/manifest-cache.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { ObjectReader } from '../../../src/stream/read/object-reader.ts';
import { crc32c } from '../../support/stream-deltas.ts';
import { close, id, logStart, oid, open, range } from '../metadata/fixtures.ts';
import { ManifestWorld, producer } from '../stream/manifest/manifests.ts';

const shapes = [{ bytes: 200, records: 10 }];

async function world(): Promise<ManifestWorld> {
  const made = new ManifestWorld();
  await made.own();
  await made.withTopics(1, 2);
  return made;
}

/** Last offsets by producer of topic 1, and the keys that were read. */
async function fold(made: ManifestWorld) {
  const { store, metadata } = made;
  const { image } = metadata;
  store.gets.length = 0;
  const manifests = new ManifestCache({ store, crc32c, clusterId: () => image.clusterId });
  const folded = await foldProducers(
    [...image.topicsById.values()].flatMap((topic) => topic.partitions),
    new ObjectReader({ store, crc32c }),
    manifests,
  );
  const known = folded.get(`${id(1)}/0`)?.snapshot() ?? [];
  const offsets = known.map(({ producerId, batches }) => [producerId, batches.at(-1)!.lastOffset]);
  return { offsets: offsets.sort(([a], [b]) => a! - b!), read: new Set(store.gets), folded };
}

describe('fold of producers at a start', () => {
  it('goes from the manifest over later objects, and reads nothing older', async () => {
    const made = await world();
    for (const n of [0, 1, 2, 3])
      await made.upload([
        { topic: 1, from: n * 10, shapes, producers: [producer(n, n * 10 + 9), producer(77, n * 10 + 8)] },
      ]);
    assert.deepEqual((await fold(made)).offsets, [
      [0, 9],
      [1, 19],
      [2, 29],
      [3, 39],
      [77, 38],
    ]);
    await made.adopt(1, 3);
    const { offsets, read } = await fold(made);
    assert.deepEqual(offsets, [
      [0, 9],
      [1, 19],
      [2, 29],
      [3, 39],
      [77, 38],
    ]);
    assert.deepEqual([...read].sort(), [objectKey(oid(4)), manifestKey(id(1), 0, 1)].sort());
  });

  it('goes from the named state when that is newer, and from nobody when none was named', async () => {
    const made = await world();
    await made.upload([{ topic: 1, from: 0, shapes, producers: [producer(1, 9)] }]);
    await made.upload([{ topic: 1, from: 10, shapes, producers: [producer(2, 19)] }]);
    await made.adopt(1, 1);
    const state = { topicId: id(1), partition: 0, endOffset: 20, lastStableOffset: 20 };
    const stateObject = await made.upload([], [{ ...state, producers: [producer(3, 15)] }]);
    await made.metadata.commit([{ ...close(1, 0, 0, 20), stateObject } as MetadataChange]);
    assert.deepEqual((await fold(made)).offsets, [[3, 15]]);
    await made.metadata.commit([open(1, 0, 1, 20)]);
    await made.upload([{ topic: 1, from: 20, shapes, producers: [producer(4, 29)] }]);
    const { offsets, read } = await fold(made);
    assert.deepEqual(offsets, [
      [3, 15],
      [4, 29],
    ]);
    assert.deepEqual([...read].sort(), [objectKey(stateObject), objectKey(oid(4))].sort());
    await made.metadata.commit([
      { ...close(1, 0, 1, 30), stateObject: '' } as MetadataChange,
      open(1, 0, 2, 30),
    ]);
    const nobody = await fold(made);
    assert.deepEqual([nobody.offsets, nobody.read.size], [[], 0]);
  });

  it('knows producers whose records are gone, until a newer state says who they are', async () => {
    const made = await world();
    const state = { topicId: id(1), partition: 0, endOffset: 10, lastStableOffset: 10 };
    await made.upload([{ topic: 1, from: 0, shapes, producers: [producer(1, 9), producer(2, 8)] }]);
    const stateObject = await made.upload([], [{ ...state, producers: [producer(1, 9), producer(2, 8)] }]);
    await made.metadata.commit([{ ...close(1, 0, 0, 10), stateObject } as MetadataChange, open(1, 0, 1, 10)]);
    await made.upload([{ topic: 1, from: 10, shapes, producers: [producer(1, 19)] }]);
    await made.upload([{ topic: 1, from: 20, shapes, producers: [producer(3, 29)] }]);
    const all = [
      [1, 19],
      [2, 8],
      [3, 29],
    ];
    assert.deepEqual((await fold(made)).offsets, all);
    for (const start of [5, 25, 30]) {
      await made.metadata.commit([logStart(1, 0, start)]);
      assert.deepEqual((await fold(made)).offsets, all, `the log begins at ${start}`);
    }
    // What a state that was taken while more was written says of later batches, the write-ahead log brings.
    const newer = { ...state, endOffset: 35, producers: [producer(1, 19), producer(4, 34)] };
    const { objectId, size } = await made.objects.upload([], [newer]);
    const streams = [{ topicId: id(1), partition: 0, offset: 35, stateObject: objectId }];
    await made.metadata.commit([{ type: 'states', objects: [{ objectId, size }], streams }]);
    const { offsets, read } = await fold(made);
    assert.deepEqual(
      [offsets, [...read], made.partition(1).leftovers],
      [[[1, 19]], [objectKey(objectId)], []],
    );
  });

  it('is not misled by merged objects, whatever their order', async () => {
    const made = await world();
    await made.upload([{ topic: 1, from: 0, shapes, producers: [producer(1, 9)] }]);
    await made.upload([{ topic: 1, from: 10, shapes, producers: [producer(1, 19)] }]);
    // Made later than the second, of what is older and newer; it says what producers had done by then.
    const merged = await made.objects.upload([
      made.objects.writer.delta(id(1), 0, 0, shapes, { producers: [producer(1, 9)] }),
    ]);
    await made.metadata.commit([
      {
        type: 'compacted',
        removed: [oid(1)],
        added: [{ objectId: merged.objectId, size: merged.size, ranges: [range(1, 0, 0, 10)] }],
        dueMs: 1,
      },
    ]);
    assert.deepEqual((await fold(made)).offsets, [[1, 19]]);
  });
});

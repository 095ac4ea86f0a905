import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { type Manifest, manifestKey } from '../../../../src/stream/manifest/manifest.ts';
import { ManifestCache } from '../../../../src/stream/manifest/manifest-cache.ts';
import { encodeManifest } from '../../../../src/stream/manifest/manifest-codec.ts';
import { FaultStore } from '../../../support/fault-store.ts';
import { HandClock } from '../../../support/store-fixtures.ts';
import { crc32c } from '../../../support/stream-deltas.ts';
import { coded } from '../../../support/stream-objects.ts';
import { id, oid } from '../../metadata/fixtures.ts';
import { clusterId, sample } from './manifests.ts';

const manifestOf = (n: number, version = 1): Manifest => ({
  ...sample,
  topicId: id(n),
  partition: 0,
  version,
  objects: sample.objects.map((object, i) => ({
    ...object,
    objectId: oid(n * 100 + version * 10 + i),
    size: 1_000 * n + version,
  })),
});

async function rig(bytesMax?: number) {
  const store = new FaultStore(new MemoryStore(new HandClock()));
  const cache = new ManifestCache({
    store,
    crc32c,
    clusterId: () => clusterId,
    ...(bytesMax !== undefined && { bytesMax }),
  });
  const add = async (manifest: Manifest, as = manifest, cluster = clusterId): Promise<number> => {
    const bytes = encodeManifest(manifest, cluster, crc32c);
    await store.put(manifestKey(as.topicId, as.partition, as.version), [bytes]);
    return bytes.length;
  };
  return { store, cache, add };
}

describe('manifest cache', () => {
  it('reads a manifest once, however many ask at a time', async () => {
    const { store, cache, add } = await rig();
    await add(manifestOf(1));
    const [a, b] = await Promise.all([cache.get(id(1), 0, 1), cache.get(id(1), 0, 1)]);
    assert.deepEqual(a, manifestOf(1));
    assert.equal(a, b);
    assert.equal(await cache.get(id(1), 0, 1), a);
    assert.equal(store.gets.length, 1);
  });

  it('keeps the newest version of a stream, and the sizes of its objects', async () => {
    const { store, cache, add } = await rig();
    const bytes = await add(manifestOf(1, 1));
    await add(manifestOf(1, 2));
    await cache.get(id(1), 0, 1);
    assert.equal(cache.sizeOf(oid(110)), 1_001);
    await cache.get(id(1), 0, 2);
    assert.deepEqual([cache.sizeOf(oid(110)), cache.sizeOf(oid(120))], [undefined, 1_002]);
    assert.equal(cache.bytes, 3 * bytes);
    // An older one is served to whoever still works with it, but does not take the newer one's place.
    assert.equal((await cache.get(id(1), 0, 1)).version, 1);
    store.gets.length = 0;
    assert.equal((await cache.get(id(1), 0, 2)).version, 2);
    assert.deepEqual(store.gets, []);
  });

  it('is bounded by bytes; the least recently used goes, a larger one is not kept', async () => {
    const one = encodeManifest(manifestOf(1), clusterId, crc32c).length * 3;
    const { store, cache, add } = await rig(2 * one);
    for (const n of [1, 2, 3]) await add(manifestOf(n));
    await cache.get(id(1), 0, 1);
    await cache.get(id(2), 0, 1);
    await cache.get(id(1), 0, 1);
    await cache.get(id(3), 0, 1);
    assert.equal(cache.bytes, 2 * one);
    store.gets.length = 0;
    await cache.get(id(1), 0, 1);
    await cache.get(id(3), 0, 1);
    assert.deepEqual(store.gets, []);
    await cache.get(id(2), 0, 1);
    assert.equal(store.gets.length, 1);

    const small = await rig(one - 1);
    await small.add(manifestOf(1));
    assert.deepEqual(await small.cache.get(id(1), 0, 1), manifestOf(1));
    assert.equal(small.cache.bytes, 0);
    assert.equal(small.cache.sizeOf(oid(110)), undefined);
  });

  it('says when a version is gone, and tries again after a failure', async () => {
    const { store, cache, add } = await rig();
    await assert.rejects(cache.get(id(1), 0, 1), coded('MANIFEST_GONE'));
    await add(manifestOf(1));
    store.failGet('manifest/');
    await assert.rejects(cache.get(id(1), 0, 1), coded('STORE_UNAVAILABLE'));
    assert.equal((await cache.get(id(1), 0, 1)).version, 1);
  });

  it('refuses what belongs to another stream, version or cluster', async () => {
    const { cache, add } = await rig();
    await add(manifestOf(1), manifestOf(2));
    await add(manifestOf(1, 1), manifestOf(1, 2));
    await add(manifestOf(3), manifestOf(3), 'another cluster');
    await assert.rejects(cache.get(id(2), 0, 1), coded('MANIFEST_CORRUPT'));
    await assert.rejects(cache.get(id(1), 0, 2), coded('MANIFEST_CORRUPT'));
    await assert.rejects(cache.get(id(3), 0, 1), coded('MANIFEST_CORRUPT'));
    assert.equal(cache.bytes, 0);
  });
});

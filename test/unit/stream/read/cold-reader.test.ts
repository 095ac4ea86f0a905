/** Cold reads: which batches come back, what happens at holes and damage, how few requests it takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { baseOffsetOf, batchBytesOf, lastOffsetOf } from '../../../../src/protocol/records/batch-header.ts';
import { BlockCache } from '../../../../src/stream/cache/block-cache.ts';
import { LocalBudget } from '../../../../src/stream/cache/block-slabs.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import { type ColdRead, ColdReader, DirectBlockLoader } from '../../../../src/stream/read/cold-reader.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { type BatchShape, crc32c, deltaContent, topicIdOf } from '../../../support/stream-deltas.ts';
import { coded, ObjectWorld, turns } from '../../../support/stream-objects.ts';

const topicId = topicIdOf(1);
const partition = 4;
const MiB = 1 << 20;

function readerOf(world: ObjectWorld, budgetBytes = 32 * MiB) {
  const arena = new HeapArena({ segmentBytes: 1 << 18, segmentCount: 256 });
  const reader = new ObjectReader({ store: world.store, crc32c });
  const loader = new DirectBlockLoader(reader, arena);
  const budget = new LocalBudget(budgetBytes);
  const cache = new BlockCache({ arena, budget, budgetBytes, loader, clock: world.clock });
  const cold = new ColdReader({ arena, reader, cache });
  const read = (offset: number, maxBytes: number, limitOffset = Number.MAX_SAFE_INTEGER) =>
    cold.readCold({
      topicId,
      partition,
      objects: world.objectsOf(topicId, partition),
      offset,
      maxBytes,
      deadline: 1e6,
      limitOffset,
    });
  const since = (offset: number, timestamp: number) =>
    cold.findSince(
      {
        topicId,
        partition,
        objects: world.objectsOf(topicId, partition),
        offset,
        maxBytes: 1,
        deadline: 1e6,
      },
      timestamp,
    );
  return { arena, reader, cache, cold, read, since };
}

function content(arena: HeapArena, read: ColdRead): Buffer {
  return Buffer.concat(
    read.ranges.map(({ position, length }) => arena.buffer.subarray(position, position + length)),
  );
}

/** [base, last] of each batch in the bytes. */
function batchesOf(bytes: Buffer): [number, number][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: [number, number][] = [];
  for (let at = 0; at < bytes.length; at += batchBytesOf(view, at))
    found.push([baseOffsetOf(view, at), lastOffsetOf(view, at)]);
  return found;
}

test('a random history reads back byte-equal from any offset with any limit', async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const world = new ObjectWorld(seed);
    const { random } = world;
    const whole: Buffer[] = [];
    let end = random.below(1000);
    const start = end;
    for (let o = 0; o < 5; o++) {
      const shapes: BatchShape[] = [];
      for (let b = 1 + random.below(60); b > 0; b--) {
        const gap = random.chance(0.3) ? 9 : 0;
        shapes.push({
          bytes: 61 + random.below(random.pick([300, 40_000])),
          records: 1 + random.below(5),
          leaderEpoch: o,
          gap,
        });
      }
      const delta = world.writer.delta(topicId, partition, end, shapes);
      const other = world.writer.delta(topicId, partition + 1, o, [{ bytes: 300 }]);
      await world.upload([other, delta]);
      whole.push(deltaContent(world.sources, delta));
      end = delta.endOffset;
    }
    const all = Buffer.concat(whole);
    const batches = batchesOf(all);
    const { arena, read, cache } = readerOf(world);
    for (let round = 0; round < 60; round++) {
      const offset = start + random.below(end - start);
      const maxBytes = 1 + random.below(random.pick([100, 50_000, 3 * MiB]));
      const limit = random.chance(0.3) ? offset + random.below(50) : end;
      const got = await read(offset, maxBytes, limit);
      const bytes = content(arena, got);
      const at = all.indexOf(bytes.subarray(0, 61));
      if (bytes.length > 0)
        assert(all.subarray(at, at + bytes.length).equals(bytes), 'not the bytes that were uploaded');
      const found = batchesOf(bytes);
      const expected = batches.filter(([, last]) => last >= offset && last < limit);
      assert.deepEqual(found, expected.slice(0, found.length));
      assert.equal(found.length === 0, expected.length === 0);
      if (found.length > 0) {
        assert(bytes.length <= maxBytes || found.length === 1);
        assert.equal(got.nextOffset, found[found.length - 1]![1] + 1);
      } else assert.equal(got.nextOffset, offset);
      assert.equal(got.bytes, bytes.length);
      got.release();
    }
    // Front to back, as a consumer does.
    let offset = start;
    const pieces: Buffer[] = [];
    while (offset < end) {
      const got = await read(offset, 200_000);
      pieces.push(content(arena, got));
      offset = got.nextOffset;
      got.release();
      await turns();
    }
    assert(Buffer.concat(pieces).equals(all));
    cache.trim();
    assert.equal(arena.freeSegments(), 256);
  }
});

test('a sequential reader finds its bytes there, and a group replaying the same range costs no further request', async () => {
  const world = new ObjectWorld();
  const shapes = Array.from({ length: 100 }, () => ({ bytes: 100_000 }));
  const delta = world.writer.delta(topicId, partition, 0, shapes);
  await world.upload([delta]);
  const { cache, read } = readerOf(world);
  const replay = async () => {
    let offset = 0;
    let waited = 0;
    while (offset < 100) {
      const before = cache.counters.misses;
      const got = await read(offset, 500_000);
      if (cache.counters.misses > before) waited++;
      offset = got.nextOffset;
      got.release();
      await turns(60);
    }
    return waited;
  };
  const waited = await replay();
  assert(waited <= 2, `${waited} of 20 reads waited for a request`);
  const requests = world.store.gets.length;
  assert(requests <= 10, `${requests} requests for 10 MB`);
  assert.equal(await replay(), 0);
  assert.equal(world.store.gets.length, requests);
});

test('readers of the same block at the same time share a request', async () => {
  const world = new ObjectWorld();
  await world.upload([world.writer.delta(topicId, partition, 0, [{ bytes: 1000 }])]);
  const { read } = readerOf(world);
  world.store.held = true;
  const reads = Array.from({ length: 10 }, () => read(0, 5000));
  await turns(60);
  assert.equal(world.store.gets.length, 1);
  world.store.open();
  for (const got of await Promise.all(reads)) got.release();
});

test('time lookup gives the first batch that is late enough, at or behind the offset', async () => {
  const world = new ObjectWorld();
  const at = (maxTimestamp: number) => ({ bytes: 600_000, maxTimestamp });
  await world.upload([world.writer.delta(topicId, partition, 0, [at(10), at(50), at(20)])]);
  await world.upload([world.writer.delta(topicId, partition, 3, [at(30), at(70)])]);
  const { arena, since } = readerOf(world);
  const first = async (offset: number, timestamp: number) => {
    const got = await since(offset, timestamp);
    const base = got === null ? -1 : baseOffsetOf(arena.view, got.ranges[0]!.position);
    got?.release();
    return base;
  };
  assert.deepEqual(
    [
      await first(0, 0),
      await first(0, 11),
      await first(0, 51),
      await first(2, 20),
      await first(2, 21),
      await first(0, 71),
    ],
    [0, 1, 4, 2, 3, -1],
  );
});

test('a hole is reported, never skipped', async () => {
  const world = new ObjectWorld();
  await world.upload([world.writer.delta(topicId, partition, 0, [{ bytes: 100 }, { bytes: 100 }])]);
  await world.upload([world.writer.delta(topicId, partition, 5, [{ bytes: 100 }])]);
  const { read } = readerOf(world);
  const got = await read(0, 1e6);
  assert.equal(got.nextOffset, 2);
  got.release();
  await assert.rejects(read(2, 1e6), coded('OFFSETS_MISSING'));
  const behind = await read(6, 1e6);
  assert.deepEqual([behind.ranges.length, behind.nextOffset], [0, 6]);

  // The list promises more than the object has.
  const { cold } = readerOf(world);
  const objects = world
    .objectsOf(topicId, partition)
    .map((object) => ({ ...object, baseOffset: 0 }))
    .slice(1);
  const promised = cold.readCold({ topicId, partition, objects, offset: 3, maxBytes: 100, deadline: 1e6 });
  await assert.rejects(promised, coded('OFFSETS_MISSING'));
});

test('a damaged block is an error, and the data before it still reads', async () => {
  const world = new ObjectWorld();
  const delta = world.writer.delta(topicId, partition, 0, [{ bytes: 700_000 }, { bytes: 700_000 }]);
  const { objectId } = await world.upload([delta]);
  const bytes = await world.store.get(objectKey(objectId));
  bytes[32 + 900_000]! ^= 1;
  await world.store.put(objectKey(objectId), [bytes]);
  const { read } = readerOf(world);
  const got = await read(0, 10 * MiB);
  assert.deepEqual([got.bytes, got.nextOffset], [700_000, 1]);
  got.release();
  await assert.rejects(read(1, 10 * MiB), coded('OBJECT_CORRUPT'));
});

test('an object deleted under its index is gone, and asked for afresh', async () => {
  const world = new ObjectWorld();
  const { objectId } = await world.upload([world.writer.delta(topicId, partition, 0, [{ bytes: 100 }])]);
  const { reader, read } = readerOf(world);
  await reader.open(objectId);
  await world.store.delete([objectKey(objectId)]);
  await assert.rejects(read(0, 1000), coded('OBJECT_GONE'));
  assert.equal(reader.indexBytes, 0);
});

test('cold reads over their budget wait for memory and then fail, holding nothing', async () => {
  const world = new ObjectWorld();
  await world.upload([
    world.writer.delta(
      topicId,
      partition,
      0,
      Array.from({ length: 8 }, () => ({ bytes: 1_000_000 })),
    ),
  ]);
  const { arena, cache, read } = readerOf(world, 2 * MiB);
  const first = await read(0, 1);
  const second = await read(2, 1);
  const third = assert.rejects(read(4, 1), coded('BLOCK_CACHE_FULL'));
  await turns();
  world.clock.advance(2e6);
  await third;
  first.release();
  second.release();
  cache.trim();
  assert.equal(arena.freeSegments(), 256);
});

test('indexes are kept within their bound, least recently used first out', async () => {
  const world = new ObjectWorld();
  for (let i = 0; i < 6; i++)
    await world.upload([world.writer.delta(topicId, partition, i, [{ bytes: 100 }])]);
  let heads = 0;
  const sizeOf = (objectId: string) => {
    heads++;
    return world.results.find((result) => result.objectId === objectId)!.size;
  };
  const reader = new ObjectReader({ store: world.store, crc32c, sizeOf, indexBytesMax: 1000 });
  const ids = world.results.map((result) => result.objectId);
  await Promise.all([reader.open(ids[0]!), reader.open(ids[0]!)]);
  assert.equal(heads, 1, 'equal opens share one read');
  for (const id of [ids[1]!, ids[2]!, ids[0]!, ids[3]!]) await reader.open(id);
  assert(reader.indexBytes <= 1000);
  heads = 0;
  await reader.open(ids[0]!);
  assert.equal(heads, 0, 'used lately');
  await reader.open(ids[1]!);
  assert.equal(heads, 1, 'left first');
});

test('a block loaded ahead counts as read once a reader has come to its end', async () => {
  const world = new ObjectWorld();
  const batches = Array.from({ length: 12 }, () => ({ bytes: 300_000 }));
  await world.upload([world.writer.delta(topicId, partition, 0, batches)]);
  const { cache, read } = readerOf(world);
  const used: number[] = [];
  for (let offset = 0; offset < 9; offset++) {
    (await read(offset, 300_000)).release();
    await turns(60);
    used.push(cache.counters.aheadUsedBytes);
  }
  // Three batches a block: the second block comes ahead and ends with offset 5, the third with offset 8.
  assert.deepEqual(used, [0, 0, 0, 0, 0, 900_000, 900_000, 900_000, 1_800_000]);
});

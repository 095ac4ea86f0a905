/** Offsets that a salvage recorded as lost: a block of their own through upload and merge, told to whoever reads them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lastOffsetOf } from '../../../../src/protocol/records/batch-header.ts';
import { BlockCache } from '../../../../src/stream/cache/block-cache.ts';
import { LocalBudget } from '../../../../src/stream/cache/block-slabs.ts';
import { ColdReader, DirectBlockLoader } from '../../../../src/stream/read/cold-reader.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { CompactionWorld } from '../../../support/compaction-world.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { type BatchShape, crc32c, topicIdOf } from '../../../support/stream-deltas.ts';
import { coded, ObjectWorld } from '../../../support/stream-objects.ts';

const topicId = topicIdOf(1);
const lost: BatchShape = { bytes: 61, records: 10, lost: true };
const batch: BatchShape = { bytes: 300, records: 5 };

/** Offsets 0–9 whole, 10–19 lost, 20–24 whole, 25–44 lost, 45–49 whole; the last three in a second object. */
async function world() {
  const objects = new ObjectWorld();
  const { writer } = objects;
  await objects.upload([writer.delta(topicId, 0, 0, [batch, batch, lost, batch])]);
  await objects.upload([writer.delta(topicId, 0, 25, [lost, lost, batch])]);
  const arena = new HeapArena({ segmentBytes: 1 << 18, segmentCount: 64 });
  const reader = new ObjectReader({ store: objects.store, crc32c });
  const loader = new DirectBlockLoader(reader, arena);
  const budgetBytes = 8 << 20;
  const budget = new LocalBudget(budgetBytes);
  const cache = new BlockCache({ arena, budget, budgetBytes, loader, clock: objects.clock });
  const cold = new ColdReader({ arena, reader, cache });
  const request = (offset: number, maxBytes: number) => ({
    topicId,
    partition: 0,
    objects: objects.objectsOf(topicId, 0),
    offset,
    maxBytes,
    deadline: 1e6,
  });
  return { objects, arena, reader, cold, request };
}

test('a read ends before lost offsets, one that begins in them fails, one behind them goes on', async () => {
  const { cold, request } = await world();
  for (const maxBytes of [1, 301, 1 << 20]) {
    for (const [offset, ends] of [
      [0, maxBytes < 600 ? 5 : 10],
      [7, 10],
      [20, 25],
      [47, 50],
    ] as const) {
      const read = await cold.readCold(request(offset, maxBytes));
      assert.equal(read.nextOffset, ends, `from ${offset}, ${maxBytes} bytes`);
      read.release();
    }
    for (const offset of [10, 15, 19, 25, 34, 35, 44])
      await assert.rejects(cold.readCold(request(offset, maxBytes)), coded('OFFSETS_LOST'));
  }
});

test('the range stays without a hole, and lost offsets are named in the error', async () => {
  const { objects, cold, request } = await world();
  assert.deepEqual(
    objects.objectsOf(topicId, 0).map(({ baseOffset, endOffset }) => [baseOffset, endOffset]),
    [
      [0, 25],
      [25, 50],
    ],
  );
  await assert.rejects(cold.readCold(request(12, 1)), /offsets 10 to 19 were lost/);
});

test('a time lookup finds the batch that stands for them, without records, and goes on behind it', async () => {
  const { cold, arena, request } = await world();
  const found = await cold.findSince(request(0, 1), 100);
  assert.deepEqual([found!.nextOffset, lastOffsetOf(arena.view, found!.ranges[0]!.position)], [20, 19]);
  found!.release();
  const next = await cold.findSince(request(20, 1), 100);
  assert.equal(next!.nextOffset, 25);
  next!.release();
});

test('merges join small blocks, but never one that stands for lost offsets', async () => {
  const merged = new CompactionWorld({ partitions: 2 });
  const { random } = merged;
  let marks = 0;
  for (let upload = 0; upload < 60; upload++) {
    const streams = [0, 1].map((partition) => {
      const shapes: BatchShape[] = [];
      for (let b = 1 + random.below(6); b > 0; b--) {
        const gone = random.chance(0.2);
        if (gone) marks++;
        shapes.push(
          gone ? { bytes: 61, records: 1 + random.below(9), lost: true } : { bytes: 62 + random.below(900) },
        );
      }
      return { partition, shapes };
    });
    await merged.upload(streams);
    if (random.chance(0.2)) await merged.settle();
  }
  await merged.settle();
  assert(merged.plans.length > 0);
  await merged.check();
  const reader = new ObjectReader({ store: merged.inner, crc32c });
  let alone = 0;
  let joined = 0;
  for (const objectId of merged.image.objects.keys()) {
    const opened = await reader.open(objectId);
    for (let s = 0; s < opened.index.streamCount; s++) {
      const stream = opened.index.stream(s);
      for (let e = stream.firstEntry; e < stream.firstEntry + stream.entryCount; e++) {
        const entry = opened.index.entry(stream, e);
        if (entry.size === 61) alone++;
        else if (entry.size > 962) joined++;
      }
    }
  }
  assert.equal(alone, marks);
  assert(joined > 0, 'others were joined');
});

/**
 * Log compaction takes records: the batches of a block then leave gaps, at its beginning, inside and at its end, and the index entry
 * still states the block's offsets. Reads pass over such gaps. A hole between two entries is loss as ever.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { batchBytesOf } from '../../../../src/protocol/records/batch-header.ts';
import { BlockCache } from '../../../../src/stream/cache/block-cache.ts';
import { LocalBudget } from '../../../../src/stream/cache/block-slabs.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import { ColdReader, DirectBlockLoader } from '../../../../src/stream/read/cold-reader.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { type SparseBlock, sparseObject } from '../../../support/sparse-object.ts';
import { crc32c, topicIdOf } from '../../../support/stream-deltas.ts';
import { coded, ObjectWorld } from '../../../support/stream-objects.ts';

const topicId = topicIdOf(1);
const objectId = '00000000000000cc';

async function rig(blocks: readonly SparseBlock[]) {
  const world = new ObjectWorld();
  await world.store.put(objectKey(objectId), [sparseObject(world, objectId, topicId, blocks)]);
  const arena = new HeapArena({ segmentBytes: 1 << 14, segmentCount: 64 });
  const reader = new ObjectReader({ store: world.store, crc32c });
  const loader = new DirectBlockLoader(reader, arena);
  const budgetBytes = 1 << 20;
  const budget = new LocalBudget(budgetBytes);
  const cache = new BlockCache({ arena, budget, budgetBytes, loader, clock: world.clock });
  const cold = new ColdReader({ arena, reader, cache });
  const [baseOffset, endOffset] = [blocks[0]!.baseOffset, blocks.at(-1)!.lastOffset + 1];
  const objects = [{ objectId, baseOffset, endOffset, maxTimestamp: 100 }];
  const request = { topicId, partition: 0, objects, deadline: 1e6 };
  /** Base offsets of what a read brings, and where the next one goes on. */
  const read = async (offset: number, maxBytes: number, limitOffset = 1e9): Promise<[number[], number]> => {
    const result = await cold.readCold({ ...request, offset, maxBytes, limitOffset });
    const bases: number[] = [];
    for (const { position, length } of result.ranges)
      for (let at = position; at < position + length; at += batchBytesOf(arena.view, at))
        bases.push(Number(arena.buffer.readBigInt64BE(at)));
    result.release();
    return [bases, result.nextOffset];
  };
  const since = async (time: number) => {
    const found = await cold.findSince({ ...request, offset: 0, maxBytes: 1 }, time);
    found?.release();
    return found === null ? -1 : Number(found.nextOffset);
  };
  return { read, since };
}

const sparse: SparseBlock[] = [
  {
    baseOffset: 0,
    lastOffset: 19,
    batches: [
      [3, 4],
      [9, 9],
    ],
  },
  { baseOffset: 20, lastOffset: 29, batches: [[20, 20]] },
  { baseOffset: 30, lastOffset: 39, batches: [[38, 39]] },
];

test('reads pass over gaps at the beginning, inside and at the end of blocks', async () => {
  const { read } = await rig(sparse);
  for (const offset of [0, 2, 3, 4]) assert.deepEqual(await read(offset, 1e6), [[3, 9, 20, 38], 40]);
  assert.deepEqual(await read(5, 100), [[9], 20], 'the gap behind goes with the batch');
  assert.deepEqual(await read(0, 100), [[3], 5]);
  assert.deepEqual(await read(0, 250), [[3, 9], 20]);
  for (const offset of [10, 15, 19]) assert.deepEqual(await read(offset, 1e6), [[20, 38], 40]);
  assert.deepEqual(await read(21, 1e6), [[38], 40]);
  assert.deepEqual(await read(30, 1), [[38], 40]);
});

test('a read that finds nothing but a gap says where to go on, and never skips its limit', async () => {
  const { read } = await rig(sparse);
  assert.deepEqual(await read(10, 1e6, 25), [[20], 25]);
  assert.deepEqual(await read(21, 1e6, 30), [[], 30]);
  assert.deepEqual(await read(21, 1e6, 38), [[], 30]);
  assert.deepEqual(await read(10, 100), [[], 20], 'its block is as much as was asked for');
});

test('times are looked up across gaps', async () => {
  const { since } = await rig(sparse);
  assert.deepEqual([await since(4), await since(10), await since(21), await since(39)], [10, 21, 40, -1]);
});

test('a hole between entries is loss', async () => {
  const { read } = await rig([sparse[0]!, sparse[2]!]);
  assert.deepEqual(await read(0, 1e6), [[3, 9], 20]);
  await assert.rejects(read(20, 1e6), coded('OFFSETS_MISSING'));
});

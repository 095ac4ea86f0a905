/** Loading blocks: checked a slice a turn in this thread, counted and taken to heart when another thread does it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorToWire, MillraceError } from '../../../../src/ports/errors.ts';
import { DirectBlockLoader } from '../../../../src/stream/read/cold-reader.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import {
  type BlocksRead,
  PooledBlockLoader,
  type ReadBlocksTask,
} from '../../../../src/stream/upload/object-pool.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { crc32c, topicIdOf } from '../../../support/stream-deltas.ts';
import { coded, ObjectWorld } from '../../../support/stream-objects.ts';

const topicId = topicIdOf(1);

async function world() {
  const made = new ObjectWorld();
  const batches = Array.from({ length: 6 }, () => ({ bytes: 1_000_000 }));
  const { objectId } = await made.upload([made.writer.delta(topicId, 0, 0, batches)]);
  return { made, objectId };
}

test('CRCs of a long run are compared a block a turn, and a wrong one is still found', async () => {
  const { made, objectId } = await world();
  let pauses = 0;
  let charged = 0;
  const reader = new ObjectReader({
    store: made.store,
    crc32c,
    charge: (bytes) => {
      charged += bytes;
    },
    pause: async () => {
      pauses++;
    },
  });
  const arena = new HeapArena({ segmentBytes: 1 << 20, segmentCount: 8 });
  const entries = reader.findBlocks(await reader.open(objectId), topicId, 0, 0, 6_000_000);
  assert.equal(entries.length, 6);
  assert(charged > 0 && charged <= 65_536, `${charged} bytes charged for the index`);
  const loader = new DirectBlockLoader(reader, arena);
  await loader.loadBlocks(objectId, entries, 0);
  assert.equal(pauses, 5);
  assert.deepEqual(reader.counters, { requests: 2, bytes: charged + 6_000_000 });
  const wrong = entries.map((entry, i) => (i === 5 ? { ...entry, crc: entry.crc ^ 1 } : entry));
  await assert.rejects(loader.loadBlocks(objectId, wrong, 0), coded('OBJECT_CORRUPT'));
});

test('requests of another thread are counted here, and its word that an object is gone is believed', async () => {
  const { made, objectId } = await world();
  const reader = new ObjectReader({ store: made.store, crc32c });
  const entries = reader.findBlocks(await reader.open(objectId), topicId, 0, 0, 2_000_000);
  const before = { ...reader.counters };
  const tasks: ReadBlocksTask[] = [];
  let answer: BlocksRead = { kind: 'readBlocks', requests: 1, error: null };
  const loader = new PooledBlockLoader(async (task) => {
    tasks.push(task);
    return answer;
  }, reader);
  await loader.loadBlocks(objectId, entries, 4096);
  assert.deepEqual(tasks, [{ kind: 'readBlocks', objectId, entries, position: 4096 }]);
  assert.equal(reader.counters.requests, before.requests + 1);
  assert.equal(reader.counters.bytes, before.bytes + 2_000_000);
  assert(reader.indexBytes > 0);
  const gone = errorToWire(new MillraceError('unavailable', 'OBJECT_GONE', 'deleted'));
  answer = { kind: 'readBlocks', requests: 0, error: gone };
  await assert.rejects(loader.loadBlocks(objectId, entries, 4096), coded('OBJECT_GONE'));
  assert.equal(reader.indexBytes, 0, 'its index is read afresh');
});

/** Objects on the file store, uploaded from shared memory as in production: bytes on disk are those of the arena. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { FileStore } from '../../src/store/file-store.ts';
import { objectKey } from '../../src/stream/objects/object-format.ts';
import { ObjectReader } from '../../src/stream/read/object-reader.ts';
import { uploadObject } from '../../src/stream/upload/upload-object.ts';
import { SharedArena } from '../../src/threads/memory/arena.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { crc32c, deltaContent, topicIdOf } from '../support/stream-deltas.ts';
import { coded, ObjectWorld, planOf } from '../support/stream-objects.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

test('put and multipart from the shared arena, ranged reads back into it', async () => {
  const directory = mkdtempSync(path.join(tmpdir(), 'millrace-objects-'));
  const store = await FileStore.open(directory, { clock: new VirtualClock(), random: new SeededRandom(1) });
  try {
    const world = new ObjectWorld();
    const shapes = Array.from({ length: 200 }, (_, i) => ({ bytes: i % 3 === 0 ? 30_000 : 700, gap: 5 }));
    const delta = world.writer.delta(topicIdOf(1), 0, 0, shapes);
    const arena = SharedArena.create({ segmentBytes: 1 << 18, segmentCount: 64 });
    arena.buffer.set(world.sources.buffer);
    const expected = deltaContent(world.sources, delta);
    const parts = { putBytesMax: 1 << 20, partBytesMax: 1 << 20, partsInFlight: 3 };
    for (const [number, settings] of [{ ...parts, putBytesMax: 1 << 26 }, parts].entries()) {
      const plan = planOf(number + 1, [delta]);
      const result = await uploadObject(plan, arena, store, { crc32c, staging: world.staging, settings });
      const reader = new ObjectReader({ store, crc32c });
      const opened = await reader.open(plan.objectId);
      const place = 50 * arena.segmentBytes;
      const blocks = reader.findBlocks(opened, topicIdOf(1), 0, 0, 1e9);
      await reader.readBlocks(plan.objectId, blocks, arena.buffer, place);
      assert(arena.buffer.subarray(place, place + expected.length).equals(expected));
      const onDisk = readFileSync(path.join(directory, objectKey(plan.objectId)));
      assert.equal(onDisk.length, result.size);
      assert(onDisk.subarray(32, 32 + expected.length).equals(expected));
      await store.delete([objectKey(plan.objectId)]);
      await assert.rejects(
        reader.readBlocks(plan.objectId, blocks, arena.buffer, place),
        coded('OBJECT_GONE'),
      );
    }
  } finally {
    await store.close();
    rmSync(directory, { recursive: true });
  }
});

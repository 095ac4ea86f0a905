/** Objects that compaction made are as sound to the check as those of uploads, and their damage is found as well. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Problems } from '../../../src/inspect/inspect-report.ts';
import { ObjectCheck } from '../../../src/inspect/object-check.ts';
import { mergedVersion, objectKey } from '../../../src/stream/objects/object-format.ts';
import { ObjectReader } from '../../../src/stream/read/object-reader.ts';
import { CompactionWorld, type StreamUpload, shapesOf } from '../../support/compaction-world.ts';
import { type SparseBlock, sparseObject } from '../../support/sparse-object.ts';
import { crc32c, topicIdOf } from '../../support/stream-deltas.ts';
import { ObjectWorld } from '../../support/stream-objects.ts';

async function problemsOf(world: CompactionWorld): Promise<{ problems: Problems; check: ObjectCheck }> {
  const problems = new Problems();
  const check = new ObjectCheck({
    store: world.inner,
    crc32c,
    clusterId: 'c'.repeat(22),
    streamName: (_topicId, partition) => `t/${partition}`,
    logStart: () => 0,
    problems,
  });
  for (const { objectId, size, ranges } of world.image.objects.values())
    await check.check({ objectId, size, ranges: [...ranges], by: 'image', found: true });
  return { problems, check };
}

async function compacted(partitions: number, bytes: number): Promise<CompactionWorld> {
  const world = new CompactionWorld({ seed: 3, partitions });
  for (let u = 0; u < 40; u++) {
    const streams: StreamUpload[] = [];
    for (let partition = 0; partition < partitions; partition++) {
      if (!world.random.chance(0.6)) continue;
      streams.push({ partition, shapes: shapesOf(world.random, 1 + world.random.below(bytes), u >> 4) });
    }
    if (streams.length > 0) await world.upload(streams);
  }
  await world.settle();
  assert.ok(world.plans.length > 0, 'nothing was compacted');
  return world;
}

for (const [partitions, bytes] of [
  [1, 20_000],
  [16, 4_000],
  [60, 300],
] as const) {
  test(`merged objects of ${partitions} streams are sound, and a changed byte is found`, async () => {
    const world = await compacted(partitions, bytes);
    const sound = await problemsOf(world);
    assert.deepEqual(sound.problems.list, []);
    assert.ok(sound.check.batches > 20);

    const reader = new ObjectReader({ store: world.inner, crc32c });
    for (const { objectId } of world.image.objects.values()) {
      const opened = await reader.open(objectId);
      if (opened.footer.version !== mergedVersion) continue;
      const block = opened.index.entry(opened.index.stream(0), opened.index.stream(0).firstEntry);
      const content = await world.inner.get(objectKey(objectId));
      content[block.position + 10]! ^= 4;
      await world.inner.put(objectKey(objectId), [content]);
      const { problems } = await problemsOf(world);
      assert.deepEqual(
        problems.list.map(({ where, position }) => [where, position]),
        [[objectKey(objectId), block.position]],
      );
      return;
    }
    assert.fail('no merged object');
  });
}

test('gaps inside the blocks of a merged object are sound, batches out of order or behind the block are not', async () => {
  const objectId = '00000000000000cc';
  const topicId = topicIdOf(1);
  const check = async (blocks: readonly SparseBlock[]): Promise<string[]> => {
    const world = new ObjectWorld();
    const bytes = sparseObject(world, objectId, topicId, blocks);
    await world.store.put(objectKey(objectId), [bytes]);
    const problems = new Problems();
    const range = { topicId, partition: 0, baseOffset: 0, endOffset: 40, maxTimestamp: 0, bytes: 0 };
    await new ObjectCheck({
      store: world.store,
      crc32c,
      clusterId: 'c'.repeat(22),
      streamName: () => 't/0',
      logStart: () => 0,
      problems,
    }).check({ objectId, size: bytes.length, ranges: [range], by: 'image', found: true });
    return problems.list.map(({ what }) => what);
  };
  const second = { baseOffset: 20, lastOffset: 39, batches: [[25, 30]] } as const;
  const first = { baseOffset: 0, lastOffset: 19 };
  assert.deepEqual(
    await check([
      {
        ...first,
        batches: [
          [3, 4],
          [9, 9],
        ],
      },
      second,
    ]),
    [],
  );
  const crossed = await check([
    {
      ...first,
      batches: [
        [9, 9],
        [3, 4],
      ],
    },
    second,
  ]);
  assert.deepEqual(crossed, ['a batch that begins at offset 3']);
  const behind = await check([{ ...first, batches: [[3, 20]] }, second]);
  assert.deepEqual(behind, ['a batch that begins at offset 3']);
  const hole = await check([{ ...first, lastOffset: 18, batches: [[3, 4]] }, second]);
  assert.deepEqual(hole, ['no block holds these']);
});

/** Which objects become one, and when: tiers, bounds, streams that leave, the dead, and what must be left alone. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { compactionDefaults, tierOf } from '../../../../src/stream/compaction/compaction-policy.ts';
import { planCompaction } from '../../../../src/stream/compaction/plan-compaction.ts';
import { CompactionWorld, shapesOf, smallPolicy } from '../../../support/compaction-world.ts';
import { topicIdOf } from '../../../support/stream-deltas.ts';

const partition = (number: number, bytes: number) => ({
  partition: number,
  shapes: [{ bytes: Math.max(61, bytes) }],
});

test('tiers: two below what a store can copy, then one for each factor of eight', () => {
  const MiB = 1 << 20;
  const sizes = [1_000, 81_919, 81_921, 5 * MiB - 1, 5 * MiB, 39 * MiB, 41 * MiB, 500e6, 4e9];
  assert.deepEqual(
    sizes.map((size) => tierOf(size, compactionDefaults)),
    [-2, -2, -1, -1, 0, 0, 1, 2, 3],
  );
});

describe('what is due', () => {
  test('nothing below eight objects; eight of a tier of many streams', async () => {
    const world = new CompactionWorld({ partitions: 4 });
    for (let u = 0; u < 7; u++) await world.upload([0, 1, 2, 3].map((p) => partition(p, 2_000)));
    assert.equal(world.plan(), null);
    await world.upload([0, 1, 2, 3].map((p) => partition(p, 2_000)));
    const plan = world.plan()!;
    assert.equal(plan.kind, 'sets');
    assert.deepEqual(plan.removed, [...world.image.objects.keys()]);
    assert.equal(plan.added.length, 1);
    assert.equal(plan.added[0]!.ranges.topic.length, 32);
  });

  test('the same image gives the same plan', async () => {
    const world = new CompactionWorld({ partitions: 30 });
    for (let u = 0; u < 100; u++)
      await world.upload([
        partition(world.random.below(15), 200),
        partition(15 + world.random.below(15), 90),
      ]);
    assert.deepEqual(world.plan(), world.plan());
    assert.notEqual(world.plan(), null);
  });

  test('objects of one stream are merged with each other only', async () => {
    const world = new CompactionWorld({ partitions: 2 });
    for (let u = 0; u < 7; u++) for (const p of [0, 1]) await world.upload([partition(p, 40_000)]);
    assert.equal(world.plan(), null);
    await world.upload([partition(1, 40_000)]);
    const plan = world.plan()!;
    assert.equal(plan.kind, 'streams');
    assert.deepEqual([...plan.added[0]!.ranges.partition], new Array(8).fill(1));
    await world.carryOut(plan);
    await world.check();
  });

  test('objects do not grow beyond their bound', async () => {
    const world = new CompactionWorld({ partitions: 1, policy: { ...smallPolicy, objectBytesMax: 200_000 } });
    for (let u = 0; u < 40; u++) {
      await world.upload([partition(0, 40_000)]);
      await world.settle();
    }
    for (const { size } of world.image.objects.values()) assert(size <= 200_000, `${size}`);
    assert(world.image.objects.size <= 14, `${world.image.objects.size} objects`);
    await world.check();
  });

  test('small objects wait for long runs, for 64 of them, or for the bound of ranges', async () => {
    const due = async (
      partitions: number,
      bytes: number,
      waitingRangesMax: number,
      goodRunBytes = 2_048,
    ): Promise<number> => {
      const world = new CompactionWorld({
        partitions,
        policy: { ...smallPolicy, waitingRangesMax, goodRunBytes },
      });
      for (let count = 1; ; count++) {
        const streams = Array.from({ length: partitions }, (_, p) => partition(p, bytes));
        await world.upload(streams);
        if (world.plan() !== null) return count;
      }
    };
    // 2 streams of 300 bytes: 8 × 600 bytes are enough to copy, and 2,400 of each are a good run.
    assert.equal(await due(2, 300, 1_000), 8);
    assert.equal(await due(20, 70, 10_000), 30);
    assert.equal(await due(20, 70, 10_000, 8_192), 64);
    assert.equal(await due(20, 70, 400), 20);
  });

  test('a stream with much data leaves for an object of its own, the others stay together', async () => {
    const world = new CompactionWorld({ partitions: 12 });
    for (let u = 0; u < 12; u++) {
      const idle = Array.from({ length: 11 }, (_, p) => partition(p, 100));
      await world.upload([...idle, { partition: 11, shapes: shapesOf(world.random, 6_000) }]);
    }
    const plan = planCompaction(world.image, {
      policy: { ...smallPolicy, smallFanIn: 12, waitingRangesMax: 10_000 },
    })!;
    assert.equal(plan.kind, 'small');
    assert.equal(plan.added.length, 2);
    const [own, rest] = await world.carryOut(plan);
    assert.deepEqual(
      own!.ranges.map((range) => [range.partition, range.baseOffset]),
      [[11, 0]],
    );
    assert.equal(rest!.ranges.length, 11);
    assert.equal(world.traffic.copies, 12, 'its runs are copied');
    await world.check();
    await world.sweep();
    await world.check();
  });

  test('an object more than half dead is rewritten without the dead', async () => {
    const world = new CompactionWorld({ partitions: 4 });
    await world.upload([0, 1, 2, 3].map((p) => ({ partition: p, shapes: shapesOf(world.random, 9_000) })));
    const first = [...world.image.objects.values()][0]!;
    const release = (p: number) =>
      world.commit([{ type: 'logStart', topicId: topicIdOf(0), partition: p, startOffset: world.endOf(p) }]);
    release(0);
    assert.equal(world.plan(), null);
    release(1);
    release(2);
    assert.equal(world.plan(), null, 'it holds the newest state of producers');
    world.keepStates();
    const plan = world.plan()!;
    assert.equal(plan.kind, 'dead');
    const [rest] = await world.carryOut(plan);
    assert(rest!.size < first.size / 2, `${rest!.size} of ${first.size}`);
    assert.equal(world.plan(), null);
    await world.check();
    await world.sweep();
    await world.check();
  });

  test('a range that the log start divides is not moved for what is dead of it: that would never end', async () => {
    const world = new CompactionWorld({ partitions: 4 });
    await world.upload([0, 1, 2, 3].map((p) => ({ partition: p, shapes: shapesOf(world.random, 9_000) })));
    for (const p of [0, 1, 2, 3])
      world.commit([
        { type: 'logStart', topicId: topicIdOf(0), partition: p, startOffset: world.endOf(p) - 1 },
      ]);
    assert.equal(world.plan(), null);
  });

  test('objects named for a state, and those excluded, are left alone', async () => {
    const world = new CompactionWorld({ partitions: 1 });
    for (let u = 0; u < 8; u++) await world.upload([partition(0, 1_000)]);
    const plan = world.plan()!;
    assert.equal(plan.removed.length, 8);
    assert.equal(world.plan(new Set([plan.removed[3]!])), null);
    const topicId = topicIdOf(0);
    world.commit([
      { type: 'close', topicId, partition: 0, leaderEpoch: 0, endOffset: 8, stateObject: plan.removed[0]! },
    ]);
    assert.equal(world.plan(), null);
  });

  test('a deleted topic is left out', async () => {
    const world = new CompactionWorld({ partitions: 2, topics: 2 });
    for (let u = 0; u < 8; u++)
      await world.upload([partition(0, 3_000), { ...partition(1, 3_000), topic: 1 }]);
    world.commit([{ type: 'topicDeleted', topicId: topicIdOf(1) }]);
    const [merged] = await world.carryOut(world.plan()!);
    assert.deepEqual(
      merged!.ranges.map(({ topicId }) => topicId),
      [topicIdOf(0)],
    );
    await world.check();
  });
});

test('ranges with a hole between them are listed one by one, and filled by what lies between', async () => {
  const world = new CompactionWorld({ partitions: 2 });
  for (let u = 0; u < 8; u++) {
    await world.upload([partition(0, 3_000), partition(1, 3_000)]);
    // An object of its own between two shared ones.
    await world.upload([partition(0, 40_000)]);
  }
  const plan = world.plan()!;
  assert.equal(plan.kind, 'streams');
  await world.carryOut(plan);
  const next = world.plan()!;
  assert.equal(next.kind, 'sets');
  const [merged] = await world.carryOut(next);
  assert.deepEqual(
    merged!.ranges.map(({ partition: p, baseOffset, endOffset }) => [p, baseOffset, endOffset]),
    [...Array.from({ length: 8 }, (_, u) => [0, 2 * u, 2 * u + 1]), [1, 0, 8]],
  );
  await world.check();
  await world.sweep();
  await world.check();
});

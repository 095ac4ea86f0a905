/**
 * Hours of thousands of mostly idle partitions on a virtual clock: the number of objects and the size of the metadata stay
 * functions of what is live, not of time. Sizes are those of production; records are real bytes, read back at the end.
 *
 * The bound of objects, with fan-ins of 64 (small objects) and 8 and tiers of eight:
 *   63 below 80 KiB + 63 below 5 MiB + 63 for each tier up to the live bytes + what is dropped and waits for its grace
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeImage } from '../../../../src/metadata/image-codec.ts';
import { compactionDefaults, tierOf } from '../../../../src/stream/compaction/compaction-policy.ts';
import { compactionLimits } from '../../../../src/stream/compaction/compaction-task.ts';
import { CompactionWorld, type StreamUpload } from '../../../support/compaction-world.ts';
import { topicIdOf } from '../../../support/stream-deltas.ts';

function productionWorld(partitions: number): CompactionWorld {
  return new CompactionWorld({ partitions, limits: compactionLimits, policy: compactionDefaults });
}

/** One minute: some partitions got a record or a few. */
async function minute(world: CompactionWorld, active: number, bytes: number): Promise<void> {
  const streams: StreamUpload[] = [];
  const step = Math.max(1, Math.floor(world.partitions / active));
  for (let partition = world.random.below(step); partition < world.partitions; partition += step)
    streams.push({ partition, shapes: [{ bytes: 61 + world.random.below(bytes), records: 2 }] });
  await world.upload(streams);
  await world.settle();
}

interface Size {
  readonly live: number;
  readonly objects: number;
  readonly ranges: number;
  readonly imageBytes: number;
}

function sizeOf(world: CompactionWorld): Size {
  let live = 0;
  let ranges = 0;
  for (const partition of world.image.topicsById.get(topicIdOf(0))!.partitions) {
    ranges += partition.objects.length;
    for (const { bytes } of partition.objects) live += bytes;
  }
  return { live, objects: world.image.objects.size, ranges, imageBytes: encodeImage(world.image).length };
}

function assertBounded(world: CompactionWorld, at: string): Size {
  const size = sizeOf(world);
  const tiers = 2 + Math.max(0, 1 + tierOf(size.live, compactionDefaults));
  const objectsMax =
    tiers * (compactionDefaults.smallFanIn - 1) + size.live / compactionDefaults.objectBytesMax;
  assert(size.objects <= objectsMax, `${at}: ${size.objects} objects, ${objectsMax} expected at most`);
  const rangesMax = tiers * compactionDefaults.waitingRangesMax;
  assert(size.ranges <= rangesMax, `${at}: ${size.ranges} ranges`);
  // 40 bytes of image a partition, 32 a range, 32 an object; what is dropped goes with the sweep.
  const imageMax =
    2_000 + 40 * world.partitions + 32 * size.ranges + 32 * (size.objects + world.image.dropped.size);
  assert(
    size.imageBytes <= imageMax,
    `${at}: an image of ${size.imageBytes} bytes, ${imageMax} expected at most`,
  );
  return size;
}

test('eight hours of 5,000 partitions, 100 of them with a record each minute', async () => {
  const world = productionWorld(5_000);
  const sizes: Size[] = [];
  for (let hour = 1; hour <= 8; hour++) {
    for (let m = 0; m < 60; m++) await minute(world, 100, 300);
    await world.sweep();
    sizes.push(assertBounded(world, `hour ${hour}`));
  }
  await world.check();
  const uploads = 8 * 60;
  assert(sizes.at(-1)!.objects < uploads / 4, `${sizes.at(-1)!.objects} objects of ${uploads} uploads`);
  assert.deepEqual(
    (await world.stored()).length,
    sizes.at(-1)!.objects,
    'the store holds what the metadata name, and nothing else',
  );
  // Objects of 80 KiB and more are read once; those below it were read once before.
  const { bytesIn } = world.traffic;
  assert(bytesIn < 3 * sizes.at(-1)!.live, `${bytesIn} bytes read for ${sizes.at(-1)!.live}`);
});

test('an hour of 2,000 partitions that all get records, with retention of twenty minutes', async () => {
  const world = productionWorld(2_000);
  const ends: number[][] = [];
  for (let m = 0; m < 60; m++) {
    await minute(world, 2_000, 200);
    ends.push(Array.from({ length: 2_000 }, (_, partition) => world.endOf(partition)));
    const before = ends[m - 20];
    if (before !== undefined) {
      world.commit(
        before.map((startOffset, partition) => ({
          type: 'logStart' as const,
          topicId: topicIdOf(0),
          partition,
          startOffset,
        })),
      );
      // Every fifth minute, as the state keeper does.
      if (m % 5 === 0) world.keepStates();
    }
    await world.sweep();
  }
  const size = assertBounded(world, 'the end');
  await world.check();
  // Forty minutes of sixty are gone; what is left may share objects with as much again that is dead.
  let stored = 0;
  for (const key of await world.stored()) stored += (await world.inner.head(key))!.size;
  assert(stored < 4 * size.live, `${stored} bytes stored for ${size.live} live`);
  assert(size.objects < 30, `${size.objects} objects`);
});

/**
 * What a compaction makes of random uploads: every record as before, byte for byte, over the ways bytes can move, and the
 * small sections with them.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runCompaction } from '../../../../src/stream/compaction/compact-objects.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import type { AbortedTxn, ProducerEntry } from '../../../../src/stream/objects/objects.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import {
  CompactionWorld,
  type StreamUpload,
  shapesOf,
  smallLimits,
} from '../../../support/compaction-world.ts';
import { crc32c, topicIdOf } from '../../../support/stream-deltas.ts';
import { coded } from '../../../support/stream-objects.ts';

/** Uploads in which every stream takes part with some probability, then plans until nothing is due. */
async function randomRounds(
  seed: number,
  partitions: number,
  options: { uploads: number; bytes: number; share: number },
): Promise<CompactionWorld> {
  const world = new CompactionWorld({ seed, partitions });
  const { random } = world;
  let epoch = 0;
  for (let u = 0; u < options.uploads; u++) {
    if (random.chance(0.1)) epoch++;
    const streams: StreamUpload[] = [];
    for (let partition = 0; partition < partitions; partition++) {
      if (!random.chance(options.share)) continue;
      const bytes = random.chance(0.1) ? options.bytes * 8 : options.bytes;
      streams.push({ partition, shapes: shapesOf(random, 1 + random.below(bytes), epoch) });
    }
    if (streams.length > 0) await world.upload(streams);
    if (random.chance(0.3)) await world.settle();
    if (random.chance(0.1)) {
      await world.check();
      await world.sweep();
    }
  }
  await world.settle();
  return world;
}

describe('every record is as before', () => {
  const cases = [
    { partitions: 1, uploads: 80, bytes: 3_000, share: 1 },
    { partitions: 1, uploads: 40, bytes: 30_000, share: 1 },
    { partitions: 16, uploads: 60, bytes: 4_000, share: 0.9 },
    { partitions: 16, uploads: 150, bytes: 200, share: 0.2 },
    { partitions: 100, uploads: 120, bytes: 300, share: 0.1 },
    { partitions: 100, uploads: 40, bytes: 1_000, share: 0.7 },
  ];
  for (const { partitions, ...options } of cases) {
    for (let seed = 1; seed <= 2; seed++) {
      test(`${partitions} streams, ${options.uploads} uploads of ${options.bytes} bytes, seed ${seed}`, async () => {
        const world = await randomRounds(seed, partitions, options);
        assert(world.plans.length > 0, 'nothing was compacted');
        await world.check();
        await world.sweep();
        await world.check();
        const named = [...world.image.objects.keys()].map(objectKey).sort();
        assert.deepEqual((await world.stored()).sort(), named, 'objects in the store and in the metadata');
      });
    }
  }
});

test('the ways of moving bytes are all taken', async () => {
  const kinds = new Set<string>();
  let copied = 0;
  let read = 0;
  for (const [partitions, bytes] of [
    [1, 30_000],
    [16, 4_000],
    [100, 300],
  ] as const) {
    const world = await randomRounds(7, partitions, { uploads: 80, bytes, share: 0.9 });
    for (const { kind } of world.plans) kinds.add(kind);
    copied += world.traffic.copies;
    read += world.traffic.bytesIn;
  }
  assert.deepEqual([...kinds].sort(), ['sets', 'small', 'streams']);
  assert(copied > 50 && read > 100_000, `${copied} copies, ${read} bytes read`);
});

function producer(producerId: number, lastOffset: number, epoch = 0): ProducerEntry {
  const batch = {
    firstSequence: 0,
    lastSequence: 1,
    baseOffset: lastOffset,
    lastOffset,
    timestamp: lastOffset,
  };
  return {
    producerId,
    epoch,
    timestamp: lastOffset,
    txnFirstOffset: -1,
    coordinatorEpoch: 0,
    lastOffset,
    activeMs: lastOffset,
    batches: [batch],
  };
}

function aborted(producerId: number, firstOffset: number, lastOffset: number): AbortedTxn {
  return { producerId, firstOffset, lastOffset, lastStableOffset: firstOffset };
}

test('producers are those of the newest offsets, aborted transactions all that are above the log start', async () => {
  const world = new CompactionWorld({ partitions: 2 });
  const shapes = [{ bytes: 100, records: 10 }];
  for (let u = 0; u < 8; u++) {
    const base = u * 10;
    await world.upload([
      {
        partition: 0,
        shapes,
        producers: [producer(1, base + 3), producer(100 + u, base + 9, u)],
        aborted: [aborted(5, base, base + 4), aborted(6, base + 1, base + 4)],
      },
      { partition: 1, shapes, producers: u === 2 ? [producer(1, base + 2)] : [] },
    ]);
  }
  world.commit([{ type: 'logStart', topicId: topicIdOf(0), partition: 0, startOffset: 25 }]);
  world.commit([
    {
      type: 'states',
      objects: [],
      streams: [{ topicId: topicIdOf(0), partition: 0, offset: 20, stateObject: '' }],
    },
  ]);
  const policy = { ...world.policy, smallFanIn: 8 };
  Object.assign(world, { policy });
  await world.settle();
  assert.deepEqual(
    world.plans.map(({ kind }) => kind),
    ['small'],
  );
  await world.check();
  const [objectId] = [...world.image.objects.keys()].slice(-1);
  const reader = new ObjectReader({ store: world.store, crc32c });
  const opened = await reader.open(objectId!);
  const topicId = topicIdOf(0);
  assert.deepEqual(await reader.producers(opened), [
    {
      topicId,
      partition: 0,
      // The first two objects hold nothing above the log start any more.
      producers: [
        { ...producer(1, 73), batches: [33, 43, 53, 63, 73].map((last) => producer(1, last).batches[0]!) },
        ...[2, 3, 4, 5, 6, 7].map((u) => producer(100 + u, u * 10 + 9, u)),
      ],
    },
    { topicId, partition: 1, producers: [producer(1, 22)] },
  ]);
  const kept = [3, 4, 5, 6, 7].flatMap((u) => [
    aborted(5, u * 10, u * 10 + 4),
    aborted(6, u * 10 + 1, u * 10 + 4),
  ]);
  assert.deepEqual(await reader.aborted(opened), [
    { topicId, partition: 0, lastStableOffset: 80, aborted: kept },
  ]);
  assert.deepEqual(await reader.states(opened), []);
  const { brokerEpoch, node, streams } = await reader.describe(opened);
  assert.deepEqual([brokerEpoch, node, streams.length], [17, 3, 2]);
});

test('a damaged block is found when it is read, and nothing is stored', async () => {
  const world = new CompactionWorld({ partitions: 2 });
  for (let u = 0; u < 8; u++)
    await world.upload([
      { partition: 0, shapes: shapesOf(world.random, 900) },
      { partition: 1, shapes: [{ bytes: 90 }] },
    ]);
  const [victim] = world.image.objects.keys();
  const bytes = await world.store.get(objectKey(victim!));
  bytes[200]! ^= 1;
  await world.store.put(objectKey(victim!), [bytes]);
  const before = await world.stored();
  const plan = { ...world.policy, smallFanIn: 8 };
  Object.assign(world, { policy: plan });
  await assert.rejects(world.carryOut(world.plan()!), coded('OBJECT_CORRUPT'));
  assert.deepEqual(await world.stored(), before);
});

test('a source with a hole is refused', async () => {
  const world = new CompactionWorld({ partitions: 1 });
  const objects = [];
  for (let u = 0; u < 3; u++)
    objects.push(await world.upload([{ partition: 0, shapes: [{ bytes: 100, records: 4 }] }]));
  const rows = (end: number) => ({
    topicIds: [topicIdOf(0)],
    topic: Int32Array.of(0, 0),
    partition: Int32Array.of(0, 0),
    source: Int32Array.of(0, 1),
    baseOffset: Float64Array.of(0, 4),
    endOffset: Float64Array.of(4, end),
    startOffset: Float64Array.of(0, 0),
  });
  const sources = objects.slice(0, 2).map(({ objectId, size }) => ({ objectId, size }));
  const task = (end: number) => ({
    objectId: world.newObjectId(),
    clusterId: 'c',
    node: 0,
    brokerEpoch: 0,
    sequence: 0,
    sources,
    ranges: rows(end),
    copy: 'auto' as const,
  });
  const deps = { store: world.store, crc32c, limits: smallLimits, pace: async () => {} };
  const good = await runCompaction(task(8), deps);
  assert.deepEqual(
    good.record?.ranges.map(({ baseOffset, endOffset }) => [baseOffset, endOffset]),
    [[0, 8]],
  );
  for (const end of [7, 9, 12]) {
    const { record, error } = await runCompaction(task(end), deps);
    assert.equal(record, null);
    assert.equal(error?.code, 'OBJECT_CORRUPT', `end ${end}`);
  }
});

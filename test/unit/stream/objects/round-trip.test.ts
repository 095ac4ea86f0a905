/** Build → store → read: what an object holds comes back byte-equal, whatever the shapes and part sizes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import type { StreamDelta, StreamState, UploadPlan } from '../../../../src/stream/objects/objects.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { StagingPool } from '../../../../src/stream/upload/staging-pool.ts';
import { uploadDefaults, uploadObject } from '../../../../src/stream/upload/upload-object.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import {
  type BatchShape,
  crc32c,
  DeltaWriter,
  deltaContent,
  topicIdOf,
} from '../../../support/stream-deltas.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function planOf(streams: readonly StreamDelta[], states: readonly StreamState[] = []): UploadPlan {
  const objectId = '00000000000000a7';
  return { objectId, clusterId: 'c'.repeat(22), node: 3, brokerEpoch: 17, sequence: 42, streams, states };
}

function setUp(options: { readonly segmentCount?: number } = {}) {
  const random = new SeededRandom(7);
  const arena = new HeapArena({ segmentBytes: 1 << 18, segmentCount: options.segmentCount ?? 32 });
  const store = new MemoryStore(new VirtualClock());
  const staging = new StagingPool({ bytesMax: 8 << 20 });
  return { random, arena, store, staging, writer: new DeltaWriter(arena, random) };
}

const producer = {
  producerId: 9_000_000_123,
  epoch: 4,
  timestamp: 1_700_000_000_123,
  txnFirstOffset: 1001,
  coordinatorEpoch: 6,
  lastOffset: 1012,
  activeMs: -1,
  batches: [
    { firstSequence: 2_147_483_640, lastSequence: 3, baseOffset: 1000, lastOffset: 1011, timestamp: 5 },
    { firstSequence: 4, lastSequence: 4, baseOffset: 1012, lastOffset: 1012, timestamp: -1 },
  ],
};

test('data, index and sections come back as they were', async () => {
  const { arena, store, staging, writer } = setUp();
  const aborted = [{ producerId: 5, firstOffset: 1000, lastOffset: 1004, lastStableOffset: 1000 }];
  const big = writer.delta(
    topicIdOf(2),
    0,
    1000,
    [
      { bytes: 300_000, records: 5, maxTimestamp: 77 },
      { bytes: 300_000, records: 5, maxTimestamp: 99 },
      { bytes: 500_000, records: 2, maxTimestamp: 12 },
      { bytes: 100, leaderEpoch: 3, maxTimestamp: 13 },
    ],
    { producers: [producer], aborted, lastStableOffset: 1001 },
  );
  const small = writer.delta(topicIdOf(1), 7, 0, [{ bytes: 61 }, { bytes: 200, gap: 11 }]);
  const states = [
    { topicId: topicIdOf(1), partition: 8, endOffset: 500, lastStableOffset: 490, producers: [producer] },
    { topicId: topicIdOf(1), partition: 7, endOffset: 2, lastStableOffset: 2, producers: [] },
  ];
  const result = await uploadObject(planOf([big, small], states), arena, store, { crc32c, staging });

  assert.deepEqual(result.ranges, [
    { topicId: topicIdOf(1), partition: 7, baseOffset: 0, endOffset: 2, maxTimestamp: 10, bytes: 261 },
    {
      topicId: topicIdOf(2),
      partition: 0,
      baseOffset: 1000,
      endOffset: 1013,
      maxTimestamp: 99,
      bytes: 1_100_100,
    },
  ]);
  assert.equal((await store.head(objectKey(result.objectId)))!.size, result.size);

  const reader = new ObjectReader({ store, crc32c });
  const opened = await reader.open(result.objectId);
  const blocks = reader.findBlocks(opened, topicIdOf(2), 0, 1000, 1e9);
  assert.deepEqual(
    blocks.map((b) => [b.leaderEpoch, b.baseOffset, b.lastOffset, b.maxTimestamp, b.size]),
    [
      [0, 1000, 1009, 99, 600_000],
      [0, 1010, 1011, 12, 500_000],
      [3, 1012, 1012, 13, 100],
    ],
  );
  const memory = Buffer.alloc(1_100_100);
  await reader.readBlocks(result.objectId, blocks, memory, 0);
  assert(memory.equals(deltaContent(arena, big)));

  assert.deepEqual(await reader.producers(opened), [
    { topicId: topicIdOf(2), partition: 0, producers: [producer] },
  ]);
  assert.deepEqual(await reader.aborted(opened), [
    { topicId: topicIdOf(2), partition: 0, lastStableOffset: 1001, aborted },
  ]);
  assert.deepEqual(await reader.states(opened), [states[1], states[0]]);
  const described = await reader.describe(opened);
  assert.deepEqual(
    [described.clusterId, described.node, described.brokerEpoch, described.sequence, described.size],
    ['c'.repeat(22), 3, 17, 42, result.size],
  );
  assert.deepEqual(
    described.streams.map((s) => [s.topicId, s.partition, s.baseOffset, s.endOffset, s.entryCount]),
    [
      [topicIdOf(1), 7, 0, 2, 1],
      [topicIdOf(1), 8, 500, 500, 0],
      [topicIdOf(2), 0, 1000, 1013, 3],
    ],
  );
});

test('random streams, scattered or not, in one put or in parts, give the same object', async () => {
  for (let seed = 1; seed <= 12; seed++) {
    const { random, arena, store, staging, writer } = setUp();
    const shape = new SeededRandom(seed);
    const streams: StreamDelta[] = [];
    for (let s = 0; s < 1 + shape.below(12); s++) {
      const bytesMax = shape.pick([200, 3000, 60_000]);
      const shapes: BatchShape[] = [];
      for (let b = 0; b < 1 + shape.below(40); b++) {
        const gap = shape.chance(0.4) ? shape.below(50) : 0;
        shapes.push({
          bytes: 61 + shape.below(bytesMax),
          records: 1 + shape.below(9),
          leaderEpoch: Math.floor(b / 9),
          gap,
        });
      }
      streams.push(writer.delta(topicIdOf(shape.below(4)), s, shape.below(1e9), shapes));
    }
    const whole = await uploadObject(planOf(streams), arena, store, { crc32c, staging });
    const inOne = await store.get(objectKey(whole.objectId));
    const settings = {
      ...uploadDefaults,
      putBytesMax: 1 << 16,
      partBytesMax: (1 << 16) + random.below(1 << 16),
    };
    await uploadObject(planOf(streams), arena, store, { crc32c, staging, settings });
    assert(
      inOne.equals(await store.get(objectKey(whole.objectId))),
      `seed ${seed}: parts differ from one put`,
    );

    const reader = new ObjectReader({ store, crc32c, sizeOf: () => whole.size, mergeBytesMax: 100_000 });
    const opened = await reader.open(whole.objectId);
    for (const stream of streams) {
      const blocks = reader.findBlocks(opened, stream.topicId, stream.partition, 0, 1e9);
      const expected = deltaContent(arena, stream);
      const memory = Buffer.alloc(expected.length + 3);
      await reader.readBlocks(whole.objectId, blocks, memory, 3);
      assert(memory.subarray(3).equals(expected), `seed ${seed}: ${stream.topicId}/${stream.partition}`);
    }
    assert.equal(staging.reservedChunks, 0);
  }
});

/**
 * The committed objects of uploads: this build writes the bytes of the newest format version, and still reads those of
 * older ones. A change of the format is a new version with a golden file of its own.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checkHead, headBytes, objectKey } from '../../../../src/stream/objects/object-format.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { crc32c, deltaContent, topicIdOf } from '../../../support/stream-deltas.ts';
import { ObjectWorld } from '../../../support/stream-objects.ts';

const golden = 'test/fixtures/objects/object-v3.bin';
const goldenOfVersion1 = 'test/fixtures/objects/object-v1.bin';

async function build() {
  const world = new ObjectWorld(2024);
  const producers = [
    {
      producerId: 4_294_967_299,
      epoch: 7,
      timestamp: 1_700_000_000_000,
      txnFirstOffset: 12,
      coordinatorEpoch: 2,
      lastOffset: 15,
      activeMs: 1_700_000_000_500,
      batches: [
        { firstSequence: 0, lastSequence: 4, baseOffset: 10, lastOffset: 14, timestamp: 1_700_000_000_000 },
      ],
    },
  ];
  const aborted = [{ producerId: 77, firstOffset: 10, lastOffset: 11, lastStableOffset: 10 }];
  const first = world.writer.delta(
    topicIdOf(1),
    0,
    10,
    [
      { bytes: 100, records: 5 },
      { bytes: 61, records: 1, leaderEpoch: 2, maxTimestamp: -1 },
    ],
    { producers, aborted, lastStableOffset: 12 },
  );
  const second = world.writer.delta(topicIdOf(1), 5, 2 ** 40, [{ bytes: 150, records: 3 }]);
  const state = { topicId: topicIdOf(2), partition: 1, endOffset: 99, lastStableOffset: 98, producers };
  const { objectId } = await world.upload([second, first], [state]);
  const bytes = await world.store.get(objectKey(objectId));
  return { world, objectId, bytes, first, second, state, producers, aborted };
}

test('format version 3 is written as in the golden file', async () => {
  const { bytes } = await build();
  assert.equal(bytes.toString('hex'), readFileSync(golden).toString('hex'));
});

for (const [version, file] of [
  [1, goldenOfVersion1],
  [3, golden],
] as const)
  test(`the golden file of version ${version} is read`, async () => readsGolden(version, file));

async function readsGolden(version: number, file: string): Promise<void> {
  const { world, objectId, first, second, ...made } = await build();
  await world.store.put(objectKey(objectId), [readFileSync(file)]);
  const reader = new ObjectReader({ store: world.store, crc32c });
  const opened = await reader.open(objectId);
  for (const delta of [first, second]) {
    const blocks = reader.findBlocks(opened, delta.topicId, delta.partition, 0, 1e9);
    const expected = deltaContent(world.sources, delta);
    const memory = Buffer.alloc(expected.length);
    await reader.readBlocks(objectId, blocks, memory, 0);
    assert(memory.equals(expected));
  }
  assert.equal(opened.footer.version, version);
  checkHead(readFileSync(file).subarray(0, headBytes), objectId, crc32c);
  const stream = { topicId: topicIdOf(1), partition: 0 };
  // Version 1 knows neither markers nor when somebody wrote: the newest batch is the newest event.
  const older = made.producers.map((producer) => ({ ...producer, lastOffset: 14, activeMs: -1 }));
  const producers = version === 1 ? older : made.producers;
  const lastStableOffset = version === 1 ? Number.POSITIVE_INFINITY : 12;
  assert.deepEqual(await reader.producers(opened), [{ ...stream, producers }]);
  assert.deepEqual(await reader.aborted(opened), [{ ...stream, lastStableOffset, aborted: made.aborted }]);
  assert.deepEqual(await reader.states(opened), [{ ...made.state, producers }]);
}

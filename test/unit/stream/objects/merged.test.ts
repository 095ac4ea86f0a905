/**
 * Merged objects: this build writes the bytes of the newest format version and still reads the older one, positions may go to and
 * fro, and damage is found as in uploaded ones.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { MillraceError } from '../../../../src/ports/errors.ts';
import { compactionDefaults } from '../../../../src/stream/compaction/compaction-policy.ts';
import { footerBytes, mergedVersion, objectKey } from '../../../../src/stream/objects/object-format.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { CompactionWorld, smallLimits, smallPolicy } from '../../../support/compaction-world.ts';
import { crc32c, topicIdOf } from '../../../support/stream-deltas.ts';

const golden = 'test/fixtures/objects/object-v4.bin';
const goldenOfVersion2 = 'test/fixtures/objects/object-v2.bin';

/** Two streams in eight objects; what has 512 bytes and more is copied, the rest written anew. */
async function build() {
  const world = new CompactionWorld({
    seed: 2024,
    partitions: 2,
    limits: { ...smallLimits, copyBytesMin: 512, runBytesMin: 100, mergedRunBytesMin: 1 },
    policy: { ...smallPolicy, fanIn: compactionDefaults.fanIn, smallFanIn: 8 },
  });
  for (let u = 0; u < 8; u++) {
    const bytes = u % 2 === 0 ? 300 : 90;
    await world.upload([
      { partition: 0, shapes: [{ bytes, records: 2, leaderEpoch: u >> 2 }] },
      { partition: 1, shapes: [{ bytes: bytes + 10, records: 3 }] },
    ]);
  }
  const [record] = await world.carryOut(world.plan()!);
  return { world, objectId: record!.objectId, bytes: await world.store.get(objectKey(record!.objectId)) };
}

test('format version 4 is written as in the golden file', async () => {
  const { world, bytes } = await build();
  assert(world.traffic.copies === 4, `${world.traffic.copies} copies`);
  assert.equal(bytes.toString('hex'), readFileSync(golden).toString('hex'));
});

for (const [version, file] of [
  [2, goldenOfVersion2],
  [mergedVersion, golden],
] as const)
  test(`the golden file of version ${version} is read`, async () => readsGolden(version, file));

async function readsGolden(version: number, file: string): Promise<void> {
  const { world, objectId } = await build();
  await world.inner.put(objectKey(objectId), [readFileSync(file)]);
  await world.check();
  const reader = new ObjectReader({ store: world.store, crc32c });
  const opened = await reader.open(objectId);
  assert.equal(opened.footer.version, version);
  const positions = reader
    .findBlocks(opened, topicIdOf(0), 0, 0, Number.POSITIVE_INFINITY)
    .map(({ position }) => position);
  assert.notDeepEqual(
    positions,
    [...positions].sort((a, b) => a - b),
    'positions to and fro',
  );
}

test('every flipped bit of what is named is reported as damage', async () => {
  const { world, objectId, bytes } = await build();
  const dataEnd = Number(bytes.readBigInt64LE(bytes.length - footerBytes + 88));
  for (let i = 0; i < bytes.length; i++) {
    const mutated = Buffer.from(bytes);
    mutated[i]! ^= 1 << (i & 7);
    await world.inner.put(objectKey(objectId), [mutated]);
    const reader = new ObjectReader({ store: world.store, crc32c });
    const read = async (): Promise<void> => {
      const opened = await reader.open(objectId);
      await reader.producers(opened);
      await reader.aborted(opened);
      await reader.states(opened);
      await reader.describe(opened);
      await world.check();
    };
    await assert.rejects(read, (error: unknown) => {
      assert(
        error instanceof MillraceError && error.code.startsWith('OBJECT_'),
        `byte ${i} of ${dataEnd} data: ${error}`,
      );
      return true;
    });
  }
});

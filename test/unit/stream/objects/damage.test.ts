/** Damaged objects: every flipped bit and every cut is found; nothing but a clean error comes of nonsense. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MillraceError } from '../../../../src/ports/errors.ts';
import {
  checkHead,
  decodeFooter,
  encodeFooter,
  footerBytes,
  headBytes,
  objectKey,
  sectionNames,
} from '../../../../src/stream/objects/object-format.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { crc32c, topicIdOf } from '../../../support/stream-deltas.ts';
import { coded, ObjectWorld } from '../../../support/stream-objects.ts';

async function smallObject() {
  const world = new ObjectWorld();
  const batches = [{ firstSequence: 0, lastSequence: 1, baseOffset: 5, lastOffset: 6, timestamp: 9 }];
  const producers = [
    {
      producerId: 1,
      epoch: 0,
      timestamp: 9,
      txnFirstOffset: -1,
      coordinatorEpoch: 0,
      lastOffset: 6,
      activeMs: 9,
      batches,
    },
  ];
  const aborted = [{ producerId: 1, firstOffset: 5, lastOffset: 5, lastStableOffset: 5 }];
  const a = world.writer.delta(topicIdOf(1), 0, 5, [{ bytes: 90 }, { bytes: 70, leaderEpoch: 1 }], {
    producers,
    aborted,
  });
  const b = world.writer.delta(topicIdOf(2), 3, 0, [{ bytes: 80 }]);
  const state = { topicId: topicIdOf(3), partition: 0, endOffset: 8, lastStableOffset: 8, producers };
  const { objectId } = await world.upload([a, b], [state]);
  return { world, objectId, bytes: await world.store.get(objectKey(objectId)) };
}

/** Reads everything that an object holds. */
async function readAll(world: ObjectWorld, objectId: string, bytes: Buffer): Promise<void> {
  await world.store.put(objectKey(objectId), [bytes]);
  const reader = new ObjectReader({ store: world.store, crc32c });
  const opened = await reader.open(objectId);
  checkHead(bytes.subarray(0, headBytes), objectId, crc32c);
  for (let s = 0; s < opened.index.streamCount; s++) {
    const { topicId, partition } = opened.index.stream(s);
    const blocks = reader.findBlocks(opened, topicId, partition, 0, 1e9);
    let size = 0;
    for (const block of blocks) size += block.size;
    await reader.readBlocks(objectId, blocks, Buffer.alloc(size), 0);
  }
  await reader.states(opened);
  await reader.aborted(opened);
  await reader.producers(opened);
  await reader.describe(opened);
}

test('every flipped bit of every byte is reported as damage', async () => {
  const { world, objectId, bytes } = await smallObject();
  await readAll(world, objectId, bytes);
  for (let i = 0; i < bytes.length; i++) {
    const mutated = Buffer.from(bytes);
    mutated[i]! ^= 1 << (i & 7);
    await assert.rejects(readAll(world, objectId, mutated), coded('OBJECT_CORRUPT'), `byte ${i}`);
  }
});

test('every truncation, and bytes too many, are reported as damage', async () => {
  const { world, objectId, bytes } = await smallObject();
  for (let length = 0; length < bytes.length; length++) {
    await assert.rejects(
      readAll(world, objectId, bytes.subarray(0, length)),
      coded('OBJECT_CORRUPT'),
      `${length} bytes`,
    );
  }
  const longer = Buffer.concat([bytes.subarray(0, 40), Buffer.alloc(7), bytes.subarray(40)]);
  await assert.rejects(readAll(world, objectId, longer), coded('OBJECT_CORRUPT'));
});

test('nonsense under right checksums is refused cleanly or read, never a crash', async () => {
  const { world, objectId, bytes } = await smallObject();
  const footer = decodeFooter(bytes, objectId, bytes.length, crc32c);
  const random = new SeededRandom(99);
  let refused = 0;
  for (let round = 0; round < 4000; round++) {
    const mutated = Buffer.from(bytes);
    const place = footer.sections[random.pick(sectionNames)];
    for (let n = 1 + random.below(3); n > 0; n--) {
      const at = place.position + random.below(place.length);
      mutated[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
    }
    const sections = { ...footer.sections };
    for (const name of sectionNames) {
      const { position, length } = sections[name];
      sections[name] = { position, length, crc: crc32c(mutated, position, length) };
    }
    encodeFooter({ ...footer, sections }, crc32c).copy(mutated, mutated.length - footerBytes);
    try {
      await readAll(world, objectId, mutated);
    } catch (error) {
      assert(
        error instanceof MillraceError && error.code === 'OBJECT_CORRUPT',
        String((error as Error).stack),
      );
      refused++;
    }
  }
  assert(refused > 1000 && refused < 4000, `${refused} of 4000 refused`);
});

test('another version is refused with its number', async () => {
  const { world, objectId, bytes } = await smallObject();
  const newer = Buffer.from(bytes);
  const base = newer.length - footerBytes;
  newer.writeUInt16LE(9, base + 112);
  newer.writeUInt32LE(crc32c(newer, base, 116), base + 116);
  await assert.rejects(readAll(world, objectId, newer), (error: unknown) => {
    assert(coded('OBJECT_VERSION')(error));
    assert.match((error as Error).message, /version 9/);
    return true;
  });
});

test('an object under a wrong name is damage, a missing one is gone', async () => {
  const { world, bytes } = await smallObject();
  await assert.rejects(readAll(world, 'ffffffffffffffff', bytes), coded('OBJECT_CORRUPT'));
  const reader = new ObjectReader({ store: world.store, crc32c });
  await assert.rejects(reader.open('eeeeeeeeeeeeeeee'), coded('OBJECT_GONE'));
  const sized = new ObjectReader({ store: world.store, crc32c, sizeOf: () => 5000 });
  await assert.rejects(sized.open('eeeeeeeeeeeeeeee'), coded('OBJECT_GONE'));
});

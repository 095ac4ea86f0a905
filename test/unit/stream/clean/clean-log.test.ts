/** Log compaction over real objects, manifests and metadata: random keyed workloads, and each rule by itself. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError } from '../../../../src/ports/errors.ts';
import { assertSound } from '../../../support/clean-checks.ts';
import { CleanWorld, codecs, type StoredBatch } from '../../../support/clean-world.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

const day = 86_400_000;
const hour = 3_600_000;

const offsetsOf = (batches: readonly StoredBatch[]): number[] =>
  batches.filter(({ control }) => !control).flatMap(({ records }) => records.map(({ offset }) => offset));
const emptyOf = (batches: readonly StoredBatch[]): number[] =>
  batches.filter(({ records }) => records.length === 0).map(({ lastOffset }) => lastOffset);
const markersOf = (batches: readonly StoredBatch[]): number[] =>
  batches.filter(({ control }) => control).map(({ baseOffset }) => baseOffset);

async function cleaned(world: CleanWorld): Promise<readonly StoredBatch[]> {
  await world.upload();
  await world.cleaner().pass();
  assert.deepEqual(world.warnings, []);
  return assertSound(world);
}

describe('a compacted log', () => {
  it('holds the newest record of each key at its offset, whatever was written', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const random = new SeededRandom(seed);
      const world = await new CleanWorld().start();
      // A map of a few keys takes many passes, a large one takes one.
      world.mapBytes = [100, 24 * 8, 24 * 20, 1 << 16][seed % 4]!;
      for (let round = 0; round < 4; round++) {
        for (let i = 0; i < 10 + random.below(30); i++) {
          world.step(random, 3 + random.below(12));
          if (random.below(8) === 0) await world.upload();
        }
        if (random.below(3) === 0) world.clock.advance(2 * day);
        const batches = await cleaned(world);
        if (world.lastStable !== world.uploaded) continue;
        assert.equal((await world.manifest()).cleanedTo, world.uploaded, `seed ${seed}`);
        assert.ok(batches.length > 0);
      }
    }
  });

  it('takes as many passes as its key map needs, and each goes on where the one before ended', async () => {
    const world = await new CleanWorld().start();
    for (let i = 0; i < 60; i++) world.append([[`k${i % 30}`, `v${i}`]]);
    world.mapBytes = 24 * 8;
    const batches = await cleaned(world);
    assert.ok(world.tasks.length >= 4, `${world.tasks.length} passes`);
    assert.deepEqual(
      world.tasks.slice(1).map(({ dirtyFrom }) => dirtyFrom),
      world.results.slice(0, -1).map(({ cleanedTo }) => cleanedTo),
    );
    for (const { numbers } of world.results) assert.ok(numbers.keys <= 7, `${numbers.keys} keys`);
    assert.deepEqual(
      offsetsOf(batches),
      Array.from({ length: 30 }, (_, i) => 30 + i),
    );
  });

  it('keeps batches in their codec, with their offsets, and takes records out of them', async () => {
    const world = await new CleanWorld().start();
    for (const codec of [0, 1, 2, 3])
      world.append(
        [
          ['a', `a${codec}`],
          [`only-${codec}`, 'x'],
          ['b', `b${codec}`],
        ],
        { codec },
      );
    const batches = await cleaned(world);
    assert.deepEqual(
      batches.map(({ baseOffset, lastOffset, records }) => [baseOffset, lastOffset, records.length]),
      [
        [0, 2, 1],
        [3, 5, 1],
        [6, 8, 1],
        [9, 11, 3],
      ],
    );
    assert.deepEqual(
      batches.map(({ bytes }) => bytes.readInt16BE(21) & 7),
      [0, 1, 2, 3],
    );
  });

  it('says nothing of times that are gone, and keeps those of a log that stamps records itself', async () => {
    const world = await new CleanWorld().start();
    const now = world.clock.now();
    world.append([['a', '1']], { timestamp: now + 5_000 });
    world.append([['b', '1']], { timestamp: now + 1_000 });
    // Its header stays for its producer.
    world.append([['b', '2']], { timestamp: now + 9_000, producerId: 1 });
    world.append([['b', '3']], { timestamp: now });
    world.append([['a', '2']], { timestamp: now, logAppendTimeMs: now + 2_000 });
    world.append(
      [
        ['c', '1'],
        ['a', '3'],
      ],
      { timestamp: now, logAppendTimeMs: now + 3_000 },
    );
    world.append([['c', '2']], { timestamp: now });
    await cleaned(world);
    assert.equal(world.image.manifest!.maxTimestamp, now + 3_000);
  });
});

describe('the objects of a compacted log', () => {
  it('follow each other without holes, and so do their blocks, over leader epochs', async () => {
    const world = await new CleanWorld().start();
    for (let i = 0; i < 120; i++) {
      world.leaderEpoch = Math.floor(i / 50);
      world.append([
        [`k${i % 7}`, `v${i}`],
        [`only-${i}`, 'x'.repeat(i % 5 === 0 ? 700 : 1)],
      ]);
    }
    await cleaned(world);
    const { objects } = await world.manifest();
    assert.ok(objects.length >= 3, `${objects.length} objects`);
    for (const { bytes } of objects) assert.ok(bytes < 2_000 + 2 * 1_000, `${bytes} bytes`);
    world.append([['k1', 'on']]);
    await cleaned(world);
  });
});

describe('a tombstone', () => {
  it('stays for delete.retention.ms after the pass that could first have removed it', async () => {
    const world = await new CleanWorld().start();
    world.append([
      ['a', '1'],
      ['b', '1'],
    ]);
    world.append([['a', null]]);
    world.append([['c', '1']]);
    // However old it is: the time begins with the pass.
    world.clock.advance(30 * day);
    assert.deepEqual(offsetsOf(await cleaned(world)), [1, 2, 3]);
    assert.equal((await world.manifest()).horizonMs, world.clock.now() + day);
    world.clock.advance(day - 1);
    world.append([['d', '1']]);
    assert.deepEqual(offsetsOf(await cleaned(world)), [1, 2, 3, 4]);
    world.clock.advance(1);
    // Nothing new was written: the horizon alone makes it due.
    assert.deepEqual(offsetsOf(await cleaned(world)), [1, 3, 4]);
    assert.equal((await world.manifest()).horizonMs, -1);
    const passes = world.tasks.length;
    world.clock.advance(hour);
    await cleaned(world);
    assert.equal(world.tasks.length, passes, 'nothing is due any more');
  });

  it('has a delete horizon in its batch, from which times are counted (KIP-534)', async () => {
    const world = await new CleanWorld().start();
    const written = world.clock.now();
    world.append(
      [
        ['a', '1'],
        ['a', null],
        ['b', '1'],
      ],
      { codec: 1 },
    );
    world.append([['z', '1']]);
    world.clock.advance(hour);
    const [batch] = await cleaned(world);
    assert.equal(batch!.bytes.readInt16BE(21) & 0x40, 0x40);
    assert.equal(Number(batch!.bytes.readBigInt64BE(27)), world.clock.now() + day);
    assert.equal(Number(batch!.bytes.readBigInt64BE(35)), written);
  });

  it('does not begin its time in a batch that the key map did not hold whole', async () => {
    const world = await new CleanWorld().start();
    world.append([
      ['a', '1'],
      ['b', '1'],
      ['c', null],
      ['d', null],
    ]);
    world.mapBytes = 24 * 4;
    await world.upload();
    let first = true;
    world.afterClean = async (result) => {
      if (first) assert.deepEqual([result.cleanedTo < 4, result.horizonMs], [true, -1]);
      first = false;
    };
    await cleaned(world);
    assert.equal((await world.manifest()).horizonMs, world.clock.now() + day);
  });
});

describe('transactions in a compacted log', () => {
  it('lose aborted records at once, and markers a delete horizon after their last record', async () => {
    const world = await new CleanWorld().start();
    const txn = { producerId: 7, transactional: true };
    world.append([['a', '1']], txn);
    world.finish(7, 'aborted');
    world.append([['a', '2']], txn);
    world.finish(7, 'committed');
    world.append(
      [
        ['a', '3'],
        ['b', '1'],
      ],
      txn,
    );
    world.finish(7, 'committed');
    world.append([['a', '4']]);
    // Records gone, their markers not: one pass has seen them.
    let batches = await cleaned(world);
    assert.deepEqual(
      [offsetsOf(batches), markersOf(batches)],
      [
        [5, 7],
        [1, 3, 6],
      ],
    );
    // The next one sees none, and sets the horizon.
    world.append([['c', '1']]);
    batches = await cleaned(world);
    assert.deepEqual(markersOf(batches), [1, 3, 6]);
    world.clock.advance(day);
    batches = await cleaned(world);
    // The last transaction still has a record in front of its marker.
    assert.deepEqual([offsetsOf(batches), markersOf(batches)], [[5, 7, 8], [6]]);
  });

  it('are untouched while they are open, and so is all behind them', async () => {
    const world = await new CleanWorld().start();
    for (let i = 0; i < 5; i++) world.append([['a', `${i}`]]);
    world.append([['a', 'open']], { producerId: 7, transactional: true });
    for (let i = 0; i < 5; i++) world.append([['a', `later ${i}`]]);
    let batches = await cleaned(world);
    assert.deepEqual(offsetsOf(batches), [4, 5, 6, 7, 8, 9, 10]);
    assert.equal((await world.manifest()).cleanedTo, 5);
    world.finish(7, 'aborted');
    batches = await cleaned(world);
    assert.deepEqual([offsetsOf(batches), emptyOf(batches)], [[10], [5]]);
  });

  it('lose aborted records below the cleaned end, though the marker lies behind it', async () => {
    const world = await new CleanWorld().start();
    world.append([['a', 'aborted']], { producerId: 7, transactional: true });
    world.append([['b', '1']]);
    await world.upload();
    world.append([['c', '1']], { timestamp: world.clock.now() + hour });
    world.append([['a', 'aborted too']], { producerId: 7, transactional: true });
    world.finish(7, 'aborted');
    world.rules = { ...world.rules, minLagMs: 1_000 };
    world.clock.advance(hour);
    const batches = await cleaned(world);
    assert.equal((await world.manifest()).cleanedTo, 2);
    assert.deepEqual(offsetsOf(batches), [1, 2, 3]);
  });
});

describe('what must stay', () => {
  it('is the last batch of each producer, as a header, and the end of the log', async () => {
    const world = await new CleanWorld().start();
    world.append(
      [
        ['a', '1'],
        ['b', '1'],
      ],
      { producerId: 1 },
    );
    world.append(
      [
        ['a', '2'],
        ['b', '2'],
      ],
      { producerId: 1 },
    );
    world.append([
      ['a', '3'],
      ['b', '3'],
    ]);
    let batches = await cleaned(world);
    assert.deepEqual([offsetsOf(batches), emptyOf(batches)], [[4, 5], [3]]);
    world.append(
      [
        ['a', 'x'],
        ['b', 'x'],
      ],
      { producerId: 7, transactional: true },
    );
    world.finish(7, 'aborted');
    world.append([['q', 'x']], { producerId: 8, transactional: true });
    world.finish(8, 'aborted');
    batches = await cleaned(world);
    assert.deepEqual(
      [offsetsOf(batches), emptyOf(batches)],
      [
        [4, 5],
        [3, 7, 9],
      ],
    );
    assert.equal(batches.at(-1)!.lastOffset, 10);
  });

  it('is what says that offsets are lost, in a block of its own without a gap', async () => {
    const world = await new CleanWorld().start();
    for (let i = 0; i < 2; i++) world.append([['a', `${i}`]]);
    world.lose(3);
    for (let i = 0; i < 3; i++) world.append([['a', `${i}`]]);
    const batches = await cleaned(world);
    assert.deepEqual(
      batches.map(({ baseOffset, lastOffset, records }) => [baseOffset, lastOffset, records.length]),
      [
        [1, 1, 0],
        [2, 4, 0],
        [5, 5, 0],
        [7, 7, 1],
      ],
    );
    const [object] = (await world.manifest()).objects;
    const opened = await world.reader.open(object!.objectId);
    const entries = world.reader.findBlocks(opened, world.topicId, 0, 0, Number.POSITIVE_INFINITY);
    assert.deepEqual(
      entries.map(({ baseOffset, lastOffset, size }) => [baseOffset, lastOffset, size === 61]),
      [
        [0, 1, true],
        [2, 4, true],
        [5, 7, false],
      ],
    );
  });

  it('is a batch whose records cannot be read here, and what it would replace', async () => {
    const world = await new CleanWorld().start();
    world.append([['a', '1']]);
    world.append([['a', '2']], { codec: 1, timestamp: 5 });
    world.append([['b', '1']]);
    world.append([['b', '2']]);
    await world.upload();
    const unpack = codecs.decompress;
    codecs.decompress = (id, ...rest) => {
      if (id === 1) throw new MillraceError('invalid', 'UNSUPPORTED_COMPRESSION_TYPE', 'not here');
      return unpack(id, ...rest);
    };
    try {
      await world.cleaner().pass();
    } finally {
      codecs.decompress = unpack;
    }
    assert.deepEqual(offsetsOf(await world.stored()), [0, 1, 3]);
    assert.equal(world.results[0]!.numbers.batchesLeft, 1);
  });

  it('is the end of the log, where its last record has gone', async () => {
    const world = await new CleanWorld().start();
    world.append([['b', '1']]);
    world.append([['a', null]]);
    await cleaned(world);
    world.clock.advance(day);
    let batches = await cleaned(world);
    assert.deepEqual([offsetsOf(batches), emptyOf(batches)], [[0], [1]]);
    world.append([['a', 'x']], { producerId: 7, transactional: true });
    world.finish(7, 'aborted');
    for (let pass = 0; pass < 3; pass++) {
      await cleaned(world);
      world.clock.advance(day);
    }
    batches = await cleaned(world);
    assert.equal(batches.at(-1)!.lastOffset, 3);
  });

  it('is not kept for a producer that has expired', async () => {
    const world = await new CleanWorld().start();
    world.append([['a', '1']], { producerId: 1 });
    world.append([['a', '2']]);
    assert.deepEqual(emptyOf(await cleaned(world)), [0]);
    world.clock.advance(8 * day);
    world.append([['a', '3']]);
    await world.upload();
    await world.cleaner().pass();
    assert.deepEqual(emptyOf(await world.stored()), []);
  });

  it('is what is younger than min.compaction.lag.ms', async () => {
    const world = await new CleanWorld().start();
    world.rules = { ...world.rules, minLagMs: hour };
    world.append([['a', '1']]);
    world.append([['a', '2']]);
    world.clock.advance(hour);
    world.append([['a', '3']]);
    world.append([['a', '4']]);
    assert.deepEqual(offsetsOf(await cleaned(world)), [1, 2, 3]);
    world.clock.advance(hour);
    assert.deepEqual(offsetsOf(await cleaned(world)), [3]);
  });
});

describe('when a log is compacted', () => {
  it('by its dirty share, by enough of it, and by max.compaction.lag.ms', async () => {
    const world = await new CleanWorld().start();
    world.rules = { ...world.rules, dirtyRatioMin: 0.5 };
    for (let i = 0; i < 20; i++) world.append([[`k${i}`, 'v']]);
    await cleaned(world);
    assert.equal(world.tasks.length, 1);
    for (let i = 0; i < 10; i++) world.append([[`k${i}`, 'w']]);
    await cleaned(world);
    assert.equal(world.tasks.length, 1, 'a third of it is dirty');
    world.rules = { ...world.rules, maxLagMs: hour };
    world.clock.advance(hour - 1);
    await cleaned(world);
    assert.equal(world.tasks.length, 1, 'not too old yet');
    world.clock.advance(2);
    world.append([['k1', 'young']]);
    await cleaned(world);
    assert.equal(world.tasks.length, 2, 'the first dirty record is too old');
    world.rules = {
      ...world.rules,
      maxLagMs: Number.POSITIVE_INFINITY,
      segmentBytes: 1 << 20,
      segmentMs: day,
    };
    for (let i = 0; i < 200; i++) world.append([[`k${i % 20}`, 'x']]);
    await cleaned(world);
    assert.equal(world.tasks.length, 2, 'no segment would have been rolled');
    world.clock.advance(day);
    await cleaned(world);
    assert.equal(world.tasks.length, 3);
  });
});

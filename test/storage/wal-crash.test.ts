/**
 * Crash at every write of a WAL's life, with every class of torn last write: what was acknowledged is recovered byte
 * for byte and in order, a commit that was not is there whole or not at all, and no crash of an honest disk looks like
 * damage. Then the owner goes on under a new epoch and everything holds again.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import { pageBytes } from '../../src/stream/wal/wal-limits.ts';
import { Medium, type RecordedWrite, sectorBytes } from '../support/fault-disk.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { type Batch, BatchMaker, crc32c, drive, readAll, sameBatches } from './wal-fixtures.ts';
import { Bench, capacityBytes, type Life, live } from './wal-workload.ts';

const bench = new Bench();

interface Tear {
  readonly name: string;
  readonly unit: number;
  readonly keep: (i: number) => boolean;
}

/** Prefixes, single missing and single present pages, every subset of few pages, sectors of the first page. */
function* tears(write: RecordedWrite): Generator<Tear> {
  const pages = write.bytes.length / pageBytes;
  yield { name: 'nothing', unit: pageBytes, keep: () => false };
  yield { name: 'everything', unit: pageBytes, keep: () => true };
  if (pages <= 4) {
    for (let set = 1; set < 2 ** pages - 1; set++) {
      yield { name: `pages ${set.toString(2)}`, unit: pageBytes, keep: (i) => ((set >> i) & 1) === 1 };
    }
  } else {
    for (let n = 1; n < pages; n++) {
      yield { name: `first ${n} pages`, unit: pageBytes, keep: (i) => i < n };
      yield { name: `all but page ${n}`, unit: pageBytes, keep: (i) => i !== n };
      yield { name: `page ${n} only`, unit: pageBytes, keep: (i) => i === n };
    }
    yield { name: 'all but the first page', unit: pageBytes, keep: (i) => i !== 0 };
  }
  const sectors = write.bytes.length / sectorBytes;
  for (let n = 0; n < Math.min(8, sectors); n++) {
    yield { name: `all but sector ${n}`, unit: sectorBytes, keep: (i) => i !== n };
    yield { name: `first ${n + 1} sectors`, unit: sectorBytes, keep: (i) => i <= n };
  }
  yield { name: 'all but the last sector', unit: sectorBytes, keep: (i) => i !== sectors - 1 };
}

const lives: { seed: number; life: Life }[] = [];
for (const seed of [1, 2]) lives.push({ seed, life: await live(bench, seed, 52) });

/** Recovers a crashed medium and judges it against what was promised when write k was issued. */
async function judge(life: Life, medium: Medium, k: number, what: string): Promise<Batch[]> {
  const promised = life.promised[k]!;
  const device = medium.device();
  const recovered = await bench.recover(device);
  const { next, trim } = recovered;
  assert.notEqual(recovered.state, 'damaged', `${what}: ${recovered.reasons.join()}`);
  assert(
    next.sequence >= promised.durable,
    `${what}: durable ${promised.durable}, recovered ${next.sequence}`,
  );
  assert(next.sequence <= promised.durable + 1, `${what}: more commits than were written`);
  assert(trim.sequence >= promised.trimmed, `${what}: trimmed ${promised.trimmed}, found ${trim.sequence}`);
  assert(trim.sequence <= promised.trimAsked, `${what}: trimmed what nobody asked for`);
  const expected = life.batches.filter((b) => b.sequence > trim.sequence && b.sequence <= next.sequence);
  sameBatches(await readAll(device, recovered, bench.window), expected, what);
  for (const [i, batch] of expected.entries()) {
    assert.equal(recovered.batches.sequences[i], batch.sequence, what);
    assert.equal(recovered.batches.topicId(i), batch.stream.topicId, what);
    assert.equal(recovered.batches.partitions[i], batch.stream.partition, what);
    assert.equal(recovered.batches.baseOffset(i), batch.baseOffset, what);
  }
  return expected;
}

test('the lives cover laps, growth, pads, trims, superblocks, large batches and epochs', () => {
  for (const { life } of lives) {
    assert(life.laps >= 4, `${life.laps} laps`);
    assert.equal(life.promised[life.disk.writes.length]!.epoch, 4);
    assert(life.batches.some((b) => b.length > 48 * 1024));
    const superblocks = life.disk.writes.filter(
      (w) => w.position < 2 * pageBytes && w.bytes.length === pageBytes,
    );
    assert(superblocks.length > 30, `${superblocks.length} superblocks`);
  }
});

for (const { seed, life } of lives) {
  test(`crash at every write, every tear (life ${seed})`, async () => {
    const medium = new Medium(capacityBytes);
    let cases = 0;
    for (const [k, write] of life.disk.writes.entries()) {
      if (life.promised[k]!.formatted) {
        for (const tear of tears(write)) {
          const crashed = medium.copy();
          crashed.applyPart(write, tear.unit, tear.keep);
          await judge(life, crashed, k, `life ${seed}, write ${k}, ${tear.name}`);
          cases++;
        }
      }
      medium.apply(write);
    }
    await judge(life, medium, life.disk.writes.length, `life ${seed}, after its end`);
    assert(cases > 1500, `${cases} cases`);
  });

  test(`an owner goes on after any crash, twice torn, and nothing given up comes back (life ${seed})`, async () => {
    const medium = new Medium(capacityBytes);
    for (const [k, write] of life.disk.writes.entries()) {
      if (life.promised[k]!.formatted && k % 3 === seed % 3) {
        for (const tear of tears(write)) {
          if (!/^(nothing|all but|pages 1$)/.test(tear.name)) continue;
          const crashed = medium.copy();
          crashed.applyPart(write, tear.unit, tear.keep);
          await goOn(life, crashed, k, `life ${seed}, write ${k}, ${tear.name}`);
        }
      }
      medium.apply(write);
    }
  });
}

const maker = new BatchMaker(128 * 1024);

/** Opens a crashed medium, appends, closes and recovers again. */
async function goOn(life: Life, medium: Medium, k: number, what: string): Promise<void> {
  const survived = await judge(life, medium, k, what);
  const device = medium.device();
  const clock = new VirtualClock();
  const recovered = await bench.recover(device);
  const options = { device, clock, arena: maker, crc32c, memory: bench.memory, settings: { lingerMs: 0 } };
  const wal = InlineWal.resume(options, recovered, recovered.superblock.epoch + 1);
  const added: Batch[] = [];
  for (const length of [70, 3000]) {
    const batch = maker.make(0, length);
    added.push(batch);
    wal.tryAppend(batch.stream, batch.position, batch.length);
    wal.flush();
    await clock.advanceAsync(1);
  }
  await drive(clock, wal.close({ clean: false }));
  const again = await bench.recover(device);
  assert.equal(again.state, 'recovered', `${what}: ${again.reasons.join()}`);
  sameBatches(await readAll(device, again, bench.window), [...survived, ...added], `${what}, gone on`);
}

test('a torn commit that a recovery gave up stays given up, even when its missing page arrives later', async () => {
  // The commit's header landed, one payload page did not; after the next epoch began, that page turns up.
  const { life } = lives[0]!;
  const medium = new Medium(capacityBytes);
  let tried = 0;
  for (const [k, write] of life.disk.writes.entries()) {
    const isCommit =
      write.bytes.length > 2 * pageBytes && write.bytes.toString('latin1', 0, 8) === 'MRWALCMT';
    if (isCommit && life.promised[k]!.formatted) {
      const crashed = medium.copy();
      const last = write.bytes.length / pageBytes - 1;
      crashed.applyPart(write, pageBytes, (i) => i !== last);
      const device = crashed.device();
      const recovered = await bench.recover(device);
      if (recovered.next.sequence === life.promised[k]!.durable) {
        const clock = new VirtualClock();
        const options = { device, clock, arena: maker, crc32c, memory: bench.memory };
        const wal = InlineWal.resume(options, recovered, recovered.superblock.epoch + 1);
        await clock.advanceAsync(1);
        await drive(clock, wal.close({ clean: false }));
        const image = new Medium(capacityBytes);
        image.apply({ position: 0, bytes: device.image });
        image.applyPart(write, pageBytes, (i) => i === last);
        const again = await bench.recover(image.device());
        assert.notEqual(again.state, 'damaged', again.reasons.join());
        assert.equal(again.next.sequence, recovered.next.sequence, `write ${k} came back`);
        tried++;
      }
    }
    medium.apply(write);
  }
  assert(tried > 5, `${tried} tried`);
});

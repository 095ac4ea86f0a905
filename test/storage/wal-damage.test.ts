/**
 * What an honest disk never does: flipped bits, writes that land elsewhere, disks that lie about durability. Damage is
 * reported as damage or on the read of the batch concerned; it never passes for a log's end, and never as wrong bytes.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MillraceError } from '../../src/ports/errors.ts';
import { markWalCorrupt } from '../../src/stream/wal/format-wal.ts';
import { PayloadReader } from '../../src/stream/wal/payload-reader.ts';
import { type RecoveredWal, recoverWal } from '../../src/stream/wal/recovery.ts';
import type { WalDevice } from '../../src/stream/wal/wal-device.ts';
import { batchHeaderBytes, pageBytes, ringStartBytes } from '../../src/stream/wal/wal-limits.ts';
import { WalWriter } from '../../src/stream/wal/wal-writer.ts';
import { Medium } from '../support/fault-disk.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { type Batch, BatchMaker, clusterId, crc32c } from './wal-fixtures.ts';
import { Bench, capacityBytes, type Life, live } from './wal-workload.ts';

const bench = new Bench();
const life = await live(bench, 3, 90);
const commitMagic = 'MRWALCMT';

interface Found {
  readonly recovered: RecoveredWal;
  /** Per recovered batch, in order: its bytes, or null where reading it was refused as damaged. */
  readonly batches: (Buffer | null)[];
}

async function find(device: WalDevice): Promise<Found | 'refused'> {
  let recovered: RecoveredWal;
  try {
    recovered = await bench.recover(device);
  } catch (error) {
    assert(error instanceof MillraceError && error.kind === 'corrupt', String(error));
    return 'refused';
  }
  bench.window.reset(device);
  const reader = new PayloadReader(device, crc32c, bench.window);
  const batches: (Buffer | null)[] = [];
  for (let i = 0; i < recovered.batches.count; i++) {
    const into = Buffer.alloc(recovered.batches.lengths[i]!);
    try {
      await reader.read(recovered.batches, i, into, 0);
      batches.push(into);
    } catch (error) {
      assert(error instanceof MillraceError && error.code === 'WAL_PAYLOAD_DAMAGED', String(error));
      batches.push(null);
    }
  }
  return { recovered, batches };
}

/** No recovered batch may differ from the one that was appended there. @returns sequences that are wholly there. */
function judgeBytes(found: Found, all: readonly (Batch & { sequence: number })[], what: string): Set<number> {
  const whole = new Set<number>();
  const bySequence = new Map<number, Batch[]>();
  for (const b of all) bySequence.set(b.sequence, [...(bySequence.get(b.sequence) ?? []), b]);
  const at = new Map<number, number>();
  const { recovered, batches } = found;
  for (let i = 0; i < batches.length; i++) {
    const sequence = recovered.batches.sequences[i]!;
    const index = at.get(sequence) ?? 0;
    at.set(sequence, index + 1);
    const expected = bySequence.get(sequence)?.[index];
    assert(expected, `${what}: batch ${index} of commit ${sequence} was never appended`);
    if (index === 0) whole.add(sequence);
    if (batches[i] === null) whole.delete(sequence);
    else assert(batches[i]!.equals(expected.bytes), `${what}: wrong bytes in commit ${sequence}`);
  }
  return whole;
}

/** A medium as it was when write k was issued. */
function mediumAt(from: Life, k: number): Medium {
  const medium = new Medium(capacityBytes);
  for (let i = 0; i < k; i++) medium.apply(from.disk.writes[i]!);
  return medium;
}

/** In each fifth of the life the write before which most commits were neither trimmed nor in flight. */
const moments = [0, 1, 2, 3, 4].map((fifth) => {
  const n = life.disk.writes.length;
  let best = Math.floor((n * fifth) / 5);
  const held = (k: number): number => life.promised[k]!.durable - life.promised[k]!.trimmed;
  for (let k = best; k < (n * (fifth + 1)) / 5; k++) if (held(k) > held(best)) best = k;
  return best;
});

for (const k of moments) {
  test(`a flipped bit in any page is damage, a refused read, or no loss (write ${k})`, async () => {
    const random = new SeededRandom(k);
    const medium = mediumAt(life, k);
    const sound = (await find(medium.device())) as Found;
    assert.notEqual(sound.recovered.state, 'damaged');
    const { next, superblock } = sound.recovered;
    let damaged = 0;
    let refusedReads = 0;
    const flips: number[] = [];
    for (let page = 0; page < medium.bytes.length; page += pageBytes) {
      // Fixed places of a header, its first descriptor, and some anywhere.
      for (const at of [0, 9, 13, 20, 40, 49, 57, 65, 73, 81, 85, 89, 93, 130, 145, 150, 170, 213, 217]) {
        flips.push(page + at);
      }
      for (let i = 0; i < 12; i++) flips.push(page + random.below(pageBytes));
    }
    for (const at of flips) {
      const bit = 1 << random.below(8);
      medium.bytes[at]! ^= bit;
      const what = `write ${k}, bit ${bit} of byte ${at}`;
      const found = await find(medium.device());
      medium.bytes[at]! ^= bit;
      assert.notEqual(found, 'refused', what);
      const { recovered } = found as Found;
      judgeBytes(found as Found, life.batches, what);
      if (recovered.state === 'damaged') {
        damaged++;
        continue;
      }
      const nulls = (found as Found).batches.filter((b) => b === null).length;
      refusedReads += nulls;
      assert(nulls <= 1, what);
      const cut = recovered.next.sequence;
      // Only the last commit may be missing, and only if no superblock calls it durable.
      assert(cut === next.sequence || (cut === next.sequence - 1 && cut >= superblock.durableSequence), what);
      assert(recovered.trim.sequence <= sound.recovered.trim.sequence, what);
    }
    if (next.sequence > sound.recovered.trim.sequence + 3) {
      assert(damaged > 20, `${damaged} flips were damage`);
      assert(refusedReads > 0, 'some flips hit payload');
    }
  });
}

test('a damaged header in the middle: everything else is salvaged, the loss is named', async () => {
  const k = moments[1]!;
  const medium = mediumAt(life, k);
  const sound = (await find(medium.device())) as Found;
  let tried = 0;
  for (let offset = ringStartBytes; offset < medium.bytes.length; offset += pageBytes) {
    if (medium.bytes.toString('latin1', offset, offset + 8) !== commitMagic) continue;
    const sequence = Number(medium.bytes.readBigUInt64LE(offset + 56));
    const descriptors = medium.bytes.readUInt32LE(offset + 84);
    const live = sequence > sound.recovered.trim.sequence && sequence < sound.recovered.next.sequence;
    if (!live || descriptors === 0) continue;
    medium.bytes[offset + 58]! ^= 1;
    const found = (await find(medium.device())) as Found;
    medium.bytes[offset + 58]! ^= 1;
    assert.equal(found.recovered.state, 'damaged');
    assert.deepEqual(found.recovered.lostCommits, [{ from: sequence, until: sequence + 1 }]);
    const whole = judgeBytes(found, life.batches, `commit ${sequence} gone`);
    const expected = life.batches.filter(
      (b) => b.sequence > sound.recovered.trim.sequence && b.sequence <= sound.recovered.next.sequence,
    );
    for (const b of expected) assert.equal(whole.has(b.sequence), b.sequence !== sequence);
    // A partition with batches before and after shows the gap exactly.
    for (let p = 0; p < 3; p++) {
      const of = expected.filter((b) => b.stream.partition === p);
      const before = of.filter((b) => b.sequence < sequence).at(-1);
      const after = of.find((b) => b.sequence > sequence);
      const gone = of.filter((b) => b.sequence === sequence);
      if (before === undefined || after === undefined || gone.length === 0) continue;
      const range = found.recovered.lost.find((l) => l.partition === p);
      assert.equal(range?.from, gone[0]!.baseOffset);
      assert.equal(range?.until, after.baseOffset);
      assert.equal(range?.reason, 'gap');
      tried++;
    }
  }
  assert(tried > 0);
});

test('a commit that landed in another one’s place is damage', async () => {
  let cases = 0;
  let damaged = 0;
  for (const k of moments) {
    const medium = mediumAt(life, k);
    const sound = (await find(medium.device())) as Found;
    const recent: number[] = [];
    for (let i = k - 1; i >= 0 && recent.length < 4; i--) {
      if (life.disk.writes[i]!.bytes.toString('latin1', 0, 8) === commitMagic) recent.push(i);
    }
    for (const stray of recent) {
      const targets = new Set(life.disk.writes.slice(Math.max(0, k - 40), k).map((w) => w.position));
      for (const target of targets) {
        const write = life.disk.writes[stray]!;
        if (target < ringStartBytes || target === write.position) continue;
        if (target + write.bytes.length > capacityBytes) continue;
        // Everything as it was, but this write went elsewhere.
        const wrong = mediumAt(life, stray);
        wrong.apply({ position: target, bytes: write.bytes });
        for (let i = stray + 1; i < k; i++) wrong.apply(life.disk.writes[i]!);
        const what = `write ${stray} of ${k} landed at ${target}`;
        const found = await find(wrong.device());
        cases++;
        if (found === 'refused') continue;
        judgeBytes(found, life.batches, what);
        if (found.recovered.state === 'damaged') {
          damaged++;
          continue;
        }
        const { next, superblock } = found.recovered;
        assert(next.sequence >= superblock.durableSequence, what);
        const whole = next.sequence === sound.recovered.next.sequence;
        assert(whole || next.sequence === sound.recovered.next.sequence - 1, what);
      }
    }
  }
  assert(cases > 50 && damaged > cases / 2, `${damaged} of ${cases} were damage`);
});

test('a disk that lies: a lost write that later ones followed is noticed', async () => {
  let damaged = 0;
  let cases = 0;
  for (let k = 60; k <= life.disk.writes.length; k += 7) {
    if (!life.promised[k]!.formatted) continue;
    const sound = (await find(mediumAt(life, k).device())) as Found;
    for (let back = 2; back <= 6; back++) {
      const gone = life.disk.writes[k - back]!;
      const isCommit = gone.position >= ringStartBytes && gone.bytes.toString('latin1', 0, 8) === commitMagic;
      if (!isCommit || !life.promised[k - back]!.formatted) continue;
      for (const kept of [() => false, (i: number) => i === 0, (i: number) => i !== 0]) {
        const medium = mediumAt(life, k - back);
        medium.applyPart(gone, pageBytes, kept);
        let followed = false;
        for (let i = k - back + 1; i < k; i++) {
          const later = life.disk.writes[i]!;
          medium.apply(later);
          if (later.position >= ringStartBytes)
            followed ||= later.bytes.toString('latin1', 0, 8) === commitMagic;
        }
        if (!followed) continue;
        const what = `write ${k - back} lost before ${k}`;
        const found = await find(medium.device());
        assert.notEqual(found, 'refused', what);
        cases++;
        const { recovered } = found as Found;
        judgeBytes(found as Found, life.batches, what);
        if (recovered.state === 'damaged') damaged++;
        // Trimmed meanwhile, or kept whole in its first page, or refused when read: never a shorter log.
        else assert.equal(recovered.next.sequence, sound.recovered.next.sequence, what);
      }
    }
  }
  assert(cases > 30 && damaged > 10, `${damaged} of ${cases} were damage`);
});

test('a truncated volume is damage', async () => {
  const k = moments[1]!;
  const bytes = Buffer.from(mediumAt(life, k).bytes);
  const medium = new Medium(capacityBytes);
  medium.apply({ position: 0, bytes: bytes.subarray(0, bytes.length - 8 * pageBytes) });
  const found = (await find(medium.device())) as Found;
  assert.equal(found.recovered.state, 'damaged');
  judgeBytes(found, life.batches, 'truncated');
});

test('both superblocks gone: refused as corrupt, not taken for an unformatted volume', async () => {
  const medium = mediumAt(life, moments[1]!);
  medium.bytes[100]! ^= 1;
  medium.bytes[pageBytes + 100]! ^= 1;
  await assert.rejects(bench.recover(medium.device()), { code: 'WAL_SUPERBLOCKS_LOST', kind: 'corrupt' });
  medium.bytes.fill(0, 0, 2 * pageBytes);
  await assert.rejects(bench.recover(medium.device()), { code: 'WAL_NOT_FORMATTED', kind: 'invalid' });
});

test('descriptors rule: header bytes on the volume do not count, descriptor bytes do', async () => {
  const k = moments[1]!;
  const medium = mediumAt(life, k);
  const sound = (await find(medium.device())) as Found;
  const batches = sound.recovered.batches;
  let tried = 0;
  for (let i = 0; i < batches.count; i++) {
    // Only batches in runs have header bytes in the payload area.
    if (batches.lengths[i]! < 16_384) continue;
    const header = batches.recordsAt[i]! - batchHeaderBytes;
    medium.bytes.fill(0xee, header, header + batchHeaderBytes);
    tried++;
  }
  assert(tried > 0);
  const found = (await find(medium.device())) as Found;
  assert.equal(found.recovered.state, 'recovered');
  judgeBytes(found, life.batches, 'headers overwritten');
  assert(found.batches.every((b) => b !== null));
});

test('a damaged WAL stays damaged once marked, and is never written again', async () => {
  const medium = mediumAt(life, moments[1]!);
  const device = medium.device();
  const before = await bench.recover(device);
  await markWalCorrupt(device, before.superblock, crc32c);
  const after = await bench.recover(device);
  assert.equal(after.state, 'damaged');
  assert.equal(after.batches.count, before.batches.count);
  const arena = new BatchMaker(65_536);
  const options = { device, clock: new VirtualClock(), arena, crc32c, memory: bench.memory };
  assert.throws(() => WalWriter.resume(options, after, 99), { code: 'WAL_DAMAGED' });
});

test('the freed cut of the metadata moves the start forward', async () => {
  const medium = mediumAt(life, moments[1]!);
  const sound = await bench.recover(medium.device());
  const middle = Math.floor((sound.trim.sequence + sound.next.sequence) / 2);
  assert(middle > sound.trim.sequence && middle < sound.next.sequence);
  // Find the cut behind commit `middle` on the medium.
  let from = null;
  for (let at = ringStartBytes; at < medium.bytes.length; at += pageBytes) {
    if (medium.bytes.toString('latin1', at, at + 8) !== commitMagic) continue;
    if (Number(medium.bytes.readBigUInt64LE(at + 56)) !== middle) continue;
    const position = Number(medium.bytes.readBigUInt64LE(at + 64) + medium.bytes.readBigUInt64LE(at + 72));
    from = { sequence: middle, position, chainCrc: medium.bytes.readUInt32LE(at + 8) };
  }
  assert(from !== null);
  const options = { crc32c, expectClusterId: clusterId, window: bench.window };
  const later = await recoverWal(medium.device(), { ...options, from });
  assert.equal(later.state, 'recovered');
  assert.equal(later.next.sequence, sound.next.sequence);
  assert.equal(later.batches.sequences[0]! > middle, true);
  const wrong = await recoverWal(medium.device(), {
    ...options,
    from: { ...from, chainCrc: from.chainCrc ^ 1 },
  });
  assert.equal(wrong.state, 'damaged');
});

/** The medium after the life's end: its last superblock calls every commit durable. */
async function settledEnd(): Promise<{ medium: Medium; sound: RecoveredWal; lastAt: number }> {
  const medium = mediumAt(life, life.disk.writes.length);
  const sound = await bench.recover(medium.device());
  assert.equal(sound.superblock.durableSequence, sound.next.sequence);
  let lastAt = -1;
  for (let at = ringStartBytes; at < medium.bytes.length; at += pageBytes) {
    if (medium.bytes.toString('latin1', at, at + 8) !== commitMagic) continue;
    if (Number(medium.bytes.readBigUInt64LE(at + 56)) === sound.next.sequence) lastAt = at;
  }
  assert(lastAt > 0 && sound.batches.sequences[sound.batches.count - 1] === sound.next.sequence);
  return { medium, sound, lastAt };
}

test('the last commit gone although a superblock calls it durable: damage, not an earlier end', async () => {
  const { medium, sound, lastAt } = await settledEnd();
  medium.bytes.fill(0, lastAt, lastAt + pageBytes);
  const found = await bench.recover(medium.device());
  assert.equal(found.state, 'damaged');
  assert.deepEqual(found.lostCommits, [{ from: sound.next.sequence, until: sound.next.sequence + 1 }]);
});

test('its payload damaged: the batch keeps its offsets and is reported', async () => {
  const { medium, sound } = await settledEnd();
  const last = sound.batches.count - 1;
  medium.bytes[sound.batches.recordsAt[last]!]! ^= 1;
  const found = await bench.recover(medium.device());
  assert.equal(found.state, 'damaged');
  assert.equal(found.batches.count, sound.batches.count);
  assert.equal(found.next.sequence, sound.next.sequence);
  const { batches } = sound;
  assert.deepEqual(found.lost, [
    {
      topicId: batches.topicId(last),
      partition: batches.partitions[last],
      from: batches.baseOffset(last),
      until: batches.lastOffset(last) + 1,
      reason: 'payload',
      certain: true,
    },
  ]);
});

test('a wiped ring below good superblocks is damage, not an empty log', async () => {
  const { medium, sound } = await settledEnd();
  medium.bytes.fill(0, ringStartBytes);
  const found = await bench.recover(medium.device());
  assert.equal(found.state, 'damaged');
  assert.deepEqual(found.lostCommits, [{ from: sound.trim.sequence + 1, until: sound.next.sequence + 1 }]);
});

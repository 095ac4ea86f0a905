/** The pump's rules that no crash shows: order of writes, failure, budgets, lingering, growth, fairness, copies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatWal } from '../../../../src/stream/wal/format-wal.ts';
import { InlineWal } from '../../../../src/stream/wal/inline-wal.ts';
import { LocalQueue } from '../../../../src/stream/wal/local-queue.ts';
import { recoverWal } from '../../../../src/stream/wal/recovery.ts';
import { appendRefused } from '../../../../src/stream/wal/wal.ts';
import { alignedBuffer, pageBytes, ringStartBytes } from '../../../../src/stream/wal/wal-limits.ts';
import {
  WalWriter,
  type WalWriterSettings,
  writerMemoryBytes,
} from '../../../../src/stream/wal/wal-writer.ts';
import { BatchMaker, clusterId, crc32c, logId, stream } from '../../../storage/wal-fixtures.ts';
import { FaultDisk } from '../../../support/fault-disk.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const kib = 1024;
const mib = 1024 * kib;
const memory = alignedBuffer(writerMemoryBytes);

interface Options {
  readonly settings?: WalWriterSettings;
  readonly capacityBytes?: number;
  readonly initialBytes?: number;
  readonly queueEntries?: number;
}

async function setup(options: Options = {}) {
  const disk = new FaultDisk();
  const clock = new VirtualClock();
  const maker = new BatchMaker(8 * mib);
  const capacityBytes = ringStartBytes + (options.capacityBytes ?? 4 * mib);
  const initialBytes = ringStartBytes + (options.initialBytes ?? options.capacityBytes ?? 4 * mib);
  await formatWal(disk, { crc32c, logId, clusterId, node: 5, capacityBytes, initialBytes });
  const recovered = await recoverWal(disk, { crc32c, expectClusterId: clusterId });
  const settings = { lingerMs: 0, ...options.settings };
  const common = { device: disk, clock, arena: maker, crc32c, settings, memory };
  return { disk, clock, maker, recovered, common };
}

async function inline(options: Options = {}) {
  const s = await setup(options);
  const queue = options.queueEntries === undefined ? {} : { queueEntries: options.queueEntries };
  const wal = InlineWal.resume({ ...s.common, ...queue }, s.recovered, 1);
  const acks: { through: number; sequence: number; at: number }[] = [];
  const failures: Error[] = [];
  const memory: string[] = [];
  wal.onDurable = (through, sequence) => acks.push({ through, sequence, at: s.clock.monotonic() });
  wal.onFailed = (error, outstanding) => {
    failures.push(error);
    memory.push(outstanding ? 'held' : 'free');
  };
  wal.onReturned = () => memory.push('free');
  s.clock.advance(1);
  const append = (length: number, gap = 0): number => {
    const batch = s.maker.make(0, length, gap);
    const n = wal.tryAppend(batch.stream, batch.position, batch.length);
    wal.flush();
    return n;
  };
  return { ...s, wal, acks, failures, memory, append };
}

const isCommit = (bytes: Buffer): boolean => bytes.toString('latin1', 0, 8) === 'MRWALCMT';

test('both superblocks name the new epoch before the first commit', async () => {
  const { disk, common, recovered } = await setup();
  const writer = WalWriter.resume(common, recovered, 41);
  const maker = common.arena;
  const queue = new LocalQueue(8, { durable() {}, failed() {}, returned() {} });
  const batch = maker.make(0, 100);
  queue.push(batch.stream, batch.position, batch.length);
  writer.addSource(queue);
  const first = disk.writes.length;
  while (writer.nudge());
  assert.equal(writer.status.cut.sequence, 1);
  const kinds = disk.writes
    .slice(first)
    .map((w) => (isCommit(w.bytes) ? 'commit' : `page ${w.position / pageBytes}`));
  assert.deepEqual(kinds.slice().sort(), ['commit', 'page 0', 'page 1']);
  assert.equal(kinds[2], 'commit');
  for (const w of disk.writes.slice(first, first + 2)) assert.equal(Number(w.bytes.readBigUInt64LE(96)), 41);
});

test('an epoch that is not higher is refused', async () => {
  const { common, recovered } = await setup();
  assert.throws(() => WalWriter.resume(common, recovered, 0), { code: 'WAL_EPOCH_OLD', kind: 'fenced' });
});

test('one write at a time; nothing is durable before its write has returned', async () => {
  const { disk, clock, acks, append } = await inline();
  disk.holding = true;
  append(100);
  clock.advance(1);
  const issued = disk.writes.length;
  append(100);
  append(100);
  clock.advance(5);
  assert.equal(disk.writes.length, issued);
  assert.equal(acks.length, 0);
  disk.release();
  clock.advance(1);
  assert.deepEqual(
    acks.map((a) => a.through),
    [1],
  );
  assert.equal(disk.writes.length, issued + 1);
  disk.release();
  clock.advance(1);
  assert.deepEqual(
    acks.map((a) => a.through),
    [1, 3],
  );
});

test('a failed write ends the epoch: waiters are told, nothing is written any more', async () => {
  const { disk, clock, wal, acks, failures, memory, append } = await inline();
  append(100);
  clock.advance(1);
  const cut = wal.writer.status.cut;
  disk.failures.set(disk.writes.length, new Error('EIO'));
  append(100);
  clock.advance(1);
  assert.deepEqual(
    acks.map((a) => a.through),
    [1],
  );
  assert.deepEqual(
    failures.map((e) => e.message),
    ['EIO'],
  );
  const written = disk.writes.length;
  assert.equal(append(100), 0);
  await assert.rejects(wal.trim(cut), { message: 'EIO' });
  clock.advance(5000);
  assert.equal(disk.writes.length, written);
  assert.equal((await wal.status()).failed, 'EIO');
  assert.equal(failures.length, 1);
  assert.deepEqual(memory, ['free']);
});

test('30 s without an answer end the epoch; the late answer acknowledges nothing', async () => {
  const { disk, clock, acks, failures, memory, append } = await inline();
  disk.holding = true;
  append(100);
  clock.advance(29_990);
  assert.equal(failures.length, 0);
  clock.advance(20);
  assert.equal((failures[0] as { code?: string }).code, 'WAL_WRITE_TIMEOUT');
  assert.deepEqual(memory, ['held'], 'the device may still read what it was given');
  disk.release();
  clock.advance(100);
  assert.equal(acks.length, 0);
  assert.deepEqual(memory, ['held', 'free']);
});

test('an append that is no batch ends the epoch instead of reaching the volume', async () => {
  const { clock, wal, maker, failures, acks } = await inline();
  const batch = maker.make(0, 500);
  wal.tryAppend(batch.stream, batch.position, 400);
  wal.flush();
  clock.advance(1);
  assert.equal((failures[0] as { code?: string }).code, 'WAL_BAD_APPEND');
  assert.equal(acks.length, 0);
});

test('freed space is written again only after the superblock that frees it is durable', async () => {
  const { disk, clock, wal, acks, append } = await inline({ capacityBytes: 128 * kib });
  for (let i = 0; i < 20; i++) append(15_000);
  clock.advance(1);
  const full = acks.at(-1)!.through;
  assert(full < 20);
  const { cut } = await wal.status();
  disk.holding = true;
  const before = disk.writes.length;
  let trimmed = false;
  void wal.trim(cut).then(() => {
    trimmed = true;
  });
  clock.advance(1);
  assert.equal(disk.writes.length, before + 1);
  assert(!isCommit(disk.writes[before]!.bytes));
  await clock.settle();
  assert.equal(trimmed, false);
  assert.equal(acks.at(-1)!.through, full);
  disk.holding = false;
  disk.release();
  await clock.settle();
  assert.equal(trimmed, true);
  assert(acks.at(-1)!.through > full);
});

test('under load the superblock is at most a second old, and when idle it is written once', async () => {
  const { disk, clock, append } = await inline();
  const superblocks = (): number =>
    disk.writes.filter((w) => !isCommit(w.bytes) && w.position < 2 * pageBytes).length;
  const before = superblocks();
  for (let i = 0; i < 45; i++) {
    append(100);
    clock.advance(100);
  }
  assert.equal(superblocks() - before, 4);
  clock.advance(60_000);
  assert.equal(superblocks() - before, 5);
  const last = disk.writes.filter((w) => !isCommit(w.bytes)).at(-1)!;
  assert.equal(Number(last.bytes.readBigUInt64LE(88)), 45);
});

test('growth keeps ahead of the tail in slices; the new size is in both superblocks before it is used', async () => {
  const settings = { growChunkBytes: 256 * kib, growSliceBytes: 32 * kib };
  const { disk, clock, wal, append } = await inline({
    capacityBytes: mib,
    initialBytes: 256 * kib,
    settings,
  });
  let announced = ringStartBytes + 256 * kib;
  const announcedBy = [announced, announced];
  const first = disk.writes.length;
  for (let i = 0; i < 34; i++) {
    append(20_000);
    clock.advance(1);
  }
  assert.equal(wal.writer.stats.batches, 34);
  for (const w of disk.writes.slice(first)) {
    if (isCommit(w.bytes)) {
      assert(w.position + w.bytes.length <= announced, 'a commit lies beyond what superblocks announce');
    } else if (w.position < 2 * pageBytes) {
      announcedBy[w.position / pageBytes] = Number(w.bytes.readBigUInt64LE(64));
      announced = Math.min(...announcedBy);
    } else {
      assert(w.bytes.length <= 32 * kib);
    }
  }
  assert.equal(wal.writer.status.writtenBytes, ringStartBytes + mib);
});

test('a full disk while growing: the ring wraps at what it has and the epoch lives', async () => {
  const settings = { growChunkBytes: 128 * kib, growSliceBytes: 32 * kib };
  const s = await inline({ capacityBytes: mib, initialBytes: 128 * kib, settings });
  const fail = (index: number): void => {
    // Every write of zeros beyond the front pages is a slice.
    const w = s.disk.writes[index]!;
    if (w.position >= ringStartBytes && !isCommit(w.bytes)) s.disk.failures.set(index, new Error('ENOSPC'));
  };
  s.disk.onWrite = fail;
  for (let i = 0; i < 60; i++) {
    s.append(9000);
    s.clock.advance(1);
    await s.wal.status().then((status) => {
      void s.wal.trim(status.cut);
    });
    s.clock.advance(1);
  }
  assert.deepEqual(s.failures, []);
  assert.equal(s.acks.at(-1)!.through, 60);
  const status = await s.wal.status();
  assert.equal(status.writtenBytes, ringStartBytes + 128 * kib);
  assert.equal(status.capacityBytes, 128 * kib);
});

test('an IOPS budget makes groups, not a queue of writes', async () => {
  const { clock, wal, acks, append } = await inline({ settings: { iops: 100 }, capacityBytes: 32 * mib });
  const commits = wal.writer.stats.commits;
  for (let ms = 0; ms < 2000; ms++) {
    append(61 + (ms % 50));
    clock.advance(1);
  }
  clock.advance(50);
  assert.equal(acks.at(-1)!.through, 2000);
  const made = wal.writer.stats.commits - commits;
  assert(made >= 180 && made <= 210, `${made} commits in 2 s of 100 a second`);
});

test('a bandwidth budget is kept, a commit larger than the burst included', async () => {
  const { clock, acks, append } = await inline({ settings: { bandwidth: 4 * mib }, capacityBytes: 32 * mib });
  for (let i = 0; i < 8; i++) append(mib);
  clock.advance(100);
  const early = acks.at(-1)?.through ?? 0;
  append(mib);
  clock.advance(5000);
  assert.equal(acks.at(-1)!.through, 9);
  const took = acks.at(-1)!.at;
  assert(early >= 1 && took > 1700, `${early} early, all after ${took} ms`);
});

test('no linger for a lone client, a bounded one under concurrent load', async () => {
  const lone = await inline({ settings: { lingerMs: 2 } });
  for (let i = 1; i <= 50; i++) {
    lone.append(100);
    lone.clock.runSoon();
    assert.equal(lone.acks.at(-1)?.through, i, 'a lone append is written at once');
    lone.clock.advance(0.2);
  }
  const busy = await inline({ settings: { lingerMs: 2 }, capacityBytes: 32 * mib });
  const waits: number[] = [];
  for (let i = 0; i < 4000; i++) {
    const at = busy.clock.monotonic();
    const n = busy.append(100) + 0 * busy.append(100);
    busy.clock.advance(0.05);
    void n;
    waits.push(at);
  }
  busy.clock.advance(10);
  assert.equal(busy.acks.at(-1)!.through, 8000);
  const groups = busy.wal.writer.stats.batches / busy.wal.writer.stats.commits;
  assert(groups > 20, `groups of ${groups}`);
  let ack = 0;
  for (const [i, at] of waits.entries()) {
    while (busy.acks[ack]!.through < 2 * i + 1) ack++;
    assert(busy.acks[ack]!.at - at <= 2.2, `append ${i} waited ${busy.acks[ack]!.at - at} ms`);
  }
});

test('sources take turns: a flooded one does not hold up another', async () => {
  const { common, recovered, maker } = await setup({ settings: { payloadBytesMax: 64 * kib } });
  const writer = WalWriter.resume(common, recovered, 1);
  const log: string[] = [];
  const queue = (name: string, n: number): LocalQueue => {
    const q = new LocalQueue(1000, {
      durable: (count, sequence) => log.push(`${name} ${count} ${sequence}`),
      failed() {},
      returned() {},
    });
    for (let i = 0; i < n; i++) {
      const b = maker.make(0, 1000);
      q.push(b.stream, b.position, b.length);
    }
    return q;
  };
  writer.addSource(queue('flood', 900));
  writer.addSource(queue('trickle', 5));
  while (writer.nudge());
  const trickle = log.filter((line) => line.startsWith('trickle') && Number(line.split(' ')[2]) <= 2);
  const taken = trickle.reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
  assert.equal(taken, 5, log.slice(0, 5).join());
});

test('large batches go from the arena as they lie; only partial pages are copied', async () => {
  const { disk, clock, maker, wal } = await inline({ capacityBytes: 16 * mib });
  const seen: { fromArena: number; staged: number; vectors: number }[] = [];
  const write = disk.write.bind(disk);
  disk.write = (plan, done) => {
    let fromArena = 0;
    for (let i = 0; i < plan.count; i++) {
      if (plan.fromArena[i] !== 1) continue;
      fromArena += plan.lengths[i]!;
      assert.equal(plan.positions[i]! % pageBytes, 0);
    }
    seen.push({ fromArena, staged: plan.bytes - fromArena, vectors: plan.count });
    write(plan, done);
  };
  // Three adjacent batches form one run, a fourth behind a gap another one.
  const all = [
    maker.make(0, 200_001, 777),
    maker.make(1, 100_000),
    maker.make(2, 50_000),
    maker.make(0, 300_000, 9),
  ];
  for (const b of all) wal.tryAppend(b.stream, b.position, b.length);
  wal.flush();
  clock.advance(1);
  assert.equal(seen.length, 1);
  assert(seen[0]!.fromArena > 630_000);
  assert(seen[0]!.staged <= pageBytes * 5, `${seen[0]!.staged} bytes staged`);
  assert.equal(seen[0]!.vectors, 6);
});

test('a queue that is closed with unwritten appends tells their owner', async () => {
  const { clock, wal, failures, append } = await inline({ capacityBytes: 128 * kib });
  for (let i = 0; i < 20; i++) append(15_000);
  clock.advance(1);
  const closed = wal.close({ clean: false });
  clock.advance(1);
  await closed;
  assert.equal((failures[0] as { code?: string }).code, 'WAL_CLOSED');
  assert.equal(wal.tryAppend(stream(0), 0, 100), 0);
});

/** A disk on which the ring cannot become longer. */
function fullDisk(disk: FaultDisk): void {
  disk.onWrite = (index) => {
    const w = disk.writes[index]!;
    if (w.position >= ringStartBytes && !isCommit(w.bytes)) disk.failures.set(index, new Error('ENOSPC'));
  };
}

test('a batch that the ring is too short for makes it grow, and is taken then', async () => {
  const settings = { growChunkBytes: 64 * kib, growSliceBytes: 16 * kib };
  const s = await inline({ capacityBytes: 4 * mib, initialBytes: 512 * kib, settings });
  s.clock.advance(10);
  const before = (await s.wal.status()).writtenBytes;
  s.clock.advance(1_000);
  assert.equal((await s.wal.status()).writtenBytes, before, 'nobody wants it longer');
  assert.equal(s.append(mib), appendRefused.noRoom);
  assert.equal(s.append(3 * mib), appendRefused.tooLong);
  for (let i = 1; i <= 20; i++) {
    assert.equal(s.append(100), i, 'others go on');
    s.clock.advance(1);
  }
  s.clock.advance(100);
  assert.equal(s.append(mib), 21);
  s.clock.advance(1);
  assert.equal(s.acks.at(-1)!.through, 21);
  const { writtenBytes } = await s.wal.status();
  assert.ok(writtenBytes < 3 * mib, `${writtenBytes}: as long as wanted, no longer`);
  assert.deepEqual(s.failures, []);
});

test('the disk is full: a legal batch longer than the ring will ever take is refused, and the epoch lives', async () => {
  const settings = { growChunkBytes: 64 * kib, growSliceBytes: 16 * kib };
  const s = await inline({ capacityBytes: 4 * mib, initialBytes: 512 * kib, settings });
  fullDisk(s.disk);
  assert.equal(s.append(mib), appendRefused.noRoom, 'it may still grow');
  s.clock.advance(100);
  assert.equal(s.append(mib), appendRefused.tooLong);
  assert.equal(s.append(200 * kib), 1);
  s.clock.advance(1);
  assert.equal(s.acks.at(-1)!.through, 1);
  assert.deepEqual(s.failures, []);
});

test('whatever is taken finds its place, wherever the tail of a ring stands that cannot grow', async () => {
  const settings = { growChunkBytes: 64 * kib, growSliceBytes: 16 * kib };
  for (let first = 61; first < 100_000; first += 4_096) {
    const s = await inline({ capacityBytes: mib, initialBytes: 256 * kib, settings });
    fullDisk(s.disk);
    const longest = s.wal.writer.batchBytesMax;
    // A run that begins and ends in the middle of a page takes the most.
    for (const [i, length] of [first, longest, longest, longest].entries()) {
      assert.equal(s.append(length, 4_000), i + 1);
      s.clock.advance(1);
      void s.wal.trim((await s.wal.status()).cut);
      s.clock.advance(1);
    }
    assert.deepEqual(s.failures, []);
    assert.equal(s.acks.at(-1)!.through, 4, `after ${first} bytes`);
  }
});

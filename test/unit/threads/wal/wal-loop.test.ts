/**
 * The WAL thread's loop: every interleaving of it with a shard that appends and a main that calls, at each atomic step;
 * and over a real writer, that it sleeps when a full ring, a budget or an old superblock leaves it nothing to do.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatWal } from '../../../../src/stream/wal/format-wal.ts';
import { recoverWal } from '../../../../src/stream/wal/recovery.ts';
import type { WalStatus } from '../../../../src/stream/wal/wal.ts';
import { ringStartBytes } from '../../../../src/stream/wal/wal-limits.ts';
import { WalWriter, type WalWriterSettings } from '../../../../src/stream/wal/wal-writer.ts';
import { type AtomicsPort, systemAtomics } from '../../../../src/threads/memory/atomics-port.ts';
import { attachDoorbell, createDoorbellMemory } from '../../../../src/threads/memory/doorbell.ts';
import { createRingMemory, Ring } from '../../../../src/threads/memory/ring.ts';
import { BlockingWaiter } from '../../../../src/threads/memory/waiter.ts';
import { BatchWish, createBatchWish } from '../../../../src/threads/wal/batch-wish.ts';
import {
  appendSlotWords,
  completionSlotWords,
  createWalStats,
  type WalCall,
  walStats,
} from '../../../../src/threads/wal/contract.ts';
import { RingAppendSource } from '../../../../src/threads/wal/ring-append-source.ts';
import { RingWal } from '../../../../src/threads/wal/ring-wal.ts';
import { WalLoop } from '../../../../src/threads/wal/wal-loop.ts';
import { createWriteWatch, WatchedEpoch } from '../../../../src/threads/wal/write-watch.ts';
import { BatchMaker, clusterId, crc32c, logId, stream } from '../../../storage/wal-fixtures.ts';
import { FaultDisk } from '../../../support/fault-disk.ts';
import { explore } from '../../../support/interleavings.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const status: WalStatus = {
  logId,
  cut: { sequence: 0, position: 0, chainCrc: 0 },
  trimmed: { sequence: 0, position: 0, chainCrc: 0 },
  usedBytes: 0,
  capacityBytes: 0,
  writtenBytes: 0,
  failed: null,
};

/**
 * Commits what waits as far as there is room, as soon as `company` appends wait, and then wants to be called in a second, as a
 * writer does. No sleep of the explorer ends by its time, so whoever waits for company and is not woken sleeps for ever.
 */
class CountingPump {
  readonly status = status;
  want(): void {}
  wakeAt = Number.POSITIVE_INFINITY;
  enough = 0;
  room: number;
  readonly #sources: readonly RingAppendSource[];
  readonly #company: number;
  readonly #trace: unknown[];
  #sequence = 0;

  constructor(sources: readonly RingAppendSource[], room: number, company: number, trace: unknown[]) {
    this.#sources = sources;
    this.room = room;
    this.#company = company;
    this.#trace = trace;
  }

  nudge(): boolean {
    const counts = this.#sources.map((source) => source.waiting());
    const waiting = counts.reduce((sum, count) => sum + count, 0);
    this.enough = waiting > 0 && waiting < this.#company ? this.#company : 0;
    if (this.enough > 0) return false;
    let more = false;
    for (const [i, source] of this.#sources.entries()) {
      const n = Math.min(this.room, counts[i]!);
      if (n === 0) continue;
      this.room -= n;
      source.durable(n, ++this.#sequence);
      for (let i = 0; i < n; i++) this.#trace.push('durable');
      this.wakeAt = 1000;
      more = true;
    }
    return more;
  }
}

/** Numbers of a volume that has room for every batch. */
function roomyStats(): SharedArrayBuffer {
  const stats = createWalStats();
  new Float64Array(stats).fill(Number.MAX_SAFE_INTEGER, walStats.batchBytesMax, walStats.batchBytesEver + 1);
  return stats;
}

interface Shape {
  /** Of each shard. */
  readonly appends: number;
  readonly shards?: number;
  /** Appends that must wait before any is written. */
  readonly company?: number;
  readonly calls: number;
  /** Appends that find room; each call makes room for one more. */
  readonly room: number;
  readonly completionSlots: number;
}

function run({ appends, shards = 1, company = 1, calls, room, completionSlots }: Shape): void {
  const lanes = Array.from({ length: shards }, () => ({
    appends: createRingMemory(4, appendSlotWords),
    completions: createRingMemory(completionSlots, completionSlotWords),
  }));
  const memory = {
    calls: createRingMemory(4, 1),
    bell: createDoorbellMemory(),
    shardBell: createDoorbellMemory(),
    wish: createBatchWish(),
    stats: roomyStats(),
  };
  const wal = (port: AtomicsPort, trace: unknown[]): void => {
    const bell = attachDoorbell(memory.shardBell, null, port);
    const sources = lanes.map(
      (lane) => new RingAppendSource(new Ring(lane.appends, port), new Ring(lane.completions, port), bell),
    );
    const pump = new CountingPump(sources, room, company, trace);
    const mailbox = new Ring(memory.calls, port);
    const loop = new WalLoop({
      pump,
      sources,
      waiter: new BlockingWaiter(memory.bell, port),
      clock: { monotonic: () => 0 },
      takeCall: () => {
        if (mailbox.available() === 0) return undefined;
        mailbox.consume(1);
        return { id: 1, method: 'status' };
      },
      answers: {
        serve: () => {
          pump.room++;
          trace.push('call');
        },
        publish() {},
      },
      watch: { publish() {} },
      wish: new BatchWish(memory.wish, port),
    });
    const ended = (): boolean => trace.length === shards * appends + calls;
    while (!ended()) loop.turn(ended);
  };
  const shard = (lane: (typeof lanes)[number], port: AtomicsPort): void => {
    const door = new RingWal(
      0,
      logId,
      new Ring(lane.appends, port),
      new Ring(lane.completions, port),
      attachDoorbell(memory.bell, null, port),
      memory.stats,
      new WatchedEpoch(createWriteWatch()),
      new BatchWish(memory.wish, port),
    );
    for (let i = 0; i < appends; i++) {
      assert.notEqual(door.tryAppend(stream(0), 0, 100), 0);
      door.flush();
    }
  };
  const main = (port: AtomicsPort): void => {
    const mailbox = new Ring(memory.calls, port);
    const bell = attachDoorbell(memory.bell, null, port);
    for (let i = 0; i < calls; i++) {
      mailbox.reserve();
      mailbox.publish();
      bell.ring();
    }
  };
  const { schedules, states, failure } = explore({
    memory: [
      ...lanes.flatMap((lane) => [lane.appends.words, lane.completions.words]),
      memory.calls.words,
      memory.bell.words,
      memory.shardBell.words,
      memory.wish,
    ],
    actors: [
      { name: 'wal', run: wal },
      ...lanes.map((lane, i) => ({ name: `shard ${i}`, run: (port: AtomicsPort) => shard(lane, port) })),
      { name: 'main', run: main },
    ],
    atEnd: (ends) => {
      for (const end of ends) assert.ok(end.done, `${end.name} sleeps for ever after ${end.trace}`);
    },
  });
  assert.equal(failure, undefined, `${failure?.message}\n${failure?.steps.join('\n')}`);
  process.stdout.write(`    ${schedules.toPrecision(3)} schedules through ${states} states\n`);
  assert.ok(schedules > 1000);
}

test('no append is slept over while a superblock is due later', () =>
  run({ appends: 3, calls: 0, room: 3, completionSlots: 4 }));

test('no call is slept over', () => run({ appends: 1, calls: 2, room: 1, completionSlots: 4 }));

test('a call that makes room wakes the thread for the append that waits', () =>
  run({ appends: 2, calls: 1, room: 1, completionSlots: 4 }));

test('the append that completes the company wakes the thread, whatever else does', () =>
  run({ appends: 2, calls: 1, room: 3, company: 2, completionSlots: 4 }));

test('two shards complete a company together, neither of which could alone', () =>
  run({ appends: 1, shards: 2, calls: 0, room: 2, company: 2, completionSlots: 4 }));

/** A loop over a real writer whose sleeps are recorded instead of slept, and which ends at the first of them. */
async function overWriter(settings: WalWriterSettings, ringBytes: number) {
  const disk = new FaultDisk();
  const clock = new VirtualClock();
  const maker = new BatchMaker(4 * 1024 * 1024);
  const capacityBytes = ringStartBytes + ringBytes;
  await formatWal(disk, { crc32c, logId, clusterId, node: 5, capacityBytes, initialBytes: capacityBytes });
  const recovered = await recoverWal(disk, { crc32c, expectClusterId: clusterId });
  const writer = WalWriter.resume(
    { device: disk, clock, arena: maker, crc32c, settings: { lingerMs: 0, ...settings } },
    recovered,
    1,
  );
  const appends = createRingMemory(64, appendSlotWords);
  const completions = createRingMemory(64, completionSlotWords);
  const bell = createDoorbellMemory();
  const wish = createBatchWish();
  const walBell = attachDoorbell(bell);
  let rung = 0;
  const counted = {
    ring(): void {
      rung++;
      walBell.ring();
    },
  };
  const source = new RingAppendSource(
    new Ring(appends),
    new Ring(completions),
    attachDoorbell(createDoorbellMemory()),
  );
  writer.addSource(source);
  const door = new RingWal(
    0,
    logId,
    new Ring(appends),
    new Ring(completions),
    counted,
    roomyStats(),
    new WatchedEpoch(createWriteWatch()),
    new BatchWish(wish),
  );
  const calls: WalCall[] = [];
  const sleeps: number[] = [];
  let beforeSleep = (): void => {};
  const waiter = new BlockingWaiter(bell, {
    ...portOf(systemAtomics),
    store: (words, index, value) => {
      const before = beforeSleep;
      beforeSleep = () => {};
      const stored = Atomics.store(words, index, value);
      before();
      return stored;
    },
    wait: (_words, _index, _value, timeoutMs) => {
      sleeps.push(timeoutMs ?? -1);
      return 'timed-out';
    },
  });
  const loop = new WalLoop({
    pump: writer,
    sources: [source],
    waiter,
    clock,
    takeCall: () => calls.shift(),
    answers: {
      serve: (call) => {
        if (call.method === 'trim') writer.trim(call.cut, () => {});
      },
      publish() {},
    },
    watch: { publish() {} },
    wish: new BatchWish(wish),
  });
  return {
    clock,
    writer,
    calls,
    append(length: number): void {
      const batch = maker.make(0, length);
      assert.notEqual(door.tryAppend(batch.stream, batch.position, batch.length), 0);
      door.flush();
    },
    rings: () => rung,
    onceArmed(then: () => void): void {
      beforeSleep = then;
    },
    /** Turns until the loop sleeps, and for how long it would. */
    untilSleep(): { turns: number; sleepMs: number } {
      sleeps.length = 0;
      let turns = 0;
      while (sleeps.length === 0) {
        loop.turn(() => false);
        if (++turns > 1000) throw new Error('the loop does not come to rest');
      }
      return { turns, sleepMs: sleeps[0]! };
    },
  };
}

function portOf(atomics: AtomicsPort): AtomicsPort {
  return {
    load: (w, i) => atomics.load(w, i),
    store: (w, i, v) => atomics.store(w, i, v),
    add: (w, i, v) => atomics.add(w, i, v),
    sub: (w, i, v) => atomics.sub(w, i, v),
    exchange: (w, i, v) => atomics.exchange(w, i, v),
    compareExchange: (w, i, e, r) => atomics.compareExchange(w, i, e, r),
    notify: (w, i, n) => atomics.notify(w, i, n),
    wait: (w, i, v, t) => atomics.wait(w, i, v, t),
  };
}

test('an append that comes while the thread arms its doorbell is written before it sleeps', async () => {
  const { untilSleep, append, onceArmed, writer } = await overWriter({}, 1024 * 1024);
  append(1000);
  onceArmed(() => append(2000));
  const { sleepMs } = untilSleep();
  assert.equal(writer.status.cut.sequence, 2, 'both, in commits of their own');
  assert.equal(sleepMs, 1000, 'until the superblock is due');
});

test('a full ring with an append that waits leaves the thread asleep, and a trim wakes it', async () => {
  const { untilSleep, append, writer, calls, clock, onceArmed } = await overWriter({}, 256 * 1024);
  for (let i = 0; i < 3; i++) {
    append(60_000);
    untilSleep();
  }
  append(60_000);
  const full = untilSleep();
  assert.equal(writer.status.cut.sequence, 3);
  assert.equal(full.sleepMs, 1000);
  clock.advance(1000);
  const stated = untilSleep();
  assert.equal(stated.sleepMs, Number.POSITIVE_INFINITY, 'the superblock is written: nothing to do');
  assert.equal(stated.turns, 1);
  onceArmed(() => calls.push({ id: 1, method: 'trim', cut: writer.status.cut }));
  untilSleep();
  assert.equal(writer.status.cut.sequence, 5, 'a pad, and the append that waited');
});

test('an append that waits for its budget is slept for, not looked at over and over', async () => {
  const { untilSleep, append, clock, writer } = await overWriter({ bandwidth: 1_000_000 }, 8 * 1024 * 1024);
  untilSleep();
  clock.advance(10_000);
  append(1_500_000);
  untilSleep();
  append(1_000_000);
  const { turns, sleepMs } = untilSleep();
  assert.equal(writer.status.cut.sequence, 1);
  assert.ok(sleepMs > 100 && sleepMs < 3000, `${sleepMs}`);
  assert.ok(turns < 8, `${turns}`);
});

test('appends that come while a commit waits for company are no news before there are enough', async () => {
  const { untilSleep, append, clock, writer, onceArmed, rings } = await overWriter(
    { lingerMs: 2 },
    8 * 1024 * 1024,
  );
  untilSleep();
  // Eight a millisecond, so sixteen are company.
  for (let i = 0; i < 200; i++) {
    for (let k = 0; k < 8; k++) append(100);
    clock.advance(1);
    untilSleep();
    clock.advance(1);
    untilSleep();
  }
  const before = writer.status.cut.sequence;
  append(100);
  const ringsBefore = rings();
  onceArmed(() => append(100));
  const first = untilSleep();
  assert.equal(first.turns, 1, 'the second is slept over');
  assert.ok(first.sleepMs > 0 && first.sleepMs <= 2, `${first.sleepMs}`);
  assert.equal(rings(), ringsBefore, 'and does not ring');
  onceArmed(() => {
    for (let k = 0; k < 16; k++) append(100);
  });
  untilSleep();
  assert.equal(writer.status.cut.sequence, before + 1, 'enough are written at once');
  const ringsIdle = rings();
  onceArmed(() => append(100));
  untilSleep();
  assert.equal(rings(), ringsIdle + 1, 'where none waits, the first rings');
});

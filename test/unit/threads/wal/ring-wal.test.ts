import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamId } from '../../../../src/ports/stream-id.ts';
import { type AppendEntry, appendRefused } from '../../../../src/stream/wal/wal.ts';
import { createRingMemory, Ring } from '../../../../src/threads/memory/ring.ts';
import { BatchWish, createBatchWish } from '../../../../src/threads/wal/batch-wish.ts';
import {
  appendSlotWords,
  completionSlotWords,
  createWalStats,
  walStats,
} from '../../../../src/threads/wal/contract.ts';
import { RingAppendSource } from '../../../../src/threads/wal/ring-append-source.ts';
import { RingWal } from '../../../../src/threads/wal/ring-wal.ts';
import {
  createWriteWatch,
  WatchedEpoch,
  WatchedWrites,
  WriteJudge,
} from '../../../../src/threads/wal/write-watch.ts';

const stream = streamId('AAECAwQFBgcICQoLDA0ODw', 77);

function setup(options: { appendSlots?: number; completionSlots?: number } = {}) {
  const appends = createRingMemory(options.appendSlots ?? 16, appendSlotWords);
  const completions = createRingMemory(options.completionSlots ?? 16, completionSlotWords);
  const bell = { ring() {} };
  const watch = createWriteWatch();
  const stats = createWalStats();
  const numbers = new Float64Array(stats);
  numbers[walStats.batchBytesMax] = 1 << 20;
  numbers[walStats.batchBytesEver] = 8 << 20;
  const rings: { rung: number } = { rung: 0 };
  const walBell = { ring: () => void rings.rung++ };
  const wish = createBatchWish();
  const wal = new RingWal(
    0,
    'log',
    new Ring(appends),
    new Ring(completions),
    walBell,
    stats,
    new WatchedEpoch(watch),
    new BatchWish(wish),
  );
  const source = new RingAppendSource(new Ring(appends), new Ring(completions), bell);
  const durable: [number, number][] = [];
  const returned: boolean[] = [];
  const failures: Error[] = [];
  const held: boolean[] = [];
  wal.onDurable = (through, sequence) => durable.push([through, sequence]);
  wal.onFailed = (error, outstanding) => {
    failures.push(error);
    held.push(outstanding);
  };
  wal.onReturned = () => returned.push(true);
  return { wal, source, durable, failures, held, returned, watch, numbers, rings, wish: new BatchWish(wish) };
}

test('the thread is rung once there are as many appends as it awaits', () => {
  const { wal, source, rings } = setup();
  const append = (): void => {
    assert.ok(wal.tryAppend(stream, 0, 4096) > 0);
    wal.flush();
  };
  append();
  assert.equal(rings.rung, 1);
  source.look();
  source.await(3);
  append();
  append();
  assert.deepEqual([rings.rung, source.fresh], [1, false]);
  append();
  assert.deepEqual([rings.rung, source.fresh], [2, true]);
  source.look();
  source.await(Number.POSITIVE_INFINITY);
  append();
  assert.deepEqual([rings.rung, source.fresh], [2, false], 'none is awaited');
  source.look();
  source.await(0);
  append();
  assert.deepEqual([rings.rung, source.fresh], [3, true], 'any is');
});

test('an append crosses with its stream and place, also above 2^31', () => {
  const { wal, source } = setup();
  assert.equal(wal.tryAppend(stream, 2 ** 32 - 8192, 4096), 1);
  assert.equal(source.waiting(), 0, 'nothing is seen before the flush');
  wal.flush();
  assert.equal(source.waiting(), 1);
  const entry: AppendEntry = {
    topic0: 0,
    topic1: 0,
    topic2: 0,
    topic3: 0,
    partition: 0,
    position: 0,
    length: 0,
  };
  source.read(0, entry);
  assert.deepEqual([entry.topic0, entry.topic1, entry.topic2, entry.topic3], [...stream.words]);
  assert.deepEqual([entry.partition, entry.position, entry.length], [77, 2 ** 32 - 8192, 4096]);
});

test('a full ring refuses, and takes again once appends are durable', () => {
  const { wal, source, durable } = setup({ appendSlots: 4 });
  for (let i = 1; i <= 4; i++) assert.equal(wal.tryAppend(stream, 0, 1), i);
  assert.equal(wal.tryAppend(stream, 0, 1), 0);
  wal.flush();
  assert.equal(source.waiting(), 4);
  source.durable(4, 9);
  wal.poll();
  assert.deepEqual(durable, [[4, 9]]);
  assert.equal(wal.tryAppend(stream, 0, 1), 5);
});

test('drain delivers every completion sent before it, also those behind an earlier look at the ring', () => {
  const { wal, source, durable } = setup();
  for (let i = 0; i < 3; i++) wal.tryAppend(stream, 0, 1);
  wal.flush();
  assert.equal(source.waiting(), 3);
  source.durable(1, 1);
  assert.equal(wal.pending(), true, 'this look remembers one completion');
  source.durable(1, 2);
  source.durable(1, 3);
  wal.drain();
  assert.deepEqual(durable, [
    [1, 1],
    [2, 2],
    [3, 3],
  ]);
});

test('completions that find no slot are told later, one a commit, and the writer knows that it is behind', () => {
  const { wal, source, durable } = setup({ completionSlots: 2 });
  for (let i = 0; i < 5; i++) wal.tryAppend(stream, 0, 1);
  wal.flush();
  assert.equal(source.waiting(), 5);
  for (let i = 1; i <= 5; i++) source.durable(1, i);
  assert.equal(source.behind, true);
  for (let round = 0; round < 3; round++) {
    wal.poll();
    source.tell();
  }
  wal.poll();
  assert.equal(source.behind, false);
  assert.deepEqual(
    durable,
    [1, 2, 3, 4, 5].map((n) => [n, n]),
  );
});

test('a failed epoch is told once, behind what was durable before it, and refuses appends', () => {
  const { wal, source, durable, failures } = setup();
  wal.tryAppend(stream, 0, 1);
  wal.tryAppend(stream, 0, 1);
  wal.flush();
  assert.equal(source.waiting(), 2);
  source.durable(1, 7);
  source.failed();
  wal.drain();
  assert.deepEqual(durable, [[1, 7]]);
  assert.equal(failures.length, 1);
  assert.equal(wal.tryAppend(stream, 0, 1), 0);
});

test('an epoch that main has ended: what was told before counts, nothing after, memory is held until the write returns', () => {
  const { wal, source, durable, failures, held, returned, watch } = setup();
  const writes = new WatchedWrites(watch);
  for (let i = 0; i < 3; i++) wal.tryAppend(stream, 4096 * i, 100);
  wal.flush();
  source.waiting();
  source.durable(1, 7);
  writes.begin(1_000);
  assert.equal(wal.pending(), true);
  assert.equal(new WriteJudge(watch).judge(31_000, 30_000), true);
  wal.poll();
  assert.deepEqual(durable, [[1, 7]]);
  assert.equal(failures.length, 1);
  assert.deepEqual(held, [true]);
  assert.equal(wal.pending(), false);
  assert.equal(wal.tryAppend(stream, 0, 100), 0, 'refused from now on');
  assert.deepEqual(returned, []);
  assert.equal(writes.end(), false);
  source.failed();
  assert.equal(wal.pending(), true);
  wal.poll();
  assert.deepEqual(returned, [true]);
  assert.equal(failures.length, 1);
  assert.deepEqual(durable, [[1, 7]]);
});

test('a batch that the ring is too short for is refused and wished for, one that never fits is refused for good', () => {
  const { wal, numbers, rings, wish } = setup();
  assert.equal(wal.tryAppend(stream, 0, 3 << 20), appendRefused.noRoom);
  assert.equal(wish.bytes, 3 << 20);
  assert.equal(rings.rung, 1, 'the thread is woken to grow');
  assert.equal(wal.tryAppend(stream, 0, 2 << 20), appendRefused.noRoom);
  assert.equal(wish.bytes, 3 << 20, 'only ever raised');
  assert.equal(rings.rung, 1, 'for more than was wished for only');
  assert.equal(wal.tryAppend(stream, 0, 9 << 20), appendRefused.tooLong);
  numbers[walStats.batchBytesMax] = 4 << 20;
  assert.equal(wal.tryAppend(stream, 0, 3 << 20), 1, 'numbers go on');
  numbers[walStats.batchBytesEver] = 4 << 20;
  assert.equal(wal.tryAppend(stream, 0, 5 << 20), appendRefused.tooLong, 'growth has ended');
});

test('nothing is refused for good before the thread has begun', () => {
  const { wal, numbers } = setup();
  numbers.fill(0);
  assert.equal(wal.tryAppend(stream, 0, 100), appendRefused.noRoom);
});

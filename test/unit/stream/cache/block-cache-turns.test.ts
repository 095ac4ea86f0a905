/** Who gets the next load: readers by turns, within the read budget, nobody for those who have gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockCache, type BlockHandle, type BlockLoader } from '../../../../src/stream/cache/block-cache.ts';
import { LocalBudget } from '../../../../src/stream/cache/block-slabs.ts';
import type { Reader } from '../../../../src/stream/cache/fair-queue.ts';
import { ReadBudget } from '../../../../src/stream/cache/read-budget.ts';
import type { IndexEntry } from '../../../../src/stream/objects/objects.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { coded, turns } from '../../../support/stream-objects.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const segmentBytes = 1000;

/** Remembers what was loaded; each load ends when the test says so, or at once. */
class SlowLoader implements BlockLoader {
  readonly loads: { readonly objectId: string; readonly blocks: number[]; readonly at: number }[] = [];
  held = false;
  readonly #clock: VirtualClock;
  readonly #gates: (() => void)[] = [];

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  async loadBlocks(objectId: string, entries: readonly IndexEntry[]): Promise<void> {
    this.loads.push({ objectId, blocks: entries.map((e) => e.baseOffset), at: this.#clock.monotonic() });
    if (this.held) await new Promise<void>((resolve) => this.#gates.push(resolve));
  }

  /** Ends the oldest load. */
  finish(): void {
    this.#gates.shift()?.();
  }
}

function block(number: number, size = 400): IndexEntry {
  const stream = { topicId: 'A'.repeat(22), partition: 0, leaderEpoch: 0, maxTimestamp: 0, crc: 0 };
  return { ...stream, baseOffset: number, lastOffset: number, position: 32 + number * size, size };
}

function setUp(options: { segments?: number; loadsMax?: number; requests?: number; bytes?: number } = {}) {
  const clock = new VirtualClock();
  const arena = new HeapArena({ segmentBytes, segmentCount: 64 });
  const loader = new SlowLoader(clock);
  const budgetBytes = (options.segments ?? 32) * segmentBytes;
  const cache = new BlockCache({
    arena,
    budget: new LocalBudget(budgetBytes),
    budgetBytes,
    loader,
    clock,
    loadsMax: options.loadsMax ?? 16,
    readBudget: new ReadBudget(clock, {
      requestsPerSecond: options.requests ?? 0,
      bytesPerSecond: options.bytes ?? 0,
    }),
  });
  const read = (reader: Reader, objectId: string, number: number, gone?: () => boolean) =>
    cache.read(objectId, block(number), { deadline: 1e9, reader, ...(gone === undefined ? {} : { gone }) });
  return { clock, loader, cache, read };
}

test('a greedy reader does not hold up ten others', async () => {
  const { loader, read } = setUp({ loadsMax: 2 });
  loader.held = true;
  const reads: Promise<unknown>[] = [];
  const take = (reader: Reader, objectId: string, number: number) =>
    reads.push(read(reader, objectId, number).then((handle) => handle.release()));
  for (let n = 0; n < 60; n++) take('greedy', 'g', n * 2);
  for (let r = 0; r < 10; r++) take(r, 'o', r * 2);
  for (let round = 0; round < 70; round++) {
    await turns();
    loader.finish();
  }
  await Promise.all(reads);
  const last = loader.loads.findLastIndex(({ objectId }) => objectId === 'o');
  assert(last <= 15, `the last of ten readers was load number ${last} of ${loader.loads.length}`);
});

test('equal positions of two objects are two blocks', async () => {
  const { loader, read } = setUp();
  (await read('r', 'one', 3)).release();
  (await read('r', 'two', 3)).release();
  (await read('r', 'one', 3)).release();
  assert.deepEqual(
    loader.loads.map(({ objectId }) => objectId),
    ['one', 'two'],
  );
});

test('requests per second hold; what waits for them is served when its time comes', async () => {
  const { clock, loader, cache, read } = setUp({ requests: 10, segments: 64 });
  const reads = Array.from({ length: 30 }, (_, n) => read(n % 3, 'o', n * 2));
  await turns();
  assert.equal(loader.loads.length, 1);
  for (let step = 0; step < 300; step++) {
    clock.advance(10);
    await turns(5);
  }
  for (const handle of await Promise.all(reads)) handle.release();
  const perSecond = [0, 1, 2].map(
    (second) => loader.loads.filter(({ at }) => Math.floor(at / 1000) === second).length,
  );
  assert(
    perSecond.every((count) => count >= 8 && count <= 11),
    perSecond.join(),
  );
  assert.equal(cache.counters.heldBack, 29);
});

test('bytes per second hold, for what is loaded ahead as well', async () => {
  const { clock, loader, cache } = setUp({ bytes: 4000, segments: 64 });
  let loaded = 0;
  for (let step = 0, next = 0; step < 500; step++) {
    const entries = [block(next), block(next + 1)];
    next += cache.prefetch('o', entries, 'r');
    clock.advance(10);
    await turns(5);
    cache.trim();
    loaded = cache.counters.loadedBytes;
  }
  assert(loader.loads.length > 0 && loaded >= 19_000 && loaded <= 22_000, `${loaded} bytes in 5 s at 4000/s`);
});

test('nothing is loaded ahead while a reader waits', async () => {
  const { loader, cache, read } = setUp({ loadsMax: 1 });
  loader.held = true;
  const first = read('a', 'o', 0);
  const second = read('b', 'o', 10);
  assert.equal(cache.prefetch('o', [block(20)], 'a'), 0);
  await turns();
  loader.finish();
  await turns();
  loader.finish();
  for (const handle of await Promise.all([first, second])) handle.release();
});

test('what nobody waits for any more is not loaded', async () => {
  const { loader, cache, read } = setUp({ loadsMax: 1 });
  loader.held = true;
  const first = read('a', 'o', 0);
  let closed = false;
  const gone = assert.rejects(
    read('b', 'o', 10, () => closed),
    coded('BLOCK_CACHE_FULL'),
  );
  const shared = read('b', 'o', 20, () => closed);
  const stays = read('c', 'o', 20);
  await turns();
  closed = true;
  for (let round = 0; round < 3; round++) {
    loader.finish();
    await turns();
  }
  await gone;
  (await shared).release();
  (await first).release();
  (await stays).release();
  assert.deepEqual(
    loader.loads.map(({ blocks }) => blocks[0]),
    [0, 20],
    'a block that another one waits for too is loaded',
  );
  assert.equal(cache.counters.givenUp, 1);
});

test('a missed block brings those behind it with the same request, as far as a segment reaches', async () => {
  const { loader, cache } = setUp();
  const wait = { deadline: 1e9, reader: 'r', ahead: [block(1), block(2), block(3)] };
  const [handle] = await cache.readAll('o', [block(0)], wait);
  handle!.release();
  assert.deepEqual(
    loader.loads.map(({ blocks }) => blocks),
    [[0, 1]],
  );
  (await cache.read('o', block(1), { deadline: 1e9, reader: 'r' })).release();
  assert.equal(loader.loads.length, 1);
  assert.equal(cache.counters.aheadUsedBytes, 400);
});

test('when memory is short a run shrinks to its first block; who waits for a later one still gets it', async () => {
  const { loader, cache } = setUp({ segments: 4 });
  const wait = (reader: Reader) => ({ deadline: 1e9, reader });
  const held: BlockHandle[] = [];
  for (const n of [0, 2, 4, 6]) held.push(await cache.read('h', block(n, 900), wait('h')));
  const other = cache.read('q', block(0, 500), wait('b'));
  let ended = false;
  const run = cache.readAll('o', [block(0), block(1)], wait('a')).finally(() => {
    ended = true;
  });
  const later = cache.read('o', block(1), wait('c'));
  await turns();
  assert.equal(cache.queued, 2);
  held[0]!.release();
  await turns();
  assert.equal(ended, true, 'it holds its first block, so it does not wait for memory');
  const got = await run;
  assert.equal(got.length, 1);
  assert.equal(cache.queued, 1, 'the second block has somebody who waits for it first of all');
  held[1]!.release();
  await turns();
  assert.deepEqual(
    loader.loads.slice(-3).map(({ objectId, blocks }) => [objectId, ...blocks]),
    [
      ['q', 0],
      ['o', 0],
      ['o', 1],
    ],
  );
  for (const handle of [...got, await other, await later, held[2]!, held[3]!]) handle.release();
});

test('blocks loaded ahead outlive what was read, until nothing else is left to evict', async () => {
  const { loader, cache, read } = setUp({ segments: 6 });
  assert.equal(cache.prefetch('o', [block(0), block(1)], 'r'), 2);
  await turns();
  for (let n = 0; n < 30; n++) (await read('s', 'p', n * 2)).release();
  const before = loader.loads.length;
  (await read('r', 'o', 0)).release();
  (await read('r', 'o', 1)).release();
  assert.equal(loader.loads.length, before, 'both are still there');
  assert.equal(cache.counters.aheadUnusedBytes, 0);
  for (let n = 0; n < 30; n++) (await read('s', 'q', n * 2)).release();
  assert.equal(cache.has('o', block(0)), false, 'once read it is evicted like any other');

  // Whoever loaded ahead has left: its blocks go in the end.
  cache.prefetch('o', [block(50), block(51)], 'r');
  for (let n = 0; n < 200; n++) (await read('s', 't', n * 2)).release();
  assert.equal(cache.has('o', block(50)), false);
  assert.equal(cache.counters.aheadUnusedBytes, 800);
});

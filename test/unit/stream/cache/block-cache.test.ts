/** The block cache's promises: one load per block, bounds on memory, loads and waiting, nothing evicted under a reader. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MillraceError } from '../../../../src/ports/errors.ts';
import { BlockCache, type BlockHandle, type BlockLoader } from '../../../../src/stream/cache/block-cache.ts';
import { LocalBudget } from '../../../../src/stream/cache/block-slabs.ts';
import type { BlockWait } from '../../../../src/stream/cache/cached-block.ts';
import type { Reader } from '../../../../src/stream/cache/fair-queue.ts';
import type { IndexEntry } from '../../../../src/stream/objects/objects.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { coded, turns } from '../../../support/stream-objects.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const segmentBytes = 1000;

/** Fills blocks with their number; holds every load until the test settles it when `held`. */
class TestLoader implements BlockLoader {
  readonly loads: { readonly entries: readonly IndexEntry[]; settle(error?: Error): void }[] = [];
  held = false;
  damaged = -1;
  readonly #arena: HeapArena;

  constructor(arena: HeapArena) {
    this.#arena = arena;
  }

  async loadBlocks(_objectId: string, entries: readonly IndexEntry[], position: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error) => (error === undefined ? resolve() : reject(error));
      this.loads.push({ entries, settle });
      if (!this.held) settle();
    });
    if (entries.some((entry) => entry.baseOffset === this.damaged)) {
      throw new MillraceError('corrupt', 'OBJECT_CORRUPT', 'damaged');
    }
    let at = position;
    for (const entry of entries) {
      this.#arena.buffer.fill(entry.baseOffset, at, at + entry.size);
      at += entry.size;
    }
  }
}

/** Block `number` of a stream whose blocks of `size` bytes lie next to each other. */
function block(number: number, size = 400): IndexEntry {
  const position = 32 + number * size;
  const stream = { topicId: 'A'.repeat(22), partition: 0, leaderEpoch: 0, maxTimestamp: 0, crc: 0 };
  return { ...stream, baseOffset: number, lastOffset: number, position, size };
}

/** Waits until then. */
function by(deadline: number, reader: Reader = 'r'): BlockWait {
  return { deadline, reader };
}

function setUp(
  options: { segments?: number; loadsMax?: number; queuedMax?: number; arenaSegments?: number } = {},
) {
  const clock = new VirtualClock();
  const arena = new HeapArena({ segmentBytes, segmentCount: options.arenaSegments ?? 64 });
  const loader = new TestLoader(arena);
  const budgetBytes = (options.segments ?? 4) * segmentBytes;
  const budget = new LocalBudget(budgetBytes);
  const { loadsMax = 16, queuedMax = 100 } = options;
  const cache = new BlockCache({
    arena,
    budget,
    budgetBytes,
    loader,
    clock,
    loadsMax,
    queuedMax,
    runBytesMax: 800,
  });
  const check = (handle: BlockHandle, number: number) => {
    for (let i = 0; i < handle.length; i++) assert.equal(arena.buffer[handle.position + i], number);
  };
  return { clock, arena, loader, budget, cache, check };
}

test('readers of one block share one load', async () => {
  const { cache, loader, check } = setUp();
  loader.held = true;
  const reads = [
    cache.read('o', block(7), by(1e6)),
    cache.read('o', block(7), by(1e6)),
    cache.read('o', block(7), by(1e6)),
  ];
  await turns();
  assert.equal(loader.loads.length, 1);
  loader.loads[0]!.settle();
  const handles = await Promise.all(reads);
  for (const handle of handles) {
    check(handle, 7);
    handle.release();
  }
  (await cache.read('o', block(7), by(1e6))).release();
  assert.equal(loader.loads.length, 1);
});

test('blocks next to each other come with one request, to the maximum of a request', async () => {
  const { cache, loader, check } = setUp({ segments: 8 });
  const handles = await cache.readAll('o', [block(1), block(2), block(3), block(9)], by(1e6));
  assert.deepEqual(
    loader.loads.map((load) => load.entries.map((e) => e.baseOffset)),
    [[1, 2], [3], [9]],
  );
  for (const [i, number] of [1, 2, 3, 9].entries()) check(handles[i]!, number);
  for (const handle of handles) handle.release();
});

test('a held block is never evicted: readers wait for a release, in order, up to the queue and their deadlines', async () => {
  const { cache, clock, check, budget } = setUp({ segments: 4, queuedMax: 2 });
  const held: BlockHandle[] = [];
  for (let n = 0; n < 4; n++) held.push(await cache.read('o', block(n * 2, 900), by(1e6)));
  assert.equal(budget.used, 4 * segmentBytes);

  const order: string[] = [];
  const first = cache.read('o', block(20, 900), by(1e6)).then((handle) => {
    order.push('first');
    return handle;
  });
  const second = cache.read('o', block(30, 900), by(50)).catch((error: unknown) => {
    order.push('second');
    throw error;
  });
  const secondFails = assert.rejects(second, coded('BLOCK_CACHE_FULL'));
  await turns();
  assert.equal(cache.queued, 2);
  await assert.rejects(
    cache.read('o', block(40, 900), by(1e6)),
    coded('BLOCK_CACHE_FULL'),
    'the queue has a bound',
  );
  clock.advance(60);
  await secondFails;
  assert.equal(cache.queued, 1, 'a block that nobody waits for leaves the queue');
  for (const [i, handle] of held.entries()) check(handle, i * 2);

  held[2]!.release();
  const handle = await first;
  check(handle, 20);
  check(held[3]!, 6);
  assert.deepEqual(order, ['second', 'first']);
});

test('a small block does not overtake a large one that waits', async () => {
  const { cache } = setUp({ segments: 4 });
  const held = await cache.readAll(
    'o',
    [block(1, 900), block(3, 900), block(5, 900), block(7, 300)],
    by(1e6),
  );
  assert.equal(held.length, 4);
  let served = false;
  const large = cache.read('p', block(1, 1900), by(1e6));
  const small = cache.read('p', block(40, 100), by(1e6)).then((handle) => {
    served = true;
    return handle;
  });
  await turns();
  assert.deepEqual([served, cache.queued], [false, 2]);
  held[0]!.release();
  held[1]!.release();
  (await large).release();
  (await small).release();
});

test('memory taken by others is looked for again', async () => {
  const { cache, clock, arena } = setUp({ segments: 4, arenaSegments: 2 });
  const taken = arena.acquireRun(2);
  const read = cache.read('o', block(1), by(1e6));
  await turns();
  arena.release(taken);
  clock.advance(20);
  (await read).release();
});

test('loads in flight are bounded', async () => {
  const { cache, loader } = setUp({ segments: 20, loadsMax: 2 });
  loader.held = true;
  const reads = [0, 2, 4, 6, 8].map((n) => cache.read('o', block(n), by(1e6)));
  for (let done = 0; done < 5; done++) {
    await turns();
    assert.equal(loader.loads.length, Math.min(5, done + 2));
    loader.loads[done]!.settle();
  }
  for (const handle of await Promise.all(reads)) handle.release();
});

test('a failed load fails its readers and is tried afresh by the next', async () => {
  const { cache, loader, check } = setUp();
  loader.held = true;
  const reads = [cache.read('o', block(1), by(1e6)), cache.read('o', block(1), by(1e6))];
  const failures = reads.map((read) => assert.rejects(read, coded('STORE_UNAVAILABLE')));
  await turns();
  loader.loads[0]!.settle(new MillraceError('unavailable', 'STORE_UNAVAILABLE', 'no answer'));
  await Promise.all(failures);
  loader.held = false;
  const handle = await cache.read('o', block(1), by(1e6));
  check(handle, 1);
  handle.release();
});

test('a damaged block does not spoil those read with it', async () => {
  const { cache, loader, check } = setUp();
  loader.damaged = 2;
  const handles = await cache.readAll('o', [block(1), block(2)], by(1e6));
  assert.equal(handles.length, 1);
  check(handles[0]!, 1);
  await assert.rejects(cache.read('o', block(2), by(1e6)), coded('OBJECT_CORRUPT'));
  handles[0]!.release();
});

test('a store that does not answer costs the reader its deadline, not more', async () => {
  const { cache, clock, loader } = setUp();
  loader.held = true;
  const slow = assert.rejects(cache.read('o', block(1), by(30)), coded('BLOCK_READ_SLOW'));
  await turns();
  clock.advance(31);
  await slow;
  loader.loads[0]!.settle();
  await turns();
  (await cache.read('o', block(1), by(1e6))).release();
  assert.equal(loader.loads.length, 1, 'the late answer is kept');
});

test('blocks loaded ahead hold at most half the budget, and one larger than it is refused at once', async () => {
  const { cache, budget } = setUp({ segments: 4 });
  const ahead = Array.from({ length: 20 }, (_, n) => block(n));
  assert.equal(cache.prefetch('o', ahead, 'r'), 5);
  await turns();
  assert(budget.used <= 3 * segmentBytes, `${budget.used}`);
  await assert.rejects(cache.read('o', block(1, 5000), by(1e6)), coded('BLOCK_TOO_LARGE'));
});

test('close fails who waits; after the last release all memory is back', async () => {
  const { cache, budget, arena } = setUp({ segments: 1 });
  const handle = await cache.read('o', block(1, 900), by(1e6));
  const waiting = assert.rejects(cache.read('o', block(2, 900), by(1e6)), coded('BLOCK_CACHE_CLOSED'));
  await turns();
  cache.close();
  await waiting;
  handle.release();
  assert.throws(() => handle.release(), coded('BLOCK_RELEASED_TWICE'));
  cache.trim();
  assert.deepEqual([budget.used, arena.freeSegments()], [0, 64]);
});

test('random readers: right bytes, never over budget, no memory lost', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { cache, clock, arena, budget, check } = setUp({ segments: 5, loadsMax: 3, queuedMax: 1000 });
    const random = new SeededRandom(seed);
    const held: { handle: BlockHandle; number: number }[] = [];
    let served = 0;
    const reads: Promise<void>[] = [];
    for (let step = 0; step < 400; step++) {
      const number = random.below(40);
      const wanted = Array.from({ length: 1 + random.below(3) }, (_, i) => block(number + i));
      if (random.chance(0.1)) cache.prefetch('o', wanted, random.below(3));
      else {
        reads.push(
          cache.readAll('o', wanted, by(clock.monotonic() + 500, random.below(3))).then(
            (handles) => {
              served++;
              for (const [i, handle] of handles.entries()) held.push({ handle, number: number + i });
            },
            (error: unknown) => assert(coded('BLOCK_CACHE_FULL')(error)),
          ),
        );
      }
      await turns(5);
      while (held.length > 0 && random.chance(0.75)) {
        const { handle, number: filled } = held.splice(random.below(held.length), 1)[0]!;
        check(handle, filled);
        handle.release();
      }
      assert(budget.used <= 5 * segmentBytes);
      clock.advance(random.below(20));
    }
    for (let round = 0; round < 2000 && (held.length > 0 || cache.queued > 0); round++) {
      for (const { handle, number } of held.splice(0)) {
        check(handle, number);
        handle.release();
      }
      clock.advance(10);
      await turns();
    }
    await Promise.all(reads);
    for (const { handle } of held) handle.release();
    assert(served > 200, `seed ${seed}: ${served} served`);
    cache.trim();
    assert.deepEqual([cache.bytes, arena.freeSegments()], [0, 64], `seed ${seed}`);
  }
});

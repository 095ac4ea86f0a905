/** The ring's geometry and its growth, beside a map of its pages: what is in use is never written over, and nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RingGrowth } from '../../../../src/stream/wal/ring-growth.ts';
import { pageBytes, ringStartBytes } from '../../../../src/stream/wal/wal-limits.ts';
import { WalRing } from '../../../../src/stream/wal/wal-ring.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

const bytes = (pages: number): number => pages * pageBytes;

interface Shape {
  readonly written: number;
  readonly capacity: number;
  readonly chunk: number;
  readonly slice: number;
}

/** Writers of a ring in pages: what each page of it holds, by the page's number since the log began; null: free. */
class Pages {
  readonly ring: WalRing;
  readonly growth: RingGrowth;
  readonly held: (number | null)[];
  /** Pages behind the front ones that were written, as they must be before a commit lies there. */
  zeroed: number;
  tail = 0;
  trim = 0;

  constructor({ written, capacity, chunk, slice }: Shape) {
    this.ring = new WalRing(ringStartBytes + bytes(written), ringStartBytes + bytes(capacity), 0, 0);
    this.growth = new RingGrowth(this.ring, Buffer.alloc(bytes(slice)), bytes(chunk));
    this.held = Array.from({ length: written }, () => null);
    this.zeroed = written;
  }

  get free(): number {
    return this.held.filter((page) => page === null).length;
  }

  /** Free pages one behind the other from a place in the ring. */
  freeFrom(place: number): number {
    let count = 0;
    while (place + count < this.held.length && this.held[place + count] === null) count++;
    return count;
  }

  write(count: number): void {
    let at = (this.ring.filePosition(bytes(this.tail)) - ringStartBytes) / pageBytes;
    for (let i = 0; i < count; i++) {
      assert.equal(this.held[at], null, `page ${at} is in use`);
      this.held[at++] = this.tail++;
    }
    this.ring.advance(bytes(count));
    this.growth.committed();
  }

  release(count: number): void {
    this.trim += count;
    this.ring.trimPosition = bytes(this.trim);
    for (const [at, page] of this.held.entries()) if (page !== null && page < this.trim) this.held[at] = null;
  }

  /** @returns whether the chunk is whole. */
  slice(): boolean {
    const plan = this.growth.slice();
    assert.equal(plan.filePosition, ringStartBytes + bytes(this.zeroed), 'slices lie one behind the other');
    assert.ok(plan.bytes > 0);
    this.zeroed += plan.bytes / pageBytes;
    assert.equal(this.growth.takeChunk() && plan.bytes > 0, false, 'only what is written counts');
    this.growth.sliceWritten(plan.bytes);
    if (!this.growth.takeChunk()) return false;
    while (this.held.length < this.zeroed) this.held.push(null);
    return true;
  }
}

test('room is what is free behind the tail, or from the start behind a pad, lap after lap', () => {
  const random = new SeededRandom(8);
  for (let round = 0; round < 40; round++) {
    const size = 3 + random.below(20);
    const pages = new Pages({ written: size, capacity: size, chunk: 4, slice: 1 });
    const { ring } = pages;
    for (let step = 0; step < 80; step++) {
      const place = pages.tail % size;
      assert.equal(ring.growable, false);
      assert.equal(ring.ringBytes, bytes(size));
      assert.equal(ring.tailOffset, bytes(place));
      assert.equal(ring.usedBytes, bytes(size - pages.free));
      assert.equal(ring.freeBytes, bytes(pages.free));
      assert.equal(ring.bytesToEnd, bytes(size - place));
      assert.equal(ring.roomAtTail, bytes(pages.freeFrom(place)));
      const padded = pages.freeFrom(place) === size - place ? pages.freeFrom(0) : 0;
      assert.equal(ring.roomAtStart, bytes(pages.free === size ? place : padded));
      if (random.below(3) === 0) pages.release(random.below(pages.tail - pages.trim + 1));
      else if (pages.freeFrom(place) > 0) pages.write(1 + random.below(pages.freeFrom(place)));
    }
  }
});

test('during its first lap a ring grows chunk by chunk ahead of the tail, up to what the volume may take', () => {
  const random = new SeededRandom(9);
  for (let round = 0; round < 40; round++) {
    const chunk = 2 + random.below(6);
    // From there on a batch fits at all.
    const written = 8 + random.below(4);
    const capacity = written + random.below(4 * chunk);
    const slice = 1 + random.below(chunk);
    const pages = new Pages({ written, capacity, chunk, slice });
    const { ring, growth } = pages;
    while (pages.tail < 3 * capacity) {
      const lap = pages.tail <= pages.held.length && pages.held.length < capacity;
      assert.equal(ring.growable, lap);
      const toEnd = pages.held.length - pages.tail;
      assert.equal(growth.wanted, lap && toEnd < chunk, `${toEnd} pages are left of a chunk of ${chunk}`);
      const target = Math.min(chunk, capacity - pages.held.length);
      const grown = pages.zeroed - pages.held.length;
      assert.equal(growth.pressed, growth.wanted && grown < target - toEnd);
      if (growth.pressed || (growth.wanted && random.below(2) === 0)) {
        const before = pages.held.length;
        assert.equal(pages.slice(), grown + Math.min(slice, target - grown) === target);
        assert.ok(pages.held.length === before || pages.held.length === before + target);
      } else {
        if (pages.free === 0 || random.below(4) === 0) pages.release(pages.tail - pages.trim);
        const place = ring.tailOffset / pageBytes;
        // The end of what may still grow is no place yet.
        if (place < pages.held.length) pages.write(1);
      }
    }
    assert.equal(pages.held.length, capacity, 'it has become as long as it may');
  }
});

test('a growth that fails leaves the ring as long as it is, and it goes round', () => {
  const pages = new Pages({ written: 4, capacity: 20, chunk: 6, slice: 2 });
  pages.slice();
  pages.write(4);
  assert.equal(pages.ring.tailOffset, bytes(4), 'the end itself, which may still move');
  assert.equal(pages.ring.bytesToEnd, 0);
  pages.growth.failed();
  assert.deepEqual([pages.ring.growable, pages.growth.wanted, pages.growth.pressed], [false, false, false]);
  assert.equal(pages.growth.takeChunk(), false);
  assert.equal(pages.ring.tailOffset, 0);
  assert.equal(pages.ring.ringBytes, bytes(4));
  assert.equal(pages.ring.bytesToEnd, bytes(4));
});

test('a batch that the ring is too short for presses for growth, in turns with commits, until it fits', () => {
  const fits = (ringPages: number): number => bytes(Math.floor(ringPages / 2) - 3);
  const pages = new Pages({ written: 20, capacity: 60, chunk: 10, slice: 5 });
  const { growth } = pages;
  assert.equal(growth.batchBytesMax, fits(20));
  assert.equal(growth.batchBytesEver, fits(60));
  assert.equal(growth.wanted, false);
  growth.want(fits(20));
  assert.equal(growth.wanted, false, 'that fits as it is');
  growth.want(fits(60) + 1);
  assert.equal(growth.wanted, false, 'that never fits');

  const other = new Pages({ written: 20, capacity: 60, chunk: 10, slice: 5 });
  other.growth.want(fits(40));
  other.growth.want(1);
  assert.equal(other.growth.wanted, true, 'the longest that was wanted counts');
  let slices = 0;
  while (other.growth.wanted) {
    assert.equal(other.growth.pressed, true);
    other.slice();
    slices++;
    if (!other.growth.wanted) break;
    assert.equal(other.growth.pressed, false, 'a commit goes between two slices');
    other.growth.committed();
  }
  assert.deepEqual([slices, other.held.length], [4, 40]);
  assert.equal(other.growth.batchBytesMax, fits(40));
});

test('a batch that fits exactly in the longest ring presses too, and a whole ring knows no longer one', () => {
  const exact = new Pages({ written: 20, capacity: 40, chunk: 10, slice: 5 });
  exact.growth.want(exact.growth.batchBytesEver);
  assert.equal(exact.growth.wanted, true);
  const whole = new Pages({ written: 40, capacity: 40, chunk: 10, slice: 5 });
  assert.equal(whole.growth.batchBytesEver, whole.growth.batchBytesMax);
  whole.growth.want(whole.growth.batchBytesMax + 1);
  assert.equal(whole.growth.wanted, false);
});

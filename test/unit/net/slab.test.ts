/** Pieces of the arena for receiving: references, the memory that others give back, and what is too large for a segment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Slab } from '../../../src/net/slab.ts';
import { HeapArena } from '../../support/heap-arena.ts';

function rig(segmentCount: number, reclaim: (segments: number) => boolean = () => false) {
  const arena = new HeapArena({ segmentBytes: 1_000, segmentCount });
  const asked: number[] = [];
  const slab = new Slab(arena, (segments) => {
    asked.push(segments);
    return reclaim(segments);
  });
  return { arena, slab, asked };
}

test('pieces lie side by side while they fit their segment, to the last byte', () => {
  const { arena, slab } = rig(3);
  assert.deepEqual(
    [400, 600, 1, 1_000, 0].map((length) => slab.allocate(length)),
    [0, 400, 1_000, 2_000, 3_000],
  );
  assert.equal(arena.freeSegments(), 0);
  arena.releaseRange(0, 400);
  assert.equal(arena.freeSegments(), 0, 'the other piece is there yet');
  arena.releaseRange(400, 600);
  assert.equal(arena.freeSegments(), 1);
  arena.releaseRange(1_000, 1);
  assert.equal(arena.freeSegments(), 2, 'the slab has gone on from there');
});

test('what is larger than a segment gets segments in a row, and leaves the current one', () => {
  const { arena, slab } = rig(6);
  assert.equal(slab.allocate(10), 0);
  assert.equal(slab.allocate(1_001), 1_000);
  assert.equal(slab.allocate(3_000), 3_000);
  assert.equal(slab.allocate(10), 10);
  assert.equal(arena.freeSegments(), 0);
  arena.releaseRange(1_000, 1_001);
  assert.equal(arena.freeSegments(), 2);
});

test('memory that is not there is asked for once: one segment, or twice what is to lie in a row', () => {
  const { slab, asked } = rig(1);
  assert.equal(slab.allocate(700), 0);
  assert.equal(slab.allocate(400), -1);
  assert.equal(slab.allocate(1_001), -1);
  assert.deepEqual(asked, [1, 4]);
  assert.equal(slab.allocate(300), 700, 'the current segment still has its room');
});

test('what others give back is taken', () => {
  const one: ReturnType<typeof rig> = rig(2, () => {
    one.arena.release(one.arena.segmentCount - 1);
    return true;
  });
  one.arena.acquireRun(2);
  assert.equal(one.slab.allocate(5), 1_000);
  const row: ReturnType<typeof rig> = rig(2, () => {
    row.arena.release(0);
    row.arena.release(1);
    return true;
  });
  row.arena.acquireRun(2);
  assert.equal(row.slab.allocate(2_000), 0);
});

test('a closed slab lets its segment go, once, and may be used again', () => {
  const { arena, slab } = rig(2);
  slab.close();
  const position = slab.allocate(10);
  slab.close();
  slab.close();
  assert.equal(arena.freeSegments(), 1);
  arena.releaseRange(position, 10);
  assert.equal(arena.freeSegments(), 2);
  assert.equal(slab.allocate(20), 0);
});

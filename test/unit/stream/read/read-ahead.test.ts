/** Read-ahead windows grow while they are right, shrink when they are wrong, and are few. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Cursor, ReadAhead, windowBytesMin } from '../../../../src/stream/read/read-ahead.ts';

const MiB = 1 << 20;

/** Reads `bytes` at the offset (an offset a byte), and tops the window up when it is due. */
function read(
  ahead: ReadAhead,
  offset: number,
  bytes: number,
  missing = false,
): { cursor: Cursor; topUp: number } {
  const cursor = ahead.begin('r', 's', offset, missing);
  ahead.end(cursor, bytes, offset + bytes);
  const topUp = cursor.missing;
  if (topUp > 0) {
    cursor.filling = true;
    ahead.filled(cursor, topUp, Math.max(cursor.next, cursor.aheadTo) + topUp, true);
  }
  return { cursor, topUp };
}

/** Sequential reads of 1 MiB from the offset. */
function replay(ahead: ReadAhead, from: number, count: number): { cursor: Cursor; topUps: number[] } {
  const topUps: number[] = [];
  let cursor!: Cursor;
  for (let i = 0; i < count; i++) {
    const step = read(ahead, from + i * MiB, MiB);
    cursor = step.cursor;
    if (step.topUp > 0) topUps.push(step.topUp / MiB);
  }
  return { cursor, topUps };
}

test('one read alone loads nothing ahead; going on doubles the window to its maximum, in large steps', () => {
  const ahead = new ReadAhead(16 * MiB, 10);
  assert.equal(read(ahead, 0, MiB).topUp, 0);
  const { cursor, topUps } = replay(ahead, MiB, 100);
  assert.equal(cursor.windowBytes, 16 * MiB);
  assert.equal(topUps[0], 1);
  assert(
    topUps.slice(-5).every((topUp) => topUp >= 8),
    topUps.join(),
  );
  // Half a window is always there before it is topped up.
  assert(topUps.length < 30, `${topUps.length} requests for 100 MiB`);
});

test('blocks evicted before they were read halve the window, each time', () => {
  const ahead = new ReadAhead(16 * MiB, 10);
  const { cursor } = replay(ahead, 0, 60);
  const sizes: number[] = [];
  for (let i = 0; i < 6; i++) {
    ahead.begin('r', 's', cursor.next, true);
    sizes.push(cursor.windowBytes / MiB);
    ahead.end(cursor, MiB, cursor.next + MiB);
    cursor.aheadTo = cursor.next + cursor.windowBytes;
    cursor.aheadBytes = cursor.windowBytes;
  }
  assert.deepEqual(sizes, [8, 4, 2, 1, 1, 1]);
  const grown: number[] = [];
  for (let i = 0; i < 20; i++) {
    const step = read(ahead, cursor.next, MiB);
    if (step.topUp > 0) grown.push(cursor.windowBytes / MiB);
  }
  assert.deepEqual(grown.slice(0, 3), [2, 3, 4], 'a step at a time where memory was short');
});

test('a miss behind what was loaded ahead is no reason to shrink', () => {
  const ahead = new ReadAhead(16 * MiB, 10);
  const { cursor } = replay(ahead, 0, 60);
  cursor.aheadTo = cursor.next;
  cursor.aheadBytes = 0;
  ahead.begin('r', 's', cursor.next, true);
  assert.equal(cursor.windowBytes, 16 * MiB);
});

test('jumps shrink the window until there is none; the same offset again does not', () => {
  const ahead = new ReadAhead(4 * MiB, 10);
  const { cursor } = replay(ahead, 0, 20);
  assert.equal(cursor.windowBytes, 4 * MiB);
  read(ahead, cursor.at, MiB);
  assert.equal(cursor.windowBytes, 4 * MiB, 'the same again');
  const sizes = [500, 300, 700, 100].map((place) => {
    ahead.end(ahead.begin('r', 's', place * MiB, true), MiB, (place + 1) * MiB);
    return cursor.windowBytes;
  });
  assert.deepEqual(sizes, [2 * MiB, windowBytesMin, 0, 0]);
});

test('what found no room does not let the window grow', () => {
  const ahead = new ReadAhead(16 * MiB, 10);
  const { cursor } = replay(ahead, 0, 3);
  const before = cursor.windowBytes;
  cursor.filling = true;
  ahead.filled(cursor, MiB, cursor.aheadTo + MiB, false);
  assert.equal(cursor.windowBytes, before);
  assert.equal(cursor.filling, false);
});

test('readers have windows of their own, the least recently used is forgotten', () => {
  const ahead = new ReadAhead(16 * MiB, 3);
  for (const reader of ['a', 'b', 'c', 'a', 'd']) ahead.end(ahead.begin(reader, 's', 0, true), 10, 10);
  assert.equal(ahead.cursors, 3);
  assert.equal(ahead.begin('a', 's', 10, false).windowBytes, windowBytesMin, 'remembered');
  assert.equal(ahead.begin('b', 's', 10, false).windowBytes, 0, 'forgotten');
});

test('a window is topped up from its half on, unless it is off or being filled', () => {
  const cursor = new ReadAhead(16 * MiB, 1).begin('r', 's', 0, false);
  assert.equal(cursor.missing, 0, 'off');
  cursor.windowBytes = 8;
  for (const [aheadBytes, missing] of [
    [0, 8],
    [3, 5],
    [4, 4],
    [5, 0],
    [8, 0],
  ] as const) {
    cursor.aheadBytes = aheadBytes;
    cursor.filling = false;
    assert.equal(cursor.missing, missing);
    cursor.filling = true;
    assert.equal(cursor.missing, 0);
  }
});

test('what was loaded ahead is used up by reads, and none of it is left behind a reader that overtakes it', () => {
  const ahead = new ReadAhead(16 * MiB, 1);
  const cursor = ahead.begin('r', 's', 0, true);
  ahead.end(cursor, 10, 10);
  ahead.begin('r', 's', 10, false);
  ahead.filled(cursor, 30, 40, false);
  assert.deepEqual([cursor.next, cursor.aheadTo, cursor.aheadBytes], [10, 40, 30]);
  ahead.filled(cursor, 99, 40, true);
  assert.deepEqual([cursor.aheadTo, cursor.aheadBytes], [40, 30], 'no further than before');
  ahead.end(cursor, 0, 20);
  assert.equal(cursor.next, 10, 'nothing was read');
  ahead.end(cursor, 10, 20);
  assert.deepEqual([cursor.next, cursor.aheadTo, cursor.aheadBytes], [20, 40, 20]);
  ahead.end(cursor, 10, 20);
  assert.equal(cursor.aheadBytes, 20, 'the same again');
  ahead.end(cursor, 25, 39);
  assert.equal(cursor.aheadBytes, 0, 'not below nothing');
  ahead.end(cursor, 10, 50);
  assert.deepEqual([cursor.next, cursor.aheadTo, cursor.aheadBytes], [50, 50, 0]);
});

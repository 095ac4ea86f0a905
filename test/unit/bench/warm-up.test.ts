import assert from 'node:assert/strict';
import { test } from 'node:test';
import { warmthOf } from '../../../bench/harness/warm-up.ts';

const arena = 2 * 1024 ** 3;
const seconds = 4;
/** So many windows of as many bytes a second. */
const windows = (count: number, bytesPerSecond: number) =>
  Array.from({ length: count }, () => ({
    perSecond: bytesPerSecond / 1024,
    cpuSecondsEach: 20e-6,
    bytes: bytesPerSecond * seconds,
    bytesPerSecond,
  }));

test('small requests have used their memory when they have sent what a run sends', () => {
  const small = 25e6;
  assert.equal(warmthOf(windows(2, small), arena, 12).memoryUsed, false);
  assert.equal(warmthOf(windows(3, small), arena, 12).memoryUsed, true);
});

test('large ones go round in the whole of the memory, however long a run is', () => {
  const large = 400e6;
  assert.equal(warmthOf(windows(1, large), arena, 12).memoryUsed, false);
  assert.equal(warmthOf(windows(2, large), arena, 12).memoryUsed, true);
});

test('nothing is warm before there is a window, nor agrees before there are two', () => {
  assert.equal(warmthOf([], 0, 12).memoryUsed, false);
  assert.equal(warmthOf(windows(1, 1e6), 0, 12).lastDifference, Number.POSITIVE_INFINITY);
  assert.equal(warmthOf(windows(2, 1e6), 0, 12).lastDifference, 0);
  assert.equal(warmthOf(windows(1, 1e6), 0, 12).memoryUsed, true, 'a system that goes round in nothing');
});

test('windows differ by whichever number differs more', () => {
  const [one] = windows(1, 1e6);
  const slower = { ...one!, cpuSecondsEach: 22e-6 };
  assert.ok(Math.abs(warmthOf([one!, slower], 0, 12).lastDifference - 2 / 21) < 1e-9);
});

/** How long a commit waits for company, under loads that are steady until the averages are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AdaptiveLinger } from '../../../../src/stream/wal/adaptive-linger.ts';

/** Commits of `count` batches of `bytes` each, one a millisecond, the last at 1,000 ms. */
function steady(count: number, bytes: number, maxMs: number): AdaptiveLinger {
  const linger = new AdaptiveLinger(maxMs, 0);
  for (let ms = 1; ms <= 1_000; ms++) linger.took(count, count * bytes, ms);
  return linger;
}

test('as many are waited for as the rate promises within the setting, from when the first was seen', () => {
  const linger = steady(8, 100, 2);
  // 8 a millisecond for 2 ms.
  assert.equal(linger.writeAt(15, 1_000), 1_002);
  assert.equal(linger.writeAt(17, 1_000), 1_000);
  // The one that waits longest was seen at 1,000; the promise becomes smaller while nobody comes.
  assert.equal(linger.writeAt(5, 1_001), 1_002);
  assert.equal(linger.writeAt(3, 1_001.5), 1_002);
  assert.equal(linger.writeAt(3, 1_003), 1_003, 'never longer than the setting');
  linger.took(8, 800, 1_004);
  assert.equal(linger.writeAt(5, 1_006), 1_008, 'the next commit waits anew');
});

test('the promise of a rate fades by e in 20 ms', () => {
  for (const [waiting, at] of [
    [5, 1_022],
    [6, 1_020],
  ] as const)
    assert.equal(steady(8, 100, 2).writeAt(waiting, 1_020), at, `${waiting} wait; 16 / e are expected`);
});

test('it says how many are enough, which the bytes of a batch may make fewer', () => {
  const few = steady(8, 100, 2);
  few.writeAt(3, 1_000);
  assert.equal(few.enough, 16);
  assert.equal(few.writeAt(16, 1_000), 1_000);
  const large = steady(100, 20 * 1024, 2);
  large.writeAt(3, 1_000);
  assert.equal(large.enough, 7);
});

test('128 are enough, and so are 128 KiB', () => {
  const many = steady(200, 10, 2);
  assert.equal(many.writeAt(127, 1_000), 1_002);
  assert.equal(many.writeAt(128, 1_000), 1_000);
  const large = steady(100, 20 * 1024, 2);
  assert.equal(large.writeAt(6, 1_000), 1_002);
  assert.equal(large.writeAt(7, 1_000), 1_000);
});

test('who is alone does not wait, nor does anybody without the setting', () => {
  assert.equal(steady(1, 100, 2).writeAt(1, 1_000), 1_000);
  assert.equal(steady(2, 100, 2).writeAt(1, 1_000), 1_002, 'two are company');
  assert.equal(steady(8, 100, 0).writeAt(1, 1_000), 1_000);
  assert.equal(new AdaptiveLinger(2, 0).writeAt(1, 5), 5, 'nothing is known yet');
});

test('a group of more than one is seen after some commits, an eighth of the way with each', () => {
  const linger = new AdaptiveLinger(2, 0);
  // 1 → 3: 1.25, 1.47, 1.66.
  for (let ms = 1; ms <= 2; ms++) linger.took(3, 300, ms);
  assert.equal(linger.writeAt(0, 2), 2);
  linger.took(3, 300, 3);
  assert.equal(linger.writeAt(0, 3), 5);
});

test('two commits in the same instant count as a hundredth of a millisecond apart', () => {
  const linger = new AdaptiveLinger(2, 0);
  for (let ms = 1; ms <= 100; ms++) linger.took(8, 800, ms);
  const before = linger.writeAt(18, 100);
  assert.equal(before, 100);
  linger.took(8, 800, 100);
  // 1 − e^(−1/2000) of the way from 8 to 800 a millisecond: 0.4 more.
  assert.equal(linger.writeAt(16, 100), 102);
  assert.equal(linger.writeAt(17, 100), 100);
});

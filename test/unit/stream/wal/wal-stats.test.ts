/** What a WAL writer counts, against sums over what it was told. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bucketOf, quantile, WalStats } from '../../../../src/stream/wal/wal-stats.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

test('bucket i has the values from 2^i below 2^(i+1), the first also what is less', () => {
  for (let i = 1; i < 31; i++) {
    assert.equal(bucketOf(2 ** i), i);
    assert.equal(bucketOf(2 ** i - 0.5), i - 1);
    assert.equal(bucketOf(2 ** (i + 1) - 1), i);
  }
  assert.deepEqual([-1, 0, 0.9, 1, 1.9].map(bucketOf), [0, 0, 0, 0, 0]);
  assert.deepEqual([2 ** 31, 2 ** 40, Number.POSITIVE_INFINITY].map(bucketOf), [30, 30, 30]);
});

test('a quantile is the upper edge of the bucket in which the share is reached', () => {
  const random = new SeededRandom(5);
  assert.equal(quantile(new WalStats().groupSize, 0.5), 0);
  for (let round = 0; round < 50; round++) {
    const values = Array.from({ length: 1 + random.below(40) }, () => 2 ** random.below(12));
    const stats = new WalStats();
    for (const value of values) stats.commit(value, 0, 0);
    values.sort((a, b) => a - b);
    for (const q of [0, 0.01, 0.5, 0.9, 0.99, 1]) {
      const value = values[Math.max(0, Math.ceil(values.length * q) - 1)]!;
      assert.equal(quantile(stats.groupSize, q), 2 * value, `${q} of ${values}`);
    }
  }
});

test('commits are summed, and each stands once in each histogram', () => {
  const stats = new WalStats();
  const commits = [
    [1, 100, 0.5],
    [3, 300, 2],
    [4096, 5, 7.25],
  ] as const;
  for (const [some, bytes, ms] of commits) stats.commit(some, bytes, ms);
  const { commits: count, batches, payloadBytes, commitMs, writeMicros, groupSize } = stats;
  assert.deepEqual(
    { count, batches, payloadBytes, commitMs },
    {
      count: 3,
      batches: 4100,
      payloadBytes: 405,
      commitMs: 9.75,
    },
  );
  const filled = (histogram: Float64Array) => [...histogram.entries()].filter(([, n]) => n > 0);
  assert.deepEqual(filled(writeMicros), [
    [8, 1],
    [10, 1],
    [12, 1],
  ]);
  assert.deepEqual(filled(groupSize), [
    [0, 1],
    [1, 1],
    [12, 1],
  ]);
});

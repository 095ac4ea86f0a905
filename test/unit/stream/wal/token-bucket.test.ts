/** A budget per second, against an account kept with whole numbers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TokenBucket } from '../../../../src/stream/wal/token-bucket.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

const near = (actual: number, expected: number, what: string): void =>
  assert.ok(Math.abs(actual - expected) < 1e-6, `${what}: ${actual}, ${expected} expected`);

test('whoever spends waits until the debt is paid, and what is saved up has a bound', () => {
  const random = new SeededRandom(3);
  for (let round = 0; round < 20; round++) {
    // One token a millisecond.
    const burst = 1 + random.below(60);
    let now = random.below(1_000);
    const bucket = new TokenBucket(1_000, now, burst);
    let tokens = burst;
    for (let step = 0; step < 60; step++) {
      const spent = random.below(2) === 0 ? tokens : random.below(3 * burst);
      if (spent > 0) bucket.spend(spent);
      if (spent > 0) tokens -= spent;
      near(bucket.readyAt(now), tokens > 0 ? now : now - tokens + 0.01, `round ${round}, step ${step}`);
      // A clock that stands still or goes back pays nothing.
      near(bucket.readyAt(now - 5), tokens > 0 ? now - 5 : now - 5 - tokens + 0.01, 'earlier');
      const passed = random.below(2 * burst);
      now += passed;
      tokens = Math.min(burst, tokens + passed);
      near(bucket.readyAt(now), tokens > 0 ? now : now - tokens + 0.01, 'later');
    }
  }
});

test('when its time has come the bucket is ready', () => {
  for (const rate of [1, 3, 7, 333, 1_000, 123_457]) {
    const bucket = new TokenBucket(rate, 0);
    bucket.spend(1_000_003);
    const at = bucket.readyAt(0);
    assert.ok(at > 0);
    assert.equal(bucket.readyAt(at), at, `${rate} a second`);
  }
});

test('a rate below one in a burst still lets one go, and 50 ms are saved up unless told', () => {
  const slow = new TokenBucket(1, 0);
  slow.spend(0.5);
  assert.equal(slow.readyAt(0), 0);
  slow.spend(0.5);
  near(slow.readyAt(0), 0.01, 'one was there');
  const usual = new TokenBucket(1_000, 0);
  usual.spend(49);
  assert.equal(usual.readyAt(0), 0);
  usual.spend(1);
  near(usual.readyAt(0), 0.01, 'fifty were there');
});

test('without a limit nobody waits', () => {
  const free = new TokenBucket(Number.POSITIVE_INFINITY, 0);
  free.spend(1e12);
  assert.equal(free.readyAt(0), 0);
  assert.equal(free.readyAt(7), 7);
});

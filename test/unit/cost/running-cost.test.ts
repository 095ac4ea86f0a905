import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunningCost } from '../../../src/cost/running-cost.ts';
import { near, shipped } from './fixtures.ts';

const minute = 60_000;

test('requests cost by the hour what the last minute or more of looks had', () => {
  const cost = new RunningCost(shipped, 0.2);
  const first = cost.look(0, { puts: 0, gets: 0, storedBytes: 0 });
  assert.deepEqual(first, { requestDollars: 0, perHour: { requests: 0, storage: 0, compute: 0.2 } });
  // 1,000 PUT in 30 s: $0.005, so $0.6 an hour.
  const half = cost.look(minute / 2, { puts: 1_000, gets: 0, storedBytes: 0 });
  assert.ok(near(half.requestDollars, 0.005));
  assert.ok(near(half.perHour.requests, 0.6));
  // Then nothing: over a minute $0.005, $0.3 an hour; over the minute after that nothing.
  assert.ok(near(cost.look(minute, { puts: 1_000, gets: 0, storedBytes: 0 }).perHour.requests, 0.3));
  cost.look(minute * 1.5, { puts: 1_000, gets: 0, storedBytes: 0 });
  const later = cost.look(minute * 2, { puts: 1_000, gets: 0, storedBytes: 0 });
  assert.equal(later.perHour.requests, 0);
  assert.ok(near(later.requestDollars, 0.005), 'what it has cost stays');
});

test('GETs cost less, storage costs by what lies there, a month has 730 hours', () => {
  const cost = new RunningCost(shipped, 0);
  const now = cost.look(0, { puts: 0, gets: 1_000_000, storedBytes: 1000 * 2 ** 30 });
  assert.ok(near(now.requestDollars, 0.4));
  assert.ok(near(now.perHour.storage, (1000 * 0.023) / 730));
});

test('looks more often than any window needs are not kept for ever', () => {
  const cost = new RunningCost(shipped, 0);
  let last = cost.look(0, { puts: 0, gets: 0, storedBytes: 0 });
  for (let i = 1; i <= 10_000; i++) last = cost.look(i, { puts: i, gets: 0, storedBytes: 0 });
  // One PUT a millisecond is 3.6 million an hour: $18.
  assert.ok(near(last.perHour.requests, 18));
});

/** The budget's rate holds over time, whatever the size of the requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ReadBudget } from '../../../../src/stream/cache/read-budget.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

/** Requests that got through in `ms`, asking again whenever the budget says. */
function through(clock: VirtualClock, budget: ReadBudget, ms: number, bytes: number): number {
  const end = clock.monotonic() + ms;
  let count = 0;
  while (clock.monotonic() < end) {
    const waitMs = budget.waitMs();
    if (waitMs > 0) clock.advance(Math.min(waitMs, end - clock.monotonic()));
    else {
      budget.take(bytes);
      count++;
    }
  }
  return count;
}

test('requests per second hold, with a tenth of a second at once', () => {
  const clock = new VirtualClock();
  const budget = new ReadBudget(clock, { requestsPerSecond: 100, bytesPerSecond: 0 });
  const count = through(clock, budget, 10_000, 1e9);
  assert(count >= 1000 && count <= 1011, `${count}`);
});

test('bytes per second hold for requests far above the burst', () => {
  const clock = new VirtualClock();
  const budget = new ReadBudget(clock, { requestsPerSecond: 0, bytesPerSecond: 1_000_000 });
  const large = through(clock, budget, 20_000, 4_000_000);
  assert(large >= 5 && large <= 6, `${large}`);
  clock.advance(60_000);
  const small = through(clock, budget, 10_000, 1000);
  assert(small >= 10_000 && small <= 10_110, `${small}: an idle minute must save up no more than the burst`);
});

test('without limits nobody waits', () => {
  const clock = new VirtualClock();
  const budget = new ReadBudget(clock, { requestsPerSecond: 0, bytesPerSecond: 0 });
  for (let i = 0; i < 1000; i++) budget.take(1e9);
  assert.equal(budget.waitMs(), 0);
});

test('a rate below one request a second still lets them through', () => {
  const clock = new VirtualClock();
  const budget = new ReadBudget(clock, { requestsPerSecond: 0.5, bytesPerSecond: 0 });
  const count = through(clock, budget, 20_000, 1);
  assert(count >= 10 && count <= 11, `${count}`);
});

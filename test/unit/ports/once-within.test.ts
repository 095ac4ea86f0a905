import assert from 'node:assert/strict';
import { test } from 'node:test';
import { onceWithin } from '../../../src/ports/once-within.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

test('what is waited for happens once, at once when it may, and leaves no timer', () => {
  const clock = new VirtualClock();
  let times = 0;
  const finish = onceWithin(clock, 100, () => times++);
  clock.advance(99);
  assert.equal(times, 0);
  finish();
  assert.equal(times, 1);
  assert.equal(clock.timers, 0);
  finish();
  clock.advance(1_000);
  assert.equal(times, 1);
});

test('it happens when the wait is over, and not again after that', () => {
  const clock = new VirtualClock();
  let times = 0;
  const finish = onceWithin(clock, 100, () => times++);
  clock.advance(100);
  assert.equal(times, 1);
  finish();
  assert.equal(times, 1);
});

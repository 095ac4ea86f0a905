/** Maintenance windows to the minute, within a day and over midnight. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isWithin } from '../../../src/cluster/scaling.ts';

/** 2026-01-04 is a Sunday, day 0. */
function at(day: number, hour: number, minute: number, second = 0): number {
  return Date.UTC(2026, 0, 4 + day, hour, minute, second);
}

test('a window begins with its first minute and ends before its last', () => {
  const window = { days: [1, 6], from: 60, to: 90 };
  for (const day of [1, 6, 8]) {
    assert.equal(isWithin(window, at(day, 0, 59, 59)), false);
    assert.equal(isWithin(window, at(day, 1, 0)), true);
    assert.equal(isWithin(window, at(day, 1, 29, 59)), true);
    assert.equal(isWithin(window, at(day, 1, 30)), false);
  }
  for (const day of [0, 2, 5, 7]) assert.equal(isWithin(window, at(day, 1, 10)), false);
});

test('one that ends before it begins goes on into the next day, also from Saturday to Sunday', () => {
  for (const [day, next] of [
    [1, 2],
    [6, 7],
  ] as const) {
    const window = { days: [day], from: 1_380, to: 30 };
    assert.equal(isWithin(window, at(day, 22, 59, 59)), false);
    assert.equal(isWithin(window, at(day, 23, 0)), true);
    assert.equal(isWithin(window, at(next, 0, 0)), true);
    assert.equal(isWithin(window, at(next, 0, 29, 59)), true);
    assert.equal(isWithin(window, at(next, 0, 30)), false);
    assert.equal(isWithin(window, at(day, 0, 10)), false, 'the night before is not of its day');
    assert.equal(isWithin(window, at(next, 23, 0)), false);
  }
});

test('one without length is never', () => {
  for (const minute of [59, 60, 61])
    assert.equal(isWithin({ days: [1], from: 60, to: 60 }, at(1, 0, minute)), false);
});

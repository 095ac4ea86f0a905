import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { withinLimit } from '../../../../src/requests/support/time-limit.ts';
import { HandClock, settle } from '../../../support/store-fixtures.ts';

function rig(limitMs: number) {
  const clock = new HandClock();
  const outcomes: [outcome: string | null, error: number][] = [];
  let resolve = (_: string): void => {};
  let reject = (_: Error): void => {};
  const work = new Promise<string>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  withinLimit({ clock, logger: silentLogger }, limitMs, work, (outcome, error) =>
    outcomes.push([outcome, error]),
  );
  return { clock, outcomes, resolve, reject };
}

test('an outcome in time is passed on and stops the clock', async () => {
  const { clock, outcomes, resolve } = rig(1_000);
  resolve('made');
  await settle();
  assert.deepEqual(outcomes, [['made', 0]]);
  assert.equal(clock.pending, 0);
});

test('when the time is up the outcome is dropped, so that nobody is answered twice', async () => {
  const { clock, outcomes, resolve } = rig(45_000);
  clock.advance(44_999);
  assert.deepEqual(outcomes, []);
  clock.advance(1);
  resolve('made');
  await settle();
  assert.deepEqual(outcomes, [[null, ErrorCode.REQUEST_TIMED_OUT]]);
});

test('failed work is -1; what has begun has half a minute at least and five at most', async () => {
  const failing = rig(1_000);
  failing.reject(new Error('broken'));
  await settle();
  assert.deepEqual(failing.outcomes, [[null, ErrorCode.UNKNOWN_SERVER_ERROR]]);
  const short = rig(1);
  short.clock.advance(29_999);
  assert.equal(short.outcomes.length, 0);
  short.clock.advance(1);
  assert.equal(short.outcomes.length, 1);
  const huge = rig(2 ** 31 - 1);
  huge.clock.advance(299_999);
  assert.equal(huge.outcomes.length, 0);
  huge.clock.advance(1);
  assert.equal(huge.outcomes.length, 1);
});

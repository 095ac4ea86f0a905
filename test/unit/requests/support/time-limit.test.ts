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
  const { clock, outcomes, resolve } = rig(1_000);
  clock.advance(1_000);
  resolve('made');
  await settle();
  assert.deepEqual(outcomes, [[null, ErrorCode.REQUEST_TIMED_OUT]]);
});

test('failed work is -1; a limit of nothing is still a moment, a huge one is cut to five minutes', async () => {
  const failing = rig(1_000);
  failing.reject(new Error('broken'));
  await settle();
  assert.deepEqual(failing.outcomes, [[null, ErrorCode.UNKNOWN_SERVER_ERROR]]);
  const moment = rig(-5);
  assert.equal(moment.outcomes.length, 0);
  moment.clock.advance(1);
  assert.equal(moment.outcomes.length, 1);
  const huge = rig(2 ** 31 - 1);
  huge.clock.advance(300_000);
  assert.equal(huge.outcomes.length, 1);
});

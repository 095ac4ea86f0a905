/** The budget of compaction: bytes and requests per second, in order of arrival, and an end that is noticed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CompactionPace } from '../../../../src/stream/compaction/compaction-pace.ts';
import { coded } from '../../../support/stream-objects.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

test('requests go at the rate of their bytes, in order, the first burst at once', async () => {
  const clock = new VirtualClock();
  const pace = new CompactionPace(clock, { bytesPerSecond: 1_000, requestsPerSecond: 1_000 }, () => false);
  const went: [number, number][] = [];
  const all = Promise.all(
    [1_500, 500, 1_000, 10].map(async (bytes, i) => {
      await pace.wait(bytes);
      went.push([i, Math.round(clock.monotonic() / 100) * 100]);
    }),
  );
  await clock.advanceAsync(5_000);
  await all;
  // A second's worth is saved up; whoever overdraws makes the next one wait.
  assert.deepEqual(went, [
    [0, 0],
    [1, 500],
    [2, 1_000],
    [3, 2_000],
  ]);
});

test('requests are counted, whatever they move', async () => {
  const clock = new VirtualClock();
  const rates = { bytesPerSecond: Number.POSITIVE_INFINITY, requestsPerSecond: 10 };
  const pace = new CompactionPace(clock, rates, () => false);
  let went = 0;
  const all = Promise.all(Array.from({ length: 40 }, () => pace.wait(0).then(() => went++)));
  await clock.advanceAsync(1_000);
  assert(went >= 19 && went <= 21, `${went} in the first second, ten of them saved up`);
  await clock.advanceAsync(2_500);
  await all;
  assert.equal(went, 40);
});

test('a stop ends every wait with its code', async () => {
  const clock = new VirtualClock();
  let stopped = false;
  const pace = new CompactionPace(clock, { bytesPerSecond: 10, requestsPerSecond: 10 }, () => stopped);
  await pace.wait(1_000_000);
  const waiting = [pace.wait(1), pace.wait(1)];
  const ended = Promise.all(waiting.map((wait) => assert.rejects(wait, coded('COMPACTION_STOPPED'))));
  await clock.advanceAsync(1_000);
  stopped = true;
  await clock.advanceAsync(1_000);
  await ended;
});

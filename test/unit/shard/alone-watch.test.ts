/** How long a broker may acknowledge without its metadata: the time counts while the machine sleeps, too. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { AloneWatch, leaseHolds } from '../../../src/shard/alone-watch.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

function world(maxMs: number) {
  const clock = new VirtualClock();
  const state = { contactedAt: clock.boottime() };
  const said: string[] = [];
  const line = (message: string): void => void said.push(message);
  const watch = new AloneWatch(maxMs, () => state.contactedAt, clock, {
    ...silentLogger,
    error: line,
    info: line,
  });
  watch.start();
  return { clock, state, said, watch, may: leaseHolds(watch.memory, clock) };
}

test('a broker out of contact acknowledges up to the limit, and again once it is in contact', () => {
  const { clock, state, said, may, watch } = world(60_000);
  clock.advance(59_999);
  assert.equal(may(), true);
  clock.advance(2);
  assert.equal(may(), false);
  clock.advance(1_000);
  assert.match(said[0]!, /nothing is acknowledged/);
  state.contactedAt = clock.boottime();
  clock.advance(1_000);
  assert.equal(may(), true);
  assert.match(said[1]!, /appends go on/);
  watch.stop();
  assert.equal(clock.timers, 0);
});

test('a machine that slept past the limit acknowledges nothing when it wakes, before any timer runs', () => {
  const { clock, may } = world(60_000);
  clock.advance(10_000);
  assert.equal(may(), true);
  clock.suspend(50_001);
  assert.equal(may(), false);
});

test('without a limit there is none', () => {
  const { clock, may } = world(0);
  clock.suspend(10_000_000);
  assert.equal(may(), true);
});

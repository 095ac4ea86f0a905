import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TimerWheel, type WheelTimer } from '../../../src/threads/timer-wheel.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const minute = 60_000;
const day = 24 * 60 * minute;

test('a time-out fires once, never early and at most a tick late', () => {
  const clock = new VirtualClock();
  clock.advance(3.7);
  const wheel = new TimerWheel(clock, { tickMs: 10 });
  for (const delay of [0, 0.4, 9.9, 10, 639, 640, 641, 6_400, 40_960, 45_001, 30 * minute, day, 60 * day]) {
    const set = clock.monotonic();
    let fired = Number.NaN;
    const timer = wheel.add(delay, () => {
      fired = clock.monotonic();
    });
    assert.equal(timer.pending, true);
    clock.advance(delay + 20);
    assert.ok(fired - set >= delay - 1e-4 && fired - set <= delay + 10.001, `${delay}: ${fired - set}`);
    assert.equal(timer.pending, false);
    assert.equal(wheel.size, 0);
    assert.equal(clock.timers, 0, 'an empty wheel sets no timer');
  }
});

test('thousands of time-outs share one timer of the clock', () => {
  const clock = new VirtualClock();
  const wheel = new TimerWheel(clock);
  let fired = 0;
  for (let i = 0; i < 5_000; i++) wheel.add(i, () => fired++);
  assert.equal(clock.timers, 1);
  clock.advance(2_500);
  assert.ok(fired >= 2_490 && fired <= 2_501, `${fired}`);
  assert.equal(clock.timers, 1);
  clock.advance(2_600);
  assert.equal(fired, 5_000);
});

test('cancelled ones do not fire; rescheduled ones fire at the new time only', () => {
  const clock = new VirtualClock();
  const wheel = new TimerWheel(clock);
  const fired: string[] = [];
  const a = wheel.add(100, () => fired.push('a'));
  const b = wheel.add(100, () => fired.push('b'));
  const c = wheel.add(5_000, () => fired.push('c'));
  a.cancel();
  a.cancel();
  b.reschedule(10_000);
  c.reschedule(50);
  clock.advance(9_990);
  assert.deepEqual(fired, ['c']);
  clock.advance(30);
  assert.deepEqual(fired, ['c', 'b']);
  b.reschedule(10);
  clock.advance(30);
  assert.deepEqual(fired, ['c', 'b', 'b'], 'a fired one may be set again');
});

test('callbacks may add, cancel and reschedule, also in their own slot', () => {
  const clock = new VirtualClock();
  const wheel = new TimerWheel(clock);
  const fired: string[] = [];
  let second: WheelTimer | undefined;
  const first = wheel.add(20, () => {
    fired.push('first');
    second?.cancel();
    if (fired.length < 3) first.reschedule(0);
    wheel.add(640, () => fired.push('later'));
  });
  second = wheel.add(20, () => fired.push('second'));
  clock.advance(100);
  assert.deepEqual(fired, ['first', 'first', 'first']);
  clock.advance(700);
  assert.deepEqual(fired.slice(3), ['later', 'later', 'later']);
});

test('a callback that throws stops none of the others', () => {
  const clock = new VirtualClock();
  const wheel = new TimerWheel(clock);
  let fired = 0;
  wheel.add(20, () => {
    throw new Error('planned');
  });
  wheel.add(20, () => fired++);
  wheel.add(500, () => fired++);
  assert.throws(() => clock.advance(100), /planned/);
  clock.advance(20);
  assert.equal(fired, 1, 'the rest of its tick at once');
  clock.advance(500);
  assert.equal(fired, 2);
});

test('bounds: too many, too far, closed', () => {
  const clock = new VirtualClock();
  const wheel = new TimerWheel(clock, { entriesMax: 2 });
  const first = wheel.add(10, () => assert.fail('closed'));
  wheel.add(10, () => assert.fail('closed'));
  assert.throws(() => wheel.add(10, () => {}), { code: 'TIMERS_EXHAUSTED', kind: 'exhausted' });
  first.reschedule(20);
  assert.throws(() => first.reschedule(200 * day), { code: 'TIMER_DELAY' });
  assert.throws(() => first.reschedule(Number.NaN), { code: 'TIMER_DELAY' });
  assert.equal(wheel.size, 2);
  wheel.close();
  assert.equal(wheel.size, 0);
  assert.equal(clock.timers, 0);
  clock.advance(100);
  assert.throws(() => wheel.add(1, () => {}), { code: 'TIMERS_CLOSED' });
});

test('a long random walk agrees with a list of due times', () => {
  const random = new SeededRandom(11);
  const clock = new VirtualClock();
  const tickMs = 5;
  const wheel = new TimerWheel(clock, { tickMs });
  const due = new Map<number, number>();
  const timers = new Map<number, WheelTimer>();
  const delay = (): number => random.below(2 ** random.below(22));
  const onFire = (id: number) => () => {
    const late = clock.monotonic() - (due.get(id) ?? Number.NaN);
    assert.ok(late >= -1e-4 && late <= tickMs + 1e-4, `time-out ${id} is ${late} ms late`);
    due.delete(id);
  };
  for (let id = 0; id < 6_000; id++) {
    const ms = delay();
    due.set(id, clock.monotonic() + ms);
    timers.set(id, wheel.add(ms, onFire(id)));
    const other = random.below(id + 1);
    const timer = timers.get(other) as WheelTimer;
    const action = random.below(5);
    if (action === 0) {
      timer.cancel();
      due.delete(other);
    } else if (action === 1) {
      const again = delay();
      timer.reschedule(again);
      due.set(other, clock.monotonic() + again);
    }
    if (random.chance(0.3)) clock.advance(random.below(200));
    assert.equal(wheel.size, due.size);
  }
  clock.advance(2 ** 22);
  assert.equal(due.size, 0);
});

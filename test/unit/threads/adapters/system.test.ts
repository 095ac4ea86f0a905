import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SystemClock } from '../../../../src/threads/adapters/system-clock.ts';
import { SystemRandom } from '../../../../src/threads/adapters/system-random.ts';

test('the monotonic clock is one time line for every instance, and that of process.hrtime', () => {
  const [seconds, nanos] = process.hrtime();
  const system = seconds * 1000 + nanos / 1e6;
  const first = new SystemClock().monotonic();
  const second = new SystemClock().monotonic();
  assert.ok(first >= system - 0.1 && second >= first - 0.1);
  assert.ok(second - system < 10_000);
});

test('soon runs before timers, cancelled timers never', async () => {
  const clock = new SystemClock();
  const order: string[] = [];
  const cancelled = clock.after(0, () => order.push('cancelled'));
  cancelled.cancel();
  cancelled.cancel();
  clock.soon(() => order.push('soon'));
  // The clock's own timers keep no process alive, so the test waits on a referenced one.
  await new Promise<void>((resolve) => {
    clock.after(5, () => {
      order.push('timer');
      clearInterval(hold);
      resolve();
    });
    const hold = setInterval(() => {}, 1_000);
  });
  assert.deepEqual(order, ['soon', 'timer']);
});

test('randomness fills what it is given and stays below its bound', () => {
  const random = new SystemRandom();
  const out = new Uint8Array(64);
  assert.equal(random.bytes(out), out);
  assert.ok(new Set(out).size > 8);
  const seen = new Set(Array.from({ length: 300 }, () => random.below(3)));
  assert.deepEqual([...seen].sort(), [0, 1, 2]);
});

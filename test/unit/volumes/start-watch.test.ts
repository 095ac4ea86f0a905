/** What a start waits for: said after a second, given up at its limit, ended by a stop only where it does not get on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LogFields, silentLogger } from '../../../src/ports/logger.ts';
import { StartWatch } from '../../../src/volumes/start-watch.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

function world() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const line = (message: string, fields?: LogFields): void => {
    lines.push(`${message} ${fields?.ms}`);
  };
  const watch = new StartWatch(clock, { ...silentLogger, info: line, warn: line });
  return { clock, lines, watch };
}

/** Work that ends when the test says so. */
function held<T>(): { work: () => Promise<T>; begun: () => number; resolve: (value: T) => void } {
  let begun = 0;
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return {
    work: () => {
      begun++;
      return promise;
    },
    begun: () => begun,
    resolve,
  };
}

test('what is quick says nothing and leaves no timer', async () => {
  const { clock, lines, watch } = world();
  assert.equal(await watch.call('/wal', 30_000, async () => 7), 7);
  await assert.rejects(
    watch.step('reading', () => Promise.reject(new Error('torn'))),
    /torn/,
  );
  assert.equal(clock.timers, 0);
  assert.deepEqual(lines, []);
  assert.equal(watch.outstanding, 0);
});

test('a call that does not answer is said after a second, again every ten, and given up at its limit', async () => {
  const { clock, lines, watch } = world();
  const { work, resolve } = held<void>();
  const outcome = watch.call('/wal', 25_000, work).catch((error: unknown) => error);
  await clock.advanceAsync(999);
  assert.deepEqual(lines, []);
  await clock.advanceAsync(24_000);
  assert.deepEqual(lines, [
    '/wal does not answer 1000',
    '/wal does not answer 11000',
    '/wal does not answer 21000',
  ]);
  await clock.advanceAsync(1);
  const error = (await outcome) as Error & { code: string; kind: string };
  assert.deepEqual([error.kind, error.code], ['unavailable', 'WAL_NO_ANSWER']);
  assert.match(error.message, /\/wal has not answered for 25 s/);
  assert.equal(watch.outstanding, 1, 'the call itself is still out');
  resolve();
  await clock.settle();
  assert.equal(watch.outstanding, 0);
  assert.equal(clock.timers, 0);
});

test('a step has no limit, and says that it goes on', async () => {
  const { clock, lines, watch } = world();
  const { work, resolve } = held<string>();
  const outcome = watch.step('reading the logs', work);
  await clock.advanceAsync(3_600_000);
  assert.equal(lines[0], 'still starting: reading the logs 1000');
  assert.equal(lines.length, 360);
  resolve('read');
  assert.equal(await outcome, 'read');
});

test('a stop ends what has waited for a second, and nothing begins after that', async () => {
  const { clock, watch } = world();
  const slow = held<void>();
  const outcome = watch.call('/wal', 30_000, slow.work).catch((error: { code: string }) => error.code);
  await clock.advanceAsync(5_000);
  watch.stop();
  assert.equal(await outcome, 'START_ENDED');
  const later = held<void>();
  await assert.rejects(watch.step('more', later.work), { code: 'START_ENDED' });
  assert.equal(later.begun(), 0);
  assert.equal(clock.timers, 0);
});

test('a start that gets on goes on when it is stopped, until it waits for a second', async () => {
  const { clock, watch } = world();
  const quick = held<number>();
  const first = watch.step('first', quick.work);
  await clock.advanceAsync(900);
  watch.stop();
  await clock.advanceAsync(50);
  quick.resolve(1);
  assert.equal(await first, 1);
  const slow = held<void>();
  const second = watch.step('second', slow.work).catch((error: { code: string }) => error.code);
  await clock.advanceAsync(999);
  assert.equal(slow.begun(), 1);
  await clock.advanceAsync(1);
  assert.equal(await second, 'START_ENDED');
});

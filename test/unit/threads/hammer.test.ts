/** Real threads, real doorbells: what the explorer proves step by step, once more on the machine itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { loadNative } from '../../../native-bindings/index.ts';
import { createLinkMemory } from '../../../src/threads/link.ts';
import { embeddedArena, SharedArena } from '../../../src/threads/memory/arena.ts';
import { createDoorbellMemory } from '../../../src/threads/memory/doorbell.ts';
import { eventFdNative } from '../../../src/threads/shard/event-fd.ts';
import type { HammerTask } from './hammer.worker.ts';

const messages = 100_000;

interface LinkReport {
  readonly sent: number;
  readonly received: number;
  readonly refused: number;
  readonly sleeps: number;
}

function run<T>(task: HammerTask): Promise<T> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./hammer.worker.js', import.meta.url), { workerData: task });
    let report: T | undefined;
    worker.on('message', (message: T) => {
      report = message;
    });
    worker.on('error', reject);
    worker.on('exit', () =>
      report === undefined ? reject(new Error('ended without a report')) : resolve(report),
    );
  });
}

async function hammer(kinds: Record<'a' | 'b', 'blocking' | 'waitAsync' | 'eventfd'>): Promise<void> {
  const native = eventFdNative(loadNative());
  const bell = (side: 'a' | 'b') => createDoorbellMemory(kinds[side] === 'eventfd' ? native : null);
  const memory = createLinkMemory(64, 4, { a: bell('a'), b: bell('b') });
  const task = (side: 'a' | 'b'): HammerTask => ({
    kind: 'link',
    memory,
    side,
    waiter: kinds[side] === 'blocking' ? 'blocking' : 'loop',
    messages,
  });
  const reports = await Promise.all([run<LinkReport>(task('a')), run<LinkReport>(task('b'))]);
  for (const report of reports) {
    assert.equal(report.sent, messages);
    assert.equal(report.received, messages);
  }
  assert.ok(
    reports.some((report) => report.sleeps > 10),
    'neither side ever slept',
  );
}

test('two blocked threads, 1e5 messages each way', () => hammer({ a: 'blocking', b: 'blocking' }));
test('two event loops on waitAsync', () => hammer({ a: 'waitAsync', b: 'waitAsync' }));
test('an event loop on waitAsync and a blocked thread', () => hammer({ a: 'waitAsync', b: 'blocking' }));
test('an event loop on an eventfd and a blocked thread', (t) => {
  if (loadNative() === null) return t.skip('the native bindings are not built here');
  return hammer({ a: 'eventfd', b: 'blocking' });
});

test('three threads take, share and free segments', async () => {
  const arena = SharedArena.create({ ...embeddedArena, segmentCount: 40 });
  const handle = arena.handle;
  const reports = await Promise.all(
    [1, 2, 3].map((id) => run<{ taken: number }>({ kind: 'arena', handle, id, rounds: 30_000 })),
  );
  for (const { taken } of reports) assert.ok(taken > 1_000);
  assert.equal(arena.freeSegments(), 40);
  assert.equal(arena.budget('receive').used(), 0);
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { requireNative, runModule } from './support.ts';

const native = requireNative();
const WORKER = new URL('./doorbell.worker.js', import.meta.url);

test('a ring reaches a watcher in another thread', async () => {
  const fd = native.createEventFd();
  const worker = new Worker(WORKER, { workerData: { fd, busy: false } });
  assert.deepEqual(await once(worker, 'message'), ['ready']);
  for (let i = 0; i < 50; i++) {
    native.ringEventFd(fd);
    assert.deepEqual(await once(worker, 'message'), ['rung']);
  }
  worker.postMessage('stop');
  // Nothing keeps the thread's loop alive once its watcher is closed.
  assert.deepEqual(await once(worker, 'exit'), [0]);
  native.closeFd(fd);
});

test('many rings before a turn are one callback', async () => {
  const fd = native.createEventFd();
  let calls = 0;
  const watcher = native.watchEventFd(fd, () => calls++);
  for (let i = 0; i < 1000; i++) native.ringEventFd(fd);
  while (calls === 0) await delay(1);
  await delay(20);
  assert.equal(calls, 1);
  native.ringEventFd(fd);
  while (calls === 1) await delay(1);
  await delay(20);
  assert.equal(calls, 2);
  watcher.close();
  native.ringEventFd(fd);
  await delay(20);
  assert.equal(calls, 2, 'closed');
  watcher.ref();
  native.closeFd(fd);
  assert.throws(() => native.ringEventFd(fd), { code: 'EBADF' });
});

test('ticks and promises of a callback run before the loop goes on', async () => {
  const fd = native.createEventFd();
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    const watcher = native.watchEventFd(fd, () => {
      setImmediate(() => {
        order.push('immediate');
        watcher.close();
        resolve();
      });
      process.nextTick(() => order.push('tick'));
      Promise.resolve().then(() => order.push('promise'));
      order.push('call');
    });
    native.ringEventFd(fd);
  });
  assert.deepEqual(order, ['call', 'tick', 'promise', 'immediate']);
  native.closeFd(fd);
});

test('an exception in a callback is an uncaught exception, and the watcher goes on', () => {
  const run = runModule(`
    const native = (await import(INDEX)).loadNative();
    const fd = native.createEventFd();
    let calls = 0;
    process.on('uncaughtException', (error) => { process.stdout.write(error.message + ';'); native.ringEventFd(fd); });
    const watcher = native.watchEventFd(fd, () => {
      if (++calls === 3) return watcher.close();
      throw new Error('call ' + calls);
    });
    native.ringEventFd(fd);
  `);
  assert.equal(run.stdout, 'call 1;call 2;', run.stderr);
  assert.equal(run.status, 0);
});

test('an unreferenced watcher does not hold the process', () => {
  const run = runModule(`
    const native = (await import(INDEX)).loadNative();
    native.watchEventFd(native.createEventFd(), () => {}).unref();
  `);
  assert.equal(run.status, 0, run.stderr);
});

test('watchers outlive garbage collection', () => {
  const run = runModule(`
    import v8 from 'node:v8';
    v8.setFlagsFromString('--expose-gc');
    const gc = (await import('node:vm')).runInNewContext('gc');
    const native = (await import(INDEX)).loadNative();
    let calls = 0;
    const fds = [];
    for (let i = 0; i < 200; i++) {
      const fd = native.createEventFd();
      fds.push(fd);
      native.watchEventFd(fd, () => calls++).unref(); // the only reference is dropped
      if (i % 2) native.watchEventFd(native.createEventFd(), () => calls++).close();
      native.registerArena(Buffer.alloc(10));
      native.alignedBuffer(100_000);
    }
    for (let i = 0; i < 5; i++) { gc(); await new Promise((done) => setImmediate(done)); }
    for (const fd of fds) native.ringEventFd(fd);
    await new Promise((done) => setTimeout(done, 50));
    process.stdout.write(String(calls));
  `);
  assert.equal(run.stdout, '200', run.stderr);
  assert.equal(run.status, 0);
});

test('a hundred workers terminated with live watchers leave the process well', () => {
  const run = runModule(
    `
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    const native = (await import(INDEX)).loadNative();
    let ended = 0;
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 10 }, async (_, i) => {
        const fd = native.createEventFd();
        const worker = new Worker(new URL(process.argv[1]), { execArgv: [], workerData: { fd, busy: i % 3 === 0 } });
        await once(worker, 'message');
        native.ringEventFd(fd);
        if (i % 2 === 0) await once(worker, 'message');
        await worker.terminate();
        native.closeFd(fd);
        ended++;
      }));
    }
    process.stdout.write(String(ended));
  `,
    [WORKER.href],
  );
  assert.equal(run.stdout, '100', run.stderr);
  assert.equal(run.status, 0);
  assert.equal(run.signal, null);
});

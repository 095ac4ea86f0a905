/** Volume files that hang: each call is given up after its time, and nothing of them is closed or unlocked meanwhile. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { type WalDevice, WritePlan } from '../../../src/stream/wal/wal-device.ts';
import { alignedBuffer, pageBytes } from '../../../src/stream/wal/wal-limits.ts';
import { StartWatch } from '../../../src/volumes/start-watch.ts';
import type { VolumeFiles } from '../../../src/volumes/volume-files.ts';
import { WatchedVolumeFiles } from '../../../src/volumes/watched-files.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const limitMs = 3_000;

/** Files and a device of which one call hangs until it is let go; the others answer at once. */
function world() {
  const clock = new VirtualClock();
  const state = { hangs: '', closed: 0, released: 0 };
  let letGo = (): void => {};
  const answer = <T>(name: string, value: T): Promise<T> =>
    name !== state.hangs
      ? Promise.resolve(value)
      : new Promise((resolve) => {
          letGo = () => resolve(value);
        });
  const device: WalDevice = {
    direct: true,
    size: () => pageBytes,
    read: () => answer('read', pageBytes),
    write: (_plan, done) => void answer('write', null).then(done),
    sync: (done) => void answer('sync', null).then(done),
    reread: (_into, _position, done) => void answer('reread', pageBytes).then((bytes) => done(null, bytes)),
    close: async () => {
      state.closed++;
    },
  };
  const files: VolumeFiles = {
    exists: () => answer('exists', true),
    isDirectory: () => answer('isDirectory', false),
    list: () => answer('list', []),
    makeDirectory: () => answer('makeDirectory', undefined),
    remove: () => answer('remove', undefined),
    lock: () => answer('lock', { release: () => void state.released++ }),
    open: () => answer('open', device),
    openAsync: () => answer('openAsync', device),
  };
  const watch = new StartWatch(clock, silentLogger);
  return {
    clock,
    state,
    watch,
    files: new WatchedVolumeFiles(files, watch, limitMs),
    letGo: () => letGo(),
  };
}

const page = alignedBuffer(pageBytes);
const plan = new WritePlan(page, page);
const settled = (start: (done: (error: Error | null) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => start((error) => (error === null ? resolve() : reject(error))));

const ofFiles: Readonly<Record<string, (files: VolumeFiles) => Promise<unknown>>> = {
  exists: (files) => files.exists('/wal'),
  isDirectory: (files) => files.isDirectory('/wal'),
  list: (files) => files.list('/wal'),
  makeDirectory: (files) => files.makeDirectory('/wal'),
  remove: (files) => files.remove('/wal'),
  lock: (files) => files.lock('/wal'),
  open: (files) => files.open('/wal', { create: false }),
  openAsync: (files) => files.openAsync('/wal'),
};
const ofDevices: Readonly<Record<string, (device: WalDevice) => Promise<unknown>>> = {
  read: (device) => device.read(page, 0),
  write: (device) => settled((done) => device.write(plan, done)),
  sync: (device) => settled((done) => device.sync(done)),
  reread: (device) => settled((done) => device.reread!(page, 0, done)),
};

for (const [name, call] of Object.entries(ofFiles)) {
  test(`${name} that hangs is given up after its time`, async () => {
    const { clock, state, files } = world();
    await call(files);
    state.hangs = name;
    const outcome = call(files).catch((error: { code: string }) => error.code);
    await clock.advanceAsync(limitMs);
    assert.equal(await outcome, 'WAL_NO_ANSWER');
  });
}

for (const [name, call] of Object.entries(ofDevices)) {
  test(`${name} of a device that hangs is given up; device and lock stay until it returns`, async () => {
    const { clock, state, files, watch, letGo } = world();
    const lock = await files.lock('/wal');
    const device = await files.open('/wal', { create: false });
    await call(device);
    state.hangs = name;
    const outcome = call(device).catch((error: { code: string }) => error.code);
    await clock.advanceAsync(limitMs);
    assert.equal(await outcome, 'WAL_NO_ANSWER');
    assert.equal(watch.outstanding, 1);
    await device.close();
    assert.ok(!('heldBy' in lock));
    lock.release();
    assert.deepEqual([state.closed, state.released], [0, 0]);
    letGo();
    await clock.settle();
    assert.equal(watch.outstanding, 0);
    await device.close();
    lock.release();
    assert.deepEqual([state.closed, state.released], [1, 1]);
  });
}

test('what a device cannot do is not pretended', async () => {
  const { files } = world();
  const device = await files.open('/wal', { create: false });
  assert.equal(device.direct, true);
  assert.equal(device.size(), pageBytes);
  assert.equal(device.peek, undefined);
});

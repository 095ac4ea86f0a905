import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FileStore } from '../../src/store/file-store.ts';
import { guardStore } from '../../src/store/guard-store.ts';
import { StoreStats, storeStatDoubles } from '../../src/store/store-stats.ts';
import { HandClock, seededRandom } from '../support/store-fixtures.ts';
import { code, storeContract } from './store-contract.ts';

const clock = new HandClock();
const temporaryRoot = (): Promise<string> => mkdtemp(join(tmpdir(), 'millrace-store-'));

storeContract('file', async () => {
  const root = await temporaryRoot();
  return {
    store: await FileStore.open(join(root, 'store'), { clock, random: seededRandom(1) }),
    stop: () => rm(root, { recursive: true }),
  };
});

describe('file store', () => {
  it('says, through every decorator, that this machine pays for copies', async () => {
    const root = await temporaryRoot();
    const store = await FileStore.open(root, { clock, random: seededRandom(2) });
    const guarded = guardStore(store, {
      clock,
      random: seededRandom(3),
      stats: new StoreStats(new Float64Array(storeStatDoubles)),
    });
    assert.equal(guarded.copyCost, 'bytes');
    await rm(root, { recursive: true });
  });

  it('keeps the tree of a bucket and leaves no temporaries', async () => {
    const root = await temporaryRoot();
    const store = await FileStore.open(root, { clock, random: seededRandom(2) });
    await store.put('meta/log/0', [Buffer.from('x')], { ifAbsent: true });
    await store.put('meta/log/0', [Buffer.from('y')]);
    await code(store.put('meta/log/0', [Buffer.from('z')], { ifAbsent: true }));
    const upload = await store.multipart('data/ab/1');
    await upload.uploadPart(2, [Buffer.from('b')]);
    await upload.uploadPart(1, [Buffer.from('a')]);
    await upload.complete();
    const lost = await store.multipart('data/ab/2');
    await lost.uploadPart(2, [Buffer.from('b')]);
    await lost.abort();
    assert.deepEqual(await readdir(join(root, '.tmp')), []);
    assert.deepEqual((await readdir(root, { recursive: true })).sort(), [
      '.tmp',
      'data',
      'data/ab',
      'data/ab/1',
      'meta',
      'meta/log',
      'meta/log/0',
    ]);
    assert.equal((await stat(join(root, 'meta/log/0'))).nlink, 1);
    await rm(root, { recursive: true });
  });

  it('sweeps temporaries a day old when it opens, not younger ones', async () => {
    const root = await temporaryRoot();
    await FileStore.open(root, { clock, random: seededRandom(3) });
    for (const [name, hours] of [
      ['old', 25],
      ['young', 23],
    ] as const) {
      const path = join(root, '.tmp', name);
      await writeFile(path, 'left behind');
      const seconds = clock.now() / 1000 - hours * 3600;
      await utimes(path, seconds, seconds);
    }
    await FileStore.open(root, { clock, random: seededRandom(4) });
    assert.deepEqual(await readdir(join(root, '.tmp')), ['young']);
    await rm(root, { recursive: true });
  });

  it('refuses a multipart upload with a hole or an unfinished part', async () => {
    const root = await temporaryRoot();
    const store = await FileStore.open(root, { clock, random: seededRandom(5) });
    const holed = await store.multipart('holed');
    await holed.uploadPart(1, [Buffer.from('a')]);
    await holed.uploadPart(3, [Buffer.from('c')]);
    assert.equal(await code(holed.complete()), 'invalid STORE_MISUSE');
    await holed.abort();
    const failed = await store.multipart('failed');
    assert.equal(await code(failed.copyPart(1, 'nothing', 0, 5)), 'invalid STORE_NOT_FOUND');
    assert.equal(await code(failed.complete()), 'invalid STORE_MISUSE');
    await failed.abort();
    assert.equal(await store.head('holed'), null);
    assert.deepEqual(await readdir(join(root, '.tmp')), []);
    await rm(root, { recursive: true });
  });
});

describe('file store whose directories cannot be fsynced', () => {
  async function world() {
    const root = await temporaryRoot();
    const synced: string[] = [];
    const state = { failing: false, held: null as Promise<void> | null };
    const store = await FileStore.open(join(root, 'made', 'store'), {
      clock,
      random: seededRandom(7),
      syncDirectory: async (directory) => {
        await state.held;
        if (state.failing) throw Object.assign(new Error('EIO'), { code: 'EIO' });
        synced.push(directory);
      },
    });
    const create = (text: string): Promise<void> =>
      store.put('meta/log/1', [Buffer.from(text)], { ifAbsent: true });
    return { root, store, state, synced, create, stop: () => rm(root, { recursive: true }) };
  }

  it('makes its own directory and everything above it durable when it opens', async () => {
    const { root, synced, stop } = await world();
    for (const directory of [join(root, 'made', 'store'), join(root, 'made'), root, tmpdir()])
      assert.ok(synced.includes(directory), directory);
    await stop();
  });

  it('concludes neither that a key is stored nor that it is not, until an fsync succeeds', async () => {
    const { store, state, synced, create, stop } = await world();
    await store.put('meta/log/0', [Buffer.from('before')]);
    state.failing = true;
    assert.equal(await code(create('mine')), 'unavailable STORE_UNAVAILABLE');
    assert.equal(await code(create('mine again')), 'unavailable STORE_UNAVAILABLE', 'not: it exists');
    assert.equal(await code(store.get('meta/log/1')), 'unavailable STORE_UNAVAILABLE', 'not: mine');
    assert.equal(await code(store.head('meta/log/1')), 'unavailable STORE_UNAVAILABLE');
    assert.equal((await store.get('meta/log/0')).toString(), 'before', 'others are not in doubt');
    state.failing = false;
    const before = synced.length;
    assert.equal(await code(create('mine again')), 'invalid STORE_EXISTS');
    assert.ok(synced.length > before, 'what exists is durable when that is said');
    assert.equal((await store.get('meta/log/1')).toString(), 'mine');
    await stop();
  });

  it('tells nobody of a key whose fsync has not returned', async () => {
    const { store, state, create, stop } = await world();
    await store.put('meta/log/0', [Buffer.from('before')]);
    let letGo!: () => void;
    state.held = new Promise((resolve) => {
      letGo = resolve;
    });
    const putting = create('mine');
    let found = false;
    while (!found) found = (await readdir(join(store.root, 'meta', 'log'))).includes('1');
    let told = false;
    const reading = store.get('meta/log/1').then((bytes) => {
      told = true;
      return bytes;
    });
    assert.equal((await store.get('meta/log/0')).toString(), 'before');
    assert.equal(told, false);
    letGo();
    await putting;
    assert.equal((await reading).toString(), 'mine');
    await stop();
  });
});

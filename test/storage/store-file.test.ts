import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FileStore } from '../../src/store/file-store.ts';
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

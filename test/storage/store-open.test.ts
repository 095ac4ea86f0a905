import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { openStore } from '../../src/store/open-store.ts';
import { crc32cForTests, HandClock, seededRandom } from '../support/store-fixtures.ts';
import { code } from './store-contract.ts';

const options = { clock: new HandClock(), random: seededRandom(1), crc32c: crc32cForTests };

describe('store by URL', () => {
  it('opens directories', async () => {
    const root = await mkdtemp(join(tmpdir(), 'millrace-open-'));
    const url = pathToFileURL(join(root, 'a b', 'store')).href;
    const store = await openStore(url, options);
    await store.put('k', [Buffer.from('x')]);
    assert.equal(store.url, url);
    assert.equal((await (await openStore(url, options)).get('k')).toString(), 'x');
    await rm(root, { recursive: true });
  });

  it('opens one memory store per name', async () => {
    await (await openStore('memory:shared', options)).put('k', [Buffer.from('x')]);
    assert.notEqual(await (await openStore('memory:shared', options)).head('k'), null);
    assert.equal(await (await openStore('memory:other', options)).head('k'), null);
    await (await openStore('memory:', options)).put('k', []);
    assert.equal(await (await openStore('memory:', options)).head('k'), null);
  });

  it('opens buckets without asking the network', async () => {
    const store = await openStore('s3://bucket/a/b/?region=eu-central-1', options);
    assert.equal(store.url, 's3://bucket/a/b');
    await store.close();
  });

  it('refuses what it does not know, without repeating secrets', async () => {
    const wrong = ['', 'nothing', 'http://x/', 's3:///x', 's3://b/?regin=x', 's3://b/?pathStyle=yes'];
    for (const url of [...wrong, 's3://b/?encryption=none', 's3://key:secret@b/']) {
      assert.equal(await code(openStore(url, options)), 'invalid STORE_URL', url);
    }
    await assert.rejects(
      openStore('s3://key:secret@b/', options),
      (error: Error) => !/secret/.test(error.message),
    );
  });
});

/** The contract suite that every object store adapter passes. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MillraceError } from '../../src/ports/errors.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';

export interface StoreUnderTest {
  readonly store: ObjectStore;
  stop(): Promise<void>;
}

export async function code(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'resolved',
    (error: unknown) => (error instanceof MillraceError ? `${error.kind} ${error.code}` : String(error)),
  );
}

/** `partBytes`: smallest size of a part that is not the last. */
export function storeContract(name: string, start: () => Promise<StoreUnderTest>, partBytes = 5): void {
  describe(`object store contract: ${name}`, () => {
    let under: StoreUnderTest;
    let store: ObjectStore;
    before(async () => {
      under = await start();
      store = under.store;
    });
    after(async () => {
      await store.close();
      await under.stop();
    });

    const text = async (key: string): Promise<string> => (await store.get(key)).toString();
    const body = (...parts: string[]): Buffer[] => parts.map((part) => Buffer.from(part));

    it('gives back what was put, from several buffers, and replaces it', async () => {
      await store.put('a/one', body('first ', '', 'object'));
      assert.equal(await text('a/one'), 'first object');
      await store.put('a/one', body('second'));
      assert.equal(await text('a/one'), 'second');
      await store.put('a/empty', []);
      assert.equal(await text('a/empty'), '');
    });

    it('takes bodies in shared memory and does not keep them', async () => {
      const shared = new Uint8Array(new SharedArrayBuffer(300_000), 7, 200_000).fill(9);
      await store.put('shared', [shared, shared.subarray(0, 10)]);
      shared.fill(1);
      const got = await store.get('shared');
      assert.equal(got.length, 200_010);
      assert.ok(got.every((byte) => byte === 9));
    });

    it('takes a body of thousands of pieces', async () => {
      const pieces = Array.from({ length: 2_500 }, (_, i) => Buffer.alloc(1 + (i % 7), i));
      await store.put('pieces', pieces);
      assert.deepEqual(await store.get('pieces'), Buffer.concat(pieces));
    });

    it('creates an object at most once when asked to', async () => {
      await store.put('once/1', body('winner'), { ifAbsent: true });
      assert.equal(
        await code(store.put('once/1', body('loser'), { ifAbsent: true })),
        'invalid STORE_EXISTS',
      );
      assert.equal(await text('once/1'), 'winner');
      const results = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          code(store.put('once/race', body(`writer ${i}`), { ifAbsent: true })),
        ),
      );
      assert.equal(results.filter((result) => result === 'resolved').length, 1);
      assert.equal(await text('once/race'), `writer ${results.indexOf('resolved')}`);
    });

    it('reads ranges, cut at the end of the object', async () => {
      await store.put('ranged', body('0123456789'));
      assert.equal((await store.get('ranged', { start: 2, end: 5 })).toString(), '234');
      assert.equal((await store.get('ranged', { start: 8, end: 50 })).toString(), '89');
      assert.equal((await store.get('ranged', { start: 10, end: 12 })).length, 0);
      assert.equal((await store.get('ranged', { start: 4, end: 4 })).length, 0);
    });

    it('reads into the memory it is given, shared memory too', async () => {
      await store.put('into', body('0123456789'));
      const into = Buffer.from(new SharedArrayBuffer(8)).fill('.');
      assert.equal(await store.getInto('into', 3, into.subarray(1, 5)), 4);
      assert.equal(Buffer.from(into).toString(), '.3456...');
      assert.equal(await store.getInto('into', 8, into), 2);
      assert.equal(Buffer.from(into).toString(), '89456...');
    });

    it('reads many ranges at once, wherever they lie in memory', async () => {
      const whole = Buffer.from(Array.from({ length: 1 << 20 }, (_, i) => (i * 7 + (i >>> 9)) & 0xff));
      await store.put('ranges', [whole]);
      const step = 100_003;
      const count = Math.ceil(whole.length / step);
      const into = Buffer.from(new SharedArrayBuffer(whole.length + 13), 13);
      const lengths = await Promise.all(
        Array.from({ length: count }, (_, i) =>
          store.getInto('ranges', i * step, into.subarray(i * step, (i + 1) * step)),
        ),
      );
      assert.equal(
        lengths.reduce((sum, length) => sum + length, 0),
        whole.length,
      );
      assert.ok(whole.equals(into), 'bytes of one range stand in another');
    });

    it('tells missing objects', async () => {
      assert.equal(await code(store.get('not/there')), 'invalid STORE_NOT_FOUND');
      assert.equal(await code(store.get('not/there', { start: 0, end: 1 })), 'invalid STORE_NOT_FOUND');
      assert.equal(await code(store.getInto('not/there', 0, Buffer.alloc(1))), 'invalid STORE_NOT_FOUND');
      assert.equal(await store.head('not/there'), null);
      assert.equal(await store.head('a'), null);
    });

    it('tells size and age', async () => {
      await store.put('headed', body('12345'));
      const info = await store.head('headed');
      assert.equal(info?.key, 'headed');
      assert.equal(info?.size, 5);
      assert.ok(info !== null && Number.isInteger(info.modifiedMs) && info.modifiedMs > 1_600_000_000_000);
    });

    it('lists in key order, by prefix, page by page', async () => {
      const keys = ['l/a', 'l/a-b', 'l/a.b', 'l/a/1', 'l/a/2', 'l/a0', 'l/b/c/d', 'l/b/c/e', 'l/b/d', 'l/c'];
      for (const key of [...keys].reverse()) if (key !== 'l/a') await store.put(key, body(key));
      const expected = keys.filter((key) => key !== 'l/a');
      const names = async (prefix: string, options?: { after?: string; limit?: number }): Promise<string[]> =>
        (await store.list(prefix, options)).map((info) => info.key);
      assert.deepEqual(await names('l/'), expected);
      assert.deepEqual(await names('l/a'), expected.slice(0, 5));
      assert.deepEqual(await names('l/b/c/'), ['l/b/c/d', 'l/b/c/e']);
      assert.deepEqual(await names('l/b/c/d'), ['l/b/c/d']);
      assert.deepEqual(await names('l/zzz/'), []);
      const paged: string[] = [];
      for (let page = await names('l/', { limit: 2 }); page.length > 0; ) {
        paged.push(...page);
        page = await names('l/', { limit: 2, after: page.at(-1)! });
      }
      assert.deepEqual(paged, expected);
      assert.deepEqual(await names('l/', { after: 'l/a/' }), expected.slice(2));
      assert.deepEqual(await names('l/', { after: 'zzz' }), []);
      assert.equal((await store.list('l/c'))[0]?.size, 3);
      assert.ok((await names('')).includes('l/c'));
    });

    it('deletes, and does not mind what is gone', async () => {
      await store.put('d/1', body('x'));
      await store.put('d/2', body('x'));
      await store.delete(['d/1', 'd/none', 'd/2']);
      assert.equal(await store.head('d/1'), null);
      assert.equal(await code(store.get('d/2')), 'invalid STORE_NOT_FOUND');
      await store.delete([]);
      await store.put('d/1', body('again'), { ifAbsent: true });
      assert.equal(await text('d/1'), 'again');
    });

    it('assembles multipart uploads whole or not at all', async () => {
      const any = store.partRule === undefined || store.partRule === 'any';
      const parts = [1, 2, 3].map((n) => Buffer.alloc(any ? partBytes + n : partBytes, n));
      const upload = await store.multipart('m/parallel');
      await Promise.all(
        parts.map((part, i) => upload.uploadPart(i + 1, [part.subarray(0, 3), part.subarray(3)])),
      );
      assert.equal(await store.head('m/parallel'), null);
      assert.ok(!(await store.list('')).some((info) => info.key.startsWith('m/')));
      await upload.complete();
      assert.deepEqual(await store.get('m/parallel'), Buffer.concat(parts));

      const backwards = await store.multipart('m/backwards');
      for (const i of [2, 0, 1]) await backwards.uploadPart(i + 1, [parts[i]!]);
      await backwards.complete();
      assert.deepEqual(await store.get('m/backwards'), Buffer.concat(parts));

      const aborted = await store.multipart('m/aborted');
      await aborted.uploadPart(1, [parts[0]!]);
      await aborted.abort();
      assert.equal(await store.head('m/aborted'), null);
    });

    it('lists unfinished uploads, and ends them', async () => {
      const keys = ['u/a', 'u/b/1', 'u/b/2'];
      const uploads = [];
      for (const key of keys) {
        const upload = await store.multipart(key);
        await upload.uploadPart(1, [Buffer.alloc(partBytes, 1)]);
        uploads.push(upload);
      }
      const listed = await store.listUploads('u/');
      assert.deepEqual(
        listed.map((upload) => upload.key),
        keys,
      );
      for (const { startedMs } of listed) assert.ok(Number.isInteger(startedMs) && startedMs > 1e12);
      assert.deepEqual(
        (await store.listUploads('u/b/')).map((upload) => upload.key),
        ['u/b/1', 'u/b/2'],
      );
      const first = await store.listUploads('u/', { limit: 2 });
      assert.deepEqual(first, listed.slice(0, 2));
      assert.deepEqual(await store.listUploads('u/', { after: 'u/b/1' }), listed.slice(2));
      assert.deepEqual(await store.listUploads('none/'), []);
      await store.abortUpload(listed[1]!);
      await store.abortUpload(listed[1]!);
      await uploads[2]!.complete();
      await uploads[0]!.abort();
      await uploads[1]!.abort();
      assert.deepEqual(await store.listUploads(''), []);
      assert.equal(await store.head('u/b/1'), null);
      assert.equal((await store.get('u/b/2')).length, partBytes);
    });

    it('copies a range of another object as a part', async () => {
      const source = Buffer.from(Array.from({ length: partBytes * 2 + 100 }, (_, i) => i % 251));
      await store.put('m/source', [source]);
      const upload = await store.multipart('m/copied');
      if (store.partRule === 'written') {
        assert.notEqual(await code(upload.copyPart(1, 'm/source', 0, partBytes)), 'resolved');
        return upload.abort();
      }
      await Promise.all([
        upload.copyPart(1, 'm/source', 50, 50 + partBytes),
        upload.uploadPart(2, [Buffer.from('tail')]),
      ]);
      await upload.complete();
      const expected = Buffer.concat([source.subarray(50, 50 + partBytes), Buffer.from('tail')]);
      assert.deepEqual(await store.get('m/copied'), expected);
    });

    it('refuses keys that leave the tree or hide in it', async () => {
      for (const key of ['', '/a', 'a/', 'a//b', '../a', 'a/../b', '.tmp/x', 'a/.b', 'a b']) {
        assert.equal(await code(store.put(key, body('x'))), 'invalid STORE_MISUSE', key);
      }
    });
  });
}

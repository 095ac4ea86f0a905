/** The doctor over healthy stores, and over stores that lie in one way each. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type DoctorReport, examine } from '../../../src/inspect/doctor.ts';
import { doctorText } from '../../../src/inspect/doctor-text.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type {
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from '../../../src/store/object-store.ts';
import { forbidden, unavailable } from '../../../src/store/store-errors.ts';
import { PassingStore } from '../../support/fault-store.ts';
import { InsistingStore } from '../../support/insisting-store.ts';
import { HandClock, seededRandom } from '../../support/store-fixtures.ts';

const clock = new HandClock();
const memory = (): MemoryStore => new MemoryStore(clock);

function look(store: ObjectStore): Promise<DoctorReport> {
  return examine(store, { clock, random: seededRandom(7), partBytes: 1000 });
}

function missing(report: DoctorReport): string[] {
  return report.findings.filter(({ verdict }) => verdict === 'missing').map(({ check }) => check);
}

describe('doctor', () => {
  it('finds nothing wrong with a healthy store, and leaves nothing behind', async () => {
    const store = memory();
    await store.put('meta/log/0', [Buffer.from('a cluster')]);
    const report = await look(store);
    assert.deepEqual(
      report.findings.filter(({ verdict }) => verdict !== 'ok'),
      [],
    );
    assert.equal(report.fit, true);
    assert.ok(report.findings.length >= 12, `${report.findings.length} findings`);
    assert.ok(report.sample !== null && report.sample.smallPut.count === 50);
    assert.deepEqual(
      (await store.list('')).map(({ key }) => key),
      ['meta/log/0'],
    );
    assert.deepEqual(await store.listUploads(''), []);
    assert.match(doctorText(report), /has all that a broker relies on\.\n$/);
  });

  it('only warns of a store that lists uploads by their whole key alone', async () => {
    class Exact extends PassingStore {
      override async listUploads(prefix: string) {
        return (await this.inner.listUploads(prefix)).filter(({ key }) => key === prefix);
      }
    }
    const store = memory();
    const report = await look(new Exact(store));
    assert.deepEqual(
      report.findings.filter(({ verdict }) => verdict !== 'ok').map(({ check, verdict }) => [check, verdict]),
      [['lists and ends unfinished uploads', 'warning']],
    );
    assert.equal(report.fit, true);
    assert.deepEqual(await store.listUploads(''), []);
  });

  it('notices a store that ignores the condition of a creation', async () => {
    class Careless extends PassingStore {
      override put(key: string, body: readonly Uint8Array[], _options?: PutOptions): Promise<void> {
        return this.inner.put(key, body);
      }
    }
    const report = await look(new Careless(memory()));
    assert.deepEqual(missing(report), [
      'creates only if absent',
      'lets exactly one of several racing writers create',
    ]);
    assert.equal(report.fit, false);
    assert.match(
      doctorText(report),
      /MISSING +creates only if absent .*accepted\n +Two brokers could both own/,
    );
  });

  it('notices a store that looks first and writes later', async () => {
    class Late extends PassingStore {
      override async put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
        if (options?.ifAbsent !== true || (await this.inner.head(key)) === null) {
          await new Promise((resolve) => setImmediate(resolve));
          return this.inner.put(key, body);
        }
        return this.inner.put(key, body, options);
      }
    }
    const report = await look(new Late(memory()));
    assert.deepEqual(missing(report), ['lets exactly one of several racing writers create']);
    assert.match(report.findings.find(({ verdict }) => verdict === 'missing')!.found, /8 of 8/);
  });

  it('notices stale lists', async () => {
    class Stale extends PassingStore {
      override async list(
        prefix: string,
        options?: { readonly after?: string; readonly limit?: number },
      ): Promise<ObjectInfo[]> {
        return (await this.inner.list(prefix, options)).slice(0, -1);
      }
    }
    const report = await look(new Stale(memory()));
    assert.ok(missing(report).some((check) => check.startsWith('lists what was written at once')));
  });

  it('notices a list that keeps what was deleted', async () => {
    class Keeping extends PassingStore {
      readonly seen = new Map<string, ObjectInfo>();
      override async list(
        prefix: string,
        options?: { readonly after?: string; readonly limit?: number },
      ): Promise<ObjectInfo[]> {
        const page = await this.inner.list(prefix, options);
        for (const info of page) this.seen.set(info.key, info);
        if (options !== undefined) return page;
        return [...this.seen.values()]
          .filter(({ key }) => key.startsWith(prefix))
          .sort((a, b) => (a.key < b.key ? -1 : 1));
      }
    }
    const report = await look(new Keeping(memory()));
    const seen = report.findings.map(({ found }) => found).join('\n');
    assert.match(seen, /a deleted key is still listed/);
    assert.match(seen, /deleted keys are still listed/);
    assert.equal(report.findings.at(-1)?.verdict, 'warning');
  });

  it('notices a store that drops ranges', async () => {
    class Whole extends PassingStore {
      override get(key: string): Promise<Buffer> {
        return this.inner.get(key);
      }
    }
    assert.deepEqual(missing(await look(new Whole(memory()))), ['reads ranges']);
  });

  it('notices reads of what was there before', async () => {
    class Old extends PassingStore {
      readonly first = new Map<string, Buffer>();
      override async get(
        key: string,
        range?: { readonly start: number; readonly end: number },
      ): Promise<Buffer> {
        const now = await this.inner.get(key, range);
        if (range !== undefined) return now;
        const first = this.first.get(key) ?? now;
        this.first.set(key, first);
        return first;
      }
    }
    const report = await look(new Old(memory()));
    assert.deepEqual(missing(report), ['writes, and reads what was written at once']);
    assert.equal(report.findings[2]?.verdict, 'skipped');
  });

  it('notices parts that are lost, and copies of the wrong range', async () => {
    class Losing extends PassingStore {
      override async multipart(key: string): Promise<MultipartUpload> {
        const upload = await this.inner.multipart(key);
        return {
          uploadPart: (number, body) => (number === 2 ? Promise.resolve() : upload.uploadPart(number, body)),
          copyPart: (number, source, start, end) => upload.copyPart(number, source, start - 1, end - 1),
          complete: () => upload.complete(),
          abort: () => upload.abort(),
        };
      }
    }
    assert.deepEqual(missing(await look(new Losing(memory()))), [
      'uploads in parts',
      'takes parts of different sizes',
      'copies a range inside the store',
    ]);
  });

  it('says which setting helps where parts must be equal, or copies are not made', async () => {
    const equal = await look(new InsistingStore(memory(), 'equal', 'any'));
    assert.deepEqual(missing(equal), ['takes parts of different sizes']);
    assert.equal(equal.fit, false);
    assert.match(doctorText(equal), /same length, not 1000, 5097, 1001, 1000\n +.*set s3\.parts=equal\./);
    const written = await look(new InsistingStore(memory(), 'written', 'equal'));
    assert.deepEqual(missing(written), ['copies a range inside the store']);
    assert.match(doctorText(written), /no copies of parts\n +.*set s3\.parts=written,/);
    for (const rule of ['equal', 'written'] as const) {
      const fit = await look(new InsistingStore(memory(), rule));
      assert.deepEqual(missing(fit), [], rule);
      assert.match(doctorText(fit), new RegExp(`not needed with s3\\.parts=${rule}`));
    }
  });

  it('notices a clock that is far off, and warns of one that is a little', async () => {
    class Skewed extends PassingStore {
      readonly byMs: number;
      constructor(byMs: number) {
        super(memory());
        this.byMs = byMs;
      }
      override async head(key: string): Promise<ObjectInfo | null> {
        const info = await this.inner.head(key);
        return info === null ? null : { ...info, modifiedMs: info.modifiedMs + this.byMs };
      }
    }
    const far = await look(new Skewed(-10 * 60_000));
    assert.deepEqual(missing(far), ['clocks agree']);
    assert.match(doctorText(far), /599\.0 s behind/);
    const near = await look(new Skewed(60_000));
    assert.equal(near.fit, true);
    assert.match(doctorText(near), /warning +clocks agree +the store's clock is 60\.0 s ahead/);
    assert.match(doctorText(near), /with 1 warning\.\n$/);
  });

  it('names the permissions that are missing', async () => {
    class Bound extends PassingStore {
      override delete(): Promise<void> {
        return Promise.reject(forbidden('delete', 'Access Denied'));
      }
      override listUploads(): Promise<never> {
        return Promise.reject(forbidden('list uploads', 'Access Denied'));
      }
    }
    const report = await look(new Bound(memory()));
    assert.deepEqual(report.permissionsMissing, ['s3:DeleteObject', 's3:ListBucketMultipartUploads']);
    assert.match(doctorText(report), /Permissions that are missing: s3:DeleteObject, s3:ListBucket/);
    assert.equal(report.fit, false);
  });

  it('stops at once when the store is not there, and says so', async () => {
    let calls = 0;
    class Away extends PassingStore {
      override list(): Promise<never> {
        calls++;
        return Promise.reject(unavailable('list', 'connect ECONNREFUSED'));
      }
      override listUploads(): Promise<never> {
        calls++;
        return Promise.reject(unavailable('list', 'connect ECONNREFUSED'));
      }
    }
    const report = await look(new Away(memory()));
    assert.equal(calls, 1);
    assert.equal(report.fit, false);
    assert.equal(report.sample, null);
    assert.match(doctorText(report), /MISSING .*ECONNREFUSED\n.*check address, network and proxy/);
    assert.ok(report.findings.slice(1).every(({ verdict }) => verdict === 'skipped'));
  });
});

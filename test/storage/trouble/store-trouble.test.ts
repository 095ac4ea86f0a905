/** The object store in trouble, one kind after the other: docs/operations/failures.md has the table. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import type { StoreOperation } from '../../../src/store/store-decorators.ts';
import { forbidden, throttled, unavailable } from '../../../src/store/store-errors.ts';
import { readAll, until } from '../../support/inline-broker.ts';
import { seededRandom } from '../../support/store-fixtures.ts';
import { values } from '../broker/kafka-calls.ts';
import { TroubleBed, topic } from './trouble-bed.ts';

const often = { 'upload.age.ms': 500 };
/** Objects above 64 KiB go out in parts. */
const parts = { putBytesMax: 65_536, partBytesMax: 65_536, partsInFlight: 2 };
const writes: readonly StoreOperation[] = ['put', 'put-if-absent', 'multipart', 'part', 'complete'];

describe('store trouble', () => {
  let bed: TroubleBed;
  afterEach(() => bed.dispose());

  /** All that was acknowledged is there, before and after a crash. */
  const assertWhole = async (valueBytes = 0): Promise<void> => {
    assert.deepEqual(
      (await readAll(bed.connection, topic)).map((record) => record.value),
      values(bed.producer.next, 0, valueBytes).map((record) => record.value),
    );
    await bed.assertNoStrays();
    await bed.again();
    assert.equal((await readAll(bed.connection, topic)).length, bed.producer.next);
    await bed.producer.assertWindow(bed.connection);
  };

  test('a storm of 503 SlowDown: acks go on, fewer requests at a time, one line, and everything arrives', async () => {
    bed = new TroubleBed({ settings: often });
    await bed.begin(1_000);
    const random = seededRandom(7);
    bed.troubled.trouble = (_operation, key) => (random.below(10) < 9 ? throttled(key, 'SlowDown') : null);
    for (let i = 0; i < 60; i++) {
      assert.equal(await bed.offer(), 0);
      await bed.pass(1_000);
    }
    const { store } = await bed.broker.metrics();
    assert.ok(store.stats.errors('STORE_THROTTLED') > 10);
    assert.ok(store.stats.concurrency < 64, `${store.stats.concurrency} at once`);
    assert.ok(bed.troubled.requests.length < 600, `${bed.troubled.requests.length} requests in a minute`);
    assert.ok(bed.said('asks to slow down') <= 5);
    bed.troubled.trouble = () => null;
    await bed.uploadedWithin(30_000);
    await until(() => bed.said('serves again') === bed.said('asks to slow down'));
    assert.equal((await bed.broker.metrics()).store.available, true);
    await assertWhole(1_000);
  });

  test('latency ten times as high: acks do not notice, uploads take longer', async () => {
    bed = new TroubleBed({ settings: often });
    await bed.begin(1_000);
    // 30 ms are usual here: 300 ms for everything.
    bed.troubled.trouble = () => new Promise((resolve) => bed.clock.after(300, () => resolve(null)));
    for (let i = 0; i < 20; i++) {
      assert.equal(await bed.offer(), 0);
      await bed.pass(200, 100);
    }
    await until(() => bed.lastUpload >= 2);
    await bed.uploadedWithin(20_000);
    assert.equal((await bed.broker.metrics()).uploads.failures, 0);
    bed.troubled.trouble = () => null;
    await assertWhole(1_000);
  });

  test('time-outs after success: nothing twice, nothing lost, nothing left behind', async () => {
    bed = new TroubleBed({ settings: often });
    await bed.begin(1_000);
    const random = seededRandom(8);
    bed.troubled.trouble = (operation) =>
      writes.includes(operation) && random.below(2) === 0 ? 'lost' : null;
    for (let i = 0; i < 20; i++) {
      assert.equal(await bed.offer(), 0);
      await bed.pass(1_000);
    }
    bed.troubled.trouble = () => null;
    await bed.uploadedWithin(12_000);
    await assertWhole(1_000);
  });

  test('all answers to a put are lost: the upload is made anew, and the object that nobody names is removed', async () => {
    bed = new TroubleBed({ settings: often });
    await bed.begin(1_000);
    let lost = 0;
    bed.troubled.trouble = (operation, key) =>
      operation === 'put' && key.startsWith('data/') && lost++ < 6 ? 'lost' : null;
    await bed.offer();
    await bed.uploadedWithin(30_000);
    assert.equal((await bed.broker.metrics()).uploads.failures, 1);
    await until(() => bed.troubled.requests.some(({ operation }) => operation === 'delete'));
    await assertWhole(1_000);
  });

  test('the answer to a complete is lost: the object is there, and is not sent again', async () => {
    bed = new TroubleBed({ layers: { upload: parts } });
    await bed.begin(20_000);
    for (let i = 0; i < 5; i++) await bed.offer();
    let lost = 0;
    bed.troubled.trouble = (operation) => (operation === 'complete' && lost++ === 0 ? 'lost' : null);
    await bed.upload();
    assert.equal(lost, 1);
    assert.equal((await bed.broker.metrics()).uploads.failures, 0);
    await assertWhole(20_000);
  });

  test('NoSuchUpload on complete: the upload is made anew under another id', async () => {
    bed = new TroubleBed({ settings: often, layers: { upload: parts } });
    await bed.begin(20_000);
    const aborted: string[] = [];
    bed.troubled.trouble = async (operation, key) => {
      if (operation !== 'complete' || aborted.length > 0) return null;
      // Somebody, a rule of the bucket for instance, ends it behind the broker's back.
      aborted.push(key);
      for (const upload of await bed.troubled.inner.listUploads(''))
        await bed.troubled.inner.abortUpload(upload);
      return null;
    };
    for (let i = 0; i < 5; i++) await bed.offer();
    await bed.uploadedWithin(10_000);
    assert.equal((await bed.broker.metrics()).uploads.failures, 1);
    const completed = bed.troubled.requests.filter(({ operation }) => operation === 'complete');
    assert.equal(completed.length, 2);
    assert.notEqual(completed[0]!.key, completed[1]!.key);
    assert.deepEqual(await bed.troubled.inner.listUploads(''), []);
    await assertWhole(20_000);
  });

  test('parts fail: the multipart upload is ended, none is left to be paid for', async () => {
    bed = new TroubleBed({ settings: often, layers: { upload: parts } });
    await bed.begin(20_000);
    let refusals = 0;
    bed.troubled.trouble = (operation, key) =>
      operation === 'part' && refusals++ < 20 ? unavailable(key, 'reset') : null;
    for (let i = 0; i < 5; i++) await bed.offer();
    await bed.uploadedWithin(30_000);
    assert.ok((await bed.broker.metrics()).uploads.failures > 0);
    assert.deepEqual(await bed.troubled.inner.listUploads(''), []);
    await assertWhole(20_000);
  });

  test('stale lists: a start reads what the list does not show yet', async () => {
    bed = new TroubleBed();
    await bed.begin();
    await bed.offer();
    const seen = new Set((await bed.troubled.inner.list('')).map((info) => info.key));
    for (let i = 0; i < 5; i++) {
      await bed.offer();
      await bed.upload();
    }
    bed.troubled.listed = (key) => seen.has(key);
    await assertWhole();
  });

  test('an hour away: producing until there is no room, refused then, cached reads go on, back within 30 s', async () => {
    const hours = 24 * 3_600_000;
    bed = new TroubleBed({
      settings: { ...often, 'wal.capacity': '64MiB', 'connections.max.idle.ms': hours },
    });
    await bed.begin(100_000);
    await bed.offer();
    await bed.pass(2_000);
    bed.troubled.trouble = (_operation, key) => unavailable(key, 'connection refused');
    const taken = await bed.fill();
    assert.ok(taken * 400_000 > 4e6, `${taken} batches before the refusal`);
    const failures = async (): Promise<number> => (await bed.broker.metrics()).uploads.failures;
    await bed.pass(20_000);
    const before = await failures();
    await bed.pass(120_000);
    const tries = (await failures()) - before;
    assert.ok(tries >= 5 && tries <= 16, `${tries} tries in two minutes: pauses of 5 to 10 s`);
    bed.troubled.requests = [];
    const lines = bed.lines.filter((line) => line.level !== 'debug').length;
    for (let minute = 0; minute < 60; minute++) {
      await bed.pass(60_000, 5_000);
      if (minute % 20 === 0) {
        assert.equal(await bed.offer(), ErrorCode.NOT_ENOUGH_REPLICAS, 'refused, and told so at once');
        assert.equal((await readAll(bed.connection, topic)).length, bed.producer.next);
      }
    }
    const { store } = await bed.broker.metrics();
    assert.equal(store.available, false);
    assert.equal(bed.said('does not answer'), 1, 'said once');
    assert.ok(bed.lines.filter((line) => line.level !== 'debug').length - lines < 500);
    // At most 6 attempts each 10 s, and the journal's look ahead: no storm.
    assert.ok(bed.troubled.requests.length < 360 * 20, `${bed.troubled.requests.length} requests in an hour`);
    const { deltaBytes, pendingBytes } = await bed.shard();
    assert.ok(deltaBytes! + pendingBytes! <= bed.config().logCacheBytes + 400_000);
    bed.troubled.trouble = () => null;
    await bed.uploadedWithin(30_000);
    assert.equal(await bed.offer(), 0);
    // Reads are known to work again when the journal has looked ahead.
    await bed.pass(11_000);
    assert.equal((await bed.broker.metrics()).store.available, true);
    assert.equal(bed.said('serves again'), 1);
    await assertWhole(100_000);
  });

  for (const [what, error] of [
    ['the bucket is gone', (key: string) => forbidden(key, 'NoSuchBucket')],
    ['access is denied', (key: string) => forbidden(key, 'AccessDenied')],
  ] as const) {
    test(`${what}: said once in words, acks go on, and all is well when it is back`, async () => {
      bed = new TroubleBed({ settings: often });
      await bed.begin(1_000);
      await bed.offer();
      bed.troubled.trouble = (_operation, key) => error(key);
      for (let i = 0; i < 30; i++) {
        assert.equal(await bed.offer(), 0);
        await bed.pass(2_000);
      }
      assert.equal(bed.said('refuses this broker'), 1);
      assert.equal((await bed.broker.metrics()).store.available, false);
      assert.equal((await readAll(bed.connection, topic)).length, bed.producer.next);
      bed.troubled.trouble = () => null;
      await bed.uploadedWithin(30_000);
      await bed.pass(11_000);
      assert.equal(bed.said('serves again'), 1);
      await assertWhole(1_000);
    });
  }

  test('writes are denied and reads are not: no flapping between the two', async () => {
    bed = new TroubleBed({ settings: often });
    await bed.begin(1_000);
    bed.troubled.trouble = (operation, key) =>
      writes.includes(operation) ? forbidden(key, 'AccessDenied') : null;
    for (let i = 0; i < 30; i++) {
      assert.equal(await bed.offer(), 0);
      await bed.pass(2_000);
    }
    assert.equal(bed.said('refuses this broker'), 1);
    assert.equal(bed.said('serves again'), 0);
    bed.troubled.trouble = () => null;
    await bed.uploadedWithin(30_000);
    await assertWhole(1_000);
  });

  test('the file store is full: as when it is away, and goes on when there is room again', async () => {
    bed = new TroubleBed({ store: 'file', settings: often });
    await bed.begin(1_000);
    const full = Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
    bed.troubled.trouble = (operation, key) => (writes.includes(operation) ? unavailable(key, full) : null);
    for (let i = 0; i < 20; i++) {
      assert.equal(await bed.offer(), 0);
      await bed.pass(2_000);
    }
    assert.equal(bed.said('does not answer'), 1);
    assert.ok(
      bed.lines.some((line) => String(line.fields.error).includes('ENOSPC')),
      'the log says why',
    );
    bed.troubled.trouble = () => null;
    await bed.uploadedWithin(30_000);
    await assertWhole(1_000);
  });

  test('a put of the journal that is never answered does not hold up an abort', async () => {
    bed = new TroubleBed();
    await bed.begin();
    await bed.offer();
    let asked = false;
    bed.troubled.trouble = (operation) => {
      if (operation !== 'put-if-absent') return null;
      asked = true;
      return new Promise(() => {});
    };
    bed.upload().catch(() => {});
    await until(() => asked);
    await bed.broker.abort();
    bed.troubled.trouble = () => null;
    await bed.start();
    bed.connection = await bed.connect();
    assert.equal((await readAll(bed.connection, topic)).length, bed.producer.next);
  });

  test('reads of what is only in the store fail with a retriable error while it is away, others go on', async () => {
    bed = new TroubleBed({ settings: often });
    await bed.begin(1_000);
    await bed.offer();
    await bed.upload();
    await bed.again();
    assert.equal(await bed.offer(), 0);
    bed.troubled.trouble = (_operation, key) => unavailable(key, 'connection refused');
    const cold = bed.connection.fetch(topic, 0, 0, { maxWaitMs: 500 });
    const passing = bed.pass(10_000, 500);
    const { errorCode, records } = await cold;
    await passing;
    assert.ok(
      errorCode === ErrorCode.KAFKA_STORAGE_ERROR || (records?.byteLength ?? 0) === 0,
      `error ${errorCode}`,
    );
    const tail = await bed.connection.fetch(topic, 0, bed.producer.next - 4, { maxWaitMs: 500 });
    assert.equal(tail.errorCode, 0);
    assert.ok(tail.records!.byteLength > 0);
    bed.troubled.trouble = () => null;
    await bed.pass(10_000);
    assert.equal((await readAll(bed.connection, topic)).length, bed.producer.next);
  });
});

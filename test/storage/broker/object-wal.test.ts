/** A broker whose write-ahead log is objects in its store: no disk, and whoever starts next fences it. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { afterEach, describe, test } from 'node:test';
import type { BrokerConfig } from '../../../src/broker/broker-config.ts';
import { BrokerBed, readAll, until } from '../../support/inline-broker.ts';
import { CountingProducer, leaderEpoch, values } from './kafka-calls.ts';

const topic = 'records';
const settings = { 'wal.url': 'store:' };
const takeOver: Partial<BrokerConfig> = { takeOver: true };

describe('object WAL', () => {
  let bed: BrokerBed;
  let other: BrokerBed | null = null;
  afterEach(async () => {
    await other?.dispose();
    other = null;
    await bed.dispose();
  });

  const begun = async (): Promise<CountingProducer> => {
    bed = new BrokerBed({ settings });
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    return CountingProducer.create(connection, topic);
  };
  const produce = async (producer: CountingProducer, batches: number): Promise<void> =>
    producer.produce(await bed.connect(), batches);

  const walKeys = async (): Promise<string[]> =>
    (await (await bed.openStore()).list('wal/')).map(({ key }) => key.split('/')[2]!);

  test('crash after crash, another directory each time: everything acknowledged is there', async () => {
    const producer = await begun();
    const { storeUrl } = bed;
    for (let life = 0; life < 4; life++) {
      await produce(producer, 3);
      if (life === 2) await bed.upload();
      const { logId } = bed.broker['volumes'][0]!;
      await bed.crash();
      assert(!existsSync(bed.dataDir) || readdirSync(bed.dataDir).every((name) => name.startsWith('lock')));
      const next = new BrokerBed({ settings });
      await next.start({ storeUrl, ...takeOver });
      await bed.dispose();
      bed = next;
      assert.equal(bed.broker['volumes'][0]!.logId, logId, 'the same log goes on');
      const connection = await bed.connect();
      assert.deepEqual(await readAll(connection, topic), values(producer.next), `life ${life}`);
      assert.equal(await leaderEpoch(connection, topic), life + 1);
      await producer.assertWindow(connection);
    }
  });

  test('stopped in order: nothing of the log is left but its first object, seals and sign; the next start waits for nobody', async () => {
    const producer = await begun();
    await produce(producer, 5);
    assert.equal(await bed.stop(), 'clean');
    const keys = await walKeys();
    assert.deepEqual(keys.filter((key) => key !== 'alive').map(Number), [0, 1], 'birth and seal');
    await bed.start();
    const connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
    await producer.assertWindow(connection);
    assert(!bed.lines.some((line) => line.message.includes('waiting until')));
  });

  test('a start waits until the owner was silent for 30 s, and says so', async () => {
    const producer = await begun();
    await produce(producer, 2);
    await bed.crash();
    const starting = bed.start();
    await until(() => bed.lines.some((line) => line.message.includes('silent for 30 s')));
    let started = false;
    void starting.then(() => {
      started = true;
    });
    for (let waited = 0; waited < 28_000; waited += 2_000) {
      bed.clock.jump(2_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(started, false, 'not before its time');
    for (let tries = 0; tries < 10 && !started; tries++) {
      bed.clock.jump(2_000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await starting;
    assert.deepEqual(await readAll(await bed.connect(), topic), values(producer.next));
  });

  test('a second broker is refused while the first one lives, idle as it may be', async () => {
    const producer = await begun();
    await produce(producer, 2);
    const second = new BrokerBed({ settings });
    other = second;
    // Both on one clock, as on one store.
    second.clock = bed.clock;
    const before = await walKeys();
    const refusal = assert.rejects(second.start({ storeUrl: bed.storeUrl }), {
      code: 'WAL_OWNER_ALIVE',
      message: /node 0 on .* is alive.*--take-over/,
    });
    await until(() => second.lines.some((line) => line.message.includes('silent for 30 s')));
    for (let waited = 0; waited < 20_000; waited += 1_000) {
      bed.clock.jump(1_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await refusal;
    assert.deepEqual(
      (await walKeys()).filter((key) => key !== 'alive'),
      before.filter((key) => key !== 'alive'),
      'nothing was written',
    );
    await produce(producer, 1);
    assert.deepEqual(await readAll(await bed.connect(), topic), values(producer.next));
  });

  test('taken over while it lives: the older broker acknowledges nothing more, is told, and ends; nothing is lost', async () => {
    const producer = await begun();
    await produce(producer, 3);
    const older = await bed.connect();
    const second = new BrokerBed({ settings });
    other = second;
    await second.start({ storeUrl: bed.storeUrl, ...takeOver });
    await assert.rejects(producer.produce(older, 1));
    const failed = (await bed.broker.failed) as Error & { kind: string; code: string };
    assert.equal(failed.kind, 'fenced');
    assert.equal(failed.code, 'WAL_FENCED');
    const younger = await second.connect();
    assert.deepEqual(await readAll(younger, topic), values(6));
  });

  test('taken over while it is idle: it finds the seal of the metadata within 10 s', async () => {
    await begun();
    const second = new BrokerBed({ settings });
    other = second;
    await second.start({ storeUrl: bed.storeUrl, ...takeOver });
    await bed.jump(10_001);
    assert.equal(((await bed.broker.failed) as Error & { kind: string }).kind, 'fenced');
  });

  test('the store is away for a while: produce waits, and goes on by itself', async () => {
    const producer = await begun();
    await produce(producer, 1);
    const connection = await bed.connect();
    bed.store.outage = true;
    let done = false;
    const producing = producer.produce(connection, 2).then(() => {
      done = true;
    });
    for (let waited = 0; waited < 20; waited++) {
      bed.clock.jump(100);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(done, false);
    bed.store.outage = false;
    while (!done) {
      bed.clock.jump(100);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await producing;
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
  });

  test('a bucket without the log: refused by name; given up, the cluster goes on from its objects', async () => {
    const producer = await begun();
    await produce(producer, 2);
    await bed.upload();
    await produce(producer, 3);
    const { logId } = bed.broker['volumes'][0]!;
    await bed.crash();
    const store = await bed.openStore();
    await store.delete((await store.list(`wal/${logId}/`)).map(({ key }) => key));
    await assert.rejects(bed.start(takeOver), {
      code: 'WAL_MISSING',
      message: new RegExp(`${logId}.*--abandon-wal ${logId}`),
    });
    await bed.start({ abandonWals: [logId] });
    assert.deepEqual(await readAll(await bed.connect(), topic), values(4));
  });

  test('a commit gone from the bucket is damage, and the message says what is lost', async () => {
    const producer = await begun();
    for (let i = 0; i < 40; i++) await produce(producer, 1);
    const { logId } = bed.broker['volumes'][0]!;
    await bed.crash();
    const store = await bed.openStore();
    await store.delete([`wal/${logId}/${'19'.padStart(20, '0')}`]);
    await assert.rejects(bed.start(takeOver), {
      code: 'WAL_DAMAGED',
      message: /offsets \d+ to \d+.*missing commits: 19/,
    });
    bed.lines.length = 0;
    await bed.start({ abandonWals: [logId] });
    const told = bed.lines.find((line) => line.message === 'offsets given up')!;
    assert.deepEqual([told.fields.topic, told.fields.from, told.fields.until], [topic, 0, producer.next]);
  });
});

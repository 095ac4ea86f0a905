/** A log of objects that was given up while its owner slept: deleted from the bucket, and still no trap when it wakes. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { sequencedHeaderBytes } from '../../../src/store/sequenced-object.ts';
import { unavailable } from '../../../src/store/store-errors.ts';
import { WalSweep } from '../../../src/upkeep/wal-sweep.ts';
import { BrokerBed, readAll, until } from '../../support/inline-broker.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';
const settings = { 'wal.url': 'store:' };
const hour = 3_600_000;

describe('an object WAL that was given up', () => {
  const beds: BrokerBed[] = [];
  afterEach(async () => {
    for (const bed of beds.splice(0)) await bed.dispose();
  });

  for (const fate of ['stored, its answer lost', 'not stored yet'] as const)
    test(`its owner slept in the middle of a put that was ${fate}`, async () => {
      // Its time is the test's alone: no timer of a broker hears of it.
      const storeClock = new HandClock();
      const bucket = new MemoryStore(storeClock);
      const bedOn = (): BrokerBed => {
        const bed = new BrokerBed({ settings, layers: { store: () => bucket } });
        beds.push(bed);
        return bed;
      };
      const older = bedOn();
      await older.start();
      const connection = await older.connect();
      await connection.createTopic(topic, 1);
      const producer = await CountingProducer.create(connection, topic);
      await producer.produce(connection, 2);
      await older.upload();
      const uploaded = producer.next;
      await producer.produce(connection, 3);
      const { logId } = older.broker['volumes'][0]!;

      let asleep = 0;
      let wake = (): void => {};
      const morning = new Promise<void>((resolve) => {
        wake = resolve;
      });
      const sleep = async (key: string): Promise<void> => {
        if (!key.startsWith(`wal/${logId}/0`)) return;
        asleep++;
        await morning;
        if (fate === 'stored, its answer lost' && asleep === 1) throw unavailable(key, 'the answer was lost');
      };
      if (fate === 'stored, its answer lost') older.store.afterPut = sleep;
      else older.store.beforePut = sleep;
      let acknowledged = false;
      const late = producer.produce(connection, 1).then(
        () => {
          acknowledged = true;
        },
        () => {},
      );
      await until(() => asleep === 1);

      const younger = bedOn();
      await younger.start({ abandonWals: [logId] });
      assert.notEqual(younger.broker['volumes'][0]!.logId, logId);
      const there = await younger.connect();
      assert.deepEqual(await readAll(there, topic), values(uploaded), 'what only the log held is given up');
      const sweep = younger.broker['background'].find((each) => each instanceof WalSweep)!;
      const left = async (): Promise<string[]> =>
        (await bucket.list(`wal/${logId}/`))
          .filter(({ size }) => size > sequencedHeaderBytes)
          .map(({ key }) => key.slice(`wal/${logId}/`.length).replace(/^0+(?=\d)/, ''));
      await sweep.pass();
      const data = await left();
      assert.ok(data.length >= 5, data.join());
      storeClock.advance(hour);
      await sweep.pass();
      assert.deepEqual(await left(), ['0'], 'its first object stays, and seals');
      assert.equal(sweep.failures, 0);

      wake();
      const failed = (await older.broker.failed) as Error & { code: string };
      assert.equal(failed.code, 'WAL_FENCED');
      await late;
      assert.equal(acknowledged, false, 'acknowledged into a log that nobody will read');
      assert.deepEqual(await left(), ['0']);
      const again = await CountingProducer.create(there, topic);
      assert.deepEqual(await again.send(there, 0, 1), [0, uploaded], 'the offsets are used again');
    });
});

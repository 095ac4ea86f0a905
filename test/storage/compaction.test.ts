/**
 * Compaction in a running broker: sizes are small, everything else is as in production. What was acknowledged is read over
 * the wire from merged objects, producers go on over a crash, a restart on the bucket finds all of it.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { objectKey } from '../../src/stream/objects/object-format.ts';
import { Compaction } from '../../src/upkeep/compaction.ts';
import { ObjectSweep } from '../../src/upkeep/object-sweep.ts';
import { smallLimits, smallPolicy } from '../support/compaction-world.ts';
import { BrokerBed, readAll } from '../support/inline-broker.ts';
import type { RawConnection } from '../support/raw-client.ts';
import { CountingProducer, values } from './broker/kafka-calls.ts';

const topic = 'records';

describe('compaction in a broker', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let producers: CountingProducer[];
  afterEach(() => bed.dispose());

  const use = async (partitions: number, valueBytes: number): Promise<void> => {
    bed = new BrokerBed({
      settings: { 'compaction.interval.ms': 86_400_000, 'connections.max.idle.ms': 86_400_000 },
      layers: { compaction: { policy: smallPolicy, limits: smallLimits } },
    });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, partitions);
    producers = [];
    for (let partition = 0; partition < partitions; partition++)
      producers.push(await CountingProducer.create(connection, topic, partition, valueBytes));
  };
  const service = <T>(kind: abstract new (...args: never[]) => T): T => {
    const found = bed.broker['background'].find((each) => each instanceof kind);
    assert.ok(found !== undefined);
    return found as T;
  };
  const image = () => bed.broker['metadata'].image;
  const round = async (batches: number): Promise<void> => {
    for (const producer of producers) await producer.produce(connection, batches);
    await bed.upload();
  };
  const assertAll = async (): Promise<void> => {
    for (const { partition, next, valueBytes } of producers)
      assert.deepEqual(
        await readAll(connection, topic, partition, 0),
        values(next, 0, valueBytes),
        `partition ${partition}`,
      );
  };
  const again = async (end: 'crash' | 'stop'): Promise<void> => {
    if (end === 'crash') await bed.crash();
    else assert.equal(await bed.stop(), 'clean');
    await bed.start();
    connection = await bed.connect();
  };

  for (const [name, partitions, valueBytes] of [
    ['small objects, read and written anew', 3, 20],
    ['large objects, copied', 2, 2_000],
  ] as const) {
    test(`records and producers are as before: ${name}`, async () => {
      await use(partitions, valueBytes);
      for (let r = 0; r < 70; r++) await round(1);
      const before = image().objects.size;
      await service(Compaction).pass();
      const { compactions, failures, traffic } = service(Compaction).numbers;
      assert.equal(failures, 0);
      assert(
        compactions > 0 && image().objects.size < before / 3,
        `${image().objects.size} of ${before} objects`,
      );
      assert(valueBytes > 1_000 ? traffic.copies > 0 : traffic.bytesIn > 0);
      await assertAll();
      // What was merged is older than what follows it, whatever its object id says.
      await round(2);
      await again('crash');
      await assertAll();
      for (const producer of producers) await producer.assertWindow(connection);
      for (let r = 0; r < 10; r++) await round(1);
      await service(Compaction).pass();
      await again('stop');
      for (const producer of producers) await producer.assertWindow(connection);
      await assertAll();
    });
  }

  test('replaced objects stay until the grace is over, then exactly what is named is left', async () => {
    await use(2, 50);
    for (let r = 0; r < 70; r++) await round(1);
    const uploaded = [...image().objects.keys()];
    await service(Compaction).pass();
    const gone = uploaded.filter((objectId) => !image().objects.has(objectId));
    assert(gone.length >= 60);
    const stored = async (): Promise<Set<string>> =>
      new Set((await bed.store.list('data/')).map(({ key }) => key));
    await service(ObjectSweep).pass();
    for (const objectId of gone)
      assert((await stored()).has(objectKey(objectId)), `${objectId} is still there`);
    await bed.jump(3_600_000);
    await service(ObjectSweep).pass();
    assert.deepEqual(await stored(), new Set([...image().objects.keys()].map(objectKey)));
    await assertAll();
  });

  test('a crash between the new object and its commit loses nothing', async () => {
    await use(2, 50);
    for (let r = 0; r < 70; r++) await round(1);
    let cut = false;
    bed.store.beforePut = (key) => {
      if (!key.startsWith('meta/log/') || cut) return;
      cut = true;
      bed.store.cut = true;
    };
    void service(Compaction).pass();
    while (!cut) await new Promise((resolve) => setImmediate(resolve));
    bed.store.beforePut = () => {};
    await again('crash');
    await assertAll();
    await service(Compaction).pass();
    assert(service(Compaction).numbers.compactions > 0);
    await assertAll();
    for (const producer of producers) await producer.assertWindow(connection);
  });

  test('a stop does not wait for compactions to come', async () => {
    await use(1, 50);
    for (let r = 0; r < 70; r++) await round(1);
    let held = (): void => {};
    const gate = new Promise<void>((resolve) => {
      held = resolve;
    });
    let waiting = false;
    bed.store.beforePut = (key) => {
      if (!key.startsWith('data/') || waiting) return;
      waiting = true;
      return gate;
    };
    void service(Compaction).pass();
    while (!waiting) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(await bed.stop(), 'clean');
    held();
    await bed.start();
    connection = await bed.connect();
    await assertAll();
  });
});

/** The order of an upload's steps, what happens when one fails, and what a broker does without its store or its log. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import type { ShardNumbers } from '../../../src/shard/shard-api.ts';
import { BrokerBed, readAll, until } from '../../support/inline-broker.ts';
import { patienceMs } from '../../support/patience.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer, values } from './kafka-calls.ts';

const topic = 'records';

describe('uploads', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  afterEach(() => bed.dispose());

  const use = async (
    options?: ConstructorParameters<typeof BrokerBed>[0],
    valueBytes = 0,
  ): Promise<CountingProducer> => {
    bed = new BrokerBed(options);
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1);
    return CountingProducer.create(connection, topic, 0, valueBytes);
  };
  const restart = async (): Promise<void> => {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };
  const shard = async (): Promise<ShardNumbers> => (await bed.broker.metrics()).shards[0]!;
  const walUsed = (): number => bed.broker['deployment'].usedBytes(0);

  test('object, then metadata, then trim', async () => {
    const producer = await use();
    await producer.produce(connection, 3);
    await bed.upload();
    bed.events.length = 0;
    await producer.produce(connection, 3);
    const { cut } = await bed.broker['deployment'].controls[0]!.status();
    await bed.upload();
    assert.deepEqual(bed.events, ['object', 'metadata', `trim ${cut.sequence}`]);
    assert.equal(
      bed.broker['metadata'].image.wals.get(bed.broker['volumes'][0]!.logId)!.freed.sequence,
      cut.sequence,
    );
  });

  test('nothing is trimmed or evicted while the metadata commit is on its way', async () => {
    const producer = await use({}, 1_000);
    await producer.produce(connection, 1);
    await bed.upload();
    await producer.produce(connection, 8);
    const used = walUsed();
    const { deltaBytes } = await shard();
    let release!: () => void;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let committing = false;
    bed.store.beforePut = async (key) => {
      if (!key.startsWith('meta/log/')) return;
      committing = true;
      await held;
    };
    bed.events.length = 0;
    const upload = bed.upload();
    await until(() => committing);
    try {
      assert.deepEqual(bed.events, ['object']);
      assert.equal(walUsed(), used);
      const during = await shard();
      assert.equal(during.deltaBytes, deltaBytes);
    } finally {
      release();
    }
    await upload;
    assert.equal(walUsed(), 0);
    const after = await shard();
    assert.equal(after.deltaBytes, 0);
    assert.deepEqual(await readAll(connection, topic), values(18, 0, 1_000));
  });

  test('only what is uploaded is evicted', async () => {
    const logCacheBytes = 100_000;
    const producer = await use({ config: { logCacheBytes } }, 5_000);
    for (let round = 0; round < 3; round++) {
      await producer.produce(connection, 4);
      const before = await shard();
      assert.ok(before.deltaBytes! > 40_000);
      assert.equal(
        before.logCacheBytes,
        (round + 1) * before.deltaBytes!,
        'nothing evicted before it must be',
      );
      await bed.upload();
    }
    const after = await shard();
    assert.equal(after.deltaBytes, 0);
    assert.ok(after.logCacheBytes! <= logCacheBytes && after.logCacheBytes! > logCacheBytes / 2);
    assert.deepEqual(await readAll(connection, topic), values(24, 0, 5_000));
  });

  test('small batches fill the journal long before the cache: they are uploaded by count and give way', async () => {
    const producer = await use({ config: { journalEntries: 64 } });
    for (let round = 1; round <= 5; round++) {
      await producer.produce(connection, 40);
      await until(() => bed.broker['uploads'].uploads === round);
    }
    assert.deepEqual(await readAll(connection, topic), values(400, 0));
  });

  test('an upload without anything new does nothing', async () => {
    const producer = await use();
    await producer.produce(connection, 3);
    await bed.upload();
    bed.events.length = 0;
    bed.store.puts.length = 0;
    await bed.upload();
    assert.deepEqual(bed.events, []);
    assert.deepEqual(bed.store.puts, []);
  });

  test('age alone does not start an upload of an idle broker', async () => {
    const producer = await use({ config: { uploadAgeMs: 60_000 } });
    await producer.produce(connection, 3);
    await bed.jump(60_001);
    await until(() => walUsed() === 0);
    bed.store.puts.length = 0;
    for (let i = 0; i < 3; i++) {
      await bed.jump(60_001);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.deepEqual(
      bed.store.puts.filter((key) => key.startsWith('data/')),
      [],
    );
  });

  test('a failed upload is tried again under new object ids, with growing pauses', async () => {
    const producer = await use({ config: { uploadAgeMs: 1_000 } });
    await producer.produce(connection, 3);
    const failed: string[] = [];
    bed.store.beforePut = (key) => {
      if (!key.startsWith('data/') || failed.length === 3) return;
      failed.push(key);
      throw new Error('not stored');
    };
    while (!bed.events.some((event) => event.startsWith('trim'))) {
      await bed.jump(1_000);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const all = bed.store.puts.filter((key) => key.startsWith('data/'));
    assert.equal(all.length, 4);
    assert.equal(new Set(all).size, 4);
    const pauses = bed.lines
      .filter((line) => line.message.includes('will be tried again'))
      .map((line) => [line.level, Number(line.fields.retryMs)] as const);
    assert.deepEqual(
      pauses.map(([level]) => level),
      ['warn', 'debug', 'debug'],
      'said once, not at every try',
    );
    for (const [i, [, ms]] of pauses.entries()) assert.ok(ms >= 100 << i && ms <= 200 << i, `${i}: ${ms} ms`);
    assert.equal((await bed.broker.metrics()).uploads.failures, 3);
    assert.deepEqual(await readAll(connection, topic), values(6));
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(6));
    await producer.assertWindow(connection);
  });

  test('no answer before the log has it', async () => {
    const producer = await use();
    await producer.produce(connection, 1);
    const device = bed.devices[0]!;
    await until(() => device.writing === 0);
    device.held = [];
    let answered = false;
    const sent = producer.send(connection, producer.next, 1).then((answer) => {
      answered = true;
      return answer;
    });
    await until(() => device.held!.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(answered, false);
    assert.equal(await (await bed.connect()).listOffset(topic, 0, -1), 2, 'nor is it to be seen');
    device.release();
    assert.deepEqual(await sent, [0, 2]);
  });

  test('a retry that arrives while the original is being written waits for it and gets its offset', async () => {
    const producer = await use();
    await producer.produce(connection, 1);
    const device = bed.devices[0]!;
    await until(() => device.writing === 0);
    device.held = [];
    const second = await bed.connect();
    const answers = [producer.send(connection, 2, 1)];
    await until(() => device.held!.length > 0);
    answers.push(producer.send(second, 2, 1));
    await new Promise((resolve) => setTimeout(resolve, 30));
    device.release();
    assert.deepEqual(await Promise.all(answers), [
      [0, 2],
      [0, 2],
    ]);
  });

  test('a long outage of the store: producing goes on until the log cache has no room, is refused then, and goes on after', async () => {
    const settings = { 'wal.capacity': '64MiB', 'upload.age.ms': 200 };
    const producer = await use({ settings }, 100_000);
    await producer.produce(connection, 1, 1);
    bed.store.outage = true;
    let refusal = 0;
    for (let i = 0; i < 200 && refusal === 0; i++) {
      const answer = await Promise.race([
        producer.send(connection, producer.next, 4),
        new Promise<[number, number]>((resolve) => setTimeout(() => resolve([-2, -1]), patienceMs).unref()),
      ]);
      if (answer[0] === 0) {
        assert.equal(answer[1], producer.next);
        producer.batches.push({ sequence: producer.next, offset: producer.next, records: 4 });
        producer.next += 4;
      } else refusal = answer[0];
    }
    assert.ok(producer.next * 100_000 > 4e6, `${producer.next} records of 100 kB before the refusal`);
    assert.equal(refusal, ErrorCode.NOT_ENOUGH_REPLICAS);
    const tail = await readAll(connection, topic);
    assert.equal(tail.length, producer.next);
    bed.store.outage = false;
    let back: number = refusal;
    while (back !== 0) {
      [back] = await producer.send(connection, producer.next, 4);
      if (back !== 0) await new Promise((resolve) => setTimeout(resolve, 50));
    }
    assert.equal(back, 0);
    producer.next += 4;
    await restart();
    assert.deepEqual(await readAll(connection, topic), values(producer.next, 0, 100_000));
  });

  test('the log fails: writes are refused, reads go on, and what was acknowledged is uploaded from memory', async () => {
    const producer = await use({ config: { uploadAgeMs: 60_000 } });
    await producer.produce(connection, 2);
    await bed.upload();
    await producer.produce(connection, 3);
    await until(() => bed.devices[0]!.writing === 0);
    bed.devices[0]!.failing = new Error('input/output error');
    assert.deepEqual(await producer.send(connection, producer.next, 2), [ErrorCode.KAFKA_STORAGE_ERROR, -1]);
    assert.deepEqual(await producer.send(connection, producer.next, 2), [ErrorCode.KAFKA_STORAGE_ERROR, -1]);
    assert.deepEqual(await readAll(connection, topic), values(10));
    bed.events.length = 0;
    bed.clock.jump(61_000);
    await until(() => bed.events.includes('metadata'));
    assert.ok(bed.events.includes('object'));
    // Without its log: the objects alone have all that was acknowledged.
    const { path, logId } = bed.broker['volumes'][0]!;
    await new Promise((resolve) => setTimeout(resolve, 50));
    await bed.crash();
    assert.ok(path.endsWith(`${logId}.wal`));
    await bed.start({ abandonWals: [logId] });
    connection = await bed.connect();
    assert.deepEqual(await readAll(connection, topic), values(10));
    // The append that failed had taken one of the five places.
    producer.batches.shift();
    await producer.assertWindow(connection);
  });

  test('after a clean stop every segment of the arena is free', async () => {
    const producer = await use({}, 10_000);
    for (let i = 0; i < 5; i++) {
      await producer.produce(connection, 4, 3);
      await readAll(connection, topic);
      if (i % 2 === 0) await bed.upload();
    }
    const { arena, local } = bed.broker['deployment'];
    assert.equal(await bed.stop(), 'clean');
    assert.ok(local !== null);
    const { logs } = local['shard'];
    while (logs.journals.some((journal) => journal.evictOldest()));
    assert.equal(logs.journals[0]!.heldBytes, 0);
    assert.ok(
      arena.segmentCount - arena.freeSegments() <= 4,
      `${arena.segmentCount - arena.freeSegments()} segments in use`,
    );
  });
});

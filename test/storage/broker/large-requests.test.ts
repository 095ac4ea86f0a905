/**
 * Requests larger than the arena of an embedded broker has room for: served up to socket.request.max.bytes as Kafka
 * serves them, batch by batch, each answered for itself.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Kafka, logLevel } from 'kafkajs';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import { type RawConnection, rawVersions } from '../../support/raw-client.ts';

const MB = 1_000_000;

function batchOf(bytes: number, letter: string): Buffer {
  return buildBatch(
    [{ key: null, value: Buffer.alloc(bytes, letter), timestamp: 1_700_000_000_000 }],
    {},
    crc32c,
  );
}

/** One request with a batch for each partition from 0 on; null sends none. Error codes in order. */
async function produceAll(
  connection: RawConnection,
  topic: string,
  batches: readonly Buffer[],
  acks = -1,
): Promise<number[]> {
  const answer = await connection.request(ProduceCodec, rawVersions.produce, {
    acks,
    timeoutMs: 30_000,
    topicData: [{ name: topic, partitionData: batches.map((records, index) => ({ index, records })) }],
  });
  const { partitionResponses } = answer.responses[0]!;
  assert.deepEqual(
    partitionResponses.map(({ index }) => index),
    batches.map((_, index) => index),
    'every partition is answered, in order',
  );
  return partitionResponses.map(({ errorCode }) => errorCode);
}

async function bedOf(settings: Record<string, string | number> = {}): Promise<BrokerBed> {
  const bed = new BrokerBed({ settings });
  after(() => bed.dispose());
  await bed.start();
  return bed;
}

test('a request of five batches of 1 MB, each for its partition, is taken and read back', async () => {
  const bed = await bedOf();
  const connection = await bed.connect();
  await connection.createTopic('large', 6);
  const letters = ['a', 'b', 'c', 'd', 'e'];
  const batches = letters.map((letter) => batchOf(MB, letter));
  assert.deepEqual(await produceAll(connection, 'large', batches), [0, 0, 0, 0, 0]);
  for (const [partition, letter] of letters.entries()) {
    const [record, ...more] = await readAll(connection, 'large', partition);
    assert.equal(more.length, 0);
    assert.equal(record!.value, letter.repeat(MB));
  }
});

test('a batch that is too large is refused for its partition; the others are taken, the connection lives', async () => {
  const bed = await bedOf();
  const connection = await bed.connect();
  await connection.createTopic('mixed', 4);
  const { tooLarge, fine } = { tooLarge: batchOf(6 * MB, 'x'), fine: batchOf(MB, 'y') };
  assert.deepEqual(await produceAll(connection, 'mixed', [fine, tooLarge, fine, tooLarge, fine]), [
    ErrorCode.NONE,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.NONE,
    ErrorCode.MESSAGE_TOO_LARGE,
    // There is no such partition, and that is what counts.
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ]);
  assert.deepEqual(await produceAll(connection, 'mixed', [tooLarge]), [ErrorCode.MESSAGE_TOO_LARGE]);
  assert.equal((await readAll(connection, 'mixed', 0)).length, 1);
  assert.equal((await readAll(connection, 'mixed', 1)).length, 0);
  assert.equal((await readAll(connection, 'mixed', 2)).length, 1);
});

test('a batch that could not be read back from objects is refused', async () => {
  const bed = await bedOf({ 'message.max.bytes': 4 * MB, 'block.cache.bytes': '1MiB' });
  const connection = await bed.connect();
  await connection.createTopic('unreadable', 1);
  assert.deepEqual(await produceAll(connection, 'unreadable', [batchOf(2 * MB, 'x')]), [
    ErrorCode.MESSAGE_TOO_LARGE,
  ]);
  assert.deepEqual(await produceAll(connection, 'unreadable', [batchOf(MB, 'y')]), [ErrorCode.NONE]);
});

test('a reader of a batch that a smaller block cache has no room for is told, and the log says what to raise', async () => {
  const settings: Record<string, string | number> = { 'message.max.bytes': 4 * MB };
  const bed = await bedOf(settings);
  let connection = await bed.connect();
  await connection.createTopic('shrunk', 2);
  const batches = [batchOf(2 * MB, 'x'), batchOf(MB, 'y')];
  assert.deepEqual(await produceAll(connection, 'shrunk', batches), [ErrorCode.NONE, ErrorCode.NONE]);
  assert.equal(await bed.stop(), 'clean');
  settings['block.cache.bytes'] = '1MiB';
  await bed.start();
  connection = await bed.connect();
  await assert.rejects(readAll(connection, 'shrunk', 0), /KAFKA_STORAGE_ERROR|56/);
  assert.ok(bed.lines.some(({ fields }) => /does not fit .*block\.cache\.bytes/.test(String(fields.error))));
  assert.equal((await readAll(connection, 'shrunk', 1)).length, 1);
});

test('what is damaged on its way is found in large requests as in small ones', async () => {
  const bed = await bedOf();
  const connection = await bed.connect();
  await connection.createTopic('damaged', 6);
  const batches = ['a', 'b', 'c', 'd', 'e'].map((letter) => batchOf(MB, letter));
  batches[3]![500_000]! ^= 1;
  assert.deepEqual(await produceAll(connection, 'damaged', batches), [0, 0, 0, ErrorCode.CORRUPT_MESSAGE, 0]);
});

test('60 MB of batches: what finds no memory may come again, the broker serves on and gives it back', async () => {
  const bed = await bedOf({ 'wal.capacity': '64MiB' });
  const connection = await bed.connect();
  const partitions = 60;
  await connection.createTopic('full', partitions);
  const batch = batchOf(MB, 'z');
  let errors = await produceAll(
    connection,
    'full',
    Array.from({ length: partitions }, () => batch),
  );
  const taken = errors.filter((code) => code === 0).length;
  assert.ok(taken >= 5, `${taken} batches were taken`);
  assert.ok(
    errors.every((code) => code === 0 || code === ErrorCode.NOT_ENOUGH_REPLICAS),
    String(errors),
  );
  const { pool } = bed.broker['deployment'].local!.shard;
  assert.equal(pool.outsideBytes, 0);
  // After an upload there is room for more.
  for (let round = 0; round < 3; round++) {
    await bed.upload();
    errors = await produceAll(connection, 'full', [batch, batch, batch, batch, batch]);
    assert.deepEqual(errors, [0, 0, 0, 0, 0], `round ${round}`);
  }
  let kept = 0;
  for (let partition = 0; partition < partitions; partition++)
    kept += await connection.listOffset('full', partition, -1);
  assert.equal(kept, taken + 15, 'what was acknowledged, and nothing more');
});

test('several connections with requests beside the arena take turns', async () => {
  const bed = await bedOf({ 'socket.request.max.bytes': '8MiB', 'wal.capacity': '64MiB' });
  const connections = await Promise.all(Array.from({ length: 4 }, () => bed.connect()));
  await connections[0]!.createTopic('turns', 6);
  const batches = Array.from({ length: 6 }, () => batchOf(MB, 't'));
  const errors = await Promise.all(connections.map((connection) => produceAll(connection, 'turns', batches)));
  // The log has room for some of them only; all are answered.
  for (const code of errors.flat())
    assert.ok(code === 0 || code === ErrorCode.NOT_ENOUGH_REPLICAS, String(code));
  assert.ok(errors.flat().filter((code) => code === 0).length >= 6);
});

test('without acknowledgements the connection says that a batch was too large', async () => {
  const bed = await bedOf();
  const connection = await bed.connect();
  await connection.createTopic('silent', 1);
  connection
    .request(ProduceCodec, rawVersions.produce, {
      acks: 0,
      timeoutMs: 1_000,
      topicData: [{ name: 'silent', partitionData: [{ index: 0, records: batchOf(6 * MB, 's') }] }],
    })
    .catch(() => {});
  await connection.closed;
  const other = await bed.connect();
  assert.equal(await other.listOffset('silent', 0, -1), 0);
});

test('a request above socket.request.max.bytes closes its connection, with a line in the log', async () => {
  const bed = await bedOf();
  const [one, other] = [await bed.connect(), await bed.connect()];
  const head = Buffer.alloc(4);
  head.writeInt32BE(100 * 2 ** 20 + 1);
  one.sendBytes(head);
  await one.closed;
  const line = bed.lines.find(
    ({ level, message }) => level === 'warn' && message === 'a connection was closed',
  );
  assert.match(String(line?.fields.reason), /104857601 bytes .* socket.request.max.bytes is 104857600/);
  await other.createTopic('alive', 1);
});

test('kafkajs: five messages of 1 MB in one send, and one that is too large', async () => {
  const bed = await bedOf();
  const kafka = new Kafka({ brokers: [bed.broker.address('plain')!], logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: 'js', numPartitions: 5 }] });
  await admin.disconnect();
  const producer = kafka.producer({ retry: { retries: 0 } });
  await producer.connect();
  try {
    const value = Buffer.alloc(MB, 'k');
    const sent = await producer.send({
      topic: 'js',
      messages: Array.from({ length: 5 }, (_, partition) => ({ partition, value })),
    });
    assert.deepEqual(
      sent.map(({ errorCode }) => errorCode),
      [0, 0, 0, 0, 0],
    );
    await assert.rejects(
      producer.send({ topic: 'js', messages: [{ partition: 0, value: Buffer.alloc(6 * MB) }] }),
      { type: 'MESSAGE_TOO_LARGE' },
    );
  } finally {
    await producer.disconnect();
  }
});

/**
 * Transactions that hang: the coordinator has lost what it knew of a transactional id (its record was deleted, and the broker started
 * anew), while the producer's transaction is open in a partition and holds back readers of committed records. They are found and
 * ended (KIP-664): by hand, and by kafka-transactions.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { transactionKey } from '../../src/coordinator/transaction/transaction-records.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { AddPartitionsToTxnCodec } from '../../src/protocol/generated/add-partitions-to-txn.ts';
import { DescribeProducersCodec } from '../../src/protocol/generated/describe-producers.ts';
import { DescribeTransactionsCodec } from '../../src/protocol/generated/describe-transactions.ts';
import { ErrorCode, errorName } from '../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { InitProducerIdCodec } from '../../src/protocol/generated/init-producer-id.ts';
import { ListOffsetsCodec } from '../../src/protocol/generated/list-offsets.ts';
import { ListTransactionsCodec } from '../../src/protocol/generated/list-transactions.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import { WriteTxnMarkersCodec } from '../../src/protocol/generated/write-txn-markers.ts';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { patienceMs } from '../support/patience.ts';
import { addressOf, RawConnection } from '../support/raw-client.ts';
import { createTopics } from './topics.ts';

const [byHand, byTool] = ['hung-by-hand', 'hung-by-tool'] as const;
const topics = [byHand, byTool];
const timeoutMs = 600_000;
const codecs = createCodecs();
const { crc32c } = portableCrc32c();
const producerIds = new Map<string, number>();
let broker: BrokerProcess;
let raw: RawConnection;

/** Kafka lets this client id alone write to internal topics. */
const connected = () => RawConnection.connect(addressOf(broker.bootstrap), '__admin_client');

/** Asks until the coordinator has loaded. */
async function until<T>(ask: () => Promise<T>, holds: (answer: T) => boolean): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const answer = await ask();
    if (holds(answer)) return answer;
    if (performance.now() > deadline) throw new Error(`still ${JSON.stringify(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function append(topic: string, bytes: Buffer, transactionalId: string | null): Promise<void> {
  const answer = await raw.request(ProduceCodec, 9, {
    transactionalId,
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: topic, partitionData: [{ index: 0, records: bytes }] }],
  });
  assert.equal(errorName(answer.responses[0]!.partitionResponses[0]!.errorCode), 'NONE', topic);
}

const record = (key: Buffer, value: Buffer | null) => ({ key, value, timestamp: Date.now() });

/** A transactional id called as the topic, with two records in it. */
async function opened(topic: string): Promise<void> {
  const coordinatorKeys = [topic];
  await until(
    () => raw.request(FindCoordinatorCodec, 4, { keyType: 1, coordinatorKeys }),
    ({ coordinators }) => coordinators[0]!.errorCode === 0,
  );
  const init = { transactionalId: topic, transactionTimeoutMs: timeoutMs };
  const { producerId, producerEpoch } = await until(
    () => raw.request(InitProducerIdCodec, 4, init),
    ({ errorCode }) => errorCode === 0,
  );
  producerIds.set(topic, producerId);
  const added = await raw.request(AddPartitionsToTxnCodec, 3, {
    v3AndBelowTransactionalId: topic,
    v3AndBelowProducerId: producerId,
    v3AndBelowProducerEpoch: producerEpoch,
    v3AndBelowTopics: [{ name: topic, partitions: [0] }],
  });
  assert.equal(added.resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode, 0);
  const some = [record(Buffer.from('a'), Buffer.from('1')), record(Buffer.from('b'), Buffer.from('2'))];
  const fields = { codecs, producerId, producerEpoch, baseSequence: 0, transactional: true };
  await append(topic, buildBatch(some, fields, crc32c), topic);
}

const listed = async () => (await raw.request(ListTransactionsCodec, 1, {})).transactionStates;

const described = async (id: string) =>
  (await raw.request(DescribeTransactionsCodec, 0, { transactionalIds: [id] })).transactionStates[0]!;

async function producerOf(topic: string) {
  const asked = { topics: [{ name: topic, partitionIndexes: [0] }] };
  const answer = await raw.request(DescribeProducersCodec, 0, asked);
  return answer.topics[0]!.partitions[0]!.activeProducers[0]!;
}

/** Where readers of committed records, and of all, come to an end. */
async function ends(topic: string): Promise<readonly number[]> {
  return Promise.all(
    [1, 0].map(async (isolationLevel) => {
      const asked = [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1 }] }];
      const answer = await raw.request(ListOffsetsCodec, 7, { replicaId: -1, isolationLevel, topics: asked });
      return answer.topics[0]!.partitions[0]!.offset;
    }),
  );
}

async function marked(topic: string, producerEpoch: number, producerId = producerIds.get(topic)!) {
  const answer = await raw.request(WriteTxnMarkersCodec, 1, {
    markers: [
      {
        producerId,
        producerEpoch,
        transactionResult: false,
        topics: [{ name: topic, partitionIndexes: [0] }],
        coordinatorEpoch: 0,
      },
    ],
  });
  return errorName(answer.markers[0]!.topics[0]!.partitions[0]!.errorCode);
}

before(async () => {
  broker = await BrokerProcess.start({ settings: { 'transaction.state.log.num.partitions': 1 } });
  raw = await connected();
  await createTopics(broker.bootstrap, topics, 1);
  for (const topic of topics) await opened(topic);
});
after(async () => {
  await raw?.close();
  await broker?.dispose();
});

test('an open transaction is listed and described by its coordinator, and by its partition', async () => {
  const all = await listed();
  assert.deepEqual(
    all.map(({ transactionalId, transactionState }) => `${transactionalId} ${transactionState}`).sort(),
    topics.map((topic) => `${topic} Ongoing`).sort(),
  );
  const filtered = await raw.request(ListTransactionsCodec, 1, {
    producerIdFilters: [producerIds.get(byTool)!],
    stateFilters: ['Ongoing', 'NoSuchState'],
  });
  assert.deepEqual(
    [filtered.transactionStates.map(({ transactionalId }) => transactionalId), filtered.unknownStateFilters],
    [[byTool], ['NoSuchState']],
  );
  const { transactionStartTimeMs, topics: inside, ...state } = await described(byHand);
  assert.deepEqual(state, {
    errorCode: 0,
    transactionalId: byHand,
    transactionState: 'Ongoing',
    transactionTimeoutMs: timeoutMs,
    producerId: producerIds.get(byHand),
    producerEpoch: 0,
  });
  assert.deepEqual(inside, [{ topic: byHand, partitions: [0] }]);
  assert.ok(transactionStartTimeMs > 0);
  assert.equal((await producerOf(byHand)).currentTxnStartOffset, 0);
});

test('a coordinator that has lost its record knows nothing, and the transaction hangs', async () => {
  for (const topic of topics) {
    const tombstone = buildBatch([record(transactionKey(topic), null)], { codecs }, crc32c);
    await append('__transaction_state', tombstone, null);
  }
  await raw.close();
  await broker.kill();
  await broker.start();
  raw = await connected();
  await until(
    () => described(byHand),
    ({ errorCode }) => errorCode === ErrorCode.TRANSACTIONAL_ID_NOT_FOUND,
  );
  assert.deepEqual(await listed(), []);
  for (const topic of topics) {
    const { producerId, currentTxnStartOffset } = await producerOf(topic);
    assert.deepEqual([producerId, currentTxnStartOffset], [producerIds.get(topic), 0]);
    assert.deepEqual(await ends(topic), [0, 2]);
  }
});

test('WriteTxnMarkers by hand ends it: readers go on, and a producer of an older epoch cannot', async () => {
  assert.equal(await marked('no-such-topic', 0, producerIds.get(byHand)), 'UNKNOWN_TOPIC_OR_PARTITION');
  assert.equal(await marked(byHand, 0), 'NONE');
  assert.deepEqual(await ends(byHand), [3, 3]);
  assert.equal((await producerOf(byHand)).currentTxnStartOffset, -1);
  assert.equal(await marked(byHand, 3), 'NONE');
  assert.equal(await marked(byHand, 2), 'INVALID_PRODUCER_EPOCH');
});

test('kafka-transactions finds what hangs and aborts it', async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  const run = async (...args: string[]) =>
    (await programs.tool('TransactionsCommand', ['--bootstrap-server', broker.bootstrap, ...args])).said;
  const find = () => run('find-hanging', '--broker-id', '0', '--max-transaction-timeout', '0');
  const found = await find();
  assert.match(found, new RegExp(`^${byTool}\\s+0\\s+${producerIds.get(byTool)}\\s+0\\s`, 'm'), found);
  assert.doesNotMatch(found, new RegExp(byHand));
  const said = await run('abort', '--topic', byTool, '--partition', '0', '--start-offset', '0');
  assert.doesNotMatch(said, /Exception|rror/, said);
  assert.deepEqual(await ends(byTool), [3, 3]);
  assert.doesNotMatch(await find(), new RegExp(byTool));
});

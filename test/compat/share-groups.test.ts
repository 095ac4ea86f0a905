/**
 * Apache Kafka's share consumer (KIP-932) against a broker in a process of its own: several members, clients and broker killed.
 * Every record is delivered; of what was confirmed as accepted nothing comes again; at the end nothing is left.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadNative } from '../../native-bindings/index.ts';
import { DescribeShareGroupOffsetsCodec } from '../../src/protocol/generated/describe-share-group-offsets.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { openFamily } from '../support/clients/families.ts';
import { configureShareGroup, judged, ShareWorkers } from '../support/clients/java/share-workers.ts';
import { until } from '../support/inline-broker.ts';
import { sequencedBatch } from '../support/load/batches.ts';
import { patienceMs } from '../support/patience.ts';
import { RawConnection } from '../support/raw-client.ts';

const topic = 'shared-jobs';
const group = 'sharers';
const partitions = 3;
const batches = 60;
const perBatch = 10;
const total = partitions * batches * perBatch;

let broker: BrokerProcess;
let workers: ShareWorkers | null = null;

before(async () => {
  // Connections, partitions and coordinators are on different shards.
  broker = await BrokerProcess.start(loadNative() === null ? {} : { args: ['--threads', '3'] });
});
after(async () => {
  workers?.dispose();
  await broker?.dispose();
});

async function connect(): Promise<RawConnection> {
  const [host, port] = broker.bootstrap.split(':');
  return RawConnection.connect({ host: host!, port: Number(port) });
}

async function lags(): Promise<{ readonly start: number; readonly lag: number }[]> {
  const connection = await connect();
  try {
    const { groups } = await connection.request(DescribeShareGroupOffsetsCodec, 1, {
      groups: [{ groupId: group, topics: [{ topicName: topic, partitions: [0, 1, 2] }] }],
    });
    return (groups[0]!.topics[0]?.partitions ?? []).map(({ startOffset: start, lag }) => ({ start, lag }));
  } finally {
    await connection.close();
  }
}

test('members of Apache Kafka’s client share records through kills of client and broker', async (t) => {
  const java = await openFamily('java', { slow: false });
  if (typeof java === 'string') return t.skip(java);
  const started = await ShareWorkers.open(broker.bootstrap, topic, group);
  workers = started;
  const connection = await connect();
  await connection.createTopic(topic, partitions);
  assert.equal(await configureShareGroup(connection, group), 0);
  const ids = await connection.initProducerId();
  for (let i = 0; i < batches; i++)
    for (let partition = 0; partition < partitions; partition++) {
      const values = Array.from({ length: perBatch }, (_, r) => Buffer.from(`${i * perBatch + r}`));
      const { errorCode } = await connection.produce(
        topic,
        partition,
        sequencedBatch(ids, i * perBatch, values, Date.now()),
      );
      assert.equal(errorCode, 0);
    }
  await connection.close();

  const first = started.start(3);
  await until(() => started.accepted() > total / 6, patienceMs);
  await broker.kill();
  await broker.start();
  const before = started.accepted();
  await until(() => started.accepted() > before + total / 6, patienceMs);
  first.kill('SIGKILL');
  const second = started.start(3);
  let left: Awaited<ReturnType<typeof lags>> = [];
  for (let turn = 0; turn < 600; turn++) {
    left = await lags();
    if (left.length === partitions && left.every(({ start }) => start === batches * perBatch)) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.deepEqual(left, Array(partitions).fill({ start: batches * perBatch, lag: 0 }));
  second.stdin!.end();
  await new Promise((resolve) => second.once('exit', resolve));

  const said = started.said();
  const { delivered, wrong } = judged(said);
  assert.deepEqual(wrong, [], 'records were confirmed and came again');
  assert.equal(delivered.size, total);
  const again = said.filter(({ kind, count }) => kind === 'D' && count > 1).length;
  assert.ok(again >= total / 10, `${again} deliveries after the first`);
  t.diagnostic(
    `${said.filter(({ kind }) => kind === 'D').length} deliveries of ${total}, ${started.accepted()} confirmed`,
  );
});

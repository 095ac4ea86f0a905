/**
 * Transactions of each client family against a broker of two shards, where coordinator, partitions and group lie apart: what is
 * committed is read by another family once and in order, what is not never shows, and a copy takes its offsets along. More
 * rounds, and one and no shard thread: `npm run test:long -- transactions`.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { openFamily } from '../support/clients/families.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { openKafkaJs } from '../support/clients/js/js.ts';
import {
  committedBy,
  done,
  endOf,
  scriptFor,
  transactors,
  valuesOf,
} from '../support/clients/transactions.ts';
import { createTopics } from './topics.ts';

const partitions = 3;
let broker: BrokerProcess;

before(async () => {
  broker = await BrokerProcess.start({
    settings: { threads: 2, 'transaction.abort.timed.out.transaction.cleanup.interval.ms': 500 },
  });
  const topics = transactors.flatMap(({ family }) => [`by-${family}`, `copy-${family}`]);
  await createTopics(broker.bootstrap, topics, partitions);
});
after(() => broker?.dispose());

for (const [at, { family, letters }] of transactors.entries()) {
  test(`${family}: what it commits is read by others, and is copied once`, async (t) => {
    const client = await openFamily(family, { slow: false });
    if (typeof client === 'string') return t.skip(client);
    const other = await openFamily(transactors[(at + 1) % transactors.length]!.family, { slow: false });
    const reader = typeof other === 'string' ? await openKafkaJs() : other;
    const { bootstrap } = broker;
    const [topic, to, id] = [`by-${family}`, `copy-${family}`, `tx-${family}`];
    const script = scriptFor('caciiczceetca', letters);
    await done(client, bootstrap, { op: 'transact', topic, partitions, id, script });
    const expected = committedBy(id, script, partitions);
    const count = expected.flat().length;
    const reading = { op: 'consume', count, isolation: 'committed' } as const;
    const read = await done(reader, bootstrap, { ...reading, topic, group: `read-${family}` });
    assert.deepEqual(valuesOf(read, partitions), expected);
    const end = endOf(read, partitions);
    const copying = { op: 'copy', topic, to, group: `group-${family}`, id: `copy-${id}` } as const;
    await done(client, bootstrap, { ...copying, count: end, drops: 3 });
    const copied = await done(reader, bootstrap, { ...reading, topic: to, group: `read-copy-${family}` });
    assert.deepEqual(valuesOf(copied, partitions), expected);
  });
}

test('kafka-transactions lists, describes, finds and aborts', async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  const run = async (...args: string[]) =>
    (await programs.tool('TransactionsCommand', ['--bootstrap-server', broker.bootstrap, ...args])).said;
  const { default: kafkajs } = await import('kafkajs');
  const topic = 'left-open';
  await createTopics(broker.bootstrap, [topic], 1);
  const kafka = new kafkajs.Kafka({ brokers: [broker.bootstrap], logLevel: kafkajs.logLevel.NOTHING });
  const settings = { transactionalId: topic, idempotent: true, maxInFlightRequests: 1 };
  const producer = kafka.producer({ ...settings, transactionTimeout: 600_000 });
  await producer.connect();
  t.after(() => producer.disconnect());
  const transaction = await producer.transaction();
  await transaction.send({ topic, messages: [{ value: 'open' }] });
  const [listed, described, producers, hanging] = await Promise.all([
    run('list'),
    run('describe', '--transactional-id', topic),
    run('describe-producers', '--topic', topic, '--partition', '0'),
    run('find-hanging', '--broker-id', '0', '--max-transaction-timeout', '0'),
  ]);
  assert.match(listed, /left-open\s+\d+\s+\d+\s+Ongoing/);
  assert.match(described, /left-open\s+\d+\s+0\s+Ongoing\s+600000\s+.*left-open-0/);
  const [, producerId] = /^(\d+)\s+0\s+/m.exec(producers) ?? [];
  assert.ok(producerId, producers);
  // Its coordinator knows it: it hangs not.
  assert.doesNotMatch(hanging, /left-open/);
  const [, coordinatorEpoch, startOffset] =
    /^\d+\s+0\s+(-?\d+)\s+\S+\s+\S+\s+(\d+)/m.exec(
      producers.slice(producers.indexOf(`\n${producerId}`) + 1),
    ) ?? [];
  assert.equal(startOffset, '0', `${producers} ${coordinatorEpoch}`);
  assert.doesNotMatch(
    await run('abort', '--topic', topic, '--partition', '0', '--start-offset', startOffset!),
    /Exception|rror/,
  );
  assert.match(
    await run('describe-producers', '--topic', topic, '--partition', '0'),
    new RegExp(`${producerId}\\s+0\\s+-?\\d+\\s+\\S+\\s+\\S+\\s+None`),
  );
});

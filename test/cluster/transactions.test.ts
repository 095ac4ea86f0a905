/**
 * Transactions of real clients over three brokers: coordinators, records and groups lie on different ones, move, and lose theirs.
 * What is committed is read once and in order, what is not never shows, and a copy takes its offsets along.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { openFamily } from '../support/clients/families.ts';
import type { Client } from '../support/clients/jobs.ts';
import { openKafkaJs } from '../support/clients/js/js.ts';
import {
  committedBy,
  done,
  endOf,
  scriptFor,
  transactors,
  valuesOf,
} from '../support/clients/transactions.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { ClusterMoves } from '../support/cluster-moves.ts';
import { until } from '../support/inline-broker.ts';

const partitions = 6;
const settings = {
  'offsets.topic.num.partitions': 3,
  'transaction.state.log.num.partitions': 3,
  'transaction.abort.timed.out.transaction.cleanup.interval.ms': 500,
};

/** Not every client takes a list. */
function bootstrapOf(cluster: ClusterBed): string {
  const { host, port } = cluster.bed(1).address;
  return `${host}:${port}`;
}

async function createTopics(cluster: ClusterBed, topics: readonly string[]): Promise<void> {
  const connection = await cluster.bed(1).connect();
  for (const topic of topics) await connection.createTopic(topic, partitions);
}

/** Requests of a kind that the brokers have sent to each other. */
async function asked(cluster: ClusterBed, request: string): Promise<number> {
  let sum = 0;
  for (const { broker } of cluster.beds)
    for (const { numbers } of (await broker.metrics()).snapshots)
      for (const { labels, value } of numbers['millrace_interbroker_requests_total'] ?? [])
        if (labels[0] === request) sum += value;
  return sum;
}

describe('transactions of real clients over three brokers', () => {
  let cluster: ClusterBed;
  before(async () => {
    cluster = new ClusterBed(3, 'shared', { settings, leads: false });
    await cluster.start();
    await createTopics(
      cluster,
      transactors.flatMap(({ family }) => [`by-${family}`, `copy-${family}`]),
    );
  });
  after(() => cluster.dispose());

  for (const [at, { family, letters }] of transactors.entries()) {
    // Its pauses grow beyond its transactions' time when leaders change all the time.
    const moving = family !== 'kafkajs';
    test(`${family}: its commits are read by others, and copied once${moving ? ', while all moves' : ''}`, async (t) => {
      const client = await openFamily(family, { slow: false });
      if (typeof client === 'string') return t.skip(client);
      // A reader of kafkajs gives up when its group's coordinator moves between joining and syncing.
      const readers = transactors.filter((each) => !moving || each.family !== 'kafkajs');
      const other = await openFamily(readers[(at + 1) % readers.length]!.family, { slow: false });
      const reader = typeof other === 'string' ? await openKafkaJs() : other;
      const moves = moving ? new ClusterMoves(cluster, at) : null;
      try {
        await roundTrip(cluster, client, reader, family, letters);
      } finally {
        await moves?.end();
      }
      if (moves !== null) assert(moves.count > 5, `${moves.count} moves`);
    });
  }

  test('brokers have asked one another for it', async () => {
    for (const request of ['WriteTxnMarkers', 'AddPartitionsToTxn'])
      assert((await asked(cluster, request)) > 0, request);
  });
});

async function roundTrip(
  cluster: ClusterBed,
  client: Client,
  reader: Client,
  family: string,
  letters: string,
): Promise<void> {
  const bootstrap = bootstrapOf(cluster);
  const [topic, to, id] = [`by-${family}`, `copy-${family}`, `tx-${family}`];
  const script = scriptFor('caciiczceetca', letters);
  await done(client, bootstrap, { op: 'transact', topic, partitions, id, script });
  const expected = committedBy(id, script, partitions);
  const count = expected.flat().length;
  const reading = { op: 'consume', count, isolation: 'committed' } as const;
  const read = await done(reader, bootstrap, { ...reading, topic, group: `read-${family}` });
  assert.deepEqual(valuesOf(read, partitions), expected);
  const copying = { op: 'copy', topic, to, group: `group-${family}`, id: `copy-${id}` } as const;
  await done(client, bootstrap, { ...copying, count: endOf(read, partitions), drops: 3 });
  const copied = await done(reader, bootstrap, { ...reading, topic: to, group: `read-copy-${family}` });
  assert.deepEqual(valuesOf(copied, partitions), expected);
}

describe('transactions whose broker is lost', () => {
  let cluster: ClusterBed;
  afterEach(() => cluster?.dispose());

  test('are complete on the brokers that are left, every record once', async (t) => {
    const client = await openFamily('franz-go', { slow: false });
    if (typeof client === 'string') return t.skip(client);
    cluster = new ClusterBed(3, 'shared', { settings });
    await cluster.start();
    await createTopics(cluster, ['by-franz-go', 'copy-franz-go']);
    const running = roundTrip(cluster, client, client, 'franz-go', 'caiezt');
    await until(() => cluster.authority.image.topicsByName.has('__transaction_state'));
    await new Promise((resolve) => setTimeout(resolve, 300));
    const image = () => cluster.authority.image;
    const coordinators = image()
      .topicsByName.get('__transaction_state')!
      .partitions.map(({ node }) => node);
    // Clients know the first one only.
    const lost = coordinators.find((node) => node !== 1) ?? 2;
    await cluster.bed(lost).crash();
    cluster.authority.lose(lost);
    await running;
    for (const { partitions: all } of image().topicsByName.values())
      for (const { node } of all) assert.notEqual(node, lost);
  });
});

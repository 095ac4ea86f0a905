/**
 * Two members of one group, from each family that can say what it holds: alone, shared, alone again; all is read. By the
 * classic protocol, and by the consumer protocol (KIP-848) where a family has it.
 */
import assert from 'node:assert/strict';
import { after, before, type TestContext, test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { type Family, openFamily } from '../support/clients/families.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { openKafkaJs } from '../support/clients/js/js.ts';
import { difference, offsetGap, realRecords } from '../support/real-records.ts';
import { createTopics } from './topics.ts';

const topic = 'flights';
const partitions = 4;
const records = realRecords('flights', 2_000);
const members: readonly Family[] = ['kafkajs', 'python', 'confluent-js', 'java', 'franz-go'];
const newMembers: readonly Family[] = ['python', 'java'];
let broker: BrokerProcess;

before(async () => {
  broker = await BrokerProcess.start({
    settings: {
      'group.consumer.min.heartbeat.interval.ms': '300ms',
      'group.consumer.heartbeat.interval.ms': '300ms',
      'group.consumer.assignment.interval.ms': '100ms',
    },
  });
  await createTopics(broker.bootstrap, [topic], partitions);
  const [sent] = await (await openKafkaJs()).run(broker.bootstrap, [
    { op: 'produce', topic, codec: 'none', records },
  ]);
  assert.equal(sent!.error, null);
});
after(() => broker?.dispose());

async function rebalance(t: TestContext, family: Family, protocol: 'classic' | 'consumer'): Promise<void> {
  const client = await openFamily(family, { slow: false });
  if (typeof client === 'string') return t.skip(client);
  const job = {
    op: 'rebalance',
    topic,
    partitions,
    count: records.length,
    group: `shared-${protocol}-${family}`,
    ...(protocol === 'consumer' ? { protocol } : {}),
  } as const;
  const [answer] = await client.run(broker.bootstrap, [job]);
  assert.equal(answer!.error, null);
  assert.deepEqual(answer!.values, { first: '2', second: '2' });
  assert.equal(difference(records, answer!.records), null);
  assert.equal(offsetGap(answer!.records), null);
}

for (const family of members) {
  test(`${family}: two members share a group and one inherits from the other`, (t) =>
    rebalance(t, family, 'classic'));
}

for (const family of newMembers) {
  test(`${family}: two members share a group of the consumer protocol`, (t) =>
    rebalance(t, family, 'consumer'));
}

test('python: a member subscribes with a regex, which the broker resolves', async (t) => {
  const client = await openFamily('python', { slow: false });
  if (typeof client === 'string') return t.skip(client);
  const job = { op: 'consume', topic: '^fl[a-z]+s$', count: records.length, group: 'by-regex' } as const;
  const [answer] = await client.run(broker.bootstrap, [{ ...job, protocol: 'consumer' }]);
  assert.equal(answer!.error, null);
  assert.equal(difference(records, answer!.records), null);
});

test('kafka-consumer-groups lists and describes groups of both protocols, and moves their offsets', async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  const run = async (...args: string[]) => {
    const command = ['--bootstrap-server', broker.bootstrap, ...args];
    return (await programs.tool('consumer.group.ConsumerGroupCommand', command)).said;
  };
  const group = 'shared-consumer-java';
  const consumers = await run('--list', '--type', 'consumer');
  for (const family of newMembers) assert.match(consumers, new RegExp(`^shared-consumer-${family}`, 'm'));
  assert.match(await run('--list', '--type', 'classic'), /^shared-classic-java/m);
  assert.doesNotMatch(await run('--list', '--type', 'classic'), /shared-consumer/);
  const offsets = await run('--describe', '--group', group);
  for (let partition = 0; partition < partitions; partition++) {
    const row = new RegExp(`${group}\\s+${topic}\\s+${partition}\\s+(-\\s+)?(\\d+)\\s+(-\\s+)?\\2\\s+0\\s`);
    assert.match(offsets, row);
  }
  assert.match(await run('--describe', '--state', '--group', group), /Empty/);
  const reset = ['--reset-offsets', '--group', group, '--topic', topic, '--to-earliest', '--execute'];
  assert.match(await run(...reset), new RegExp(`${topic}\\s+0\\s+0`));
  assert.match(await run('--delete', '--group', group), /successful/i);
  assert.doesNotMatch(await run('--list'), new RegExp(`^${group}$`, 'm'));
});

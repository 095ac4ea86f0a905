/** Kafka's Verifiable producer and consumer, which count what was acknowledged and what was read, and kafka-log-dirs. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { createTopics } from './topics.ts';

let broker: BrokerProcess;

before(async () => {
  broker = await BrokerProcess.start();
});
after(() => broker?.dispose());

test('the Verifiable consumer reads all that the Verifiable producer had acknowledged', async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  await createTopics(broker.bootstrap, ['verified']);
  const { acked, consumed, said } = await programs.verifiable(broker.bootstrap, 'verified', 5_000);
  assert.deepEqual({ acked, consumed }, { acked: 5_000, consumed: 5_000 }, said);
});

test('kafka-log-dirs finds a partition in the WAL and then in the store', async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  const topic = 'measured';
  await createTopics(broker.bootstrap, [topic]);
  const { acked } = await programs.verifiable(broker.bootstrap, topic, 1_000);
  assert.equal(acked, 1_000);
  const before = await programs.logDirs(broker.bootstrap);
  // In the order of the tool's own table.
  const names = Object.keys(before.directories).sort();
  assert.match(names.join(), /^[^,]*\.wal,file:[^,]*$/, before.said);
  const sizes = (directories: typeof before.directories) =>
    names.map((name) =>
      Object.entries(directories[name] ?? {})
        .filter(([partition]) => partition.startsWith(`${topic}-`))
        .reduce((sum, [, size]) => sum + size, 0),
    );
  const [inWal, inStore] = sizes(before.directories);
  assert.ok(inWal! > 1_000 && inStore === 0, before.said);
  await broker.stop();
  await broker.start();
  const after = await programs.logDirs(broker.bootstrap);
  assert.deepEqual(sizes(after.directories), [0, inWal], after.said);
});

/** Kafka's own programs: the Verifiable pair, which counts what was acknowledged and read, log-dirs, and administration. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

test('programs of administration understand what the only broker says of replicas, leaders and features', async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  const topic = 'administered';
  await createTopics(broker.bootstrap, [topic]);
  const run = async (name: string, ...args: string[]) =>
    (await programs.tool(name, ['--bootstrap-server', broker.bootstrap, ...args])).said;
  const directory = mkdtempSync(join(tmpdir(), 'millrace-programs-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const plan = join(directory, 'plan.json');
  const move = (replicas: number[]) =>
    writeFileSync(plan, JSON.stringify({ version: 1, partitions: [{ topic, partition: 0, replicas }] }));
  const reassign = (what: string) =>
    run('reassign.ReassignPartitionsCommand', '--reassignment-json-file', plan, what);
  move([0]);
  assert.match(await reassign('--execute'), /Successfully started partition reassignment for administered-0/);
  assert.match(await reassign('--verify'), /Reassignment of partition administered-0 is completed/);
  move([7]);
  assert.match(await reassign('--execute'), /Unknown broker id 7|broker 7, but no such broker/);
  assert.match(
    await run('LeaderElectionCommand', '--election-type', 'PREFERRED', '--topic', topic, '--partition', '0'),
    /Valid replica already elected for partitions administered-0/,
  );
  const quorum = await run('MetadataQuorumCommand', 'describe', '--status');
  assert.match(quorum, /LeaderId:\s+0\n/);
  assert.match(quorum, /CurrentVoters:\s+\[\{"id": 0/);
  assert.match(
    await run('FeatureCommand', 'describe'),
    /Feature: metadata.version .*FinalizedVersionLevel: .*33/,
  );
  assert.match(
    await run('ClientMetricsCommand', '--alter', '--name', 's', '--metrics', 'a.', '--interval', '30000'),
    /Altered client metrics config for s/,
  );
  assert.match(await run('ClientMetricsCommand', '--describe'), /for s are:\n\s+interval.ms=30000/);
  const { said } = await programs.tool('ClusterTool', [
    'unregister',
    '--bootstrap-server',
    broker.bootstrap,
    '--id',
    '5',
  ]);
  assert.match(said, /Broker ID 5 is not currently registered/);
});

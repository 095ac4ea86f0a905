/** Kafka's own programs of administration against a cluster of two: assignments, moves, elections, brokers that leave for good. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openConsole } from '../support/clients/java/console.ts';
import { DevCluster } from '../support/dev-cluster.ts';
import { patienceMs } from '../support/patience.ts';

const topic = 'moved';

test("Kafka's programs place, move, elect and unregister", async (t) => {
  const programs = await openConsole().catch((error: Error) => error);
  if (programs instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${programs.message}`);
  const cluster = await DevCluster.start({ brokers: 2, wal: 'object' });
  if (typeof cluster === 'string') return t.skip(cluster);
  t.after(() => cluster.dispose());
  const directory = mkdtempSync(join(tmpdir(), 'millrace-tools-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const plan = join(directory, 'plan.json');
  const run = async (name: string, ...args: string[]): Promise<string> =>
    (await programs.tool(name, args)).said;
  const server = ['--bootstrap-server', cluster.broker(1).bootstrap];

  /** What the program says once that is as expected. */
  async function saysInTime(expected: RegExp, name: string, ...args: string[]): Promise<string> {
    const until = performance.now() + patienceMs;
    for (;;) {
      const said = await run(name, ...args);
      if (expected.test(said)) return said;
      assert.ok(performance.now() < until, said);
    }
  }

  const place = ['--create', '--topic', topic, '--replica-assignment', '1,2'];
  assert.match(await run('TopicCommand', ...server, ...place), /Created topic moved/);
  const described = ['--describe', '--topic', topic];
  const placed = await run('TopicCommand', ...server, ...described);
  assert.match(placed, /Partition: 0\s+Leader: 1\s+Replicas: 1\s+Isr: 1/);
  assert.match(placed, /Partition: 1\s+Leader: 2\s+Replicas: 2\s+Isr: 2/);

  const { acked, consumed, said } = await programs.verifiable(cluster.bootstrap, topic, 1_000);
  assert.deepEqual({ acked, consumed }, { acked: 1_000, consumed: 1_000 }, said);

  const reassign = (what: string) => [...server, '--reassignment-json-file', plan, what];
  const write = (replicas: number[]): void =>
    writeFileSync(plan, JSON.stringify({ version: 1, partitions: [{ topic, partition: 0, replicas }] }));
  write([2]);
  const started = await run('reassign.ReassignPartitionsCommand', ...reassign('--execute'));
  assert.match(started, /Successfully started partition reassignment for moved-0/);
  await saysInTime(
    /Reassignment of partition moved-0 is completed/,
    'reassign.ReassignPartitionsCommand',
    ...reassign('--verify'),
  );
  assert.match(await run('TopicCommand', ...server, ...described), /Partition: 0\s+Leader: 2\s+Replicas: 2/);
  assert.match(
    await run('reassign.ReassignPartitionsCommand', ...server, '--list'),
    /No partition reassignments found/,
  );
  assert.match(
    await run('reassign.ReassignPartitionsCommand', ...reassign('--cancel')),
    /None of the specified partition reassignments are active/,
  );
  write([7]);
  assert.match(
    await run('reassign.ReassignPartitionsCommand', ...reassign('--execute')),
    /Unknown broker id 7|broker 7, but no such broker/,
  );

  const election = ['--election-type', 'PREFERRED', '--topic', topic, '--partition', '0'];
  assert.match(
    await run('LeaderElectionCommand', ...server, ...election),
    /Valid replica already elected for partitions moved-0/,
  );

  const unregister = ['unregister', ...server, '--id', '2'];
  assert.match(await run('ClusterTool', ...unregister), /Broker 2 is in the cluster: stop it first/);
  assert.deepEqual(await cluster.broker(2).stop(), { code: 0, signal: null });
  await saysInTime(/Broker 2 is no longer registered/, 'ClusterTool', ...unregister);
  assert.match(await run('ClusterTool', ...unregister), /Broker ID 2 is not currently registered/);
  // What it had is where it can be read.
  const after = await run('TopicCommand', ...server, ...described);
  assert.match(after, /Partition: 0\s+Leader: 1\s+Replicas: 1/);
  assert.match(after, /Partition: 1\s+Leader: 1\s+Replicas: 1/);
  // A broker of that node id is another one.
  await cluster.broker(2).start();
  const brokers = await run('ClusterTool', 'list-endpoints', ...server);
  assert.match(brokers, /\n2\s/);
});

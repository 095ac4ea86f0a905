/** Brokers as processes that report their load: what is hot on one broker is divided, and the log says why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DevCluster } from '../support/dev-cluster.ts';
import { until } from '../support/inline-broker.ts';
import { ClusterLoad } from '../support/load/cluster-load.ts';
import { patienceMs } from '../support/patience.ts';
import { addressOf } from '../support/raw-client.ts';

const hotBytes = 96 * 1024;

test('two hot partitions of one broker are divided between brokers by the loads that these report', async (t) => {
  const cluster = await DevCluster.start({ brokers: 2 });
  if (typeof cluster === 'string') {
    t.skip(cluster);
    return;
  }
  t.after(() => cluster.dispose());
  const load = new ClusterLoad('records', () => cluster.brokers.map(({ bootstrap }) => addressOf(bootstrap)));
  t.after(() => load.stop());
  const hot = new Set<number>();
  await load.start(6, 50, (partition) => (hot.has(partition) ? hotBytes : 100));
  await load.flows();
  // All is even by numbers; then two partitions of one broker become hot.
  const home = load.leaderOf(0)!.port;
  for (let partition = 0; partition < 6 && hot.size < 2; partition++)
    if (load.leaderOf(partition)!.port === home) hot.add(partition);
  assert.equal(hot.size, 2);
  const began = performance.now();
  const divided = (): boolean =>
    new Set([...hot].map((partition) => load.leaderOf(partition)!.port)).size === 2;
  await until(divided, patienceMs);
  const tookMs = Math.round(performance.now() - began);
  await load.flows();
  const told = cluster.brokers.map(({ errors }) => errors).join('\n');
  const [line] = /^.*partitions move for balance.*goal=bytesIn.*$/m.exec(told) ?? [];
  assert.ok(line !== undefined, told.slice(-3_000));
  const { faults } = await load.finish();
  assert.deepEqual(faults, []);
  t.diagnostic(`divided after ${tookMs} ms: ${line}`);
});

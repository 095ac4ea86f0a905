/**
 * A broker that sleeps past its session (SIGSTOP), is taken for dead, and wakes: whatever anybody was acknowledged, by it or by those
 * that took over, is in the log once, at its offset.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DevCluster } from '../support/dev-cluster.ts';
import { ClusterLoad } from '../support/load/cluster-load.ts';
import { addressOf } from '../support/raw-client.ts';

const session = 3_000;

for (const wal of ['shared', 'object'] as const) {
  test(`a broker that wakes after its session is fenced, ${wal} write-ahead logs`, async (t) => {
    const cluster = await DevCluster.start({ brokers: 3, wal });
    if (typeof cluster === 'string') {
      t.skip(cluster);
      return;
    }
    t.after(() => cluster.dispose());
    const load = new ClusterLoad('records', () =>
      cluster.brokers.filter(({ running }) => running).map(({ bootstrap }) => addressOf(bootstrap)),
    );
    t.after(() => load.stop());
    await load.start(6);
    await load.flows();
    const sleeper = cluster.broker(2);
    process.kill(sleeper.pid, 'SIGSTOP');
    const before = load.acknowledged;
    await new Promise((resolve) => setTimeout(resolve, session + 2_000));
    process.kill(sleeper.pid, 'SIGCONT');
    const end = await sleeper.whenEnded();
    assert.deepEqual(end, { code: 76, signal: null }, sleeper.errors.slice(-2_000));
    await load.flows();
    assert.ok(load.acknowledged > before);
    await sleeper.start();
    await load.flows();
    const { batches, faults } = await load.finish();
    assert.deepEqual(faults, []);
    t.diagnostic(`${batches} batches`);
  });
}

/** Three brokers and an etcd as processes, under load: kill -9, return, orderly leave, and one more that joins. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DevCluster } from '../support/dev-cluster.ts';
import { ClusterLoad } from '../support/load/cluster-load.ts';
import { addressOf } from '../support/raw-client.ts';

for (const wal of ['shared', 'object'] as const) {
  test(`nothing acknowledged is lost while brokers come and go, ${wal} write-ahead logs`, async (t) => {
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
    load.mark();
    await cluster.broker(2).kill();
    await load.flows();
    const failOver = Math.round(Math.max(...load.pauses()));
    // It comes back under its node id.
    await cluster.broker(2).start();
    await load.flows();
    load.mark();
    const left = await cluster.broker(3).stop();
    assert.deepEqual(left, { code: 0, signal: null }, cluster.broker(3).errors.slice(-2_000));
    await load.flows();
    const leave = Math.round(Math.max(...load.pauses()));
    await cluster.add();
    await load.flows();
    const { batches, faults } = await load.finish();
    assert.deepEqual(faults, []);
    assert.ok(batches > 0);
    await cluster.stop();
    for (const [i, broker] of cluster.brokers.entries())
      assert.deepEqual(
        await broker.whenEnded(),
        { code: 0, signal: null },
        `broker ${i + 1}: ${broker.errors.slice(-2_000)}`,
      );
    t.diagnostic(
      `${batches} batches; longest pause at kill -9 ${failOver} ms, at an orderly leave ${leave} ms`,
    );
  });
}

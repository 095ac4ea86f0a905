/** Three brokers under load lose their etcd with all its data, and go on from what the store holds. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { DevCluster } from '../support/dev-cluster.ts';
import { ClusterLoad } from '../support/load/cluster-load.ts';
import { operatorCommand } from '../support/operator-command.ts';
import { addressOf } from '../support/raw-client.ts';

const members = 3;

for (const wal of ['shared', 'object'] as const) {
  test(`a lost etcd costs no acknowledged record, ${wal} write-ahead logs`, async (t) => {
    const cluster = await DevCluster.start({ brokers: 3, wal, etcdMembers: members });
    if (typeof cluster === 'string') {
      t.skip(cluster);
      return;
    }
    t.after(() => cluster.dispose());
    const etcd = cluster.etcd!;
    const each = <T>(act: (member: number) => Promise<T>): Promise<T[]> =>
      Promise.all(Array.from({ length: members }, (_, member) => act(member)));
    const loadOf = (topic: string): ClusterLoad => {
      const load = new ClusterLoad(topic, () =>
        cluster.brokers.filter(({ running }) => running).map(({ bootstrap }) => addressOf(bootstrap)),
      );
      t.after(() => load.stop());
      return load;
    };
    const place = `etcd://${cluster.etcdEndpoints}`;
    const store = ['--store', pathToFileURL(join(cluster.directory, 'store')).href];
    const command = (...words: string[]) => operatorCommand(...words, ...store);
    const [long, short] = [loadOf('long-there'), loadOf('just-made')];
    await long.start(6);
    await long.flows();
    // Its first records are acknowledged a moment before the loss.
    await short.start(3);
    await short.flows();
    await each((member) => etcd.kill(member));
    await each(async (member) => rmSync(join(cluster.directory, 'etcd', `m${member}`), { recursive: true }));
    // What is open goes on without it.
    await Promise.all([long.flows(), short.flows()]);
    await Promise.all(cluster.brokers.map((broker) => broker.kill()));
    const acknowledged = long.acknowledged + short.acknowledged;
    await each((member) => etcd.restart(member));

    await assert.rejects(cluster.broker(1).start(), /ended \(73\)[\s\S]*millrace restore/);
    assert.deepEqual(await cluster.broker(1).whenEnded(), { code: 73, signal: null });
    const before = await command('metadata', 'show', '--json');
    assert.deepEqual([before.code, JSON.parse(before.out).standing], [1, 'lost'], before.err);
    // Logs in the store were written until a moment ago: their brokers may be alive, for all that can be seen from elsewhere.
    const words = ['restore', '--metadata', place, '--json', '--take-over'];
    const planned = await command(...words, '--dry-run');
    assert.equal(planned.code, 0, planned.err);
    const done = await command(...words);
    assert.equal(done.code, 0, done.err);
    const [plan, report] = [JSON.parse(planned.out), JSON.parse(done.out)];
    assert.deepEqual({ ...report, outcome: 'planned' }, plan);
    assert.equal(report.outcome, 'restored');
    // Those of the two topics at least, open in the logs of three brokers.
    assert.ok(report.streams.length >= 9, JSON.stringify(report.streams));
    assert.deepEqual([...new Set(report.logs.map(({ node }: { node: number }) => node))].sort(), [1, 2, 3]);
    const again = await command(...words);
    assert.deepEqual([again.code, JSON.parse(again.out).outcome], [0, 'already'], again.err);
    const after = await command('metadata', 'show', '--json');
    assert.deepEqual([after.code, JSON.parse(after.out).standing], [0, 'etcd'], after.err);

    await Promise.all(cluster.brokers.map((broker) => broker.start()));
    await Promise.all([long.flows(), short.flows()]);
    const ends = [await long.finish(), await short.finish()];
    assert.deepEqual(
      ends.flatMap(({ faults }) => faults),
      [],
    );
    const batches = ends.reduce((sum, end) => sum + end.batches, 0);
    assert.ok(batches > acknowledged);
    t.diagnostic(
      `${acknowledged} batches acknowledged before brokers ended, ${batches} in the end, all there`,
    );
    await cluster.stop();
    for (const [i, broker] of cluster.brokers.entries())
      assert.deepEqual(
        await broker.whenEnded(),
        { code: 0, signal: null },
        `broker ${i + 1}: ${broker.errors.slice(-2_000)}`,
      );
  });
}

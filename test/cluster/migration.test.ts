/** A single broker's data directory becomes a cluster's, and a single broker's again: real clients find all they left. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { createTopics } from '../compat/topics.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import type { Answer, Job } from '../support/clients/jobs.ts';
import { openKafkaJs } from '../support/clients/js/js.ts';
import { startEtcd } from '../support/etcd-server.ts';
import { operatorCommand } from '../support/operator-command.ts';
import { difference, realRecords } from '../support/real-records.ts';

const code = async (broker: BrokerProcess, expected: number): Promise<void> => {
  await assert.rejects(broker.start(), new RegExp(`ended \\(${expected}\\)`));
};

test('metadata move into an etcd and back, with their records and offsets', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-migration-'));
  t.after(() => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  const etcd = await startEtcd({ directory: join(directory, 'etcd') });
  if (typeof etcd === 'string') {
    t.skip(etcd);
    return;
  }
  t.after(() => etcd.stop());
  const place = `etcd://${etcd.endpoints.join(',')}/moved`;
  const data = join(directory, 'single');
  const store = pathToFileURL(join(data, 'store')).href;
  const settings = { profile: 'dev', threads: 1 };
  const single = BrokerProcess.prepare({ data, settings });
  const inCluster = { args: ['--metadata', place, '--store', store] };
  const first = BrokerProcess.prepare({ data, settings, ...inCluster });
  const second = BrokerProcess.prepare({
    data: join(directory, 'second'),
    settings: { ...settings, 'node.id': 1 },
    args: [...inCluster.args, '--wal', `shared:${join(directory, 'wal')}`],
  });
  for (const broker of [single, first, second]) t.after(() => broker.kill());
  const command = (...words: string[]) =>
    operatorCommand(...words, '--store', store, '--data', data, '--json');
  const client = await openKafkaJs();
  const records = realRecords('flights', 400).map(client.sendable);
  assert.equal(records.length, 400);
  const half = records.length / 2;
  const run = async (broker: BrokerProcess, job: Job): Promise<Answer> => {
    const [answer] = await client.run(broker.bootstrap, [job]);
    assert.equal(answer!.error, null, `${job.op} ${job.topic}`);
    return answer!;
  };
  /** What a group reads in two halves, here and there, is everything once. */
  const part = (broker: BrokerProcess, topic: string): Promise<Answer> =>
    run(broker, { op: 'consume', topic, count: half, group: `${topic}-readers` });
  const whole = (one: Answer, other: Answer): void =>
    assert.equal(difference(records, [...one.records, ...other.records]), null);

  await single.start();
  await createTopics(single.bootstrap, ['before']);
  await run(single, { op: 'produce', topic: 'before', codec: 'lz4', records });
  const alone = await part(single, 'before');
  const running = await command('metadata', 'migrate', '--to', place);
  assert.equal(running.code, 73, running.err);
  assert.match(running.err, /brokers of the cluster are alive.*in use by/);
  // Not in order: what it acknowledged is in its log alone.
  await single.kill();
  const there = await command('metadata', 'migrate', '--to', place);
  assert.equal(there.code, 0, there.err);
  assert.equal(JSON.parse(there.out).logs.length, 1);
  await code(single, 77);
  await first.start();
  await second.start();
  const shown = await command('metadata', 'show');
  assert.deepEqual(JSON.parse(shown.out).etcd.members, [0, 1], shown.err);
  whole(alone, await part(second, 'before'));
  await createTopics(second.bootstrap, ['between']);
  await run(second, { op: 'produce', topic: 'between', codec: 'zstd', records });
  const together = await part(first, 'between');

  const alive = await command('metadata', 'migrate', '--to', 'embedded');
  assert.equal(alive.code, 73, alive.err);
  assert.match(alive.err, /broker 0 is in .*broker 1 is in/);
  for (const broker of [second, first])
    assert.deepEqual(await broker.stop(), { code: 0, signal: null }, broker.errors.slice(-2_000));
  const back = await command('metadata', 'migrate', '--to', 'embedded');
  assert.equal(back.code, 0, back.err);
  assert.deepEqual(JSON.parse(back.out).logs, []);
  await code(first, 77);
  await single.start();
  whole(together, await part(single, 'between'));
  for (const topic of ['before', 'between']) {
    const all = await run(single, { op: 'consume', topic, count: records.length, group: `${topic}-anew` });
    assert.equal(difference(records, all.records), null, topic);
  }
  assert.deepEqual(await single.stop(), { code: 0, signal: null });
});

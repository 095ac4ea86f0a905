/** Operators of a cluster that runs: they look, drain a broker, and give up a log, by the commands and any broker. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { type AskBroker, clusterArguments, runCluster } from '../../src/cli/cluster-command.ts';
import type { ProcessPort } from '../../src/cli/process-port.ts';
import type { AuditReport, ClusterStatus, PlanReport, WaitingLog } from '../../src/ports/cluster-reports.ts';
import { CountingProducer, values } from '../storage/broker/kafka-calls.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { readAll } from '../support/inline-broker.ts';
import { patienceMs } from '../support/patience.ts';

const topic = 'records';

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + patienceMs;
  while (!(await holds())) {
    assert.ok(performance.now() < until, 'in time');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('operators of a cluster', () => {
  let cluster: ClusterBed;
  afterEach(() => cluster.dispose());

  const ask: AskBroker = (address, method, path) => {
    const url = new URL(path, 'http://broker');
    return cluster.bed(Number(address)).broker.operate(method, url.pathname, url.searchParams);
  };
  async function run(line: string) {
    const said = { out: '', err: '' };
    const host = {
      environment: {},
      out: (text: string) => {
        said.out += text;
      },
      err: (text: string) => {
        said.err += text;
      },
    } as unknown as ProcessPort;
    const code = await runCluster(host, clusterArguments(line.split(' '))!, ask);
    return { code, ...said };
  }
  const json = async <Report>(line: string): Promise<Report> =>
    JSON.parse((await run(`${line} --json`)).out) as Report;

  test('a broker is drained by way of one that does not lead, and takes partitions again', async () => {
    cluster = new ClusterBed(3);
    await cluster.start();
    for (const node of [1, 2, 3]) cluster.bed(node).broker.servesHttp(String(node));
    const connection = await cluster.bed(1).connect();
    await connection.createTopic(topic, 6);
    const producer = await CountingProducer.create(
      await cluster.bed(cluster.partition(topic).node).connect(),
      topic,
    );
    await producer.produce(await cluster.bed(cluster.partition(topic).node).connect(), 3);
    const { leader } = await json<ClusterStatus>('cluster status --http 1');
    const [drained, other] = [1, 2, 3].filter((node) => node !== leader) as [number, number];
    // Where the one that leads is reached is in its report, which comes within seconds.
    await eventually(async () => {
      const { brokers } = await json<ClusterStatus>(`cluster status --http ${other}`);
      return brokers.every(({ http, node }) => http === String(node));
    });
    assert.equal((await run(`drain ${drained} --http ${other}`)).code, 0);
    await eventually(async () => {
      const { brokers, partitions } = await json<ClusterStatus>(`cluster status --http ${other}`);
      const { state, partitions: left } = brokers.find(({ node }) => node === drained)!;
      return state === 'draining' && left === 0 && partitions.open === 6;
    });
    const owner = await cluster.bed(cluster.partition(topic).node).connect();
    assert.deepEqual(await readAll(owner, topic), values(producer.next));
    await producer.assertWindow(owner);
    const plan = await json<PlanReport>(`cluster plan --http ${other}`);
    assert.deepEqual([plan.balance, plan.scaling], ['on', 'off']);
    const audit = await json<AuditReport>(`cluster audit --http ${other}`);
    const decided = JSON.stringify(audit.records);
    for (const said of ['"leads"', '"draining broker"']) assert.ok(decided.includes(said), said);
    assert.equal((await run(`drain --undo --http ${drained}`)).code, 0);
    assert.equal(cluster.authority.image.brokers.get(drained)!.state, 'active');
    assert.equal((await run(`drain 9 --http ${other}`)).code, 73);
  });

  test('a log that nobody can read is given up after its loss was said', async () => {
    cluster = new ClusterBed(2, 'local');
    await cluster.start();
    for (const node of [1, 2]) cluster.bed(node).broker.servesHttp(String(node));
    const connection = await cluster.bed(1).connect();
    await connection.createTopic(topic, 1);
    await cluster.assign(topic, 0, 2);
    await cluster.opened(topic, 0, 2);
    const owner = await cluster.bed(2).connect();
    const producer = await CountingProducer.create(owner, topic);
    await producer.produce(owner, 2);
    await cluster.bed(2).upload();
    await producer.produce(owner, 1);
    await cluster.bed(2).crash();
    cluster.authority.lose(2);
    await eventually(async () => (await run('cluster status --http 1')).code === 1);
    const [log] = await json<readonly WaitingLog[]>('abandon --http 1');
    assert.equal(log!.node, 2);
    assert.equal(log!.streams.length, 1);
    const end = log!.streams[0]!.from;
    assert.ok(end > 0 && end < values(producer.next).length, String(end));
    const shown = await run(`abandon ${log!.logId} --http 1`);
    assert.equal(shown.code, 73);
    assert.match(shown.out, new RegExp(`${topic}-0 from offset ${end}`));
    assert.equal(cluster.authority.image.wals.get(log!.logId)!.state, 'open');
    assert.equal((await run(`abandon ${log!.logId} --yes --http 1`)).code, 0);
    await cluster.opened(topic, 0, 1);
    assert.deepEqual(await readAll(connection, topic), values(producer.next).slice(0, end));
  });
});

/**
 * Apache Kafka's share consumer (KIP-932) against a broker in a process of its own: several members, clients and broker killed.
 * Every record is delivered; of what was confirmed as accepted nothing comes again; at the end nothing is left.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadNative } from '../../native-bindings/index.ts';
import { DescribeShareGroupOffsetsCodec } from '../../src/protocol/generated/describe-share-group-offsets.ts';
import { IncrementalAlterConfigsCodec } from '../../src/protocol/generated/incremental-alter-configs.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { openFamily } from '../support/clients/families.ts';
import { jars, javaFlags } from '../support/clients/java/java.ts';
import { until } from '../support/inline-broker.ts';
import { installed, sources, step } from '../support/installed.ts';
import { sequencedBatch } from '../support/load/batches.ts';
import { patienceMs } from '../support/patience.ts';
import { RawConnection } from '../support/raw-client.ts';

const topic = 'shared-jobs';
const group = 'sharers';
const partitions = 3;
const batches = 60;
const perBatch = 10;
const total = partitions * batches * perBatch;

let broker: BrokerProcess;
let directory: string;
const children: ChildProcess[] = [];

before(async () => {
  // Connections, partitions and coordinators are on different shards.
  broker = await BrokerProcess.start(loadNative() === null ? {} : { args: ['--threads', '3'] });
  directory = mkdtempSync(join(tmpdir(), 'millrace-share-'));
});
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await broker?.dispose();
  rmSync(directory, { recursive: true, force: true });
});

async function connect(): Promise<RawConnection> {
  const [host, port] = broker.bootstrap.split(':');
  return RawConnection.connect({ host: host!, port: Number(port) });
}

async function workers(): Promise<readonly string[]> {
  const path = await jars('clients');
  const source = join(sources, 'java', 'ShareWorkers.java');
  const classes = await installed('java-share', readFileSync(source, 'utf8') + path, async (aside) => {
    cpSync(source, join(aside, 'ShareWorkers.java'));
    await step('javac', ['-cp', path, '-d', aside, join(aside, 'ShareWorkers.java')]);
  });
  return [...javaFlags, '-cp', `${classes}:${path}`, 'ShareWorkers', broker.bootstrap, topic, group];
}

function start(command: readonly string[], members: number, log: string): ChildProcess {
  const child = spawn('java', [...command, String(members), log], { stdio: ['pipe', 'ignore', 'ignore'] });
  children.push(child);
  return child;
}

interface Said {
  readonly kind: string;
  readonly record: string;
  readonly count: number;
}

function read(log: string): Said[] {
  if (!existsSync(log)) return [];
  const lines = readFileSync(log, 'utf8').split('\n');
  // The last line may be cut off.
  return lines.slice(0, -1).map((line) => {
    const [kind, partition, offset, count] = line.split(' ');
    return { kind: kind!, record: `${partition}/${offset}`, count: Number(count) };
  });
}

async function lags(): Promise<{ readonly start: number; readonly lag: number }[]> {
  const connection = await connect();
  try {
    const { groups } = await connection.request(DescribeShareGroupOffsetsCodec, 1, {
      groups: [{ groupId: group, topics: [{ topicName: topic, partitions: [0, 1, 2] }] }],
    });
    return (groups[0]!.topics[0]?.partitions ?? []).map(({ startOffset: start, lag }) => ({ start, lag }));
  } finally {
    await connection.close();
  }
}

test('members of Apache Kafka’s client share records through kills of client and broker', async (t) => {
  const java = await openFamily('java', { slow: false });
  if (typeof java === 'string') return t.skip(java);
  const command = await workers();
  const connection = await connect();
  await connection.createTopic(topic, partitions);
  const { responses } = await connection.request(IncrementalAlterConfigsCodec, 1, {
    resources: [
      {
        resourceType: 32,
        resourceName: group,
        configs: [
          { name: 'share.auto.offset.reset', value: 'earliest', configOperation: 0 },
          { name: 'share.record.lock.duration.ms', value: '15000', configOperation: 0 },
        ],
      },
    ],
  });
  assert.equal(responses[0]!.errorCode, 0);
  const ids = await connection.initProducerId();
  for (let i = 0; i < batches; i++)
    for (let partition = 0; partition < partitions; partition++) {
      const values = Array.from({ length: perBatch }, (_, r) => Buffer.from(`${i * perBatch + r}`));
      const { errorCode } = await connection.produce(
        topic,
        partition,
        sequencedBatch(ids, i * perBatch, values, Date.now()),
      );
      assert.equal(errorCode, 0);
    }
  await connection.close();

  const logs = ['first', 'second'].map((name) => join(directory, name));
  const accepted = (): number =>
    logs.reduce((sum, log) => sum + read(log).filter(({ kind }) => kind === 'A').length, 0);
  const first = start(command, 3, logs[0]!);
  await until(() => accepted() > total / 6, patienceMs);
  await broker.kill();
  await broker.start();
  const before = accepted();
  await until(() => accepted() > before + total / 6, patienceMs);
  first.kill('SIGKILL');
  const second = start(command, 3, logs[1]!);
  let left: Awaited<ReturnType<typeof lags>> = [];
  for (let turn = 0; turn < 600; turn++) {
    left = await lags();
    if (left.length === partitions && left.every(({ start }) => start === batches * perBatch)) break;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  assert.deepEqual(left, Array(partitions).fill({ start: batches * perBatch, lag: 0 }));
  second.stdin!.end();
  await new Promise((resolve) => second.once('exit', resolve));

  const said = logs.flatMap(read);
  const confirmed = new Set<string>();
  const delivered = new Set<string>();
  for (const { kind, record } of said) {
    if (kind === 'A') confirmed.add(record);
    if (kind !== 'D') continue;
    assert.ok(!confirmed.has(record), `record ${record} was confirmed and came again`);
    delivered.add(record);
  }
  assert.equal(delivered.size, total);
  const again = said.filter(({ kind, count }) => kind === 'D' && count > 1).length;
  assert.ok(again >= total / 10, `${again} deliveries after the first`);
  t.diagnostic(
    `${said.filter(({ kind }) => kind === 'D').length} deliveries of ${total}, ${confirmed.size} confirmed`,
  );
});

/**
 * Programs that people run beside Kafka, over Millrace: Kafka Connect alone and as a group, with files at both ends, and a schema
 * registry that keeps its schemas in a topic. Each is killed and started again, and so is the broker; what went in must come out.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { createTopics } from '../compat/topics.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import {
  type ConnectWorker,
  distributedWorker,
  fileSink,
  fileSource,
  standaloneWorker,
} from '../support/clients/java/connect.ts';
import { schemaRegistry } from '../support/clients/java/registry.ts';
import { avroClient } from '../support/clients/js/avro.ts';
import { openKafkaJs } from '../support/clients/js/js.ts';
import { done, valuesOf } from '../support/clients/transactions.ts';
import { patienceMs } from '../support/patience.ts';
import { realRecords } from '../support/real-records.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const linesPerRound = 500;
const recordsPerRound = 100;

interface Part {
  readonly faults: readonly string[];
  readonly summary: string;
}

/** Numbered lines that no other round has, of a real data set. */
function linesOf(round: number): string[] {
  return realRecords('flights', linesPerRound).map(
    ({ value }, at) => `${round * linesPerRound + at} ${value}`,
  );
}

function written(file: string): string[] {
  return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
}

/** Waits until the file has all lines, in whatever order; false when patience ends first. */
async function arrived(file: string, lines: readonly string[]): Promise<boolean> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const there = new Set(written(file));
    if (lines.every((line) => there.has(line))) return true;
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** In the order in which lines were there first: what a sink that repeats must keep. */
function firstOf(lines: readonly string[]): string[] {
  return [...new Set(lines)];
}

function same(left: readonly string[], right: readonly string[]): boolean {
  return left.length === right.length && left.every((line, at) => line === right[at]);
}

async function policyOf(bootstrap: string, topic: string): Promise<string> {
  const kafka = new kafkajs.Kafka({ brokers: [bootstrap], logLevel: kafkajs.logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configNames: ['cleanup.policy'] }],
    });
    return resources[0]!.configEntries[0]!.configValue;
  } finally {
    await admin.disconnect();
  }
}

async function standalone(directory: string, say: (line: string) => void): Promise<Part> {
  const broker = await BrokerProcess.start();
  const [from, to, topic] = [join(directory, 'from'), join(directory, 'to'), 'lines'];
  const connectors = [fileSource('source', from, topic), fileSink('sink', to, topic)];
  let worker: ConnectWorker | null = null;
  const faults: string[] = [];
  const lines: string[] = [];
  try {
    await createTopics(broker.bootstrap, [topic], 1);
    worker = await standaloneWorker(broker.bootstrap, directory, connectors);
    for (const [round, how] of ['SIGTERM', 'SIGKILL', 'broker', null].entries()) {
      if (how !== 'broker' && round !== 3) await worker.server.start();
      lines.push(...linesOf(round));
      appendFileSync(from, `${linesOf(round).join('\n')}\n`);
      if (!(await arrived(to, lines)))
        faults.push(`alone: round ${round} has not arrived: ${worker.server.said}`);
      const out = written(to);
      if (!same(firstOf(out), lines)) faults.push(`alone: round ${round} is out of order`);
      // Nothing was repeated before anything was killed.
      if (round < 2 && out.length !== lines.length)
        faults.push(`alone: ${out.length} lines for ${lines.length}`);
      if (how === 'SIGTERM' || how === 'SIGKILL') await worker.server.end(how);
      if (round === 1) await worker.server.start();
      if (how === 'broker') {
        await broker.kill();
        await broker.start();
      }
      say(`Connect alone: ${lines.length} lines, ${out.length} written`);
    }
  } finally {
    await worker?.server.end('SIGKILL');
    await broker.dispose();
  }
  return {
    faults,
    summary: `Kafka Connect alone: ${lines.length} lines through a topic into a file; the worker stopped, the worker and the broker killed.`,
  };
}

async function rest(url: string, method: string, path: string, body?: unknown): Promise<unknown> {
  const answer = await fetch(`${url}${path}`, {
    method,
    signal: AbortSignal.timeout(patienceMs),
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text.slice(0, 300)}`);
  return text === '' ? null : JSON.parse(text);
}

async function distributed(directory: string, say: (line: string) => void): Promise<Part> {
  const broker = await BrokerProcess.start();
  const [from, to, topic, group] = [join(directory, 'from'), join(directory, 'to'), 'lines', 'connect'];
  let worker: ConnectWorker | null = null;
  const faults: string[] = [];
  const lines: string[] = [];
  try {
    await createTopics(broker.bootstrap, [topic], 1);
    worker = await distributedWorker(broker.bootstrap, directory, group);
    await worker.server.start();
    for (const { name, ...config } of [fileSource('source', from, topic), fileSink('sink', to, topic)])
      await rest(worker.url, 'PUT', `/connectors/${name}/config`, config);
    for (const [round, killed] of ['worker', 'broker', 'both', 'nothing'].entries()) {
      lines.push(...linesOf(round));
      appendFileSync(from, `${linesOf(round).join('\n')}\n`);
      if (!(await arrived(to, lines)))
        faults.push(`group: round ${round} has not arrived: ${worker.server.said}`);
      if (!same(firstOf(written(to)), lines)) faults.push(`group: round ${round} is out of order`);
      say(
        `Connect as a group: ${lines.length} lines, ${written(to).length} written; now ${killed} is killed`,
      );
      if (killed === 'worker' || killed === 'both') await worker.server.end('SIGKILL');
      if (killed === 'broker' || killed === 'both') {
        await broker.kill();
        await broker.start();
      }
      // It finds its connectors in its topics.
      if (killed === 'worker' || killed === 'both') await worker.server.start();
    }
    const names = (await rest(worker.url, 'GET', '/connectors')) as string[];
    if (!same([...names].sort(), ['sink', 'source'])) faults.push(`group: connectors are ${names.join()}`);
    for (const what of ['config', 'offset', 'status']) {
      const policy = await policyOf(broker.bootstrap, `${group}-${what}`);
      if (policy !== 'compact') faults.push(`group: ${group}-${what} has cleanup.policy ${policy}`);
    }
    const client = await openKafkaJs();
    const job = {
      op: 'consume',
      topic,
      count: lines.length,
      group: 'checks',
      isolation: 'committed',
    } as const;
    const read = valuesOf(await done(client, broker.bootstrap, job), 1)[0]!;
    if (!same(read, lines)) faults.push(`group: the topic has not each line once and in order`);
  } finally {
    await worker?.server.end('SIGKILL');
    await broker.dispose();
  }
  return {
    faults,
    summary: `Kafka Connect as a group: ${lines.length} lines, each exactly once in the topic, into a file; worker and broker killed, alone and together; its topics are compacted.`,
  };
}

const fields = ['key', 'value'].map((name) => ({ name, type: 'string' }));
const avro = (...more: readonly object[]) => ({
  type: 'AVRO' as const,
  schema: JSON.stringify({ type: 'record', name: 'Row', namespace: 'test', fields: [...fields, ...more] }),
});

async function registry(_directory: string, say: (line: string) => void): Promise<Part> {
  const broker = await BrokerProcess.start();
  const [topic, subject] = ['rows', 'rows-value'];
  const faults: string[] = [];
  const kafka = new kafkajs.Kafka({ brokers: [broker.bootstrap], logLevel: kafkajs.logLevel.NOTHING });
  const { server, url } = await schemaRegistry(broker.bootstrap);
  const rows = realRecords('weather', 3 * recordsPerRound).map(({ key, value }) => ({
    key: String(key),
    value: String(value),
  }));
  const ids: number[] = [];
  try {
    await createTopics(broker.bootstrap, [topic], 1);
    await server.start();
    const reader = await openKafkaJs();
    for (const [round, killed] of ['registry', 'both', 'nothing'].entries()) {
      const client = await avroClient(url);
      // The second schema has a field more, with a default.
      const schema = round === 0 ? avro() : avro({ name: 'round', type: 'int', default: 0 });
      const { id } = await client.register(schema, { subject });
      ids.push(id);
      const some = rows.slice(round * recordsPerRound, (round + 1) * recordsPerRound);
      const producer = kafka.producer();
      await producer.connect();
      const values = await Promise.all(
        some.map((row) => client.encode(id, round === 0 ? row : { ...row, round })),
      );
      await producer.send({ topic, messages: values.map((value) => ({ value })) });
      await producer.disconnect();
      if (killed !== 'nothing') await server.end('SIGKILL');
      if (killed === 'both') {
        await broker.kill();
        await broker.start();
      }
      if (killed !== 'nothing') await server.start();
      // A client that has seen no schema yet.
      const fresh = await avroClient(url);
      const count = (round + 1) * recordsPerRound;
      const read = await done(reader, broker.bootstrap, {
        op: 'consume',
        topic,
        count,
        group: `checks-${round}`,
      });
      const decoded = await Promise.all(
        [...read.records]
          .sort((a, b) => a.offset! - b.offset!)
          .map(async ({ value }) => (await fresh.decode(value!)) as { key: string; value: string }),
      );
      const texts = decoded.map(({ key, value }) => JSON.stringify({ key, value }));
      if (
        !same(
          texts,
          rows.slice(0, count).map((row) => JSON.stringify(row)),
        )
      )
        faults.push(`registry: round ${round} was not read as it was written`);
      say(`schema registry: ${count} records; ${killed} was killed`);
    }
    if (ids[0] === ids[1] || ids[1] !== ids[2]) faults.push(`registry: ids of schemas are ${ids.join()}`);
    const versions = (await rest(url, 'GET', `/subjects/${subject}/versions`)) as number[];
    if (versions.length !== 2) faults.push(`registry: versions of the subject are ${versions.join()}`);
  } finally {
    await server.end('SIGKILL');
    await broker.dispose();
  }
  return {
    faults,
    summary: `Apicurio Registry with its schemas in a topic: ${rows.length} Avro records of two versions of a schema; registry and broker killed, alone and together.`,
  };
}

const parts = { standalone, distributed, registry };

async function run({ option, say, directory }: LongContext): Promise<LongOutcome> {
  const only = option('only') ?? '';
  const faults: string[] = [];
  const summary: string[] = [];
  const missing: string[] = [];
  for (const [name, part] of Object.entries(parts).filter(([each]) => each.includes(only))) {
    const own = join(directory, name);
    mkdirSync(own, { recursive: true });
    try {
      const result = await part(own, say);
      faults.push(...result.faults);
      summary.push(result.summary);
    } catch (error) {
      const { message } = error as Error;
      // What the set-up cannot bring is no fault of the broker.
      if (/^(mvn|npm|tar|javac) /.test(message)) missing.push(`${name} cannot be had here: ${message}`);
      else faults.push(`${name}: ${message}`);
    }
  }
  if (summary.length === 0 && faults.length === 0) return skipped(missing.join('; '));
  return outcome(faults, [...summary, ...missing], { missing });
}

export const ecosystem: LongScript = {
  name: 'ecosystem',
  what: 'Kafka Connect alone and as a group, and a schema registry, with them and the broker killed',
  run,
};

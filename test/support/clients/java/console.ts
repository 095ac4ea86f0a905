/**
 * Kafka's own programs as a client: the console producer and consumer, and the Verifiable pair. They come as release
 * 4.3.1 with the clients of that release, since kafka-tools 4.4.0 is not published.
 */

import { patienceMs } from '../../patience.ts';
import type { ClientRecord } from '../../real-records.ts';
import { runProgram } from '../../run-program.ts';
import { type Answer, type Client, codecs, type Job } from '../jobs.ts';
import { jars, javaFlags } from './java.ts';

const quiet = '-Dorg.apache.logging.log4j.level=OFF';
const consumeTimeoutMs = 200_000;
const outputMax = 64 * 1024 * 1024;
const consumerLine = /^Partition:(\d+)\tOffset:(\d+)\t([^\t]*)\t([^\t]*)\t(.*)$/s;

export interface KafkaPrograms extends Client {
  /** Sends `count` numbered values with the Verifiable producer and reads them with the Verifiable consumer. */
  verifiable(
    bootstrap: string,
    topic: string,
    count: number,
  ): Promise<{ acked: number; consumed: number; said: string }>;
  /** Runs a program of org.apache.kafka.tools; what it said on both outputs. */
  tool(name: string, args: readonly string[]): Promise<{ code: number | null; said: string }>;
  /** Sizes by directory and `topic-partition`, as kafka-log-dirs tells them. */
  logDirs(
    bootstrap: string,
  ): Promise<{ directories: Readonly<Record<string, Readonly<Record<string, number>>>>; said: string }>;
}

interface LogDirsAnswer {
  readonly brokers: readonly {
    readonly logDirs: readonly {
      readonly error: string | null;
      readonly logDir: string;
      readonly partitions: readonly { readonly partition: string; readonly size: number }[];
    }[];
  }[];
}

export async function openConsole(): Promise<KafkaPrograms> {
  const path = await jars('tools');
  const java = (name: string, args: readonly string[], input = '') =>
    runProgram('java', [...javaFlags, quiet, '-cp', path, `org.apache.kafka.tools.${name}`, ...args], {
      input,
      timeoutMs: patienceMs,
      outputMax,
    });

  async function produce(bootstrap: string, job: Job & { op: 'produce' }): Promise<string | null> {
    const args = ['--bootstrap-server', bootstrap, '--topic', job.topic, '--compression-codec', job.codec];
    for (const property of ['parse.key=true', 'parse.headers=true']) args.push('--reader-property', property);
    for (const property of ['enable.idempotence=true', 'acks=all']) args.push('--command-property', property);
    const { code, out, err } = await java('ConsoleProducer', args, job.records.map(producerLine).join(''));
    // It ends with 0 whatever happened to its records: what it says is the verdict.
    const said = `${out}${err}`.replaceAll(/^(SLF4J:.*|>+)$/gm, '').trim();
    return code === 0 && said === '' ? null : `exit ${code}: ${said.slice(0, 400)}`;
  }

  async function consume(
    bootstrap: string,
    job: Job & { op: 'consume' },
  ): Promise<{ error: string | null; records: ClientRecord[] }> {
    const args = [
      '--bootstrap-server',
      bootstrap,
      '--topic',
      job.topic,
      '--group',
      job.group,
      '--from-beginning',
    ];
    args.push('--max-messages', String(job.count), '--timeout-ms', String(consumeTimeoutMs));
    for (const part of ['key', 'headers', 'partition', 'offset'])
      args.push('--formatter-property', `print.${part}=true`);
    const { code, out, err } = await java('consumer.ConsoleConsumer', args);
    const records: ClientRecord[] = [];
    for (const line of out.split('\n')) {
      const fields = consumerLine.exec(line);
      if (fields !== null) records.push(recordOf(fields));
    }
    const enough = records.length === job.count;
    const error =
      code === 0 && enough
        ? null
        : `exit ${code}: ${records.length} records instead of ${job.count}: ${err.trim().slice(-400)}`;
    return { error, records };
  }

  return {
    operations: ['produce', 'consume'],
    codecs,
    sendable: (record) => record,
    async run(bootstrap, jobs) {
      const answers: Answer[] = [];
      for (const job of jobs) {
        if (job.op === 'produce')
          answers.push({ error: await produce(bootstrap, job), values: {}, records: [] });
        else if (job.op === 'consume') answers.push({ ...(await consume(bootstrap, job)), values: {} });
        else answers.push({ error: `the console programs do not do ${job.op}`, values: {}, records: [] });
      }
      return answers;
    },
    async verifiable(bootstrap, topic, count) {
      const common = ['--bootstrap-server', bootstrap, '--topic', topic, '--max-messages', String(count)];
      const sent = await java('VerifiableProducer', [...common, '--throughput', '-1', '--acks', '-1']);
      const group = ['--group-id', `${topic}-verifiable`, '--reset-policy', 'earliest'];
      const read = await java('VerifiableConsumer', [...common, ...group]);
      const events = `${sent.out}${read.out}`
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const acked = events.filter(({ name }) => name === 'producer_send_success').length;
      const consumed = events
        .filter(({ name }) => name === 'records_consumed')
        .reduce((sum, { count }) => sum + Number(count), 0);
      return { acked, consumed, said: `${sent.err}${read.err}`.trim().slice(-600) };
    },
    async tool(name, args) {
      const { code, out, err } = await java(name, args);
      return { code, said: `${out}${err}`.replaceAll(/^SLF4J.*\n/gm, '') };
    },
    async logDirs(bootstrap) {
      const { out, err } = await java('LogDirsCommand', ['--bootstrap-server', bootstrap, '--describe']);
      const line = out.split('\n').find((each) => each.startsWith('{'));
      const answer: LogDirsAnswer = line === undefined ? { brokers: [] } : JSON.parse(line);
      const directories: Record<string, Record<string, number>> = {};
      for (const { error, logDir, partitions } of answer.brokers.flatMap(({ logDirs }) => logDirs)) {
        const name = error === null ? logDir : `${logDir}: ${error}`;
        directories[name] = Object.fromEntries(partitions.map(({ partition, size }) => [partition, size]));
      }
      return { directories, said: `${out}${err}`.slice(-600) };
    },
  };
}

/** Headers, key and value are text here; none may hold what separates them. */
function producerLine({ key, value, headers }: ClientRecord): string {
  const named = headers.map(([name, bytes]) => `${name}:${bytes?.toString() ?? ''}`).join(',');
  return `${named}\t${key?.toString() ?? ''}\t${value?.toString() ?? ''}\n`;
}

function recordOf([, partition, offset, named, key, value]: RegExpExecArray): ClientRecord {
  const headers =
    named === 'NO_HEADERS'
      ? []
      : named!
          .split(',')
          .map(
            (pair) =>
              [pair.slice(0, pair.indexOf(':')), Buffer.from(pair.slice(pair.indexOf(':') + 1))] as const,
          );
  return {
    key: Buffer.from(key!),
    value: Buffer.from(value!),
    headers,
    partition: Number(partition),
    offset: Number(offset),
  };
}

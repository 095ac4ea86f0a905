/**
 * Clients that people use, as programs that run to their end: Kafka's own perf tools, kafkajs, and librdkafka by its Python
 * binding. Each is skipped by name where the machine has it not.
 */
import { fileURLToPath } from 'node:url';
import { jars } from '../../test/support/clients/java/java.ts';
import { pythonProgram } from '../../test/support/clients/python/python.ts';
import type { Address } from '../../test/support/raw-client.ts';
import { runProgram } from '../../test/support/run-program.ts';

export type ClientProgram = 'kafka-producer-perf' | 'kafka-consumer-perf' | 'kafkajs' | 'librdkafka';

export interface ProgramJob {
  readonly address: Address;
  readonly topic: string;
  readonly records: number;
  readonly recordBytes: number;
  /** 0 = as fast as it can. */
  readonly recordsPerSecond: number;
  readonly secondsMax: number;
}

export interface ProgramResult {
  readonly records: number;
  /** As the program says, from its first record to its last. */
  readonly recordsPerSecond: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

/** Kafka's own scripts give their tools 512 MB. */
const javaFlags = ['-Xmx512m', '-Dorg.apache.logging.log4j.level=OFF'];
const kafkaJsEntry = fileURLToPath(new URL('./kafkajs.process.js', import.meta.url));
const librdkafkaScript = fileURLToPath(new URL('../../../bench/clients/librdkafka.py', import.meta.url));

/** Throws with the reason where it cannot be had or fails. */
export async function runClientProgram(program: ClientProgram, job: ProgramJob): Promise<ProgramResult> {
  const bootstrap = `${job.address.host}:${job.address.port}`;
  switch (program) {
    case 'kafka-producer-perf': {
      const said = await run(
        'java',
        [
          ...javaFlags,
          '-cp',
          await jars('tools'),
          'org.apache.kafka.tools.ProducerPerformance',
          '--topic',
          job.topic,
          '--num-records',
          String(job.records),
          '--record-size',
          String(job.recordBytes),
          '--throughput',
          String(job.recordsPerSecond === 0 ? -1 : job.recordsPerSecond),
          '--command-property',
          `bootstrap.servers=${bootstrap}`,
          'acks=all',
        ],
        job,
      );
      return producerPerfResult(said);
    }
    case 'kafka-consumer-perf': {
      const said = await run(
        'java',
        [
          ...javaFlags,
          '-cp',
          await jars('tools'),
          'org.apache.kafka.tools.ConsumerPerformance',
          '--bootstrap-server',
          bootstrap,
          '--topic',
          job.topic,
          '--num-records',
          String(job.records),
        ],
        job,
      );
      return consumerPerfResult(said);
    }
    case 'kafkajs': {
      const said = await run(process.execPath, [kafkaJsEntry, JSON.stringify({ ...job, bootstrap })], job);
      return JSON.parse(said) as ProgramResult;
    }
    case 'librdkafka': {
      const python = await pythonProgram();
      const said = await run(python, [librdkafkaScript, JSON.stringify({ ...job, bootstrap })], job);
      return JSON.parse(said) as ProgramResult;
    }
  }
}

async function run(program: string, args: readonly string[], job: ProgramJob): Promise<string> {
  const { code, out, err } = await runProgram(program, args, {
    timeoutMs: job.secondsMax * 1000,
    env: { KAFKAJS_NO_PARTITIONER_WARNING: '1' },
  });
  if (code !== 0)
    throw new Error(`${program} ended with ${code ?? 'no code'}: ${`${out}${err}`.trim().slice(-300)}`);
  return out;
}

/** "N records sent, X records/sec (Y MB/sec), … ms 50th, … ms 95th, … ms 99th, … ms 99.9th." on its last line. */
export function producerPerfResult(said: string): ProgramResult {
  const line = said.trim().split('\n').at(-1) ?? '';
  const found = /^(\d+) records sent, ([\d.]+) records\/sec .*?(\d+) ms 50th, .*?(\d+) ms 99th,/.exec(line);
  if (found === null) throw new Error(`the producer's last line is not what it was: ${line.slice(0, 200)}`);
  const [, records, rate, p50, p99] = found.map(Number);
  return { records: records!, recordsPerSecond: rate!, p50Ms: p50!, p99Ms: p99! };
}

/** A head and a line of: start, end, MB, MB/s, records, records/s, … separated by commas. */
export function consumerPerfResult(said: string): ProgramResult {
  const lines = said.split('\n').filter((line) => /^\d{4}-\d\d-\d\d /.test(line));
  const fields = (lines.at(-1) ?? '').split(',').map((field) => field.trim());
  const [records, rate] = [Number(fields[4]), Number(fields[5])];
  if (!Number.isFinite(records) || !Number.isFinite(rate))
    throw new Error(`the consumer's last line is not what it was: ${said.slice(-200)}`);
  return { records, recordsPerSecond: rate, p50Ms: null, p99Ms: null };
}

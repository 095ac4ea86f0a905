/**
 * One scenario: a fresh broker as a child process on loopback, one process that produces, one that consumes if asked,
 * processor time of the broker between marks.
 *
 *   warm-up ──begin──► measured part ──last acknowledgement──► consumer's last byte
 *             CPU mark                                          CPU mark
 */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startKafka } from '../test/support/clients/kafka-reference.ts';
import { BrokerChild, cpuSecondsOf, rssBytesOf, threadCpuOf } from '../test/support/load/broker-child.ts';
import { type Address, RawConnection } from '../test/support/raw-client.ts';
import type { ConsumerPlan, FromLoad, ProducerPlan, ToLoad } from './load/messages.ts';
import type { BrokerResult, Scenario } from './report.ts';

const loadEntry = fileURLToPath(new URL('./load/load.process.js', import.meta.url));
const topic = 'bench';
const MB = 1e6;

/** A system under test, so that another broker can be measured by the same load in the same run. */
export interface SystemUnderTest {
  readonly address: Address;
  readonly pid: number;
  readonly readyMs: number;
  stop(): Promise<void>;
}

export type Starter = (scenario: Scenario, directory: string) => Promise<SystemUnderTest>;

/** Systems by name. */
export const starters: ReadonlyMap<Scenario['system'], Starter> = new Map([
  ['millrace', startMillrace],
  ['kafka', startReference],
]);

/** Apache Kafka with its own defaults: acknowledged from the page cache, flushed by the system when it likes. */
async function startReference(): Promise<SystemUnderTest> {
  const begun = performance.now();
  const kafka = await startKafka();
  const [host, port] = kafka.bootstrap.split(':') as [string, string];
  return {
    address: { host, port: Number(port) },
    pid: kafka.pid,
    readyMs: performance.now() - begun,
    stop: () => kafka.stop(),
  };
}

async function startMillrace(scenario: Scenario, directory: string): Promise<SystemUnderTest> {
  const broker = new BrokerChild({
    dataDir: directory,
    threads: scenario.threads,
    settings: {
      ...(scenario.native ? {} : { native: 'off' }),
      ...(scenario.extraWriteDelayMs > 0 ? { 'wal.extra.write.delay.ms': scenario.extraWriteDelayMs } : {}),
      ...scenario.settings,
    },
  });
  await broker.start();
  return {
    address: broker.address,
    pid: broker.pid,
    readyMs: broker.readyMs,
    stop: async () => {
      const code = await broker.stop();
      if (code !== 0)
        throw new Error(
          `the broker ended with ${code ?? 'SIGKILL'} when asked to stop: ${broker.stderr.slice(-1000)}`,
        );
    },
  };
}

export interface Amounts {
  readonly warmBytes: number;
  readonly bytes: number;
  readonly secondsMax: number;
}

class LoadProcess {
  readonly #child: ChildProcess;
  readonly ready: Promise<void>;
  readonly failed: Promise<never>;
  onMessage: (message: FromLoad) => void = () => {};

  constructor(plan: ProducerPlan | ConsumerPlan) {
    this.#child = fork(loadEntry, [JSON.stringify(plan)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    let fail!: (error: Error) => void;
    this.failed = new Promise((_, reject) => {
      fail = reject;
    });
    this.failed.catch(() => {});
    this.ready = new Promise((resolve) => {
      this.#child.on('message', (message: FromLoad) => {
        if (message.type === 'ready') resolve();
        else if (message.type === 'failed') fail(new Error(`${plan.kind}: ${message.error}`));
        else this.onMessage(message);
      });
    });
    this.#child.on('exit', (code) =>
      fail(new Error(`the load process (${plan.kind}) ended with code ${code}`)),
    );
  }

  tell(message: ToLoad): void {
    if (this.#child.connected) this.#child.send(message);
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.tell({ type: 'stop' });
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3_000);
    await ended;
    clearTimeout(timer);
  }
}

export async function runScenario(scenario: Scenario, amounts: Amounts): Promise<BrokerResult> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const processes: LoadProcess[] = [];
  const starter = starters.get(scenario.system);
  if (starter === undefined) throw new Error(`no starter for ${scenario.system}`);
  let system: SystemUnderTest | null = null;
  let sampler: NodeJS.Timeout | undefined;
  try {
    system = await starter(scenario, directory);
    const { pid, address } = system;
    const admin = await RawConnection.connect(address, 'bench-admin');
    await admin.createTopic(topic, scenario.partitions);
    await admin.close();
    const producer = new LoadProcess(producerPlan(scenario, amounts, address));
    processes.push(producer);
    const consumer = scenario.consumer
      ? new LoadProcess({ kind: 'consume', address, topic, partitions: scenario.partitions })
      : null;
    if (consumer !== null) processes.push(consumer);
    const failed = Promise.race(processes.map((each) => each.failed));
    await Promise.race([Promise.all(processes.map((each) => each.ready)), failed, timeLimit(120)]);

    let rssPeak = rssBytesOf(pid);
    sampler = setInterval(() => {
      rssPeak = Math.max(rssPeak, rssBytesOf(pid));
    }, 200);
    let cpuBegin = 0;
    let uploadBegin = 0;
    let end: Extract<FromLoad, { type: 'end' }> | null = null;
    let endedAt = 0;
    let consumed = 0;
    let check = () => {};
    const finished = new Promise<void>((resolve) => {
      check = () => {
        if (end !== null && (consumer === null || consumed >= end.totalBytes)) resolve();
      };
    });
    if (consumer !== null) {
      consumer.onMessage = (message) => {
        if (message.type === 'consumed') consumed = message.bytes;
        check();
      };
    }
    producer.onMessage = (message) => {
      if (message.type === 'begin') {
        cpuBegin = cpuSecondsOf(pid);
        uploadBegin = uploadCpuOf(pid);
      }
      if (message.type === 'end') {
        end = message;
        endedAt = performance.now();
      }
      check();
    };
    producer.tell({ type: 'go' });
    await Promise.race([finished, failed, timeLimit(amounts.secondsMax * 3 + 60)]);
    const cpu = cpuSecondsOf(pid) - cpuBegin;
    const uploadCpu = uploadCpuOf(pid) - uploadBegin;
    const behindMs = consumer === null ? null : performance.now() - endedAt;
    // What is counted between the marks: the consumer's share belongs to the same bytes.
    const { bytes, requests, refused, seconds, latency, cpuSeconds } = end!;
    return {
      scenario,
      // Apache Kafka always judges in full.
      recordsValidation: String(scenario.settings['records.validation'] ?? 'full'),
      bytes,
      requests,
      refused,
      seconds,
      mbPerSecond: bytes / MB / (seconds + (behindMs ?? 0) / 1000),
      brokerCpuSeconds: cpu,
      uploadCpuSeconds: uploadCpu,
      cpuSecondsPerGb: cpu / (bytes / 1e9),
      pathCpuSecondsPerGb: (cpu - uploadCpu) / (bytes / 1e9),
      cpuMicrosecondsPerRequest: (cpu / requests) * 1e6,
      pathCpuMicrosecondsPerRequest: ((cpu - uploadCpu) / requests) * 1e6,
      latency,
      rssPeakMb: rssPeak / MB,
      loadCpuSeconds: cpuSeconds,
      consumerBehindMs: behindMs,
      threads: threadCpuOf(pid).slice(0, 12),
      readyMs: system.readyMs,
    };
  } finally {
    clearInterval(sampler);
    await Promise.all(processes.map((each) => each.end()));
    await system?.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Threads that only work for the upload: builders of objects, and libuv's, which write the file store's pages. */
const uploadThreads = /^(object pool|file i\/o) /;

function uploadCpuOf(pid: number): number {
  return threadCpuOf(pid)
    .filter(({ name }) => uploadThreads.test(name))
    .reduce((sum, { seconds }) => sum + seconds, 0);
}

function producerPlan(scenario: Scenario, amounts: Amounts, address: Address): ProducerPlan {
  // Overhead of batch and record is part of the batch: one value fills what is left.
  const large = scenario.load === 'large';
  const recordsPerBatch = large ? 64 : 1;
  const valueBytes = large
    ? Math.floor((scenario.batchBytes - 61) / recordsPerBatch) - 10
    : scenario.batchBytes;
  return {
    kind: 'produce',
    address,
    topic,
    partitions: scenario.partitions,
    shape: { valueBytes, recordsPerBatch },
    connections: scenario.connections,
    depth: scenario.depth,
    bytesPerSecond: scenario.pacedMbPerSecond * MB,
    ...amounts,
  };
}

async function timeLimit(seconds: number): Promise<never> {
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000).unref());
  throw new Error(`not finished after ${seconds} s`);
}

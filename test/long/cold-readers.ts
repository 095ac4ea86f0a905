/**
 * Ten readers replay a topic from its beginning while a producer goes on at a steady rate: what that does to the
 * producer's acknowledgements, and how many bytes come from the store for each byte that readers get. On the file store
 * and on an S3 server; readers that start together, and one after the other.
 *
 *   fill ─► stop, start (nothing in the log cache) ─► alone ─► ten together ─► ten staggered ─► ten paced ─► alone again
 *
 * Readers without a pace take all the processor time that a small machine has: what they do to the producer is then the
 * system's scheduling. Paced ones leave some, and what is left is the broker's doing.
 *
 * Bound on memory: the arena (512 MiB, both caches in it) and 512 MiB for heaps, threads and code.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { BrokerProcess } from '../support/broker-process.ts';
import { endWithUs } from '../support/end-with-us.ts';
import { BatchPool } from '../support/load/batches.ts';
import { errorName } from '../support/load/error-name.ts';
import { type AckTimes, PacedProducer } from '../support/load/paced-producer.ts';
import { BatchDigest, type ReplayPlan, type ReplayResult } from '../support/load/replay-readers.ts';
import { type Address, eventually, RawConnection } from '../support/raw-client.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const MiB = 1024 * 1024;
const partitions = 4;
const readers = 10;
const arenaBytes = 512 * MiB;
const boundBytes = arenaBytes + 512 * MiB;
const producedPerSecond = 20e6;
/** A frame in one segment of the loopback (65,483 bytes): a longer one waits for a delayed acknowledgement with its tail. */
const pacedBatchBytes = 60_000;
const aloneMs = 12_000;
const staggerMs = 300;
/** Of each reader: together fifteen times what is produced. */
const pacedPerSecond = 30e6;
/** Bytes from the store per byte served, of readers that start together. */
const sharedMax = 0.35;
const replayMsMax = 240_000;
/** The store stands for one elsewhere: in memory where that can be, so that it does not share the disk of the WAL. */
const elsewhere = existsSync('/dev/shm') ? '/dev/shm' : null;
const readersFile = fileURLToPath(new URL('../support/load/replay-readers.js', import.meta.url));

interface Store {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

interface Phase {
  readonly name: string;
  readonly acks: AckTimes;
  readonly seconds: number;
  /** Deltas of the broker's metrics. */
  readonly fetchedBytes: number;
  readonly servedBytes: number;
  readonly requests: number;
  readonly aheadUsedBytes: number;
  readonly aheadWastedBytes: number;
  readonly refused: number;
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
  readonly readerSeconds: readonly number[];
}

async function fill(
  address: Address,
  topic: string,
  bytes: number,
): Promise<{ digests: string[]; ends: number[] }> {
  const digests: string[] = [];
  const ends: number[] = [];
  await Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const connection = await RawConnection.connect(address, 'fill');
      const pool = new BatchPool({ valueBytes: 4096, recordsPerBatch: 63 }, 16);
      const digest = new BatchDigest();
      let records = 0;
      for (let sent = 0; sent < bytes / partitions; sent += pool.batchBytes) {
        const batch = pool.take();
        for (;;) {
          const { errorCode } = await connection.produce(topic, partition, batch);
          if (errorCode === 0) break;
          if (errorName(errorCode) !== 'NOT_ENOUGH_REPLICAS')
            throw new Error(`produce: ${errorName(errorCode)}`);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        digest.add(batch);
        records += 63;
      }
      digests[partition] = digest.hex;
      ends[partition] = records;
      await connection.close();
    }),
  );
  return { digests, ends };
}

/** Sums of the metrics whose names begin as asked, over their labels; `{` may be part of the beginning. */
async function scrape(http: string): Promise<(beginning: string) => number> {
  const text = await (await fetch(`${http}/metrics`)).text();
  const lines = text.split('\n');
  return (beginning) =>
    lines
      .filter((line) => line.startsWith(beginning))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

function replayInProcess(plan: ReplayPlan): Promise<ReplayResult> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = fork(readersFile, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    endWithUs(child);
    child.once('message', (result) => resolve(result as ReplayResult));
    child.once('error', reject);
    child.once('close', (code) =>
      reject(new Error(`the readers ended with code ${code} before they were done`)),
    );
    child.send(plan);
  });
}

const shardDelay = (quantile: string) =>
  `millrace_event_loop_delay_seconds{thread="shard 0",quantile="${quantile}"}`;

class Run {
  readonly phases: Phase[] = [];
  readonly faults: string[] = [];
  readonly rss: number[] = [];
  private readonly broker: BrokerProcess;
  private readonly producer: PacedProducer;

  constructor(broker: BrokerProcess, producer: PacedProducer) {
    this.broker = broker;
    this.producer = producer;
  }

  async phase(name: string, work: () => Promise<readonly number[]>): Promise<Phase> {
    const before = await scrape(this.broker.http);
    const from = performance.now();
    const readerSeconds = await work();
    const to = performance.now();
    const after = await scrape(this.broker.http);
    const delta = (metric: string) => after(metric) - before(metric);
    const phase: Phase = {
      name,
      acks: this.producer.times(from, to),
      seconds: (to - from) / 1000,
      fetchedBytes: delta('millrace_cold_fetched_bytes_total'),
      servedBytes: delta('millrace_cold_served_bytes_total'),
      requests: delta('millrace_cold_requests_total'),
      aheadUsedBytes: delta('millrace_cold_ahead_used_bytes_total'),
      aheadWastedBytes: delta('millrace_cold_ahead_wasted_bytes_total'),
      refused: delta('millrace_cold_refused_total'),
      loopDelayP99Ms: after(shardDelay('0.99')) * 1000,
      loopDelayMaxMs: after(shardDelay('1')) * 1000,
      readerSeconds,
    };
    this.phases.push(phase);
    return phase;
  }

  async replay(plan: ReplayPlan, expected: readonly string[]): Promise<readonly number[]> {
    const result = await replayInProcess(plan);
    if (result.error !== null) this.faults.push(result.error);
    for (const [reader, digests] of result.digests.entries()) {
      for (const [partition, digest] of digests.entries())
        if (digest !== expected[partition])
          this.faults.push(`reader ${reader}: partition ${partition} differs by hash`);
    }
    return result.seconds;
  }
}

async function runOn(store: Store, context: LongContext, gb: number): Promise<Run> {
  const broker = await BrokerProcess.start({
    data: join(context.directory, store.name),
    args: ['--threads', '1', ...store.args],
    env: store.env,
    settings: {
      'wal.capacity': '512MiB',
      'arena.bytes': arenaBytes,
      'log.cache.bytes': 192 * MiB,
      'block.cache.bytes': 128 * MiB,
      'upload.bytes': 64 * MiB,
      'max.connections': 1000,
    },
  });
  const sampled: number[] = [];
  const sampler = setInterval(() => {
    if (broker.running) sampled.push(Math.round(broker.memory().rssBytes / 1e6));
  }, 500);
  let producer: PacedProducer | null = null;
  try {
    const addressOf = (): Address => {
      const [host, port] = broker.bootstrap.split(':');
      return { host: host!, port: Number(port) };
    };
    const admin = await RawConnection.connect(addressOf());
    await admin.createTopic('history', partitions);
    await admin.createTopic('live', partitions);
    const { digests, ends } = await fill(addressOf(), 'history', gb * 1e9);
    await admin.close();
    const end = await broker.stop();
    if (end.code !== 0)
      throw new Error(`the broker stopped with ${end.signal ?? end.code}: ${broker.errors}`);
    await broker.start();
    context.say(`${store.name}: ${gb} GB in the store`);
    const address = addressOf();
    // Recent data of the log cache, to be left alone by cold reads; and memory touched once.
    const options = { address, topic: 'live', partitions, batchBytes: pacedBatchBytes };
    await eventually(async () => {
      const warm = await PacedProducer.start({ ...options, bytesPerSecond: 60e6 });
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      await warm.stop();
      if (warm.failure !== null) throw warm.failure;
    });
    producer = await PacedProducer.start({ ...options, bytesPerSecond: producedPerSecond });
    const run = new Run(broker, producer);
    const alone = async (): Promise<readonly number[]> => {
      await new Promise((resolve) => setTimeout(resolve, aloneMs));
      return [];
    };
    const plan = { address, topic: 'history', ends, readers, staggerMs: 0, timeoutMs: replayMsMax };
    await run.phase('alone', alone);
    const together = await run.phase('ten together', () => run.replay(plan, digests));
    context.say(`${store.name}: ten together in ${together.seconds.toFixed(1)} s`);
    await run.phase('ten staggered', () => run.replay({ ...plan, staggerMs }, digests));
    const paced = { ...plan, bytesPerSecond: pacedPerSecond };
    await run.phase('ten paced', () => run.replay(paced, digests));
    await run.phase('alone again', alone);
    await producer.stop();
    if (producer.failure !== null) run.faults.push(`the producer failed: ${producer.failure.message}`);
    const share = together.fetchedBytes / together.servedBytes;
    if (!(share <= sharedMax))
      run.faults.push(
        `${share.toFixed(2)} bytes fetched per byte served by ten readers together, above ${sharedMax}`,
      );
    run.rss.push(...sampled);
    const peak = Math.max(...sampled);
    if (peak > boundBytes / 1e6)
      run.faults.push(`resident memory reached ${peak} MB, the bound is ${(boundBytes / 1e6).toFixed(0)} MB`);
    return run;
  } finally {
    clearInterval(sampler);
    await producer?.stop();
    await broker.stop();
    await broker.dispose();
  }
}

function table(store: string, run: Run): string[] {
  const base = run.phases[0]!.acks.p99Ms;
  const lines = run.phases.map((phase) => {
    const { acks } = phase;
    const parts = [
      `${store}, ${phase.name}: ack p50 ${acks.p50Ms.toFixed(2)} p99 ${acks.p99Ms.toFixed(2)} p99.9 ${acks.p999Ms.toFixed(2)} ms (${acks.count} requests, p99 × ${(acks.p99Ms / base).toFixed(2)})`,
      `shard loop delay p99 ${phase.loopDelayP99Ms.toFixed(1)} max ${phase.loopDelayMaxMs.toFixed(1)} ms`,
    ];
    if (phase.servedBytes > 0) {
      const { servedBytes, fetchedBytes, requests, aheadUsedBytes, aheadWastedBytes, readerSeconds } = phase;
      parts.push(
        `${(servedBytes / 1e9).toFixed(2)} GB served at ${(servedBytes / 1e6 / phase.seconds).toFixed(0)} MB/s, ${(fetchedBytes / 1e9).toFixed(2)} GB fetched (${(fetchedBytes / servedBytes).toFixed(3)} per byte served) by ${requests} GETs (${(requests / (fetchedBytes / 1e9)).toFixed(0)} per GB)`,
        `read ahead ${(aheadUsedBytes / 1e9).toFixed(2)} GB used, ${(aheadWastedBytes / 1e9).toFixed(3)} GB wasted, ${phase.refused} reads answered empty`,
        `readers took ${Math.min(...readerSeconds).toFixed(1)}–${Math.max(...readerSeconds).toFixed(1)} s`,
      );
    }
    return parts.join('; ');
  });
  const peak = Math.max(...run.rss);
  lines.push(
    `${store}: resident memory peak ${peak} MB, bound ${(boundBytes / 1e6).toFixed(0)} MB; curve, ${(run.rss.length / 200).toFixed(1)} s a character: ${curve(run.rss)}`,
  );
  return lines;
}

/** 0 to the bound, a hundred characters. */
function curve(samples: readonly number[]): string {
  const bars = '▁▂▃▄▅▆▇█';
  const step = Math.max(1, Math.ceil(samples.length / 100));
  let line = '';
  for (let i = 0; i < samples.length; i += step) {
    const highest = Math.max(...samples.slice(i, i + step));
    line += bars[Math.min(7, Math.floor((highest * 1e6 * 8) / boundBytes))];
  }
  return line;
}

async function run(context: LongContext): Promise<LongOutcome> {
  const gb = Number(context.option('gb') ?? 1);
  const only = context.option('store');
  const faults: string[] = [];
  const summary: string[] = [];
  const data: Record<string, unknown> = { gb, readers, producedPerSecond, pacedPerSecond, staggerMs };
  const measure = async (store: Store): Promise<void> => {
    const result = await runOn(store, context, gb);
    faults.push(...result.faults.map((fault) => `${store.name}: ${fault}`));
    summary.push(...table(store.name, result));
    data[store.name] = { phases: result.phases, rssMb: result.rss };
  };
  const place = mkdtempSync(join(elsewhere ?? context.directory, 'millrace-cold-'));
  const remove = (): void => rmSync(place, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    if (only === undefined || only === 'file') {
      const url = pathToFileURL(join(place, 'store')).href;
      await measure({ name: 'file', args: ['--store', url], env: {} });
      rmSync(join(place, 'store'), { recursive: true, force: true });
    }
    if (only === undefined || only === 's3') await onS3(place, measure, summary);
  } finally {
    process.off('exit', remove);
    remove();
  }
  return outcome(faults, summary, data);
}

async function onS3(
  place: string,
  measure: (store: Store) => Promise<void>,
  summary: string[],
): Promise<void> {
  const server: S3Server | string = await startS3({ build: true, below: place });
  if (typeof server === 'string') {
    summary.push(`s3 left out: ${server}`);
    return;
  }
  try {
    // It runs elsewhere in earnest.
    setPriority(server.pid, 10);
    await server.createBucket('cold');
    const url = `s3://cold/cluster?endpoint=${encodeURIComponent(server.endpoint)}&region=${server.region}&pathStyle=true`;
    const { accessKeyId, secretAccessKey } = server.credentials;
    await measure({
      name: `s3 (${server.name})`,
      args: ['--store', url],
      env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    });
  } finally {
    await server.stop();
  }
}

export const coldReaders: LongScript = {
  name: 'cold-readers',
  what: 'ten readers replay a topic from the store while a producer goes on: acknowledgements, shared requests, memory',
  run,
};

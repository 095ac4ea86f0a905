/**
 * Exactly-once copies under kill -9: real clients copy a topic, each to one of its own, with their group's offsets in the same
 * transactions, and now and then abort one on purpose. Broker and clients are killed at seeded random moments. Readers of
 * committed records follow all the time; in the end they must have seen the source's records once each, in order, nothing else,
 * and a second reading from the beginning must find the same.
 *
 *   feeder ─► source ─┬─► java's copier ─► to-java ─► reader
 *                     ├─► python's …                          each partition is copied to the one of its number
 *                     └─► franz-go's …
 */
import type { ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { BrokerProcess } from '../broker-process.ts';
import { type Family, openFamily } from '../clients/families.ts';
import type { Client } from '../clients/jobs.ts';
import { patienceMs } from '../patience.ts';
import type { Address } from '../raw-client.ts';
import { SeededRandom } from '../seeded-random.ts';
import { CommittedTail, firstDifference } from './committed-tail.ts';

export interface ExactlyOnceOptions {
  readonly families: readonly Family[];
  readonly kills: number;
  readonly seed: number;
  readonly threads: number;
  /** Between two kills at most. */
  readonly windowMs: number;
  readonly log?: (line: string) => void;
}

export interface ExactlyOnceResult {
  readonly faults: readonly string[];
  /** Families that could not be had, with the reason. */
  readonly missing: readonly string[];
  readonly kills: { readonly broker: number; readonly clients: number };
  readonly records: number;
}

const source = 'source';
const partitions = 3;
/** Every so manieth transaction of a copier is aborted on purpose. */
const drops = 5;

class Copier {
  readonly family: Family;
  readonly #client: Client;
  readonly #bootstrap: string;
  readonly #directory: string;
  child: ChildProcess | null = null;
  #output = -1;
  ended: string | null = null;

  constructor(family: Family, client: Client, bootstrap: string, directory: string) {
    this.family = family;
    this.#client = client;
    this.#bootstrap = bootstrap;
    this.#directory = join(directory, family);
    mkdirSync(this.#directory);
  }

  get to(): string {
    return `to-${this.family}`;
  }

  start(): void {
    const { family, to } = this;
    this.#output = openSync(join(this.#directory, 'said'), 'a');
    const job = {
      op: 'copy',
      topic: source,
      to,
      group: to,
      id: to,
      drops,
      count: Number.MAX_SAFE_INTEGER,
    } as const;
    const child = this.#client.start!(this.#bootstrap, job, this.#directory, this.#output);
    this.child = child;
    child.once('close', (code, signal) => {
      if (this.child === child) this.ended = `${family} ended by itself (${signal ?? code}): ${this.said()}`;
    });
  }

  said(): string {
    return readFileSync(join(this.#directory, 'said'), 'utf8').slice(-600);
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (child === null) return;
    this.child = null;
    await new Promise<void>((resolve) => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve();
      child.once('close', () => resolve());
      child.kill('SIGKILL');
    });
    closeSync(this.#output);
  }
}

export async function exactlyOnceRun(options: ExactlyOnceOptions): Promise<ExactlyOnceResult> {
  const clients: [Family, Client][] = [];
  const missing: string[] = [];
  for (const family of options.families) {
    const client = await openFamily(family, { slow: false });
    if (typeof client === 'string') missing.push(client);
    else clients.push([family, client]);
  }
  if (clients.length === 0) return { faults: [], missing, kills: { broker: 0, clients: 0 }, records: 0 };
  const directory = mkdtempSync(join(tmpdir(), 'millrace-exactly-once-'));
  // Uploads every few seconds, so that kills meet transactions in the WAL and in objects.
  const settings = { threads: options.threads, 'upload.bytes': '8MiB', 'upload.age.ms': 2_000 };
  const broker = await BrokerProcess.start({ settings });
  const copiers = clients.map(([family, client]) => new Copier(family, client, broker.bootstrap, directory));
  const run = new Run(broker, copiers, options);
  try {
    return { missing, ...(await run.whole()) };
  } finally {
    run.stopped = true;
    for (const copier of copiers) await copier.kill();
    await run.end();
    await broker.dispose();
    rmSync(directory, { recursive: true, force: true });
  }
}

class Run {
  stopped = false;
  readonly #broker: BrokerProcess;
  readonly #copiers: readonly Copier[];
  readonly #options: ExactlyOnceOptions;
  readonly #kafka: kafkajs.Kafka;
  readonly #tails: CommittedTail[] = [];
  readonly #loops: Promise<void>[] = [];

  constructor(broker: BrokerProcess, copiers: readonly Copier[], options: ExactlyOnceOptions) {
    this.#broker = broker;
    this.#copiers = copiers;
    this.#options = options;
    const retry = { retries: 1_000, initialRetryTime: 50, maxRetryTime: 500 };
    const logLevel = kafkajs.logLevel.NOTHING;
    this.#kafka = new kafkajs.Kafka({ brokers: [broker.bootstrap], clientId: 'checker', logLevel, retry });
  }

  async whole(): Promise<Omit<ExactlyOnceResult, 'missing'>> {
    const { seed, kills, windowMs, log } = this.#options;
    const random = new SeededRandom(seed);
    const admin = this.#kafka.admin();
    await admin.connect();
    const topics = [source, ...this.#copiers.map(({ to }) => to)];
    await admin.createTopics({ topics: topics.map((topic) => ({ topic, numPartitions: partitions })) });
    const done = { broker: 0, clients: 0 };
    let isFeeding = true;
    this.#loops.push(this.#feed(() => isFeeding && !this.stopped));
    for (const copier of this.#copiers) {
      copier.start();
      for (let at = 0; at < partitions; at++) this.#follow(copier.to, at);
    }
    for (const copier of this.#copiers) await this.#untilCopied(copier, 1);
    for (let kill = 1; kill <= kills; kill++) {
      await pause(random.below(windowMs));
      if (random.chance(0.5)) {
        done.broker++;
        await this.#broker.kill();
        await this.#broker.start();
      } else {
        const copier = random.pick(this.#copiers);
        done.clients++;
        await copier.kill();
        copier.start();
      }
      const seen = this.#tails.reduce((sum, { values }) => sum + values.length, 0);
      log?.(`kill ${kill}: ${seen} committed records seen`);
    }
    isFeeding = false;
    await this.#loops[0];
    const faults: string[] = [];
    const ends = await admin.fetchTopicOffsets(source);
    const end = ends.reduce((sum, { high }) => sum + Number(high), 0);
    for (const copier of this.#copiers) {
      const copied = await this.#untilCopied(copier, end);
      if (copied < end) faults.push(`${copier.family} has copied ${copied} of ${end}: ${copier.said()}`);
      if (copier.ended !== null) faults.push(copier.ended);
      await copier.kill();
    }
    await admin.disconnect();
    this.stopped = true;
    await this.end();
    faults.push(...(await this.#compare()));
    return { faults, kills: done, records: end };
  }

  async end(): Promise<void> {
    await Promise.all(this.#loops);
    for (const tail of this.#tails) tail.close();
  }

  #address(): Address {
    const [host, port] = this.#broker.bootstrap.split(':') as [string, string];
    return { host, port: Number(port) };
  }

  /** Not idempotent: what the source holds is what must be copied, twice or not. */
  async #feed(goesOn: () => boolean): Promise<void> {
    let number = 0;
    while (goesOn()) {
      const producer = this.#kafka.producer({ allowAutoTopicCreation: false });
      try {
        await producer.connect();
        while (goesOn()) {
          const messages = Array.from({ length: 20 }, () => {
            number++;
            return { partition: number % partitions, value: `${number}` };
          });
          await producer.send({ topic: source, messages, acks: -1 });
          await pause(100);
        }
      } catch {
        // Begun anew.
      } finally {
        await producer.disconnect().catch(() => undefined);
      }
    }
  }

  #follow(topic: string, partition: number): void {
    const tail = new CommittedTail(() => this.#address(), topic, partition);
    this.#tails.push(tail);
    this.#loops.push(
      (async () => {
        while (!this.stopped) {
          await tail.advance();
          await pause(50);
        }
      })(),
    );
  }

  /** What the group has committed in all, once it is so much or has not grown for long. */
  async #untilCopied({ to }: Copier, end: number): Promise<number> {
    const admin = this.#kafka.admin();
    await admin.connect();
    try {
      let sum = 0;
      for (let deadline = performance.now() + patienceMs; sum < end && performance.now() < deadline; ) {
        const [topic] = await admin.fetchOffsets({ groupId: to, topics: [source] }).catch(() => []);
        const now = (topic?.partitions ?? []).reduce(
          (all, { offset }) => all + Math.max(0, Number(offset)),
          0,
        );
        if (now > sum) deadline = performance.now() + patienceMs;
        sum = Math.max(sum, now);
        await pause(100);
      }
      return sum;
    } finally {
      await admin.disconnect();
    }
  }

  async #compare(): Promise<string[]> {
    const faults: string[] = [];
    for (let at = 0; at < partitions; at++) {
      const origin = new CommittedTail(() => this.#address(), source, at);
      await origin.finish(patienceMs);
      origin.close();
      for (const tail of this.#tails.filter(({ partition }) => partition === at)) {
        const name = `${tail.topic}-${at}`;
        if (!(await tail.finish(patienceMs)))
          faults.push(`${name}: a transaction stays open at ${tail.offset}`);
        const again = new CommittedTail(() => this.#address(), tail.topic, at);
        await again.finish(patienceMs);
        for (const [who, { values }] of [
          ['the follower', tail],
          ['a second reading', again],
        ] as const) {
          const fault = firstDifference(origin.values, values);
          if (fault !== null) faults.push(`${name}: ${who}: ${fault}`);
        }
        again.close();
      }
    }
    return faults;
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Applications of Kafka Streams with exactly-once processing, while their broker is killed: each in two processes of two threads,
 * which now and then leave in order, or are killed. Their input comes in slices, between the kills. In the end each application
 * must have put out, as committed records, exactly what follows from its input: every step of every count once and in order, every
 * pair of a windowed join once.
 *
 *   flights-lines ─► words ─► flights-counts          weather-left ⋈ weather-right ─► weather-pairs
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import kafkajs from 'kafkajs';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { BrokerProcess } from '../broker-process.ts';
import { streamsApp } from '../clients/java/java.ts';
import { patienceMs } from '../patience.ts';
import { type Address, RawConnection } from '../raw-client.ts';
import { realRecords } from '../real-records.ts';
import { SeededRandom } from '../seeded-random.ts';
import { CommittedTail } from './committed-tail.ts';

export type StreamsProtocol = 'streams' | 'classic';
export type StreamsTopology = 'words' | 'join';

/** What is ended between two slices of the input: the broker, or a process of an application, at once or in order. */
export type StreamsKill = 'broker' | 'app' | 'restart';

export interface StreamsRunOptions {
  readonly apps: readonly {
    readonly topology: StreamsTopology;
    readonly protocol: StreamsProtocol;
    /** Whether its processes are killed at once, too: their tasks wait for the end of a session then, 45 s with the streams protocol. */
    readonly mortal: boolean;
  }[];
  /** Rows of the data sets that are fed. */
  readonly rows: number;
  readonly kills: readonly StreamsKill[];
  readonly seed: number;
  readonly threads: number;
  /** Between two kills at most. */
  readonly windowMs: number;
  readonly log?: (line: string) => void;
}

export interface StreamsRunResult {
  readonly faults: readonly string[];
  /** Why it could not be run here, or null. */
  readonly missing: string | null;
  /** Records put out by each application. */
  readonly records: Readonly<Record<string, number>>;
  /** What each put out, sorted. */
  readonly outputs: Readonly<Record<string, readonly string[]>>;
}

const partitions = 4;
const processes = 2;
const settleMs = 1_000;

interface Input {
  readonly topic: string;
  readonly key: string;
  readonly value: string;
  readonly timestamp: number;
}

/** One application: where its input comes from, and what has to come out. */
interface Plan {
  readonly inputs: readonly string[];
  readonly output: string;
  readonly records: readonly Input[];
  /** Values that must come out, each as often as it is here. */
  readonly expected: readonly string[];
}

function plan(topology: StreamsTopology, prefix: string, rows: number): Plan {
  return topology === 'words' ? wordsPlan(prefix, rows) : joinPlan(prefix, rows);
}

/** Flights, a line each: their words are airports and days. */
function wordsPlan(prefix: string, rows: number): Plan {
  const topic = `${prefix}-lines`;
  const records = realRecords('flights', rows).map(({ key, value }, at) => {
    const { date, origin, destination } = JSON.parse(String(value)) as Record<string, string>;
    const [, month] = String(date).split('/');
    const text = `${origin} to ${destination} in ${months[Number(month) % 12] ?? 'some month'}`;
    return { topic, key: String(key), value: text, timestamp: firstDay + at * 1_000 };
  });
  const counts = new Map<string, number>();
  const expected: string[] = [];
  for (const { value } of records) {
    for (const word of value.toLowerCase().split(/[^a-z]+/)) {
      if (word === '') continue;
      const count = (counts.get(word) ?? 0) + 1;
      counts.set(word, count);
      expected.push(`${word} ${count}`);
    }
  }
  return { inputs: [topic], output: `${prefix}-counts`, records, expected };
}

const months = [
  'one',
  'two',
  'three',
  'four',
  'five',
  'six',
  'seven',
  'eight',
  'nine',
  'ten',
  'eleven',
  'twelve',
];
const firstDay = Date.UTC(2012, 0, 1);
const dayMs = 86_400_000;

/** Weather of two cities, by month of the year: pairs of days that lie a day apart at most. */
function joinPlan(prefix: string, rows: number): Plan {
  const sides = [`${prefix}-left`, `${prefix}-right`] as const;
  const days = realRecords('weather').map(({ value }) => JSON.parse(String(value)) as Record<string, string>);
  const of = (city: string, topic: string): Input[] =>
    days
      .filter(({ location }) => location === city)
      .slice(0, Math.ceil(rows / 2))
      .map(({ date, weather }) => {
        const [year, month, day] = String(date).slice(0, 10).split(/[/-]/).map(Number) as [
          number,
          number,
          number,
        ];
        const timestamp = Date.UTC(year, month - 1, day);
        return { topic, key: `month ${month}`, value: `${city} ${date} ${weather}`, timestamp };
      });
  const left = of('Seattle', sides[0]);
  const right = of('New York', sides[1]);
  const expected: string[] = [];
  for (const one of left)
    for (const other of right)
      if (one.key === other.key && Math.abs(one.timestamp - other.timestamp) <= dayMs)
        expected.push(`${one.value}|${other.value}`);
  const records = left.flatMap((record, at) => [record, ...(right[at] === undefined ? [] : [right[at]])]);
  return { inputs: sides, output: `${prefix}-pairs`, records, expected };
}

class App {
  readonly name: string;
  readonly mortal: boolean;
  readonly plan: Plan;
  readonly tails: readonly CommittedTail[];
  readonly #words: readonly string[];
  readonly #directory: string;
  readonly #children: (ChildProcess | null)[] = Array.from({ length: processes }, () => null);

  constructor(
    command: readonly string[],
    bootstrap: string,
    address: () => Address,
    directory: string,
    { topology, protocol, mortal }: StreamsRunOptions['apps'][number],
    rows: number,
  ) {
    this.mortal = mortal;
    this.name = `${topology}-${protocol}`;
    this.plan = plan(topology, this.name, rows);
    this.#directory = join(directory, this.name);
    this.#words = [...command, bootstrap, this.name, protocol, topology, this.name];
    this.tails = Array.from(
      { length: partitions },
      (_, partition) => new CommittedTail(address, this.plan.output, partition),
    );
  }

  get seen(): number {
    return this.tails.reduce((sum, { values }) => sum + values.length, 0);
  }

  start(at: number): void {
    const output = openSync(`${this.#directory}-${at}.said`, 'a');
    const [program, ...args] = [...this.#words, `${this.#directory}-${at}`, '2'];
    const child = spawn(program!, args, { stdio: ['pipe', output, output] });
    closeSync(output);
    this.#children[at] = child;
  }

  /** Ends one of its processes: in order, so that it leaves the group, or at once. */
  async end(at: number, inOrder: boolean): Promise<void> {
    const child = this.#children[at]!;
    this.#children[at] = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    if (inOrder) child.stdin!.end();
    else child.kill('SIGKILL');
    await ended;
  }

  async endAll(): Promise<void> {
    await Promise.all(this.#children.map((_, at) => this.end(at, false)));
    for (const tail of this.tails) tail.close();
  }

  said(): string {
    return this.#children
      .map((_, at) => readFileSync(`${this.#directory}-${at}.said`, 'utf8').slice(-600))
      .join('\n');
  }

  /** What came out otherwise than it follows from the input. */
  faults(): string[] {
    const { expected } = this.plan;
    const left = new Map<string, number>();
    for (const value of expected) left.set(value, (left.get(value) ?? 0) + 1);
    const more: string[] = [];
    for (const { values } of this.tails) {
      for (const value of values) {
        const count = left.get(value) ?? 0;
        if (count === 0) more.push(value);
        else left.set(value, count - 1);
      }
    }
    const lost = [...left].filter(([, count]) => count > 0);
    const faults: string[] = [];
    if (more.length > 0) faults.push(`${this.name}: ${more.length} records too many, such as ${more[0]}`);
    if (lost.length > 0)
      faults.push(
        `${this.name}: ${lost.length} records are missing of ${expected.length}, such as ${lost[0]![0]}: ${this.said()}`,
      );
    if (this.name.startsWith('words')) faults.push(...this.#disorder());
    return faults;
  }

  /** The steps of a count come out in their order. */
  #disorder(): string[] {
    const faults: string[] = [];
    const counts = new Map<string, number>();
    for (const { values } of this.tails) {
      for (const value of values) {
        const [word, count] = value.split(' ') as [string, string];
        if (Number(count) !== (counts.get(word) ?? 0) + 1)
          faults.push(`${this.name}: ${value} comes after ${word} ${counts.get(word) ?? 0}`);
        counts.set(word, Number(count));
      }
    }
    return faults.slice(0, 3);
  }
}

export async function streamsRun(options: StreamsRunOptions): Promise<StreamsRunResult> {
  const command = await streamsApp().catch((error: Error) => error.message);
  if (typeof command === 'string')
    return { faults: [], records: {}, outputs: {}, missing: `Kafka Streams cannot be had here: ${command}` };
  const directory = mkdtempSync(join(tmpdir(), 'millrace-streams-'));
  // Uploads every few seconds, so that kills meet transactions in the WAL and in objects.
  const settings = { threads: options.threads, 'upload.bytes': '8MiB', 'upload.age.ms': 2_000 };
  const broker = await BrokerProcess.start({ settings });
  const address = (): Address => {
    const [host, port] = broker.bootstrap.split(':') as [string, string];
    return { host, port: Number(port) };
  };
  const apps = options.apps.map(
    (app) => new App(command, broker.bootstrap, address, directory, app, options.rows),
  );
  const run = new Run(broker, apps, address, options);
  try {
    return { missing: null, ...(await run.whole()) };
  } finally {
    run.stopped = true;
    for (const app of apps) await app.endAll();
    await broker.dispose();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

class Run {
  stopped = false;
  readonly #broker: BrokerProcess;
  readonly #apps: readonly App[];
  readonly #address: () => Address;
  readonly #options: StreamsRunOptions;
  readonly #kafka: kafkajs.Kafka;

  constructor(
    broker: BrokerProcess,
    apps: readonly App[],
    address: () => Address,
    options: StreamsRunOptions,
  ) {
    this.#broker = broker;
    this.#apps = apps;
    this.#address = address;
    this.#options = options;
    const retry = { retries: 1_000, initialRetryTime: 50, maxRetryTime: 500 };
    const logLevel = kafkajs.logLevel.NOTHING;
    this.#kafka = new kafkajs.Kafka({ brokers: [broker.bootstrap], clientId: 'feeder', logLevel, retry });
  }

  async whole(): Promise<Omit<StreamsRunResult, 'missing'>> {
    const { seed, kills, windowMs, log } = this.#options;
    const random = new SeededRandom(seed);
    const apps = this.#apps;
    await this.#prepare();
    for (const app of apps) for (let at = 0; at < processes; at++) app.start(at);
    const loops = apps.map((app) => this.#follow(app));
    for (const [turn, kill] of kills.entries()) {
      const seen = apps.map((app) => app.seen);
      await this.#feed(turn, kills.length + 1);
      // At first everybody has to be up, later something has to be under way.
      for (const [i, app] of apps.entries()) await this.#until(app, seen[i]! + 1);
      await pause(random.below(windowMs));
      await this.#end(kill, random);
      log?.(`${kill} ${turn + 1}: ${apps.map(({ name, seen }) => `${name} ${seen}`).join(', ')}`);
    }
    await this.#feed(kills.length, kills.length + 1);
    for (const app of apps) await this.#until(app, app.plan.expected.length);
    // What comes out too often comes late.
    await pause(settleMs);
    this.stopped = true;
    await Promise.all(loops);
    const faults: string[] = [];
    for (const app of apps) {
      for (const tail of app.tails)
        if (!(await tail.finish(patienceMs)))
          faults.push(`${app.name}: a transaction stays open at ${tail.offset}`);
      faults.push(...app.faults());
    }
    return {
      faults,
      records: Object.fromEntries(apps.map(({ name, seen }) => [name, seen])),
      outputs: Object.fromEntries(
        apps.map(({ name, tails }) => [name, tails.flatMap(({ values }) => values).sort()]),
      ),
    };
  }

  async #end(kill: StreamsKill, random: SeededRandom): Promise<void> {
    if (kill === 'broker') {
      await this.#broker.kill();
      await this.#broker.start();
      return;
    }
    const app = random.pick(kill === 'app' ? this.#apps.filter(({ mortal }) => mortal) : this.#apps);
    const at = random.below(processes);
    await app.end(at, kill === 'restart');
    app.start(at);
  }

  async #prepare(): Promise<void> {
    const admin = this.#kafka.admin();
    await admin.connect();
    const topics = this.#apps.flatMap(({ plan: { inputs, output } }) => [...inputs, output]);
    await admin.createTopics({ topics: topics.map((topic) => ({ topic, numPartitions: partitions })) });
    await admin.disconnect();
    const configs = {
      'streams.initial.rebalance.delay.ms': '500',
      'streams.num.standby.replicas': '1',
      'streams.num.warmup.replicas': '2',
    };
    const connection = await RawConnection.connect(this.#address());
    await connection.request(IncrementalAlterConfigsCodec, 1, {
      resources: this.#apps.map(({ name: resourceName }) => ({
        resourceType: 32,
        resourceName,
        configs: Object.entries(configs).map(([name, value]) => ({ name, value, configOperation: 0 })),
      })),
    });
    await connection.close();
  }

  /** One of the slices of each application's input, while nothing is being killed: each record is there once. */
  async #feed(slice: number, slices: number): Promise<void> {
    const producer = this.#kafka.producer({ allowAutoTopicCreation: false });
    await producer.connect();
    for (const { plan } of this.#apps) {
      const { records } = plan;
      const [from, to] = [slice, slice + 1].map((at) => Math.floor((records.length * at) / slices)) as [
        number,
        number,
      ];
      const byTopic = new Map<string, { key: string; value: string; timestamp: string }[]>();
      for (const { topic, key, value, timestamp } of records.slice(from, to))
        byTopic.set(topic, [...(byTopic.get(topic) ?? []), { key, value, timestamp: String(timestamp) }]);
      for (const [topic, messages] of byTopic) await producer.send({ topic, messages, acks: -1 });
    }
    await producer.disconnect();
  }

  async #follow({ tails }: App): Promise<void> {
    while (!this.stopped) {
      for (const tail of tails) await tail.advance();
      await pause(20);
    }
  }

  /** Until so many records have come out, or all, or none more for long. */
  async #until(app: App, count: number): Promise<void> {
    const wanted = Math.min(count, app.plan.expected.length);
    let seen = app.seen;
    for (let deadline = performance.now() + patienceMs; app.seen < wanted && performance.now() < deadline; ) {
      if (app.seen > seen) deadline = performance.now() + patienceMs;
      seen = app.seen;
      await pause(50);
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

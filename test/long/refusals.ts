/**
 * What must be refused, with real processes on a real S3 server while producers work: a second broker on a bucket, a
 * data directory or a WAL that is in use, a start without the WAL that holds acknowledged records, two brokers that race
 * for an empty bucket, and a broker that slept while another took its place. Each ends with its exit code
 * (docs/reference/exit-codes.md) and says what to do; nothing acknowledged is lost.
 */
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { exitCodes } from '../../src/cli/exit-codes.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { sequencedBatch } from '../support/load/batches.ts';
import { IdempotentProducer } from '../support/load/idempotent-producer.ts';
import { compareWithLog, Ledger } from '../support/load/ledger.ts';
import { eventually, RawConnection } from '../support/raw-client.ts';
import { addressOf, Bucket, type Refusal, refusedStart } from './bucket.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const topic = 'refusals';
const partitions = 4;
const fencedMsMax = 20_000;
/** An owner looks at the next number of its journal every 10 s. */
const lookAheadMs = 12_000;
const races = 3;

/** One row of the result. */
interface Finding {
  readonly what: string;
  readonly ended: string;
  readonly said: string;
}

class Findings {
  readonly rows: Finding[] = [];
  readonly faults: string[] = [];

  /** Judges a start by its exit code and the words that a person needs. */
  refusal(what: string, { code, text }: Refusal, expected: number, words: readonly RegExp[]): void {
    this.rows.push({ what, ended: code === null ? 'it served' : `exit ${code}`, said: lastLine(text) });
    if (code !== expected)
      this.faults.push(`${what}: ended with ${code}, not ${expected}: ${text.slice(-600)}`);
    for (const word of words)
      if (!word.test(text)) this.faults.push(`${what}: does not say ${word}: ${text.slice(-600)}`);
  }

  note(what: string, ended: string, said: string, fault: string | null): void {
    this.rows.push({ what, ended, said });
    if (fault !== null) this.faults.push(`${what}: ${fault}`);
  }
}

/** Producers that follow the broker, and a ledger of what was acknowledged to them. */
class Load {
  readonly ledger = new Ledger();
  broker: BrokerProcess;
  #producers: IdempotentProducer[] = [];

  constructor(broker: BrokerProcess) {
    this.broker = broker;
  }

  async begin(): Promise<void> {
    const admin = await RawConnection.connect(addressOf(this.broker.bootstrap));
    await admin.createTopic(topic, partitions);
    await admin.close();
    for (let i = 0; i < 2; i++) {
      const producer = new IdempotentProducer({
        address: () => addressOf(this.broker.bootstrap),
        topic,
        partitions: Array.from({ length: partitions }, (_, partition) => partition),
        ledger: this.ledger,
        nextValues: () => [Buffer.alloc(2_000, this.ledger.batches & 0xff)],
        pauseMs: 5,
      });
      await producer.start();
      this.#producers.push(producer);
    }
  }

  get connections(): number {
    return this.#producers.reduce((sum, { connections }) => sum + connections, 0);
  }

  /** Resolves when this many more batches are acknowledged. */
  async more(batches: number): Promise<void> {
    const wanted = this.ledger.batches + batches;
    await eventually(async () => {
      const failed = this.#producers.find(({ violation }) => violation !== null);
      if (failed !== undefined) throw failed.violation;
      if (this.ledger.batches < wanted)
        throw new Error(`${this.ledger.batches} batches acknowledged, ${wanted} were due`);
    }, 60_000);
  }

  async drain(): Promise<void> {
    for (const producer of this.#producers) await producer.drain();
    this.#producers = [];
  }

  async stop(): Promise<void> {
    for (const producer of this.#producers) await producer.stop();
  }

  /** Faults of a full read from where the broker is now. */
  async faults(): Promise<string[]> {
    const { faults, batches } = await compareWithLog(addressOf(this.broker.bootstrap), topic, this.ledger);
    if (batches !== this.ledger.batches)
      faults.push(`${batches} batches read, ${this.ledger.batches} acknowledged`);
    return faults;
  }
}

/** Id of the log that a directory holds: the name of its file. */
function logIdIn(directory: string): string {
  const file = readdirSync(directory).find((name) => name.endsWith('.wal'));
  if (file === undefined) throw new Error(`no WAL in ${directory}`);
  return file.slice(0, -'.wal'.length);
}

const escaped = (text: string): RegExp => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
/** What a person needs who has lost sight of a WAL: which, since when, how to give it up. */
const missingWords = (logId: string): RegExp[] => [
  escaped(logId),
  /its last upload was at \d{4}-\d\d-\d\dT|it never uploaded anything/,
  escaped(`--abandon-wal ${logId}`),
];

/** A broker in use is not disturbed; one that died is not replaced without its WAL. */
async function inUse(context: LongContext, bucket: Bucket, findings: Findings): Promise<void> {
  const store = ['--store', bucket.url('in-use')];
  const home = join(context.directory, 'in-use');
  const elsewhere = join(context.directory, 'in-use-elsewhere');
  const wal = join(home, 'wal');
  const first = await BrokerProcess.start({
    data: home,
    args: store,
    env: bucket.env,
    settings: { 'upload.bytes': '2MiB', 'upload.age.ms': 2_000 },
  });
  const load = new Load(first);
  try {
    await load.begin();
    await load.more(200);
    const logId = logIdIn(wal);
    const { refused } = exitCodes;
    const attempt = (words: readonly string[]) => refusedStart([...store, ...words], bucket.env);
    context.say('a second broker, while the first one works');
    findings.refusal(
      'a second broker on the bucket, with a disk of its own',
      await attempt(['--data', elsewhere]),
      refused,
      missingWords(logId),
    );
    findings.refusal(
      'a second broker that is pointed at the WAL in use',
      await attempt(['--data', elsewhere, '--wal', `file://${wal}`]),
      refused,
      [escaped(logId), escaped(`in use by process ${first.pid}`), /stop that broker/],
    );
    findings.refusal(
      'a second broker on the data directory in use',
      await attempt(['--data', home]),
      refused,
      [escaped(home), escaped(`in use by process ${first.pid}`), /choose another --data/],
    );
    await load.more(50);
    findings.note(
      'the first broker meanwhile',
      'served on',
      `${load.ledger.batches} batches acknowledged on ${load.connections} connections`,
      load.connections === 2 ? null : `its producers had to connect again: ${load.connections} connections`,
    );

    context.say('a broker without its WAL');
    await first.kill();
    renameSync(wal, `${wal}-away`);
    const before = JSON.stringify(await bucket.objects('in-use'));
    findings.refusal(
      'a start on the same directory after kill -9, its WAL taken away',
      await attempt(['--data', home]),
      refused,
      missingWords(logId),
    );
    findings.refusal(
      'a start elsewhere after kill -9, without the WAL',
      await attempt(['--data', elsewhere]),
      refused,
      missingWords(logId),
    );
    const untouched = JSON.stringify(await bucket.objects('in-use')) === before;
    findings.note(
      'the bucket after both',
      untouched ? 'unchanged' : 'changed',
      'names, sizes and times of all objects',
      untouched ? null : 'a refused start wrote to the bucket',
    );
    // The refused start has made the directory again.
    renameSync(wal, `${wal}-empty`);
    renameSync(`${wal}-away`, wal);
    await first.start();
    await load.more(50);
    await load.drain();
    const faults = await load.faults();
    findings.note(
      'the WAL is back',
      'recovered',
      `${load.ledger.batches} batches acknowledged in all, read back: ${faults.length} faults`,
      faults.length === 0 ? null : faults.slice(0, 5).join('; '),
    );
    const { code } = await first.stop();
    if (code !== 0) findings.faults.push(`the broker stopped with ${code}`);
  } finally {
    await load.stop();
    await first.dispose();
  }
}

/** What the broker said last, which tells why it ended. */
function lastLine(text: string): string {
  return (text.trim().split('\n').at(-1) ?? '').slice(-600);
}

/** What a fenced broker says of who took its place. */
function whyFenced(text: string): string {
  return lastLine(
    text
      .split('\n')
      .filter((line) => /took over|another broker/.test(line))
      .join('\n'),
  );
}

/** Whether it acknowledges records and is still there when an owner that lost would have noticed. */
async function servesOn(broker: BrokerProcess): Promise<boolean> {
  const begun = performance.now();
  try {
    const connection = await RawConnection.connect(addressOf(broker.bootstrap));
    await connection.createTopic(topic, 1);
    const { errorCode } = await eventually(() => connection.produce(topic, 0, plainBatch()));
    await connection.close();
    if (errorCode !== 0) return false;
  } catch {
    // It ended under the client's hands: seen below.
  }
  while (broker.running && performance.now() - begun < lookAheadMs)
    await new Promise((resolve) => setTimeout(resolve, 100));
  return broker.running;
}

/** Two brokers start on an empty bucket at the same moment. */
async function race(context: LongContext, bucket: Bucket, findings: Findings): Promise<void> {
  for (let run = 1; run <= races; run++) {
    context.say(`race ${run} for an empty bucket`);
    const starts = ['a', 'b'].map((side) =>
      BrokerProcess.start({
        data: join(context.directory, `race-${run}-${side}`),
        args: ['--store', bucket.url(`race-${run}`)],
        env: bucket.env,
      }),
    );
    const results = await Promise.allSettled(starts);
    const ready = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const why = results.flatMap((result) => (result.status === 'rejected' ? [String(result.reason)] : []));
    try {
      const served = await Promise.all(ready.map((broker) => servesOn(broker)));
      const serving = served.filter(Boolean).length;
      const ends = await Promise.all(ready.flatMap((broker, i) => (served[i] ? [] : [broker.whenEnded()])));
      const codes = [
        ...why.map((text) => Number(/ended \((\d+)\)/.exec(text)?.[1] ?? -1)),
        ...ends.map(({ code }) => code ?? -1),
      ];
      const right = codes.every((code) => code === exitCodes.refused || code === exitCodes.fenced);
      const said =
        why[0] === undefined ? whyFenced(ready.map(({ errors }) => errors).join('')) : lastLine(why[0]);
      findings.note(
        `two brokers start on an empty bucket at once, ${run}`,
        `${serving} serves, ${codes.map((code) => `exit ${code}`).join(', ')}`,
        said,
        serving !== 1 || !right ? `${serving} serve, exit codes ${codes.join(', ')}` : null,
      );
    } finally {
      for (const broker of ready) await broker.dispose();
    }
  }
}

/** A broker sleeps (SIGSTOP) with everything uploaded; another takes its place; it wakes up (SIGCONT). */
async function sleeper(context: LongContext, bucket: Bucket, findings: Findings): Promise<void> {
  const store = ['--store', bucket.url('sleeper')];
  const home = join(context.directory, 'sleeper');
  const elsewhere = join(context.directory, 'sleeper-successor');
  const first = await BrokerProcess.start({
    data: home,
    args: store,
    env: bucket.env,
    settings: { 'upload.age.ms': 500 },
  });
  const load = new Load(first);
  let second: BrokerProcess | null = null;
  try {
    await load.begin();
    await load.more(200);
    await load.drain();
    await eventually(async () => {
      const page = await (await fetch(`${first.http}/metrics`)).text();
      const delta = /^millrace_delta_bytes (\S+)/m.exec(page)?.[1];
      if (delta !== '0') throw new Error(`${delta} bytes wait for their upload`);
    });
    const logId = logIdIn(join(home, 'wal'));
    process.kill(first.pid, 'SIGSTOP');
    context.say('the broker sleeps');
    findings.refusal(
      'a successor that is pointed at the WAL of a sleeping broker',
      await refusedStart([...store, '--data', elsewhere, '--wal', `file://${join(home, 'wal')}`], bucket.env),
      exitCodes.refused,
      [escaped(logId), escaped(`in use by process ${first.pid}`)],
    );
    second = await BrokerProcess.start({
      data: elsewhere,
      args: [...store, '--abandon-wal', logId],
      env: bucket.env,
    });
    load.broker = second;
    const faultsBefore = await load.faults();
    findings.note(
      'a successor that gives up the WAL of a broker whose records were all uploaded',
      'serves',
      `${load.ledger.batches} acknowledged batches read back: ${faultsBefore.length} faults`,
      faultsBefore.length === 0 ? null : faultsBefore.slice(0, 5).join('; '),
    );
    const begun = performance.now();
    process.kill(first.pid, 'SIGCONT');
    const end = await Promise.race([
      first.whenEnded(),
      new Promise<null>((resolve) => setTimeout(() => resolve(null), fencedMsMax)),
    ]);
    const seconds = (performance.now() - begun) / 1000;
    findings.note(
      'the broker that slept wakes up, idle',
      end === null ? 'served on' : `exit ${end.code} after ${seconds.toFixed(1)} s`,
      whyFenced(first.errors),
      end?.code === exitCodes.fenced && whyFenced(first.errors) !== ''
        ? null
        : `${end?.signal ?? end?.code} instead of ${exitCodes.fenced}: ${first.errors.slice(-600)}`,
    );
    const faultsAfter = await load.faults();
    const again = await RawConnection.connect(addressOf(second.bootstrap));
    const more = await again.produce(topic, 0, plainBatch());
    await again.close();
    findings.note(
      'the successor meanwhile',
      'served on',
      `${load.ledger.batches} batches read back: ${faultsAfter.length} faults; acknowledges more`,
      faultsAfter.length > 0 || more.errorCode !== 0
        ? `${faultsAfter.slice(0, 5).join('; ')} produce ${more.errorCode}`
        : null,
    );
  } finally {
    await load.stop();
    await first.dispose();
    await second?.dispose();
  }
}

/** The same with the WAL in the bucket and producers at work: what the sleeper has under way meets the successor's seal. */
async function sleeperWithoutDisk(context: LongContext, bucket: Bucket, findings: Findings): Promise<void> {
  const words = ['--store', bucket.url('diskless'), '--wal', 'store:'];
  const elsewhere = join(context.directory, 'diskless-successor');
  const first = await BrokerProcess.start({
    data: join(context.directory, 'diskless'),
    args: words,
    env: bucket.env,
  });
  const load = new Load(first);
  let second: BrokerProcess | null = null;
  try {
    await load.begin();
    await load.more(200);
    findings.refusal(
      'a second broker on a WAL in the bucket whose owner works',
      await refusedStart([...words, '--data', elsewhere], bucket.env, 60_000),
      exitCodes.refused,
      [/is alive/, /--take-over/],
    );
    await load.more(20);
    process.kill(first.pid, 'SIGSTOP');
    context.say('the broker without a disk sleeps');
    const asleep = load.ledger.batches;
    second = await BrokerProcess.start({
      data: elsewhere,
      args: [...words, '--take-over'],
      env: bucket.env,
    });
    const begun = performance.now();
    process.kill(first.pid, 'SIGCONT');
    const end = await Promise.race([
      first.whenEnded(),
      new Promise<null>((resolve) => setTimeout(() => resolve(null), fencedMsMax)),
    ]);
    findings.note(
      'a sleeping broker whose WAL was taken from it wakes up under load',
      end === null
        ? 'served on'
        : `exit ${end.code} after ${((performance.now() - begun) / 1000).toFixed(1)} s`,
      `${whyFenced(first.errors)}; ${load.ledger.batches - asleep} batches acknowledged since it slept`,
      end?.code === exitCodes.fenced && whyFenced(first.errors) !== ''
        ? null
        : `${end?.signal ?? end?.code} instead of ${exitCodes.fenced}: ${first.errors.slice(-600)}`,
    );
    load.broker = second;
    await load.more(100);
    await load.drain();
    const faults = await load.faults();
    findings.note(
      'its producers went on at the successor',
      'everything is there',
      `${load.ledger.batches} batches acknowledged by both, read back: ${faults.length} faults`,
      faults.length === 0 ? null : faults.slice(0, 5).join('; '),
    );
  } finally {
    await load.stop();
    await first.dispose();
    await second?.dispose();
  }
}

/** A batch of no producer in particular. */
function plainBatch(): Buffer {
  const nobody = { producerId: -1, producerEpoch: -1 };
  return sequencedBatch(nobody, -1, [Buffer.from('after the sleeper')], Date.now());
}

async function run(context: LongContext): Promise<LongOutcome> {
  const bucket = await Bucket.open('refusals');
  if (typeof bucket === 'string') return skipped(bucket);
  const findings = new Findings();
  try {
    await inUse(context, bucket, findings);
    await race(context, bucket, findings);
    await sleeper(context, bucket, findings);
    await sleeperWithoutDisk(context, bucket, findings);
  } finally {
    await bucket.stop();
  }
  return outcome(
    findings.faults,
    [
      `on ${bucket.server}:`,
      ...findings.rows.map(({ what, ended, said }) => `${what}: ${ended}${said === '' ? '' : ` (${said})`}`),
    ],
    { server: bucket.server, findings: findings.rows },
  );
}

export const refusals: LongScript = {
  name: 'refusals',
  what: 'second brokers, missing and doubly opened WALs, a broker that slept: refused or fenced, nothing lost',
  run,
};

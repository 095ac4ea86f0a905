/**
 * The full matrix: every client family sends the real records with every codec, every family reads what each sent, and
 * both must be equal by hash and order per key. Then what goes beyond one sender and one reader: members that join and
 * leave, offsets committed by one family and resumed by the next, topics led by admin clients, Kafka's Verifiable pair.
 *
 * Against Millrace, or with `reference` against Apache Kafka, which tells a fault of a driver from one of the broker.
 */
import { BrokerProcess } from '../support/broker-process.ts';
import { type Family, families, openFamily } from '../support/clients/families.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { type Answer, type Client, type CodecName, codecs, type Job } from '../support/clients/jobs.ts';
import { startKafka } from '../support/clients/kafka-reference.ts';
import { type ClientRecord, difference, offsetGap } from '../support/real-records.ts';
import { allRecords, createTopics } from './topics.ts';

export interface MatrixOptions {
  readonly reference?: boolean;
  /** All when absent. */
  readonly only?: readonly Family[];
  readonly rowsPerSet?: number;
}

interface Cell {
  /** What was done, by whom with what. */
  readonly name: string;
  readonly verdict: 'pass' | 'fail' | 'skipped';
  readonly text: string;
}

const partitions = 3;
const groupPartitions = 4;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

export interface MatrixResult {
  /** What failed, one entry a cell. */
  readonly faults: readonly string[];
  /** The table, every client that could not be had with its reason, and the counts. */
  readonly summary: readonly string[];
}

/** Runs everything this machine has clients for; says on standard output how it goes. */
export async function runMatrix(options: MatrixOptions = {}): Promise<MatrixResult> {
  const clients = new Map<Family, Client>();
  const cells: Cell[] = [];
  for (const family of options.only ?? families) {
    const client = await openFamily(family, { slow: true });
    if (typeof client !== 'string') clients.set(family, client);
    else cells.push({ name: family, verdict: 'skipped', text: client });
    say(`${family}: ${typeof client === 'string' ? client : 'ready'}`);
  }
  const broker = options.reference === true ? await startKafka() : await BrokerProcess.start();
  try {
    const matrix = new Matrix(broker.bootstrap, clients, allRecords(options.rowsPerSet));
    await matrix.roundTrips();
    await matrix.resumes();
    await matrix.rebalances();
    await matrix.admins();
    if (clients.has('java-console')) await matrix.verifiable();
    cells.push(...matrix.cells);
  } finally {
    await (broker instanceof BrokerProcess ? broker.dispose() : broker.stop());
  }
  const of = (verdict: Cell['verdict']): Cell[] => cells.filter((cell) => cell.verdict === verdict);
  const [passed, failed, skipped] = [of('pass'), of('fail'), of('skipped')];
  return {
    faults: failed.map(({ name, text }) => `${name}: ${text}`),
    summary: [
      ...table(cells, [...clients.keys()]),
      // What is in no cell of the table.
      ...passed.filter(({ name }) => !/ (read by|sends with) /.test(name)).map(({ name }) => `pass: ${name}`),
      ...skipped.map(({ name, text }) => `skipped: ${name}: ${text}`),
      `${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`,
    ],
  };
}

class Matrix {
  readonly cells: Cell[] = [];
  private readonly bootstrap: string;
  private readonly clients: ReadonlyMap<Family, Client>;
  private readonly records: readonly ClientRecord[];

  constructor(bootstrap: string, clients: ReadonlyMap<Family, Client>, records: readonly ClientRecord[]) {
    this.bootstrap = bootstrap;
    this.clients = clients;
    this.records = records;
  }

  private note(name: string, fault: string | null): void {
    this.cells.push({ name, verdict: fault === null ? 'pass' : 'fail', text: fault ?? '' });
    if (fault !== null) say(`  failed: ${name}: ${fault}`);
  }

  private with(operation: Job['op']): [Family, Client][] {
    return [...this.clients].filter(([, client]) => client.operations.includes(operation));
  }

  private async one(client: Client, job: Job): Promise<Answer> {
    return (await client.run(this.bootstrap, [job]))[0]!;
  }

  async roundTrips(): Promise<void> {
    const sent: { family: Family; codec: CodecName; topic: string; records: ClientRecord[] }[] = [];
    for (const [family, client] of this.with('produce')) {
      const records = this.records.map(client.sendable);
      const topics = client.codecs.map((codec) => ({
        family,
        codec,
        topic: `from-${family}-${codec}`,
        records,
      }));
      await createTopics(
        this.bootstrap,
        topics.map(({ topic }) => topic),
        partitions,
      );
      const began = performance.now();
      const answers = await client.run(
        this.bootstrap,
        topics.map(({ topic, codec }) => ({ op: 'produce', topic, codec, records }) as const),
      );
      for (const [at, { error }] of answers.entries()) {
        const name = `${family} sends with ${topics[at]!.codec}`;
        this.note(name, error);
        if (error === null) sent.push(topics[at]!);
      }
      say(
        `${family} sent ${topics.length} x ${records.length} records in ${((performance.now() - began) / 1000).toFixed(1)} s`,
      );
    }
    for (const [reader, client] of this.with('consume')) {
      const began = performance.now();
      const jobs = sent.map(
        ({ topic, records }) =>
          ({ op: 'consume', topic, count: records.length, group: `${reader}-${topic}` }) as const,
      );
      const answers = await client.run(this.bootstrap, jobs);
      for (const [at, answer] of answers.entries()) {
        const { family, codec, records } = sent[at]!;
        const fault =
          answer.error ??
          difference(records, answer.records) ??
          offsetGap(answer.records) ??
          otherCodec(codec, answer);
        this.note(`${family} ${codec} read by ${reader}`, fault);
      }
      say(`${reader} read ${jobs.length} topics in ${((performance.now() - began) / 1000).toFixed(1)} s`);
    }
  }

  /** A group's offsets go round: each family reads a part, commits, and the next goes on where it stopped. */
  async resumes(): Promise<void> {
    const topic = 'resumed';
    const readers = this.with('consume');
    const [sender] = this.with('produce');
    if (sender === undefined) return;
    await createTopics(this.bootstrap, [topic], partitions);
    const records = this.records.map(sender[1].sendable);
    const { error } = await this.one(sender[1], { op: 'produce', topic, codec: 'none', records });
    if (error !== null) return this.note(`${sender[0]} sends what is resumed`, error);
    const part = Math.ceil(records.length / readers.length);
    const found: ClientRecord[] = [];
    for (const [reader, client] of readers) {
      const count = Math.min(part, records.length - found.length);
      const answer = await this.one(client, { op: 'consume', topic, count, group: 'relay' });
      found.push(...answer.records);
      this.note(`${reader} resumes where the family before it committed`, answer.error ?? offsetGap(found));
    }
    this.note('a group resumed by all families has read all', difference(records, found));
  }

  async rebalances(): Promise<void> {
    const topic = 'shared';
    const [sender] = this.with('produce');
    if (sender === undefined) return;
    await createTopics(this.bootstrap, [topic], groupPartitions);
    const records = this.records.map(sender[1].sendable);
    const { error } = await this.one(sender[1], { op: 'produce', topic, codec: 'none', records });
    if (error !== null) return this.note(`${sender[0]} sends what is shared`, error);
    for (const [family, client] of this.with('rebalance')) {
      const job = {
        op: 'rebalance',
        topic,
        partitions: groupPartitions,
        count: records.length,
        group: `shared-${family}`,
      } as const;
      const answer = await this.one(client, job);
      this.note(
        `${family}: two members share a group`,
        answer.error ?? difference(records, answer.records) ?? offsetGap(answer.records),
      );
    }
  }

  async admins(): Promise<void> {
    for (const [family, client] of this.with('admin')) {
      const { error, values } = await this.one(client, { op: 'admin', topic: `life-${family}` });
      const { created, altered, earliest, latest, atTime, earliestAfter, gone } = values;
      const got = [created, altered, earliest, latest, atTime, earliestAfter, gone].join(' ');
      const wanted = '12345000 23456000 0 20 8 5 true';
      this.note(
        `${family}: a topic's life through its admin client`,
        error ?? (got === wanted ? null : `${got} instead of ${wanted}`),
      );
    }
  }

  async verifiable(): Promise<void> {
    const count = 20_000;
    await createTopics(this.bootstrap, ['verified'], partitions);
    const { acked, consumed, said } = await (await openConsole()).verifiable(
      this.bootstrap,
      'verified',
      count,
    );
    const fault =
      acked === count && consumed === count
        ? null
        : `${acked} acknowledged, ${consumed} read of ${count}: ${said}`;
    this.note('Verifiable producer to Verifiable consumer', fault);
  }
}

/** What a reader that sees the batches' codecs met besides the one asked for. */
function otherCodec(asked: CodecName, { values }: Answer): string | null {
  const met = values.codecs;
  if (met === undefined || met === (asked === 'none' ? '' : asked)) return null;
  return `batches of codec "${met}" instead of ${asked}`;
}

/** A row per sender and codec, a column per reader. */
function table(cells: readonly Cell[], columns: readonly Family[]): string[] {
  const verdicts = new Map(cells.map(({ name, verdict }) => [name, verdict]));
  const width = Math.max(...columns.map((name) => name.length)) + 1;
  const lines = [`${'sender and codec'.padEnd(22)}${columns.map((name) => name.padStart(width)).join('')}`];
  for (const family of columns) {
    for (const codec of codecs) {
      const row = columns.map((reader) =>
        (verdicts.get(`${family} ${codec} read by ${reader}`) ?? '-').padStart(width),
      );
      lines.push(`${`${family} ${codec}`.padEnd(22)}${row.join('')}`);
    }
  }
  return lines;
}

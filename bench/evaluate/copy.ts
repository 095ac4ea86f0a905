/**
 * An exactly-once copy that goes on whatever happens to the cluster: a real client copies a topic in transactions that hold its
 * group's offsets too, aborting one in five on purpose (KIP-98, KIP-447). In the end readers of committed records must find what
 * the source holds once each, in order, and nothing else; the group's offsets never went back.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs from 'kafkajs';
import { type Family, openFamily } from '../../test/support/clients/families.ts';
import type { Client } from '../../test/support/clients/jobs.ts';
import { CommittedTail, firstDifference } from '../../test/support/load/committed-tail.ts';
import { type Address, addressOf, eventually, RawConnection } from '../../test/support/raw-client.ts';
import { type ClusterUnderTest, runningNodes } from './cluster-under-test.ts';
import { checkHistory } from './history.ts';
import { Writers } from './writers.ts';

const source = 'ledger';
const target = 'ledger-copy';
const partitions = 6;
const intervalMs = 100;
const drops = 5;
const lookMs = 250;
const patienceMs = 120_000;
/** The lightest first. */
const families: readonly Family[] = ['franz-go', 'python', 'java'];

export interface Copied {
  /** The client that copied; or why there was none. */
  readonly client: string;
  readonly records: number;
  /** Longest time in which its group committed nothing, ms. */
  readonly longestPauseMs: number;
  readonly faults: readonly string[];
}

/** The first client that can be had here, or why there is none. */
export async function openCopier(): Promise<{ family: Family; client: Client } | string> {
  const reasons: string[] = [];
  for (const family of families) {
    const client = await openFamily(family, { slow: false });
    if (typeof client !== 'string' && client.start !== undefined) return { family, client };
    reasons.push(typeof client === 'string' ? client : `${family} cannot be left running`);
  }
  return reasons.join('; ');
}

const textOf = (partition: number, sequence: number): string => `${partition} ${sequence}`;

export class ExactlyOnceCopy {
  readonly #cluster: ClusterUnderTest;
  readonly #family: Family;
  readonly #directory = mkdtempSync(join(tmpdir(), 'millrace-copy-'));
  readonly #writers: Writers;
  readonly #admin: kafkajs.Admin;
  readonly #faults: string[] = [];
  readonly #committed = new Map<number, number>();
  #longestPauseMs = 0;
  #grownAt = 0;
  #stopped = false;
  #end: () => Promise<void> = async () => {};
  #watching: Promise<void> = Promise.resolve();

  private constructor(cluster: ClusterUnderTest, family: Family) {
    this.#cluster = cluster;
    this.#family = family;
    this.#writers = new Writers({
      topic: source,
      partitions,
      intervalMs,
      recordBytes: 0,
      fill: (partition, sequence) => Buffer.from(textOf(partition, sequence)),
      bootstrap: () => this.#addresses(),
    });
    const kafka = new kafkajs.Kafka({
      brokers: () => this.#addresses().map(({ host, port }) => `${host}:${port}`),
      clientId: 'evaluate',
      logLevel: kafkajs.logLevel.NOTHING,
      retry: { retries: 3, initialRetryTime: 50, maxRetryTime: 500 },
    });
    this.#admin = kafka.admin();
  }

  /** Resolves when the first records have been copied. */
  static async start(
    cluster: ClusterUnderTest,
    { family, client }: { family: Family; client: Client },
  ): Promise<ExactlyOnceCopy> {
    const copy = new ExactlyOnceCopy(cluster, family);
    try {
      await copy.#begin(client);
      return copy;
    } catch (error) {
      await copy.dispose();
      throw error;
    }
  }

  async #begin(client: Client): Promise<void> {
    await this.#ask((connection) =>
      connection.createTopics(
        [source, target],
        partitions,
        this.#cluster.topicConfigs,
        this.#cluster.replicas,
      ),
    );
    await this.#writers.start();
    const said = openSync(join(this.#directory, 'said'), 'a');
    const bootstrap = this.#addresses()
      .map(({ host, port }) => `${host}:${port}`)
      .join(',');
    const child = client.start!(
      bootstrap,
      {
        op: 'copy',
        topic: source,
        to: target,
        group: target,
        id: target,
        drops,
        count: Number.MAX_SAFE_INTEGER,
      },
      this.#directory,
      said,
    );
    const ended = new Promise<void>((resolve) => {
      child.once('error', () => resolve());
      child.once('close', (code, signal) => {
        if (!this.#stopped)
          this.#faults.push(`the copy ended by itself (${signal ?? code}): ${this.#said()}`);
        resolve();
      });
    });
    this.#end = async () => {
      this.#stopped = true;
      child.kill('SIGKILL');
      await ended;
      closeSync(said);
      this.#end = async () => {};
    };
    await eventually(() => this.#admin.connect());
    this.#grownAt = performance.now();
    this.#watching = this.#watch();
    await this.#untilCommitted(1);
    this.mark();
  }

  /** Pauses count from now on. */
  mark(): void {
    this.#longestPauseMs = 0;
    this.#grownAt = performance.now();
  }

  /** Ends the source, waits until all of it is copied, and compares. */
  async finish(): Promise<Copied> {
    // What comes now is the wait for the last record.
    const longestPauseMs = this.#longestPauseMs;
    await this.#writers.drain();
    const end = this.#writers.acknowledged;
    if (!(await this.#untilCommitted(end)))
      this.#faults.push(`the copy stays at ${this.#sum()} of ${end} records: ${this.#said()}`);
    await this.#end();
    const history = await checkHistory(this.#writers);
    const faults = [...history.faults, ...this.#faults, ...(await this.#compare())];
    return { client: this.#family, records: end, longestPauseMs, faults };
  }

  async dispose(): Promise<void> {
    await this.#end();
    this.#stopped = true;
    await this.#watching;
    await this.#admin.disconnect().catch(() => undefined);
    await this.#writers.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #addresses(): Address[] {
    return runningNodes(this.#cluster).map(({ address }) => address);
  }

  async #ask<T>(question: (connection: RawConnection) => Promise<T>): Promise<T> {
    const connection = await RawConnection.connect(this.#addresses()[0]!, 'evaluate');
    try {
      return await question(connection);
    } finally {
      await connection.close();
    }
  }

  #said(): string {
    return readFileSync(join(this.#directory, 'said'), 'utf8').slice(-600);
  }

  #sum(): number {
    return [...this.#committed.values()].reduce((sum, offset) => sum + offset, 0);
  }

  async #untilCommitted(end: number): Promise<boolean> {
    const begun = performance.now();
    while (this.#sum() < end) {
      if (performance.now() - Math.max(begun, this.#grownAt) > patienceMs) return false;
      await sleep(lookMs);
    }
    return true;
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const [topic] = await this.#admin.fetchOffsets({ groupId: target, topics: [source] }).catch(() => []);
      const now = performance.now();
      for (const { partition, offset } of topic?.partitions ?? []) this.#saw(partition, Number(offset), now);
      this.#longestPauseMs = Math.max(this.#longestPauseMs, now - this.#grownAt);
      await sleep(lookMs);
    }
  }

  #saw(partition: number, offset: number, now: number): void {
    const before = this.#committed.get(partition) ?? 0;
    if (before > 0 && offset < before && this.#faults.length < 20)
      this.#faults.push(`the group's offset of ${source}-${partition} went from ${before} back to ${offset}`);
    if (offset > before) {
      this.#longestPauseMs = Math.max(this.#longestPauseMs, now - this.#grownAt);
      this.#grownAt = now;
    }
    this.#committed.set(partition, Math.max(0, offset));
  }

  /** Every partition of the copy, as readers of committed records see it, with the source's of its number. */
  async #compare(): Promise<string[]> {
    const faults: string[] = [];
    for (let partition = 0; partition < partitions; partition++) {
      let address = this.#addresses()[0]!;
      const tail = new CommittedTail(() => address, target, partition);
      const read = async (): Promise<void> => {
        address = await this.#leaderOf(partition);
        tail.close();
        if (!(await tail.finish(5_000))) throw new Error(`a transaction stays open at ${tail.offset}`);
      };
      const failed = await eventually(read).then(
        () => null,
        (error: Error) => error.message,
      );
      tail.close();
      const name = `${target}-${partition}`;
      if (failed !== null) faults.push(`${name}: ${failed}`);
      const due = this.#writers.offsets(partition).map((_, sequence) => textOf(partition, sequence));
      const difference = firstDifference(due, tail.values);
      if (difference !== null) faults.push(`${name}: ${difference}`);
    }
    return faults;
  }

  async #leaderOf(partition: number): Promise<Address> {
    const { brokers, topics } = await this.#ask((connection) => connection.metadata([target]));
    const leader = topics[0]?.partitions.find(({ partitionIndex }) => partitionIndex === partition)?.leaderId;
    const broker = brokers.find(({ nodeId }) => nodeId === leader);
    if (broker === undefined) throw new Error('nobody leads it');
    return addressOf(`${broker.host}:${broker.port}`);
  }
}

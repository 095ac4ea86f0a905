/** What a scenario is given: a cluster under load, and places to say what was done and what was measured. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RawConnection } from '../../test/support/raw-client.ts';
import { type ClusterUnderTest, type NodeUnderTest, nodeOf, runningNodes } from './cluster-under-test.ts';
import { type Copied, ExactlyOnceCopy, openCopier } from './copy.ts';
import type { EvaluationRun, Figure, Happening } from './evaluation.ts';
import { checkHistory, type History } from './history.ts';
import { Observer } from './observer.ts';
import { Tail } from './tail.ts';
import { Writers, type WritersOptions } from './writers.ts';

export interface LoadShape {
  readonly partitions: number;
  readonly intervalMs: number;
  readonly recordBytes: number;
}

export interface Goal {
  readonly atMost?: number;
  readonly atLeast?: number;
}

const topic = 'evaluated';

/** The value below which a share of all lies; 0 of nothing. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0;
}

export class Stage {
  readonly cluster: ClusterUnderTest;
  readonly load: LoadShape;
  readonly writers: Writers;
  readonly quick: boolean;
  readonly seed: number;
  readonly count: number | null;
  readonly #figures: Figure[] = [];
  readonly #happenings: Happening[] = [];
  readonly #errors = new Map<string, number>();
  readonly #say: (line: string) => void;
  #tail: Tail | null = null;
  #observer: Observer | null = null;
  /** Loads of scenarios' own, on topics of their own. */
  readonly #loads: Writers[] = [];
  #copy: ExactlyOnceCopy | string = 'not begun';

  constructor(
    cluster: ClusterUnderTest,
    load: LoadShape,
    options: { quick: boolean; seed: number; count: number | null; say: (line: string) => void },
  ) {
    this.cluster = cluster;
    this.load = load;
    this.quick = options.quick;
    this.seed = options.seed;
    this.count = options.count;
    this.#say = options.say;
    this.writers = new Writers({
      topic,
      ...load,
      bootstrap: () => runningNodes(cluster).map(({ address }) => address),
    });
  }

  get topic(): string {
    return topic;
  }

  get tail(): Tail {
    return this.#tail!;
  }

  /** A question to a broker that runs. */
  async ask<T>(question: (connection: RawConnection) => Promise<T>, node?: number): Promise<T> {
    const { address } = node === undefined ? runningNodes(this.cluster)[0]! : nodeOf(this.cluster, node);
    const connection = await RawConnection.connect(address, 'evaluate');
    try {
      return await question(connection);
    } finally {
      await connection.close();
    }
  }

  /** The topic, the load on it, a reader; a few seconds of nothing else. */
  async begin(): Promise<void> {
    const { replicas, topicConfigs } = this.cluster;
    await this.ask((connection) =>
      connection.createTopics([topic], this.load.partitions, topicConfigs, replicas),
    );
    await this.writers.start();
    this.#tail = new Tail(this.writers);
    const copier = await openCopier();
    this.#copy = typeof copier === 'string' ? copier : await ExactlyOnceCopy.start(this.cluster, copier);
    this.#observer = new Observer(this.cluster);
    await this.calm();
    if (typeof this.#copy !== 'string') this.#copy.mark();
  }

  /** More load, on a topic of its own, from now to the end; its history is checked too. */
  async more(name: string, shape: LoadShape, fill?: WritersOptions['fill']): Promise<Writers> {
    const { replicas, topicConfigs } = this.cluster;
    await this.ask((connection) => connection.createTopics([name], shape.partitions, topicConfigs, replicas));
    const writers = new Writers({
      topic: name,
      ...shape,
      ...(fill === undefined ? {} : { fill }),
      bootstrap: () => runningNodes(this.cluster).map(({ address }) => address),
    });
    this.#loads.push(writers);
    await writers.start();
    return writers;
  }

  /** Undisturbed load; what comes next is measured from here. */
  async calm(seconds = this.quick ? 1 : 5): Promise<void> {
    await sleep(seconds * 1_000);
    await this.writers.flows();
    await this.tail.caughtUp(this.lagAllowed);
    this.mark();
  }

  /** What one second of load of the partitions that are followed comes to: less is not behind. */
  get lagAllowed(): number {
    return Math.ceil((Math.min(64, this.load.partitions) * 1_000) / this.load.intervalMs);
  }

  mark(): void {
    for (const [name, count] of this.writers.errors)
      this.#errors.set(name, (this.#errors.get(name) ?? 0) + count);
    this.writers.mark();
  }

  did(what: string): void {
    this.#happenings.push({ second: this.#observer?.second ?? 0, what });
    this.#say(`  ${(this.#observer?.second ?? 0).toFixed(1).padStart(6)} s  ${what}`);
  }

  figure(name: string, title: string, unit: string, value: number, goal: Goal = {}): void {
    this.#figures.push({
      name,
      title,
      unit,
      value,
      atMost: goal.atMost ?? null,
      atLeast: goal.atLeast ?? null,
    });
    this.did(`${title}: ${value.toFixed(value < 10 ? 2 : 0)} ${unit}`);
  }

  /** Median, p99 and longest of pauses, ms. */
  pauses(name: string, title: string, pauses: readonly number[], p99?: number): void {
    const goal = p99 === undefined ? {} : { atMost: p99 };
    this.figure(`${name}-p50`, `${title}, median`, 'ms', quantile(pauses, 0.5));
    this.figure(`${name}-p99`, `${title}, p99`, 'ms', quantile(pauses, 0.99), goal);
    this.figure(`${name}-max`, `${title}, longest`, 'ms', Math.max(...pauses, 0));
  }

  /** Partitions that a broker leads, as clients know it. */
  ledBy(node: number): number[] {
    return this.writers.leaders().flatMap((leader, partition) => (leader === node ? [partition] : []));
  }

  /** The broker that leads most partitions. */
  busiest(): NodeUnderTest {
    const nodes = runningNodes(this.cluster);
    return nodes.reduce((a, b) => (this.ledBy(b.id).length > this.ledBy(a.id).length ? b : a));
  }

  /** Waits for a condition; throws with what was waited for. */
  async until(what: string, is: () => boolean, timeoutMs = 180_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!is()) {
      if (performance.now() > deadline) throw new Error(`${what}: not after ${timeoutMs / 1_000} s`);
      await sleep(5);
    }
  }

  /** Ends load and reader, and compares the logs with what was acknowledged. */
  async end(failure: string): Promise<EvaluationRun> {
    this.mark();
    const observed = this.#observer?.end() ?? new Observer(this.cluster).end();
    await this.#tail?.stop();
    await this.writers.drain();
    this.#say('  reading everything back');
    const copied = await this.#endCopy();
    const histories: History[] = [];
    for (const writers of [this.writers, ...this.#loads]) {
      await writers.drain();
      histories.push(await checkHistory(writers));
      await writers.stop();
    }
    const history = {
      records: histories.reduce((sum, { records }) => sum + records, 0),
      faults: histories.flatMap(({ faults }) => faults),
    };
    return {
      system: this.cluster.system,
      facts: this.cluster.facts,
      load: {
        partitions: this.load.partitions,
        recordsPerSecond: (this.load.partitions * 1_000) / this.load.intervalMs,
        recordBytes: this.load.recordBytes,
      },
      figures: this.#figures,
      happenings: this.#happenings,
      seconds: this.writers.seconds,
      observed,
      otherBytes: Math.max(0, observed.loopbackBytes - this.writers.wireBytes),
      errors: Object.fromEntries(this.#errors),
      history,
      copied,
      failure,
    };
  }

  async #endCopy(): Promise<Copied> {
    const copy = this.#copy;
    if (typeof copy === 'string')
      return { client: `none: ${copy}`, records: 0, longestPauseMs: 0, faults: [] };
    try {
      return await copy.finish();
    } finally {
      await copy.dispose();
    }
  }
}

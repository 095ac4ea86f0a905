/**
 * Load on a cluster whose partitions move: an idempotent producer for each partition that finds the partition's leader by the
 * brokers' metadata, and a ledger for each of what it was told, to be compared with the logs at the end.
 */
import { randomBytes } from 'node:crypto';
import { patienceMs } from '../patience.ts';
import { type Address, eventually, RawConnection } from '../raw-client.ts';
import { IdempotentProducer } from './idempotent-producer.ts';
import { compareWithLog, Ledger } from './ledger.ts';

const lookMs = 25;

export class ClusterLoad {
  readonly #topic: string;
  readonly #bootstrap: () => readonly Address[];
  readonly #leaders = new Map<number, Address>();
  readonly #lanes: {
    readonly ledger: Ledger;
    readonly producer: IdempotentProducer;
    progress: number;
    at: number;
  }[] = [];
  #stopped = false;
  #polling: Promise<void> = Promise.resolve();
  /** Longest time without a new acknowledgement, ms by partition; since `mark`. */
  #pauses: number[] = [];
  #timer: NodeJS.Timeout | null = null;

  constructor(topic: string, bootstrap: () => readonly Address[]) {
    this.#topic = topic;
    this.#bootstrap = bootstrap;
  }

  /** Makes the topic, waits until each partition has a leader, begins to produce; a batch of a partition has so many bytes. */
  async start(partitions: number, pauseMs = 5, bytesOf = (_partition: number) => 100): Promise<void> {
    const connection = await eventually(() => this.#connect());
    await connection.createTopic(this.#topic, partitions);
    await connection.close();
    this.#polling = this.#poll();
    const deadline = performance.now() + patienceMs;
    while (this.#leaders.size < partitions) {
      if (performance.now() > deadline) throw new Error(`${this.#leaders.size} partitions have a leader`);
      await new Promise((resolve) => setTimeout(resolve, lookMs));
    }
    for (let partition = 0; partition < partitions; partition++) {
      const ledger = new Ledger();
      const producer = new IdempotentProducer({
        address: () => this.#leaders.get(partition)!,
        topic: this.#topic,
        partitions: [partition],
        ledger,
        nextValues: () => [randomBytes(bytesOf(partition))],
        pauseMs,
      });
      await producer.start();
      this.#lanes.push({ ledger, producer, progress: 0, at: performance.now() });
    }
    this.mark();
    this.#timer = setInterval(() => this.#look(), 5);
  }

  get acknowledged(): number {
    return this.#lanes.reduce((sum, { ledger }) => sum + ledger.batches, 0);
  }

  leaderOf(partition: number): Address | undefined {
    return this.#leaders.get(partition);
  }

  /** Pauses are measured from now on. */
  mark(): void {
    const now = performance.now();
    this.#pauses = this.#lanes.map(() => 0);
    for (const lane of this.#lanes) lane.at = now;
  }

  /** Longest pause of each partition since `mark`, ms; one that has not ended counts as long as it is. */
  pauses(): readonly number[] {
    this.#look();
    return [...this.#pauses];
  }

  /** Resolves when every partition has taken a write from now on. */
  async flows(timeoutMs = patienceMs): Promise<void> {
    const before = this.#lanes.map(({ ledger }) => ledger.batches);
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const stuck = this.#lanes.findIndex(({ ledger }, i) => ledger.batches === before[i]);
      if (stuck < 0) return;
      const { violation } = this.#lanes[stuck]!.producer;
      if (violation !== null) throw violation;
      if (performance.now() > deadline)
        throw new Error(
          `partition ${stuck} takes no writes, its leader is ${JSON.stringify(this.#leaders.get(stuck))}`,
        );
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends the load, and compares what was acknowledged with what is there. */
  async finish(): Promise<{ readonly batches: number; readonly faults: readonly string[] }> {
    if (this.#timer !== null) clearInterval(this.#timer);
    const faults: string[] = [];
    let batches = 0;
    for (const [partition, { producer, ledger }] of this.#lanes.entries()) {
      try {
        await producer.drain();
      } catch (error) {
        faults.push(`${this.#topic}-${partition}: ${(error as Error).message}`);
      }
      const compared = await eventually(() =>
        compareWithLog(this.#leaders.get(partition)!, this.#topic, ledger),
      );
      faults.push(...compared.faults);
      batches += compared.batches;
    }
    await this.stop();
    return { batches, faults };
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.all(this.#lanes.map(({ producer }) => producer.stop()));
    await this.#polling;
  }

  #look(): void {
    const now = performance.now();
    for (const [i, lane] of this.#lanes.entries()) {
      this.#pauses[i] = Math.max(this.#pauses[i]!, now - lane.at);
      if (lane.ledger.batches === lane.progress) continue;
      lane.progress = lane.ledger.batches;
      lane.at = now;
    }
  }

  async #connect(): Promise<RawConnection> {
    let failure: unknown = new Error('no broker runs');
    for (const address of this.#bootstrap()) {
      try {
        return await RawConnection.connect(address, 'cluster-load');
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #poll(): Promise<void> {
    while (!this.#stopped) {
      try {
        const connection = await this.#connect();
        try {
          while (!this.#stopped && !connection.socket.destroyed) {
            await this.#ask(connection);
            await new Promise((resolve) => setTimeout(resolve, lookMs));
          }
        } finally {
          await connection.close();
        }
      } catch {
        await new Promise((resolve) => setTimeout(resolve, lookMs));
      }
    }
  }

  async #ask(connection: RawConnection): Promise<void> {
    const { brokers, topics } = await connection.metadata([this.#topic]);
    for (const { partitionIndex, leaderId } of topics[0]?.partitions ?? []) {
      const broker = brokers.find(({ nodeId }) => nodeId === leaderId);
      if (broker !== undefined) this.#leaders.set(partitionIndex, { host: broker.host, port: broker.port });
    }
  }
}

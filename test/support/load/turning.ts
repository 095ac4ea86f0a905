/**
 * Partitions closed and opened in random subsets while idempotent producers, a group and a reader go on: what was acknowledged
 * must be there once, at its offset, whatever was turned when. Used with few turns by npm test and with thousands by the long
 * script. Each partition has one producer with one request under way, whose records say at which offset they belong.
 */

import type { StreamName } from '../../../src/log/delta-collection.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { CountingProducer, commitOffset, committedOffset, values } from '../../storage/broker/kafka-calls.ts';
import { type BrokerBed, readAll } from '../inline-broker.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { errorName } from './error-name.ts';

export interface TurningResult {
  /** Closes and opens of one partition each. */
  readonly turns: number;
  /** Batches acknowledged, and retries of acknowledged ones answered with their offsets. */
  readonly batches: number;
  readonly duplicates: number;
  /** Answers NOT_LEADER_OR_FOLLOWER. */
  readonly refusals: number;
  readonly commits: number;
  /** From the last answer of a producer before a refusal to the next that took its batch, ms. */
  readonly pauses: readonly number[];
  readonly faults: readonly string[];
}

const topic = 'turned';
const group = 'turning';
const pauseAfterRefusalMs = 1;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Turning {
  readonly #bed: BrokerBed;
  readonly #random: SeededRandom;
  readonly #partitions: number;
  readonly #faults: string[] = [];
  readonly #pauses: number[] = [];
  #over = false;
  #turns = 0;
  #batches = 0;
  #duplicates = 0;
  #refusals = 0;
  #commits = 0;

  constructor(bed: BrokerBed, random: SeededRandom, partitions = 8) {
    this.#bed = bed;
    this.#random = random;
    this.#partitions = partitions;
  }

  #fault(what: string): void {
    this.#faults.push(what);
    this.#over = true;
  }

  /** The bed's broker serves; it is stopped and started once at the end. */
  async run(turns: number, say: (line: string) => void = () => {}): Promise<TurningResult> {
    const admin = await this.#bed.connect();
    await admin.createTopic(topic, this.#partitions);
    const producers = await Promise.all(
      Array.from({ length: this.#partitions }, (_, p) => CountingProducer.create(admin, topic, p, 100)),
    );
    await commitOffset(admin, group, topic, 0);
    const working = Promise.all([
      ...producers.map((producer) => this.#produce(producer)),
      this.#commit(),
      this.#read(producers),
    ]);
    for (let told = 0; this.#turns < turns && !this.#over; ) {
      await this.#turn();
      if (this.#turns - told < 1_000) continue;
      told = this.#turns;
      say(`${told} partitions closed and opened, ${this.#batches} batches`);
    }
    this.#over = true;
    await working;
    await this.#check(producers);
    if ((await this.#bed.stop()) !== 'clean') this.#fault('the stop was not clean');
    await this.#bed.start();
    await this.#check(producers);
    const { length: faults } = this.#faults;
    return {
      turns: this.#turns,
      batches: this.#batches,
      duplicates: this.#duplicates,
      refusals: this.#refusals,
      commits: this.#commits,
      pauses: this.#pauses,
      faults: faults > 20 ? this.#faults.slice(0, 20) : this.#faults,
    };
  }

  /** A random subset, those of the offsets topic among them. */
  async #turn(): Promise<void> {
    const ownership = this.#bed.broker['ownership'];
    const streams: StreamName[] = [];
    for (const { partitions } of this.#bed.broker['metadata'].image.topicsById.values())
      for (const { topicId, partition } of partitions)
        if (this.#random.chance(0.3)) streams.push({ topicId, partition });
    if (streams.length === 0) return;
    await ownership.close(streams);
    if (this.#random.chance(0.2)) await sleep(this.#random.below(10));
    const first = this.#random.chance(0.3) ? this.#random.below(streams.length) : 0;
    if (first > 0) await ownership.open(streams.slice(0, first));
    await ownership.open(streams.slice(first));
    this.#turns += streams.length;
    if (this.#random.chance(0.5)) await sleep(this.#random.below(10));
  }

  async #produce(producer: CountingProducer): Promise<void> {
    const connection = await this.#bed.connect();
    const name = `partition ${producer.partition}`;
    let last = performance.now();
    let refused = false;
    while (!this.#over) {
      const records = 1 + (producer.batches.length % 3);
      const [error, offset] = await producer.send(connection, producer.next, records);
      if (error === ErrorCode.NOT_LEADER_OR_FOLLOWER) {
        this.#refusals++;
        refused = true;
        await sleep(pauseAfterRefusalMs);
        continue;
      }
      if (error === ErrorCode.NOT_ENOUGH_REPLICAS) {
        await sleep(pauseAfterRefusalMs);
        continue;
      }
      if (error !== 0 || offset !== producer.next) {
        this.#fault(`${name}: the batch of offset ${producer.next} got ${errorName(error)} and ${offset}`);
        return;
      }
      if (refused) this.#pauses.push(performance.now() - last);
      refused = false;
      last = performance.now();
      producer.batches.push({ sequence: producer.next, offset, records });
      producer.next += records;
      this.#batches++;
      if (this.#batches % 7 === 0) await this.#repeat(producer, connection);
    }
  }

  /** One of the last five batches again. */
  async #repeat(
    producer: CountingProducer,
    connection: Awaited<ReturnType<BrokerBed['connect']>>,
  ): Promise<void> {
    const again = producer.batches.at(-1 - (this.#batches % Math.min(5, producer.batches.length)))!;
    const [error, offset] = await producer.send(connection, again.sequence, again.records);
    if (error === ErrorCode.NOT_LEADER_OR_FOLLOWER) return;
    this.#duplicates++;
    if (error !== 0 || offset !== again.offset)
      this.#fault(
        `partition ${producer.partition}: a retry of ${again.sequence} got ${errorName(error)} and ${offset}`,
      );
  }

  async #commit(): Promise<void> {
    const connection = await this.#bed.connect();
    while (!this.#over) {
      await commitOffset(connection, group, topic, ++this.#commits);
      const [offset] = await committedOffset(connection, group, topic);
      if (offset !== this.#commits) this.#fault(`the group committed ${this.#commits} and reads ${offset}`);
    }
  }

  /** Behind the producers, parked at the end of one partition after the other. */
  async #read(producers: readonly CountingProducer[]): Promise<void> {
    const connection = await this.#bed.connect();
    for (let turn = 0; !this.#over; turn++) {
      const { partition, next } = producers[turn % producers.length]!;
      const from = Math.max(0, next - 1);
      const { errorCode } = await connection.fetch(topic, partition, from, { maxWaitMs: 20 });
      if (errorCode !== 0 && errorCode !== ErrorCode.NOT_LEADER_OR_FOLLOWER)
        this.#fault(`a fetch of partition ${partition} at ${from}: ${errorName(errorCode)}`);
    }
  }

  async #check(producers: readonly CountingProducer[]): Promise<void> {
    const connection = await this.#bed.connect();
    for (const { partition, next, valueBytes } of producers) {
      const read = await readAll(connection, topic, partition);
      const wrong = values(next, 0, valueBytes).findIndex(
        ({ offset, value }, i) => read[i]?.offset !== offset || read[i]?.value !== value,
      );
      if (wrong >= 0 || read.length !== next)
        this.#fault(`partition ${partition}: ${read.length} of ${next} records, wrong from ${wrong}`);
    }
    const [offset] = await committedOffset(connection, group, topic);
    if (offset !== this.#commits) this.#fault(`the group committed ${this.#commits}, and ${offset} is there`);
  }
}

/** The value that a share of all is not above. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

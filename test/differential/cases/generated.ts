/** Cases that are made up: a seed chooses requests and what is in them, among the values where brokers make mistakes. */
import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { OffsetForLeaderEpochCodec } from '../../../src/protocol/generated/offset-for-leader-epoch.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import type { Case, Side } from '../side.ts';
import { batch, coordinator, createTopic, produceOne, producerIdOf, records, someTime } from './topics.ts';

const stepsOfCase = 25;
const partitions = 2;

export function generatedCase(seed: number): Case {
  return { name: `generated, seed ${seed}`, run: (side, name) => new Walk(side, name, seed).run() };
}

/** Both sides take the same walk: what it draws depends on the seed alone. */
class Walk {
  readonly #side: Side;
  readonly #topic: string;
  readonly #random: SeededRandom;
  readonly #producers: { id: number; sequence: number[] }[] = [];
  readonly #ends = Array.from({ length: partitions }, () => 0);
  readonly #starts = Array.from({ length: partitions }, () => 0);

  constructor(side: Side, topic: string, seed: number) {
    this.#side = side;
    this.#topic = topic;
    this.#random = new SeededRandom(seed);
  }

  async run(): Promise<void> {
    await createTopic(this.#side, this.#topic, partitions);
    for (let producer = 0; producer < 2; producer++) {
      const id = await producerIdOf(this.#side);
      this.#producers.push({ id, sequence: Array.from({ length: partitions }, () => 0) });
    }
    const steps = [
      this.#produce,
      this.#produce,
      this.#produce,
      this.#fetch,
      this.#fetch,
      this.#list,
      this.#epoch,
      this.#commit,
      this.#trim,
    ];
    for (let step = 0; step < stepsOfCase; step++) await this.#pick(steps).call(this, `${step}`);
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!;
  }

  #partition(): number {
    return this.#random.below(10) === 0 ? partitions : this.#random.below(partitions);
  }

  /** Around 0, the end, and places between. */
  #offset(partition: number): number {
    const end = this.#ends[partition] ?? 0;
    return this.#pick([
      -1,
      0,
      1,
      end - 1,
      end,
      end + 1,
      this.#random.below(end + 1),
      this.#random.below(end + 1),
    ]);
  }

  async #produce(label: string): Promise<void> {
    const partition = this.#partition();
    const count = 1 + this.#random.below(6);
    const codec = this.#random.below(5);
    const producer = this.#pick([null, ...this.#producers]);
    const slip = this.#random.below(8) === 0 ? this.#pick([-1, 1, -count, 5]) : 0;
    const base = producer?.sequence[partition] ?? 0;
    const sequence = Math.max(0, base + slip);
    const fields =
      producer === null ? {} : { producerId: producer.id, producerEpoch: 0, baseSequence: sequence };
    const from = this.#ends[partition] ?? 0;
    const bytes = batch(records(count, from, 5 + this.#random.below(100)), { codec, ...fields });
    const answer = await this.#side.ask(
      `${label} to ${partition}`,
      ProduceCodec,
      this.#pick([7, 9, 11]),
      produceOne(this.#topic, bytes, partition),
    );
    const result = answer?.responses[0]?.partitionResponses[0];
    // A duplicate has no error, and moves nothing.
    if (result?.errorCode !== 0 || result.baseOffset < from) return;
    this.#ends[partition] = result.baseOffset + count;
    if (producer !== null) producer.sequence[partition] = sequence + count;
  }

  async #fetch(label: string): Promise<void> {
    const partition = this.#partition();
    const place = {
      partition,
      fetchOffset: this.#offset(partition),
      partitionMaxBytes: this.#pick([0, 1, 100, 1_000, 1 << 20]),
      currentLeaderEpoch: this.#pick([-1, -1, -1, 0, 1]),
      lastFetchedEpoch: this.#pick([-1, -1, -1, 0, 1]),
    };
    await this.#side.ask(`${label} of ${partition}`, FetchCodec, 12, {
      maxWaitMs: 10,
      minBytes: this.#pick([0, 1]),
      maxBytes: this.#pick([1, 1 << 20]),
      isolationLevel: this.#random.below(2),
      sessionEpoch: -1,
      topics: [{ topic: this.#topic, partitions: [place] }],
    });
  }

  async #list(label: string): Promise<void> {
    const partitionIndex = this.#partition();
    const timestamp = this.#pick([
      -1,
      -2,
      -3,
      -4,
      -5,
      someTime,
      someTime + 1_000 * this.#random.below(60),
      someTime + 1_000 * this.#random.below(60) + 1,
    ]);
    const largest = timestamp < -2 ? ' its largest time' : '';
    const empty = this.#starts[partitionIndex] === this.#ends[partitionIndex] ? ', all deleted' : '';
    await this.#side.ask(
      `${label} of ${partitionIndex}${largest}${empty}`,
      ListOffsetsCodec,
      this.#pick([7, 8, 9]),
      {
        replicaId: -1,
        isolationLevel: this.#random.below(2),
        topics: [
          { name: this.#topic, partitions: [{ partitionIndex, timestamp: timestamp < -3 ? -3 : timestamp }] },
        ],
      },
    );
  }

  async #epoch(label: string): Promise<void> {
    const place = {
      partition: this.#partition(),
      leaderEpoch: this.#pick([-1, 0, 1]),
      currentLeaderEpoch: this.#pick([-1, 0, 1]),
    };
    await this.#side.ask(label, OffsetForLeaderEpochCodec, 4, {
      replicaId: -1,
      topics: [{ topic: this.#topic, partitions: [place] }],
    });
  }

  async #commit(label: string): Promise<void> {
    const partitionIndex = this.#partition();
    const commit = {
      partitionIndex,
      committedOffset: this.#offset(partitionIndex),
      committedMetadata: this.#pick(['', 'm', null]),
    };
    await coordinator(this.#side, this.#topic);
    await this.#side.ask(`${label} commits`, OffsetCommitCodec, 7, {
      groupId: this.#topic,
      generationIdOrMemberEpoch: -1,
      memberId: '',
      topics: [{ name: this.#topic, partitions: [commit] }],
    });
    await this.#side.ask(`${label} asks`, OffsetFetchCodec, 7, {
      groupId: this.#topic,
      topics: [{ name: this.#topic, partitionIndexes: [0, 1, 2] }],
    });
  }

  async #trim(label: string): Promise<void> {
    if (this.#random.below(3) !== 0) return;
    const partitionIndex = this.#partition();
    const answer = await this.#side.ask(`${label} of ${partitionIndex}`, DeleteRecordsCodec, 2, {
      timeoutMs: 30_000,
      topics: [{ name: this.#topic, partitions: [{ partitionIndex, offset: this.#offset(partitionIndex) }] }],
    });
    const result = answer?.topics[0]?.partitions[0];
    if (result?.errorCode === 0) this.#starts[partitionIndex] = result.lowWatermark;
  }
}

/** A transaction coordinator over a log in memory, whose markers wait for the test. */
import { coordinatorTopics } from '../../../../src/coordinator/runtime/coordinator-place.ts';
import type { ProducerAnswer } from '../../../../src/coordinator/transaction/transaction-api.ts';
import { TransactionCoordinatorShard } from '../../../../src/coordinator/transaction/transaction-coordinator.ts';
import type { VersionedMarker } from '../../../../src/coordinator/transaction/transaction-markers.ts';
import { defaultTransactionSettings } from '../../../../src/coordinator/transaction/transaction-settings.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { MemoryCoordinatorLog } from '../../../support/coordinator-log.ts';
import { seededRandom } from '../../../support/store-fixtures.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

export interface SentMarker {
  readonly topic: string;
  readonly partition: number;
  readonly marker: VersionedMarker;
  readonly done: (error: number) => void;
}

export class TransactionRig {
  readonly clock = new VirtualClock();
  readonly log = new MemoryCoordinatorLog(this.clock);
  /** Sent and not answered. */
  readonly sent: SentMarker[] = [];
  /** Everything that was ever sent. */
  readonly all: SentMarker[] = [];
  /** Answers markers with it in a later turn; null leaves them to the test. */
  autoAnswer: number | null = null;
  nextId = 4_000;
  leaderEpoch = 5;
  coordinator = this.make();

  make(): TransactionCoordinatorShard {
    return new TransactionCoordinatorShard({
      clock: this.clock,
      logger: silentLogger,
      random: seededRandom(7),
      log: this.log,
      settings: defaultTransactionSettings,
      partitions: () => 1,
      leaderEpoch: () => this.leaderEpoch,
      freshId: (done) => {
        const id = this.nextId++;
        this.clock.soon(() => done(id));
      },
      sender: {
        send: (topic, partition, marker, done) => {
          const sent = { topic, partition, marker, done };
          this.all.push(sent);
          if (this.autoAnswer === null) this.sent.push(sent);
          else {
            const error = this.autoAnswer;
            this.clock.soon(() => done(error));
          }
        },
      },
    });
  }

  async load(): Promise<void> {
    await this.coordinator.load(0);
  }

  /** The shard ends and another one reads what is durable. */
  async restart(): Promise<void> {
    this.coordinator.close();
    this.sent.length = 0;
    this.leaderEpoch++;
    this.coordinator = this.make();
    await this.load();
  }

  /** Answers all markers that wait. */
  answer(error = 0): void {
    for (const { done } of this.sent.splice(0)) done(error);
  }

  async init(
    transactionalId = 'tx',
    expected: { producerId: number; producerEpoch: number } | null = null,
    timeoutMs = 60_000,
  ): Promise<ProducerAnswer> {
    return this.#ask((done) => this.coordinator.init({ transactionalId, timeoutMs, expected }, done));
  }

  async add(
    producer: { producerId: number; producerEpoch: number },
    partitions: Readonly<Record<string, readonly number[]>>,
    version = 2,
  ): Promise<number> {
    const query = {
      ...producer,
      transactionalId: 'tx',
      partitions: new Map(Object.entries(partitions)),
      version,
    };
    return this.#ask((done) => this.coordinator.add(query, done));
  }

  async end(
    producer: { producerId: number; producerEpoch: number },
    committed: boolean,
    version = 2,
  ): Promise<ProducerAnswer> {
    return this.#ask((done) =>
      this.coordinator.end({ ...producer, transactionalId: 'tx', committed, version }, done),
    );
  }

  async #ask<T>(call: (done: (answer: T) => void) => void): Promise<T> {
    const answers: T[] = [];
    call((answer) => answers.push(answer));
    await this.clock.settle();
    if (answers.length !== 1) throw new Error(`${answers.length} answers`);
    return answers[0]!;
  }

  get state(): string {
    return this.coordinator.describe('tx').state;
  }
}

export const groupTopic = coordinatorTopics.group;

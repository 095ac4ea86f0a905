/**
 * Transactional producers as current clients are (transaction.version 2, KIP-890): partitions join by being written to, and
 * each end gives the next epoch. Each producer has a connection and a partition, and does one transaction after the other:
 *
 *   Produce (a batch) ── EndTxn ── Produce … CONCURRENT_TRANSACTIONS: the markers of the last are not written yet; again soon
 *
 * Speaks the lines of native/load/load.h. Plan: JSON, see `TransactionPlan`.
 */
import { randomFillSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { EndTxnCodec } from '../../src/protocol/generated/end-txn.ts';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { InitProducerIdCodec } from '../../src/protocol/generated/init-producer-id.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { crc32c } from '../../test/support/load/batches.ts';
import { errorName } from '../../test/support/load/error-name.ts';
import { type Address, RawConnection } from '../../test/support/raw-client.ts';
import { Latencies, nowNanos } from './portable/latencies.ts';
import { cpuSeconds } from './portable/sender.ts';

export interface TransactionPlan {
  readonly address: Address;
  readonly topic: string;
  readonly partitions: number;
  readonly producers: number;
  readonly recordsPerTransaction: number;
  readonly valueBytes: number;
  readonly leadSeconds: number;
  readonly seconds: number;
}

const produceVersion = 12;
const endVersion = 5;
const initVersion = 4;
const coordinatorVersion = 4;
const retryMs = 2;
const retriesMax = 30_000;

/** What comes again: a coordinator that is loading or not made yet, markers that are not written yet. */
const retriable: ReadonlySet<number> = new Set([
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
]);

const plan = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as TransactionPlan;
const latencies = new Latencies();
let begin = Number.POSITIVE_INFINITY;
let end = Number.POSITIVE_INFINITY;
let transactions = 0;
let bytes = 0;
let all = 0;
let refused = 0;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls again while it is told to. */
async function insist<T>(errorOf: (answer: T) => number, call: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries++) {
    const answer = await call();
    const error = errorOf(answer);
    if (error === 0) return answer;
    if (!retriable.has(error) || retries > retriesMax) throw new Error(`answered ${errorName(error)}`);
    refused++;
    await sleep(retryMs);
  }
}

class Producer {
  readonly #connection: RawConnection;
  readonly #id: string;
  readonly #partition: number;
  readonly #values: readonly Buffer[];
  #producerId = -1;
  #epoch = -1;
  #sequence = 0;

  constructor(connection: RawConnection, number: number) {
    this.#connection = connection;
    this.#id = `bench-${process.pid}-${number}`;
    this.#partition = number % plan.partitions;
    this.#values = Array.from({ length: plan.recordsPerTransaction }, () =>
      randomFillSync(Buffer.alloc(plan.valueBytes)),
    );
  }

  async init(): Promise<void> {
    await insist(
      (answer) => answer.coordinators[0]!.errorCode,
      () =>
        this.#connection.request(FindCoordinatorCodec, coordinatorVersion, {
          keyType: 1,
          coordinatorKeys: [this.#id],
        }),
    );
    const given = await insist(
      (answer) => answer.errorCode,
      () =>
        this.#connection.request(InitProducerIdCodec, initVersion, {
          transactionalId: this.#id,
          transactionTimeoutMs: 60_000,
          producerId: -1,
          producerEpoch: -1,
        }),
    );
    this.#producerId = given.producerId;
    this.#epoch = given.producerEpoch;
  }

  async run(): Promise<void> {
    while (nowNanos() < end) {
      const since = nowNanos();
      const sent = await this.#transaction();
      const now = nowNanos();
      all++;
      if (now < begin || now > end) continue;
      transactions++;
      bytes += sent;
      latencies.record(now - since);
    }
  }

  async #transaction(): Promise<number> {
    const timestamp = Date.now();
    const batch = buildBatch(
      this.#values.map((value) => ({ key: null, value, timestamp })),
      {
        producerId: this.#producerId,
        producerEpoch: this.#epoch,
        baseSequence: this.#sequence,
        transactional: true,
      },
      crc32c,
    );
    await insist(
      (answer) => answer.responses[0]!.partitionResponses[0]!.errorCode,
      () =>
        this.#connection.request(ProduceCodec, produceVersion, {
          transactionalId: this.#id,
          acks: -1,
          timeoutMs: 30_000,
          topicData: [{ name: plan.topic, partitionData: [{ index: this.#partition, records: batch }] }],
        }),
    );
    this.#sequence += plan.recordsPerTransaction;
    const ended = await insist(
      (answer) => answer.errorCode,
      () =>
        this.#connection.request(EndTxnCodec, endVersion, {
          transactionalId: this.#id,
          producerId: this.#producerId,
          producerEpoch: this.#epoch,
          committed: true,
        }),
    );
    if (ended.producerEpoch >= 0) {
      this.#producerId = ended.producerId;
      this.#epoch = ended.producerEpoch;
      this.#sequence = 0;
    }
    return batch.length;
  }
}

const fail = (error: unknown): void => {
  process.stdout.write(`failed ${error instanceof Error ? error.message : String(error)}\n`, () =>
    process.exit(1),
  );
};
process.on('unhandledRejection', fail);

const producers: Producer[] = [];
for (let i = 0; i < plan.producers; i++) {
  const producer = new Producer(await RawConnection.connect(plan.address, 'bench'), i);
  await producer.init();
  producers.push(producer);
}

async function run(): Promise<void> {
  begin = nowNanos() + plan.leadSeconds * 1e9;
  end = begin + plan.seconds * 1e9;
  let cpu = 0;
  setTimeout(() => {
    cpu = cpuSeconds();
    process.stdout.write('begin\n');
  }, plan.leadSeconds * 1000);
  setTimeout(
    () => {
      cpu = cpuSeconds() - cpu;
      process.stdout.write('end\n');
    },
    (plan.leadSeconds + plan.seconds) * 1000,
  );
  await Promise.all([
    ...producers.map((producer) => producer.run()),
    sleep((plan.leadSeconds + plan.seconds) * 1000 + 5),
  ]);
  const result = {
    requests: transactions,
    bytes,
    seconds: plan.seconds,
    allRequests: all,
    allBytes: bytes,
    refused,
    unsent: 0,
    unanswered: 0,
    slipMs: 0,
    cpuSeconds: cpu,
    latency: latencies.pairs(),
  };
  process.stdout.write(`result ${JSON.stringify(result)}\n`, () => process.exit(0));
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  if (line === 'go') void run();
  if (line === 'stop') process.exit(0);
});
// Nobody is there any more: there is nothing to measure for.
lines.on('close', () => process.exit(0));
process.stdout.write('ready\n');

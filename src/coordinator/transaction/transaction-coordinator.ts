/**
 * The transaction coordinator of one shard: the entry of every request about a transactional id, over the runtime that loads
 * and stores the partitions of `__transaction_state` which this shard owns. Owned by the shard; single-threaded.
 *
 * KIP-98 with KIP-360 (bumps by the producer), KIP-588, KIP-664 and KIP-890 (version 2: an epoch for each transaction; up to
 * version 1 beside it, decided by the version of each request). Two-phase commit (KIP-939) is not served.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorLog, EndMarker } from '../runtime/coordinator-log.ts';
import { coordinatorPartition, coordinatorTopics } from '../runtime/coordinator-place.ts';
import { CoordinatorRuntime, type PartitionHost } from '../runtime/coordinator-runtime.ts';
import {
  addStep,
  bumpingVersion,
  type ExpectedProducer,
  endStep,
  endVerdict,
  initStep,
  judgeProducer,
  mayInit,
  mustAbortFirst,
  producerAfter,
  type Step,
  type Transaction,
  transactionStateNames,
  transactionStates,
} from './transaction.ts';
import type {
  AddQuery,
  DescribedTransaction,
  EndQuery,
  InitProducerQuery,
  ListedTransaction,
  ProducerAnswer,
  TransactionCoordinator,
  TransactionFilter,
  TransactionQuery,
} from './transaction-api.ts';
import { TransactionPartition, type TransactionPartitionPorts } from './transaction-partition.ts';

export interface TransactionCoordinatorPorts extends TransactionPartitionPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: Random;
  readonly log: CoordinatorLog;
  /** Whether this broker's lease is in force (RuntimePorts). */
  readonly leased?: () => boolean;
  /** A producer id that nobody had, −1 when there is none to be had now. */
  readonly freshId: (done: (producerId: number) => void) => void;
}

type InitDone = (answer: ProducerAnswer) => void;

const failed = (error: number): ProducerAnswer => ({ error, producerId: -1, producerEpoch: -1 });

export class TransactionCoordinatorShard implements TransactionCoordinator, PartitionHost {
  readonly #ports: TransactionCoordinatorPorts;
  readonly #runtime: CoordinatorRuntime<TransactionPartition>;

  constructor(ports: TransactionCoordinatorPorts) {
    this.#ports = ports;
    const { settings } = ports;
    this.#runtime = new CoordinatorRuntime(
      {
        ...ports,
        topic: coordinatorTopics.transaction,
        settings: { ...settings, expireIntervalMs: settings.abortIntervalMs },
      },
      (context) => new TransactionPartition(context, ports),
    );
  }

  load(partition: number): Promise<void> {
    return this.#runtime.load(partition);
  }

  unload(partition: number): void {
    this.#runtime.unload(partition);
  }

  topicDeleted(): void {}

  endTransaction(partition: number, marker: EndMarker, done: (errorCode: number) => void): void {
    this.#runtime.endTransaction(partition, marker, done);
  }

  close(): void {
    this.#runtime.close();
  }

  /** The ids of an id's partition, or the code that says why not here and now. */
  #at(transactionalId: string, find: 'at' | 'readable' = 'at'): TransactionPartition | number {
    if (transactionalId === '') return ErrorCode.INVALID_REQUEST;
    return this.#runtime[find](coordinatorPartition(transactionalId, this.#ports.partitions()));
  }

  /** The same, for answers from memory. */
  #readable(transactionalId: string): TransactionPartition | number {
    return this.#at(transactionalId, 'readable');
  }

  // ── InitProducerId ──────────────────────────────────────────────────────────────────────────────────────────────

  init(query: InitProducerQuery, done: InitDone): void {
    const at = this.#readable(query.transactionalId);
    if (typeof at === 'number') done(failed(at));
    else if (query.timeoutMs <= 0 || query.timeoutMs > this.#ports.settings.timeoutMsMax)
      done(failed(ErrorCode.INVALID_TRANSACTION_TIMEOUT));
    else if (at.transactions.has(query.transactionalId)) this.#initKnown(query, -1, done);
    else this.#withFreshId(query, done);
  }

  /** The id is asked for once; what has happened to the transactional id meanwhile is looked at anew. */
  #withFreshId(query: InitProducerQuery, done: InitDone): void {
    this.#ports.freshId((freshId) => {
      if (freshId < 0) done(failed(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS));
      else this.#initKnown(query, freshId, done);
    });
  }

  #initKnown(query: InitProducerQuery, freshId: number, done: InitDone): void {
    const { transactionalId, timeoutMs, expected } = query;
    const at = this.#at(transactionalId);
    if (typeof at === 'number') {
      done(failed(at));
      return;
    }
    if (freshId < 0 && !at.transactions.has(transactionalId)) {
      this.#withFreshId(query, done);
      return;
    }
    const transaction = at.transactionFor(transactionalId, freshId, timeoutMs);
    if (transaction === null) {
      done(failed(ErrorCode.COORDINATOR_NOT_AVAILABLE));
      return;
    }
    if (transaction.pending || transaction.isPreparing) {
      done(failed(ErrorCode.CONCURRENT_TRANSACTIONS));
      return;
    }
    if (expected !== null && !mayInit(transaction, expected)) {
      at.take(transaction, refusal(ErrorCode.PRODUCER_FENCED), (error) => done(failed(error)));
      return;
    }
    if (mustAbortFirst(transaction)) {
      // Whoever is the newer instance asks again when the markers are written.
      at.fence(transaction, (error) => done(failed(error === 0 ? ErrorCode.CONCURRENT_TRANSACTIONS : error)));
      return;
    }
    const step = initStep(transaction, expected, timeoutMs, this.#now(), freshId);
    if (step.error === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS && freshId < 0) {
      this.#withFreshId(query, done);
      return;
    }
    at.take(transaction, step, (error) => {
      const { producerId, producerEpoch } = transaction.value;
      done(error === ErrorCode.NONE ? { error, producerId, producerEpoch } : failed(error));
    });
  }

  // ── Partitions ──────────────────────────────────────────────────────────────────────────────────────────────────

  add(query: AddQuery, done: (error: number) => void): void {
    const found = this.#find(query);
    if (typeof found === 'number') {
      done(found);
      return;
    }
    const { at, transaction } = found;
    const refused = judgeProducer(transaction, query);
    if (refused !== ErrorCode.NONE) {
      done(refused);
      return;
    }
    const step = addStep(transaction, query.partitions, query.version, this.#now());
    if (step === null) {
      done(ErrorCode.NONE);
      return;
    }
    if (countPartitions(step) > this.#ports.settings.partitionsMax) {
      done(ErrorCode.INVALID_REQUEST);
      return;
    }
    at.take(transaction, step, done);
  }

  verify(
    query: TransactionQuery,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): readonly number[] {
    const found = this.#find(query, this.#readable(query.transactionalId));
    if (typeof found === 'number') return partitions.map(() => found);
    const { transaction } = found;
    const refused = judgeProducer(transaction, query);
    if (refused !== ErrorCode.NONE) return partitions.map(() => refused);
    const isOpen = transaction.value.state === transactionStates.ongoing;
    return partitions.map(({ topic, partition }) =>
      isOpen && transaction.has(topic, partition) ? ErrorCode.NONE : ErrorCode.TRANSACTION_ABORTABLE,
    );
  }

  #find(
    query: TransactionQuery,
    at = this.#at(query.transactionalId),
  ): { readonly at: TransactionPartition; readonly transaction: Transaction } | number {
    if (typeof at === 'number') return at;
    const transaction = at.transactions.get(query.transactionalId);
    return transaction === undefined ? ErrorCode.INVALID_PRODUCER_ID_MAPPING : { at, transaction };
  }

  // ── EndTxn ──────────────────────────────────────────────────────────────────────────────────────────────────────

  end(query: EndQuery, done: (answer: ProducerAnswer) => void): void {
    this.#end(query, -1, done);
  }

  #end(query: EndQuery, freshId: number, done: (answer: ProducerAnswer) => void): void {
    const found = this.#find(query);
    if (typeof found === 'number') {
      done(failed(found));
      return;
    }
    const { at, transaction } = found;
    const { committed, version } = query;
    const step = endStep(transaction, query, committed, version, this.#now(), freshId);
    if (step.verdict === endVerdict.repeated) {
      done(answerOf(transaction.value, version));
      return;
    }
    if (step.error === ErrorCode.COORDINATOR_LOAD_IN_PROGRESS && freshId < 0) {
      this.#ports.freshId((id) => {
        if (id < 0) done(failed(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS));
        else this.#end(query, id, done);
      });
      return;
    }
    at.take(transaction, step, (error) =>
      done(error === ErrorCode.NONE ? answerOf(transaction.value, version) : failed(error)),
    );
  }

  #now(): number {
    return Math.floor(this.#ports.clock.now());
  }

  // ── Looking ─────────────────────────────────────────────────────────────────────────────────────────────────────

  list(filter: TransactionFilter): { error: number; transactions: ListedTransaction[] } {
    const all = this.#runtime.all();
    if (typeof all === 'number') return { error: all, transactions: [] };
    const nowMs = this.#now();
    const transactions: ListedTransaction[] = [];
    for (const { transactions: some } of all) {
      for (const transaction of some.values()) {
        const { id, value } = transaction;
        const state = transactionStateNames[value.state]!;
        if (value.producerEpoch === -1) continue;
        if (filter.states.length > 0 && !filter.states.includes(state)) continue;
        if (filter.producerIds.length > 0 && !filter.producerIds.includes(value.producerId)) continue;
        if (filter.durationMs >= 0 && !isOlder(transaction, nowMs - filter.durationMs)) continue;
        if (filter.pattern !== null && !filter.pattern.matches(id)) continue;
        transactions.push({ transactionalId: id, producerId: value.producerId, state });
      }
    }
    return { error: ErrorCode.NONE, transactions };
  }

  describe(transactionalId: string): DescribedTransaction {
    const at = this.#readable(transactionalId);
    const transaction = typeof at === 'number' ? undefined : at.transactions.get(transactionalId);
    if (transaction === undefined || transaction.value.producerEpoch === -1) {
      const error = typeof at === 'number' ? at : ErrorCode.TRANSACTIONAL_ID_NOT_FOUND;
      return { ...nothing, error };
    }
    const { value, isPreparing, marked } = transaction;
    const partitions = new Map<string, readonly number[]>();
    for (const [topic, numbers] of value.partitions) {
      const left = isPreparing ? numbers.filter((number) => !marked.has(`${topic} ${number}`)) : numbers;
      if (left.length > 0) partitions.set(topic, left);
    }
    return {
      error: ErrorCode.NONE,
      state: transactionStateNames[value.state]!,
      timeoutMs: value.timeoutMs,
      startedMs: value.startedMs,
      producerId: value.producerId,
      producerEpoch: value.producerEpoch,
      partitions,
    };
  }
}

const nothing: DescribedTransaction = {
  error: 0,
  state: '',
  timeoutMs: 0,
  startedMs: -1,
  producerId: -1,
  producerEpoch: -1,
  partitions: new Map(),
};

function refusal(error: number): Step {
  return { error, next: null, lastProducerEpoch: -1 };
}

function answerOf(value: Transaction['value'], version: number): ProducerAnswer {
  const after: ExpectedProducer = version >= bumpingVersion ? producerAfter(value) : failed(0);
  return { error: ErrorCode.NONE, producerId: after.producerId, producerEpoch: after.producerEpoch };
}

function isOlder({ value, isPreparing }: Transaction, beganBeforeMs: number): boolean {
  return (value.state === transactionStates.ongoing || isPreparing) && value.startedMs < beganBeforeMs;
}

function countPartitions({ next }: Step): number {
  let count = 0;
  for (const numbers of next!.partitions.values()) count += numbers.length;
  return count;
}

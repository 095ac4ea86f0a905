/**
 * Stands between a validated transactional batch and its append (KIP-890): asks the partition whether a transaction of the producer
 * is open there, and if not the coordinator whether it may begin one. Shard thread; one per shard.
 *
 *   append ─► partition.verify ─► none needed ──────────────────────────────► partition.append
 *                            └─► guard ─► verifier.verify ─► yes ───────────► partition.append with the guard
 *                                                       └─► error ─► refused
 *
 * Where the question adds the partition, the transaction before it may still be ending: the coordinator says CONCURRENT_TRANSACTIONS,
 * and is asked again; or its marker came between the guard and the yes, which takes the guard: then both are asked anew.
 *
 * Batches of one producer for one partition are appended in the order in which they came: while one is being verified those behind
 * it wait, and each is looked at anew when its turn comes, so as a rule one question serves them all. What waits holds its arena
 * bytes. Bound: `waitingMax` batches; more are refused with NOT_ENOUGH_REPLICAS, which clients try again. A coordinator that never
 * answers is the verifier's to time out.
 */
import type { AppendWaiter } from '../../log/append-journal.ts';
import { appendGuard, type PartitionHandle, type VerifyAnswer } from '../../log/partition-handle.ts';
import type { TransactionVerifier } from '../../log/transaction-seam.ts';
import type { Arena } from '../../ports/arena.ts';
import type { Clock } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { baseSequenceOf, producerEpochOf, producerIdOf } from '../../protocol/records/batch-header.ts';

export interface TransactionalBatch {
  readonly partition: PartitionHandle;
  readonly topic: string;
  readonly transactionalId: string;
  /** The client's version lets the broker add the partition (Produce from v12 on). */
  readonly adds: boolean;
  /** It knows TRANSACTION_ABORTABLE (from v11 on). */
  readonly abortable: boolean;
  /** Where it lies in the arena. */
  readonly position: number;
  readonly length: number;
  readonly waiter: AppendWaiter;
  /** What the waiter calls it. */
  readonly index: number;
}

const waitingMaxDefault = 1_024;
/** Kafka: add.partitions.to.txn.retry.backoff.ms, and so often that the time is that of its maximum. */
const retryMs = 20;
const retriesMax = 5;

export class TransactionGate {
  readonly #arena: Arena;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #verifier: TransactionVerifier;
  readonly #waitingMax: number;
  /** Wakes the WALs after appends that no request's turn brought. */
  readonly #flush: () => void;
  /** Batches by partition and producer, the first one on its way. */
  readonly #queues = new Map<string, TransactionalBatch[]>();
  #waiting = 0;

  constructor(
    arena: Arena,
    clock: Pick<Clock, 'after'>,
    verifier: TransactionVerifier,
    flush: () => void,
    waitingMax = waitingMaxDefault,
  ) {
    this.#arena = arena;
    this.#clock = clock;
    this.#verifier = verifier;
    this.#flush = flush;
    this.#waitingMax = waitingMax;
  }

  /** Batches that wait, or are being verified. */
  get waiting(): number {
    return this.#waiting;
  }

  append(batch: TransactionalBatch): void {
    if (this.#waiting >= this.#waitingMax) {
      refuse(batch, ErrorCode.NOT_ENOUGH_REPLICAS);
      return;
    }
    const { partition, position, length } = batch;
    const key = `${partition.topicId}/${partition.partition}/${producerIdOf(this.#arena.view, position)}`;
    this.#arena.retainRange(position, length);
    this.#waiting++;
    const queue = this.#queues.get(key);
    if (queue !== undefined) {
      queue.push(batch);
      return;
    }
    this.#queues.set(key, [batch]);
    this.#next(key);
  }

  /** Takes the first batch of a queue on; the queue goes with its last one. */
  #next(key: string): void {
    const batch = this.#queues.get(key)![0]!;
    this.#guard(batch, (error, guard) => {
      if (error !== 0 || guard === appendGuard.none) this.#settle(key, batch, error, guard);
      else this.#ask(key, batch, guard, retriesMax);
    });
  }

  #guard({ partition, position, adds }: TransactionalBatch, answer: VerifyAnswer): void {
    const { view } = this.#arena;
    const sequence = baseSequenceOf(view, position);
    partition.verify(producerIdOf(view, position), producerEpochOf(view, position), sequence, adds, answer);
  }

  #ask(key: string, batch: TransactionalBatch, guard: number, retries: number): void {
    const { view } = this.#arena;
    const { partition, position, topic, transactionalId, adds, abortable } = batch;
    const producerId = producerIdOf(view, position);
    const producerEpoch = producerEpochOf(view, position);
    const transaction = { transactionalId, producerId, producerEpoch, add: adds, abortable };
    const { topicId, partition: index } = partition;
    this.#verifier.verify(transaction, { topicId, topic, partition: index }, (refusal) => {
      if (adds && refusal === ErrorCode.CONCURRENT_TRANSACTIONS && retries > 0)
        this.#clock.after(retryMs, () => this.#ask(key, batch, guard, retries - 1));
      else if (refusal !== 0 || !adds || retries === 0)
        this.#settle(key, batch, producerError(refusal, adds), guard);
      else this.#askAgain(key, batch, guard, retries);
    });
  }

  /** Appends with the guard, unless a marker has taken it meanwhile: that of the transaction before, most likely. */
  #askAgain(key: string, batch: TransactionalBatch, guard: number, retries: number): void {
    this.#guard(batch, (error, present) => {
      if (error !== 0 || present === guard || present === appendGuard.none)
        this.#settle(key, batch, error, present);
      else this.#ask(key, batch, present, retries - 1);
    });
  }

  #settle(key: string, batch: TransactionalBatch, error: number, guard: number): void {
    const { partition, position, length, waiter, index } = batch;
    if (error !== 0) refuse(batch, error);
    else partition.append(position, length, waiter, index, guard);
    this.#arena.releaseRange(position, length);
    this.#waiting--;
    this.#flush();
    const queue = this.#queues.get(key)!;
    queue.shift();
    if (queue.length === 0) this.#queues.delete(key);
    else this.#next(key);
  }
}

/**
 * What a producer is told where its coordinator cannot be asked: older clients do not repeat a produce after such errors, but they do
 * after NOT_ENOUGH_REPLICAS, and it costs no look at the metadata (Kafka: ReplicaManager).
 */
function producerError(error: number, adds: boolean): number {
  switch (error) {
    case ErrorCode.NETWORK_EXCEPTION:
    case ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
    case ErrorCode.COORDINATOR_NOT_AVAILABLE:
    case ErrorCode.NOT_COORDINATOR:
      return ErrorCode.NOT_ENOUGH_REPLICAS;
    case ErrorCode.CONCURRENT_TRANSACTIONS:
      return adds ? error : ErrorCode.NOT_ENOUGH_REPLICAS;
    default:
      return error;
  }
}

function refuse({ waiter, index, partition }: TransactionalBatch, error: number): void {
  waiter.onAppended(index, error, -1, -1, partition.startOffset);
}

/**
 * What the records of one `__transaction_state` partition amount to: its transactional ids. The runtime (coordinator/runtime)
 * loads, appends and unloads. Shard thread.
 *
 * The state holds durable records only: a step is computed, its record appended, and the step taken when that is durable. An
 * end that is durable is answered; its markers follow (transaction-markers.ts), also after a load. Timers: whatever is past
 * its time is looked for in `expire`.
 */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../runtime/coordinator-log.ts';
import { coordinatorPartition } from '../runtime/coordinator-place.ts';
import {
  type CoordinatorState,
  type PartitionContext,
  type Replayed,
  replayed,
} from '../runtime/coordinator-state.ts';
import {
  completeStep,
  fenceStep,
  newTransaction,
  type Step,
  Transaction,
  transactionStates,
} from './transaction.ts';
import { type MarkerSender, TransactionMarkers } from './transaction-markers.ts';
import {
  readTransactionKey,
  readTransactionValue,
  transactionKey,
  transactionValue,
} from './transaction-records.ts';
import type { TransactionSettings } from './transaction-settings.ts';

export interface TransactionPartitionPorts {
  readonly settings: TransactionSettings;
  readonly sender: MarkerSender;
  /** Partitions of `__transaction_state`. */
  readonly partitions: () => number;
  /** Leader epoch of one of them, owned here. */
  readonly leaderEpoch: (partition: number) => number;
}

type Done = (error: number) => void;

export class TransactionPartition implements CoordinatorState {
  readonly context: PartitionContext;
  readonly transactions = new Map<string, Transaction>();
  readonly #ports: TransactionPartitionPorts;
  readonly #markers: TransactionMarkers;
  /** Monotonic ms of the last search for ids that nobody uses. */
  #removedAtMs: number;

  constructor(context: PartitionContext, ports: TransactionPartitionPorts) {
    this.context = context;
    this.#ports = ports;
    this.#removedAtMs = context.clock.monotonic();
    this.#markers = new TransactionMarkers({
      clock: context.clock,
      logger: context.logger,
      settings: ports.settings,
      sender: ports.sender,
      coordinatorEpoch: () => ports.leaderEpoch(context.partition),
      onAllMarked: (transaction) => this.#complete(transaction),
    });
  }

  // ── Records ─────────────────────────────────────────────────────────────────────────────────────────────────────

  replay(key: Buffer, value: Buffer | null): Replayed {
    const id = readTransactionKey(key);
    if (id === null) return replayed.foreign;
    if (coordinatorPartition(id, this.#ports.partitions()) !== this.context.partition)
      return replayed.misplaced;
    if (value === null) this.transactions.delete(id);
    else this.transactions.set(id, new Transaction(id, readTransactionValue(value)));
    return replayed.applied;
  }

  /** Nobody writes to this topic in a transaction. */
  endTransaction(): void {}

  *liveRecords(): Generator<CoordinatorRecord, void, undefined> {
    for (const { id, value } of this.transactions.values()) {
      // An id whose first record is on its way: that record is the snapshot's, too.
      if (value.producerEpoch === -1) continue;
      yield { key: transactionKey(id), value: transactionValue(value) };
    }
  }

  started(): void {
    for (const transaction of this.transactions.values()) {
      if (transaction.isPreparing) this.#markers.begin(transaction);
    }
  }

  close(): void {
    this.#markers.close();
    this.transactions.clear();
  }

  // ── Steps ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The id, made when there is room; null at the bound. `freshId` is its first producer id. */
  transactionFor(id: string, freshId: number, timeoutMs: number): Transaction | null {
    const known = this.transactions.get(id);
    if (known !== undefined) return known;
    if (this.transactions.size >= this.#ports.settings.idsPerPartitionMax) {
      this.context.logger.warn('a transactional id is refused: too many in one partition', {
        transactionalId: id,
        partition: this.context.partition,
      });
      return null;
    }
    const made = new Transaction(id, newTransaction(freshId, timeoutMs, this.#now()));
    this.transactions.set(id, made);
    return made;
  }

  /** Takes a step when its record is durable. `done` gets 0 then, or what the step or the log has refused it with. */
  take(transaction: Transaction, { error, next, lastProducerEpoch }: Step, done: Done): void {
    if (next === null) {
      this.#forgetNew(transaction);
      done(error);
      return;
    }
    const record = { key: transactionKey(transaction.id), value: transactionValue(next) };
    transaction.pending = true;
    const refused = this.context.append([record], {
      durable: () => {
        transaction.pending = false;
        transaction.value = next;
        transaction.lastProducerEpoch = lastProducerEpoch;
        done(ErrorCode.NONE);
        if (transaction.isPreparing) this.#markers.begin(transaction);
      },
      // This life is over; whether the step was taken is for the next one to read.
      lost: () => done(ErrorCode.NOT_COORDINATOR),
    });
    if (refused === ErrorCode.NONE) return;
    transaction.pending = false;
    this.#forgetNew(transaction);
    done(refused);
  }

  /** An id that never had a durable record is as if nobody had asked for it. */
  #forgetNew(transaction: Transaction): void {
    const { id, value, pending } = transaction;
    if (value.producerEpoch === -1 && !pending && this.transactions.get(id) === transaction)
      this.transactions.delete(id);
  }

  /** Ends an open transaction that its producer did not end, and fences it. */
  fence(transaction: Transaction, done: Done): void {
    this.take(transaction, fenceStep(transaction, this.#now()), done);
  }

  #complete(transaction: Transaction): void {
    this.take(transaction, completeStep(transaction, this.#now()), (error) => {
      if (error === ErrorCode.NONE) transaction.marked.clear();
      else if (!this.context.closed) this.#retryComplete(transaction);
    });
  }

  /** The log had no room for the last record. */
  #retryComplete(transaction: Transaction): void {
    this.context.clock.after(this.#ports.settings.markerRetryMsMax, () => {
      if (!this.context.closed && transaction.isPreparing && !transaction.pending)
        this.#complete(transaction);
    });
  }

  #now(): number {
    return Math.floor(this.context.clock.now());
  }

  // ── Time ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Aborts what is open for longer than its producer allowed, and forgets ids that nobody uses. */
  expire(): void {
    const nowMs = this.#now();
    const { settings } = this.#ports;
    const monotonic = this.context.clock.monotonic();
    const removes = monotonic - this.#removedAtMs >= settings.removeIntervalMs;
    if (removes) this.#removedAtMs = monotonic;
    for (const transaction of [...this.transactions.values()]) {
      if (transaction.pending || !this.context.hasRoom()) continue;
      const { value } = transaction;
      if (value.state === transactionStates.ongoing) {
        if (nowMs - value.startedMs >= value.timeoutMs) this.#abortLate(transaction);
      } else if (removes && !transaction.isPreparing && nowMs - value.updatedMs >= settings.expirationMs) {
        this.#remove(transaction);
      }
    }
  }

  #abortLate(transaction: Transaction): void {
    const { id, value } = transaction;
    this.context.logger.info('a transaction is aborted: it was open for longer than its producer allowed', {
      transactionalId: id,
      producerId: value.producerId,
      timeoutMs: value.timeoutMs,
    });
    this.fence(transaction, () => {});
  }

  #remove(transaction: Transaction): void {
    transaction.pending = true;
    const refused = this.context.append([{ key: transactionKey(transaction.id), value: null }], {
      durable: () => {
        if (this.transactions.get(transaction.id) === transaction) this.transactions.delete(transaction.id);
      },
      lost: () => {},
    });
    if (refused !== ErrorCode.NONE) transaction.pending = false;
  }
}

/**
 * Writes the markers of transactions that are prepared, until every partition has one. Shard thread; one per partition of
 * `__transaction_state`, gone with it: the next owner begins again, and a marker written twice does no harm.
 *
 *     prepared ─► one marker per partition ─┬─ durable, partition gone, or newer producer there ─► marked ─┐
 *                       ▲                   ├─ cannot be written now ─► pause, then again                  ├─ all ─► complete
 *                       └───── pause ◄──────┘                                                             │
 *                                           └─ a newer coordinator was there ─► given up: it is not ours any more
 *
 * Bound: a marker per partition of each prepared transaction; pauses double up to `markerRetryMsMax`.
 */
import type { Clock, Timer } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { ErrorCode, errorName } from '../../protocol/generated/errors.ts';
import type { EndMarker } from '../runtime/coordinator-log.ts';
import { type Transaction, transactionStates } from './transaction.ts';
import type { TransactionSettings } from './transaction-settings.ts';

/** A marker, and the rules by which the partition judges it. */
export interface VersionedMarker extends EndMarker {
  readonly transactionVersion: number;
}

export interface MarkerSender {
  /**
   * Writes a marker to a partition, wherever it is owned; `done` gets 0 when it is durable there, else a wire error.
   * UNKNOWN_TOPIC_OR_PARTITION says that there is no such partition any more.
   */
  send(topic: string, partition: number, marker: VersionedMarker, done: (error: number) => void): void;
}

export interface TransactionMarkersDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: TransactionSettings;
  readonly sender: MarkerSender;
  /** Leader epoch of the coordinator's partition. */
  readonly coordinatorEpoch: () => number;
  /** All markers of the transaction are durable. */
  readonly onAllMarked: (transaction: Transaction) => void;
}

interface Completion {
  readonly transaction: Transaction;
  readonly marker: VersionedMarker;
  left: number;
  readonly timers: Set<Timer>;
}

export class TransactionMarkers {
  readonly #deps: TransactionMarkersDeps;
  readonly #completions = new Map<string, Completion>();
  #closed = false;

  constructor(deps: TransactionMarkersDeps) {
    this.#deps = deps;
  }

  /** Transactions whose markers are on their way. */
  get size(): number {
    return this.#completions.size;
  }

  /** The transaction is prepared, durably. */
  begin(transaction: Transaction): void {
    const { value } = transaction;
    const completion: Completion = {
      transaction,
      marker: {
        producerId: value.producerId,
        producerEpoch: value.producerEpoch,
        coordinatorEpoch: this.#deps.coordinatorEpoch(),
        committed: value.state === transactionStates.prepareCommit,
        transactionVersion: value.version,
      },
      left: 1,
      timers: new Set(),
    };
    this.#completions.set(transaction.id, completion);
    transaction.marked.clear();
    for (const [topic, partitions] of value.partitions) {
      for (const partition of partitions) {
        completion.left++;
        this.#send(completion, topic, partition, this.#deps.settings.markerRetryMsMin);
      }
    }
    this.#settle(completion);
  }

  #send(completion: Completion, topic: string, partition: number, pauseMs: number): void {
    this.#deps.sender.send(topic, partition, completion.marker, (error) => {
      if (this.#closed || this.#completions.get(completion.transaction.id) !== completion) return;
      this.#onAnswer(completion, topic, partition, pauseMs, error);
    });
  }

  #onAnswer(completion: Completion, topic: string, partition: number, pauseMs: number, error: number): void {
    const { clock, logger, settings } = this.#deps;
    const { transaction, marker, timers } = completion;
    const about = { transactionalId: transaction.id, topic, partition, producerId: marker.producerId };
    switch (error) {
      case ErrorCode.NONE:
      case ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
        transaction.marked.add(`${topic} ${partition}`);
        this.#settle(completion);
        return;
      case ErrorCode.INVALID_PRODUCER_EPOCH:
        logger.warn('a partition has gone on with a newer epoch of the producer: it needs no marker', about);
        this.#settle(completion);
        return;
      case ErrorCode.TRANSACTION_COORDINATOR_FENCED:
        logger.warn('a newer coordinator has ended the transaction: this one lets go of it', about);
        this.#drop(completion);
        return;
      default: {
        if (pauseMs >= settings.markerRetryMsMax)
          logger.warn('a transaction marker cannot be written yet; it is tried again', {
            ...about,
            error: errorName(error),
          });
        const timer = clock.after(pauseMs, () => {
          timers.delete(timer);
          this.#send(completion, topic, partition, Math.min(2 * pauseMs, settings.markerRetryMsMax));
        });
        timers.add(timer);
      }
    }
  }

  #settle(completion: Completion): void {
    if (--completion.left > 0) return;
    this.#completions.delete(completion.transaction.id);
    this.#deps.onAllMarked(completion.transaction);
  }

  #drop(completion: Completion): void {
    this.#completions.delete(completion.transaction.id);
    for (const timer of completion.timers) timer.cancel();
  }

  close(): void {
    this.#closed = true;
    for (const completion of this.#completions.values()) this.#drop(completion);
  }
}

/**
 * CONTRACT of what a coordinator adds to the runtime: the state that the records of one partition of its internal topic
 * amount to. CoordinatorRuntime makes one per partition and life, feeds it, and throws it away:
 *
 *     create(context) ─► replay … replay ─► started ─► (requests, expire, topicDeleted) … ─► close
 *                        from the log                  records that `context` appends
 *
 * All calls come on the shard's thread. After `close` nothing is called, and the context appends nothing.
 *
 * *Appended and durable are two states.* A state chooses per kind of record which of the two it holds:
 *   - `context.write` replays records into the state as soon as the log has taken them, and gives the answer when they
 *     are durable. The state then runs ahead of the log, so whatever is read from it must leave through `context.read`,
 *     which waits for everything that the reader may have seen.
 *   - `context.append` changes nothing: the caller's `durable` does, so the state holds durable records only, and may be
 *     read directly.
 * What is part of a transaction is replayed when it is durable, in the order of the log, in both ways; so are markers.
 * A refused append has changed nothing in either way. An append whose fate is unknown ends this life: `close`, and a new
 * state is made from the log.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import type { CoordinatorRecord, EndMarker, TransactionalProducer } from './coordinator-log.ts';

/** What became of a record that was replayed. */
export const replayed = {
  applied: 0,
  /** Of a kind that this broker does not know: kept in the log as it is, since a newer one may know it. */
  foreign: 1,
  /** Of a key that another partition coordinates: never looked at again. */
  misplaced: 2,
} as const;
export type Replayed = (typeof replayed)[keyof typeof replayed];

export interface CoordinatorState {
  /**
   * Takes one record. A record that is malformed throws a ProtocolDecodeError before it has changed anything; it is
   * counted, said once and left out. With a producer the record counts when `endTransaction` says that it is committed.
   */
  replay(key: Buffer, value: Buffer | null, offset: number, producer: TransactionalProducer | null): Replayed;
  /** A marker came: from the log, or durable now. What the producer has replayed counts, or is dropped. */
  endTransaction(marker: EndMarker): void;
  /**
   * A record for every key that is alive outside of open transactions, with its newest value that this state knows.
   * Walked in turns while the state changes; a key that has a record on its way to the log may be left out or told.
   */
  liveRecords(): Iterator<CoordinatorRecord, unknown, unknown>;
  /** Replayed to the durable end: timers may start. Appending is allowed from here on. */
  started(): void;
  /** Once in a while: whatever is past its time may go. */
  expire(): void;
  /** The topic is gone; one of the same name may follow under another id. */
  topicDeleted?(topicId: string, name: string): void;
  /** Cancels timers and answers parked calls; appends under way are answered by the runtime. */
  close(): void;
}

export interface AppendOutcome {
  /** The records are safe; `baseOffset` is that of the first. */
  durable(baseOffset: number): void;
  /** This life of the state ends first: nobody knows. */
  lost(): void;
}

/** What a state may do with its partition. */
export interface PartitionContext {
  readonly partition: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** This life of the partition is over. */
  readonly closed: boolean;
  /** Room for another client's records; a coordinator's own are bounded by its state and always go. */
  hasRoom(): boolean;
  /**
   * Appends records in one batch. 0 = taken, and one of the outcome's functions runs later, once; else a wire error for
   * the client (COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR: try again), and nothing was written or changed.
   */
  append(
    records: readonly CoordinatorRecord[],
    outcome: AppendOutcome,
    producer?: TransactionalProducer | null,
  ): number;
  /**
   * Appends records in one batch, replays them into the state at once (with offset −1; those of a transaction when they
   * are durable), and answers when they are durable. Without records it is a `read`. `done` runs once, before this
   * returns only when refused; error 0 = done. What is appended with a producer by `append` is replayed like this, too.
   */
  write(
    records: readonly CoordinatorRecord[],
    done: (errorCode: number) => void,
    producer?: TransactionalProducer | null,
  ): void;
  /**
   * Calls back when everything appended so far is durable: at once when nothing is under way. For answers that come from
   * a state which runs ahead of the log.
   */
  read(done: (errorCode: number) => void): void;
  /** Appends a marker; the state's `endTransaction` is called when it is durable, then `done`. */
  endTransaction(marker: EndMarker, done: (errorCode: number) => void): void;
}

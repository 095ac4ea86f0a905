/**
 * What request handlers ask of a transaction coordinator, and what they get back. Plain values; wire codes as numbers. Every
 * `done` is called exactly once, now or later.
 */
import type { Pattern } from '../../protocol/pattern.ts';
import type { ExpectedProducer, TransactionPartitions } from './transaction.ts';

export interface InitProducerQuery {
  readonly transactionalId: string;
  readonly timeoutMs: number;
  /** What the client believes to be; null = a new instance. */
  readonly expected: ExpectedProducer | null;
}

export interface ProducerAnswer {
  readonly error: number;
  /** −1 with an error. */
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** One producer of a transactional id, as its requests name it. */
export interface TransactionQuery extends ExpectedProducer {
  readonly transactionalId: string;
}

export interface EndQuery extends TransactionQuery {
  readonly committed: boolean;
  /** `transaction.version` that the client follows: 2 from EndTxn v5 on. */
  readonly version: number;
}

export interface AddQuery extends TransactionQuery {
  readonly partitions: TransactionPartitions;
  readonly version: number;
}

export interface TransactionFilter {
  /** Names of states; empty = all, also below. */
  readonly states: readonly string[];
  readonly producerIds: readonly number[];
  /** Open or being completed for longer than this, ms; negative = all. */
  readonly durationMs: number;
  /** null = all. */
  readonly pattern: Pattern | null;
}

export interface ListedTransaction {
  readonly transactionalId: string;
  readonly producerId: number;
  readonly state: string;
}

export interface DescribedTransaction {
  readonly error: number;
  readonly state: string;
  readonly timeoutMs: number;
  /** −1 when none is open. */
  readonly startedMs: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  /** While it is being completed, only those without a marker yet. */
  readonly partitions: TransactionPartitions;
}

export interface TransactionCoordinator {
  init(query: InitProducerQuery, done: (answer: ProducerAnswer) => void): void;
  add(query: AddQuery, done: (error: number) => void): void;
  /** Whether each of the partitions belongs to the open transaction: a wire error for each, in order. */
  verify(
    query: TransactionQuery,
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): readonly number[];
  end(query: EndQuery, done: (answer: ProducerAnswer) => void): void;
  list(filter: TransactionFilter): {
    readonly error: number;
    readonly transactions: readonly ListedTransaction[];
  };
  describe(transactionalId: string): DescribedTransaction;
}

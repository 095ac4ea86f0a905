/**
 * PORT to the partitions of one internal topic (`__consumer_offsets`, `__transaction_state`, `__share_group_state`) on
 * this shard. A coordinator knows records, never batches; the adapter is src/shard/partition-coordinator-log.ts.
 *
 * An append has one of three ends, and the first two are told apart:
 *
 *     refused        `append` returns a wire error: nothing was written, nothing will be, `settled` never runs
 *     durable        `append` returns 0, later `settled(null, offset of the first record)`
 *     fate unknown   `append` returns 0, later `settled(error, -1)`: the batch may still turn up in the log
 */
export interface CoordinatorRecord {
  readonly key: Buffer;
  /** null deletes the key (tombstone). */
  readonly value: Buffer | null;
}

/** Whose transaction a batch belongs to (KIP-98). */
export interface TransactionalProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

/** What a control batch says of a transaction. */
export interface EndMarker extends TransactionalProducer {
  readonly coordinatorEpoch: number;
  readonly committed: boolean;
}

export type Settled = (error: Error | null, baseOffset: number) => void;

/** Takes what a load reads, in the order of the log. Buffers may be reused after a call returns. It does not throw. */
export interface LoadSink {
  /** `producer` is null outside of transactions; a transactional record counts once its marker has come. */
  onRecord(
    key: Buffer | null,
    value: Buffer | null,
    offset: number,
    producer: TransactionalProducer | null,
  ): void;
  onMarker(marker: EndMarker, offset: number): void;
  /** Bytes that are no records: from this offset up to the next call. */
  onUnreadable(offset: number, reason: string): void;
}

export interface CoordinatorLog {
  /**
   * Appends the records as one batch, all or none; 0 when the log has taken it, a wire error when it is refused.
   * `settled` runs exactly once for a batch that was taken, never before `append` returns, and for the batches of one
   * partition in their order. With a producer the batch is part of its transaction.
   */
  append(
    partition: number,
    records: readonly CoordinatorRecord[],
    producer: TransactionalProducer | null,
    settled: Settled,
  ): number;
  /** Appends a control batch that ends a transaction; otherwise as `append`. */
  appendMarker(partition: number, marker: EndMarker, settled: Settled): number;
  /** Moves the log start forward to the offset, some time; what fails is asked again with a later offset. */
  trim(partition: number, offset: number): void;
  /** Reads the partition from its log start to the durable end that it has now. Rejects when it cannot be read. */
  load(partition: number, sink: LoadSink): Promise<void>;
}

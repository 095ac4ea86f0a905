/**
 * Port to the `__consumer_offsets` partitions of this shard. The coordinator knows records, never batches or offsets
 * of the log; the adapter lives in the composition root.
 */
export interface OffsetsRecord {
  readonly key: Buffer;
  /** null deletes the key (tombstone). */
  readonly value: Buffer | null;
}

export interface OffsetsLog {
  /**
   * Appends the records as one v2 batch. `callback` runs exactly once, never before `append` returns: with null when
   * the batch is durable, with the error when it is not known to be (it may still appear in the log). Callbacks of one
   * partition come in the order of the appends. The coordinator keeps at most `pendingBytesMax` waiting per partition.
   * `baseOffset` is that of the first record, −1 with an error.
   */
  append(
    partition: number,
    records: readonly OffsetsRecord[],
    callback: (error: Error | null, baseOffset: number) => void,
  ): void;
  /** Moves the log start forward to the offset, some time; what fails is asked again with a later offset. */
  trim(partition: number, offset: number): void;
  /**
   * Reads the partition from its log start to its durable end, in order. Records of transactional batches appear only
   * if their commit marker is there, at the marker's place. The buffers may be reused after `onRecord` returns.
   */
  load(
    partition: number,
    onRecord: (key: Buffer, value: Buffer | null, offset: number) => void,
  ): Promise<void>;
}

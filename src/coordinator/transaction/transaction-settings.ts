/** Limits and times of the transaction coordinator; names in comments are Kafka's, or Millrace's own where Kafka has no limit. */
export interface TransactionSettings {
  /** `transaction.max.timeout.ms`. */
  readonly timeoutMsMax: number;
  /** `transactional.id.expiration.ms`: an id without an open transaction is forgotten after it. */
  readonly expirationMs: number;
  /** `transaction.abort.timed.out.transaction.cleanup.interval.ms`. */
  readonly abortIntervalMs: number;
  /** `transaction.remove.expired.transaction.cleanup.interval.ms`. */
  readonly removeIntervalMs: number;
  /** Transactional ids of one partition; a new one beyond it is answered COORDINATOR_NOT_AVAILABLE. */
  readonly idsPerPartitionMax: number;
  /** Partitions of one transaction; more are refused with INVALID_REQUEST. */
  readonly partitionsMax: number;
  /** As of the group coordinator (group-settings.ts). */
  readonly pendingBytesMax: number;
  readonly snapshotRecordsMin: number;
  readonly reloadDelayMs: number;
  /** Pauses before a marker that could not be written is tried again. */
  readonly markerRetryMsMin: number;
  readonly markerRetryMsMax: number;
}

export const defaultTransactionSettings: TransactionSettings = {
  timeoutMsMax: 900_000,
  expirationMs: 7 * 24 * 60 * 60 * 1_000,
  abortIntervalMs: 10_000,
  removeIntervalMs: 3_600_000,
  // 50 partitions × 20,000 ids of about 300 bytes: 300 MB in the worst case, 6 MB a partition.
  idsPerPartitionMax: 20_000,
  // One record holds them all, about 5 bytes each and their topics' names.
  partitionsMax: 50_000,
  pendingBytesMax: 16 * 1024 * 1024,
  snapshotRecordsMin: 10_000,
  reloadDelayMs: 1_000,
  markerRetryMsMin: 50,
  markerRetryMsMax: 1_000,
};

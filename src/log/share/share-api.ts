/**
 * What the share partitions of this broker do for requests (KIP-932), wherever each of them is: a share partition lives on the
 * shard that owns the topic's partition, and requests come in on any. The implementation is src/shard/share. Shard thread; each
 * `done` runs once.
 */

/** States of a record as they are stored in `__share_group_state`; acquired is never stored. */
export const recordStates = { available: 0, acquired: 1, acknowledged: 2, archived: 4 } as const;

/** AcknowledgeTypes of ShareFetch and ShareAcknowledge. */
export const acknowledgeTypes = { gap: 0, accept: 1, release: 2, reject: 3, renew: 4 } as const;

/** Offsets of one state, as `__share_group_state` has them; both ends belong to it. */
export interface ShareStateBatch {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly deliveryState: number;
  readonly deliveryCount: number;
}

/** The durable state of a share partition; a start offset of −1 says that it has none yet. */
export interface StoredShareState {
  readonly stateEpoch: number;
  readonly startOffset: number;
  readonly batches: readonly ShareStateBatch[];
}

export interface ShareStateUpdate {
  readonly stateEpoch: number;
  readonly leaderEpoch: number;
  readonly startOffset: number;
  /** Finished records at and behind the start offset (KIP-1226). */
  readonly deliveryCompleteCount: number;
  readonly batches: readonly ShareStateBatch[];
}

/** PORT to the share coordinator: the durable state of one share partition. Errors are its wire errors. */
export interface SharePersister {
  read(leaderEpoch: number, done: (error: number, state: StoredShareState | null) => void): void;
  write(update: ShareStateUpdate, done: (error: number) => void): void;
}

export type ShareReset =
  | { readonly at: 'latest' | 'earliest' }
  | { readonly at: 'duration'; readonly durationMs: number };

/** Configs of a share group in force; Kafka's names are share.* of groups. */
export interface ShareSettings {
  readonly lockMs: number;
  readonly deliveriesMax: number;
  /** Records between the start offset and the newest acquired one. */
  readonly locksMax: number;
  readonly committed: boolean;
  readonly reset: ShareReset;
  readonly renewals: boolean;
}

export interface SharePartitionName {
  readonly topicId: string;
  readonly partition: number;
}

/** Offsets of a member, with how often they have been delivered, this time included. */
export interface AcquiredRange {
  readonly firstOffset: number;
  readonly lastOffset: number;
  readonly deliveryCount: number;
}

export interface AcquireLimits {
  readonly recordsMax: number;
  readonly bytesMax: number;
  /** Fewer bytes are left for later, unless `force`. */
  readonly bytesMin: number;
  readonly force: boolean;
  /** Not one record more than `recordsMax`; else whole batches. */
  readonly strict: boolean;
  /** Acquired ranges of an answer are cut at batches to about this many records. */
  readonly rangeRecords: number;
}

export interface Acquired {
  readonly error: number;
  readonly ranges: readonly AcquiredRange[];
  /** Where to read, and how many bytes reach to the end of the last range. */
  readonly from: number;
  readonly bytes: number;
  /** State of the share partition when it was looked at: a wait that names it misses no change. */
  readonly version: number;
}

export interface SharePartitionSeen extends SharePartitionName {
  readonly version: number;
}

export interface AcknowledgedBatch {
  readonly firstOffset: number;
  readonly lastOffset: number;
  /** One for all, or one per offset. */
  readonly types: readonly number[];
}

export interface PartitionAcknowledgement extends SharePartitionName {
  readonly batches: readonly AcknowledgedBatch[];
}

export interface PartitionGivenBack extends SharePartitionName {
  readonly ranges: readonly AcquiredRange[];
}

export interface SharePartitionsApi {
  settings(groupId: string): ShareSettings;
  /** Acquires from the partitions in their order, within the limits over all of them; results in the same order. */
  acquire(
    groupId: string,
    memberId: string,
    partitions: readonly SharePartitionName[],
    limits: AcquireLimits,
    done: (results: readonly Acquired[]) => void,
  ): void;
  /** `done` gets a wire error per partition when what they say is durable. */
  acknowledge(
    groupId: string,
    memberId: string,
    partitions: readonly PartitionAcknowledgement[],
    done: (errors: readonly number[]) => void,
  ): void;
  /** Records that were acquired and never sent: as if they had not been delivered. */
  giveBack(groupId: string, memberId: string, partitions: readonly PartitionGivenBack[]): void;
  /** All that the member still holds is available again, as delivered; `done` when that is known where the partitions are. */
  release(
    groupId: string,
    memberId: string,
    partitions: readonly SharePartitionName[],
    done: () => void,
  ): void;
  /**
   * Nobody of the group is in a session of the caller's shard any more: its state may change behind the partitions that are kept, so
   * those that nobody holds anything of are read anew when they are wanted again.
   */
  left(groupId: string): void;
  /** Runs `done` once: when a partition has changed since it was seen, or when the time is over. */
  wait(groupId: string, partitions: readonly SharePartitionSeen[], waitMs: number, done: () => void): void;
}

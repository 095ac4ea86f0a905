/** Limits and times of the group coordinator. Names in comments are Kafka's, or Millrace's own where Kafka has no limit. */
export interface GroupSettings {
  /** `group.min.session.timeout.ms`, `group.max.session.timeout.ms`. */
  readonly sessionTimeoutMsMin: number;
  readonly sessionTimeoutMsMax: number;
  /** `group.initial.rebalance.delay.ms`: how long an empty group waits for more members. */
  readonly initialRebalanceDelayMs: number;
  /** `group.max.size`: members of one group, those with a member id not used yet included. */
  readonly groupSizeMax: number;
  /** `offset.metadata.max.bytes`: UTF-8 bytes of the text that may go with one offset. */
  readonly offsetMetadataBytesMax: number;
  /** `offsets.retention.minutes`, in milliseconds. */
  readonly offsetsRetentionMs: number;
  /** `offsets.retention.check.interval.ms`. */
  readonly offsetsRetentionCheckMs: number;
  /** Groups of one offsets partition; a new group beyond it is answered COORDINATOR_NOT_AVAILABLE. */
  readonly groupsPerPartitionMax: number;
  /** Protocol metadata of one joining member, all protocols together. */
  readonly memberMetadataBytesMax: number;
  /** One batch of records: a group with all its members, or the offsets of one commit. */
  readonly recordsBytesMax: number;
  /** Appended, not yet durable bytes of one partition; a commit beyond is answered COORDINATOR_LOAD_IN_PROGRESS. */
  readonly pendingBytesMax: number;
  /** Records of one offsets partition from which a snapshot of the live ones may shorten its log. */
  readonly snapshotRecordsMin: number;
  /** Pause before a load that failed is tried again. */
  readonly reloadDelayMs: number;
  /** `group.consumer.max.size`: members of one group of the consumer protocol. */
  readonly consumerSizeMax: number;
  /** `group.consumer.migration.policy`. */
  readonly migration: MigrationPolicy;
  /** Different regexes that the members of one group may subscribe with. */
  readonly regexesMax: number;
  /** Pause before regexes are resolved again because topics came or went. */
  readonly regexRefreshMs: number;
}

/** Whether groups with members may change between the classic and the consumer protocol, and in which direction. */
export type MigrationPolicy = 'bidirectional' | 'upgrade' | 'downgrade' | 'disabled';

/** Configs of one group of the consumer protocol: its own, else the broker's. */
export interface ConsumerLimits {
  /** `consumer.session.timeout.ms`. */
  readonly sessionTimeoutMs: number;
  /** `consumer.heartbeat.interval.ms`. */
  readonly heartbeatIntervalMs: number;
  /** `consumer.assignment.interval.ms`. */
  readonly assignmentIntervalMs: number;
}

export const defaultConsumerLimits: ConsumerLimits = {
  sessionTimeoutMs: 45_000,
  heartbeatIntervalMs: 5_000,
  assignmentIntervalMs: 1_000,
};

/** A member that has a session keeps its first, parked join this long: the client behind it may be gone. */
export const newMemberJoinTimeoutMs = 300_000;

export const defaultGroupSettings: GroupSettings = {
  sessionTimeoutMsMin: 6_000,
  sessionTimeoutMsMax: 1_800_000,
  initialRebalanceDelayMs: 3_000,
  groupSizeMax: 2_147_483_647,
  offsetMetadataBytesMax: 4_096,
  offsetsRetentionMs: 7 * 24 * 60 * 60 * 1_000,
  offsetsRetentionCheckMs: 600_000,
  // 50 partitions × 20,000 groups: a million groups a cluster; an idle group is about 1 KiB, so 20 MB a partition.
  groupsPerPartitionMax: 20_000,
  memberMetadataBytesMax: 512 * 1024,
  // Below Kafka's default max.message.bytes (1,048,588) by room for the batch header and the keys.
  recordsBytesMax: 1_000_000,
  pendingBytesMax: 16 * 1024 * 1024,
  // A load of 50 such partitions reads half a million records, some 50 MB: under two seconds.
  snapshotRecordsMin: 10_000,
  reloadDelayMs: 1_000,
  consumerSizeMax: 2_147_483_647,
  migration: 'bidirectional',
  regexesMax: 100,
  regexRefreshMs: 10_000,
};

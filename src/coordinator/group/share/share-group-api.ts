/** Questions about share groups to the coordinator of their shard (KIP-932). Each `done` runs once; errors are wire errors. */

export interface TopicParts {
  readonly topicId: string;
  readonly partitions: readonly number[];
}

export interface ShareHeartbeatQuery {
  readonly groupId: string;
  readonly memberId: string;
  /** 0 joins, −1 leaves, else the epoch that the member was told. */
  readonly memberEpoch: number;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  /** Null: as before. */
  readonly topics: readonly string[] | null;
}

export interface ShareHeartbeatAnswer {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly memberEpoch: number;
  readonly heartbeatIntervalMs: number;
  /** Null: as before. */
  readonly assignment: readonly TopicParts[] | null;
}

export interface DescribedShareMember {
  readonly memberId: string;
  readonly rackId: string | null;
  readonly memberEpoch: number;
  readonly clientId: string;
  readonly clientHost: string;
  readonly topics: readonly string[];
  readonly assignment: readonly TopicParts[];
}

export interface DescribedShareGroup {
  readonly state: string;
  readonly epoch: number;
  readonly assignmentEpoch: number;
  readonly members: readonly DescribedShareMember[];
}

export interface NamedPartition {
  readonly partition: number;
  readonly startOffset: number;
}

export interface NamedTopic {
  readonly name: string;
  readonly partitions: readonly NamedPartition[];
}

export interface NamedResult {
  readonly name: string;
  readonly topicId: string;
  readonly errorCode: number;
  readonly partitions: readonly { readonly partition: number; readonly errorCode: number }[];
}

export interface ShareTopic {
  readonly topicId: string;
  readonly name: string;
  readonly partitions: readonly number[];
}

export interface ShareGroupSettings {
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly assignmentIntervalMs: number;
  /** `group.share.max.size`. */
  readonly membersMax: number;
}

/** PORTS of share groups to what lies outside their partition of `__consumer_offsets`. */
export interface ShareGroupPorts {
  settings(groupId: string): ShareGroupSettings;
  /** A topic as it is now, null when there is none. */
  topic(name: string): { readonly topicId: string; readonly partitions: number } | null;
  /** The share coordinator's, of whatever shard (coordinator/share/share-state-api.ts). */
  initialize(
    key: { readonly groupId: string; readonly topicId: string; readonly partition: number },
    stateEpoch: number,
    startOffset: number,
    done: (error: number) => void,
  ): void;
  delete(
    key: { readonly groupId: string; readonly topicId: string; readonly partition: number },
    done: (error: number) => void,
  ): void;
  /** Share partitions of the group that shards hold in memory are not up to date: they are read again when wanted. */
  forget(groupId: string): void;
}

/**
 * What request handlers ask of a group coordinator, and what they get back. Plain values; wire codes as numbers.
 * Every `done` is called exactly once, now or later: parked joins and syncs end at the latest when the coordinator's
 * partition is unloaded (NOT_COORDINATOR).
 */
import type { TransactionalProducer } from '../runtime/coordinator-log.ts';
import type { TopicPartitionList } from './consumer/assignment.ts';
import type { GroupState } from './group-state.ts';
import type { ShareGroups } from './share/share-groups.ts';
import type {
  StreamsDescribeAnswer,
  StreamsHeartbeatAnswer,
  StreamsHeartbeatQuery,
} from './streams/streams-group-api.ts';

export interface MemberProtocol {
  readonly name: string;
  readonly metadata: Buffer;
}

/** A protocol as a request brings it: a view into its frame. */
export interface OfferedProtocol {
  readonly name: string;
  readonly metadata: Uint8Array;
}

export interface JoinQuery {
  readonly groupId: string;
  readonly memberId: string;
  readonly instanceId: string | null;
  /** KIP-394 (JoinGroup v4): a dynamic member without id gets one and joins again. */
  readonly memberIdRequired: boolean;
  /** JoinGroup v9: the leader may be told to keep the assignment it has. */
  readonly canSkipAssignment: boolean;
  readonly clientId: string;
  readonly clientHost: string;
  readonly sessionTimeoutMs: number;
  /** -1 before JoinGroup v1: the session timeout counts. */
  readonly rebalanceTimeoutMs: number;
  readonly protocolType: string;
  readonly protocols: readonly OfferedProtocol[];
}

export interface JoinedMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly metadata: Buffer;
}

export interface JoinAnswer {
  readonly errorCode: number;
  readonly generation: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly leaderId: string;
  readonly memberId: string;
  readonly skipAssignment: boolean;
  /** Filled for the leader only. */
  readonly members: readonly JoinedMember[];
}

export interface SyncQuery {
  readonly groupId: string;
  readonly generation: number;
  readonly memberId: string;
  readonly instanceId: string | null;
  /** null = not sent, not compared. */
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignments: readonly { readonly memberId: string; readonly assignment: Uint8Array }[];
}

export interface SyncAnswer {
  readonly errorCode: number;
  readonly protocolType: string | null;
  readonly protocolName: string | null;
  readonly assignment: Buffer;
}

export interface HeartbeatQuery {
  readonly groupId: string;
  readonly generation: number;
  readonly memberId: string;
  readonly instanceId: string | null;
}

/** A heartbeat of the consumer protocol (KIP-848). null and −1 stand for unchanged. */
export interface ConsumerHeartbeatQuery {
  readonly groupId: string;
  /** Empty only in v0: the coordinator makes one. */
  readonly memberId: string;
  /** 0 joins, −1 leaves, −2 leaves for a while (static members). */
  readonly memberEpoch: number;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly rebalanceTimeoutMs: number;
  readonly topics: readonly string[] | null;
  readonly regex: string | null;
  readonly assignor: string | null;
  /** What the client owns. */
  readonly owned: readonly TopicPartitionList[] | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly version: number;
}

export interface ConsumerHeartbeatAnswer {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly heartbeatIntervalMs: number;
  /** null = unchanged. */
  readonly assignment: readonly TopicPartitionList[] | null;
}

export interface DescribedConsumer {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly memberEpoch: number;
  readonly clientId: string;
  readonly clientHost: string;
  readonly topics: readonly string[];
  readonly regex: string | null;
  readonly assignment: readonly TopicPartitionList[];
  readonly target: readonly TopicPartitionList[];
  readonly classic: boolean;
}

export interface ConsumerDescribeAnswer {
  /** GROUP_ID_NOT_FOUND when the group is unknown, or classic. */
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly state: string;
  readonly epoch: number;
  readonly assignmentEpoch: number;
  readonly assignor: string;
  readonly members: readonly DescribedConsumer[];
}

export interface LeavingMember {
  readonly memberId: string;
  readonly instanceId: string | null;
}

export interface LeaveAnswer {
  readonly errorCode: number;
  readonly members: readonly {
    readonly memberId: string;
    readonly instanceId: string | null;
    readonly errorCode: number;
  }[];
}

export interface OffsetToCommit {
  readonly topic: string;
  /** 22 characters, or null when the topic's id is not known. */
  readonly topicId: string | null;
  readonly partition: number;
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
}

export interface CommitQuery extends HeartbeatQuery {
  /** From OffsetCommit v9 a generation of an unknown group is GROUP_ID_NOT_FOUND, before ILLEGAL_GENERATION. */
  readonly unknownGroupCode: number;
  /** OffsetCommit v2-4 only; -1 = the broker's retention. */
  readonly retentionMs: number;
  /** The offsets are part of its transaction (TxnOffsetCommit): they count when its marker commits them. */
  readonly producer?: TransactionalProducer;
  /** For an epoch of a member that is over; absent: STALE_MEMBER_EPOCH. */
  readonly staleEpochCode?: number;
  /** OffsetCommit below v9, whose generation is no member epoch: members of the consumer protocol may not use it. */
  readonly generationOnly?: boolean;
  readonly offsets: readonly OffsetToCommit[];
}

export interface CommittedOffset {
  readonly topic: string;
  readonly topicId: string | null;
  readonly partition: number;
  readonly offset: number;
  readonly leaderEpoch: number;
  readonly metadata: string;
  /** An open transaction may still change it: there is no offset to tell (KIP-447). */
  readonly unstable?: boolean;
}

export interface TopicPartitions {
  readonly topic: string;
  readonly partitions: readonly number[];
}

export interface FetchAnswer {
  readonly errorCode: number;
  /** Durable offsets only; asked-for partitions without one are absent. */
  readonly offsets: readonly CommittedOffset[];
}

/** Member and epoch of an OffsetFetch; null and −1 for whoever is no member. */
export interface OffsetReader {
  readonly memberId: string | null;
  readonly memberEpoch: number;
}

export interface DescribedMember {
  readonly memberId: string;
  readonly instanceId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly metadata: Buffer;
  readonly assignment: Buffer;
}

export interface DescribeAnswer {
  /** GROUP_ID_NOT_FOUND with state Dead for an unknown group. */
  readonly errorCode: number;
  readonly state: GroupState;
  readonly protocolType: string;
  readonly protocolName: string;
  readonly members: readonly DescribedMember[];
}

export interface ListedGroup {
  readonly groupId: string;
  readonly protocolType: string;
  readonly state: string;
  /** As ListGroups names it. */
  readonly groupType: 'classic' | 'consumer' | 'share' | 'streams';
}

export interface OffsetDeleteAnswer {
  readonly errorCode: number;
  /** One code per topic and partition, in the order asked; empty when `errorCode` is set. */
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly errorCode: number }[];
  }[];
}

export interface GroupCoordinator {
  /** Why nothing of the group can be answered here and now: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS; 0 = it can. */
  refusal(groupId: string): number;
  /** The share groups of the group's partition, or the wire error that says why not here and now. */
  shareGroups(groupId: string): ShareGroups | number;
  /** Whether a group of another kind than share has the id; undefined while nobody can tell. */
  isOtherKind(groupId: string): boolean | undefined;
  join(query: JoinQuery, done: (answer: JoinAnswer) => void): void;
  sync(query: SyncQuery, done: (answer: SyncAnswer) => void): void;
  heartbeat(query: HeartbeatQuery, done: (errorCode: number) => void): void;
  leave(groupId: string, members: readonly LeavingMember[], done: (answer: LeaveAnswer) => void): void;
  /** `done` gets one code per offset of the query, in its order. */
  commit(query: CommitQuery, done: (codes: readonly number[]) => void): void;
  /** `topics` null = all; with `requireStable` what open transactions may change is told as unstable. */
  fetch(
    groupId: string,
    topics: readonly TopicPartitions[] | null,
    done: (answer: FetchAnswer) => void,
    requireStable?: boolean,
    /** OffsetFetch v9: a member that says who it is, is held to it. */
    caller?: OffsetReader,
  ): void;
  consumerHeartbeat(query: ConsumerHeartbeatQuery, done: (answer: ConsumerHeartbeatAnswer) => void): void;
  consumerDescribe(groupId: string, done: (answer: ConsumerDescribeAnswer) => void): void;
  streamsHeartbeat(query: StreamsHeartbeatQuery, done: (answer: StreamsHeartbeatAnswer) => void): void;
  streamsDescribe(groupId: string, done: (answer: StreamsDescribeAnswer) => void): void;
  describe(groupId: string, done: (answer: DescribeAnswer) => void): void;
  list(done: (errorCode: number, groups: readonly ListedGroup[]) => void): void;
  deleteGroup(groupId: string, done: (errorCode: number) => void): void;
  deleteOffsets(
    groupId: string,
    topics: readonly TopicPartitions[],
    done: (answer: OffsetDeleteAnswer) => void,
  ): void;
}

/** What request handlers ask of streams groups (KIP-1071), and what they get back. Plain values; wire codes as numbers. */
import type { TaskIds, TaskLists } from './tasks.ts';
import type { InternalTopic, Topology } from './topology.ts';

/** Where members ask each other for their state. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** What keeps a group, or a member, from running as it should; told beside an answer without error. */
export interface StreamsStatus {
  readonly statusCode: number;
  readonly statusDetail: string;
}

export interface TaskOffset {
  readonly subtopologyId: string;
  readonly partition: number;
  readonly offset: number;
}

/** null and −1 stand for unchanged. */
export interface StreamsHeartbeatQuery {
  readonly groupId: string;
  readonly memberId: string;
  /** 0 joins, −1 leaves, −2 leaves for a while (static members). */
  readonly memberEpoch: number;
  /** Of the endpoints that the member knows. */
  readonly endpointEpoch: number;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly rebalanceTimeoutMs: number;
  readonly topology: Topology | null;
  readonly active: readonly TaskIds[] | null;
  readonly standby: readonly TaskIds[] | null;
  readonly warmup: readonly TaskIds[] | null;
  readonly processId: string | null;
  readonly endpoint: Endpoint | null;
  readonly clientTags: readonly { readonly key: string; readonly value: string }[] | null;
  readonly taskOffsets: readonly TaskOffset[] | null;
  readonly taskEndOffsets: readonly TaskOffset[] | null;
  /** The whole application is to end. */
  readonly shutdown: boolean;
  readonly clientId: string;
  readonly clientHost: string;
  readonly version: number;
}

export interface TopicPartitionsNamed {
  readonly topic: string;
  readonly partitions: readonly number[];
}

/** Who answers questions about which input partitions' state. */
export interface EndpointPartitions {
  readonly endpoint: Endpoint;
  readonly active: readonly TopicPartitionsNamed[];
  readonly standby: readonly TopicPartitionsNamed[];
}

export interface StreamsHeartbeatAnswer {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly heartbeatIntervalMs: number;
  readonly taskOffsetIntervalMs: number;
  readonly acceptableLag: number;
  readonly status: readonly StreamsStatus[];
  /** null = unchanged. */
  readonly tasks: TaskLists | null;
  readonly endpointEpoch: number;
  /** null = as the member knows them. */
  readonly endpoints: readonly EndpointPartitions[] | null;
  /** Internal topics that the group waits for. */
  readonly missing: readonly InternalTopic[];
}

export interface DescribedStreamsMember {
  readonly memberId: string;
  readonly memberEpoch: number;
  readonly instanceId: string | null;
  readonly rackId: string | null;
  readonly clientId: string;
  readonly clientHost: string;
  readonly topologyEpoch: number;
  readonly processId: string;
  readonly endpoint: Endpoint | null;
  readonly clientTags: readonly { readonly key: string; readonly value: string }[];
  readonly taskOffsets: readonly TaskOffset[];
  readonly taskEndOffsets: readonly TaskOffset[];
  readonly assignment: TaskLists;
  readonly target: TaskLists;
}

export interface DescribedSubtopology {
  readonly id: string;
  readonly sources: readonly string[];
  readonly sinks: readonly string[];
  readonly repartitions: readonly InternalTopic[];
  readonly changelogs: readonly InternalTopic[];
}

export interface StreamsDescribeAnswer {
  /** GROUP_ID_NOT_FOUND when there is no such streams group. */
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly state: string;
  readonly epoch: number;
  readonly assignmentEpoch: number;
  readonly topology: {
    readonly epoch: number;
    readonly subtopologies: readonly DescribedSubtopology[];
  } | null;
  readonly members: readonly DescribedStreamsMember[];
  readonly assignor: string | null;
}

/** Configs of one streams group: its own, else the broker's. */
export interface StreamsLimits {
  /** `streams.session.timeout.ms`. */
  readonly sessionTimeoutMs: number;
  /** `streams.heartbeat.interval.ms`. */
  readonly heartbeatIntervalMs: number;
  /** `streams.assignment.interval.ms`. */
  readonly assignmentIntervalMs: number;
  /** `streams.initial.rebalance.delay.ms`: how long an empty group waits for more members. */
  readonly initialDelayMs: number;
  /** `streams.num.standby.replicas`. */
  readonly standbyReplicas: number;
  /** `streams.rack.aware.assignment.tags`. */
  readonly rackTags: readonly string[];
  /** `streams.num.warmup.replicas`: warm-ups of a group at a time; 0 = tasks move at once. */
  readonly warmupReplicas: number;
  /** `streams.acceptable.recovery.lag`: records by which the state of a task may lag where it becomes active. */
  readonly acceptableLag: number;
  /** `streams.task.offset.interval.ms`: how often members tell how far their state is. */
  readonly taskOffsetIntervalMs: number;
  /** `group.streams.max.size`. */
  readonly membersMax: number;
}

export const defaultStreamsLimits: StreamsLimits = {
  sessionTimeoutMs: 45_000,
  heartbeatIntervalMs: 5_000,
  assignmentIntervalMs: 1_000,
  initialDelayMs: 3_000,
  standbyReplicas: 0,
  rackTags: [],
  warmupReplicas: 0,
  acceptableLag: 10_000,
  taskOffsetIntervalMs: 60_000,
  membersMax: 2_147_483_647,
};

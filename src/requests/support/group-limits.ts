/** Configs in force for groups, read once for each group that is asked for and kept until any config changes. Shard thread. */
import { type ConsumerLimits, defaultConsumerLimits } from '../../coordinator/group/group-settings.ts';
import {
  defaultStreamsLimits,
  type StreamsLimits,
} from '../../coordinator/group/streams/streams-group-api.ts';

/** Groups whose configs are kept at hand. */
const groupsMax = 10_000;

/** Value that a group follows, its own or the broker's; null when there is none. */
export type GroupConfigReader = (groupId: string, name: string) => string | null;

export class GroupLimits {
  readonly #read: GroupConfigReader;
  readonly #brokerValue: (name: string) => string | null;
  readonly #consumer = new Map<string, ConsumerLimits>();
  readonly #streams = new Map<string, StreamsLimits>();

  constructor(read: GroupConfigReader, brokerValue: (name: string) => string | null) {
    this.#read = read;
    this.#brokerValue = brokerValue;
  }

  clear(): void {
    this.#consumer.clear();
    this.#streams.clear();
  }

  consumer(groupId: string): ConsumerLimits {
    return kept(this.#consumer, groupId, () => {
      const number = this.#numbers(groupId);
      const otherwise = defaultConsumerLimits;
      return {
        sessionTimeoutMs: number('consumer.session.timeout.ms', otherwise.sessionTimeoutMs),
        heartbeatIntervalMs: number('consumer.heartbeat.interval.ms', otherwise.heartbeatIntervalMs),
        assignmentIntervalMs: number('consumer.assignment.interval.ms', otherwise.assignmentIntervalMs),
      };
    });
  }

  streams(groupId: string): StreamsLimits {
    return kept(this.#streams, groupId, () => {
      const number = this.#numbers(groupId);
      const otherwise = defaultStreamsLimits;
      const tags = this.#read(groupId, 'streams.rack.aware.assignment.tags') ?? '';
      return {
        sessionTimeoutMs: number('streams.session.timeout.ms', otherwise.sessionTimeoutMs),
        heartbeatIntervalMs: number('streams.heartbeat.interval.ms', otherwise.heartbeatIntervalMs),
        assignmentIntervalMs: number('streams.assignment.interval.ms', otherwise.assignmentIntervalMs),
        initialDelayMs: number('streams.initial.rebalance.delay.ms', otherwise.initialDelayMs),
        standbyReplicas: number('streams.num.standby.replicas', otherwise.standbyReplicas),
        rackTags: tags
          .split(',')
          .map((tag) => tag.trim())
          .filter((tag) => tag !== ''),
        warmupReplicas: number('streams.num.warmup.replicas', otherwise.warmupReplicas),
        acceptableLag: number('streams.acceptable.recovery.lag', otherwise.acceptableLag),
        taskOffsetIntervalMs: number('streams.task.offset.interval.ms', otherwise.taskOffsetIntervalMs),
        membersMax: Number(this.#brokerValue('group.streams.max.size') ?? otherwise.membersMax),
      };
    });
  }

  #numbers(groupId: string): (name: string, otherwise: number) => number {
    return (name, otherwise) => Number(this.#read(groupId, name) ?? otherwise);
  }
}

function kept<T>(known: Map<string, T>, groupId: string, read: () => T): T {
  let limits = known.get(groupId);
  if (limits === undefined) {
    limits = read();
    if (known.size >= groupsMax) known.clear();
    known.set(groupId, limits);
  }
  return limits;
}

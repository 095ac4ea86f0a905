/**
 * What the handlers of group requests need of the broker. They run on the shard that leads the group's partition
 * (requests/routing.ts), so `coordinator` is that shard's own.
 */
import type { CoordinatorKind } from '../runtime/coordinator-place.ts';
import type { GroupCoordinator } from './group-api.ts';

export interface CoordinatorPlace {
  /** COORDINATOR_NOT_AVAILABLE while the internal topic is being made or its partition has no owner. */
  readonly errorCode: number;
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
}

export interface TopicNames {
  /** 22-character id of a topic, null when there is no such topic. */
  idOf(name: string): string | null;
  nameOf(topicId: string): string | null;
  /** How many partitions the topic has; 0 when there is no such topic. */
  partitionsOf(name: string): number;
}

/** Topics as groups subscribe to them. */
export interface GroupTopics extends TopicNames {
  /** Grows when a topic comes, goes or grows. */
  readonly version: number;
  /** By id; 0 when there is no such topic. */
  partitionCount(topicId: string): number;
  names(): Iterable<string>;
}

export interface GroupServices {
  readonly topics: TopicNames;
  /** Of this shard: answers NOT_COORDINATOR for a group whose partition it does not lead. */
  readonly coordinator: GroupCoordinator;
  /** Who coordinates the key, with the address that the given listener advertises; makes the internal topic. */
  findCoordinator(
    kind: CoordinatorKind,
    key: string,
    listener: string,
    done: (place: CoordinatorPlace) => void,
  ): void;
}

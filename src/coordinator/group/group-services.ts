/**
 * What the handlers of group requests need of the broker. Requests with one group run on the shard that leads the
 * group's partition (`groupOf`), so `coordinatorFor` is that shard's own coordinator; of a request with several groups
 * the first decides, and `coordinatorFor` reaches the others wherever they are.
 */
import type { GroupCoordinator } from './group-api.ts';

/** Key types of FindCoordinator by number. */
export const coordinatorKinds = ['group', 'transaction', 'share'] as const;
export type CoordinatorKind = (typeof coordinatorKinds)[number];

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
}

export interface GroupServices {
  readonly topics: TopicNames;
  /** Never null: a coordinator that does not lead the group's partition answers NOT_COORDINATOR. */
  coordinatorFor(groupId: string): GroupCoordinator;
  /** Every coordinator of this broker. */
  coordinators(): readonly GroupCoordinator[];
  /** Who coordinates the key, with the address that the given listener advertises; makes the internal topic. */
  findCoordinator(
    kind: CoordinatorKind,
    key: string,
    listener: string,
    done: (place: CoordinatorPlace) => void,
  ): void;
}

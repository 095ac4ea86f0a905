/**
 * CONTRACT of a server-side assignor (KIP-848): from the members' subscriptions and their present target to the next target.
 * Pure and deterministic: the same input gives the same answer.
 */
import type { Assignment } from './assignment.ts';

export interface AssignorMember {
  readonly id: string;
  /** Ids of topics that exist, each once. Members with equal subscriptions may share the array. */
  readonly topicIds: readonly string[];
  /** Target so far; may name topics and partitions that are no more. */
  readonly target: Assignment;
}

/** Number of a topic's partitions. */
export type PartitionCount = (topicId: string) => number;

/** Gives every partition of every subscribed topic to exactly one of its subscribers; names every member. */
export type Assignor = (
  members: readonly AssignorMember[],
  partitionsOf: PartitionCount,
) => Map<string, Assignment>;

/** Of groups whose members ask for none. */
export const defaultAssignor = 'uniform';

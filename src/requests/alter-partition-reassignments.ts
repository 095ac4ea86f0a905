/**
 * AlterPartitionReassignments (key 45), versions 0–1. One broker holds every partition, so the one assignment that can be
 * asked for is in force already.
 *
 *   NONE this broker alone                               NO_REASSIGNMENT_IN_PROGRESS null, which cancels
 *   INVALID_REPLICA_ASSIGNMENT nobody, a broker twice, brokers that are not registered
 *   UNKNOWN_TOPIC_OR_PARTITION                            REQUEST_TIMED_OUT a time-out of zero or less
 *
 * Each mention of a partition is answered. v1: AllowReplicationFactorChange is given back; nothing can change it.
 */
import {
  AlterPartitionReassignmentsCodec,
  type AlterPartitionReassignmentsRequest,
  type AlterPartitionReassignmentsResponseInput,
} from '../protocol/generated/alter-partition-reassignments.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { RequestHandler } from './support/handler.ts';
import { expired } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

type Outcome = readonly [error: number, message: string | null];

export function alterPartitionReassignmentsHandler(deps: {
  readonly topics: TopicDirectory;
  readonly nodeId: number;
}): RequestHandler<AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponseInput> {
  const { topics, nodeId } = deps;

  function outcomeOf(name: string, index: number, replicas: readonly number[] | null): Outcome {
    const topic = topics.topicByName(name);
    const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (topic === undefined) return [unknown, `Unable to find a topic named ${name}.`];
    if (topic.partitions[index] === undefined) return [unknown, `Unable to find partition ${name}:${index}.`];
    if (replicas === null) return [ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, null];
    const problem = assignmentProblem(replicas);
    return problem === null
      ? [ErrorCode.NONE, null]
      : [ErrorCode.INVALID_REPLICA_ASSIGNMENT, `The manual partition assignment includes ${problem}.`];
  }

  function assignmentProblem(replicas: readonly number[]): string | null {
    if (replicas.length === 0) return 'an empty replica list';
    const other = replicas.find((replica) => replica !== nodeId);
    if (other !== undefined) return `broker ${other}, but no such broker is registered`;
    return replicas.length > 1 ? `the broker ${nodeId} more than once` : null;
  }

  return {
    codec: AlterPartitionReassignmentsCodec,
    handle(_context, { timeoutMs, allowReplicationFactorChange, topics: asked }, respond) {
      const late = expired(timeoutMs);
      const tooLate: Outcome = [ErrorCode.REQUEST_TIMED_OUT, null];
      respond({
        allowReplicationFactorChange,
        errorCode: late ? ErrorCode.REQUEST_TIMED_OUT : ErrorCode.NONE,
        errorMessage: null,
        responses: asked.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map(({ partitionIndex, replicas }) => {
            const [errorCode, errorMessage] = late ? tooLate : outcomeOf(name, partitionIndex, replicas);
            return { partitionIndex, errorCode, errorMessage };
          }),
        })),
      });
    },
  };
}

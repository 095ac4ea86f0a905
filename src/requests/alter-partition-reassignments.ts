/**
 * AlterPartitionReassignments (key 45), versions 0–1: moves partitions to other brokers, committed by the control plane. The first
 * broker of a list that is there becomes the owner; the present one lets go of the partition once its tail is uploaded.
 *
 *   NONE the move is begun, or the partition is there     NO_REASSIGNMENT_IN_PROGRESS null, which cancels, and nothing moves
 *   INVALID_REPLICA_ASSIGNMENT nobody, a broker twice, brokers that are not registered, or only such that are fenced or leave
 *   UNKNOWN_TOPIC_OR_PARTITION                             REQUEST_TIMED_OUT a time-out of zero or less
 *   INVALID_REPLICATION_FACTOR more than one broker, where v1 wants the number to stay
 *
 * Each mention of a partition is answered. A move that is cancelled goes back to the broker that has the partition.
 */
import type { PartitionImage } from '../metadata/metadata-store.ts';
import { homeOf, isMoving } from '../metadata/owners.ts';
import {
  AlterPartitionReassignmentsCodec,
  type AlterPartitionReassignmentsRequest,
  type AlterPartitionReassignmentsResponseInput,
} from '../protocol/generated/alter-partition-reassignments.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { ControlPlane, PartitionMove } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';
import { ownerAssigned } from './support/manual-assignment.ts';
import { expired, type LimitDeps, withinLimit } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

interface Outcome {
  readonly partitionIndex: number;
  errorCode: number;
  errorMessage: string | null;
}

type Refusal = readonly [error: number, message: string | null];

export interface ReassignmentDeps extends LimitDeps {
  readonly topics: TopicDirectory;
  readonly control: Pick<ControlPlane, 'assign'>;
  readonly nodeId: number;
}

export function alterPartitionReassignmentsHandler(
  deps: ReassignmentDeps,
): RequestHandler<AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponseInput> {
  const { topics, nodeId } = deps;

  function find(name: string, index: number): PartitionImage | Refusal {
    const topic = topics.topicByName(name);
    const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    if (topic === undefined) return [unknown, `Unable to find a topic named ${name}.`];
    return topic.partitions[index] ?? [unknown, `Unable to find partition ${name}:${index}.`];
  }

  /** The broker that the partition is to go to; null = nothing is to be done. */
  function plan(
    partition: PartitionImage,
    replicas: readonly number[] | null,
    mayChangeFactor: boolean,
  ): number | null | Refusal {
    if (replicas === null) {
      return isMoving(partition) ? partition.node : [ErrorCode.NO_REASSIGNMENT_IN_PROGRESS, null];
    }
    const assigned = { partitionIndex: partition.partition, brokerIds: replicas };
    const owner = ownerAssigned(topics.image, nodeId, assigned);
    if (typeof owner === 'string') return [ErrorCode.INVALID_REPLICA_ASSIGNMENT, owner];
    if (replicas.length > 1 && !mayChangeFactor) {
      const message = `The replication factor is changed from 1 to ${replicas.length}`;
      return [ErrorCode.INVALID_REPLICATION_FACTOR, message];
    }
    return owner === homeOf(partition) ? null : owner;
  }

  function serve(
    { topics: asked, timeoutMs, allowReplicationFactorChange }: AlterPartitionReassignmentsRequest,
    respond: (response: AlterPartitionReassignmentsResponseInput) => void,
  ): void {
    const moves: PartitionMove[] = [];
    const moving: Outcome[] = [];
    const responses = asked.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ partitionIndex, replicas }) => {
        const outcome: Outcome = { partitionIndex, errorCode: ErrorCode.NONE, errorMessage: null };
        const found = find(name, partitionIndex);
        const planned = isRefusal(found) ? found : plan(found, replicas, allowReplicationFactorChange);
        if (isRefusal(planned)) [outcome.errorCode, outcome.errorMessage] = planned;
        else if (planned !== null && !isRefusal(found)) {
          moves.push({ topicId: found.topicId, partition: partitionIndex, node: planned });
          moving.push(outcome);
        }
        return outcome;
      }),
    }));
    const answer = { allowReplicationFactorChange, errorMessage: null, responses };
    if (moves.length === 0) {
      respond(answer);
      return;
    }
    withinLimit(deps, timeoutMs, deps.control.assign(moves), (results, failure) => {
      for (const [i, outcome] of moving.entries()) {
        outcome.errorCode = results?.[i]?.error ?? failure;
        outcome.errorMessage = results?.[i]?.message ?? null;
      }
      respond(answer);
    });
  }

  return {
    codec: AlterPartitionReassignmentsCodec,
    handle(_context, request, respond) {
      if (!expired(request.timeoutMs)) {
        serve(request, respond);
        return;
      }
      const errorCode = ErrorCode.REQUEST_TIMED_OUT;
      respond({
        allowReplicationFactorChange: request.allowReplicationFactorChange,
        errorCode,
        errorMessage: null,
        responses: request.topics.map(({ name, partitions }) => ({
          name,
          partitions: partitions.map(({ partitionIndex }) => ({
            partitionIndex,
            errorCode,
            errorMessage: null,
          })),
        })),
      });
    },
  };
}

function isRefusal(found: PartitionImage | number | null | Refusal): found is Refusal {
  return Array.isArray(found);
}

/**
 * CreatePartitions (key 37), versions 0–3; made by the control plane, answered when every shard knows the partitions.
 *
 * Counts are totals. Not more than there are, or an internal topic: INVALID_PARTITIONS; unknown topic: UNKNOWN_TOPIC_OR_PARTITION; a topic twice:
 * INVALID_REQUEST, answered once; a time-out of zero or less: REQUEST_TIMED_OUT, nothing is looked at; manual assignments
 * must name this broker once for each new partition, else INVALID_REPLICA_ASSIGNMENT; more than `partitionsMax` new
 * partitions in one request: POLICY_VIOLATION. Validate only is served. Omitted: quotas (THROTTLING_QUOTA_EXCEEDED).
 */

import {
  CreatePartitionsCodec,
  type CreatePartitionsRequest,
  type CreatePartitionsResponseInput,
  type CreatePartitionsTopic,
} from '../protocol/generated/create-partitions.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { partitionsMax } from './create-topics.ts';
import type { ControlPlane } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';
import { replicasProblem } from './support/manual-assignment.ts';
import { namedTwice, onceEach } from './support/named-twice.ts';
import { expired, type LimitDeps, withinLimit } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface CreatePartitionsDeps extends LimitDeps {
  readonly topics: TopicDirectory;
  readonly control: Pick<ControlPlane, 'createPartitions'>;
  readonly nodeId: number;
}

export function createPartitionsHandler(
  deps: CreatePartitionsDeps,
): RequestHandler<CreatePartitionsRequest, CreatePartitionsResponseInput> {
  const { topics, nodeId } = deps;

  function check(wanted: CreatePartitionsTopic, left: number): [error: number, message: string | null] {
    const { name, count, assignments } = wanted;
    const topic = topics.topicByName(name);
    if (topic === undefined) {
      return [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `Topic ${name} does not exist.`];
    }
    const current = topic.partitions.length;
    if (topic.internal) {
      // Kafka grows them, and loses sight of what the old count has placed.
      const message = `Topic ${name} keeps its ${current} partition(s): they say who coordinates what.`;
      return [ErrorCode.INVALID_PARTITIONS, message];
    }
    if (count === current) {
      return [ErrorCode.INVALID_PARTITIONS, `Topic ${name} has ${current} partition(s) already.`];
    }
    if (count < current) {
      const message = `Topic ${name} has ${current} partition(s), ${count} would not be an increase.`;
      return [ErrorCode.INVALID_PARTITIONS, message];
    }
    const added = count - current;
    if (assignments !== null && assignments.length !== added) {
      const message = `${added} partition(s) would be added, but ${assignments.length} are assigned.`;
      return [ErrorCode.INVALID_REPLICA_ASSIGNMENT, message];
    }
    for (const [i, { brokerIds }] of (assignments ?? []).entries()) {
      const problem = replicasProblem(current + i, brokerIds, nodeId);
      if (problem !== null) return [ErrorCode.INVALID_REPLICA_ASSIGNMENT, problem];
    }
    if (added > left) {
      return [ErrorCode.POLICY_VIOLATION, `One request may create at most ${partitionsMax} partitions.`];
    }
    return [ErrorCode.NONE, null];
  }

  return {
    codec: CreatePartitionsCodec,
    handle(_context, request, respond) {
      const asked = onceEach(request.topics, ({ name }) => name);
      if (expired(request.timeoutMs)) {
        const errorCode = ErrorCode.REQUEST_TIMED_OUT;
        respond({ results: asked.map(({ name }) => ({ name, errorCode, errorMessage: null })) });
        return;
      }
      const twice = namedTwice(request.topics.map(({ name }) => name));
      const growth: { topicId: string; partitions: number }[] = [];
      const places: number[] = [];
      let left = partitionsMax;
      const results = asked.map((wanted, place) => {
        const { name } = wanted;
        if (twice.has(name)) {
          const errorMessage = 'A topic may appear only once in a request.';
          return { name, errorCode: ErrorCode.INVALID_REQUEST as number, errorMessage };
        }
        const [errorCode, errorMessage] = check(wanted, left);
        if (errorCode === ErrorCode.NONE) {
          const topic = topics.topicByName(name)!;
          left -= wanted.count - topic.partitions.length;
          growth.push({ topicId: topic.topicId, partitions: wanted.count });
          places.push(place);
        }
        return { name, errorCode, errorMessage };
      });
      if (request.validateOnly || growth.length === 0) {
        respond({ results });
        return;
      }
      withinLimit(deps, request.timeoutMs, deps.control.createPartitions(growth), (outcomes, failure) => {
        for (const [i, place] of places.entries()) {
          results[place]!.errorCode = outcomes?.[i]?.error ?? failure;
          results[place]!.errorMessage = outcomes?.[i]?.message ?? null;
        }
        respond({ results });
      });
    },
  };
}

/**
 * CreatePartitions (key 37), versions 0–3; made by the control plane, answered when every shard knows the partitions.
 *
 * Counts are totals. Not more than there are, or an internal topic: INVALID_PARTITIONS; unknown topic: UNKNOWN_TOPIC_OR_PARTITION; a topic twice:
 * INVALID_REQUEST, answered once; a time-out of zero or less: REQUEST_TIMED_OUT, nothing is looked at; manual assignments
 * name brokers for each new partition (support/manual-assignment.ts), else INVALID_REPLICA_ASSIGNMENT; more than `partitionsMax` new
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
import type { ControlPlane, TopicGrowth } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';
import { ownersAssigned } from './support/manual-assignment.ts';
import { namedTwice, onceEach } from './support/named-twice.ts';
import { expired, type LimitDeps, withinLimit } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface CreatePartitionsDeps extends LimitDeps {
  readonly topics: TopicDirectory;
  readonly control: Pick<ControlPlane, 'createPartitions'>;
  readonly nodeId: number;
}

interface Refused {
  errorCode: number;
  errorMessage: string | null;
}

const refused = (errorCode: number, errorMessage: string): Refused => ({ errorCode, errorMessage });

export function createPartitionsHandler(
  deps: CreatePartitionsDeps,
): RequestHandler<CreatePartitionsRequest, CreatePartitionsResponseInput> {
  const { topics, nodeId } = deps;

  function check(
    wanted: CreatePartitionsTopic,
    left: number,
  ): Refused | { readonly owners: number[] | null } {
    const { name, count, assignments } = wanted;
    const topic = topics.topicByName(name);
    if (topic === undefined) {
      return refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `Topic ${name} does not exist.`);
    }
    const current = topic.partitions.length;
    if (topic.internal) {
      // Kafka grows them, and loses sight of what the old count has placed.
      const message = `Topic ${name} keeps its ${current} partition(s): they say who coordinates what.`;
      return refused(ErrorCode.INVALID_PARTITIONS, message);
    }
    if (count === current) {
      return refused(ErrorCode.INVALID_PARTITIONS, `Topic ${name} has ${current} partition(s) already.`);
    }
    if (count < current) {
      const message = `Topic ${name} has ${current} partition(s), ${count} would not be an increase.`;
      return refused(ErrorCode.INVALID_PARTITIONS, message);
    }
    const added = count - current;
    if (assignments !== null && assignments.length !== added) {
      const message = `${added} partition(s) would be added, but ${assignments.length} are assigned.`;
      return refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message);
    }
    const assigned = assignments?.map(({ brokerIds }, i) => ({ partitionIndex: current + i, brokerIds }));
    const owners = assigned === undefined ? null : ownersAssigned(topics.image, nodeId, assigned);
    if (typeof owners === 'string') return refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, owners);
    if (added > left) {
      const message = `One request may create at most ${partitionsMax} partitions.`;
      return refused(ErrorCode.POLICY_VIOLATION, message);
    }
    return { owners };
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
      const growth: TopicGrowth[] = [];
      const places: number[] = [];
      let left = partitionsMax;
      const results = asked.map((wanted, place): Refused & { name: string } => {
        const { name } = wanted;
        if (twice.has(name)) {
          const errorMessage = 'A topic may appear only once in a request.';
          return { name, ...refused(ErrorCode.INVALID_REQUEST, errorMessage) };
        }
        const checked = check(wanted, left);
        if ('errorCode' in checked) return { name, ...checked };
        const { topicId, partitions } = topics.topicByName(name)!;
        left -= wanted.count - partitions.length;
        const assignments = checked.owners === null ? {} : { assignments: checked.owners };
        growth.push({ topicId, partitions: wanted.count, ...assignments });
        places.push(place);
        return { name, errorCode: ErrorCode.NONE, errorMessage: null };
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

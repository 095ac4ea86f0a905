/**
 * OffsetFetch (key 9), versions 0-10; v0 reads the offsets topic like all others.
 * v0-1 errors per partition; v2 all topics (null) and a top-level error; v5 leader epoch; v8 many groups; v10 topic ids.
 * Durable offsets only; an unknown group or partition is offset -1 without error.
 * RequireStable (v7, KIP-447): UNSTABLE_OFFSET_COMMIT where an open transaction has committed an offset.
 * Member id and epoch (v9) are compared in groups of the consumer protocol only, as Kafka does.
 */
import type { CommittedOffset, FetchAnswer, TopicPartitions } from '../coordinator/group/group-api.ts';
import type { GroupServices, TopicNames } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  OffsetFetchCodec,
  type OffsetFetchRequest,
  type OffsetFetchRequestGroup,
  type OffsetFetchResponseGroupInput,
  type OffsetFetchResponseInput,
  type OffsetFetchResponsePartitionsInput,
  type OffsetFetchResponseTopicsInput,
} from '../protocol/generated/offset-fetch.ts';
import { inOrder, pick } from './routing.ts';
import type { RequestHandler } from './support/handler.ts';

const manyGroupsVersion = 8;
const topicIdVersion = 10;

export function offsetFetchHandler(
  services: GroupServices,
): RequestHandler<OffsetFetchRequest, OffsetFetchResponseInput> {
  return {
    codec: OffsetFetchCodec,
    route: {
      kind: 'split',
      topic: coordinatorTopics.group,
      keys: (request, version) =>
        version < manyGroupsVersion ? [request.groupId] : request.groups.map(({ groupId }) => groupId),
      part: (request, indexes) => ({ ...request, groups: pick(request.groups, indexes) }),
      merge: (_request, parts) => ({ groups: inOrder(parts, ({ groups }) => groups) }),
      refused(request, errorCode, version) {
        const refused = { errorCode, offsets: [] };
        if (version < manyGroupsVersion) return oneGroup(request, refused, version);
        return { groups: request.groups.map(({ groupId }) => ({ groupId, errorCode, topics: [] })) };
      },
    },
    handle(context, request, respond) {
      const version = context.apiVersion;
      if (version < manyGroupsVersion) {
        const coordinator = services.coordinator;
        const topics = request.topics?.map(({ name, partitionIndexes }) => ({
          topic: name,
          partitions: partitionIndexes,
        }));
        const done = (answer: FetchAnswer) => respond(oneGroup(request, answer, version));
        coordinator.fetch(request.groupId, topics ?? null, done, request.requireStable);
        return;
      }
      const groups: OffsetFetchResponseGroupInput[] = request.groups.map(({ groupId }) => ({ groupId }));
      let waiting = groups.length;
      if (waiting === 0) respond({ groups });
      for (const [i, group] of request.groups.entries()) {
        const byId = version >= topicIdVersion;
        const topics = group.topics === null ? null : namedTopics(group, byId, services.topics);
        const done = (answer: FetchAnswer) => {
          groups[i] = groupAnswer(group, answer, byId, services.topics);
          waiting--;
          if (waiting === 0) respond({ groups });
        };
        services.coordinator.fetch(group.groupId, topics, done, request.requireStable, group);
      }
    },
  };
}

/** The topics of a group's question that exist, by name. */
function namedTopics(group: OffsetFetchRequestGroup, byId: boolean, names: TopicNames): TopicPartitions[] {
  const topics: TopicPartitions[] = [];
  for (const asked of group.topics ?? []) {
    const topic = byId ? names.nameOf(asked.topicId) : asked.name;
    if (topic !== null) topics.push({ topic, partitions: asked.partitionIndexes });
  }
  return topics;
}

function partitionAnswer(
  partitionIndex: number,
  found: CommittedOffset | undefined,
  errorCode: number,
): Required<OffsetFetchResponsePartitionsInput> {
  return {
    partitionIndex,
    committedOffset: found?.offset ?? -1,
    committedLeaderEpoch: found?.leaderEpoch ?? -1,
    metadata: found?.metadata ?? '',
    errorCode: found?.unstable === true ? ErrorCode.UNSTABLE_OFFSET_COMMIT : errorCode,
  };
}

function byTopic(offsets: readonly CommittedOffset[]): Map<string, Map<number, CommittedOffset>> {
  const topics = new Map<string, Map<number, CommittedOffset>>();
  for (const offset of offsets) {
    const partitions = topics.get(offset.topic) ?? new Map<number, CommittedOffset>();
    partitions.set(offset.partition, offset);
    topics.set(offset.topic, partitions);
  }
  return topics;
}

function oneGroup(
  request: OffsetFetchRequest,
  answer: FetchAnswer,
  version: number,
): OffsetFetchResponseInput {
  const { errorCode } = answer;
  if (errorCode !== ErrorCode.NONE && version >= 2) return { errorCode, topics: [] };
  const found = byTopic(answer.offsets);
  const topics =
    request.topics?.map(({ name, partitionIndexes }) => ({
      name,
      partitions: partitionIndexes.map((index) =>
        partitionAnswer(index, found.get(name)?.get(index), errorCode),
      ),
    })) ??
    [...found].map(([name, partitions]) => ({
      name,
      partitions: [...partitions].map(([index, offset]) => partitionAnswer(index, offset, errorCode)),
    }));
  return { errorCode, topics };
}

function groupAnswer(
  group: OffsetFetchRequestGroup,
  { errorCode, offsets }: FetchAnswer,
  byId: boolean,
  names: TopicNames,
): OffsetFetchResponseGroupInput {
  const { groupId } = group;
  if (errorCode !== ErrorCode.NONE) return { groupId, errorCode, topics: [] };
  const found = byTopic(offsets);
  const topics: OffsetFetchResponseTopicsInput[] = [];
  if (group.topics === null) {
    for (const [name, partitions] of found) {
      const topicId = byId ? names.idOf(name) : undefined;
      // An answer by id cannot name a topic that is gone.
      if (topicId === null) continue;
      topics.push({
        name,
        topicId,
        partitions: [...partitions].map(([index, offset]) => partitionAnswer(index, offset, ErrorCode.NONE)),
      });
    }
    return { groupId, errorCode, topics };
  }
  for (const { name, topicId, partitionIndexes } of group.topics) {
    const topic = byId ? names.nameOf(topicId) : name;
    const partitions = topic === null ? undefined : found.get(topic);
    const code = topic === null ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.NONE;
    topics.push({
      name,
      topicId,
      partitions: partitionIndexes.map((index) => {
        const offset = partitions?.get(index);
        // An offset of an earlier topic of this name is no offset of the topic asked for.
        const stale = byId && offset?.topicId != null && offset.topicId !== topicId;
        return partitionAnswer(index, stale ? undefined : offset, code);
      }),
    });
  }
  return { groupId, errorCode, topics };
}

/**
 * OffsetCommit (key 8), versions 0-10; v0 and v1 store in the offsets topic like all others.
 * v2-4 retention of its own; v6 leader epoch; v7 static members; v9 GROUP_ID_NOT_FOUND for a generation of an unknown
 * group; v10 topic ids. Answered when the offsets are durable; a topic that does not exist costs only its own part.
 * Left out: the commit time of v1 (the broker's time counts), member epochs (no group of the consumer protocol here).
 */
import type { OffsetToCommit } from '../coordinator/group/group-api.ts';
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  OffsetCommitCodec,
  type OffsetCommitRequest,
  type OffsetCommitResponseInput,
} from '../protocol/generated/offset-commit.ts';
import type { RequestHandler } from './support/handler.ts';

const topicIdVersion = 10;

export function offsetCommitHandler(
  services: GroupServices,
): RequestHandler<OffsetCommitRequest, OffsetCommitResponseInput> {
  return {
    codec: OffsetCommitCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (request, errorCode) => ({
        topics: request.topics.map(({ name, topicId, partitions }) => ({
          name,
          topicId,
          partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
        })),
      }),
    },
    handle(context, request, respond) {
      const byId = context.apiVersion >= topicIdVersion;
      const offsets: OffsetToCommit[] = [];
      /** By topic and partition: why it cannot be committed to, null where the coordinator decides. */
      const refused: (number | null)[][] = [];
      for (const asked of request.topics) {
        const topic = byId ? services.topics.nameOf(asked.topicId) : asked.name;
        const topicId = byId ? asked.topicId : services.topics.idOf(asked.name);
        if (topic === null || topicId === null) {
          const code = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
          refused.push(asked.partitions.map(() => code));
          continue;
        }
        const count = services.topics.partitionsOf(topic);
        const isThere = (index: number): boolean => index >= 0 && index < count;
        refused.push(
          asked.partitions.map(({ partitionIndex }) =>
            isThere(partitionIndex) ? null : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
          ),
        );
        for (const one of asked.partitions) {
          if (!isThere(one.partitionIndex)) continue;
          offsets.push({
            topic,
            topicId,
            partition: one.partitionIndex,
            offset: one.committedOffset,
            leaderEpoch: one.committedLeaderEpoch,
            metadata: one.committedMetadata ?? '',
          });
        }
      }
      services.coordinator.commit(
        {
          groupId: request.groupId,
          generation: request.generationIdOrMemberEpoch,
          memberId: request.memberId,
          instanceId: request.groupInstanceId,
          unknownGroupCode:
            context.apiVersion >= 9 ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.ILLEGAL_GENERATION,
          retentionMs: request.retentionTimeMs,
          offsets,
        },
        (codes) => {
          let next = 0;
          respond({
            topics: request.topics.map((asked, i) => ({
              name: asked.name,
              topicId: asked.topicId,
              partitions: asked.partitions.map(({ partitionIndex }, j) => ({
                partitionIndex,
                errorCode: refused[i]![j] ?? codes[next++] ?? ErrorCode.UNKNOWN_SERVER_ERROR,
              })),
            })),
          });
        },
      );
    },
  };
}

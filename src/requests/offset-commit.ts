/**
 * OffsetCommit (key 8), versions 0-10; v0 and v1 store in the offsets topic like all others.
 * v2-4 retention of its own; v6 leader epoch; v7 static members; v9 GROUP_ID_NOT_FOUND for a generation of an unknown
 * group; v10 topic ids. Answered when the offsets are durable; a topic that does not exist costs only its own part.
 * In v9 and above the generation may be a member epoch (KIP-848); below, members of the consumer protocol are refused.
 * Left out: the commit time of v1 (the broker's time counts).
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  OffsetCommitCodec,
  type OffsetCommitRequest,
  type OffsetCommitResponseInput,
} from '../protocol/generated/offset-commit.ts';
import type { RequestHandler } from './support/handler.ts';
import { answerAll, OffsetsToCommit } from './support/offsets-to-commit.ts';

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
      refused: (request, errorCode) => ({ topics: answerAll(request.topics, errorCode) }),
    },
    handle(context, request, respond) {
      const byId = context.apiVersion >= topicIdVersion;
      const asked = new OffsetsToCommit(request.topics, services.topics, byId);
      services.coordinator.commit(
        {
          groupId: request.groupId,
          generation: request.generationIdOrMemberEpoch,
          memberId: request.memberId,
          instanceId: request.groupInstanceId,
          unknownGroupCode:
            context.apiVersion >= 9 ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.ILLEGAL_GENERATION,
          generationOnly: context.apiVersion < 9,
          retentionMs: request.retentionTimeMs,
          offsets: asked.offsets,
        },
        (codes) => respond({ topics: asked.answer(codes) }),
      );
    },
  };
}

/**
 * AlterShareGroupOffsets (key 91), version 0 (KIP-932): where an empty share group begins again. NON_EMPTY_GROUP with members,
 * UNKNOWN_TOPIC_OR_PARTITION and, for an offset below 0, INVALID_REQUEST per partition. Answered when durable; delivery counts and acknowledgements of before are gone.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import {
  AlterShareGroupOffsetsCodec,
  type AlterShareGroupOffsetsRequest,
  type AlterShareGroupOffsetsResponseInput,
} from '../protocol/generated/alter-share-group-offsets.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import { ZERO_UUID } from '../protocol/primitives.ts';
import type { RequestHandler } from './support/handler.ts';
import { refusal, shareGroupsOf } from './support/share-groups-of.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export function alterShareGroupOffsetsHandler({
  groups,
  topics,
}: {
  readonly groups: GroupServices;
  readonly topics: TopicDirectory;
}): RequestHandler<AlterShareGroupOffsetsRequest, AlterShareGroupOffsetsResponseInput> {
  return {
    codec: AlterShareGroupOffsetsCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode, responses: [] }),
    },
    handle(_context, { groupId, topics: asked }, respond) {
      if (groupId === '') {
        const errorCode = ErrorCode.INVALID_GROUP_ID;
        respond({ errorCode, errorMessage: errorName(errorCode), responses: [] });
        return;
      }
      const found = shareGroupsOf(groups.coordinator, groupId);
      if (found.groups === null) {
        const { errorCode, errorMessage } = found;
        respond({ errorCode, errorMessage, responses: [] });
        return;
      }
      const wanted = asked.map(({ topicName, partitions }) => {
        const topic = topics.topicByName(topicName);
        const known = partitions.filter(
          ({ partitionIndex, startOffset }) =>
            topic?.partitions[partitionIndex] !== undefined && startOffset >= 0,
        );
        return {
          topic: {
            topicId: topic?.topicId ?? ZERO_UUID,
            name: topicName,
            partitions: known.map(({ partitionIndex }) => partitionIndex),
          },
          startOffsets: known.map(({ startOffset }) => startOffset),
        };
      });
      const altered = wanted.filter(({ topic }) => topic.partitions.length > 0);
      found.groups.admin.alter(groupId, altered, (errorCode, errors) => {
        if (errorCode !== ErrorCode.NONE) {
          respond({ ...refusal(errorCode, groupId), responses: [] });
          return;
        }
        respond({
          responses: asked.map(({ topicName, partitions }, t) => {
            const { topic } = wanted[t]!;
            const at = altered.indexOf(wanted[t]!);
            return {
              topicName,
              topicId: topic.topicId,
              partitions: partitions.map(({ partitionIndex, startOffset }) => {
                const place = topic.partitions.indexOf(partitionIndex);
                const unknown =
                  startOffset < 0 ? ErrorCode.INVALID_REQUEST : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
                const code = place < 0 ? unknown : errors[at]![place]!;
                return {
                  partitionIndex,
                  errorCode: code,
                  errorMessage: code === ErrorCode.NONE ? null : errorName(code),
                };
              }),
            };
          }),
        });
      });
    },
  };
}

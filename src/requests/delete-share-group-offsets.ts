/**
 * DeleteShareGroupOffsets (key 92), version 0 (KIP-932): an empty share group forgets topics. NON_EMPTY_GROUP with members,
 * UNKNOWN_TOPIC_OR_PARTITION for topics that are not there, or of which it has none. Answered when durable.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import {
  DeleteShareGroupOffsetsCodec,
  type DeleteShareGroupOffsetsRequest,
  type DeleteShareGroupOffsetsResponseInput,
} from '../protocol/generated/delete-share-group-offsets.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import { ZERO_UUID } from '../protocol/primitives.ts';
import type { RequestHandler } from './support/handler.ts';
import { refusal, shareGroupsOf } from './support/share-groups-of.ts';

export function deleteShareGroupOffsetsHandler(
  services: GroupServices,
): RequestHandler<DeleteShareGroupOffsetsRequest, DeleteShareGroupOffsetsResponseInput> {
  return {
    codec: DeleteShareGroupOffsetsCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode, responses: [] }),
    },
    handle(_context, { groupId, topics }, respond) {
      if (groupId === '') {
        const errorCode = ErrorCode.INVALID_GROUP_ID;
        respond({ errorCode, errorMessage: errorName(errorCode), responses: [] });
        return;
      }
      const found = shareGroupsOf(services.coordinator, groupId);
      if (found.groups === null) {
        const { errorCode, errorMessage } = found;
        respond({ errorCode, errorMessage, responses: [] });
        return;
      }
      const ids = topics.map(({ topicName }) => services.topics.idOf(topicName));
      const known = ids.filter((id) => id !== null);
      found.groups.admin.deleteOffsets(groupId, known, (errorCode, errors) => {
        if (errorCode !== ErrorCode.NONE) {
          respond({ ...refusal(errorCode, groupId), responses: [] });
          return;
        }
        respond({
          responses: topics.map(({ topicName }, i) => {
            const topicId = ids[i] ?? null;
            const code =
              topicId === null ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : errors[known.indexOf(topicId)]!;
            return {
              topicName,
              topicId: code === ErrorCode.NONE ? topicId! : ZERO_UUID,
              errorCode: code,
              errorMessage: code === ErrorCode.NONE ? null : errorName(code),
            };
          }),
        });
      });
    },
  };
}

/**
 * OffsetDelete (key 47), version 0.
 * GROUP_SUBSCRIBED_TO_TOPIC per topic that the group still consumes, NON_EMPTY_GROUP for a group with members whose
 * subscriptions cannot be read, UNKNOWN_TOPIC_OR_PARTITION for what does not exist. Answered when durable.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  OffsetDeleteCodec,
  type OffsetDeleteRequest,
  type OffsetDeleteResponseInput,
} from '../protocol/generated/offset-delete.ts';
import type { RequestHandler } from './support/handler.ts';

export function offsetDeleteHandler(
  services: GroupServices,
): RequestHandler<OffsetDeleteRequest, OffsetDeleteResponseInput> {
  return {
    codec: OffsetDeleteCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode, topics: [] }),
    },
    handle(_context, request, respond) {
      const counts = request.topics.map(({ name }) => services.topics.partitionsOf(name));
      const isThere = (index: number, topic: number): boolean => index >= 0 && index < counts[topic]!;
      const known = request.topics.flatMap(({ name, partitions }, i) =>
        counts[i] === 0
          ? []
          : {
              topic: name,
              partitions: partitions
                .map(({ partitionIndex }) => partitionIndex)
                .filter((index) => isThere(index, i)),
            },
      );
      services.coordinator.deleteOffsets(request.groupId, known, (answer) => {
        if (answer.errorCode !== ErrorCode.NONE) {
          respond({ errorCode: answer.errorCode, topics: [] });
          return;
        }
        let next = 0;
        respond({
          errorCode: ErrorCode.NONE,
          topics: request.topics.map(({ name, partitions }, i) => {
            const codes = counts[i] === 0 ? undefined : answer.topics[next++]?.partitions;
            let known = 0;
            return {
              name,
              partitions: partitions.map(({ partitionIndex }) => ({
                partitionIndex,
                errorCode:
                  (isThere(partitionIndex, i) ? codes?.[known++]?.errorCode : undefined) ??
                  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
              })),
            };
          }),
        });
      });
    },
  };
}

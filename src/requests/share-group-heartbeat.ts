/**
 * ShareGroupHeartbeat (key 76), version 1 (KIP-932): joins, goes on, leaves. The broker assigns; members are told nothing to give
 * up, since a partition may belong to several. A join waits some seconds for the group's first target. Answered when durable.
 */

import type { GroupServices } from '../coordinator/group/group-services.ts';
import { isBlank } from '../coordinator/group/group-state.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ShareGroupHeartbeatCodec,
  type ShareGroupHeartbeatRequest,
  type ShareGroupHeartbeatResponseInput,
} from '../protocol/generated/share-group-heartbeat.ts';
import type { RequestHandler } from './support/handler.ts';
import { isMemberId } from './support/share-answers.ts';
import { shareGroupsOf } from './support/share-groups-of.ts';

export function shareGroupHeartbeatHandler(
  services: GroupServices,
): RequestHandler<ShareGroupHeartbeatRequest, ShareGroupHeartbeatResponseInput> {
  return {
    codec: ShareGroupHeartbeatCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle(context, request, respond) {
      const { groupId, memberId, memberEpoch, rackId, subscribedTopicNames: topics } = request;
      const problem = isMemberId(memberId) ? (isBlank(groupId) ? 'GroupId' : null) : 'MemberId';
      if (problem !== null) {
        respond({ errorCode: ErrorCode.INVALID_REQUEST, errorMessage: `${problem} is empty or too long.` });
        return;
      }
      const found = shareGroupsOf(services.coordinator, groupId);
      if (found.groups === null) {
        respond({ errorCode: found.errorCode, errorMessage: found.errorMessage });
        return;
      }
      const { clientHost } = context;
      const clientId = context.clientId ?? '';
      found.groups.heartbeat(
        { groupId, memberId, memberEpoch, rackId, clientId, clientHost, topics },
        ({ assignment, ...answer }) =>
          respond({
            ...answer,
            memberId: answer.errorCode === ErrorCode.NONE ? memberId : null,
            assignment: assignment && { topicPartitions: assignment },
          }),
      );
    },
  };
}

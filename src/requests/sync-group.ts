/**
 * SyncGroup (key 14), versions 0-5.
 * v3 static members; v5 protocol type and name are compared with the group's. Followers wait for the leader's
 * assignment, all wait for it to be durable.
 */
import { syncError } from '../coordinator/group/group.ts';
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import {
  SyncGroupCodec,
  type SyncGroupRequest,
  type SyncGroupResponseInput,
} from '../protocol/generated/sync-group.ts';
import type { RequestHandler } from './support/handler.ts';

export function syncGroupHandler(
  services: GroupServices,
): RequestHandler<SyncGroupRequest, SyncGroupResponseInput> {
  return {
    codec: SyncGroupCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => syncError(errorCode),
    },
    handle(_context, request, respond) {
      services.coordinator.sync(
        {
          groupId: request.groupId,
          generation: request.generationId,
          memberId: request.memberId,
          instanceId: request.groupInstanceId,
          protocolType: request.protocolType,
          protocolName: request.protocolName,
          assignments: request.assignments,
        },
        respond,
      );
    },
  };
}

/**
 * SyncGroup (key 14), versions 0-5.
 * v3 static members; v5 protocol type and name are compared with the group's. Followers wait for the leader's
 * assignment, all wait for it to be durable.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
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
    groupOf: (request) => request.groupId,
    handle(_context, request, respond) {
      services.coordinatorFor(request.groupId).sync(
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

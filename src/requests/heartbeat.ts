/**
 * Heartbeat (key 12), versions 0-4. v3 static members. Answered at once from memory.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import {
  HeartbeatCodec,
  type HeartbeatRequest,
  type HeartbeatResponseInput,
} from '../protocol/generated/heartbeat.ts';
import type { RequestHandler } from './support/handler.ts';

export function heartbeatHandler(
  services: GroupServices,
): RequestHandler<HeartbeatRequest, HeartbeatResponseInput> {
  return {
    codec: HeartbeatCodec,
    groupOf: (request) => request.groupId,
    handle(_context, request, respond) {
      services.coordinatorFor(request.groupId).heartbeat(
        {
          groupId: request.groupId,
          generation: request.generationId,
          memberId: request.memberId,
          instanceId: request.groupInstanceId,
        },
        (errorCode) => respond({ errorCode }),
      );
    },
  };
}

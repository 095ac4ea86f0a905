/**
 * Heartbeat (key 12), versions 0-4. v3 static members. Answered at once from memory.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
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
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle(_context, request, respond) {
      services.coordinator.heartbeat(
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

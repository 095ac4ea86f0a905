/**
 * LeaveGroup (key 13), versions 0-5.
 * v0-2 one member, its code at the top; v3+ many members, a code each, and an instance id alone is enough (KIP-345).
 * Left out: Reason (v5) is not kept.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  LeaveGroupCodec,
  type LeaveGroupRequest,
  type LeaveGroupResponseInput,
} from '../protocol/generated/leave-group.ts';
import type { RequestHandler } from './support/handler.ts';

export function leaveGroupHandler(
  services: GroupServices,
): RequestHandler<LeaveGroupRequest, LeaveGroupResponseInput> {
  return {
    codec: LeaveGroupCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle(context, request, respond) {
      const single = context.apiVersion < 3;
      const leaving = single
        ? [{ memberId: request.memberId, instanceId: null }]
        : request.members.map(({ memberId, groupInstanceId }) => ({ memberId, instanceId: groupInstanceId }));
      services.coordinator.leave(request.groupId, leaving, ({ errorCode, members }) => {
        if (single) {
          respond({
            errorCode: errorCode === ErrorCode.NONE ? (members[0]?.errorCode ?? errorCode) : errorCode,
          });
          return;
        }
        respond({
          errorCode,
          members: members.map((member) => ({
            memberId: member.memberId,
            groupInstanceId: member.instanceId,
            errorCode: member.errorCode,
          })),
        });
      });
    },
  };
}

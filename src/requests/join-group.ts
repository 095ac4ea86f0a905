/**
 * JoinGroup (key 11), versions 0-9.
 * v1 rebalance time-out of its own; v4 MEMBER_ID_REQUIRED (KIP-394); v5 static members (KIP-345); v7 protocol type in
 * the answer; v9 SkipAssignment. Held until the group's rebalance is complete.
 * Left out: Reason (v8) is not kept.
 */
import { joinError } from '../coordinator/group/group.ts';
import type { JoinAnswer } from '../coordinator/group/group-api.ts';
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import {
  JoinGroupCodec,
  type JoinGroupRequest,
  type JoinGroupResponseInput,
} from '../protocol/generated/join-group.ts';
import type { RequestHandler } from './support/handler.ts';

export function joinGroupHandler(
  services: GroupServices,
): RequestHandler<JoinGroupRequest, JoinGroupResponseInput> {
  return {
    codec: JoinGroupCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (request, errorCode, version) => joinResponse(joinError(errorCode, request.memberId), version),
    },
    handle(context, request, respond) {
      const version = context.apiVersion;
      services.coordinator.join(
        {
          groupId: request.groupId,
          memberId: request.memberId,
          instanceId: request.groupInstanceId,
          memberIdRequired: version >= 4,
          canSkipAssignment: version >= 9,
          clientId: context.clientId ?? '',
          clientHost: context.clientHost,
          sessionTimeoutMs: request.sessionTimeoutMs,
          rebalanceTimeoutMs: request.rebalanceTimeoutMs,
          protocolType: request.protocolType,
          protocols: request.protocols,
        },
        (answer) => respond(joinResponse(answer, version)),
      );
    },
  };
}

function joinResponse(answer: JoinAnswer, version: number): JoinGroupResponseInput {
  return {
    errorCode: answer.errorCode,
    generationId: answer.generation,
    protocolType: answer.protocolType,
    // Nullable from v7; before, an empty name stands for none.
    protocolName: answer.protocolName ?? (version >= 7 ? null : ''),
    leader: answer.leaderId,
    skipAssignment: answer.skipAssignment,
    memberId: answer.memberId,
    members: answer.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.instanceId,
      metadata: member.metadata,
    })),
  };
}

/**
 * DescribeGroups (key 15), versions 0-6.
 * v3 authorized operations; v4 instance ids; v6 GROUP_ID_NOT_FOUND for an unknown group, before that state Dead without
 * error. Metadata and assignments of members appear only while the group is Stable.
 */
import type { DescribeAnswer } from '../coordinator/group/group-api.ts';
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { groupStates } from '../coordinator/group/group-state.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import {
  DescribeGroupsCodec,
  type DescribeGroupsRequest,
  type DescribeGroupsResponseDescribedGroupInput,
  type DescribeGroupsResponseInput,
} from '../protocol/generated/describe-groups.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { inOrder, pick } from './routing.ts';
import { groupOperations, operationsNotAsked } from './support/authorized-operations.ts';
import type { RequestHandler } from './support/handler.ts';

const notFoundVersion = 6;
const nothingKnown = { state: groupStates.dead, protocolType: '', protocolName: '', members: [] } as const;

export function describeGroupsHandler(
  services: GroupServices,
): RequestHandler<DescribeGroupsRequest, DescribeGroupsResponseInput> {
  return {
    codec: DescribeGroupsCodec,
    route: {
      kind: 'split',
      topic: coordinatorTopics.group,
      keys: (request) => request.groups,
      part: (request, indexes) => ({ ...request, groups: pick(request.groups, indexes) }),
      merge: (_request, parts) => ({ groups: inOrder(parts, ({ groups }) => groups) }),
      refused: (request, errorCode, version) => ({
        groups: request.groups.map((groupId) => ({
          ...describedGroup(groupId, { ...nothingKnown, errorCode }, version),
          authorizedOperations: operationsNotAsked,
        })),
      }),
    },
    handle(context, request, respond) {
      const groups: DescribeGroupsResponseDescribedGroupInput[] = [];
      let waiting = request.groups.length;
      if (waiting === 0) respond({ groups });
      for (const [i, groupId] of request.groups.entries()) {
        services.coordinator.describe(groupId, (answer) => {
          const described = describedGroup(groupId, answer, context.apiVersion);
          const asked = request.includeAuthorizedOperations && described.errorCode === ErrorCode.NONE;
          groups[i] = { ...described, authorizedOperations: asked ? groupOperations : operationsNotAsked };
          waiting--;
          if (waiting === 0) respond({ groups });
        });
      }
    },
  };
}

function describedGroup(
  groupId: string,
  answer: DescribeAnswer,
  version: number,
): DescribeGroupsResponseDescribedGroupInput {
  const unknown = answer.errorCode === ErrorCode.GROUP_ID_NOT_FOUND;
  const failed = answer.errorCode !== ErrorCode.NONE && !unknown;
  return {
    groupId,
    errorCode: unknown && version < notFoundVersion ? ErrorCode.NONE : answer.errorCode,
    errorMessage: unknown && version >= notFoundVersion ? `Group ${groupId} not found.` : null,
    groupState: failed ? '' : answer.state,
    protocolType: answer.protocolType,
    protocolData: answer.protocolName,
    members: answer.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.instanceId,
      clientId: member.clientId,
      clientHost: member.clientHost,
      memberMetadata: member.metadata,
      memberAssignment: member.assignment,
    })),
  };
}

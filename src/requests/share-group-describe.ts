/** ShareGroupDescribe (key 77), version 1 (KIP-932): GROUP_ID_NOT_FOUND with state Dead for what is no share group. */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ShareGroupDescribeCodec,
  type ShareGroupDescribeRequest,
  type ShareGroupDescribeResponseDescribedGroupInput,
  type ShareGroupDescribeResponseInput,
} from '../protocol/generated/share-group-describe.ts';
import { inOrder, pick } from './routing.ts';
import { groupOperations, operationsNotAsked } from './support/authorized-operations.ts';
import type { RequestHandler } from './support/handler.ts';
import { notFound, shareGroupsOf } from './support/share-groups-of.ts';

const dead = { groupState: 'Dead', assignorName: 'simple' } as const;

export function shareGroupDescribeHandler(
  services: GroupServices,
): RequestHandler<ShareGroupDescribeRequest, ShareGroupDescribeResponseInput> {
  const describe = (
    groupId: string,
    asked: boolean,
    done: (group: ShareGroupDescribeResponseDescribedGroupInput) => void,
  ): void => {
    if (groupId === '') {
      done({ ...dead, groupId, errorCode: ErrorCode.INVALID_GROUP_ID });
      return;
    }
    const found = shareGroupsOf(services.coordinator, groupId);
    if (found.groups === null) {
      done({ ...dead, groupId, errorCode: found.errorCode, errorMessage: found.errorMessage });
      return;
    }
    const described = found.groups.describe(groupId);
    if (described === null) {
      done({ ...dead, groupId, ...notFound(groupId) });
      return;
    }
    found.groups.read((errorCode) => {
      if (errorCode !== ErrorCode.NONE) {
        done({ ...dead, groupId, errorCode });
        return;
      }
      done({
        errorCode,
        groupId,
        groupState: described.state,
        groupEpoch: described.epoch,
        assignmentEpoch: described.assignmentEpoch,
        assignorName: 'simple',
        members: described.members.map(({ topics, assignment, ...member }) => ({
          ...member,
          subscribedTopicNames: topics,
          assignment: {
            topicPartitions: assignment.flatMap(({ topicId, partitions }) => {
              const topicName = services.topics.nameOf(topicId);
              return topicName === null ? [] : [{ topicId, topicName, partitions }];
            }),
          },
        })),
        authorizedOperations: asked ? groupOperations : operationsNotAsked,
      });
    });
  };
  return {
    codec: ShareGroupDescribeCodec,
    route: {
      kind: 'split',
      topic: coordinatorTopics.group,
      keys: (request) => request.groupIds,
      part: (request, indexes) => ({ ...request, groupIds: pick(request.groupIds, indexes) }),
      merge: (_request, parts) => ({ groups: inOrder(parts, ({ groups }) => groups) }),
      refused: (request, errorCode) => ({
        groups: request.groupIds.map((groupId) => ({ ...dead, groupId, errorCode })),
      }),
    },
    handle(_context, request, respond) {
      const groups: ShareGroupDescribeResponseDescribedGroupInput[] = [];
      let waiting = request.groupIds.length;
      if (waiting === 0) respond({ groups });
      for (const [i, groupId] of request.groupIds.entries()) {
        describe(groupId, request.includeAuthorizedOperations, (group) => {
          groups[i] = group;
          waiting--;
          if (waiting === 0) respond({ groups });
        });
      }
    },
  };
}

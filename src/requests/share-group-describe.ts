/** ShareGroupDescribe (key 77), version 1 (KIP-932): GROUP_ID_NOT_FOUND for what is no share group. */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ShareGroupDescribeCodec,
  type ShareGroupDescribeRequest,
  type ShareGroupDescribeResponseDescribedGroupInput,
  type ShareGroupDescribeResponseInput,
} from '../protocol/generated/share-group-describe.ts';
import { groupOperations, operationsNotAsked } from './support/authorized-operations.ts';
import { describedGroupsRoute, describeEach } from './support/described-groups.ts';
import type { RequestHandler } from './support/handler.ts';
import { notFound, shareGroupsOf } from './support/share-groups-of.ts';

export function shareGroupDescribeHandler(
  services: GroupServices,
): RequestHandler<ShareGroupDescribeRequest, ShareGroupDescribeResponseInput> {
  const describe = (
    groupId: string,
    asked: boolean,
    done: (group: ShareGroupDescribeResponseDescribedGroupInput) => void,
  ): void => {
    if (groupId === '') {
      done({ groupId, errorCode: ErrorCode.INVALID_GROUP_ID });
      return;
    }
    const found = shareGroupsOf(services.coordinator, groupId);
    if (found.groups === null) {
      done({ groupId, errorCode: found.errorCode, errorMessage: found.errorMessage });
      return;
    }
    const described = found.groups.describe(groupId);
    if (described === null) {
      done({ groupId, ...notFound(groupId) });
      return;
    }
    found.groups.read((errorCode) => {
      if (errorCode !== ErrorCode.NONE) {
        done({ groupId, errorCode });
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
    route: describedGroupsRoute((groupId, errorCode) => ({ groupId, errorCode })),
    handle(_context, { groupIds, includeAuthorizedOperations: asked }, respond) {
      describeEach(groupIds, (groupId, done) => describe(groupId, asked, done), respond);
    },
  };
}

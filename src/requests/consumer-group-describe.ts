/**
 * ConsumerGroupDescribe (key 69), versions 0-1 (KIP-848): members, assignments and targets of groups of the consumer protocol.
 * v1 tells members of the classic protocol apart. Classic groups and unknown ones are GROUP_ID_NOT_FOUND. Partitions of
 * topics that are gone are left out.
 */
import type { ConsumerDescribeAnswer } from '../coordinator/group/group-api.ts';
import type { GroupServices, TopicNames } from '../coordinator/group/group-services.ts';
import {
  ConsumerGroupDescribeCodec,
  type ConsumerGroupDescribeRequest,
  type ConsumerGroupDescribeResponseAssignmentInput,
  type ConsumerGroupDescribeResponseDescribedGroupInput,
  type ConsumerGroupDescribeResponseInput,
} from '../protocol/generated/consumer-group-describe.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { groupOperations, operationsNotAsked } from './support/authorized-operations.ts';
import { describedGroupsRoute, describeEach } from './support/described-groups.ts';
import type { RequestHandler } from './support/handler.ts';

const memberType = { classic: 0, consumer: 1 } as const;

export function consumerGroupDescribeHandler(
  services: GroupServices,
): RequestHandler<ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponseInput> {
  return {
    codec: ConsumerGroupDescribeCodec,
    route: describedGroupsRoute((groupId, errorCode) => ({ groupId, errorCode })),
    handle(_context, { groupIds, includeAuthorizedOperations }, respond) {
      const describe = (
        groupId: string,
        done: (group: ConsumerGroupDescribeResponseDescribedGroupInput) => void,
      ): void => {
        if (groupId === '') {
          done({ groupId, errorCode: ErrorCode.INVALID_GROUP_ID });
          return;
        }
        services.coordinator.consumerDescribe(groupId, (answer) => {
          const asked = includeAuthorizedOperations && answer.errorCode === ErrorCode.NONE;
          done({
            ...described(groupId, answer, services.topics),
            authorizedOperations: asked ? groupOperations : operationsNotAsked,
          });
        });
      };
      describeEach(groupIds, describe, respond);
    },
  };
}

function described(
  groupId: string,
  answer: ConsumerDescribeAnswer,
  topics: TopicNames,
): ConsumerGroupDescribeResponseDescribedGroupInput {
  return {
    groupId,
    errorCode: answer.errorCode,
    errorMessage: answer.errorMessage,
    groupState: answer.state,
    groupEpoch: answer.epoch,
    assignmentEpoch: answer.assignmentEpoch,
    assignorName: answer.assignor,
    members: answer.members.map((member) => ({
      memberId: member.memberId,
      instanceId: member.instanceId,
      rackId: member.rackId,
      memberEpoch: member.memberEpoch,
      clientId: member.clientId,
      clientHost: member.clientHost,
      subscribedTopicNames: member.topics,
      subscribedTopicRegex: member.regex ?? '',
      assignment: named(member.assignment, topics),
      targetAssignment: named(member.target, topics),
      memberType: member.classic ? memberType.classic : memberType.consumer,
    })),
  };
}

function named(
  lists: ConsumerDescribeAnswer['members'][number]['assignment'],
  topics: TopicNames,
): ConsumerGroupDescribeResponseAssignmentInput {
  return {
    topicPartitions: lists.flatMap(({ topicId, partitions }) => {
      const topicName = topics.nameOf(topicId);
      return topicName === null ? [] : [{ topicId, topicName, partitions }];
    }),
  };
}

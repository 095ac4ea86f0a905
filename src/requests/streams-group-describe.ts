/**
 * StreamsGroupDescribe (key 89), versions 0–1 (KIP-1071): GROUP_ID_NOT_FOUND for what is no streams group. Topologies have the sizes
 * of their internal topics as soon as all topics fit. v1: descriptions that clients have pushed, of which none are kept here.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import type {
  DescribedStreamsMember,
  StreamsDescribeAnswer,
} from '../coordinator/group/streams/streams-group-api.ts';
import type { TaskLists } from '../coordinator/group/streams/tasks.ts';
import type { InternalTopic } from '../coordinator/group/streams/topology.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  StreamsGroupDescribeCodec,
  type StreamsGroupDescribeRequest,
  type StreamsGroupDescribeResponseDescribedGroupInput,
  type StreamsGroupDescribeResponseInput,
} from '../protocol/generated/streams-group-describe.ts';
import { groupOperations, operationsNotAsked } from './support/authorized-operations.ts';
import { aclOperation } from './support/authorizer.ts';
import { describedGroupsRoute, describeEach } from './support/described-groups.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';

/** Of topology descriptions: not asked for, none kept. */
const descriptionStatus = { notAsked: 0, notStored: 1 } as const;

export function streamsGroupDescribeHandler(
  services: GroupServices & { readonly isOn: () => boolean },
): RequestHandler<StreamsGroupDescribeRequest, StreamsGroupDescribeResponseInput> {
  return {
    codec: StreamsGroupDescribeCodec,
    route: describedGroupsRoute((groupId, errorCode) => ({ groupId, errorCode })),
    handle(context, request, respond) {
      const describe = (
        groupId: string,
        done: (group: StreamsGroupDescribeResponseDescribedGroupInput) => void,
      ): void => {
        if (!services.isOn()) done({ groupId, errorCode: ErrorCode.UNSUPPORTED_VERSION });
        else if (groupId === '') done({ groupId, errorCode: ErrorCode.INVALID_GROUP_ID });
        else
          services.coordinator.streamsDescribe(groupId, (answer) =>
            done(describedGroup(context, request, groupId, answer)),
          );
      };
      describeEach(request.groupIds, describe, respond);
    },
  };
}

function describedGroup(
  context: RequestContext,
  { includeAuthorizedOperations, includeTopologyDescription }: StreamsGroupDescribeRequest,
  groupId: string,
  answer: StreamsDescribeAnswer,
): StreamsGroupDescribeResponseDescribedGroupInput {
  const { errorCode, errorMessage, topology } = answer;
  if (errorCode !== ErrorCode.NONE) return { groupId, errorCode, errorMessage };
  if (usesHiddenTopics(context, topology))
    return {
      groupId,
      errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED,
      errorMessage: 'The described group uses topics that the client is not authorized to describe.',
    };
  return {
    groupId,
    errorCode,
    groupState: answer.state,
    groupEpoch: answer.epoch,
    assignmentEpoch: answer.assignmentEpoch,
    topology: topology && {
      epoch: topology.epoch,
      subtopologies: topology.subtopologies.map(({ id, sources, sinks, repartitions, changelogs }) => ({
        subtopologyId: id,
        sourceTopics: sources,
        repartitionSinkTopics: sinks,
        repartitionSourceTopics: repartitions.map(topicInfo),
        stateChangelogTopics: changelogs.map(topicInfo),
      })),
    },
    members: answer.members.map(describedMember),
    authorizedOperations: includeAuthorizedOperations ? groupOperations : operationsNotAsked,
    topologyDescriptionStatus: includeTopologyDescription
      ? descriptionStatus.notStored
      : descriptionStatus.notAsked,
    assignorName: answer.assignor,
  };
}

function usesHiddenTopics(context: RequestContext, topology: StreamsDescribeAnswer['topology']): boolean {
  return (topology?.subtopologies ?? []).some(({ sources, sinks, repartitions, changelogs }) =>
    [...sources, ...sinks, ...repartitions.map(nameOf), ...changelogs.map(nameOf)].some(
      (name) => !context.may(aclOperation.describe, { type: 'topic', name }),
    ),
  );
}

function nameOf({ name }: InternalTopic): string {
  return name;
}

function topicInfo({ name, partitions, replicationFactor, configs }: InternalTopic) {
  const topicConfigs = Object.entries(configs).map(([key, value]) => ({ key, value }));
  return { name, partitions, replicationFactor, topicConfigs };
}

function describedMember(member: DescribedStreamsMember) {
  const { endpoint, assignment, target, ...told } = member;
  return {
    ...told,
    userEndpoint: endpoint,
    assignment: tasksOf(assignment),
    targetAssignment: tasksOf(target),
  };
}

function tasksOf({ active, standby, warmup }: TaskLists) {
  return { activeTasks: active, standbyTasks: standby, warmupTasks: warmup };
}

/**
 * StreamsGroupHeartbeat (key 88), versions 0–1 (KIP-1071): joins, goes on, leaves. The broker assigns tasks and makes the
 * topology's internal topics; what keeps it from either is told as status of an answer without error. v1 tells how far state may
 * lag, and missing client tags.
 *
 *   UNSUPPORTED_VERSION 35 the feature streams.version is off    STREAMS_INVALID_TOPOLOGY 130 internal or illegal topic names
 *   TOPIC_AUTHORIZATION_FAILED 29 a topic that the caller may not describe; what it may not create is told as status
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { statusCodes } from '../coordinator/group/streams/configured-topology.ts';
import type {
  EndpointPartitions,
  StreamsHeartbeatAnswer,
  StreamsStatus,
} from '../coordinator/group/streams/streams-group-api.ts';
import { namedTopics } from '../coordinator/group/streams/topology.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  StreamsGroupHeartbeatCodec,
  type StreamsGroupHeartbeatRequest,
  type StreamsGroupHeartbeatResponseInput,
} from '../protocol/generated/streams-group-heartbeat.ts';
import { aclOperation, clusterResource } from './support/authorizer.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';
import type { StreamsTopics } from './support/streams-topics.ts';
import { isInternalTopic, topicNameProblem } from './support/topic-names.ts';

export interface StreamsGroupHeartbeatDeps extends GroupServices {
  readonly isOn: () => boolean;
  readonly internalTopics: StreamsTopics;
}

export function streamsGroupHeartbeatHandler(
  deps: StreamsGroupHeartbeatDeps,
): RequestHandler<StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponseInput> {
  return {
    codec: StreamsGroupHeartbeatCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle(context, request, respond) {
      const problem = deps.isOn()
        ? topicProblem(context, request)
        : { errorCode: ErrorCode.UNSUPPORTED_VERSION };
      if (problem !== null) {
        respond(problem);
        return;
      }
      deps.coordinator.streamsHeartbeat(
        {
          ...request,
          endpointEpoch: request.endpointInformationEpoch,
          active: request.activeTasks,
          standby: request.standbyTasks,
          warmup: request.warmupTasks,
          endpoint: request.userEndpoint,
          shutdown: request.shutdownApplication,
          clientId: context.clientId ?? '',
          clientHost: context.clientHost,
          version: context.apiVersion,
        },
        (answer) => respond(responseOf(answer, makeTopics(deps, context, answer))),
      );
    },
  };
}

function topicProblem(
  context: RequestContext,
  { topology }: StreamsGroupHeartbeatRequest,
): StreamsGroupHeartbeatResponseInput | null {
  if (topology === null) return null;
  const names = [...namedTopics(topology)];
  const internal = names.filter(isInternalTopic);
  if (internal.length > 0)
    return {
      errorCode: ErrorCode.STREAMS_INVALID_TOPOLOGY,
      errorMessage: `Use of Kafka internal topics ${internal.join(',')} in a Kafka Streams topology is prohibited.`,
    };
  const illegal = names.filter((name) => topicNameProblem(name) !== null);
  if (illegal.length > 0)
    return {
      errorCode: ErrorCode.STREAMS_INVALID_TOPOLOGY,
      errorMessage: `Topic names ${illegal.join(',')} are not valid topic names.`,
    };
  const hidden = names.some((name) => !context.may(aclOperation.describe, { type: 'topic', name }));
  return hidden ? { errorCode: ErrorCode.TOPIC_AUTHORIZATION_FAILED } : null;
}

const failuresTold = 3;

/** Starts to make what is missing; the answer's status with what keeps it from that. */
function makeTopics(
  { internalTopics }: StreamsGroupHeartbeatDeps,
  context: RequestContext,
  { missing, status, heartbeatIntervalMs }: StreamsHeartbeatAnswer,
): readonly StreamsStatus[] {
  if (missing.length === 0) return status;
  const mayAll = context.may(aclOperation.create, clusterResource);
  const forbidden = mayAll
    ? []
    : missing.filter(({ name }) => !context.may(aclOperation.create, { type: 'topic', name }));
  let more: string;
  if (forbidden.length > 0)
    more = `; Unauthorized to CREATE on topics ${forbidden.map(({ name }) => name).join(', ')}.`;
  else {
    const failures = [...internalTopics.make(missing, heartbeatIntervalMs * 2)];
    if (failures.length === 0) return status;
    const told = failures.slice(0, failuresTold).map(([name, reason]) => `${name} (${reason})`);
    const rest = failures.length - told.length;
    more = `; Creation failed: ${told.join(', ')}${rest > 0 ? ` and ${rest} more` : ''}.`;
  }
  return status.map((each) =>
    each.statusCode === statusCodes.missingInternalTopics
      ? { ...each, statusDetail: `${each.statusDetail}${more}` }
      : each,
  );
}

function responseOf(
  answer: StreamsHeartbeatAnswer,
  status: readonly StreamsStatus[],
): StreamsGroupHeartbeatResponseInput {
  const { tasks, endpoints, errorCode, errorMessage } = answer;
  if (errorCode !== ErrorCode.NONE) return { errorCode, errorMessage };
  return {
    errorCode,
    errorMessage,
    memberId: answer.memberId,
    memberEpoch: answer.memberEpoch,
    heartbeatIntervalMs: answer.heartbeatIntervalMs,
    taskOffsetIntervalMs: answer.taskOffsetIntervalMs,
    acceptableRecoveryLag: answer.acceptableLag,
    status,
    activeTasks: tasks?.active ?? null,
    standbyTasks: tasks?.standby ?? null,
    warmupTasks: tasks?.warmup ?? null,
    endpointInformationEpoch: answer.endpointEpoch,
    partitionsByUserEndpoint: endpoints?.map(endpointOf) ?? null,
  };
}

function endpointOf({ endpoint, active, standby }: EndpointPartitions) {
  return { userEndpoint: endpoint, activePartitions: active, standbyPartitions: standby };
}

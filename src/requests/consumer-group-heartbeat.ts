/**
 * ConsumerGroupHeartbeat (key 68), versions 0-1 (KIP-848): one member of a group of the consumer protocol.
 * v1 the client makes its own member id, and may subscribe with a regex. UNSUPPORTED_VERSION while the feature group.version
 * is below 1. Answered when what it has changed is durable; mostly it changes nothing.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import {
  ConsumerGroupHeartbeatCodec,
  type ConsumerGroupHeartbeatRequest,
  type ConsumerGroupHeartbeatResponseInput,
} from '../protocol/generated/consumer-group-heartbeat.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { RequestHandler } from './support/handler.ts';

export interface ConsumerHeartbeatServices extends GroupServices {
  /** Whether the cluster serves the consumer protocol. */
  readonly isOn: () => boolean;
}

export function consumerGroupHeartbeatHandler(
  services: ConsumerHeartbeatServices,
): RequestHandler<ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponseInput> {
  return {
    codec: ConsumerGroupHeartbeatCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: (request) => request.groupId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle(context, request, respond) {
      if (!services.isOn()) {
        respond({ errorCode: ErrorCode.UNSUPPORTED_VERSION });
        return;
      }
      services.coordinator.consumerHeartbeat(
        {
          groupId: request.groupId,
          memberId: request.memberId,
          memberEpoch: request.memberEpoch,
          instanceId: request.instanceId,
          rackId: request.rackId,
          rebalanceTimeoutMs: request.rebalanceTimeoutMs,
          topics: request.subscribedTopicNames,
          regex: request.subscribedTopicRegex,
          assignor: request.serverAssignor,
          owned: request.topicPartitions,
          clientId: context.clientId ?? '',
          clientHost: context.clientHost,
          version: context.apiVersion,
        },
        (answer) =>
          respond({
            errorCode: answer.errorCode,
            errorMessage: answer.errorMessage,
            memberId: answer.errorCode === ErrorCode.NONE ? answer.memberId : null,
            memberEpoch: answer.memberEpoch,
            heartbeatIntervalMs: answer.heartbeatIntervalMs,
            assignment: answer.assignment === null ? null : { topicPartitions: answer.assignment },
          }),
      );
    },
  };
}

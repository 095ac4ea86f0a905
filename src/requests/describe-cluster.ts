/**
 * DescribeCluster (key 60), versions 0–2; runs on the connection's shard.
 *
 * This broker under the address of the listener that was asked, controller id = this broker. v1: who asks for
 * controllers gets MISMATCHED_ENDPOINT_TYPE, for anything else UNSUPPORTED_ENDPOINT_TYPE. v2: no broker is ever fenced
 * and still here, so IncludeFencedBrokers changes nothing.
 */
import {
  DescribeClusterCodec,
  type DescribeClusterRequest,
  type DescribeClusterResponseInput,
} from '../protocol/generated/describe-cluster.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { MetadataDeps } from './metadata.ts';
import { clusterOperations, operationsNotAsked } from './support/authorized-operations.ts';
import type { RequestHandler } from './support/handler.ts';

const endpointType = { broker: 1, controller: 2 } as const;

export function describeClusterHandler(
  deps: Pick<MetadataDeps, 'topics' | 'endpoint'>,
): RequestHandler<DescribeClusterRequest, DescribeClusterResponseInput> {
  return {
    codec: DescribeClusterCodec,
    handle(context, request, respond) {
      if (request.endpointType === endpointType.controller) {
        const errorMessage = 'This endpoint is a broker, not a controller.';
        respond({ errorCode: ErrorCode.MISMATCHED_ENDPOINT_TYPE, errorMessage });
        return;
      }
      if (request.endpointType !== endpointType.broker) {
        const errorMessage = `There are no endpoints of type ${request.endpointType}.`;
        respond({ errorCode: ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, errorMessage });
        return;
      }
      const { nodeId, host, port, rack } = deps.endpoint(context.listener);
      respond({
        clusterId: deps.topics.image.clusterId,
        controllerId: nodeId,
        brokers: [{ brokerId: nodeId, host, port, rack }],
        clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
          ? clusterOperations
          : operationsNotAsked,
      });
    },
  };
}

/**
 * DescribeCluster (key 60), versions 0–2; runs on the connection's shard.
 *
 * The brokers that the listener reaches, and who leads the cluster; while nobody does, the broker that answers, which
 * takes all that Kafka sends to a controller. v1: who asks for controllers gets MISMATCHED_ENDPOINT_TYPE, for anything
 * else UNSUPPORTED_ENDPOINT_TYPE. v2 with IncludeFencedBrokers: fenced ones too, with the address that they had.
 */
import {
  type DescribeClusterBrokerInput,
  DescribeClusterCodec,
  type DescribeClusterRequest,
  type DescribeClusterResponseInput,
} from '../protocol/generated/describe-cluster.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { clusterOperations, operationsNotAsked } from './support/authorized-operations.ts';
import { type BrokerAddress, ClusterView, type ClusterViewDeps } from './support/cluster-view.ts';
import type { RequestHandler } from './support/handler.ts';

const endpointType = { broker: 1, controller: 2 } as const;

export function describeClusterHandler(
  deps: ClusterViewDeps,
): RequestHandler<DescribeClusterRequest, DescribeClusterResponseInput> {
  const cluster = new ClusterView(deps);
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
      const view = cluster.of(context.listener);
      const brokers = view.brokers.map((broker) => described(broker, false));
      if (request.includeFencedBrokers)
        brokers.push(...view.fenced().map((broker) => described(broker, true)));
      respond({
        clusterId: deps.topics.image.clusterId,
        controllerId: view.controllerId,
        brokers,
        clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
          ? clusterOperations
          : operationsNotAsked,
      });
    },
  };
}

function described(
  { nodeId: brokerId, host, port, rack }: BrokerAddress,
  isFenced: boolean,
): DescribeClusterBrokerInput {
  return { brokerId, host, port, rack, isFenced };
}

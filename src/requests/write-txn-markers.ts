/**
 * WriteTxnMarkers (key 27), versions 1–2: a coordinator, or an administrator who ends a hanging transaction (KIP-664), writes
 * COMMIT or ABORT to partitions of this broker: brokers need CLUSTER_ACTION on the cluster, administrators ALTER. Each is answered
 * when its marker is durable; where the partition is not open here, NOT_LEADER_OR_FOLLOWER. v2 states the transaction version.
 */
import type { MarkerSender } from '../coordinator/transaction/transaction-markers.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  WriteTxnMarkersCodec,
  type WriteTxnMarkersRequest,
  type WriteTxnMarkersResponseInput,
} from '../protocol/generated/write-txn-markers.ts';
import { aclOperation, clusterResource } from './support/authorizer.ts';
import type { RequestHandler } from './support/handler.ts';

/** @param markers to partitions of this broker, on whatever shard. */
export function writeTxnMarkersHandler({
  markers,
}: {
  readonly markers: MarkerSender;
}): RequestHandler<WriteTxnMarkersRequest, WriteTxnMarkersResponseInput> {
  return {
    codec: WriteTxnMarkersCodec,
    handle(context, request, respond) {
      const allowed =
        context.may(aclOperation.clusterAction, clusterResource) ||
        context.may(aclOperation.alter, clusterResource);
      let left = 1;
      const results = request.markers.map(({ producerId, topics }) => ({
        producerId,
        topics: topics.map(({ name, partitionIndexes }) => ({
          name,
          partitions: partitionIndexes.map((partitionIndex) => ({
            partitionIndex,
            errorCode: (allowed ? ErrorCode.NONE : ErrorCode.CLUSTER_AUTHORIZATION_FAILED) as number,
          })),
        })),
      }));
      const settle = (): void => {
        if (--left === 0) respond({ markers: results });
      };
      for (const [i, asked] of allowed ? request.markers.entries() : []) {
        const { producerId, producerEpoch, coordinatorEpoch, transactionResult: committed } = asked;
        const { transactionVersion } = asked;
        const marker = { producerId, producerEpoch, coordinatorEpoch, committed, transactionVersion };
        for (const { name, partitions } of results[i]!.topics) {
          for (const result of partitions) {
            left++;
            markers.send(name, result.partitionIndex, marker, (error) => {
              result.errorCode = error;
              settle();
            });
          }
        }
      }
      settle();
    },
  };
}

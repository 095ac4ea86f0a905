/**
 * WriteTxnMarkers (key 27), versions 1–2: a coordinator, or an administrator who ends a hanging transaction (KIP-664), writes
 * COMMIT or ABORT to partitions. Each is answered when its marker is durable. v2 states the transaction version.
 */
import type { MarkerSender } from '../coordinator/transaction/transaction-markers.ts';
import {
  WriteTxnMarkersCodec,
  type WriteTxnMarkersRequest,
  type WriteTxnMarkersResponseInput,
} from '../protocol/generated/write-txn-markers.ts';
import type { RequestHandler } from './support/handler.ts';

export function writeTxnMarkersHandler({
  markers,
}: {
  readonly markers: MarkerSender;
}): RequestHandler<WriteTxnMarkersRequest, WriteTxnMarkersResponseInput> {
  return {
    codec: WriteTxnMarkersCodec,
    handle(_context, request, respond) {
      let left = 1;
      const results = request.markers.map(({ producerId, topics }) => ({
        producerId,
        topics: topics.map(({ name, partitionIndexes }) => ({
          name,
          partitions: partitionIndexes.map((partitionIndex) => ({ partitionIndex, errorCode: 0 })),
        })),
      }));
      const settle = (): void => {
        if (--left === 0) respond({ markers: results });
      };
      for (const [i, asked] of request.markers.entries()) {
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

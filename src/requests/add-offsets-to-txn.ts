/**
 * AddOffsetsToTxn (key 25), versions 0–4: the partition of `__consumer_offsets` that holds a group's offsets becomes part of the
 * transaction, before TxnOffsetCommit up to v4. v2 PRODUCER_FENCED.
 */
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TransactionCoordinator } from '../coordinator/transaction/transaction-api.ts';
import {
  AddOffsetsToTxnCodec,
  type AddOffsetsToTxnRequest,
  type AddOffsetsToTxnResponseInput,
} from '../protocol/generated/add-offsets-to-txn.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { RequestHandler } from './support/handler.ts';
import { fencedError } from './support/transaction-errors.ts';

export interface AddOffsetsToTxnDeps {
  readonly coordinator: TransactionCoordinator;
  /** Partition of `__consumer_offsets` that coordinates a group. */
  readonly partitionOfGroup: (groupId: string) => number;
}

const fencedVersion = 2;

export function addOffsetsToTxnHandler({
  coordinator,
  partitionOfGroup,
}: AddOffsetsToTxnDeps): RequestHandler<AddOffsetsToTxnRequest, AddOffsetsToTxnResponseInput> {
  return {
    codec: AddOffsetsToTxnCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.transaction,
      key: ({ transactionalId }) => transactionalId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle({ apiVersion }, request, respond) {
      const { transactionalId, producerId, producerEpoch, groupId } = request;
      if (groupId === '') {
        respond({ errorCode: ErrorCode.INVALID_GROUP_ID });
        return;
      }
      const partitions = new Map([[coordinatorTopics.group, [partitionOfGroup(groupId)]]]);
      coordinator.add({ transactionalId, producerId, producerEpoch, partitions, version: 0 }, (error) =>
        respond({ errorCode: fencedError(error, apiVersion >= fencedVersion) }),
      );
    },
  };
}

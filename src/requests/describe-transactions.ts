/**
 * DescribeTransactions (key 65), version 0 (KIP-664). While a transaction is being completed only its partitions without a marker
 * are told. An id that nobody used, or that was forgotten, is TRANSACTIONAL_ID_NOT_FOUND.
 */
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TransactionCoordinator } from '../coordinator/transaction/transaction-api.ts';
import {
  DescribeTransactionsCodec,
  type DescribeTransactionsRequest,
  type DescribeTransactionsResponseInput,
} from '../protocol/generated/describe-transactions.ts';
import { inOrder, pick } from './routing.ts';
import type { RequestHandler } from './support/handler.ts';

export function describeTransactionsHandler({
  coordinator,
}: {
  readonly coordinator: TransactionCoordinator;
}): RequestHandler<DescribeTransactionsRequest, DescribeTransactionsResponseInput> {
  return {
    codec: DescribeTransactionsCodec,
    route: {
      kind: 'split',
      topic: coordinatorTopics.transaction,
      keys: ({ transactionalIds }) => transactionalIds,
      part: (request, indexes) => ({ transactionalIds: pick(request.transactionalIds, indexes) }),
      merge: (_request, parts) => ({
        transactionStates: inOrder(parts, ({ transactionStates }) => transactionStates),
      }),
      refused: ({ transactionalIds }, errorCode) => ({
        transactionStates: transactionalIds.map((transactionalId) => ({ errorCode, transactionalId })),
      }),
    },
    handle(_context, { transactionalIds }, respond) {
      respond({
        transactionStates: transactionalIds.map((transactionalId) => {
          const found = coordinator.describe(transactionalId);
          return {
            errorCode: found.error,
            transactionalId,
            transactionState: found.state,
            transactionTimeoutMs: found.timeoutMs,
            transactionStartTimeMs: found.startedMs,
            producerId: found.producerId,
            producerEpoch: found.producerEpoch,
            topics: [...found.partitions].map(([topic, partitions]) => ({ topic, partitions })),
          };
        }),
      });
    },
  };
}

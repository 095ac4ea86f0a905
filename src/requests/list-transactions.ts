/**
 * ListTransactions (key 66), versions 0–2 (KIP-664): the transactional ids of all coordinators. v1 duration, v2 pattern (RE2).
 */

import { transactionStateNames } from '../coordinator/transaction/transaction.ts';
import type { TransactionCoordinator } from '../coordinator/transaction/transaction-api.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ListTransactionsCodec,
  type ListTransactionsRequest,
  type ListTransactionsResponseInput,
} from '../protocol/generated/list-transactions.ts';
import { compilePattern } from '../protocol/pattern.ts';
import type { RequestHandler } from './support/handler.ts';

export function listTransactionsHandler({
  coordinator,
}: {
  readonly coordinator: TransactionCoordinator;
}): RequestHandler<ListTransactionsRequest, ListTransactionsResponseInput> {
  return {
    codec: ListTransactionsCodec,
    route: {
      kind: 'all',
      merge: (_request, responses) => ({
        errorCode: responses.find(({ errorCode }) => (errorCode ?? 0) !== 0)?.errorCode ?? 0,
        unknownStateFilters: responses[0]!.unknownStateFilters,
        transactionStates: responses.flatMap(({ transactionStates }) => transactionStates ?? []),
      }),
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle(_context, request, respond) {
      const { stateFilters, producerIdFilters: producerIds, durationFilter: durationMs } = request;
      const unknownStateFilters = stateFilters.filter((name) => !transactionStateNames.includes(name));
      const states = stateFilters.filter((name) => transactionStateNames.includes(name));
      // Only names that there are not: nothing can be of such a state.
      if (stateFilters.length > 0 && states.length === 0) {
        respond({ unknownStateFilters, transactionStates: [] });
        return;
      }
      const text = request.transactionalIdPattern ?? '';
      const pattern = text === '' ? null : compilePattern(text);
      if (pattern === null && text !== '') {
        respond({ errorCode: ErrorCode.INVALID_REGULAR_EXPRESSION });
        return;
      }
      const { error, transactions } = coordinator.list({ states, producerIds, durationMs, pattern });
      respond({
        errorCode: error,
        unknownStateFilters,
        transactionStates: transactions.map(({ transactionalId, producerId, state }) => ({
          transactionalId,
          producerId,
          transactionState: state,
        })),
      });
    },
  };
}

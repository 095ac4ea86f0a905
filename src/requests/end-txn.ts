/**
 * EndTxn (key 26), versions 0–5: commits or aborts. Answered when that is durable; the markers follow. v2 PRODUCER_FENCED; v5
 * (KIP-890): each end takes the producer to its next epoch, or id, which the answer states.
 */
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TransactionCoordinator } from '../coordinator/transaction/transaction-api.ts';
import { EndTxnCodec, type EndTxnRequest, type EndTxnResponseInput } from '../protocol/generated/end-txn.ts';
import type { RequestHandler } from './support/handler.ts';
import { fencedError } from './support/transaction-errors.ts';

const fencedVersion = 2;
const bumpingApiVersion = 5;

export function endTxnHandler({
  coordinator,
}: {
  readonly coordinator: TransactionCoordinator;
}): RequestHandler<EndTxnRequest, EndTxnResponseInput> {
  return {
    codec: EndTxnCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.transaction,
      key: ({ transactionalId }) => transactionalId,
      refused: (_request, errorCode) => ({ errorCode }),
    },
    handle({ apiVersion }, { transactionalId, producerId, producerEpoch, committed }, respond) {
      const version = apiVersion >= bumpingApiVersion ? 2 : 0;
      const query = { transactionalId, producerId, producerEpoch, committed, version };
      coordinator.end(query, ({ error, ...producer }) =>
        respond({ errorCode: fencedError(error, apiVersion >= fencedVersion), ...producer }),
      );
    },
  };
}

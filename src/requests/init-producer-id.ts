/**
 * InitProducerId (key 22), versions 0–5; v6 (two-phase commit) is unstable in Kafka and not advertised.
 * v3 bumps of a producer that names itself (KIP-360); v4 PRODUCER_FENCED in place of INVALID_PRODUCER_EPOCH.
 *
 * Without a transactional id: a fresh producer id with epoch 0, also when the client sends its old id and epoch. When no id
 * can be had now: COORDINATOR_LOAD_IN_PROGRESS, which clients retry. With one, its coordinator answers. An empty transactional
 * id, or an id without epoch, is INVALID_REQUEST.
 */
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TransactionCoordinator } from '../coordinator/transaction/transaction-api.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  InitProducerIdCodec,
  type InitProducerIdRequest,
  type InitProducerIdResponseInput,
} from '../protocol/generated/init-producer-id.ts';
import { pick } from './routing.ts';
import type { RequestHandler } from './support/handler.ts';
import type { ProducerIds } from './support/producer-ids.ts';
import { fencedError } from './support/transaction-errors.ts';

export interface InitProducerIdDeps {
  readonly ids: ProducerIds;
  readonly coordinator: TransactionCoordinator;
}

const none = { producerId: -1, producerEpoch: -1 } as const;
const fencedVersion = 4;

export function initProducerIdHandler({
  ids,
  coordinator,
}: InitProducerIdDeps): RequestHandler<InitProducerIdRequest, InitProducerIdResponseInput> {
  return {
    codec: InitProducerIdCodec,
    maxVersion: 5,
    route: {
      kind: 'split',
      topic: coordinatorTopics.transaction,
      keys: ({ transactionalId }) => (transactionalId === null ? [] : [transactionalId]),
      part: (request) => request,
      merge: (_request, parts) => pick(parts, [0])[0]!.response,
      refused: (_request, errorCode) => ({ errorCode, ...none }),
    },
    handle({ apiVersion }, request, respond) {
      const { transactionalId, producerId, producerEpoch, transactionTimeoutMs: timeoutMs } = request;
      if (transactionalId === '' || (producerId === -1) !== (producerEpoch === -1)) {
        respond({ errorCode: ErrorCode.INVALID_REQUEST, ...none });
        return;
      }
      if (transactionalId === null) {
        ids.take((fresh) => {
          if (fresh >= 0) respond({ producerId: fresh, producerEpoch: 0 });
          else respond({ errorCode: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS, ...none });
        });
        return;
      }
      const expected = producerId === -1 ? null : { producerId, producerEpoch };
      coordinator.init({ transactionalId, timeoutMs, expected }, ({ error, ...producer }) =>
        respond({ errorCode: fencedError(error, apiVersion >= fencedVersion), ...producer }),
      );
    },
  };
}

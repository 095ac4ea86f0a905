/**
 * UnregisterBroker (key 64), version 0: forgets a broker that is gone for good. There is only this one, which is here and
 * cannot be forgotten (INVALID_REQUEST); any other is BROKER_ID_NOT_REGISTERED.
 */
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  UnregisterBrokerCodec,
  type UnregisterBrokerRequest,
  type UnregisterBrokerResponseInput,
} from '../protocol/generated/unregister-broker.ts';
import type { RequestHandler } from './support/handler.ts';

export function unregisterBrokerHandler(deps: {
  readonly nodeId: number;
}): RequestHandler<UnregisterBrokerRequest, UnregisterBrokerResponseInput> {
  return {
    codec: UnregisterBrokerCodec,
    handle(_context, { brokerId }, respond) {
      const here = brokerId === deps.nodeId;
      respond({
        errorCode: here ? ErrorCode.INVALID_REQUEST : ErrorCode.BROKER_ID_NOT_REGISTERED,
        errorMessage: here
          ? `Broker ${brokerId} is the one that answers, and the only one: it cannot be unregistered.`
          : `Broker ID ${brokerId} is not currently registered`,
      });
    },
  };
}

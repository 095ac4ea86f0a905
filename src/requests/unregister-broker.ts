/**
 * UnregisterBroker (key 64), version 0: forgets a broker that is gone for good, committed by the control plane. A broker that is
 * in the cluster, or of which others have still to take partitions or a write-ahead log, cannot be forgotten (INVALID_REQUEST);
 * one that is not registered is BROKER_ID_NOT_REGISTERED.
 */
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  UnregisterBrokerCodec,
  type UnregisterBrokerRequest,
  type UnregisterBrokerResponseInput,
} from '../protocol/generated/unregister-broker.ts';
import type { ControlPlane } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';
import { begunMsMin, type LimitDeps, withinLimit } from './support/time-limit.ts';

export interface UnregisterBrokerDeps extends LimitDeps {
  readonly control: Pick<ControlPlane, 'removeBroker'>;
  readonly nodeId: number;
}

export function unregisterBrokerHandler(
  deps: UnregisterBrokerDeps,
): RequestHandler<UnregisterBrokerRequest, UnregisterBrokerResponseInput> {
  return {
    codec: UnregisterBrokerCodec,
    handle(_context, { brokerId }, respond) {
      if (brokerId === deps.nodeId) {
        const errorMessage = `Broker ${brokerId} is in the cluster: stop it first.`;
        respond({ errorCode: ErrorCode.INVALID_REQUEST, errorMessage });
        return;
      }
      const removal = deps.control.removeBroker(brokerId).then((result) => [result]);
      withinLimit(deps, begunMsMin, removal, (results, failure) => {
        const { error, message } = results?.[0] ?? { error: failure, message: null };
        respond({ errorCode: error, errorMessage: message });
      });
    },
  };
}

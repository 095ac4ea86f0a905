/**
 * PushTelemetry (key 72), version 0 (KIP-714). What clients push is counted and not kept.
 *
 *   INVALID_REQUEST no client id, or metrics after the last ones     UNKNOWN_SUBSCRIPTION_ID ask for the subscription again
 *   UNSUPPORTED_COMPRESSION_TYPE                                     TELEMETRY_TOO_LARGE above `telemetryBytesMax`
 *   THROTTLING_QUOTA_EXCEEDED before the interval is over; the last metrics of a client may come at any time
 */
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  PushTelemetryCodec,
  type PushTelemetryRequest,
  type PushTelemetryResponseInput,
} from '../protocol/generated/push-telemetry.ts';
import { ZERO_UUID } from '../protocol/primitives.ts';
import {
  type TelemetryDeps,
  telemetryBytesMax,
  telemetryClient,
  telemetryCodecs,
} from './get-telemetry-subscriptions.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';

export function pushTelemetryHandler(
  deps: TelemetryDeps,
): RequestHandler<PushTelemetryRequest, PushTelemetryResponseInput> {
  const { topics, telemetry, software, observe } = deps;

  function push(context: RequestContext, request: PushTelemetryRequest): number {
    const { clientInstanceId, subscriptionId, terminating, compressionType, metrics } = request;
    if (clientInstanceId === ZERO_UUID) return ErrorCode.INVALID_REQUEST;
    const instance = telemetry.instance(clientInstanceId);
    if (instance.terminated) return ErrorCode.INVALID_REQUEST;
    const client = telemetryClient(clientInstanceId, context, software);
    const subscription = telemetry.subscriptionOf(client, topics.image);
    if (subscriptionId !== subscription.id) {
      instance.outdated = true;
      return ErrorCode.UNKNOWN_SUBSCRIPTION_ID;
    }
    if (compressionType !== 0 && !telemetryCodecs.includes(compressionType)) {
      return ErrorCode.UNSUPPORTED_COMPRESSION_TYPE;
    }
    if (metrics.byteLength > telemetryBytesMax) return ErrorCode.TELEMETRY_TOO_LARGE;
    const now = telemetry.now();
    if (!terminating && now < instance.lastPushMs + subscription.pushIntervalMs) {
      return ErrorCode.THROTTLING_QUOTA_EXCEEDED;
    }
    instance.lastPushMs = now;
    instance.terminated = terminating;
    observe.pushed(metrics.byteLength);
    return ErrorCode.NONE;
  }

  return {
    codec: PushTelemetryCodec,
    handle: (context, request, respond) => respond({ errorCode: push(context, request) }),
  };
}

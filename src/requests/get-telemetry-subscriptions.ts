/**
 * GetTelemetrySubscriptions (key 71), version 0 (KIP-714). A client without an id gets a random one. It is told which
 * metrics to push, how often, how large and in which codecs; without a subscription that selects it, none. Who asks again
 * before its interval is over, and was not told that its subscription is out of date, gets THROTTLING_QUOTA_EXCEEDED.
 */
import type { Random } from '../ports/random.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  GetTelemetrySubscriptionsCodec,
  type GetTelemetrySubscriptionsRequest,
  type GetTelemetrySubscriptionsResponseInput,
} from '../protocol/generated/get-telemetry-subscriptions.ts';
import { ZERO_UUID } from '../protocol/primitives.ts';
import { randomUuid } from '../protocol/random-uuid.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';
import type { ClientSoftware, ClientTelemetry, TelemetryClient } from './support/telemetry.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface TelemetryDeps {
  readonly topics: TopicDirectory;
  readonly telemetry: ClientTelemetry;
  readonly software: ClientSoftware;
  readonly random: Random;
  readonly observe: { pushed(bytes: number): void };
}

/** `telemetry.max.bytes`. */
export const telemetryBytesMax = 1_048_576;
/** zstd, lz4, gzip, snappy: in the order in which clients should choose. */
export const telemetryCodecs: readonly number[] = [4, 3, 1, 2];

export function telemetryClient(
  instanceId: string,
  { clientId, clientHost, connectionId }: RequestContext,
  software: ClientSoftware,
): TelemetryClient {
  const { name, version } = software.of(connectionId);
  return {
    instanceId,
    clientId: clientId ?? '',
    softwareName: name,
    softwareVersion: version,
    address: clientHost.replace(/^\//, ''),
  };
}

export function getTelemetrySubscriptionsHandler(
  deps: TelemetryDeps,
): RequestHandler<GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponseInput> {
  const { topics, telemetry, software, random } = deps;
  return {
    codec: GetTelemetrySubscriptionsCodec,
    handle(context, request, respond) {
      const asked = request.clientInstanceId;
      const clientInstanceId = asked === ZERO_UUID ? randomUuid(random) : asked;
      const instance = telemetry.instance(clientInstanceId);
      const client = telemetryClient(clientInstanceId, context, software);
      const { id, pushIntervalMs, metrics } = telemetry.subscriptionOf(client, topics.image);
      const now = telemetry.now();
      if (!instance.outdated && now < instance.lastGetMs + pushIntervalMs) {
        respond({ errorCode: ErrorCode.THROTTLING_QUOTA_EXCEEDED });
        return;
      }
      instance.lastGetMs = now;
      instance.outdated = false;
      respond({
        clientInstanceId,
        subscriptionId: id,
        acceptedCompressionTypes: telemetryCodecs,
        pushIntervalMs,
        telemetryMaxBytes: telemetryBytesMax,
        deltaTemporality: true,
        requestedMetrics: metrics,
      });
    },
  };
}

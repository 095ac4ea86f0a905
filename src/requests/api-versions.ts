/**
 * ApiVersions (key 18), versions 0–5; runs on the connection's shard. The ranges are derived from the handlers that are
 * registered. An unknown version of this request is answered by the dispatcher (wire-notes of Kafka: v0 body, 35).
 *
 * v3: an empty or odd client software name or version is INVALID_REQUEST; features that are served. v0–3 leave out
 * supported features with minimum 0. v5: cluster id and node id, given together, must be this broker's, else
 * REBOOTSTRAP_REQUIRED without keys (KIP-1242); one without the other is INVALID_REQUEST.
 */
import {
  ApiVersionsCodec,
  type ApiVersionsRequest,
  type ApiVersionsResponseInput,
} from '../protocol/generated/api-versions.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { Dispatcher, type ServedRange } from './dispatcher.ts';
import { type Feature, featureLevel } from './support/features.ts';
import type { AnyRequestHandler, RequestHandler } from './support/handler.ts';
import type { ClientSoftware } from './support/telemetry.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface ApiVersionsDeps {
  /** All handlers of the dispatcher, this one included; read at the first request. */
  readonly handlers: () => readonly AnyRequestHandler[];
  readonly features: readonly Feature[];
  /** Told what software a connection's client is. */
  readonly software?: Pick<ClientSoftware, 'note'>;
  readonly topics: TopicDirectory;
  readonly nodeId: number;
}

const softwareVersion = 3;
const zeroMinimumVersion = 4;
const identityVersion = 5;
/** KIP-511. */
const softwarePattern = /^[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?$/;

export function apiVersionsHandler(
  deps: ApiVersionsDeps,
): RequestHandler<ApiVersionsRequest, ApiVersionsResponseInput> {
  const { features, topics, nodeId } = deps;
  let ranges: ServedRange[] | null = null;

  function refusal(request: ApiVersionsRequest, version: number): number {
    if (version >= softwareVersion) {
      const { clientSoftwareName, clientSoftwareVersion } = request;
      if (!softwarePattern.test(clientSoftwareName) || !softwarePattern.test(clientSoftwareVersion)) {
        return ErrorCode.INVALID_REQUEST;
      }
    }
    if (version >= identityVersion) {
      const { clusterId, nodeId: wanted } = request;
      if ((clusterId === null) !== (wanted === -1)) return ErrorCode.INVALID_REQUEST;
      if (clusterId !== null && (clusterId !== topics.image.clusterId || wanted !== nodeId)) {
        return ErrorCode.REBOOTSTRAP_REQUIRED;
      }
    }
    return ErrorCode.NONE;
  }

  return {
    codec: ApiVersionsCodec,
    handle(context, request, respond) {
      const version = context.apiVersion;
      const errorCode = refusal(request, version);
      if (errorCode !== ErrorCode.NONE) {
        respond({ errorCode });
        return;
      }
      if (version >= softwareVersion) {
        deps.software?.note(context.connectionId, request.clientSoftwareName, request.clientSoftwareVersion);
      }
      ranges ??= Dispatcher.ranges(deps.handlers());
      const { image } = topics;
      respond({
        apiKeys: ranges,
        supportedFeatures: features.filter(
          ({ minVersion }) => minVersion > 0 || version >= zeroMinimumVersion,
        ),
        // The image's revision only grows, as this epoch must (KIP-584).
        finalizedFeaturesEpoch: image.revision,
        finalizedFeatures: features
          .map((feature) => ({ name: feature.name, level: featureLevel(image, feature) }))
          .filter(({ level }) => level > 0)
          .map(({ name, level }) => ({ name, maxVersionLevel: level, minVersionLevel: level })),
      });
    },
  };
}

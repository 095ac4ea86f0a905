/**
 * ListConfigResources (key 74), versions 0–1: what can be configured by name. v0 was ListClientMetricsResources and lists
 * client metrics subscriptions only. v1: topics, registered brokers, groups and subscriptions that have configs; without types all;
 * another type is UNSUPPORTED_VERSION, broker loggers are a type and there are none.
 */

import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ListConfigResourcesCodec,
  type ListConfigResourcesRequest,
  type ListConfigResourcesResponseConfigResourceInput,
  type ListConfigResourcesResponseInput,
} from '../protocol/generated/list-config-resources.ts';
import { resourceType } from './support/config-resources.ts';
import type { RequestHandler } from './support/handler.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

const { topic, broker, brokerLogger, clientMetrics, group } = resourceType;
const all = [group, clientMetrics, brokerLogger, broker, topic] as const;

export function listConfigResourcesHandler(deps: {
  readonly topics: TopicDirectory;
  readonly nodeId: number;
}): RequestHandler<ListConfigResourcesRequest, ListConfigResourcesResponseInput> {
  const { topics, nodeId } = deps;

  function names(type: number): Iterable<string> {
    const { image } = topics;
    const configured = (prefix: string): string[] =>
      [...image.configs.keys()]
        .filter((key) => key.startsWith(prefix))
        .map((key) => key.slice(prefix.length));
    switch (type) {
      case topic:
        return image.topicsByName.keys();
      case broker:
        return [...new Set([nodeId, ...image.brokers.keys()])].sort((a, b) => a - b).map(String);
      case group:
        return configured('group:');
      case clientMetrics:
        return configured('client-metrics:');
      default:
        return [];
    }
  }

  return {
    codec: ListConfigResourcesCodec,
    handle({ apiVersion }, request, respond) {
      const asked = request.resourceTypes.length === 0 ? all : request.resourceTypes;
      const types: ReadonlySet<number> = new Set(apiVersion === 0 ? [clientMetrics] : asked);
      if ([...types].some((type) => !all.some((known) => known === type))) {
        respond({ errorCode: ErrorCode.UNSUPPORTED_VERSION });
        return;
      }
      const configResources: ListConfigResourcesResponseConfigResourceInput[] = [];
      for (const type of types) {
        for (const resourceName of names(type)) configResources.push({ resourceName, resourceType: type });
      }
      respond({ configResources });
    },
  };
}

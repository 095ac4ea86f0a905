/**
 * DescribeConfigs (key 32), versions 0–4; runs on the connection's shard.
 *
 * Topics, this broker (its node id), the cluster-wide broker default (empty name: only what is set there), groups and
 * client metrics subscriptions, which need not exist. Without keys, or with an empty list of keys, all configs are told; unknown keys are left out.
 * v0 says IsDefault, v1 the source and synonyms (best source first, the own entry included), v3 type and
 * documentation. Sensitive values are null. A refused resource has its error and no configs.
 * Omitted: broker loggers (INVALID_REQUEST).
 */
import {
  DescribeConfigsCodec,
  type DescribeConfigsRequest,
  type DescribeConfigsResource,
  type DescribeConfigsResourceResultInput,
  type DescribeConfigsResponseInput,
  type DescribeConfigsResultInput,
} from '../protocol/generated/describe-configs.ts';
import {
  type ConfigCatalog,
  type ConfigDefinition,
  type ConfigLayer,
  configLayers,
  configSource,
  unknownBrokerConfig,
} from './support/config-catalog.ts';
import { isRefusal, type ResolvedResource, resolveResource } from './support/config-resources.ts';
import type { RequestHandler } from './support/handler.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface DescribeConfigsDeps {
  readonly topics: TopicDirectory;
  readonly catalog: ConfigCatalog;
  readonly nodeId: number;
}

export function describeConfigsHandler(
  deps: DescribeConfigsDeps,
): RequestHandler<DescribeConfigsRequest, DescribeConfigsResponseInput> {
  const { topics, catalog, nodeId } = deps;

  function layersOf(definition: ConfigDefinition, { scope, edit, own }: ResolvedResource): ConfigLayer[] {
    if (edit.resource === 'cluster') {
      const value = own[definition.name];
      if (value === undefined) return [];
      const { name, sensitive } = definition;
      return [{ name, value: sensitive ? null : value, source: configSource.dynamicDefaultBroker }];
    }
    const place = { scope, own: scope === 'broker' ? null : own, nodeId, image: topics.image };
    return configLayers(catalog, definition, place);
  }

  /** All configs of the kind, and what else is set on a broker. */
  function definitionsFor({ scope, own }: ResolvedResource): readonly ConfigDefinition[] {
    const known = catalog.definitions(scope);
    if (scope !== 'broker') return known;
    const unknown = Object.keys(own).filter((name) => catalog.definition(scope, name) === undefined);
    return [...known, ...unknown.map(unknownBrokerConfig)];
  }

  /** The default of a subscription is no synonym, and neither is a value that is none. */
  function synonymsOf({ scope }: ResolvedResource, layers: readonly ConfigLayer[]): ConfigLayer[] {
    return layers.filter(
      ({ source, value }) =>
        source !== configSource.default || (scope !== 'client-metrics' && value !== null),
    );
  }

  function describe(
    resource: DescribeConfigsResource,
    request: DescribeConfigsRequest,
    version: number,
  ): DescribeConfigsResultInput {
    const { resourceType, resourceName } = resource;
    const resolved = resolveResource(topics, nodeId, resourceType, resourceName);
    if (isRefusal(resolved)) {
      return { errorCode: resolved.error, errorMessage: resolved.message, resourceType, resourceName };
    }
    const keys = resource.configurationKeys ?? [];
    const wanted = keys.length === 0 ? null : new Set(keys);
    const configs: DescribeConfigsResourceResultInput[] = [];
    for (const definition of definitionsFor(resolved)) {
      const { name, internal } = definition;
      if (wanted === null ? internal && resolved.own[name] === undefined : !wanted.has(name)) continue;
      const layers = layersOf(definition, resolved);
      const [best] = layers;
      if (best === undefined) continue;
      configs.push({
        name,
        value: best.value,
        readOnly: definition.readOnly,
        ...(version === 0 ? { isDefault: best.source === configSource.default } : {}),
        configSource: best.source,
        isSensitive: definition.sensitive,
        synonyms: request.includeSynonyms ? synonymsOf(resolved, layers) : [],
        configType: definition.type,
        documentation: request.includeDocumentation ? definition.documentation : null,
      });
    }
    return { errorMessage: '', resourceType, resourceName, configs };
  }

  return {
    codec: DescribeConfigsCodec,
    handle(context, request, respond) {
      respond({
        results: request.resources.map((resource) => describe(resource, request, context.apiVersion)),
      });
    },
  };
}

/**
 * What the config requests need to know of the settings that exist, and how an effective value comes about:
 *
 *   topic or group entry ─► broker:<node> entry ─► cluster entry ─► static setting ─► built-in default
 *
 * The entries lie in the cluster image, definitions and static settings come from the catalog. A topic or group config
 * inherits from its `brokerName`; without one it has an own entry or its default.
 */
import type { CatalogDefinition, CatalogScope } from '../../config/config-catalog.ts';
import { kafkaTypes } from '../../config/setting-spec.ts';
import type { ClusterImage } from '../../metadata/metadata-store.ts';

/** ConfigType of the wire. */
export const configType = { unknown: 0, ...kafkaTypes } as const;

/** ConfigSource of the wire. */
export const configSource = {
  topic: 1,
  dynamicBroker: 2,
  dynamicDefaultBroker: 3,
  staticBroker: 4,
  default: 5,
  clientMetrics: 7,
  group: 8,
} as const;

export type ConfigScope = CatalogScope;
export type ConfigDefinition = CatalogDefinition;

export interface ConfigCatalog {
  definitions(scope: ConfigScope): readonly ConfigDefinition[];
  definition(scope: ConfigScope, name: string): ConfigDefinition | undefined;
  /** Broker setting given at start (file, environment, flag), undefined when it was not. */
  staticValue(brokerName: string): string | undefined;
  /** What is wrong with the value of a known config, or null. */
  valueProblem(scope: ConfigScope, name: string, value: string): string | null;
  /** What is wrong between the explicit entries of one resource, and with what its broker allows, or null. */
  relationProblem(
    scope: ConfigScope,
    entries: Readonly<Record<string, string>>,
    brokerValue: (name: string) => string | null,
  ): string | null;
}

const ownSources = {
  topic: configSource.topic,
  broker: configSource.dynamicBroker,
  group: configSource.group,
  'client-metrics': configSource.clientMetrics,
} as const;

/** A broker config that nobody knows is kept, for whoever reads it, and never told (KIP-226). */
export function unknownBrokerConfig(name: string): ConfigDefinition {
  return {
    name,
    type: configType.unknown,
    defaultValue: null,
    readOnly: true,
    perBroker: false,
    sensitive: true,
    documentation: null,
    brokerName: null,
    internal: false,
  };
}

export interface ConfigLayer {
  readonly name: string;
  readonly value: string | null;
  readonly source: number;
}

const nothing: Readonly<Record<string, string>> = {};

/** Entries of one resource: the topic's or group's own, or the broker's (then `own` is null). */
export interface ConfigPlace {
  readonly scope: ConfigScope;
  readonly own: Readonly<Record<string, string>> | null;
  readonly nodeId: number;
  readonly image: ClusterImage;
}

/** Where a value comes from, best source first; never empty. */
export function configLayers(
  catalog: ConfigCatalog,
  definition: ConfigDefinition,
  place: ConfigPlace,
): ConfigLayer[] {
  const { scope, own, nodeId, image } = place;
  const layers: ConfigLayer[] = [];
  const push = (name: string, value: string | undefined, source: number): void => {
    if (value !== undefined) layers.push({ name, value: definition.sensitive ? null : value, source });
  };
  if (own !== null) push(definition.name, own[definition.name], ownSources[scope]);
  const inherited = scope === 'broker' ? definition.name : definition.brokerName;
  if (inherited !== null) {
    const [broker, all] = brokerConfigSources(image, nodeId);
    push(inherited, broker?.[inherited], configSource.dynamicBroker);
    push(inherited, all?.[inherited], configSource.dynamicDefaultBroker);
    push(inherited, catalog.staticValue(inherited), configSource.staticBroker);
  }
  const { defaultValue, sensitive } = definition;
  layers.push({
    name: inherited ?? definition.name,
    value: sensitive ? null : defaultValue,
    source: configSource.default,
  });
  return layers;
}

/** What was set of broker configs while brokers ran, of this one and of all; others by identity once something of it changed. */
export function brokerConfigSources({ configs }: Pick<ClusterImage, 'configs'>, nodeId: number) {
  return [configs.get(`broker:${nodeId}`), configs.get('cluster:')] as const;
}

/** Value in force of a broker config, null when there is none. */
export function brokerConfigValue(
  catalog: ConfigCatalog,
  image: ClusterImage,
  nodeId: number,
  name: string,
): string | null {
  const definition = catalog.definition('broker', name);
  if (definition === undefined) return null;
  return configLayers(catalog, definition, { scope: 'broker', own: null, nodeId, image })[0]!.value;
}

/** Value that a group follows for one of its configs, whether or not the group exists; null when there is none. */
export function groupConfigValue(
  catalog: ConfigCatalog,
  image: ClusterImage,
  nodeId: number,
  groupId: string,
  name: string,
): string | null {
  const definition = catalog.definition('group', name);
  if (definition === undefined) return null;
  const own = image.configs.get(`group:${groupId}`) ?? nothing;
  return configLayers(catalog, definition, { scope: 'group', own, nodeId, image })[0]!.value;
}

/** Value that a topic follows for one of its configs; '' when there is none. */
export function topicConfigValue(
  catalog: ConfigCatalog,
  image: ClusterImage,
  nodeId: number,
  own: Readonly<Record<string, string>>,
  name: string,
): string {
  const definition = catalog.definition('topic', name);
  if (definition === undefined) return own[name] ?? '';
  return configLayers(catalog, definition, { scope: 'topic', own, nodeId, image })[0]!.value ?? '';
}

/**
 * Config definitions as the config requests want them (it fits ConfigCatalog of the requests room): of topics, brokers,
 * groups and client metrics subscriptions.
 */
import { type BrokerConfigRow, brokerConfigs } from './broker-configs.ts';
import {
  clientMetricsConfigs,
  groupConfigs,
  groupRangeProblem,
  subscriptionProblem,
} from './group-configs.ts';
import type { BrokerMode } from './kafka-table.ts';
import { type KafkaConfig, type KafkaRule, kafkaValueProblem } from './kafka-value.ts';
import { kafkaTypes } from './setting-spec.ts';
import { topicConfigs, topicRelationProblem } from './topic-configs.ts';

export type CatalogScope = 'topic' | 'broker' | 'group' | 'client-metrics';

export interface CatalogDefinition {
  readonly name: string;
  /** ConfigType of the wire. */
  readonly type: number;
  /** Null = no value. */
  readonly defaultValue: string | null;
  readonly readOnly: boolean;
  /** Of a broker: may be changed on one broker, and not on the default of all. */
  readonly perBroker: boolean;
  /** The value is never told. */
  readonly sensitive: boolean;
  readonly documentation: string | null;
  /** Broker config that a topic or group config inherits from, null = none. */
  readonly brokerName: string | null;
  /** Listed only where it is set, or when it is asked for by name. */
  readonly internal: boolean;
}

interface Scoped {
  readonly definitions: ReadonlyMap<string, CatalogDefinition>;
  readonly list: readonly CatalogDefinition[];
  readonly rules: ReadonlyMap<string, KafkaRule>;
}

function resources(configs: readonly KafkaConfig[]): Scoped {
  const list = configs.map((config) => definition(config, 'cluster', false, config.default, config.doc));
  return {
    definitions: new Map(list.map((each) => [each.name, each])),
    list,
    rules: new Map(configs.map((config) => [config.name, config])),
  };
}

function brokers(): Scoped {
  const configs = [...brokerConfigs().values()];
  const list = configs.map((row: BrokerConfigRow) =>
    definition({ ...row.rule, broker: null }, row.mode, row.sensitive, row.default, row.doc),
  );
  return {
    definitions: new Map(list.map((each) => [each.name, each])),
    list,
    rules: new Map(configs.map(({ name, rule }) => [name, rule])),
  };
}

function definition(
  { name, type, broker, internal }: KafkaRule & Pick<KafkaConfig, 'broker' | 'internal'>,
  mode: BrokerMode,
  sensitive: boolean,
  defaultValue: string | null,
  documentation: string,
): CatalogDefinition {
  return {
    name,
    type: kafkaTypes[type],
    defaultValue,
    readOnly: mode === 'ro',
    perBroker: mode === 'per-broker',
    sensitive,
    documentation,
    brokerName: broker,
    internal: internal === true,
  };
}

const scopes: { [scope in CatalogScope]?: Scoped } = {};
const makers: { readonly [scope in CatalogScope]: () => Scoped } = {
  topic: () => resources(topicConfigs),
  broker: brokers,
  group: () => resources(groupConfigs),
  'client-metrics': () => resources(clientMetricsConfigs),
};

/** Made when first asked: a start needs those of topics only. */
function scoped(scope: CatalogScope): Scoped {
  scopes[scope] ??= makers[scope]();
  return scopes[scope];
}

export class KafkaConfigCatalog {
  readonly #static: Readonly<Record<string, string>>;

  /** `staticConfigs` as `staticBrokerConfigs` gives them. */
  constructor(staticConfigs: Readonly<Record<string, string>>) {
    this.#static = staticConfigs;
  }

  definitions(scope: CatalogScope): readonly CatalogDefinition[] {
    return scoped(scope).list;
  }

  definition(scope: CatalogScope, name: string): CatalogDefinition | undefined {
    return scoped(scope).definitions.get(name);
  }

  staticValue(brokerName: string): string | undefined {
    return Object.hasOwn(this.#static, brokerName) ? this.#static[brokerName] : undefined;
  }

  /** What is wrong with the value of a known config, or null. */
  valueProblem(scope: CatalogScope, name: string, value: string): string | null {
    const rule = scoped(scope).rules.get(name);
    if (rule === undefined) return `Unknown ${scope} config name: ${name}`;
    const problem = kafkaValueProblem(rule, value);
    return problem ?? (scope === 'client-metrics' ? subscriptionProblem(name, value) : null);
  }

  /** What is wrong between the explicit entries of one resource and with what the broker allows, or null. */
  relationProblem(
    scope: CatalogScope,
    entries: Readonly<Record<string, string>>,
    brokerValue: (name: string) => string | null,
  ): string | null {
    if (scope === 'topic') return topicRelationProblem(entries);
    return scope === 'group' ? groupRangeProblem(entries, brokerValue) : null;
  }
}

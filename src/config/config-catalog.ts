/**
 * Config definitions as the config requests want them (it fits ConfigCatalog of the requests room): topic configs and
 * broker configs. Groups have none: those Kafka has belong to group protocols that are not served.
 */
import { type BrokerConfigRow, brokerConfigs } from './broker-configs.ts';
import { type KafkaConfig, kafkaValueProblem } from './kafka-value.ts';
import { kafkaTypes } from './setting-spec.ts';
import { topicConfig, topicConfigs, topicRelationProblem } from './topic-configs.ts';

export type CatalogScope = 'topic' | 'broker' | 'group';

export interface CatalogDefinition {
  readonly name: string;
  /** ConfigType of the wire. */
  readonly type: number;
  readonly defaultValue: string | null;
  readonly readOnly: boolean;
  readonly sensitive: boolean;
  readonly documentation: string | null;
  readonly brokerName: string | null;
}

const definitions: Readonly<Record<CatalogScope, ReadonlyMap<string, CatalogDefinition>>> = {
  topic: new Map(topicConfigs.map((config) => [config.name, topicDefinition(config)])),
  broker: new Map(brokerConfigs.map((config) => [config.name, brokerDefinition(config)])),
  group: new Map(),
};
const lists = {
  topic: [...definitions.topic.values()],
  broker: [...definitions.broker.values()],
  group: [...definitions.group.values()],
} as const;
const brokerRows = new Map(brokerConfigs.map((config) => [config.name, config]));

function topicDefinition(config: KafkaConfig): CatalogDefinition {
  return {
    name: config.name,
    type: kafkaTypes[config.type],
    defaultValue: config.default,
    readOnly: false,
    sensitive: false,
    documentation: config.doc,
    brokerName: config.broker,
  };
}

function brokerDefinition(config: BrokerConfigRow): CatalogDefinition {
  return {
    name: config.name,
    type: kafkaTypes[config.type],
    defaultValue: config.default,
    readOnly: config.readOnly,
    sensitive: config.sensitive,
    documentation: config.doc,
    brokerName: null,
  };
}

export class KafkaConfigCatalog {
  readonly #static: Readonly<Record<string, string>>;

  /** `staticConfigs` as `staticBrokerConfigs` gives them. */
  constructor(staticConfigs: Readonly<Record<string, string>>) {
    this.#static = staticConfigs;
  }

  definitions(scope: CatalogScope): readonly CatalogDefinition[] {
    return lists[scope];
  }

  definition(scope: CatalogScope, name: string): CatalogDefinition | undefined {
    return definitions[scope].get(name);
  }

  staticValue(brokerName: string): string | undefined {
    return Object.hasOwn(this.#static, brokerName) ? this.#static[brokerName] : undefined;
  }

  /** What is wrong with the value of a known config, or null. */
  valueProblem(scope: CatalogScope, name: string, value: string): string | null {
    const topicName = scope === 'topic' ? name : brokerRows.get(name)?.topicName;
    const config = topicName == null ? undefined : topicConfig(topicName);
    if (config === undefined) return `${name} cannot be changed while the broker runs`;
    const problem = kafkaValueProblem(config, value);
    return problem === null ? null : `Invalid value ${value} for configuration ${name}: ${problem}`;
  }

  /** What is wrong between the explicit entries of one resource, or null. */
  relationProblem(scope: CatalogScope, entries: Readonly<Record<string, string>>): string | null {
    return scope === 'topic' ? topicRelationProblem(entries) : null;
  }
}

/**
 * The broker configs that DescribeConfigs tells, under Kafka's names: settings that Kafka has too (read-only, they need a
 * restart), what topics inherit (changeable at run time, on the broker or the cluster default), and a few fixed facts
 * that tools look for. What Millrace has no counterpart of is not told.
 */

import { type SettingKey, type Settings, settingKeys, settingSpec } from './setting-keys.ts';
import type { KafkaType } from './setting-spec.ts';
import { topicConfigs } from './topic-configs.ts';
import { plainText } from './values.ts';

export interface BrokerConfigRow {
  readonly name: string;
  readonly type: KafkaType;
  /** Null = no value unless one is given at start. */
  readonly default: string | null;
  readonly readOnly: boolean;
  readonly sensitive: boolean;
  readonly doc: string;
  /** Topic config that inherits it, whose valid values it shares. */
  readonly topicName: string | null;
}

const fixed = (name: string, type: KafkaType, value: string, doc: string): BrokerConfigRow => ({
  name,
  type,
  default: value,
  readOnly: true,
  sensitive: false,
  doc,
  topicName: null,
});

const fixedRows: readonly BrokerConfigRow[] = [
  fixed('default.replication.factor', 'int', '1', 'Fixed: the object store replicates, brokers do not.'),
  fixed(
    'offsets.topic.replication.factor',
    'short',
    '1',
    'Fixed: the object store replicates, brokers do not.',
  ),
];

/** In the order of names. */
export const brokerConfigs: readonly BrokerConfigRow[] = buildRows();

function buildRows(): BrokerConfigRow[] {
  const rows = new Map(fixedRows.map((config) => [config.name, config]));
  for (const config of topicConfigs) {
    if (config.broker === null) continue;
    rows.set(config.broker, {
      name: config.broker,
      type: config.type,
      default: config.default,
      readOnly: false,
      sensitive: false,
      doc: `What topics inherit as ${config.name}. ${config.doc}`,
      topicName: config.name,
    });
  }
  for (const key of settingKeys) {
    const spec = settingSpec(key);
    if (spec.kafka === undefined) continue;
    const name = kafkaName(key);
    const inherited = rows.get(name);
    rows.set(name, {
      name,
      type: spec.kafka,
      default: typeof spec.default === 'function' ? null : plainText(spec.default),
      readOnly: inherited === undefined,
      sensitive: spec.type === 'password',
      doc: spec.doc,
      topicName: inherited?.topicName ?? null,
    });
  }
  return [...rows.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function kafkaName(key: SettingKey): string {
  return settingSpec(key).kafkaName ?? key;
}

/** Values that differ from Kafka-wide defaults because of this start: what DescribeConfigs calls static. */
export function staticBrokerConfigs(settings: Settings): Record<string, string> {
  const values: Record<string, string> = {};
  for (const key of settingKeys) {
    const spec = settingSpec(key);
    if (spec.kafka === undefined) continue;
    const value = plainText(settings[key]);
    // Defaults that depend on machine or profile have no one value to compare with.
    const isDefault = typeof spec.default !== 'function' && value === plainText(spec.default);
    if (!isDefault && value !== '') values[kafkaName(key)] = value;
  }
  return values;
}

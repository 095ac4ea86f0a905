import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { brokerConfigs, staticBrokerConfigs } from '../../../src/config/broker-configs.ts';
import { KafkaConfigCatalog } from '../../../src/config/config-catalog.ts';
import { kafkaTypes } from '../../../src/config/setting-spec.ts';
import { resolveSettings } from '../../../src/config/settings.ts';
import { topicConfigs, validateTopicConfigs } from '../../../src/config/topic-configs.ts';
import { type ConfigCatalog, configType } from '../../../src/requests/support/config-catalog.ts';

interface Fact {
  readonly type: string;
  readonly default: string;
  readonly valid: string;
  readonly mode: string;
  readonly synonym: string;
}

/** What a real Apache Kafka answers. */
function facts(scope: string): Map<string, Fact> {
  const rows = readFileSync('test/fixtures/config/kafka-4.4.0.tsv', 'utf8').split('\n');
  const found = new Map<string, Fact>();
  for (const line of rows) {
    const [of, name, type = '', value = '', valid = '', mode = '', , synonym = ''] = line.split('\t');
    if (of === scope) found.set(name!, { type, default: value, valid, mode, synonym });
  }
  return found;
}

function settingsOf(values: Record<string, string>) {
  return resolveSettings({
    profile: 'start',
    machine: { memoryBytes: 2 ** 34, cores: 4 },
    directory: '/srv',
    flags: Object.entries(values).map(([name, value]) => ({ name, value, origin: '--set' })),
  }).settings;
}

/** Differs from Kafka on purpose: values that Kafka takes as "no limit", or that replication alone gives meaning. */
const ownDefaults = new Set(['max.connections', 'offsets.topic.replication.factor']);

test('topic configs are exactly those of Apache Kafka, with its types, defaults, ranges and synonyms', () => {
  const kafka = facts('topic');
  assert.deepEqual(topicConfigs.map((config) => config.name).sort(), [...kafka.keys()].sort());
  for (const config of topicConfigs) {
    const fact = kafka.get(config.name)!;
    assert.equal(config.type, fact.type, config.name);
    assert.equal(config.default, fact.default, config.name);
    const synonym = fact.synonym === 'same name' ? config.name : fact.synonym;
    assert.equal(config.broker ?? '', synonym, config.name);
    const range = /^(?:(-?\d+)\|)?(-?\d+)\.\.(-?\d+)?$/.exec(fact.valid);
    if (range !== null) {
      assert.equal(String(config.also ?? ''), range[1] ?? '', config.name);
      assert.equal(String(config.min), range[2], config.name);
      assert.equal(String(config.max ?? ''), range[3] ?? '', config.name);
    }
    assert.equal(
      validateTopicConfigs({ [config.name]: config.default }),
      null,
      `${config.name}: its own default`,
    );
  }
});

test('broker configs have the names and types of Apache Kafka, and its defaults where they do not depend on the machine', () => {
  const kafka = facts('broker');
  for (const config of brokerConfigs) {
    const fact = kafka.get(config.name);
    assert.ok(fact !== undefined, `${config.name} is no broker config of Kafka`);
    assert.equal(config.type, fact.type, config.name);
    const relevant = config.default !== null && fact.default !== '(required)' && fact.default !== 'null';
    if (relevant && !ownDefaults.has(config.name) && config.name !== 'log.dir') {
      assert.equal(config.default, fact.default, config.name);
    }
    if (!config.readOnly) assert.equal(fact.mode, 'cluster', `${config.name} is not changeable in Kafka`);
  }
});

test('the catalog fits what the config requests ask for', () => {
  const catalog: ConfigCatalog = new KafkaConfigCatalog({});
  assert.deepEqual({ ...kafkaTypes }, { ...configType });
  assert.equal(catalog.definition('topic', 'retention.ms')?.brokerName, 'log.retention.ms');
  assert.equal(catalog.definition('broker', 'log.retention.ms')?.readOnly, false);
  assert.equal(catalog.definition('broker', 'num.partitions')?.readOnly, true);
  assert.equal(catalog.definition('topic', 'num.partitions'), undefined);
  assert.equal(catalog.definition('topic', 'toString'), undefined);
  assert.equal(catalog.definitions('topic').length, topicConfigs.length);
});

test('every broker config that a topic inherits is defined', () => {
  const names = new Set(brokerConfigs.map((config) => config.name));
  for (const config of topicConfigs)
    assert.ok(config.broker === null || names.has(config.broker), config.name);
});

test('what was given at start is static, what was not is the default', () => {
  const configs = staticBrokerConfigs(
    settingsOf({ 'log.retention.hours': '1', 'node.id': '0', 'broker.rack': 'a' }),
  );
  assert.equal(configs['log.retention.ms'], '3600000');
  assert.equal(configs['broker.rack'], 'a');
  assert.equal(configs['node.id'], undefined, 'same as the default');
  assert.equal(configs['log.dir'], '/srv/millrace-data');
  assert.equal(configs['store.url'], undefined, 'not a config of Kafka');
  const catalog = new KafkaConfigCatalog(configs);
  assert.equal(catalog.staticValue('log.retention.ms'), '3600000');
  assert.equal(catalog.staticValue('toString'), undefined);
});

test('values are refused as Kafka refuses them', () => {
  const wrong: [string, string][] = [
    ['retention.ms', '-2'],
    ['retention.ms', '7d'],
    ['retention.ms', '9223372036854775808'],
    ['retention.ms', ''],
    ['max.message.bytes', '2147483648'],
    ['max.message.bytes', '1.5'],
    ['cleanup.policy', 'delete,shrink'],
    ['compression.type', 'none'],
    ['compression.gzip.level', '0'],
    ['min.cleanable.dirty.ratio', '1.1'],
    ['min.cleanable.dirty.ratio', ''],
    ['preallocate', 'yes'],
    ['message.timestamp.type', 'createtime'],
    ['leader.replication.throttled.replicas', '0-1'],
  ];
  for (const [name, value] of wrong) {
    assert.match(
      validateTopicConfigs({ [name]: value }) ?? '',
      new RegExp(`^Invalid value .* for configuration ${name}: `),
    );
  }
  assert.equal(validateTopicConfigs({ nope: '1' }), 'Unknown topic config name: nope');
});

test('values are taken as Kafka takes them', () => {
  assert.equal(
    validateTopicConfigs({
      'retention.ms': '9223372036854775807',
      'cleanup.policy': 'compact, delete',
      'compression.gzip.level': '-1',
      'leader.replication.throttled.replicas': '0:1,1:2',
      'follower.replication.throttled.replicas': '*',
      preallocate: 'TRUE',
    }),
    null,
  );
});

test('lags that contradict each other are refused', () => {
  const problem = validateTopicConfigs({ 'min.compaction.lag.ms': '100', 'max.compaction.lag.ms': '99' });
  assert.match(problem ?? '', /must not be greater/);
});

test('a broker value is held to the rules of the topic config that inherits it, and read-only ones to none', () => {
  const catalog = new KafkaConfigCatalog({});
  assert.equal(catalog.valueProblem('broker', 'log.retention.ms', '1000'), null);
  assert.match(catalog.valueProblem('broker', 'log.retention.ms', '-5') ?? '', /at least -1/);
  assert.match(catalog.valueProblem('broker', 'num.partitions', '5') ?? '', /cannot be changed/);
});

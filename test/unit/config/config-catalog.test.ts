import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { brokerConfigs, staticBrokerConfigs } from '../../../src/config/broker-configs.ts';
import { KafkaConfigCatalog } from '../../../src/config/config-catalog.ts';
import { clientMetricsConfigs, groupConfigs, parseSelector } from '../../../src/config/group-configs.ts';
import { kafkaValueProblem } from '../../../src/config/kafka-value.ts';
import { policyConfigs } from '../../../src/config/policy-settings.ts';
import { resolveSettings } from '../../../src/config/settings.ts';
import { topicConfigs, validateTopicConfigs } from '../../../src/config/topic-configs.ts';
import type { ConfigCatalog } from '../../../src/requests/support/config-catalog.ts';

interface Fact {
  readonly type: string;
  readonly default: string;
  readonly valid: string;
  readonly mode: string;
  readonly synonym: string;
  readonly secret: boolean;
}

/** What a real Apache Kafka answers. */
function facts(scope: string): Map<string, Fact> {
  const rows = readFileSync('test/fixtures/config/kafka-4.4.0.tsv', 'utf8').split('\n');
  const found = new Map<string, Fact>();
  for (const line of rows) {
    const [of, name, type = '', value = '', valid = '', mode = '', flag, synonym = ''] = line.split('\t');
    const secret = flag === 'S';
    if (of === scope) found.set(name!, { type, default: value, valid, mode, synonym, secret });
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
const ownDefaults = new Set([
  'max.connections',
  'log.dir',
  'log.retention.ms',
  'log.roll.ms',
  'log.roll.jitter.ms',
]);
/** Facts here, whatever is said. */
const fixed = new Set([
  'default.replication.factor',
  'offsets.topic.replication.factor',
  'process.roles',
  'share.coordinator.state.topic.min.isr',
  'share.coordinator.state.topic.replication.factor',
  'transaction.state.log.min.isr',
  'transaction.state.log.replication.factor',
]);

/** Millrace's own, of topics and brokers. */
const own = ['records.validation'];

test('topic configs are exactly those of Apache Kafka and our own, with its types, defaults, ranges and synonyms', () => {
  const kafka = facts('topic');
  assert.deepEqual(topicConfigs.map((config) => config.name).sort(), [...kafka.keys(), ...own].sort());
  for (const config of topicConfigs) {
    if (own.includes(config.name)) continue;
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

test('broker configs are exactly those of Apache Kafka and our own, with its types, modes, secrets and ranges', () => {
  const kafka = facts('broker');
  const inherited = new Set(topicConfigs.map(({ broker }) => broker));
  const policies = policyConfigs().map(({ name }) => name);
  assert.deepEqual([...brokerConfigs().keys()], [...kafka.keys(), ...own, ...policies].sort());
  for (const { name, rule, default: value, mode, sensitive, acts } of brokerConfigs().values()) {
    if (own.includes(name) || policies.includes(name)) continue;
    const fact = kafka.get(name)!;
    assert.equal(rule.type, fact.type, name);
    assert.equal(sensitive, fact.secret, name);
    // What is a setting here needs a restart, whatever Kafka can do.
    if (!(acts && mode === 'ro')) assert.equal(mode, fact.mode, name);
    const told = fact.default === 'null' || fact.default === '(required)' ? null : fact.default;
    if (!acts && !fixed.has(name)) assert.equal(value, told, name);
    if (acts && value !== null && told !== null && !ownDefaults.has(name)) assert.equal(value, told, name);
    // What topics inherit is held to their rule: Kafka checks some of those values only where they are used.
    if (inherited.has(name)) continue;
    const range = /^(?:(-?\d+)\|)?(-?\d+)\.\.(-?\d+)?$/.exec(fact.valid);
    assert.deepEqual(
      [rule.also, rule.min, rule.max].map((bound) => (bound === undefined ? '' : String(bound))),
      range === null ? ['', '', ''] : range.slice(1).map((bound) => bound ?? ''),
      name,
    );
    if (value !== null && rule.type !== 'class') assert.equal(kafkaValueProblem(rule, value), null, name);
  }
});

test('configs that do nothing say why, and no other', () => {
  for (const { name, doc, acts } of brokerConfigs().values()) {
    assert.equal(/^(No effect|Fixed): .+\.$/.test(doc), !acts, name);
  }
});

test('group and client metrics configs are exactly those of Apache Kafka', () => {
  for (const [scope, configs] of [
    ['group', groupConfigs],
    ['client-metrics', clientMetricsConfigs],
  ] as const) {
    const kafka = facts(scope);
    assert.deepEqual(
      configs
        .filter(({ internal }) => internal !== true)
        .map(({ name, type, default: value, broker }) => [name, type, value, broker ?? '']),
      [...kafka].map(([name, fact]) => [
        name,
        fact.type,
        // Without one Kafka tells the first of the broker's assignors.
        fact.default === 'null' ? 'sticky' : fact.default,
        fact.synonym,
      ]),
    );
    for (const config of configs) assert.equal(kafkaValueProblem(config, config.default!), null, config.name);
  }
});

test('the catalog fits what the config requests ask for', () => {
  const catalog: ConfigCatalog = new KafkaConfigCatalog({});
  assert.equal(catalog.definition('topic', 'retention.ms')?.brokerName, 'log.retention.ms');
  assert.equal(catalog.definition('broker', 'log.retention.ms')?.readOnly, false);
  assert.equal(catalog.definition('broker', 'num.partitions')?.readOnly, true);
  assert.equal(catalog.definition('topic', 'num.partitions'), undefined);
  assert.equal(catalog.definition('topic', 'toString'), undefined);
  assert.equal(catalog.definitions('topic').length, topicConfigs.length);
});

test('every broker config that a topic inherits is defined', () => {
  for (const config of [...topicConfigs, ...groupConfigs])
    assert.ok(config.broker === null || brokerConfigs().has(config.broker), config.name);
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

test('values are refused as Kafka refuses them, in its words', () => {
  const wrong: [name: string, value: string, why: string][] = [
    ['retention.ms', '-2', 'Value must be at least -1'],
    ['retention.ms', '7d', 'Not a number of type LONG'],
    ['retention.ms', '9223372036854775808', 'Not a number of type LONG'],
    ['retention.ms', '', 'Not a number of type LONG'],
    ['max.message.bytes', '2147483648', 'Not a number of type INT'],
    ['max.message.bytes', '1.5', 'Not a number of type INT'],
    ['segment.bytes', '14', 'Value must be at least 1048576'],
    ['compression.type', 'none', 'String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer'],
    ['compression.gzip.level', '0', 'Value must be between 1 and 9 or equal to -1'],
    ['compression.gzip.level', '10', 'Value must be between 1 and 9 or equal to -1'],
    ['compression.lz4.level', '18', 'Value must be no more than 17'],
    ['min.cleanable.dirty.ratio', '1.1', 'Value must be no more than 1'],
    ['min.cleanable.dirty.ratio', '', 'Not a number of type DOUBLE'],
    ['preallocate', 'yes', 'Expected value to be either true or false'],
    ['message.timestamp.type', 'createtime', 'String must be one of: CreateTime, LogAppendTime'],
  ];
  for (const [name, value, why] of wrong)
    assert.equal(
      validateTopicConfigs({ [name]: value }),
      `Invalid value ${value} for configuration ${name}: ${why}`,
    );
  assert.equal(
    validateTopicConfigs({ 'cleanup.policy': 'delete,shrink' }),
    'Invalid value shrink for configuration cleanup.policy: String must be one of: compact, delete',
  );
  assert.equal(
    validateTopicConfigs({ 'cleanup.policy': 'compact,' }),
    "Configuration 'cleanup.policy' values must not be empty.",
  );
  const throttled = 'leader.replication.throttled.replicas';
  assert.equal(
    validateTopicConfigs({ [throttled]: '0-1' }),
    `Invalid value [0-1] for configuration ${throttled}: ${throttled} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...`,
  );
  assert.equal(validateTopicConfigs({ nope: '1' }), 'Unknown topic config name: nope');
  assert.match(
    validateTopicConfigs({ 'remote.storage.enable': 'true' }) ?? '',
    /^Tiered Storage .* disabled/,
  );
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
  assert.equal(
    problem,
    'conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (99)',
  );
});

test('broker values are held to the rules of Kafka, and to those of the topic config that inherits them', () => {
  const catalog = new KafkaConfigCatalog({});
  const problem = (name: string, value: string) => catalog.valueProblem('broker', name, value);
  assert.equal(problem('log.retention.ms', '1000'), null);
  assert.match(problem('log.retention.ms', '-5') ?? '', /configuration log.retention.ms: .* at least -1/);
  assert.equal(problem('sasl.kerberos.min.time.before.relogin', '7'), null);
  assert.match(problem('num.io.threads', '0') ?? '', /at least 1/);
  assert.match(problem('principal.builder.class', 'x') ?? '', /Class x could not be found/);
  assert.equal(problem('group.consumer.migration.policy', 'UPGRADE'), null);
  assert.equal(problem('group.consumer.migration.policy', 'upgrade'), null, 'in any case');
});

test("a group's values lie within what the broker allows", () => {
  const catalog = new KafkaConfigCatalog({});
  const inForce = (name: string) => catalog.definition('broker', name)?.defaultValue ?? null;
  const problem = (name: string, value: string) =>
    catalog.relationProblem('group', { [name]: value }, inForce);
  const within: [string, number, number][] = [
    ['consumer.assignment.interval.ms', 0, 15_000],
    ['consumer.heartbeat.interval.ms', 5_000, 15_000],
    ['consumer.session.timeout.ms', 45_000, 60_000],
    ['share.assignment.interval.ms', 0, 15_000],
    ['share.heartbeat.interval.ms', 5_000, 15_000],
    ['share.session.timeout.ms', 45_000, 60_000],
    ['share.delivery.count.limit', 2, 10],
    ['share.record.lock.duration.ms', 15_000, 60_000],
    ['share.partition.max.record.locks', 100, 4_000],
    ['streams.assignment.interval.ms', 0, 15_000],
    ['streams.heartbeat.interval.ms', 5_000, 15_000],
    ['streams.session.timeout.ms', 45_000, 60_000],
  ];
  for (const [name, min, max] of within) {
    const text = `${name} must be in the range ${min} to ${max} inclusive.`;
    for (const right of [min, max]) assert.equal(problem(name, String(right)), null, name);
    for (const wrong of [min - 1, max + 1]) assert.equal(problem(name, String(wrong)), text);
  }
  assert.equal(problem('streams.num.standby.replicas', '2'), null);
  assert.equal(
    problem('streams.num.standby.replicas', '3'),
    'streams.num.standby.replicas must be less than or equal to 2',
  );
  assert.equal(problem('streams.assignor.name', 'sticky'), null);
  assert.match(problem('streams.assignor.name', 'foo') ?? '', /'foo' is not a registered task assignor/);
  const reset = (value: string) => catalog.valueProblem('group', 'share.auto.offset.reset', value);
  for (const right of [
    'latest',
    'earliest',
    'by_duration:PT1H',
    'by_duration:P2DT3H4M5.5S',
    'by_duration:P1D',
  ])
    assert.equal(reset(right), null, right);
  for (const wrong of ['none', 'by_duration:x', 'by_duration:P', 'by_duration:PT', 'by_duration:1H'])
    assert.match(reset(wrong) ?? '', /must be either 'earliest'/, wrong);
});

test('client metrics: intervals and selectors', () => {
  const catalog = new KafkaConfigCatalog({});
  const problem = (name: string, value: string) => catalog.valueProblem('client-metrics', name, value);
  const range = 'interval must be between 100 and 3600000 (1 hour)';
  for (const wrong of ['99', '3600001'])
    assert.equal(problem('interval.ms', wrong), `Invalid value ${wrong} for interval.ms, ${range}`);
  for (const right of ['100', '3600000']) assert.equal(problem('interval.ms', right), null);
  for (const right of ['', 'client_id=a.*,client_software_name=x', 'client_id=(a|b).+'])
    assert.equal(problem('match', right), null, right);
  for (const wrong of ['foo=bar', 'client_id=[', 'client_id', 'client_id=(a+)+', 'client_id=.*.*.*', '=x'])
    assert.equal(problem('match', wrong), `Illegal client matching pattern: ${wrong}`);
  assert.equal(parseSelector('client_id=a.*')!.matches.test('xab'), false, 'as a whole');
});

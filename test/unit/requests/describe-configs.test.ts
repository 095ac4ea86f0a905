import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { describeConfigsHandler } from '../../../src/requests/describe-configs.ts';
import { call, catalog, ErrorCode, FakeTopics, nodeId } from './admin-fixtures.ts';

function rig() {
  const topics = new FakeTopics();
  const handler = describeConfigsHandler({ topics, catalog, nodeId });
  const ask = async (
    version: number,
    resourceType: number,
    resourceName: string,
    more = {},
    keys: string[] | null = null,
  ) => {
    const request = { resources: [{ resourceType, resourceName, configurationKeys: keys }], ...more };
    return (await call(handler, DescribeConfigsCodec, version, request)).results[0]!;
  };
  const set = (resource: 'broker' | 'cluster' | 'group', name: string, entries: Record<string, string>) =>
    topics.builder.apply([{ type: 'config', resource, name, entries }]);
  return { topics, ask, set };
}

test('a topic: own entry over broker over cluster over static over default, all as synonyms', async () => {
  const { topics, ask, set } = rig();
  topics.add('t', 1, { 'retention.ms': '1000' });
  set('broker', String(nodeId), { 'log.retention.ms': '2000' });
  set('cluster', '', { 'log.retention.ms': '3000' });
  catalog.statics.set('log.retention.ms', '4000');
  const [config] = (await ask(4, 2, 't', { includeSynonyms: true }, ['retention.ms'])).configs;
  catalog.statics.delete('log.retention.ms');
  assert.deepEqual([config!.value, config!.configSource, config!.configType], ['1000', 1, 5]);
  assert.deepEqual(config!.synonyms, [
    { name: 'retention.ms', value: '1000', source: 1 },
    { name: 'log.retention.ms', value: '2000', source: 2 },
    { name: 'log.retention.ms', value: '3000', source: 3 },
    { name: 'log.retention.ms', value: '4000', source: 4 },
    { name: 'log.retention.ms', value: '604800000', source: 5 },
  ]);
});

test('every version: v0 says default or not, later ones the source, v3 type and documentation when asked', async () => {
  const { topics, ask } = rig();
  topics.add('t', 1, { 'retention.ms': '1000' });
  for (let version = 0; version <= 4; version++) {
    const { configs } = await ask(version, 2, 't', version >= 3 ? { includeDocumentation: true } : {});
    assert.deepEqual(
      configs.map(({ name }) => name),
      ['cleanup.policy', 'retention.ms'],
    );
    if (version === 0)
      assert.deepEqual(
        configs.map(({ isDefault }) => isDefault),
        [true, false],
      );
    else
      assert.deepEqual(
        configs.map(({ configSource }) => configSource),
        [5, 1],
      );
    assert.ok(configs.every(({ synonyms }) => synonyms.length === 0));
    if (version >= 3) assert.equal(configs[1]!.documentation, 'What retention.ms does.');
  }
  assert.equal((await ask(4, 2, 't')).configs[0]!.documentation, null);
});

test('keys choose; an empty list is all, unknown keys are left out', async () => {
  const { topics, ask } = rig();
  topics.add('t');
  assert.equal((await ask(1, 2, 't', {}, [])).configs.length, 2);
  const chosen = (await ask(1, 2, 't', {}, ['nope', 'cleanup.policy'])).configs;
  assert.deepEqual(
    chosen.map(({ name }) => name),
    ['cleanup.policy'],
  );
});

test('this broker: all configs, read-only and sensitive ones marked, secrets never told', async () => {
  const { ask } = rig();
  const { configs } = await ask(2, 4, String(nodeId), { includeSynonyms: true });
  const byName = new Map(configs.map((config) => [config.name, config]));
  assert.deepEqual([byName.get('node.id')!.readOnly, byName.get('node.id')!.value], [true, '7']);
  const secret = byName.get('secret')!;
  assert.deepEqual([secret.isSensitive, secret.value], [true, null]);
  assert.ok(!JSON.stringify(configs).includes('hush'));
});

test('the cluster default tells only what is set there', async () => {
  const { ask, set } = rig();
  assert.deepEqual((await ask(2, 4, '')).configs, []);
  set('cluster', '', { 'log.retention.ms': '3000' });
  const { configs } = await ask(2, 4, '');
  assert.deepEqual(
    configs.map(({ name, configSource }) => [name, configSource]),
    [['log.retention.ms', 3]],
  );
});

test('a group need not exist', async () => {
  const { ask, set } = rig();
  assert.deepEqual(
    (await ask(4, 32, 'g')).configs.map(({ configSource }) => configSource),
    [5],
  );
  set('group', 'g', { 'consumer.session.timeout.ms': '50000' });
  const { configs } = await ask(4, 32, 'g');
  assert.deepEqual(
    configs.map(({ value, configSource }) => [value, configSource]),
    [['50000', 8]],
  );
});

test('refused resources: unknown topic 3, illegal name 17, other brokers, loggers, nameless groups and subscriptions 42', async () => {
  const { ask } = rig();
  const code = async (type: number, name: string) => {
    const { errorCode, configs } = await ask(4, type, name);
    assert.deepEqual(configs, []);
    return errorCode;
  };
  assert.equal(await code(2, 'x'), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.equal(await code(2, 'x y'), ErrorCode.INVALID_TOPIC_EXCEPTION);
  for (const [type, name] of [
    [4, '8'],
    [4, 'seven'],
    [8, '7'],
    [16, ''],
    [32, ''],
  ] as const) {
    assert.equal(await code(type, name), ErrorCode.INVALID_REQUEST);
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProperties } from '../../../src/config/properties-file.ts';
import { SettingError } from '../../../src/config/setting-error.ts';
import { settingKeys, settingSpec } from '../../../src/config/setting-keys.ts';
import {
  environmentName,
  type GivenSetting,
  nearestName,
  type ResolvedSettings,
  resolveSettings,
} from '../../../src/config/settings.ts';
import { longMax, plainText } from '../../../src/config/values.ts';

const machine = { memoryBytes: 16 * 2 ** 30, cores: 8 };
const base = { profile: 'start', machine, directory: '/srv' } as const;

function flags(values: Record<string, string>): GivenSetting[] {
  return Object.entries(values).map(([name, value]) => ({ name, value, origin: '--set' }));
}

function resolve(
  values: Record<string, string>,
  profile: 'start' | 'dev' | 'embedded' = 'start',
): ResolvedSettings {
  return resolveSettings({ ...base, profile, flags: flags(values) });
}

function problems(values: Record<string, string>, profile: 'start' | 'dev' | 'embedded' = 'start'): string[] {
  try {
    resolve(values, profile);
    return [];
  } catch (error) {
    assert.ok(error instanceof SettingError);
    assert.equal(error.kind, 'invalid');
    return error.problems.map((p) => `${p.setting}: ${p.expected}`);
  }
}

test('every profile resolves on machines of all sizes without a problem', () => {
  for (const profile of ['start', 'dev', 'embedded'] as const) {
    for (const memoryBytes of [2 ** 27, 2 ** 29, 3 * 2 ** 30, 2 ** 34, 2 ** 40]) {
      for (const cores of [1, 2, 96]) {
        const { settings } = resolveSettings({ ...base, profile, machine: { memoryBytes, cores } });
        assert.equal(settings.profile, profile);
      }
    }
  }
});

test('defaults follow the profile', () => {
  const start = resolve({}).settings;
  assert.equal(start['arena.bytes'], 2 * 2 ** 30);
  assert.equal(start['log.cache.bytes'], 2 ** 30);
  assert.equal(start['wal.capacity'], 2 * 2 ** 30);
  assert.equal(start.threads, 7);
  assert.equal(start['group.initial.rebalance.delay.ms'], 100);
  assert.equal(start['data.dir'], '/srv/millrace-data');
  assert.equal(start['store.url'], 'file:///srv/millrace-data/store');
  assert.deepEqual(start['wal.url'], ['file:///srv/millrace-data/wal']);
  const dev = resolve({}, 'dev').settings;
  assert.equal(dev['arena.bytes'], 512 * 2 ** 20);
  assert.deepEqual(dev.listeners, ['plain://127.0.0.1:9092']);
  const embedded = resolve({}, 'embedded').settings;
  assert.equal(embedded.threads, 0);
  assert.equal(embedded['arena.bytes'], 32 * 2 ** 20);
  assert.equal(embedded['arena.segment.bytes'], 256 * 2 ** 10);
  assert.equal(embedded['store.url'], 'memory:');
  assert.equal(embedded['http.address'], '');
});

test('a flag beats the environment, that beats the file, that beats the profile, that beats the default', () => {
  const file = parseProperties(
    'profile=dev\nnum.partitions=2\nnode.id=2\nbroker.rack=file\n',
    'm.properties',
  );
  const environment = { MILLRACE_NODE_ID: '3', MILLRACE_BROKER_RACK: 'env', PATH: '/bin' };
  const { settings, sources } = resolveSettings({
    ...base,
    file,
    environment,
    flags: flags({ 'broker.rack': 'flag' }),
  });
  assert.equal(settings.profile, 'dev');
  assert.equal(settings['wal.capacity'], 512 * 2 ** 20, 'the profile named in the file gives the defaults');
  assert.equal(settings['num.partitions'], 2);
  assert.equal(settings['node.id'], 3);
  assert.equal(settings['broker.rack'], 'flag');
  assert.deepEqual(
    [sources['num.partitions'], sources['node.id'], sources['broker.rack'], sources['wal.capacity']],
    ['file', 'environment', 'flag', 'default'],
  );
});

test('defaults follow the settings they depend on', () => {
  const { settings } = resolve({ 'arena.bytes': '64MiB', 'data.dir': '/data' });
  assert.equal(settings['log.cache.bytes'], 32 * 2 ** 20);
  assert.equal(settings['block.cache.bytes'], 16 * 2 ** 20);
  assert.equal(settings['arena.segment.bytes'], 512 * 2 ** 10);
  assert.equal(settings['socket.request.max.bytes'], 100 * 2 ** 20, 'as in Kafka, whatever the arena has');
  assert.equal(settings['store.url'], 'file:///data/store');
});

test('sizes, durations and lists are read in their units', () => {
  const { settings } = resolve({
    'wal.capacity': '512MB',
    'upload.bytes': '500_000_000',
    'upload.age.ms': '1m',
    'offsets.retention.minutes': '7d',
    'log.retention.hours': '24',
    'wal.linger.max.ms': '0.8',
    'log.cleanup.policy': 'compact, delete',
    'auto.create.topics.enable': 'FALSE',
    'log.message.timestamp.before.max.ms': '9223372036854775807',
  });
  assert.equal(settings['wal.capacity'], 512e6);
  assert.equal(settings['upload.bytes'], 5e8);
  assert.equal(settings['upload.age.ms'], 60_000);
  assert.equal(settings['offsets.retention.minutes'], 10_080);
  assert.equal(settings['log.retention.ms'], 86_400_000);
  assert.equal(settings['wal.linger.max.ms'], 0.8);
  assert.deepEqual(settings['log.cleanup.policy'], ['compact', 'delete']);
  assert.equal(settings['auto.create.topics.enable'], false);
  assert.equal(settings['log.message.timestamp.before.max.ms'], longMax);
  assert.equal(plainText(settings['log.message.timestamp.before.max.ms']), '9223372036854775807');
});

test('-1 means never under the names with other units too', () => {
  assert.equal(resolve({ 'log.retention.hours': '-1' }).settings['log.retention.ms'], -1);
});

test('values of the wrong form are refused with the setting, the value and what would be right', () => {
  const wrong: [string, string, RegExp][] = [
    ['wal.capacity', '2GX', /a size such as/],
    ['wal.capacity', '0.3B', /a size such as/],
    ['wal.capacity', '1MiB', /16 MiB to 1 TiB/],
    ['upload.age.ms', '5 parsecs', /a duration such as/],
    ['upload.age.ms', '0.5ms', /whole ms/],
    ['offsets.retention.minutes', '30s', /whole min/],
    ['node.id', '1.5', /a whole number/],
    ['node.id', '-1', /0 or more/],
    ['wal.iops', '7', /0 or 50 or more/],
    ['auto.create.topics.enable', 'yes', /true or false/],
    ['arena.segment.bytes', '3MiB', /a power of two/],
    ['log.level', 'loud', /one of debug, info, warn, error/],
    ['listeners', 'kafka:x:1', /listeners such as/],
    ['listeners', 'plain://x:70000', /port from 0 to 65535/],
    ['http.address', '8080', /host:port/],
    ['store.url', 'file:./store', /file:\/\/\/directory/],
    ['store.url', 'gs://bucket', /s3:\/\/bucket/],
    ['wal.url', '', /1 to 16 of/],
  ];
  for (const [setting, value, expected] of wrong) {
    const found = problems({ [setting]: value });
    assert.equal(found.length, 1, setting);
    assert.match(found[0]!, expected);
    assert.ok(found[0]!.startsWith(`${setting}: `));
  }
  assert.throws(() => resolve({ 'node.id': 'x' }), {
    message: 'setting node.id = "x" (--set): expected a whole number',
  });
});

test('all problems are told at once', () => {
  assert.equal(problems({ 'node.id': 'x', 'log.level': 'loud', nonsense: '1' }).length, 3);
});

test('an unknown setting is refused, the nearest one named, its value kept back', () => {
  assert.throws(
    () => resolve({ 'wal.capcity': 'secret' }),
    (error: Error) => {
      assert.match(error.message, /wal\.capcity/);
      assert.match(error.message, /perhaps wal\.capacity;/);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    },
  );
  assert.equal(nearestName('zzzzzz', settingKeys), null);
});

test('an unknown environment variable is warned of only: Kubernetes sets some itself', () => {
  const { warnings } = resolveSettings({
    ...base,
    environment: { MILLRACE_PORT: 'tcp://10.0.0.1:9092', MILLRACE_WAL_CAPCITY: '1' },
  });
  assert.equal(warnings.length, 2);
  assert.match(warnings[1]!, /MILLRACE_WAL_CAPCITY names no setting, perhaps MILLRACE_WAL_CAPACITY/);
});

test('two names of one setting in one place are refused', () => {
  assert.match(
    problems({ 'log.retention.ms': '1', 'log.retention.hours': '2' })[0]!,
    /only one of log.retention.ms and log.retention.hours/,
  );
});

test('values of a type are taken as they are, of another refused', () => {
  const given = (value: number | boolean | string[]): ResolvedSettings =>
    resolveSettings({ ...base, flags: [{ name: 'node.id', value, origin: 'options' }] });
  assert.equal(given(7).settings['node.id'], 7);
  for (const value of [true, 1.5, Number.NaN, ['7']]) {
    assert.throws(() => given(value), SettingError, String(value));
  }
});

test('relations between settings are checked', () => {
  const tls = { listeners: 'tls://:9093', 'tls.cert.file': 'c.pem', 'tls.key.file': 'k.pem' };
  assert.deepEqual(problems(tls), []);
  assert.equal(resolve(tls).settings['tls.cert.file'], '/srv/c.pem');
  const cases: [Record<string, string>, RegExp][] = [
    [
      { 'log.cache.bytes': '1500MiB' },
      /^log\.cache\.bytes: log\.cache\.bytes \+ block\.cache\.bytes of at most 15\/16/,
    ],
    [{ 'block.cache.bytes': '1GiB' }, /^block\.cache\.bytes: /],
    [{ 'arena.bytes': '100_000_000' }, /^arena\.bytes: a multiple of arena\.segment\.bytes/],
    [{ 'arena.bytes': '32MiB', 'arena.segment.bytes': '4MiB' }, /^arena\.segment\.bytes: at most 1\/16/],
    [{ 'message.max.bytes': '200MiB' }, /^message\.max\.bytes: at most socket\.request\.max\.bytes/],
    [{ 'message.max.bytes': '20MiB', 'wal.capacity': '64MiB' }, /^message\.max\.bytes: at most a quarter/],
    [{ 'group.min.session.timeout.ms': '1h' }, /^group\.min\.session\.timeout\.ms: at most/],
    [
      { 'group.consumer.min.session.timeout.ms': '2m' },
      /^group\.consumer\.min\.session\.timeout\.ms: at most group\.consumer\.max/,
    ],
    [
      { 'group.consumer.heartbeat.interval.ms': '1s' },
      /^group\.consumer\.heartbeat\.interval\.ms: 5 s to 15 s/,
    ],
    [
      {
        'group.consumer.min.session.timeout.ms': '5s',
        'group.consumer.session.timeout.ms': '5s',
      },
      /^group\.consumer\.heartbeat\.interval\.ms: below/,
    ],
    [{ listeners: '' }, /^listeners: at least one/],
    [{ listeners: 'plain://:1,PLAINTEXT://:2' }, /^listeners: each name once/],
    [
      { listeners: 'INTERNAL://:1' },
      /^listener\.security\.protocol\.map: PLAINTEXT or SSL for the listener INTERNAL/,
    ],
    [{ listeners: 'SASL_SSL://:1' }, /PLAINTEXT or SSL for the listener SASL_SSL/],
    [
      { 'listener.security.protocol.map': 'A:PLAINTEXT,a:SSL' },
      /^listener\.security\.protocol\.map: each name once/,
    ],
    [{ 'inter.broker.listener.name': 'B' }, /^inter\.broker\.listener\.name: the name of one of listeners/],
    [
      { 'advertised.listeners': 'plain://a:1,plain://b:1' },
      /^advertised\.listeners: at most one address a listener/,
    ],
    [{ listeners: 'tls://:9093', 'tls.key.file': 'k' }, /^tls\.cert\.file: a PEM file/],
    [
      { ...tls, 'tls.client.auth': 'required' },
      /^tls\.ca\.file: a PEM file, since tls\.client\.auth is required/,
    ],
    [
      { 'advertised.listeners': 'tls://a:1' },
      /^advertised\.listeners: only names that listeners has; SSL is not among them/,
    ],
    [{ 'advertised.listeners': 'plain://0.0.0.0:1' }, /^advertised\.listeners: a host name/],
    [{ 'wal.url': 'memory:,file:///a' }, /^wal\.url: volumes of one kind/],
    [{ 'wal.url': 'file:///a,file:///a' }, /^wal\.url: each volume once/],
  ];
  for (const [values, expected] of cases) {
    const found = problems(values);
    assert.equal(found.length, 1, JSON.stringify([values, found]));
    assert.match(found[0]!, expected);
  }
});

test('settings survive the way to another thread, and nobody changes them', () => {
  const { settings } = resolve({});
  assert.deepEqual(structuredClone(settings), settings);
  assert.ok(Object.isFrozen(settings));
});

test('the table is consistent: lower-case dotted keys, one environment name each, one-sentence docs, units in names', () => {
  const variables = new Set<string>();
  for (const key of settingKeys) {
    const spec = settingSpec(key);
    assert.match(key, /^[a-z][a-z0-9]*(\.[a-z]+)*$/);
    variables.add(environmentName(key));
    assert.match(spec.doc, /^[A-Z].*\.$/, key);
    assert.ok(
      typeof spec.default !== 'function' || spec.defaultText !== undefined,
      `${key}: the default in words`,
    );
    if (spec.type === 'duration') {
      assert.match(key, (spec.unit ?? 'ms') === 'ms' ? /\.ms$/ : /\.minutes$/, key);
    }
    if (['int', 'long', 'bytes', 'duration', 'double'].includes(spec.type)) {
      assert.ok(spec.min !== undefined && spec.max !== undefined, `${key}: a range`);
    }
  }
  assert.equal(variables.size, settingKeys.length);
});

test('limits of single addresses: hosts before the last colon, and nobody shut out altogether', () => {
  const overrides = '10.0.0.7:100,batch.example:0,fe80::1:2147483647,[::1]:5';
  assert.deepEqual(problems({ 'max.connections.per.ip.overrides': overrides }), []);
  for (const wrong of ['10.0.0.7', ':5', '10.0.0.7:', '10.0.0.7:-1', 'a b:5', '10.0.0.7:2147483648'])
    assert.match(problems({ 'max.connections.per.ip.overrides': wrong })[0] ?? 'none', /HOST:COUNT/, wrong);
  assert.match(
    problems({ 'max.connections.per.ip': '0' })[0] ?? 'none',
    /^max\.connections\.per\.ip: 1 or more/,
  );
  assert.deepEqual(
    problems({ 'max.connections.per.ip': '0', 'max.connections.per.ip.overrides': '10.0.0.7:100' }),
    [],
  );
});

test('the HTTP port is for this machine alone unless somebody says otherwise', () => {
  assert.equal(resolve({}).settings['http.address'], '127.0.0.1:9080');
  assert.equal(resolve({}, 'dev').settings['http.address'], '127.0.0.1:9080');
});

/** Configs of topics, brokers, groups and subscriptions over the wire: what is told, refused and in force. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { AlterConfigsCodec } from '../../../src/protocol/generated/alter-configs.ts';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { sequencedBatch } from '../../support/load/batches.ts';
import type { RawConnection } from '../../support/raw-client.ts';

const { INVALID_REQUEST, INVALID_CONFIG, MESSAGE_TOO_LARGE } = ErrorCode;
const kind = { topic: 2, broker: 4, subscription: 16, group: 32 } as const;
type Kind = keyof typeof kind;
const t = 'configured';

describe('configs of a broker', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  beforeEach(async () => {
    bed = new BrokerBed();
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(t, 1);
  });
  afterEach(() => bed.dispose());

  /** Error and message. */
  const set = async (of: Kind, name: string, config: string, value: string | null) => {
    const { responses } = await connection.request(IncrementalAlterConfigsCodec, 1, {
      resources: [
        {
          resourceType: kind[of],
          resourceName: name,
          configs: [{ name: config, configOperation: value === null ? 1 : 0, value }],
        },
      ],
    });
    return [responses[0]!.errorCode, responses[0]!.errorMessage] as const;
  };
  const done = [0, null] as const;
  const described = async (of: Kind, name: string, keys: string[] | null = null) => {
    const { results } = await connection.request(DescribeConfigsCodec, 4, {
      resources: [{ resourceType: kind[of], resourceName: name, configurationKeys: keys }],
      includeSynonyms: true,
      includeDocumentation: true,
    });
    assert.deepEqual([results[0]!.errorCode, results[0]!.errorMessage], [0, '']);
    return results[0]!.configs;
  };
  /** Value, source and the values behind it. */
  const told = async (of: Kind, name: string, config: string) => {
    const [found] = await described(of, name, [config]);
    return (
      found && [
        found.value,
        found.configSource,
        found.synonyms.map((each) => [each.name, each.value, each.source]),
      ]
    );
  };

  test('a broker tells all of Kafka, each with a type, a documentation and no secret', async () => {
    const configs = await described('broker', '0');
    assert.ok(configs.length >= 350, `${configs.length} configs`);
    for (const { name, configType, documentation, value, isSensitive } of configs) {
      assert.ok(configType >= 1 && configType <= 9, name);
      assert.ok(documentation!.length > 10, name);
      if (isSensitive) assert.equal(value, null, name);
    }
    assert.deepEqual(await described('broker', ''), []);
    // Kafka's 37, and records.validation.
    assert.equal((await described('topic', t)).length, 38);
    assert.equal((await described('group', 'g')).length, 21);
    assert.equal((await described('subscription', 's')).length, 3);
  });

  test('on the broker, on the default of all, on the topic: the nearest is in force, and survives a restart', async () => {
    assert.deepEqual(await told('topic', t, 'retention.ms'), [
      '604800000',
      5,
      [['log.retention.ms', '604800000', 5]],
    ]);
    assert.deepEqual(await set('broker', '', 'log.retention.ms', '3000'), done);
    assert.deepEqual(await set('broker', '0', 'log.retention.ms', '2000'), done);
    assert.deepEqual(await set('topic', t, 'retention.ms', '1000'), done);
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
    const inherited = [
      ['log.retention.ms', '2000', 2],
      ['log.retention.ms', '3000', 3],
      ['log.retention.ms', '604800000', 5],
    ];
    assert.deepEqual(await told('topic', t, 'retention.ms'), [
      '1000',
      1,
      [['retention.ms', '1000', 1], ...inherited],
    ]);
    assert.deepEqual(await told('broker', '0', 'log.retention.ms'), ['2000', 2, inherited]);
    assert.deepEqual(await told('broker', '', 'log.retention.ms'), ['3000', 3, [inherited[1]]]);
    assert.deepEqual(await set('topic', t, 'retention.ms', null), done);
    assert.deepEqual(await set('broker', '0', 'log.retention.ms', null), done);
    assert.deepEqual((await told('topic', t, 'retention.ms'))?.slice(0, 2), ['3000', 3]);
  });

  test('what topics inherit acts at once', async () => {
    const send = async () => {
      const batch = sequencedBatch(
        { producerId: -1, producerEpoch: -1 },
        -1,
        [Buffer.alloc(500)],
        Date.now(),
      );
      return (await connection.produce(t, 0, batch)).errorCode;
    };
    assert.equal(await send(), 0);
    assert.deepEqual(await set('broker', '', 'message.max.bytes', '400'), done);
    assert.equal(await send(), MESSAGE_TOO_LARGE);
    assert.deepEqual(await set('topic', t, 'max.message.bytes', '700'), done);
    assert.equal(await send(), 0);
    // Durable storage counts as all replicas: one is in sync whatever is asked for.
    assert.deepEqual(await set('topic', t, 'min.insync.replicas', '3'), done);
    assert.equal(await send(), 0);
  });

  test('what Kafka has and is not needed here is accepted, kept and told', async () => {
    assert.deepEqual(await set('broker', '0', 'sasl.kerberos.min.time.before.relogin', '7'), done);
    assert.deepEqual((await told('broker', '0', 'sasl.kerberos.min.time.before.relogin'))?.slice(0, 2), [
      '7',
      2,
    ]);
    assert.deepEqual(await set('broker', '0', 'sasl.jaas.config', 'hush'), done);
    assert.deepEqual(await told('broker', '0', 'sasl.jaas.config'), [
      null,
      2,
      [['sasl.jaas.config', null, 2]],
    ]);
    assert.deepEqual(await set('broker', '', 'leader.replication.throttled.rate', '100'), done);
    assert.deepEqual(await set('broker', '0', 'my.plugin.setting', 'hush'), done);
    const [unknown] = await described('broker', '0', ['my.plugin.setting']);
    assert.deepEqual(
      [unknown!.value, unknown!.configType, unknown!.isSensitive, unknown!.readOnly],
      [null, 0, true, true],
    );
    assert.deepEqual(await set('broker', '0', 'my.plugin.setting', null), done);
    assert.deepEqual(await described('broker', '0', ['my.plugin.setting']), []);
  });

  test('refusals, with the words of Kafka', async () => {
    const refusals: [Kind, string, string, string, number, string | RegExp][] = [
      ['topic', t, 'nope', '1', INVALID_CONFIG, 'Unknown topic config name: nope'],
      [
        'topic',
        t,
        'retention.ms',
        'x',
        INVALID_CONFIG,
        /^Invalid value x for configuration retention.ms: Not a/,
      ],
      [
        'topic',
        t,
        'remote.storage.enable',
        'true',
        INVALID_CONFIG,
        /^Tiered Storage functionality is disabled/,
      ],
      ['topic', '', 'retention.ms', '1', INVALID_REQUEST, 'Default topic resources are not allowed.'],
      ['topic', 'none', 'retention.ms', '1', 3, "The topic 'none' does not exist."],
      ['topic', 'bad name', 'retention.ms', '1', 17, /./],
      ['broker', '0', 'node.id', '4', INVALID_REQUEST, 'Cannot update these configs dynamically: [node.id]'],
      [
        'broker',
        '0',
        'num.io.threads',
        '0',
        INVALID_REQUEST,
        /^Invalid value 0 .* Value must be at least 1$/,
      ],
      ['broker', '0', 'ssl.client.auth', 'required', INVALID_REQUEST, /dynamically: \[ssl.client.auth\]$/],
      [
        'broker',
        '0',
        'ssl.keystore.location',
        '/x',
        INVALID_REQUEST,
        /^These security configs can be dynamically/,
      ],
      [
        'broker',
        '',
        'sasl.jaas.config',
        'x',
        INVALID_REQUEST,
        /^Cannot update these configs at default cluster level/,
      ],
      [
        'broker',
        '7',
        'log.retention.ms',
        '1',
        INVALID_REQUEST,
        /^Unexpected broker id, expected 0 .* received 7$/,
      ],
      ['broker', 'x', 'log.retention.ms', '1', INVALID_REQUEST, /must be an integer, but it is: x$/],
      ['group', 'g', 'nope', '1', INVALID_CONFIG, 'Unknown group config name: nope'],
      [
        'group',
        'g',
        'consumer.session.timeout.ms',
        '10',
        INVALID_CONFIG,
        /in the range 45000 to 60000 inclusive\.$/,
      ],
      ['group', '', 'consumer.session.timeout.ms', '50000', INVALID_REQUEST, /^Default group resources/],
      ['subscription', 's', 'nope', '1', INVALID_REQUEST, 'Unknown client metrics configuration: nope'],
      ['subscription', 's', 'interval.ms', '10', INVALID_REQUEST, /^Invalid value 10 for interval.ms/],
      ['subscription', 's', 'match', 'foo=bar', INVALID_CONFIG, 'Illegal client matching pattern: foo=bar'],
      ['subscription', '', 'interval.ms', '1000', INVALID_REQUEST, "Subscription name can't be empty"],
    ];
    for (const [of, name, config, value, code, message] of refusals) {
      const [error, text] = await set(of, name, config, value);
      assert.equal(error, code, `${config} of ${of} ${name}: ${text}`);
      if (typeof message === 'string') assert.equal(text, message);
      else assert.match(text ?? '', message);
    }
    for (const of of ['broker', 'group', 'subscription'] as const) {
      const name = of === 'broker' ? '0' : 'g';
      assert.ok(
        (await described(of, name)).every(
          ({ configSource }) => configSource >= 4 && configSource !== 7 && configSource !== 8,
        ),
      );
    }
  });

  test('the bounds of a group are those of the broker in force', async () => {
    const session = 'consumer.session.timeout.ms';
    assert.deepEqual(await set('group', 'g', session, '50000'), done);
    assert.deepEqual(await told('group', 'g', session), [
      '50000',
      8,
      [
        [session, '50000', 8],
        [`group.${session}`, '45000', 5],
      ],
    ]);
    assert.deepEqual(await told('group', 'other', session), ['45000', 5, [[`group.${session}`, '45000', 5]]]);
  });

  test('AlterConfigs replaces all of a subscription; what is not set has its default and no synonym', async () => {
    assert.deepEqual(await set('subscription', 's', 'metrics', 'org.apache.kafka.'), done);
    const { responses } = await connection.request(AlterConfigsCodec, 2, {
      resources: [{ resourceType: 16, resourceName: 's', configs: [{ name: 'interval.ms', value: '200' }] }],
    });
    assert.equal(responses[0]!.errorCode, 0);
    assert.deepEqual(await told('subscription', 's', 'interval.ms'), ['200', 7, [['interval.ms', '200', 7]]]);
    assert.deepEqual(await told('subscription', 's', 'metrics'), ['', 5, []]);
  });
});

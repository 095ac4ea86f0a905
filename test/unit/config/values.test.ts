import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addressText,
  kafkaListenerName,
  parseAddress,
  parseListener,
  parseProtocolMapping,
  protocolOf,
  reachableText,
} from '../../../src/config/addresses.ts';
import { bytesText, durationText, Expected, parseBytes, parseDuration } from '../../../src/config/values.ts';

test('sizes', () => {
  const sizes: [string, number][] = [
    ['0', 0],
    ['-1', -1],
    ['500_000_000', 5e8],
    ['512MB', 512e6],
    ['512 mb', 512e6],
    ['2GiB', 2 ** 31],
    ['1.5KiB', 1536],
    ['7B', 7],
    ['1TB', 1e12],
  ];
  for (const [text, bytes] of sizes) assert.equal(parseBytes(text), bytes, text);
  for (const text of ['', 'MB', '1 2', '1M', '1.5', '1e3', '0x10', '--1']) {
    assert.throws(() => parseBytes(text), Expected, text);
  }
});

test('durations', () => {
  assert.equal(parseDuration('60s', 'ms'), 60_000);
  assert.equal(parseDuration('1m', 'ms'), 60_000);
  assert.equal(parseDuration('1.5s', 'ms'), 1_500);
  assert.equal(parseDuration('10', 'min'), 10);
  assert.equal(parseDuration('2h', 'min'), 120);
  for (const text of ['', 's', '1 week', '0.1ms', '1M'])
    assert.throws(() => parseDuration(text, 'ms'), Expected, text);
});

test('values print in the largest unit that fits', () => {
  assert.equal(bytesText(2 ** 31), '2 GiB');
  assert.equal(bytesText(5e8), '500 MB');
  assert.equal(bytesText(1536), '1536');
  assert.equal(bytesText(0), '0');
  assert.equal(durationText(60_000, 'ms'), '1 min');
  assert.equal(durationText(10_080, 'min'), '7 d');
  assert.equal(durationText(1, 'ms'), '1 ms');
  assert.equal(durationText(-1, 'ms'), '-1');
});

test('what is printed reads back as the same value', () => {
  for (const bytes of [0, 1, 1000, 1024, 5e8, 512 * 2 ** 20, 2 ** 40, 123_456_789]) {
    assert.equal(parseBytes(bytesText(bytes)), bytes);
  }
  for (const ms of [0, 1, 999, 1_000, 90_000, 604_800_000])
    assert.equal(parseDuration(durationText(ms, 'ms'), 'ms'), ms);
});

test('addresses', () => {
  assert.deepEqual(parseAddress('localhost:9092'), { host: 'localhost', port: 9092 });
  assert.deepEqual(parseAddress(':0'), { host: '', port: 0 });
  assert.deepEqual(parseAddress('[::1]:65535'), { host: '::1', port: 65_535 });
  assert.deepEqual(parseAddress('[fe80::1%eth0]:1'), { host: 'fe80::1%eth0', port: 1 });
  assert.equal(addressText({ host: '::1', port: 1 }), '[::1]:1');
  for (const [host, text] of [
    ['', 'localhost:1'],
    ['::', 'localhost:1'],
    ['0.0.0.0', '127.0.0.1:1'],
    ['::1', '[::1]:1'],
    ['fe80::1%eth0', '[fe80::1%eth0]:1'],
    ['h', 'h:1'],
  ] as const)
    assert.equal(reachableText({ host, port: 1 }), text);
  for (const text of [
    '',
    '9092',
    'a:',
    'a:b',
    'a:65536',
    '::1:9092',
    '[::1',
    'a b:1',
    'a/b:1',
    '[x]:1',
    '[::1%]:1',
    '[%eth0]:1',
  ]) {
    assert.throws(() => parseAddress(text), Expected, text);
  }
});

test('listeners, under the names of Kafka too', () => {
  assert.deepEqual(parseListener('tls://h:1'), { name: 'tls', host: 'h', port: 1 });
  assert.deepEqual(parseListener('SSL://h:1'), { name: 'tls', host: 'h', port: 1 });
  assert.deepEqual(parseListener('PLAINTEXT://:1'), { name: 'plain', host: '', port: 1 });
  assert.deepEqual(parseListener('Within_2://[::]:1'), { name: 'within_2', host: '::', port: 1 });
  for (const text of ['h:1', '://h:1', '9a://h:1', 'a b://h:1', 'plain:/h:1'])
    assert.throws(() => parseListener(text), Expected, text);
  assert.deepEqual(['plain', 'tls', 'within_2'].map(kafkaListenerName), ['PLAINTEXT', 'SSL', 'WITHIN_2']);
});

test('protocols of listeners', () => {
  const map = ['Within:PLAINTEXT', 'OUT:ssl', 'plain:tls', 'S:SASL_SSL'].map(parseProtocolMapping);
  assert.deepEqual(
    ['within', 'out', 'plain', 'tls', 's', 'other'].map((name) => protocolOf(name, map)),
    ['plain', 'tls', 'tls', 'tls', null, null],
  );
  for (const text of ['', 'A', 'A:', ':SSL', 'A:KERBEROS', 'A:PLAINTEXT:B'])
    assert.throws(() => parseProtocolMapping(text), Expected, text);
});

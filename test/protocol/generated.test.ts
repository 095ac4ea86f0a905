/** The committed files are what the schema says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { API_TABLE } from '../../src/protocol/generated/api-keys.ts';
import { ERRORS, ErrorCode, errorInfo, errorName } from '../../src/protocol/generated/errors.ts';
import { staleFiles } from '../../tools/generate-protocol.ts';
import { parseSchema } from '../../tools/protocol/schema-parser.ts';
import { apiCodec, apiEntry, isKnownVersion } from '../support/api-codecs.ts';

test('generated files are up to date', () => {
  assert.deepEqual(staleFiles(), [], 'run: node dist/tools/generate-protocol.js');
});

test('codecs cover all that Kafka advertises, but the old Produce versions', () => {
  for (const { name, key, minVersion, maxStableVersion, kafka } of API_TABLE) {
    if (kafka === null) continue;
    assert.ok(minVersion <= (name === 'Produce' ? 3 : kafka.minVersion), name);
    assert.ok(maxStableVersion >= kafka.maxVersion, name);
    assert.ok(isKnownVersion(key, kafka.maxVersion) && !isKnownVersion(key, kafka.maxVersion + 2), name);
  }
});

test('no codec reads message formats below 2', () => {
  assert.equal(apiEntry(0)?.minVersion, 3);
  assert.equal(apiEntry(1)?.minVersion, 4);
});

test('an unknown key has neither entry nor codec', () => {
  assert.equal(apiEntry(4), undefined);
  assert.equal(apiCodec(-1), undefined);
  assert.equal(isKnownVersion(4, 0), false);
});

test('error codes are unique and have names', () => {
  assert.equal(new Set(ERRORS.map((error) => error.code)).size, ERRORS.length);
  assert.equal(errorInfo(ErrorCode.NOT_LEADER_OR_FOLLOWER)?.retriable, true);
  assert.equal(errorName(100), 'UNKNOWN_TOPIC_ID');
  assert.equal(errorName(31000), '31000');
  assert.equal(errorInfo(31000), undefined);
});

test('a schema that cannot be understood is refused with its line', () => {
  const head = '== 0 Produce 0-1 B\n>\n';
  assert.throws(() => parseSchema([`${head} A i31\n<\n`], []), /line 3: unknown type i31/);
  assert.throws(() => parseSchema([`${head} A i32 what\n<\n`], []), /line 3: 'what'/);
  assert.throws(() => parseSchema([`${head} A i32 =null\n<\n`], []), /null default/);
  assert.throws(() => parseSchema([`${head} A []B\n<\n`], []), /no struct B/);
  assert.throws(() => parseSchema([`${head} A []B\n  C B\n<\n`], []), /contains itself/);
  assert.throws(() => parseSchema([`${head} A i32\n  C i32\n<\n`], []), /deeper than/);
});

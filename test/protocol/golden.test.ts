/** Bytes written by the Java client: read to the same values, written back to the same bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { INT64_MAX, INT64_MIN } from '../../src/protocol/primitives.ts';
import { CODECS, decodeAll, encodeAll } from './codecs.ts';
import { type GoldenMessage, readGolden } from './golden-file.ts';

/** Structures whose Java class lives in a jar that the generator does not fetch. */
const WITHOUT_GOLDEN = new Set(['AbortedTxn']);

const golden = [...readGolden('golden-4.4.0'), ...readGolden('golden-3.9.1')];

test('every message of the Java client is written back byte for byte', () => {
  for (const message of golden) {
    const decoded = decodeAll(message.codec, message.bytes, message.version);
    const written = encodeAll(message.codec, decoded, message.version);
    assert.equal(written.toString('hex'), message.bytes.toString('hex'), message.label);
  }
});

test('a message without fields is the default message of the Java client', () => {
  let compared = 0;
  const seen = new Set<string>();
  for (const message of golden) {
    const key = `${message.codec.name} ${message.version}`;
    if (seen.has(key)) continue; // the first of each version holds defaults
    seen.add(key);
    const written = encodeAll(message.codec, {}, message.version);
    assert.equal(written.toString('hex'), message.bytes.toString('hex'), message.label);
    compared++;
  }
  assert.ok(compared > 600, `${compared} default messages`);
});

test('fields have the values that the Java client shows', () => {
  let fields = 0;
  for (const message of golden) {
    if (message.json === null) continue;
    const decoded = decodeAll(message.codec, message.bytes, message.version);
    fields += compareFields(decoded as Record<string, unknown>, message.json, message);
  }
  assert.ok(fields > 4000, `only ${fields} fields compared`);
});

test('every version of every codec has golden messages', () => {
  const present = new Set(golden.map((message) => `${message.codec.name} ${message.version}`));
  const missing: string[] = [];
  for (const codec of CODECS.values()) {
    if (WITHOUT_GOLDEN.has(codec.name)) continue;
    for (let version = codec.minVersion; version <= codec.maxVersion; version++) {
      if (!present.has(`${codec.name} ${version}`)) missing.push(`${codec.name} ${version}`);
    }
  }
  assert.deepEqual(missing, []);
});

/** Compares what the JSON has; it leaves out tagged fields at their default and fields the version lacks. */
function compareFields(
  decoded: Record<string, unknown>,
  json: Record<string, unknown>,
  message: GoldenMessage,
): number {
  let fields = 0;
  for (const [name, expected] of Object.entries(json)) {
    if (name.endsWith('SizeInBytes')) {
      const records = decoded[name.replace('SizeInBytes', '')];
      assert.equal((records as Uint8Array).byteLength, expected, `${message.label} ${name}`);
    } else {
      assert.ok(name in decoded, `${message.label}: no field ${name}`);
      compareValue(decoded[name], expected, message, name);
    }
    fields++;
  }
  return fields;
}

function compareValue(actual: unknown, expected: unknown, message: GoldenMessage, name: string): void {
  const label = `${message.label} ${name}`;
  if (Array.isArray(expected)) {
    assert.ok(Array.isArray(actual), label);
    assert.equal(actual.length, expected.length, label);
    for (const [index, entry] of expected.entries()) compareValue(actual[index], entry, message, name);
  } else if (actual instanceof Uint8Array) {
    assert.equal(Buffer.from(actual).toString('base64'), expected, label);
  } else if (typeof expected === 'object' && expected !== null) {
    compareFields(actual as Record<string, unknown>, expected as Record<string, unknown>, message);
  } else if (typeof expected === 'number' && Math.abs(expected) > INT64_MAX) {
    assert.equal(actual, expected > 0 ? INT64_MAX : INT64_MIN, label);
  } else {
    assert.equal(actual, expected, label);
  }
}

/** Random messages of every kind and version: written and read back, they are the same. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolEncodeError } from '../../src/protocol/codec-errors.ts';
import { contains } from '../../tools/protocol/schema-model.ts';
import { CODECS, decodeAll, encodeAll } from './codecs.ts';
import { MessageGenerator, schemaMessages } from './random-message.ts';

const ROUNDS = 6;
const messages = schemaMessages();

test('what is written is read back', () => {
  let count = 0;
  for (const codec of CODECS.values()) {
    const model = messages.get(codec.name)!;
    for (let version = codec.minVersion; version <= codec.maxVersion; version++) {
      for (let round = 0; round < ROUNDS; round++) {
        const generator = new MessageGenerator(model, version * 1000 + round * 7 + codec.name.length);
        const message = generator.build(version);
        const decoded = decodeAll(codec, encodeAll(codec, message, version), version);
        assert.deepEqual(decoded, message, `${codec.name} v${version} round ${round}`);
        count++;
      }
    }
  }
  assert.ok(count > 3000, `${count} messages`);
});

test('a field that the version lacks is refused if it may not be dropped, else dropped', () => {
  let refused = 0;
  let dropped = 0;
  for (const codec of CODECS.values()) {
    const model = messages.get(codec.name)!;
    for (const field of model.root.fields) {
      const version = [codec.minVersion, codec.maxVersion].find((edge) => !contains(field.versions, edge));
      if (version === undefined || field.array || field.type !== 'str') continue;
      const property = field.name.charAt(0).toLowerCase() + field.name.slice(1);
      const plain = new MessageGenerator(model, 1).build(version);
      const set = { ...plain, [property]: 'set' };
      if (field.ignorable) {
        assert.deepEqual(encodeAll(codec, set, version), encodeAll(codec, plain, version));
        dropped++;
      } else {
        assert.throws(() => encodeAll(codec, set, version), ProtocolEncodeError, `${codec.name}.${property}`);
        refused++;
      }
    }
  }
  assert.ok(refused > 5 && dropped > 5, `${refused} refused, ${dropped} dropped`);
});

test('unknown tags are skipped', () => {
  let count = 0;
  for (const codec of CODECS.values()) {
    const version = codec.maxVersion;
    if (version < codec.flexibleFrom || codec.name === 'RequestHeader') continue;
    // the message's own tag section is last, and a default message has no tag set
    const bytes = encodeAll(codec, {}, version);
    assert.equal(bytes.at(-1), 0, codec.name);
    const unknown = Buffer.from([2, 99, 3, 1, 2, 3, 0xc8, 1, 0]);
    const longer = Buffer.concat([bytes.subarray(0, -1), unknown]);
    assert.deepEqual(decodeAll(codec, longer, version), decodeAll(codec, bytes, version), codec.name);
    count++;
  }
  assert.ok(count > 100, `${count} messages`);
});

test('versions outside the range are refused', () => {
  for (const codec of CODECS.values()) {
    for (const version of [codec.minVersion - 1, codec.maxVersion + 1]) {
      assert.throws(() => encodeAll(codec, {}, version), { code: 'PROTOCOL_ENCODE' }, codec.name);
      assert.throws(
        () => decodeAll(codec, Buffer.alloc(64), version),
        { code: 'PROTOCOL_DECODE' },
        codec.name,
      );
    }
  }
});

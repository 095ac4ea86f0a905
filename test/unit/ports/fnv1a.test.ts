import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fnv1a, fnv1aByte, spreadDigits } from '../../../src/ports/fnv1a.ts';

test('FNV-1a of the vectors that its authors publish', () => {
  for (const [name, hash] of [
    ['', 0x811c9dc5],
    ['a', 0xe40c292c],
    ['foobar', 0xbf9cf968],
  ] as const)
    assert.equal(fnv1a(name) >>> 0, hash, name);
  assert.equal(fnv1aByte(fnv1a('fooba'), 'r'.charCodeAt(0)), fnv1a('foobar'));
});

test('digits of keys stay what they are in stores', () => {
  assert.equal(spreadDigits('0000000000000001').length, 2);
  const seen = new Set(
    Array.from({ length: 4_096 }, (_, i) => spreadDigits(i.toString(16).padStart(16, '0'))),
  );
  assert.equal(seen.size, 256, 'ascending ids spread over the key space');
});

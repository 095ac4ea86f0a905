import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Crc32c, javascriptCrc32c, portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import { sampleBytes, seeded, shared } from '../../../support/sample-records.ts';

const chosen = portableCrc32c();
const implementations: Array<[string, Crc32c]> = [
  [chosen.implementation, chosen.crc32c],
  ['javascript', javascriptCrc32c],
];

test('the prebuilt library is taken where it loads, JavaScript where it does not', () => {
  assert.equal(chosen.implementation, 'node-rs');
  const other = portableCrc32c(() => {
    throw new Error('no binary for this machine');
  });
  assert.equal(other.implementation, 'javascript');
  assert.equal(other.crc32c, javascriptCrc32c);
});

for (const [name, crc32c] of implementations) {
  test(`${name}: known answers (RFC 3720 B.4)`, () => {
    assert.equal(crc32c(Buffer.alloc(32), 0, 32), 0x8a9136aa);
    assert.equal(crc32c(Buffer.alloc(32, 0xff), 0, 32), 0x62a8ab43);
    const ascending = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
    assert.equal(crc32c(ascending, 0, 32), 0x46dd794e);
    assert.equal(crc32c(Buffer.from('123456789'), 0, 9), 0xe3069283);
    assert.equal(crc32c(Buffer.alloc(0), 0, 0), 0);
  });

  test(`${name}: equal to the bitwise definition, in pieces, and over shared memory`, () => {
    const random = seeded(5);
    const bytes = sampleBytes(300, random);
    const inShared = shared(bytes);
    for (let i = 0; i < 200; i++) {
      const position = Math.floor(random() * 200);
      const length = Math.floor(random() * 100);
      const cut = Math.floor(random() * (length + 1));
      const expected = bitwise(bytes, position, length);
      assert.equal(crc32c(bytes, position, length), expected);
      assert.equal(crc32c(inShared, position, length), expected);
      const head = crc32c(inShared, position, cut);
      assert.equal(crc32c(inShared, position + cut, length - cut, head), expected);
    }
  });

  test(`${name}: a range outside the buffer is an error, not a CRC of less`, () => {
    assert.throws(() => crc32c(Buffer.alloc(10), 5, 6), RangeError);
    assert.throws(() => crc32c(Buffer.alloc(10), -1, 2), RangeError);
    assert.throws(() => crc32c(Buffer.alloc(10), 0, Number.NaN), RangeError);
  });
}

function bitwise(bytes: Uint8Array, position: number, length: number): number {
  let crc = 0xffffffff;
  for (let i = position; i < position + length; i++) {
    crc ^= bytes[i]!;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

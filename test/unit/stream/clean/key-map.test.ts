import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { KeyMap, slotBytes } from '../../../../src/stream/clean/key-map.ts';
import { keyHash } from '../../../../src/threads/adapters/key-hash.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

describe('key map', () => {
  it('holds the newest offset of each key, within its memory, and says when it is full', () => {
    const random = new SeededRandom(1);
    for (const [bytes, load] of [
      [slotBytes * 2, 0.9],
      [slotBytes * 64, 0.9],
      [slotBytes * 1_000, 0.5],
    ] as const) {
      const map = new KeyMap(bytes, load, Number.MAX_SAFE_INTEGER, keyHash);
      assert.ok(map.bytes <= bytes);
      const model = new Map<string, number>();
      for (let offset = 0; offset < 3_000; offset++) {
        const key = `k${random.below(1 + Math.floor(bytes / slotBytes))}`;
        const line = Buffer.from(`before${key}behind`);
        const noted = map.note(line, 6, key.length, offset);
        if (noted) model.set(key, offset);
        else assert.ok(map.full && !model.has(key));
      }
      assert.equal(map.size, model.size);
      for (const [key, offset] of model) assert.equal(map.newest(Buffer.from(key), 0, key.length), offset);
      assert.equal(map.newest(Buffer.from('other'), 0, 5), -1);
    }
  });

  it('takes no more memory than its keys can need, and room for one at least', () => {
    assert.ok(new KeyMap(1 << 30, 0.9, 10, keyHash).bytes <= 20 * slotBytes);
    const smallest = new KeyMap(0, 0.01, 1_000, keyHash);
    assert.ok(smallest.note(Buffer.from('a'), 0, 1, 0));
    assert.ok(!smallest.note(Buffer.from('b'), 0, 1, 1));
    assert.ok(smallest.note(Buffer.from('a'), 0, 1, 2));
  });

  it('tells keys apart by the first 128 bits of SHA-256', () => {
    const out = new Uint32Array(4);
    for (const key of ['', 'a', 'ü'.repeat(500)]) {
      const bytes = Buffer.from(`xx${key}yy`);
      keyHash(bytes, 2, bytes.length - 4, out);
      const digest = createHash('sha256').update(key).digest();
      assert.deepEqual(
        [...out],
        [0, 4, 8, 12].map((at) => digest.readUInt32LE(at)),
      );
    }
  });
});

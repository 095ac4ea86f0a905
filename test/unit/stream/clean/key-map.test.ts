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

  it('has slots for as many keys as its share, and fills no more', () => {
    for (const [bytes, load, keys, slots, held] of [
      [slotBytes * 10, 0.5, 1_000, 10, 5],
      [slotBytes * 10 + slotBytes - 1, 0.5, 1_000, 10, 5],
      [slotBytes * 4, 2, 1_000, 4, 3],
      [slotBytes * 100, 0, 1_000, 100, 5],
      [slotBytes * 100, 0.5, 4, 9, 4],
      [slotBytes * 100, 0.5, 0, 2, 1],
    ] as const) {
      const map = new KeyMap(bytes, load, keys, keyHash);
      assert.equal(map.bytes, slots * slotBytes);
      for (let i = 0; i < held; i++) {
        assert.equal(map.full, false);
        assert.equal(map.note(Buffer.from(`k${i}`), 0, 2, i), true);
      }
      assert.deepEqual([map.full, map.size], [true, held]);
      assert.equal(map.note(Buffer.from('other'), 0, 5, 99), false);
      assert.equal(map.newest(Buffer.from('k0'), 0, 2), 0, 'offset 0 is one');
    }
  });

  it('tells keys apart by every part of their hash', () => {
    const map = new KeyMap(slotBytes * 16, 0.9, 16, (bytes, at, _length, out) => {
      for (let i = 0; i < 4; i++) out[i] = bytes[at + i]!;
    });
    const keys = [
      [1, 1, 1, 1],
      [2, 1, 1, 1],
      [1, 2, 1, 1],
      [1, 1, 2, 1],
      [1, 1, 1, 2],
      [17, 1, 1, 1],
    ].map(Buffer.from);
    for (const [offset, key] of keys.entries()) assert.equal(map.note(key, 0, 4, offset), true);
    assert.equal(map.size, 6);
    for (const [offset, key] of keys.entries()) assert.equal(map.newest(key, 0, 4), offset);
    assert.equal(map.newest(Buffer.from([15, 1, 1, 1]), 0, 4), -1);
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

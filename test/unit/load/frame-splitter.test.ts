import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameSplitter } from '../../support/load/frame-splitter.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

function framed(body: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeInt32BE(body.length);
  return Buffer.concat([size, body]);
}

test('frames come out whole and in order, however the bytes arrive', () => {
  const random = new SeededRandom(1);
  for (let round = 0; round < 50; round++) {
    const bodies = Array.from({ length: 30 }, () =>
      Buffer.from(random.bytes(new Uint8Array(random.below(random.chance(0.1) ? 200_000 : 300)))),
    );
    const got: Buffer[] = [];
    const splitter = new FrameSplitter((frame) => got.push(Buffer.from(frame)), 32 * 1024);
    const all = Buffer.concat(bodies.map(framed));
    for (let at = 0; at < all.length; ) {
      const take = 1 + random.below(random.chance(0.2) ? 3 : 50_000);
      splitter.push(all.subarray(at, at + take));
      at += take;
    }
    assert.equal(got.length, bodies.length);
    for (const [i, body] of bodies.entries()) assert.ok(got[i]!.equals(body), `frame ${i} of round ${round}`);
  }
});

test('a frame longer than allowed is refused', () => {
  const splitter = new FrameSplitter(() => {}, 1024, 100);
  assert.throws(() => splitter.push(framed(Buffer.alloc(101))), /101 bytes/);
  assert.throws(() => new FrameSplitter(() => {}).push(Buffer.of(0xff, 0xff, 0xff, 0xff)), /-1 bytes/);
});

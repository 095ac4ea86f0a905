/** Frames where they are cut, held back and placed: the bounds between scratch, chunk, slab and memory outside, to the byte. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  FrameReceiver,
  landingBytesMin,
  type ReceivePool,
  scratchBytes,
} from '../../../src/net/frame-receiver.ts';
import { Slab } from '../../../src/net/slab.ts';
import { HeapArena } from '../../support/heap-arena.ts';

const segmentBytes = 64 * 1024;

function rig(
  options: {
    chunkBytesMax?: number;
    arenaFrameBytesMax?: number;
    frameBytesMax?: number;
    segments?: number;
  } = {},
) {
  const arena = new HeapArena({ segmentBytes, segmentCount: options.segments ?? 16 });
  const pool: ReceivePool = {
    arena,
    slab: new Slab(arena, () => false),
    scratch: Buffer.alloc(scratchBytes),
    chunkBytes: 0,
    chunkBytesMax: options.chunkBytesMax ?? 1 << 20,
    arenaFrameBytesMax: options.arenaFrameBytesMax ?? 1 << 19,
    outsideBytes: 0,
    outsideBytesMax: 1 << 20,
  };
  const on = { saturatedFrom: Number.POSITIVE_INFINITY, starved: 0 };
  const frames: { key: number; length: number; inArena: boolean; position: number; bytes: Buffer }[] = [];
  const bad: number[] = [];
  const receiver = new FrameReceiver(
    pool,
    {
      onFrame: (buffer, position, length, inArena) =>
        void frames.push({
          key: buffer.readInt16BE(position),
          length,
          inArena,
          position,
          bytes: Buffer.from(buffer.subarray(position, position + length)),
        }),
      saturated: () => frames.length >= on.saturatedFrom,
      onBadSize: (size) => void bad.push(size),
      onStarved: () => void on.starved++,
    },
    options.frameBytesMax ?? 1 << 20,
  );
  return { arena, pool, on, frames, bad, receiver };
}

/** Of `size` bytes behind the size field. */
function frame(size: number, key = 0, fill = 7): Buffer {
  const out = Buffer.alloc(4 + size, fill);
  out.writeInt32BE(size, 0);
  out.writeInt16BE(key, 4);
  return out;
}

describe('a frame', () => {
  test('is 8 bytes long at least, and at most what may be', () => {
    for (const [size, isBad] of [
      [7, true],
      [8, false],
      [1_000, false],
      [1_001, true],
    ] as const) {
      const { receiver, frames, bad } = rig({ frameBytesMax: 1_000 });
      const bytes = frame(Math.max(size, 2));
      bytes.writeInt32BE(size, 0);
      receiver.ingest(bytes, 0, bytes.length);
      assert.deepEqual([bad, frames.length], isBad ? [[size], 0] : [[], 1]);
    }
  });

  test('is announced from its size on, and partial from its first byte', () => {
    const { receiver, frames } = rig();
    const bytes = frame(20);
    const seen: [boolean, number][] = [];
    for (let at = 0; at < bytes.length; at++) {
      receiver.ingest(bytes, at, at + 1);
      seen.push([receiver.partial, receiver.announced]);
    }
    assert.deepEqual(seen.slice(0, 5), [
      [true, 0],
      [true, 0],
      [true, 0],
      [true, 20],
      [true, 20],
    ]);
    assert.deepEqual(seen.at(-1), [false, 0]);
    assert.equal(frames.length, 1);
  });

  test('lies in the arena when it is Produce’s or large, else in memory of its own', () => {
    for (const [size, key, inArena] of [
      [100, 0, true],
      [100, 1, false],
      [landingBytesMin, 1, false],
      [landingBytesMin + 1, 1, true],
    ] as const) {
      for (const cut of [5, 4 + size]) {
        const { receiver, frames } = rig();
        const bytes = frame(size, key);
        receiver.ingest(bytes, 0, cut);
        receiver.ingest(bytes, cut, bytes.length);
        assert.deepEqual([frames.length, frames[0]!.inArena], [1, inArena]);
        assert.deepEqual(frames[0]!.bytes, bytes.subarray(4));
      }
    }
  });

  test('lies outside when it is larger than the arena takes', () => {
    for (const [size, outside] of [
      [30_000, 0],
      [30_001, 30_001],
    ] as const) {
      const { receiver, frames, pool } = rig({ arenaFrameBytesMax: 30_000 });
      const bytes = frame(size);
      receiver.ingest(bytes, 0, 100);
      assert.equal(pool.outsideBytes, outside);
      receiver.ingest(bytes, 100, bytes.length);
      assert.deepEqual([pool.outsideBytes, frames[0]!.inArena], [0, outside === 0]);
    }
  });
});

describe('bytes that are held back', () => {
  test('begin with the first frame that may not start, and go on in order', () => {
    const { receiver, frames, on } = rig();
    on.saturatedFrom = 1;
    const sent = [1, 2, 3, 4].map((fill) => frame(20, 1, fill));
    const all = Buffer.concat([...sent, frame(20, 1, 5).subarray(0, 3)]);
    receiver.ingest(all, 0, all.length);
    assert.deepEqual([frames.length, receiver.holding], [1, true]);
    assert.equal(receiver.resume(), false, 'still saturated');
    on.saturatedFrom = 3;
    assert.equal(receiver.resume(), false);
    assert.deepEqual([frames.length, receiver.holding], [3, true]);
    const rest = frame(20, 1, 5).subarray(3);
    receiver.ingest(rest, 0, rest.length);
    on.saturatedFrom = Number.POSITIVE_INFINITY;
    assert.equal(receiver.resume(), true);
    assert.deepEqual(
      frames.map(({ bytes }) => bytes.at(-1)),
      [1, 2, 3, 4, 5],
    );
    assert.equal(receiver.holding, false);
    assert.equal(receiver.resume(), true, 'nothing is held');
    receiver.close();
    assert.equal(receiver.resume(), true);
  });

  test('of a socket loop are those behind the frames that may start', () => {
    const { receiver, frames, on, arena } = rig();
    on.saturatedFrom = 2;
    arena.acquire();
    const sent = [0, 1, 0, 1].map((key, i) => frame(20 + i, key, i));
    const raw = frame(30, 1, 9).subarray(0, 10);
    Buffer.concat([...sent, raw]).copy(arena.buffer, 500);
    const whole = sent.reduce((sum, { length }) => sum + length, 0);
    receiver.arrived(500, whole, raw.length, false);
    assert.deepEqual(
      frames.map(({ inArena, position }) => [inArena, position]),
      [
        [true, 504],
        [false, 0],
      ],
    );
    on.saturatedFrom = Number.POSITIVE_INFINITY;
    assert.equal(receiver.resume(), true);
    assert.deepEqual(
      frames.map(({ bytes }) => bytes.length),
      [20, 21, 22, 23],
    );
    assert.equal(receiver.announced, 30);
    const rest = frame(30, 1, 9).subarray(10);
    receiver.ingest(rest, 0, rest.length);
    assert.equal(frames[4]!.bytes.at(-1), 9);
  });

  test('are looked at by nobody when all frames could start and none is left', () => {
    const { receiver, frames, on, arena } = rig();
    on.saturatedFrom = 1;
    arena.acquire();
    const one = frame(20, 1);
    one.copy(arena.buffer, 0);
    receiver.arrived(0, one.length, 0, false);
    assert.deepEqual([frames.length, receiver.holding], [1, false]);
    const large = frame(40, 1);
    large.writeInt32BE((1 << 20) + 1, 0);
    on.saturatedFrom = 9;
    large.copy(arena.buffer, 0);
    receiver.arrived(0, large.length, 0, false);
    assert.equal(frames.length, 1, 'it is too large');
  });
});

describe('room in a landing chunk', () => {
  const land = (size: number, budget: number) => {
    const on = rig({ chunkBytesMax: budget });
    const bytes = frame(size);
    on.receiver.ingest(bytes, 0, bytes.length);
    return on;
  };

  test('is a segment while half of the budget is not passed, then twice the frame', () => {
    assert.equal(land(20_000, 2 * segmentBytes).pool.chunkBytes, segmentBytes);
    assert.equal(land(20_000, 2 * segmentBytes - 1).pool.chunkBytes, 40_000);
    assert.equal(land(40_000, 2 * segmentBytes - 1).pool.chunkBytes, segmentBytes);
  });

  test('is none beyond the budget: the frame lies by itself, and nothing is kept for the next', () => {
    assert.equal(land(20_000, 40_000).pool.chunkBytes, 40_000);
    const { pool, frames, receiver } = land(20_000, 39_999);
    assert.deepEqual([pool.chunkBytes, frames[0]!.inArena], [0, true]);
    assert.equal(receiver.buffer(), pool.scratch);
  });

  test('is offered whole for a frame as large as the last, and given back at the end', () => {
    const { receiver, frames, pool, arena } = land(20_000, 1 << 20);
    const at = frames[0]!.position;
    const into = receiver.buffer() as Buffer;
    assert.equal(into.length, 20_004);
    const next = frame(20_000, 1, 3);
    next.copy(into);
    receiver.received(next.length, into);
    assert.deepEqual([frames[1]!.inArena, frames[1]!.bytes.at(-1)], [true, 3]);
    assert.ok(frames[1]!.position >= at + 20_000, 'behind the one before');
    receiver.close();
    receiver.close();
    pool.slab.close();
    assert.deepEqual([pool.chunkBytes, arena.freeSegments()], [0, 16]);
    assert.equal(receiver.buffer(), pool.scratch);
  });

  test('is not kept ready after eight small frames in a row', () => {
    const { receiver, pool } = land(20_000, 1 << 20);
    for (let i = 0; i < 8; i++) receiver.ingest(frame(20, 1), 0, 24);
    assert.notEqual(receiver.buffer(), pool.scratch);
    receiver.ingest(frame(20, 1), 0, 24);
    assert.equal(receiver.buffer(), pool.scratch);
  });

  test('takes another frame than the one that was expected, whatever its size', () => {
    for (const size of [8, 3_000, landingBytesMin, landingBytesMin + 1, 19_000, 20_001, 50_000]) {
      for (const first of [1, 3, 4, 5, 12]) {
        const { receiver, frames } = land(20_000, 1 << 20);
        const bytes = Buffer.concat([frame(size, 1, 3), frame(9, 1, 4)]);
        let at = 0;
        while (at < bytes.length) {
          const into = receiver.buffer() as Buffer;
          const n = Math.min(at === 0 ? first : 30_000, into.length, bytes.length - at);
          bytes.copy(into, 0, at, at + n);
          receiver.received(n, into);
          at += n;
        }
        assert.deepEqual(
          frames.slice(1).map(({ length, inArena, bytes: got }) => [length, inArena, got.at(-1)]),
          [
            [size, size > landingBytesMin, 3],
            [9, false, 4],
          ],
          `${size} bytes, ${first} first`,
        );
      }
    }
  });
});

test('a connection that closes in the middle of a frame gives its memory back, wherever that is', () => {
  for (const options of [{}, { chunkBytesMax: 0 }, { arenaFrameBytesMax: 0 }]) {
    for (const size of [100, 20_000, 100_000]) {
      const { receiver, pool, arena } = rig(options);
      const bytes = frame(size);
      receiver.ingest(bytes, 0, 50);
      assert.equal(receiver.announced, size);
      receiver.close();
      pool.slab.close();
      assert.deepEqual([arena.freeSegments(), pool.chunkBytes, pool.outsideBytes], [16, 0, 0]);
      receiver.ingest(bytes, 50, bytes.length);
      receiver.received(10, pool.scratch);
      assert.equal(arena.freeSegments(), 16);
    }
  }
});

test('a frame that came by itself into the slab is let go when it was served', () => {
  const { receiver, frames, pool, arena } = rig({ chunkBytesMax: 0 });
  const bytes = frame(20_000);
  receiver.ingest(bytes, 0, bytes.length);
  assert.equal(frames[0]!.inArena, true);
  pool.slab.close();
  assert.equal(arena.freeSegments(), 16);
});

test('a small Produce frame for which there is no memory is kept whole, and comes first later', () => {
  const { receiver, frames, arena, on } = rig({ segments: 1 });
  const segment = arena.acquire();
  const bytes = Buffer.concat([frame(20, 0, 1), frame(20, 1, 2)]);
  receiver.ingest(bytes, 0, bytes.length);
  assert.deepEqual([frames.length, on.starved, receiver.holding], [0, 1, true]);
  assert.equal(receiver.resume(), false);
  assert.equal(on.starved, 2);
  arena.release(segment);
  assert.equal(receiver.resume(), true);
  assert.deepEqual(
    frames.map(({ bytes: got, inArena }) => [got.at(-1), inArena]),
    [
      [1, true],
      [2, false],
    ],
  );
});

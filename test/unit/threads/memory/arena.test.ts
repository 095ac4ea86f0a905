import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ArenaNative, embeddedArena, SharedArena } from '../../../../src/threads/memory/arena.ts';

const segmentBytes = 64 * 1024;
const small = (segmentCount: number) => SharedArena.create({ segmentBytes, segmentCount });

test('segments are handed out lowest first and come back', () => {
  const arena = small(70);
  assert.equal(arena.freeSegments(), 70);
  const taken = Array.from({ length: 70 }, () => arena.acquire());
  assert.deepEqual(
    taken,
    Array.from({ length: 70 }, (_, i) => i),
  );
  assert.equal(arena.acquire(), -1);
  assert.equal(arena.freeSegments(), 0);
  arena.release(63);
  arena.release(31);
  assert.equal(arena.freeSegments(), 2);
  assert.equal(arena.acquire(), 31);
  assert.equal(arena.acquire(), 63);
  assert.equal(arena.acquire(), -1);
});

test('a run is adjacent, crosses bitmap words and is refused when there is no such gap', () => {
  const arena = small(100);
  assert.equal(arena.acquireRun(30), 0);
  assert.equal(arena.acquireRun(66), 30);
  assert.equal(arena.acquireRun(5), -1);
  assert.equal(arena.freeSegments(), 4);
  assert.equal(arena.acquireRun(4), 96);
  for (let s = 40; s < 80; s += 2) arena.release(s);
  assert.equal(arena.acquireRun(2), -1, 'every other segment is free, none adjacent');
  arena.release(63);
  assert.equal(arena.acquireRun(3), 62);
  for (let s = 62; s < 65; s++) assert.equal(arena.references(s), 1);
  assert.equal(arena.acquireRun(101), -1);
});

test('the last reference frees, and not before', () => {
  const arena = small(2);
  const s = arena.acquire();
  arena.retain(s);
  arena.retain(s, 3);
  arena.release(s, 4);
  assert.equal(arena.references(s), 1);
  assert.equal(arena.freeSegments(), 1);
  arena.release(s);
  assert.equal(arena.freeSegments(), 2);
});

test('dropping too many references and retaining a free segment are refused loudly', () => {
  const arena = small(4);
  const s = arena.acquire();
  arena.retain(s);
  assert.throws(() => arena.release(s, 3), { code: 'ARENA_REFERENCES' });
  assert.throws(() => small(4).release(0), { code: 'ARENA_REFERENCES' });
  assert.throws(() => small(4).retain(3), { code: 'ARENA_REFERENCES' });
});

test('a range holds one reference on every segment that its bytes touch', () => {
  const arena = small(8);
  const first = arena.acquireRun(4);
  arena.retainRange(first * segmentBytes + segmentBytes - 1, 2);
  arena.retainRange(2 * segmentBytes, segmentBytes);
  arena.retainRange(3 * segmentBytes, 0);
  assert.deepEqual(
    [0, 1, 2, 3].map((s) => arena.references(s)),
    [2, 2, 2, 1],
  );
  arena.releaseRange(segmentBytes - 1, 2);
  arena.releaseRange(2 * segmentBytes, segmentBytes);
  assert.deepEqual(
    [0, 1, 2, 3].map((s) => arena.references(s)),
    [1, 1, 1, 1],
  );
  assert.throws(() => arena.retainRange(8 * segmentBytes - 1, 2), RangeError);
});

test('positions work up to the last byte of 4 GiB', () => {
  const arena = SharedArena.create({ segmentBytes: 4 * 1024 * 1024, segmentCount: 1024 });
  const all = arena.acquireRun(1024);
  assert.equal(all, 0);
  arena.retainRange(2 ** 32 - 1, 1);
  assert.equal(arena.references(1023), 2);
  arena.buffer[2 ** 32 - 1] = 77;
  assert.equal(arena.view.getUint8(2 ** 32 - 1), 77);
  arena.retainRange(2 ** 31 - 1, 2);
  assert.deepEqual([arena.references(511), arena.references(512)], [2, 2]);
});

test('an attached arena is the same memory', () => {
  const arena = SharedArena.create(embeddedArena);
  const other = SharedArena.attach(structuredClone(arena.handle));
  const s = arena.acquire();
  other.retain(s);
  assert.equal(arena.references(s), 2);
  arena.buffer.write('hello', s * arena.segmentBytes);
  assert.equal(other.buffer.toString('latin1', s * arena.segmentBytes, s * arena.segmentBytes + 5), 'hello');
  assert.throws(() => SharedArena.attach({ ...arena.handle, control: new SharedArrayBuffer(64) }), {
    code: 'ARENA_VERSION',
  });
});

test('shapes that cannot be are refused', () => {
  for (const [bytes, count] of [
    [100_000, 4],
    [32 * 1024, 4],
    [4 * 1024 * 1024, 1025],
    [65_536, 0],
  ] as const) {
    assert.throws(() => SharedArena.create({ segmentBytes: bytes, segmentCount: count }), {
      code: 'ARENA_SHAPE',
    });
  }
});

test('budgets refuse what would pass their limit, count to nearly 4 GiB and never go below zero', () => {
  const arena = SharedArena.create({
    segmentBytes,
    segmentCount: 4,
    budgets: { receive: 100, send: 2 ** 32 - 1 },
  });
  const receive = arena.budget('receive');
  assert.equal(receive.tryReserve(60), true);
  assert.equal(receive.tryReserve(41), false);
  assert.equal(receive.tryReserve(40), true);
  assert.equal(receive.used(), 100);
  receive.release(60);
  receive.setLimit(30);
  assert.equal(receive.tryReserve(1), false);
  receive.release(40);
  assert.equal(receive.tryReserve(30), true);
  assert.throws(() => receive.release(31), { code: 'ARENA_BUDGET' });
  const send = arena.budget('send');
  assert.equal(send.tryReserve(3_000_000_000), true);
  assert.equal(send.tryReserve(1_500_000_000), false);
  assert.equal(send.tryReserve(1_294_967_295), true);
  assert.equal(send.used(), 2 ** 32 - 1);
  send.release(3_000_000_000);
  assert.equal(send.used(), 1_294_967_295);
  assert.equal(arena.budget('logCache').limit(), 4 * segmentBytes);
  assert.equal(arena.budget('blockCache').used(), 0);
});

test('memory is given back once a segment has been free for a whole sweep, from the top, never in use', () => {
  const arena = small(4);
  const given: number[] = [];
  const native: ArenaNative = {
    madviseFree(_buffer, position, length) {
      assert.equal(length, segmentBytes);
      assert.equal(arena.references(position / segmentBytes), 0);
      given.push(position / segmentBytes);
    },
  };
  assert.equal(arena.giveBack(native), 0, 'segments never used hold nothing');
  const run = arena.acquireRun(4);
  for (let s = run; s < 4; s++) if (s !== 1) arena.release(s);
  assert.equal(arena.giveBack(native), 0, 'first sweep only notes that they are idle');
  assert.equal(arena.acquire(), 0);
  arena.release(0);
  assert.equal(arena.giveBack(native), 2 * segmentBytes);
  assert.deepEqual(given, [3, 2]);
  assert.equal(arena.giveBack(native), segmentBytes);
  assert.deepEqual(given, [3, 2, 0]);
  assert.equal(arena.giveBack(native), 0);
  assert.equal(arena.freeSegments(), 3);
  assert.equal(arena.giveBack({}), 0);
});

test('a thread that takes a segment has the next two made ready, one after the other, and none twice', () => {
  const { handle } = small(6);
  const asked: { segment: number; done: () => void }[] = [];
  const arena = SharedArena.attach(handle, {
    populate: (_buffer, position, length, done) => {
      assert.equal(length, segmentBytes);
      asked.push({ segment: position / segmentBytes, done });
    },
  });
  const segments = (): number[] => asked.map(({ segment }) => segment);
  assert.equal(arena.acquire(), 0);
  arena.prepare();
  arena.prepare();
  assert.deepEqual(segments(), [1], 'one at a time');
  asked[0]!.done();
  assert.deepEqual(segments(), [1, 2]);
  asked[1]!.done();
  assert.deepEqual(segments(), [1, 2], 'two ahead are enough');
  assert.equal(arena.acquire(), 1);
  arena.prepare();
  assert.deepEqual(segments(), [1, 2, 3]);
  asked[2]!.done();
  // What was used holds its pages.
  arena.release(0);
  assert.equal(arena.acquire(), 0);
  arena.prepare();
  assert.deepEqual(segments(), [1, 2, 3]);
  assert.equal(arena.references(2), 0, 'what is ready is free');
});

test('without an addon nothing is made ready', () => {
  const arena = small(2);
  arena.acquire();
  arena.prepare();
});

test('what was made ready and not taken is given back like any idle segment', () => {
  const arena = SharedArena.attach(small(3).handle, {
    populate: (_buffer, _position, _length, done) => done(),
  });
  arena.acquire();
  arena.prepare();
  const given: number[] = [];
  const native: ArenaNative = {
    madviseFree: (_buffer, position) => void given.push(position / segmentBytes),
  };
  arena.giveBack(native);
  arena.giveBack(native);
  assert.deepEqual(given, [2, 1]);
  arena.prepare();
  arena.giveBack(native);
  arena.giveBack(native);
  assert.deepEqual(given, [2, 1, 2, 1], 'and made ready anew');
});

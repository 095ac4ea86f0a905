import assert from 'node:assert/strict';
import { test } from 'node:test';
import { socketModes } from '../../../native-bindings/contract.ts';
import { answerBytesMax, type ConnectionOwner, requestsMax } from '../../../src/net/connection.ts';
import { landingBytesMin } from '../../../src/net/frame-receiver.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { answerAll, feed, frame, setup } from './connection-fixtures.ts';

test('frames of all sizes arrive whole, in order, however the bytes are cut, and all memory comes back', () => {
  const random = new SeededRandom(11);
  let outside = 0;
  for (let round = 0; round < 60; round++) {
    const arenaFrameBytesMax = round % 3 === 0 ? 30_000 : 1 << 20;
    const { arena, connection, frames, pool, transport } = setup({ arenaFrameBytesMax });
    const free = arena.freeSegments();
    const sent: Buffer[] = [];
    const total = 1 + random.below(30);
    for (let i = 0; i < total; i++) {
      const size =
        random.below(3) === 0
          ? random.below(90_000)
          : random.below(3) === 0
            ? landingBytesMin + random.below(200) - 100
            : random.below(600);
      sent.push(frame(random.below(2), Buffer.from(random.bytes(new Uint8Array(size)))));
    }
    const nextBuffer = { current: null };
    const big = random.below(2) === 0;
    let done = 0;
    for (const bytes of big ? [Buffer.concat(sent)] : sent) {
      feed(connection, bytes, () => 1 + random.below(big ? 70_000 : 3000), nextBuffer);
      while (done < frames.length) frames[done++]!.reply.send([Buffer.from('ok')], 2, null);
    }
    while (done < frames.length) frames[done++]!.reply.send([Buffer.from('ok')], 2, null);
    assert.equal(frames.length, sent.length, `round ${round}`);
    for (const [i, { bytes, inArena }] of frames.entries()) {
      assert.deepEqual(bytes, sent[i]!.subarray(4));
      // What is larger may still find room behind a frame before it.
      if (bytes.length > arenaFrameBytesMax) outside += inArena ? 0 : 1;
      else if (sent[i]!.readInt16BE(4) === 0) assert.equal(inArena, true, 'produce lies in the arena');
    }
    assert.equal(Buffer.concat(transport.written).length, 2 * sent.length);
    connection.close('done');
    pool.slab.close();
    assert.equal(arena.freeSegments(), free, 'every segment is free again');
    assert.equal(pool.chunkBytes, 0);
    assert.equal(pool.outsideBytes, 0);
  }
  assert.ok(outside > 20, `${outside} frames lay outside of the arena`);
});

test('a frame outside of the arena waits for its share of memory, and a closed connection gives it back', () => {
  const first = setup({ arenaFrameBytesMax: 20_000 });
  const { pool, clock } = first;
  const large = frame(0, Buffer.alloc(600_000, 7));
  const second = setup({ arenaFrameBytesMax: 20_000, pool, clock });
  feed(first.connection, large.subarray(0, 100_000), () => 50_000, { current: null });
  assert.equal(pool.outsideBytes, large.length - 4);
  second.connection.onData(Buffer.from(large.subarray(0, 100_000)));
  assert.deepEqual([second.starved.length, second.transport.paused], [1, true], 'no room for another');
  // What the broker takes is not the client's time.
  clock.advance(20_000);
  first.connection.close('gone');
  assert.equal(pool.outsideBytes, 0);
  second.connection.feed();
  assert.deepEqual([second.closed.length, second.transport.paused], [0, false]);
  clock.advance(900);
  assert.deepEqual(second.closed, []);
  second.connection.onData(Buffer.from(large.subarray(100_000)));
  assert.deepEqual(second.frames[0]!.bytes, large.subarray(4));
  assert.equal(pool.outsideBytes, 0);
});

test('a large piece of the arena that cannot be had in a row is replaced by memory beside it', () => {
  const { arena, connection, frames, pool } = setup({ segments: 8, chunkBytesMax: 0 });
  const taken = Array.from({ length: 8 }, () => arena.acquire());
  for (const segment of taken.filter((_, i) => i % 2 === 0)) arena.release(segment);
  feed(connection, frame(0, Buffer.alloc(200_000, 3)), () => 70_000, { current: null });
  assert.deepEqual([frames.length, frames[0]!.inArena, frames[0]!.bytes.length], [1, false, 200_008]);
  assert.equal(pool.outsideBytes, 0);
});

test('a frame has its time-out for each 4 MiB, and no more', () => {
  const { clock, closed, connection } = setup({ frameBytesMax: 100 << 20, outsideBytesMax: 100 << 20 });
  const head = Buffer.alloc(12);
  head.writeInt32BE(9 << 20, 0);
  connection.onData(head);
  clock.advance(2_900);
  assert.deepEqual(closed, []);
  clock.advance(700);
  assert.equal(closed.length, 1);
  assert.match(closed[0]!, /did not arrive whole within 3000 ms/);
});

test('an announced size out of bounds closes the connection, takes no memory, and is worth a line in the log', () => {
  const large = /bytes was announced, socket.request.max.bytes is 1048576/;
  const none = /bytes was announced, fewer than a header has/;
  for (const [size, reason] of [
    [-1, none],
    [0, none],
    [7, none],
    [(1 << 20) + 1, large],
    [0x7fffffff, large],
  ] as const) {
    const { arena, closed, connection, notable, pool, transport } = setup();
    const free = arena.freeSegments();
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(size);
    feed(connection, bytes, () => 4, { current: null });
    assert.match(closed[0]!, reason);
    assert.deepEqual([notable[0], transport.destroyed], [true, true]);
    assert.deepEqual([arena.freeSegments(), pool.outsideBytes], [free, 0]);
  }
});

test('answers leave in request order', () => {
  const { connection, frames, transport } = setup();
  feed(connection, Buffer.concat([1, 1, 1].map((key) => frame(key, Buffer.alloc(4)))), () => 1000, {
    current: null,
  });
  frames[2]!.reply.send([Buffer.from('c')], 1, null);
  frames[1]!.reply.send([Buffer.from('b')], 1, null);
  assert.equal(transport.written.length, 0);
  frames[0]!.reply.send([Buffer.from('a')], 1, null);
  assert.equal(Buffer.concat(transport.written).toString(), 'abc');
});

test('a skipped answer lets the next one pass', () => {
  const { connection, frames, transport } = setup();
  feed(connection, Buffer.concat([frame(1, Buffer.alloc(4)), frame(1, Buffer.alloc(4))]), () => 1000, {
    current: null,
  });
  frames[1]!.reply.send([Buffer.from('b')], 1, null);
  frames[0]!.reply.skip();
  assert.equal(Buffer.concat(transport.written).toString(), 'b');
});

test('at the bound of requests reading stops, and goes on when one is answered', () => {
  const { connection, frames, transport } = setup();
  const many = Buffer.concat(Array.from({ length: requestsMax + 5 }, () => frame(1, Buffer.alloc(4))));
  feed(connection, many, () => 100_000, { current: null });
  assert.equal(frames.length, requestsMax);
  assert.equal(transport.paused, true);
  answerAll(frames.splice(0, 3));
  assert.equal(frames.length, requestsMax);
  answerAll(frames.splice(0));
  assert.equal(frames.length, 2);
  answerAll(frames.splice(0));
  assert.equal(transport.paused, false);
});

test('at the bound of answer bytes nothing more is started until they are sent', () => {
  const { connection, frames, transport } = setup();
  transport.hold = true;
  const nextBuffer = { current: null };
  feed(connection, frame(1, Buffer.alloc(4)), () => 1000, nextBuffer);
  frames.splice(0)[0]!.reply.send([Buffer.alloc(answerBytesMax)], answerBytesMax, null);
  feed(connection, frame(1, Buffer.alloc(4)), () => 1000, nextBuffer);
  assert.equal(frames.length, 0);
  for (const done of transport.waiting.splice(0)) done();
  assert.equal(frames.length, 1);
});

test('a frame that does not arrive whole in time costs the connection', () => {
  const { connection, clock, closed } = setup();
  feed(connection, frame(1, Buffer.alloc(100)).subarray(0, 50), () => 50, { current: null });
  clock.advance(900);
  assert.deepEqual(closed, []);
  clock.advance(1200);
  assert.match(closed[0]!, /did not arrive whole/);
});

test('an answer without progress costs the connection, and its memory is released once', () => {
  const { connection, clock, closed, frames, transport } = setup();
  transport.hold = true;
  feed(connection, frame(1, Buffer.alloc(4)), () => 1000, { current: null });
  let released = 0;
  frames[0]!.reply.send([Buffer.from('x')], 1, () => released++);
  clock.advance(3000);
  assert.match(closed[0]!, /no progress/);
  assert.equal(released, 1);
});

test('without arena memory a connection waits, keeps its bytes, and goes on when fed', () => {
  const { connection, frames, starved, arena, pool } = setup({
    segments: 2,
    segmentBytes: 128 * 1024,
    chunkBytesMax: 0,
  });
  const taken = [arena.acquire(), arena.acquire()];
  const sent = [
    frame(0, Buffer.alloc(200, 7)),
    frame(1, Buffer.alloc(10, 1)),
    frame(0, Buffer.alloc(20_000, 9)),
    frame(1, Buffer.alloc(3, 2)),
  ];
  feed(connection, Buffer.concat(sent), () => 50_000, { current: null });
  assert.equal(frames.length, 0);
  assert.equal(starved.length, 1);
  for (const segment of taken) arena.release(segment);
  connection.feed();
  assert.deepEqual(
    frames.map(({ bytes }) => bytes),
    sent.map((bytes) => bytes.subarray(4)),
  );
  answerAll(frames);
  connection.close('done');
  pool.slab.close();
  assert.equal(arena.freeSegments(), 2);
});

test('closing with requests pending releases what their answers hold, also when they are answered later', () => {
  const { connection, frames } = setup();
  feed(connection, Buffer.concat([frame(1, Buffer.alloc(4)), frame(1, Buffer.alloc(4))]), () => 1000, {
    current: null,
  });
  let released = 0;
  frames[1]!.reply.send([Buffer.from('b')], 1, () => released++);
  connection.close('gone');
  assert.equal(released, 1);
  frames[0]!.reply.send([Buffer.from('a')], 1, () => released++);
  assert.equal(released, 2);
});

test('requests that are answered at once go on behind their own share, however many came in one read', () => {
  for (const reads of [1, 2]) {
    const { connection, frames, transport } = setup();
    const { onFrame } = (connection as unknown as { owner: ConnectionOwner }).owner.handler;
    let answered = 0;
    (connection as unknown as { owner: ConnectionOwner }).owner.handler.onFrame = (...args) => {
      onFrame(...args);
      frames.at(-1)!.reply.send([Buffer.from([answered++])], 1, null);
    };
    const all = Buffer.concat(Array.from({ length: 5 * requestsMax + 3 }, () => frame(1, Buffer.alloc(30))));
    const half = Math.floor(all.length / reads);
    connection.onData(all.subarray(0, half));
    if (reads === 2) connection.onData(all.subarray(half));
    assert.equal(frames.length, 5 * requestsMax + 3);
    assert.deepEqual(
      [...Buffer.concat(transport.written)],
      frames.map((_, i) => i),
    );
    assert.equal(transport.paused, false);
  }
});

test('the beginning of a frame that was held back has its time too', () => {
  const { connection, frames, clock, closed } = setup();
  const requests = Array.from({ length: requestsMax }, () => frame(1, Buffer.alloc(30)));
  connection.onData(Buffer.concat([...requests, frame(1, Buffer.alloc(30)).subarray(0, 9)]));
  assert.equal(frames.length, requestsMax);
  answerAll(frames);
  clock.advance(1600);
  assert.deepEqual(closed, ['a frame did not arrive whole within 1000 ms']);
});

test('while the socket loop keeps the beginning of a frame, it goes on cutting', () => {
  const { connection, frames } = setup();
  feed(connection, frame(0, Buffer.alloc(60_000)), () => 1 << 20, { current: null });
  assert.equal(frames.length, 1);
  assert.equal(connection.receiver.aim(), socketModes.target, 'another as large is expected');
  connection.onArrived(0, 0, 0, true, 0);
  assert.equal(connection.receiver.aim(), socketModes.cut);
  assert.equal(connection.receiver.partial, true);
  connection.onArrived(0, 0, 0, false, 0);
  assert.equal(connection.receiver.aim(), socketModes.target);
});

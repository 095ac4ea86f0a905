/** Time-outs of a connection, to the tick at which they are looked at, and how it ends. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answerBytesMax } from '../../../src/net/connection.ts';
import type { QueuedReply } from '../../../src/net/replies.ts';
import { frame, setup } from './connection-fixtures.ts';

/** Looks every 500 ms. */
const times = { frameTimeoutMs: 1_000, sendTimeoutMs: 1_000, idleTimeoutMs: 1_000 };
const request = frame(1, Buffer.alloc(4));
const never = 60_000_000;
const longAll = { frameTimeoutMs: never, sendTimeoutMs: never, idleTimeoutMs: never };

describe('the time of a frame', () => {
  const seldom = { ...times, sendTimeoutMs: never, idleTimeoutMs: never };

  test('is over when it is passed, not when it is reached', () => {
    const { clock, closed, connection } = setup({ times: seldom });
    connection.onData(request.subarray(0, 5));
    clock.advance(1_000);
    assert.deepEqual(closed, []);
    clock.advance(500);
    assert.deepEqual(closed, ['a frame did not arrive whole within 1000 ms']);
    assert.equal(clock.timers, 0);
  });

  test('begins with its first byte, also of the size, and no later byte prolongs it', () => {
    const { clock, closed, connection } = setup({ times: seldom });
    clock.advance(400);
    connection.onData(request.subarray(0, 1));
    clock.advance(600);
    connection.onData(request.subarray(1, 6));
    clock.advance(400);
    assert.deepEqual(closed, []);
    clock.advance(100);
    assert.equal(closed.length, 1);
  });

  test('ends with its last byte; the next has its own', () => {
    const { clock, closed, connection, frames } = setup({ times: seldom });
    connection.onData(request.subarray(0, 6));
    clock.advance(900);
    connection.onData(request.subarray(6));
    frames.pop()!.reply.skip();
    clock.advance(2_000);
    assert.deepEqual(closed, [], 'none is under way');
    connection.onData(request.subarray(0, 6));
    clock.advance(900);
    assert.deepEqual(closed, []);
    clock.advance(700);
    assert.equal(closed.length, 1);
  });

  test('of 4 MiB is one time-out, of a byte more two', () => {
    for (const [bytes, ms] of [
      [4 << 20, 1_000],
      [(4 << 20) + 1, 2_000],
    ] as const) {
      const bytesMax = 16 << 20;
      const { clock, closed, connection } = setup({
        times: seldom,
        frameBytesMax: bytesMax,
        outsideBytesMax: bytesMax,
      });
      const head = Buffer.alloc(12);
      head.writeInt32BE(bytes, 0);
      connection.onData(head);
      clock.advance(ms);
      assert.deepEqual(closed, []);
      clock.advance(500);
      assert.deepEqual(closed, [`a frame did not arrive whole within ${ms} ms`]);
    }
  });
});

describe('the time of an answer', () => {
  const seldom = { ...times, frameTimeoutMs: never, idleTimeoutMs: never };

  test('is over when it is passed, not when it is reached', () => {
    const { clock, closed, connection, frames, transport } = setup({ times: seldom });
    transport.hold = true;
    connection.onData(request);
    frames[0]!.reply.send([Buffer.from('x')], 1, null);
    clock.advance(1_000);
    assert.deepEqual(closed, []);
    clock.advance(500);
    assert.deepEqual(closed, ['an answer made no progress for 1000 ms']);
  });

  test('begins anew with each byte that the kernel takes', () => {
    const { clock, closed, connection, frames, transport } = setup({ times: seldom });
    transport.hold = true;
    connection.onData(request);
    frames[0]!.reply.send([Buffer.alloc(100)], 100, null);
    for (let step = 0; step < 5; step++) {
      clock.advance(1_000);
      transport.sentBytes++;
    }
    clock.advance(500);
    clock.advance(1_000);
    assert.deepEqual(closed, []);
    clock.advance(500);
    assert.equal(closed.length, 1);
  });

  test('is nothing while no answer is on its way, however long a request takes', () => {
    const { clock, closed, connection, frames, transport } = setup({ times: seldom });
    connection.onData(request);
    frames[0]!.reply.send([Buffer.from('x')], 1, null);
    connection.onData(request);
    clock.advance(5_000);
    transport.hold = true;
    frames[1]!.reply.send([Buffer.from('y')], 1, null);
    clock.advance(1_000);
    assert.deepEqual(closed, [], 'the time begins with this answer');
    clock.advance(500);
    assert.equal(closed.length, 1);
  });

  test('of an answer that writes itself begins when it is first seen waiting', () => {
    const { clock, closed, connection, transport } = setup({ times: seldom });
    transport.hold = true;
    const reply: QueuedReply = {
      next: null,
      end: 0,
      done: true,
      bytes: 3,
      chunks: null,
      writeTo: () => {},
      left: () => {},
      endParking: () => {},
    };
    connection.enqueue(reply);
    connection.answered(reply);
    assert.equal(transport.written.length, 1);
    clock.advance(1_500);
    assert.deepEqual(closed, []);
    clock.advance(500);
    assert.equal(closed.length, 1);
  });
});

describe('an idle connection', () => {
  const seldom = { ...times, frameTimeoutMs: never, sendTimeoutMs: never };

  test('is closed when its time is passed since the last byte that came', () => {
    const { clock, closed, connection, frames, notable } = setup({ times: seldom });
    clock.advance(700);
    connection.onData(request);
    frames[0]!.reply.skip();
    clock.advance(800);
    assert.deepEqual(closed, []);
    clock.advance(500);
    assert.deepEqual([closed, notable], [['idle'], [false]]);
  });

  test('is one of which nothing was heard at all, too', () => {
    const { clock, closed } = setup({ times: seldom });
    clock.advance(1_000);
    assert.deepEqual(closed, []);
    clock.advance(500);
    assert.deepEqual(closed, ['idle']);
  });

  test('is none that waits for an answer, or for the answer to leave', () => {
    const { clock, closed, connection, frames, transport } = setup({ times: seldom });
    connection.onData(request);
    clock.advance(10_000);
    transport.hold = true;
    frames[0]!.reply.send([Buffer.from('x')], 1, null);
    clock.advance(10_000);
    assert.deepEqual(closed, []);
    for (const done of transport.waiting.splice(0)) done();
    clock.advance(500);
    assert.deepEqual(closed, ['idle']);
  });
});

test('times are looked at twice in the shortest of them, but not more often than every 50 ms', () => {
  for (const [ms, every] of [
    [1_000, 500],
    [102, 51],
    [90, 50],
    [1, 50],
  ] as const) {
    for (const name of ['frameTimeoutMs', 'sendTimeoutMs', 'idleTimeoutMs']) {
      const { clock, closed, connection } = setup({ times: { ...times, ...longAll, [name]: ms } });
      let looked = 0;
      const after = clock.after.bind(clock);
      clock.after = (delay, fn) => {
        assert.equal(delay, every);
        looked++;
        return after(delay, fn);
      };
      connection.onData(request);
      clock.advance(every - 1);
      assert.equal(looked, 0);
      clock.advance(1);
      assert.equal(looked, 1);
      assert.deepEqual(closed, []);
    }
  }
});

describe('requests that may wait long', () => {
  test('are hurried by what comes behind them, each once, and are counted while they wait', () => {
    const { connection, frames } = setup();
    connection.onData(Buffer.concat([request, request, request]));
    const over: [number, boolean][] = [];
    for (const [at, { reply }] of frames.slice(0, 2).entries())
      reply.whileParked((gone) => over.push([at, gone]));
    assert.equal(connection.parked, 2);
    connection.hurry();
    connection.hurry();
    assert.deepEqual(over, [
      [0, false],
      [1, false],
    ]);
    assert.equal(connection.parked, 0);
  });

  test('are told that they are of no use when the connection ends, unless they were answered', () => {
    const { connection, frames } = setup();
    connection.onData(Buffer.concat([request, request]));
    const over: [number, boolean][] = [];
    for (const [at, { reply }] of frames.entries()) reply.whileParked((gone) => over.push([at, gone]));
    frames[1]!.reply.send([Buffer.from('b')], 1, null);
    assert.equal(connection.parked, 1);
    connection.close('gone');
    assert.deepEqual(over, [[0, true]]);
    assert.equal(connection.parked, 0);
  });

  test('that give up on the connection wait no more, and end it', () => {
    const { closed, connection, frames } = setup();
    connection.onData(Buffer.concat([request, request]));
    const over: boolean[] = [];
    frames[1]!.reply.whileParked((gone) => over.push(gone));
    frames[1]!.reply.fail('broken');
    assert.deepEqual([closed, over, connection.parked], [['broken'], [], 0]);
  });

  test('are answered once', () => {
    const { connection, frames } = setup();
    connection.onData(request);
    frames[0]!.reply.skip();
    assert.throws(() => frames[0]!.reply.skip(), /answered twice/);
  });
});

describe('a connection that leaves', () => {
  test('ends at once when nothing is under way', () => {
    const { closed, connection, notable, transport } = setup();
    connection.leave();
    assert.deepEqual([closed, notable], [['the broker stops'], [false]]);
    assert.deepEqual([transport.destroyed, transport.paused], [true, true]);
  });

  test('starts nothing more, hurries what waits, and ends when the last answer has left', () => {
    const { closed, connection, frames, transport } = setup();
    transport.hold = true;
    connection.onData(Buffer.concat([request, request]));
    let hurried = 0;
    frames[0]!.reply.whileParked(() => hurried++);
    connection.leave();
    assert.deepEqual([hurried, connection.saturated(), transport.paused, closed], [1, true, true, []]);
    connection.onData(request);
    assert.equal(frames.length, 2);
    frames[0]!.reply.send([Buffer.from('a')], 1, null);
    frames[1]!.reply.send([Buffer.from('b')], 1, null);
    assert.deepEqual(closed, []);
    for (const done of transport.waiting.splice(0)) done();
    assert.deepEqual(closed, ['the broker stops']);
  });

  test('ends with a last request that has no answer, too', () => {
    const { closed, connection, frames } = setup();
    connection.onData(request);
    connection.leave();
    assert.deepEqual(closed, []);
    frames[0]!.reply.skip();
    assert.deepEqual(closed, ['the broker stops']);
  });
});

test('the end of the client’s bytes says whether requests were pending', () => {
  const idle = setup();
  idle.connection.onEnd();
  assert.deepEqual(idle.closed, ['closed by the peer']);
  const busy = setup();
  busy.connection.onData(request);
  busy.connection.onEnd();
  busy.connection.onError('later');
  assert.deepEqual(busy.closed, ['closed by the peer with requests pending'], 'once');
  const sending = setup();
  sending.transport.hold = true;
  sending.connection.onData(request);
  sending.frames[0]!.reply.send([Buffer.from('a')], 1, null);
  sending.connection.onEnd();
  assert.deepEqual(sending.closed, ['closed by the peer with requests pending']);
  assert.equal(idle.clock.timers + busy.clock.timers + sending.clock.timers, 0);
});

test('nothing that comes after the end is looked at', () => {
  const { closed, connection, frames, starved } = setup();
  connection.close('gone');
  connection.onData(request);
  connection.onReceived(request.length, request);
  connection.onArrived(0, 0, 0, true, 5);
  connection.onNoMemory();
  connection.feed();
  assert.deepEqual([frames.length, starved.length, closed], [0, 0, ['gone']]);
  assert.equal(connection.receiver.partial, false);
});

test('answers beyond the bound of bytes under way wait for those before them', () => {
  const { connection, frames, transport } = setup();
  transport.hold = true;
  connection.onData(Buffer.concat([request, request, request]));
  frames[0]!.reply.send([Buffer.alloc(answerBytesMax - 1)], answerBytesMax - 1, null);
  frames[1]!.reply.send([Buffer.from('b')], 1, null);
  frames[2]!.reply.send([Buffer.from('c')], 1, null);
  assert.deepEqual(
    transport.written.map(({ length }) => length),
    [answerBytesMax - 1, 1],
  );
  transport.waiting.shift()!();
  assert.deepEqual(
    transport.written.map(({ length }) => length),
    [answerBytesMax - 1, 1, 1],
  );
});

test('what an answer holds is let go when all of it has been taken, in order, and not before', () => {
  const { connection, frames, transport } = setup();
  transport.hold = true;
  connection.onData(Buffer.concat([request, request, request]));
  const left: string[] = [];
  frames[1]!.reply.send([Buffer.from('bb')], 2, () => left.push('b'));
  frames[2]!.reply.send([Buffer.from('ccc')], 3, () => left.push('c'));
  frames[0]!.reply.send([Buffer.from('a')], 1, () => left.push('a'));
  transport.waiting.splice(0);
  for (const [taken, gone] of [
    [1, 'a'],
    [1, 'a'],
    [1, 'ab'],
    [2, 'ab'],
    [1, 'abc'],
  ] as const) {
    connection.onTaken(taken);
    assert.equal(left.join(''), gone);
  }
});

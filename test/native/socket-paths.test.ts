/** Connections over real sockets: each test holds for the addon's socket loop and for Node's sockets alike. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type net from 'node:net';
import { test } from 'node:test';
import { answerBytesMax, requestsMax } from '../../src/net/connection.ts';
import { landingBytesMin } from '../../src/net/frame-receiver.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type Arrived, frame, openDescriptors, paths, turns, until, world } from './socket-paths.ts';

function collect(client: net.Socket): { bytes: () => Buffer; length: () => number } {
  const chunks: Buffer[] = [];
  let length = 0;
  client.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
  });
  return { bytes: () => Buffer.concat(chunks), length: () => length };
}

function answer({ bytes, reply }: Arrived): void {
  const out = Buffer.from(bytes.subarray(0, 8));
  reply.send([out], out.length, null);
}

for (const path of paths) {
  test(`${path}: frames of all sizes arrive whole and in order however they are cut, and all memory comes back`, async (t) => {
    const random = new SeededRandom(path.length);
    for (let round = 0; round < 6; round++) {
      const w = world(t, path, {
        arenaFrameBytesMax: round % 3 === 0 ? 40_000 : 1 << 20,
        ownReply: () => random.below(2) === 0,
        // Answers come at once, later, or out of turn.
        onFrame: (arrived) => {
          w.frames.push(arrived);
          if (random.below(2) === 0) answer(arrived);
          else setImmediate(() => answer(arrived));
        },
      });
      const free = w.arena.freeSegments();
      const { client, connection } = await w.dial();
      const answers = collect(client);
      const sent: Buffer[] = [];
      for (let i = 0; i < 250; i++) {
        const kind = random.below(40);
        const size =
          kind === 0
            ? random.below(300_000)
            : kind < 4
              ? landingBytesMin - 8 + random.below(9) - 4
              : random.below(kind < 8 ? 6000 : 200);
        const bytes = frame(random.below(2), random.bytes(new Uint8Array(size)));
        bytes.writeInt32BE(i, 8);
        sent.push(bytes);
      }
      const all = Buffer.concat(sent);
      for (let at = 0; at < all.length; ) {
        const n = Math.min(all.length - at, 1 + random.below(random.below(4) === 0 ? 200_000 : 3000));
        client.write(all.subarray(at, at + n));
        at += n;
        if (random.below(3) === 0) await turns(1 + random.below(3));
      }
      await until(() => answers.length() === sent.length * 8);
      for (const [i, { bytes, inArena }] of w.frames.entries()) {
        assert.ok(bytes.equals(sent[i]!.subarray(4)), `round ${round}: frame ${i} of ${bytes.length} bytes`);
        if (bytes.readInt16BE(0) === 0 && bytes.length <= landingBytesMin) assert.equal(inArena, true);
      }
      assert.deepEqual(
        answers.bytes(),
        Buffer.concat(sent.map((bytes) => bytes.subarray(4, 12))),
        'answers in the order of the requests',
      );
      assert.equal(connection.receiver.partial, false);
      w.end();
      assert.equal(w.arena.freeSegments(), free, 'every segment is free again');
      assert.deepEqual([w.pool.chunkBytes, w.pool.outsideBytes], [0, 0]);
      client.destroy();
    }
  });

  test(`${path}: a Produce frame that is kept stays as it is, whatever arrives later`, async (t) => {
    const kept: { position: number; bytes: Buffer }[] = [];
    const w = world(t, path, {
      onFrame: (arrived) => {
        if (arrived.inArena) {
          w.arena.retainRange(arrived.position, arrived.bytes.length);
          kept.push(arrived);
        }
        answer(arrived);
      },
    });
    const free = w.arena.freeSegments();
    const { client } = await w.dial();
    const answers = collect(client);
    const total = 200;
    for (let i = 0; i < total; i++) {
      // Turns with kept frames, without any, and with both.
      client.write(frame(i % 3 === 0 ? 0 : 3, Buffer.alloc(100 + i, i)));
      if (i % 5 > 1) await until(() => answers.length() === (i + 1) * 8);
    }
    await until(() => answers.length() === total * 8);
    assert.equal(kept.length, Math.ceil(total / 3));
    for (const { position, bytes } of kept) {
      assert.ok(w.arena.buffer.subarray(position, position + bytes.length).equals(bytes));
      w.arena.releaseRange(position, bytes.length);
    }
    w.end();
    assert.equal(w.arena.freeSegments(), free);
  });

  test(`${path}: answers that write themselves keep their place among pieces, also where the kernel takes no more`, async (t) => {
    let own = false;
    const left: number[] = [];
    const w = world(t, path, {
      ownReply: () => {
        own = !own;
        return own;
      },
    });
    const { client, connection } = await w.dial();
    const answers = collect(client);
    client.pause();
    const rounds = 4;
    const wanted: Buffer[] = [];
    for (let round = 0; round < rounds; round++) {
      client.write(Buffer.concat(Array.from({ length: 12 }, () => frame(0, Buffer.alloc(50)))));
      await until(() => w.frames.length === 12);
      for (const [i, { reply }] of w.frames.splice(0).entries()) {
        // The pieces are large: two of them fill what a socket buffers.
        const number = round * 12 + i;
        const bytes = Buffer.alloc(i % 2 === 0 ? 30 + i : 400_000, number + 1);
        wanted.push(bytes);
        reply.send(i % 2 === 0 ? [bytes] : [bytes.subarray(0, 7), bytes.subarray(7)], bytes.length, () =>
          left.push(number),
        );
      }
      await turns();
      if (round % 2 === 1) {
        client.resume();
        await until(() => answers.length() === wanted.reduce((sum, { length }) => sum + length, 0));
        client.pause();
      }
    }
    assert.ok(answers.bytes().equals(Buffer.concat(wanted)));
    await until(() => left.length === wanted.length);
    assert.deepEqual(
      left.filter((number) => number % 2 === 1),
      wanted.map((_, number) => number).filter((number) => number % 2 === 1),
      'pieces are given back in their order',
    );
    assert.equal(connection.saturated(), false);
    client.destroy();
  });

  test(`${path}: a connection whose answers were taken has nothing pending`, async (t) => {
    let own = true;
    const w = world(t, path, { ownReply: () => own });
    for (own of [true, false]) {
      const { client, connection } = await w.dial();
      const answers = collect(client);
      client.write(Buffer.concat(Array.from({ length: 3 }, () => frame(0, Buffer.alloc(50)))));
      await until(() => w.frames.length === 3);
      for (const arrived of w.frames.splice(0)) answer(arrived);
      await until(() => answers.length() === 24);
      client.end();
      await until(() => connection.closed);
      assert.equal(w.closed.at(-1)!.reason, 'closed by the peer');
    }
  });

  test(`${path}: a cut at every byte changes nothing`, async (t) => {
    const w = world(t, path);
    const { client, connection } = await w.dial();
    const three = [
      frame(0, Buffer.from('first')),
      frame(3, Buffer.alloc(0)),
      frame(0, Buffer.from('the third')),
    ];
    const all = Buffer.concat(three);
    const boundaries = new Set([three[0]!.length, three[0]!.length + three[1]!.length]);
    for (let cut = 1; cut < all.length; cut++) {
      w.frames.length = 0;
      client.write(all.subarray(0, cut));
      const whole = cut < three[0]!.length ? 0 : boundaries.has(cut) || cut < [...boundaries][1]! ? 1 : 2;
      const expected = cut >= [...boundaries][1]! ? 2 : whole;
      // The first part has been dealt with, as far as it goes.
      await until(() => w.frames.length === expected && connection.receiver.partial === !boundaries.has(cut));
      client.write(all.subarray(cut));
      await until(() => w.frames.length === 3);
      assert.deepEqual(
        w.frames.map(({ bytes }) => bytes),
        three.map((bytes) => bytes.subarray(4)),
      );
      for (const arrived of w.frames) answer(arrived);
      await turns(2);
    }
    assert.deepEqual(w.closed, []);
  });

  test(`${path}: a client that pipelines waits while its share of requests is pending`, async (t) => {
    const w = world(t, path);
    const { client } = await w.dial();
    const answers = collect(client);
    const total = 500;
    for (let i = 0; i < total; i++) {
      const bytes = frame(i % 2, Buffer.alloc(300, i));
      bytes.writeInt32BE(i, 8);
      client.write(bytes);
    }
    let most = 0;
    for (let done = 0; done < total; ) {
      await until(() => w.frames.length > done);
      if (done === 0) await turns();
      most = Math.max(most, w.frames.length - done);
      answer(w.frames[done++]!);
    }
    await until(() => answers.length() === total * 8);
    assert.equal(most, requestsMax);
    const order = answers.bytes();
    for (let i = 0; i < total; i++) assert.equal(order.readInt32BE(i * 8 + 4), i);
  });

  test(`${path}: a reader that is slow gets everything, and the arena is held until the kernel has it`, async (t) => {
    const w = world(t, path, { segments: 16, segmentBytes: 1 << 20 });
    const { client, connection } = await w.dial();
    client.pause();
    const random = new SeededRandom(3);
    const expected: Buffer[] = [];
    let held = 0;
    const answers = 12;
    for (let i = 0; i < answers; i++) client.write(frame(1, Buffer.alloc(20)));
    await until(() => w.frames.length === answers);
    for (let i = 0; i < answers; i++) {
      // From the arena, from memory of its own and small ones, in one answer.
      const segment = w.arena.acquire();
      const inArena = w.arena.buffer.subarray(
        segment * w.arena.segmentBytes,
        (segment + 1) * w.arena.segmentBytes,
      );
      random.bytes(inArena);
      const own = Buffer.from(random.bytes(new Uint8Array(1_000_000)));
      const small = Buffer.from(random.bytes(new Uint8Array(50)));
      const chunks = [small, inArena, own, small];
      const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      expected.push(...chunks.map((chunk) => Buffer.from(chunk)));
      held++;
      w.frames[i]!.reply.send(chunks, bytes, () => {
        held--;
        // Whoever gets the segment next writes into it.
        for (const chunk of chunks) chunk.fill(0);
        w.arena.release(segment);
      });
    }
    await turns();
    assert.ok(held > 3, `${held} answers wait`);
    assert.ok(connection.receiver.closed === false);
    const answered = collect(client);
    client.resume();
    const whole = Buffer.concat(expected);
    await until(() => answered.length() === whole.length);
    assert.ok(answered.bytes().equals(whole));
    await until(() => held === 0);
    assert.deepEqual(w.closed, []);
  });

  test(`${path}: an answer that makes no progress costs the connection, one that does goes on`, async (t) => {
    const w = world(t, path);
    const { client, connection } = await w.dial();
    client.pause();
    let released = 0;
    const chunk = Buffer.alloc(answerBytesMax / 2 / 64 - 1, 1);
    for (let i = 0; i < 6; i++) client.write(frame(1, Buffer.alloc(20)));
    await until(() => w.frames.length === 6);
    for (const { reply } of w.frames) {
      reply.send(Array(64).fill(chunk), chunk.length * 64, () => released++);
    }
    await turns();
    let read = 0;
    client.on('data', (chunk) => {
      read += chunk.length;
      if (read >= allowed) client.pause();
    });
    let allowed = 0;
    for (let i = 0; i < (path === 'loop' ? 5 : 1); i++) {
      // Enough for the kernel to take more.
      allowed += 2_000_000;
      client.resume();
      await until(() => read >= allowed);
      await turns();
      w.clock.advance(600);
    }
    // Node counts a write when all of it has been taken.
    if (path === 'loop') assert.equal(connection.closed, false, 'there was progress');
    for (let i = 0; i < 4 && !connection.closed; i++) {
      await turns();
      w.clock.advance(600);
    }
    assert.match(w.closed[0]?.reason ?? '', /no progress/);
    await until(() => released === 6);
  });

  test(`${path}: a reset in the middle of a frame, of an answer and of a pause ends the connection alone`, async (t) => {
    const w = world(t, path);
    const free = w.arena.freeSegments();
    const other = await w.dial();
    const otherAnswers = collect(other.client);
    const inFrame = await w.dial();
    inFrame.client.write(frame(0, Buffer.alloc(200_000)).subarray(0, 100_000));
    await until(() => inFrame.connection.receiver.announced > 0);
    inFrame.client.resetAndDestroy();
    await until(() => inFrame.connection.closed);

    const inAnswer = await w.dial();
    inAnswer.client.pause();
    inAnswer.client.write(frame(1, Buffer.alloc(20)));
    await until(() => w.frames.length === 1);
    let released = 0;
    w.frames[0]!.reply.send([Buffer.alloc(7 << 20)], 7 << 20, () => released++);
    await turns();
    assert.equal(released, 0);
    inAnswer.client.resetAndDestroy();
    await until(() => inAnswer.connection.closed);
    await until(() => released === 1);

    const paused = await w.dial();
    for (let i = 0; i < requestsMax * 2; i++) paused.client.write(frame(0, Buffer.alloc(100)));
    await until(() => w.frames.length === 1 + requestsMax);
    await turns();
    paused.client.resetAndDestroy();
    await turns();
    // Node's sockets learn of it when they read or write again, at the latest when they are answered.
    for (const arrived of w.frames.splice(1)) arrived.reply.send([Buffer.alloc(10)], 10, null);
    await until(() => paused.connection.closed || w.frames.length > 1);
    for (const arrived of w.frames.splice(1)) arrived.reply.send([Buffer.alloc(10)], 10, null);
    await until(() => paused.connection.closed);

    other.client.write(frame(1, Buffer.alloc(20)));
    await until(() => w.frames.some(({ connection }) => connection === other.connection));
    answer(w.frames.find(({ connection }) => connection === other.connection)!);
    await until(() => otherAnswers.length() === 8);
    w.end();
    assert.equal(w.arena.freeSegments(), free);
  });

  test(`${path}: frames out of bounds end their connection at once, wherever they stand`, async (t) => {
    for (const size of [-1, 0, 7, 50_001, 2 ** 31 - 1]) {
      for (const before of [0, 3]) {
        const w = world(t, path, { frameBytesMax: 50_000, onFrame: answer });
        const { client, connection } = await w.dial();
        const head = Buffer.alloc(4);
        head.writeInt32BE(size);
        client.write(
          Buffer.concat([...Array(before).fill(frame(1, Buffer.alloc(9))), head, Buffer.alloc(64)]),
        );
        await until(() => connection.closed);
        assert.match(w.closed[0]!.reason, new RegExp(`^a request of ${size} bytes was announced`));
        assert.equal(w.closed[0]!.notable, true);
        client.destroy();
        w.end();
      }
    }
  });

  test(`${path}: small frames above the limit are refused too`, async (t) => {
    const w = world(t, path, { frameBytesMax: 500, onFrame: answer });
    const { client, connection } = await w.dial();
    client.write(frame(0, Buffer.alloc(600)));
    await until(() => connection.closed);
    assert.match(w.closed[0]!.reason, /a request of 608 bytes was announced/);
  });

  test(`${path}: a client that ends its half is served what it sent before`, async (t) => {
    const w = world(t, path, {
      onFrame: (arrived) => {
        w.frames.push(arrived);
        answer(arrived);
      },
    });
    const { client, connection } = await w.dial();
    const answers = collect(client);
    client.end(Buffer.concat([frame(0, Buffer.alloc(30)), frame(1, Buffer.alloc(30))]));
    await until(() => connection.closed);
    assert.equal(w.frames.length, 2);
    assert.match(w.closed[0]!.reason, /^closed by the peer/);
    await once(client, 'close');
    assert.equal(answers.length(), 16);
  });

  test(`${path}: a frame that does not arrive whole costs the connection, small or large`, async (t) => {
    for (const body of [40, 40_000]) {
      const w = world(t, path);
      const { client, connection } = await w.dial();
      const other = await w.dial();
      client.write(frame(0, Buffer.alloc(body)).subarray(0, 20));
      await until(() => connection.receiver.partial);
      w.clock.advance(500);
      client.write(Buffer.alloc(1));
      await turns();
      w.clock.advance(700);
      w.clock.advance(700);
      assert.match(w.closed[0]?.reason ?? '', /did not arrive whole within 1000 ms/);
      assert.equal(other.connection.closed, false, 'who sends nothing may wait for long');
      w.end();
    }
  });

  test(`${path}: without memory a connection waits, and goes on where it was`, async (t) => {
    const w = world(t, path, {
      segments: 4,
      onFrame: (arrived) => {
        w.frames.push(arrived);
        answer(arrived);
      },
    });
    const { client, connection } = await w.dial();
    const answers = collect(client);
    const taken = [0, 1, 2, 3].map(() => w.arena.acquire());
    client.write(Buffer.concat([frame(0, Buffer.from('one')), frame(0, Buffer.from('two'))]));
    await until(() => w.starved.length > 0);
    connection.feed();
    await until(() => w.starved.length > 1);
    await turns();
    assert.deepEqual(
      [w.frames.length, w.starved.length],
      [0, 2],
      'a paused connection does not keep the loop busy',
    );
    for (const segment of taken) w.arena.release(segment);
    connection.feed();
    await until(() => answers.length() === 16);
    assert.deepEqual(
      w.frames.map(({ bytes }) => bytes.subarray(8).toString()),
      ['one', 'two'],
    );
    w.end();
    assert.equal(w.arena.freeSegments(), 4);
  });

  test(`${path}: who sends without end keeps nobody else waiting`, async (t) => {
    const w = world(t, path, {
      onFrame: (arrived) => {
        if (arrived.bytes.readInt16BE(0) === 1) w.frames.push(arrived);
        answer(arrived);
      },
    });
    const flood = await Promise.all([w.dial(), w.dial(), w.dial()]);
    const calm = await w.dial();
    const block = Buffer.concat(Array.from({ length: 60 }, () => frame(0, Buffer.alloc(600))));
    let flooding = true;
    for (const { client } of flood) {
      client.resume();
      const more = (): void => {
        if (!flooding) return;
        if (client.write(block)) setImmediate(more);
        else client.once('drain', more);
      };
      more();
    }
    const answers = collect(calm.client);
    for (let i = 0; i < 10; i++) {
      calm.client.write(frame(1, Buffer.alloc(10)));
      await until(() => answers.length() === (i + 1) * 8);
    }
    flooding = false;
    assert.equal(w.frames.length, 10);
  });

  test(`${path}: 2,000 connections come and go, and no descriptor or segment stays behind`, async (t) => {
    const w = world(t, path, { onFrame: answer });
    const free = w.arena.freeSegments();
    const before = openDescriptors();
    for (let round = 0; round < 20; round++) {
      const dialled = await Promise.all(Array.from({ length: 100 }, () => w.dial()));
      const answered = dialled.map(({ client }) => collect(client));
      for (const { client } of dialled) client.write(frame(round % 2, Buffer.alloc(100)));
      await until(() => answered.every(({ length }) => length() === 8));
      for (const [i, { client, connection }] of dialled.entries()) {
        if (i % 3 === 0) client.end();
        else if (i % 3 === 1) client.resetAndDestroy();
        else connection.close('told to');
      }
      await until(() => dialled.every(({ connection }) => connection.closed));
      for (const { client } of dialled) client.destroy();
    }
    await until(() => openDescriptors() <= before + 1);
    assert.equal(w.closed.length, 2000);
    w.end();
    assert.equal(w.arena.freeSegments(), free);
  });
}

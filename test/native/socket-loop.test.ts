/** The socket loop by itself: its checks, and the ends that a thread may come to while sockets are open. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import {
  SLICE_BYTES_MIN,
  SOCKET_ROW_WORDS,
  SOCKET_ROWS,
  sendOutcomes,
  socketFlags,
  socketModes,
} from '../../native-bindings/contract.ts';
import { frame, native, openDescriptors, until } from './socket-paths.ts';
import { sharedMemory } from './support.ts';

async function pair(): Promise<{ client: net.Socket; fd: number }> {
  const { fd: listening, port } = native.listenTcp('127.0.0.1', 0, 8);
  const taken = new Promise<number>((resolve) => {
    const acceptor = native.createAcceptor(
      listening,
      (fd) => {
        acceptor.close();
        resolve(fd);
      },
      assert.fail,
    );
  });
  const client = net.connect({ port, host: '127.0.0.1', noDelay: true });
  client.on('error', () => {});
  await once(client, 'connect');
  return { client, fd: await taken };
}

const worker = (): Worker =>
  new Worker(new URL('./socket-loop.worker.js', import.meta.url), { trackUnmanagedFds: false });

for (const ending of ['exit', 'end', 'throw', 'terminate'] as const) {
  test(`a thread that comes to its end by ${ending} with open connections leaves no descriptor and no crash`, async () => {
    let before = 0;
    for (let round = 0; round < 5; round++) {
      const thread = worker();
      thread.on('error', (error) => assert.equal(error.message, 'told to'));
      const gone = new Promise((resolve) => thread.once('exit', resolve));
      const pairs = await Promise.all(Array.from({ length: 10 }, pair));
      for (const { fd } of pairs) {
        thread.postMessage(fd);
        await once(thread, 'message');
      }
      const text = frame(0, Buffer.from('hello'));
      for (const { client } of pairs) {
        client.write(text);
        assert.deepEqual((await once(client, 'data'))[0], text);
      }
      // A reset where the thread leaves with bytes unread is a way to be closed, too.
      const closed = pairs.map(
        ({ client }) =>
          new Promise((resolve) =>
            client
              .on('error', () => {})
              .once('close', resolve)
              .resume(),
          ),
      );
      if (ending === 'terminate') {
        for (const { client } of pairs) client.write(text);
        await thread.terminate();
      } else {
        thread.postMessage(ending);
        await once(thread, 'message');
        for (const { client } of pairs) client.write(text);
      }
      await gone;
      await Promise.all(closed);
      // The first one opens what a process keeps.
      if (round === 0) before = openDescriptors();
    }
    await until(() => openDescriptors() <= before);
  });
}

test('what is out of range is refused before it reaches the sockets', async (t) => {
  const memory = sharedMemory(1 << 20);
  const arena = native.registerArena(memory);
  t.after(() => native.releaseArena(arena));
  const table = new Uint32Array(SOCKET_ROWS * SOCKET_ROW_WORDS);
  assert.throws(() => native.createSocketLoop(arena, new Uint32Array(8), () => {}), TypeError);
  assert.throws(() => native.createSocketLoop(200, table, () => {}), RangeError);
  const loop = native.createSocketLoop(arena, table, () => {});
  t.after(() => loop.end());
  const { client, fd } = await pair();
  t.after(() => client.destroy());
  assert.throws(() => loop.open(-1), RangeError);
  assert.throws(() => loop.open(987_654), { code: 'EBADF' });
  const slot = loop.open(fd);
  assert.throws(() => loop.giveSlice(memory.length - 10, SLICE_BYTES_MIN), { code: 'EFAULT' });
  assert.throws(() => loop.giveSlice(0, SLICE_BYTES_MIN - 1), { code: 'EFAULT' });
  assert.throws(() => loop.aim(slot, 3, 0, 0), RangeError);
  assert.throws(() => loop.aim(slot, socketModes.target, memory.length, 1), { code: 'EFAULT' });
  assert.throws(() => loop.send(new Uint32Array(4), 2, memory, []), RangeError);
  const outcome = (words: number[], outside: Uint8Array[] = []): number => {
    const entries = Uint32Array.from(words);
    loop.send(entries, 1, Buffer.from('staged'), outside);
    return entries[1]!;
  };
  assert.equal(outcome([slot, 0, memory.length, 1]), sendOutcomes.badEntry);
  assert.equal(outcome([slot, 1, 3, 4]), sendOutcomes.badEntry);
  assert.equal(outcome([slot, 2, 0, 4], [Buffer.alloc(3)]), sendOutcomes.badEntry);
  assert.equal(outcome([slot + 7, 0, 0, 1]), sendOutcomes.failed);
  assert.equal(outcome([slot, 1, 3, 3]), sendOutcomes.taken);
  assert.equal(String((await once(client, 'data'))[0]), 'ged');
  // Slots that name nothing.
  loop.close(slot + 7);
  loop.pause(slot + 7, true);
  loop.close(slot);
  loop.close(slot);
  assert.equal(loop.taken(slot), 0);
});

test('what is queued of memory outside of the arena is a copy, and garbage may be collected meanwhile', async (t) => {
  const memory = sharedMemory(1 << 20);
  const arena = native.registerArena(memory);
  t.after(() => native.releaseArena(arena));
  const flags: number[] = [];
  const table = new Uint32Array(SOCKET_ROWS * SOCKET_ROW_WORDS);
  const loop = native.createSocketLoop(arena, table, (rows) => {
    for (let row = 0; row < rows; row++) flags.push(table[row * SOCKET_ROW_WORDS + 1]!);
  });
  t.after(() => loop.end());
  const { client, fd } = await pair();
  t.after(() => client.destroy());
  client.pause();
  const slot = loop.open(fd);
  const size = 1 << 20;
  let sent = 0;
  const entries = new Uint32Array(4);
  for (let i = 0; i < 24; i++) {
    const buffer = Buffer.alloc(size, i + 1);
    entries.set([slot, 2, 0, size]);
    loop.send(entries, 1, memory, [buffer]);
    buffer.fill(0);
    sent += size;
  }
  assert.equal(entries[1], sendOutcomes.queued);
  assert.ok(loop.taken(slot) < sent);
  for (let i = 0; i < 200; i++) new Uint8Array(100_000);
  let read = 0;
  client.on('data', (chunk: Buffer) => {
    for (const byte of chunk) {
      if (byte !== Math.floor(read / size) + 1) assert.fail(`byte ${read} is ${byte}`);
      read++;
    }
  });
  client.resume();
  await until(() => read === sent);
  assert.equal(loop.taken(slot), sent);
  assert.ok(flags.every((flag) => flag === socketFlags.taken));
});

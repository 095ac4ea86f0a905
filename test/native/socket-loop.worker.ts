/** A thread that serves descriptors through the socket loop: it echoes frames, and ends when it is told to or is killed. */
import { parentPort } from 'node:worker_threads';
import { SOCKET_ROW_WORDS, SOCKET_ROWS, socketFlags } from '../../native-bindings/contract.ts';
import { loadNative } from '../../native-bindings/index.ts';

const port = parentPort as NonNullable<typeof parentPort>;
const native = loadNative()!;
const memory = Buffer.from(new SharedArrayBuffer(1 << 20));
const arena = native.registerArena(memory);
const table = new Uint32Array(SOCKET_ROWS * SOCKET_ROW_WORDS);
const entries = new Uint32Array(4);
let ending: 'none' | 'exit' | 'end' | 'throw' = 'none';
const loop = native.createSocketLoop(arena, table, (rows, wantsSlice) => {
  if (wantsSlice) loop.giveSlice(0, 256 * 1024);
  if (ending === 'exit') process.exit(0);
  if (ending === 'throw') throw new Error('told to');
  for (let row = 0; row < rows; row++) {
    const [slot, flags, position, frames] = table.subarray(row * SOCKET_ROW_WORDS) as unknown as number[];
    if ((flags! & socketFlags.bytes) !== 0 && frames! > 0) {
      entries.set([slot!, 0, position!, frames!]);
      loop.send(entries, 1, Buffer.alloc(0), []);
    }
    if ((flags! & (socketFlags.end | socketFlags.failed)) !== 0) loop.close(slot!);
  }
  if (ending === 'end') {
    // In the middle of its own turn, with connections open.
    loop.end();
    port.postMessage('ended');
    port.close();
  }
});
loop.giveSlice(0, 256 * 1024);
port.on('message', (message: number | 'exit' | 'end' | 'throw') => {
  if (typeof message !== 'number') ending = message;
  else loop.open(message);
  port.postMessage('taken');
});

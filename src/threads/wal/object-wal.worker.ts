/**
 * Entry of the thread of an object WAL: an event loop around one ObjectWalWriter, because puts are answered by events.
 * Woken by its doorbell, by answers of the store, by main's calls, and by the writer's own times.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { createLogger } from '../../observe/logger.ts';
import type { Timer } from '../../ports/clock.ts';
import { SequencedEntries } from '../../store/sequenced-entries.ts';
import { ObjectWalWriter } from '../../stream/wal/object-wal-writer.ts';
import { SystemClock } from '../adapters/system-clock.ts';
import { SystemRandom } from '../adapters/system-random.ts';
import { nameThread } from '../adapters/thread-name.ts';
import { threadNative } from '../adapters/thread-native.ts';
import { guardedStore } from '../adapters/thread-store.ts';
import { SharedArena } from '../memory/arena.ts';
import { attachDoorbell } from '../memory/doorbell.ts';
import { Ring } from '../memory/ring.ts';
import { StoreBoard } from '../memory/store-board.ts';
import { LoopWaiter, wakeSource } from '../memory/waiter.ts';
import type { ObjectWalWorkerData, WalCall } from './contract.ts';
import { RingAppendSource } from './ring-append-source.ts';
import { WalPort } from './wal-port.ts';

const data = workerData as ObjectWalWorkerData;
nameThread(`wal ${data.volume}`);
const clock = new SystemClock();
const random = new SystemRandom();
const { native, crc32c } = threadNative(data.native);
const logger = createLogger({
  ...data.log,
  now: () => clock.now(),
  write: (line) => process.stderr.write(line),
});
const board = StoreBoard.claim(data.storeBoard);
const store = await guardedStore(data.storeUrl, { clock, random, crc32c, board });
const { entryPrefix, writer } = data;
const pump = new ObjectWalWriter(
  {
    entries: new SequencedEntries({ store, entryPrefix, writer, random, crc32c }),
    clock,
    logger,
    arena: SharedArena.attach(data.arena),
    crc32c,
    settings: data.settings,
    wake: () => run(),
  },
  data.resume,
);
const sources = data.lanes.map((lane) => {
  const source = new RingAppendSource(
    new Ring(lane.appends),
    new Ring(lane.completions),
    attachDoorbell(lane.shardBell, native),
  );
  pump.addSource(source);
  return source;
});
const port = parentPort as unknown as MessagePort;
const answers = new WalPort(port, pump, data.stats, () => {
  waiter.close();
  port.unref();
});
const calls: WalCall[] = [];
let timer: Timer | null = null;

/** While a shard has not been told of every commit, main gets no cut: it may hold what that shard would leave out. */
function turn(): void {
  let behind = false;
  for (const source of sources) {
    source.look();
    source.tell();
    behind ||= source.behind;
  }
  for (let left = behind ? 0 : calls.length; left > 0; left--) answers.serve(calls.shift()!);
  pump.nudge();
  answers.publish();
  timer?.cancel();
  const wakeIn = Math.min(pump.wakeAt - clock.monotonic(), behind ? 1 : Number.POSITIVE_INFINITY);
  timer = wakeIn === Number.POSITIVE_INFINITY ? null : clock.after(Math.max(0, wakeIn), run);
}

function run(): void {
  turn();
}

const waiter = new LoopWaiter(
  wakeSource(data.bell, clock, null),
  {
    turn: () => {
      turn();
      return false;
    },
    // What waits for a time or for room is woken by that; what is new since the last turn by this.
    pending: () => sources.some((source) => source.fresh),
  },
  clock,
);
waiter.start();
port.on('message', (call: WalCall) => {
  calls.push(call);
  run();
});

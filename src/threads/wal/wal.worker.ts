/** Entry of a WAL thread: makes one WalWriter over the volume's file and runs the thread's loop around it (wal-loop.ts). */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { DelayedWalDevice } from '../../stream/wal/delayed-wal-device.ts';
import { FileWalDevice } from '../../stream/wal/file-wal-device.ts';
import { RecoveredBatches } from '../../stream/wal/recovered-batches.ts';
import type { RecoveredWal } from '../../stream/wal/recovery.ts';
import { WalWriter } from '../../stream/wal/wal-writer.ts';
import { SystemClock } from '../adapters/system-clock.ts';
import { nameThread } from '../adapters/thread-name.ts';
import { threadNative } from '../adapters/thread-native.ts';
import { SharedArena } from '../memory/arena.ts';
import { attachDoorbell } from '../memory/doorbell.ts';
import { Ring } from '../memory/ring.ts';
import { BlockingWaiter } from '../memory/waiter.ts';
import { BatchWish } from './batch-wish.ts';
import type { WalCall, WalWorkerData } from './contract.ts';
import { RingAppendSource } from './ring-append-source.ts';
import { WalLoop } from './wal-loop.ts';
import { WalPort } from './wal-port.ts';
import { WatchedWrites } from './write-watch.ts';

const data = workerData as WalWorkerData;
nameThread(`wal ${data.volume}`);
const port = parentPort as unknown as MessagePort;
const clock = new SystemClock();
const arena = SharedArena.attach(data.arena);
const { native, files, crc32c, copyRanges } = threadNative(data.native);
const file = FileWalDevice.open(data.path, files, { create: false });
const sleepWord = new Int32Array(new SharedArrayBuffer(4));
const device =
  data.extraWriteDelayMs > 0
    ? new DelayedWalDevice(file, (then) => {
        Atomics.wait(sleepWord, 0, 0, data.extraWriteDelayMs);
        then();
      })
    : file;
const recovered: RecoveredWal = {
  ...data.resume,
  batches: new RecoveredBatches(),
  reasons: [],
  lostCommits: [],
  lost: [],
};
const watch = new WatchedWrites(data.watch);
const writer = WalWriter.resume(
  {
    device,
    clock,
    arena,
    crc32c,
    copyRanges,
    settings: {
      lingerMs: data.lingerMs,
      iops: data.iops,
      bandwidth: data.bandwidth,
      ioTimeoutMs: data.writeTimeoutMs,
    },
    watch,
    fence: data.fence === null ? undefined : Buffer.from(data.fence),
    fenceCached: data.fenceCached,
  },
  recovered,
  data.epoch,
);
const sources = data.lanes.map((lane) => {
  const source = new RingAppendSource(
    new Ring(lane.appends),
    new Ring(lane.completions),
    attachDoorbell(lane.shardBell, native),
  );
  writer.addSource(source);
  return source;
});
let stopping = false;
const answers = new WalPort(port, writer, data.stats, () => {
  stopping = true;
  void file.close();
});
const loop = new WalLoop({
  pump: writer,
  sources,
  waiter: new BlockingWaiter(data.bell),
  clock,
  takeCall: () => receiveMessageOnPort(port)?.message as WalCall | undefined,
  answers,
  watch,
  wish: new BatchWish(data.wish),
});

while (!stopping) loop.turn(() => stopping);

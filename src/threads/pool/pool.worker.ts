/** Entry of an object pool worker (piscina): one context for its life, one function for its tasks. */
import { workerData } from 'node:worker_threads';
import { createCodecs } from '../../protocol/compression/codecs.ts';
import { CompactionPace } from '../../stream/compaction/compaction-pace.ts';
import { ObjectReader } from '../../stream/read/object-reader.ts';
import { type ObjectTask, type ObjectTaskResult, runObjectTask } from '../../stream/upload/object-pool.ts';
import { StagingPool } from '../../stream/upload/staging-pool.ts';
import { keyHash } from '../adapters/key-hash.ts';
import { SystemClock } from '../adapters/system-clock.ts';
import { SystemRandom } from '../adapters/system-random.ts';
import { nameThread } from '../adapters/thread-name.ts';
import { threadNative } from '../adapters/thread-native.ts';
import { guardedStore } from '../adapters/thread-store.ts';
import { SharedArena } from '../memory/arena.ts';
import { StoreBoard } from '../memory/store-board.ts';
import type { PoolWorkerData } from './contract.ts';

// Piscina hands its own channel and ours over together.
const data = (Array.isArray(workerData) ? workerData[1] : workerData) as PoolWorkerData;
nameThread(data.name);
const { crc32c } = threadNative(data.native);
const clock = new SystemClock();
const board = StoreBoard.claim(data.storeBoard);
const store = await guardedStore(data.storeUrl, { clock, random: new SystemRandom(), crc32c, board });
const compactionStop = new Int32Array(data.compactionStop);
const pace = new CompactionPace(clock, data.compaction, () => Atomics.load(compactionStop, 0) !== 0);
const context = {
  arena: SharedArena.attach(data.arena),
  store,
  reader: new ObjectReader({ store, crc32c }),
  upload: { crc32c, staging: new StagingPool({ bytesMax: data.stagingBytes }), clock, flow: board },
  compaction: { store, crc32c, pace: pace.wait },
  cleaning: { store, crc32c, codecs: createCodecs(), hash: keyHash, pace: pace.wait, clock },
};

export default function run(task: ObjectTask): Promise<ObjectTaskResult> {
  return runObjectTask(task, context);
}

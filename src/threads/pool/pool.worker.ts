/** Entry of an object pool worker (piscina): one context for its life, one function for its tasks. */
import { workerData } from 'node:worker_threads';
import { threadNative } from '../../broker/thread-native.ts';
import { openStore } from '../../store/open-store.ts';
import { ObjectReader } from '../../stream/read/object-reader.ts';
import { type ObjectTask, type ObjectTaskResult, runObjectTask } from '../../stream/upload/object-pool.ts';
import { StagingPool } from '../../stream/upload/staging-pool.ts';
import { SystemClock } from '../adapters/system-clock.ts';
import { SystemRandom } from '../adapters/system-random.ts';
import { SharedArena } from '../memory/arena.ts';
import type { PoolWorkerData } from './contract.ts';

// Piscina hands its own channel and ours over together.
const data = (Array.isArray(workerData) ? workerData[1] : workerData) as PoolWorkerData;
const { crc32c } = threadNative(data.native);
const store = await openStore(data.storeUrl, {
  clock: new SystemClock(),
  random: new SystemRandom(),
  crc32c,
});
const context = {
  arena: SharedArena.attach(data.arena),
  store,
  reader: new ObjectReader({ store, crc32c }),
  upload: { crc32c, staging: new StagingPool({ bytesMax: data.stagingBytes }) },
};

export default function run(task: ObjectTask): Promise<ObjectTaskResult> {
  return runObjectTask(task, context);
}

/** Entry of a shard thread. Its code is loaded before it knows what it is: that comes as the first message of a port. */
import { once } from 'node:events';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { collectLoopDelay, systemLoopDelay } from '../../observe/event-loop-delay.ts';
import { createLogger } from '../../observe/logger.ts';
import type { ControlPlane } from '../../requests/support/control-plane.ts';
import type { ShardApi } from '../../shard/shard-api.ts';
import { SystemClock } from '../adapters/system-clock.ts';
import { SystemRandom } from '../adapters/system-random.ts';
import { nameThread } from '../adapters/thread-name.ts';
import { threadNative } from '../adapters/thread-native.ts';
import { guardedStore } from '../adapters/thread-store.ts';
import { SharedArena } from '../memory/arena.ts';
import { StoreBoard } from '../memory/store-board.ts';
import { PortRpc } from '../rpc.ts';
import { assembleShard } from './assemble.ts';
import type { ShardHelpers, ShardWorkerData } from './contract.ts';

const dataPort = (workerData as { readonly data: MessagePort }).data;
const [data] = (await once(dataPort, 'message')) as [ShardWorkerData];
nameThread(`shard ${data.seed.settings.index}`);
const native = threadNative(data.native);
const clock = new SystemClock(native.boottime);
const random = new SystemRandom();
const logger = createLogger({
  ...data.log,
  now: () => clock.now(),
  write: (line) => process.stderr.write(line),
});
const store = await guardedStore(data.storeUrl, {
  clock,
  random,
  crc32c: native.crc32c,
  board: StoreBoard.claim(data.storeBoard),
});
// Calls are served once the shard is there: messages wait in the port until then.
const local: Record<string, unknown> = {};
const rpc = new PortRpc<ControlPlane & ShardHelpers>(parentPort!, local);
const { host } = assembleShard({
  data,
  arena: SharedArena.attach(data.arena, native.native),
  native,
  clock,
  random,
  logger,
  store,
  control: rpc.remote as unknown as ControlPlane,
  helpers: {
    readBlocks: (task) => rpc.remote.readBlocks(task),
    recordTask: (task) => rpc.remote.recordTask(task),
  },
});
collectLoopDelay(host.shard.counters.metrics, `shard ${data.seed.settings.index}`, systemLoopDelay());
/** Complete: a method of the contract that is missing here does not compile. */
const served: Readonly<Record<keyof ShardApi, true>> = {
  stagePartitions: true,
  unstage: true,
  beginClose: true,
  cancelClose: true,
  restore: true,
  ends: true,
  beginServing: true,
  applyChanges: true,
  connect: true,
  collect: true,
  collectMore: true,
  uploaded: true,
  evictUploaded: true,
  states: true,
  metrics: true,
  takeTraffic: true,
  maintain: true,
  snapshot: true,
  drain: true,
  quiesce: true,
};
for (const method of Object.keys(served) as (keyof ShardApi)[]) {
  local[method] = (...args: unknown[]) => (host[method] as (...a: unknown[]) => unknown).apply(host, args);
}

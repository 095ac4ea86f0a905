/**
 * Builds a Shard from what its thread has: native or portable functions, a store of its own for cold reads, and every
 * request handler. Runs on the shard's thread.
 */

import { KafkaConfigCatalog } from '../config/config-catalog.ts';
import type { GroupServices } from '../coordinator/group/group-services.ts';
import type { Dial } from '../net/outgoing-socket.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import { createCodecs } from '../protocol/compression/codecs.ts';
import type { RecordTask, RecordTaskResult } from '../protocol/records/record-tasks.ts';
import type { ControlPlane } from '../requests/support/control-plane.ts';
import { coordinatorFinder } from '../requests/support/coordinator-places.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { BlockCache } from '../stream/cache/block-cache.ts';
import { LocalBudget } from '../stream/cache/block-slabs.ts';
import { ReadBudget, type ReadBudgetLimits } from '../stream/cache/read-budget.ts';
import { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import { collectColdReads } from '../stream/read/cold-metrics.ts';
import { ColdReader, DirectBlockLoader } from '../stream/read/cold-reader.ts';
import { ObjectReader } from '../stream/read/object-reader.ts';
import { type BlocksRead, PooledBlockLoader, type ReadBlocksTask } from '../stream/upload/object-pool.ts';
import type { Wal } from '../stream/wal/wal.ts';
import type { ThreadNative } from '../threads/adapters/thread-native.ts';
import { type AloneMemory, leaseHolds } from './alone-watch.ts';
import { type HandlerSettings, requestHandlers } from './request-handlers.ts';
import { Shard, type ShardPeers, type ShardServices, type ShardSettings } from './shard.ts';

export interface ShardSeed {
  readonly settings: ShardSettings;
  readonly handlers: HandlerSettings;
  readonly image: Buffer;
  /** Plain connections go to the addon's socket loop, where the addon is. */
  readonly nativeSockets: boolean;
  readonly blockCacheBytes: number;
  /** This shard's share. */
  readonly coldReads: ReadBudgetLimits;
  /** Broker configs under Kafka's names that were set at start. */
  readonly staticConfigs: Readonly<Record<string, string>>;
}

export interface ShardThread {
  readonly arena: Arena;
  readonly wals: readonly Wal[];
  readonly alone: AloneMemory;
  /** Until when nobody else can have this broker's partitions (SessionWatch); null where it is alone. */
  readonly session: SharedArrayBuffer | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly native: ThreadNative;
  readonly store: ObjectStore;
  readonly control: ControlPlane;
  /** Other threads that fetch and check blocks, and unpack large batches; without them this one does. */
  readonly helpers?: {
    readBlocks(task: ReadBlocksTask): Promise<BlocksRead>;
    recordTask(task: RecordTask): Promise<RecordTaskResult>;
  };
  readonly peers: ShardPeers | null;
  /** Opens connections to other brokers; null where none can be reached. */
  readonly dial: Dial | null;
}

export function composeShard(seed: ShardSeed, thread: ShardThread): Shard {
  const { arena, clock, native, store, helpers } = thread;
  const catalog = new KafkaConfigCatalog(seed.staticConfigs);
  const codecs = createCodecs();
  let shard: Shard | null = null;
  const readBudget = new ReadBudget(clock, seed.coldReads);
  const manifests = new ManifestCache({
    store,
    crc32c: native.crc32c,
    clusterId: () => shard?.image.clusterId ?? '',
  });
  const reader = new ObjectReader({
    store,
    crc32c: native.crc32c,
    sizeOf: (objectId) => shard?.image.objects.get(objectId)?.size ?? manifests.sizeOf(objectId),
    charge: (bytes) => readBudget.take(bytes),
    pause: () => new Promise((resolve) => clock.soon(resolve)),
  });
  const cache = new BlockCache({
    arena,
    budget: new LocalBudget(seed.blockCacheBytes),
    budgetBytes: seed.blockCacheBytes,
    loader:
      helpers === undefined
        ? new DirectBlockLoader(reader, arena)
        : new PooledBlockLoader((task) => helpers.readBlocks(task), reader),
    clock,
    readBudget,
  });
  const coldReader = new ColdReader({
    arena,
    reader,
    cache,
    clock,
    // A few readers' windows and answers fit the cache together.
    readAheadBytesMax: Math.min(16 << 20, Math.floor(seed.blockCacheBytes / 16)),
    readBytesMax: Math.min(8 << 20, Math.max(1 << 20, Math.floor(seed.blockCacheBytes / 8))),
  });
  shard = new Shard({
    settings: seed.settings,
    image: Buffer.from(seed.image),
    arena,
    wals: thread.wals,
    mayAcknowledge: leaseHolds(thread.alone, clock),
    leased: leaseHolds(thread.session, clock),
    clock,
    random: thread.random,
    logger: thread.logger,
    codecs,
    recordTask: helpers === undefined ? null : (task) => helpers.recordTask(task),
    crc32c: native.crc32c,
    crc32cAt: native.crc32cAt(arena),
    walk: native.walk,
    coldReader,
    manifests,
    control: thread.control,
    catalog,
    handlers: (services) => requestHandlers(services, groupServices(services), catalog, seed.handlers),
    peers: thread.peers,
    dial: thread.dial,
  });
  collectColdReads(shard.counters.metrics, { coldReader, cache, reader });
  return shard;
}

/** The group handlers' view of the shard. */
function groupServices(services: ShardServices): GroupServices {
  const { topics, coordinators } = services;
  return {
    topics: coordinators.topicNames,
    coordinator: coordinators.groups,
    findCoordinator: coordinatorFinder({
      topics,
      endpoint: services.endpoint,
      clock: services.clock,
      partitionOf: (kind, key) => coordinators.partitionOf(kind, key),
      makeTopic: (kind) => coordinators.makeTopic(kind),
    }),
  };
}

/**
 * What a start does with the write-ahead logs that it has read and claimed, before its streams are opened: logs that nobody goes
 * on with become objects (volumes/drain.ts), the others' batches come into memory, where they are served at once. Main thread.
 */
import type { PartitionImage } from '../metadata/metadata-store.ts';
import { Slab } from '../net/slab.ts';
import type { ShardDoor } from '../shard/shard-api.ts';
import {
  type DrainDeps,
  type Drained,
  type DrainedLog,
  drain,
  drainWindowBytes,
  planOf,
  tellGaps,
} from '../volumes/drain.ts';
import { foldHeaders } from '../volumes/fold-headers.ts';
import type { Volume } from '../volumes/volume.ts';
import type { FoldedStates, OwnershipDeps, RecoveredStreams } from './ownership.ts';
import { restoreVolumes } from './restore-volume.ts';

/** What a drain needs, but for its memory. */
export interface DrainingDeps extends Omit<DrainDeps, 'allocate' | 'windowBytes'> {}

export interface RecoverDeps extends DrainingDeps {
  /** Those that are to be opened; open ones are this broker's. */
  readonly partitions: readonly PartitionImage[];
  readonly volumes: readonly Volume[];
  readonly shards: readonly ShardDoor[];
  readonly fold: OwnershipDeps['fold'];
  /** Bytes and batches that memory takes before some must leave for objects. */
  readonly roomBytes: number;
  readonly roomBatches: number;
  /** Uploads what was loaded of a volume so far, and lets the shards evict it. */
  readonly relieve: (index: number) => Promise<void>;
}

export async function recoverStreams(deps: RecoverDeps): Promise<RecoveredStreams> {
  const { volumes, metadata, partitions, fold, crc32c, logger } = deps;
  const { image } = metadata;
  const producers = new Map(await fold(partitions));
  const logs = volumes
    .flatMap((volume) => [...volume.predecessors, volume])
    .filter(({ recovered, bytes }) => recovered !== null && bytes !== null);
  let plan = planOf(logs, image);
  if (plan.rounds > 1 || volumes.some(({ predecessors }) => predecessors.length > 0)) {
    // Nobody goes on with some of the logs, or a stream lies in several: all of it becomes objects first.
    const { closes } = await drainLogs(logs, producers, deps);
    await metadata.commit(closes);
    plan = planOf(logs, image);
  } else {
    tellGaps(plan.gaps, logger);
    await foldHeaders(logs, plan, producers, crc32c);
  }
  const load = async (): Promise<void> => {
    const { arena, shards, roomBytes, roomBatches, relieve } = deps;
    const restored = volumes.flatMap((volume) => {
      const fates = plan.fates[logs.indexOf(volume)];
      return fates === undefined ? [] : [{ volume, fates }];
    });
    await restoreVolumes(restored, {
      arena,
      crc32c,
      logger,
      shards,
      roomBytes,
      roomBatches,
      relieve: async () => {
        for (const { index } of volumes) await relieve(index);
      },
    });
  };
  return { producers, load };
}

/** A drain through a window in the arena. */
export async function drainLogs(
  logs: readonly DrainedLog[],
  producers: Map<string, NonNullable<ReturnType<FoldedStates['get']>>>,
  deps: DrainingDeps,
): Promise<Drained> {
  const { arena } = deps;
  const slab: Slab = new Slab(arena, () => {
    // Its own segment may lie in the middle of the run that is wanted.
    slab.close();
    return true;
  });
  try {
    return await drain(logs, producers, {
      ...deps,
      allocate: (length) => slab.allocate(length),
      windowBytes: drainWindowBytes(arena.buffer.length),
    });
  } finally {
    slab.close();
  }
}

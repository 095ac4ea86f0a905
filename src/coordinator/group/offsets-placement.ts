/**
 * Moves groups to where they belong, once: up to version 0.1 groups whose hash is negative lay in another partition of
 * `__consumer_offsets` than Kafka's rule says (`hash & 0x7fffffff` instead of the absolute value). The topic's config says
 * when that is done; a topic made today says so from its birth. Runs on one shard, over all partitions on whatever
 * shard, before any of them is loaded.
 *
 *     read all partitions ─► live records of misplaced groups ─► append them where they belong ─► tombstones where they
 *     were ─► config set ─► coordinators load
 *
 * A crash anywhere repeats it: nobody is served before the config is set, so what lies in a group's right place is a copy
 * of what lies in the wrong one; and after the tombstones there is nothing left to copy.
 * Bound: the live records of misplaced groups of one partition are in memory at a time.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { errorName } from '../../protocol/generated/errors.ts';
import type { CoordinatorLog, CoordinatorRecord, LoadSink } from '../runtime/coordinator-log.ts';
import { coordinatorPartition } from '../runtime/coordinator-place.ts';
import { keyText } from '../runtime/log-snapshot.ts';
import { readKey } from './group-records.ts';

const configName = 'millrace.coordinator.placement';
const configValue = 'kafka';

export const offsetsPlacement = {
  /** Entries of the topic's configs that say that all groups are where they belong. */
  config: { [configName]: configValue } as Readonly<Record<string, string>>,
  isSettled: (configs: Readonly<Record<string, string>>): boolean => configs[configName] === configValue,
} as const;

export interface PlacementPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Reaches the partitions of all shards. */
  readonly log: CoordinatorLog;
  readonly partitions: number;
  /** Records `offsetsPlacement.config`; rejects when it cannot. */
  readonly settle: () => Promise<void>;
  readonly stopped: () => boolean;
}

const batchBytesMax = 256 * 1024;
const retryMs = 1_000;

/** Resolves when the topic is settled, or the shard stops. */
export async function placeOffsets(ports: PlacementPorts): Promise<void> {
  const { clock, logger } = ports;
  while (!ports.stopped()) {
    try {
      let moved = 0;
      for (let partition = 0; partition < ports.partitions; partition++)
        moved += await move(ports, partition);
      await ports.settle();
      if (moved > 0)
        logger.info('records of groups were moved to the partition that Kafka puts them in', { moved });
      return;
    } catch (error) {
      logger.warn('groups could not be moved to where they belong yet; it will be tried again', {
        reason: error instanceof Error ? error.message : String(error),
      });
      await new Promise<void>((resolve) => clock.after(retryMs, resolve));
    }
  }
}

async function move(ports: PlacementPorts, from: number): Promise<number> {
  const misplaced = new Map<string, CoordinatorRecord>();
  await ports.log.load(from, sinkOf(misplaced, from, ports.partitions));
  const byPlace = new Map<number, CoordinatorRecord[]>();
  for (const record of misplaced.values()) {
    const place = placeOf(record.key, ports.partitions)!;
    byPlace.set(place, [...(byPlace.get(place) ?? []), record]);
  }
  for (const [place, records] of byPlace) await appendAll(ports, place, records);
  const tombstones = [...misplaced.values()].map(({ key }) => ({ key, value: null }));
  await appendAll(ports, from, tombstones);
  return misplaced.size;
}

/** Collects the newest record of each key that belongs elsewhere, without those that are deleted. */
function sinkOf(misplaced: Map<string, CoordinatorRecord>, partition: number, partitions: number): LoadSink {
  return {
    onRecord(key, value, _offset, producer) {
      // No transaction ever committed an offset when groups lay elsewhere.
      if (key === null || producer !== null) return;
      const place = placeOf(key, partitions);
      if (place === null || place === partition) return;
      const text = keyText(key);
      if (value === null) misplaced.delete(text);
      else misplaced.set(text, { key: Buffer.from(key), value: Buffer.from(value) });
    },
    onMarker() {},
    onUnreadable() {},
  };
}

/** Partition of a record's group; null when the record is none of a group that was ever misplaced. */
function placeOf(key: Buffer, partitions: number): number | null {
  try {
    const read = readKey(key);
    return read.kind === 'other' ? null : coordinatorPartition(read.group, partitions);
  } catch {
    return null;
  }
}

async function appendAll(
  { log }: PlacementPorts,
  partition: number,
  records: readonly CoordinatorRecord[],
): Promise<void> {
  let batch: CoordinatorRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    batch.push(record);
    bytes += record.key.length + (record.value?.length ?? 0);
    if (bytes < batchBytesMax) continue;
    await append(log, partition, batch);
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) await append(log, partition, batch);
}

function append(log: CoordinatorLog, partition: number, batch: readonly CoordinatorRecord[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = log.append(partition, batch, null, (error) => {
      if (error === null) resolve();
      else reject(error);
    });
    if (refused !== 0) reject(new Error(`partition ${partition} refuses records: ${errorName(refused)}`));
  });
}

/**
 * What is measured is run until the system does what it will do from then on: windows follow each other until two in a row
 * agree in throughput and in processor time per request, and the memory that a run will take has been used; or until the
 * time is up.
 */
import type { BatchShape } from '../clients/batch-pool.ts';
import type { Bed } from './bed.ts';
import { agreementBound, type Lengths } from './options.ts';
import { poolFor } from './pools.ts';
import type { LoadVariant } from './scenario.ts';
import type { WarmUp } from './schema.ts';
import { lastDifference } from './statistics.ts';
import { measureWindow } from './window.ts';

export interface WarmLoad {
  readonly connections: number;
  readonly depth: number;
  readonly partitions: number;
  readonly batch: BatchShape;
}

/** One window of a warm-up. */
export interface WarmWindow {
  readonly perSecond: number;
  readonly cpuSecondsEach: number;
  /** What went through the system's memory, lead and drain included. */
  readonly bytes: number;
  readonly bytesPerSecond: number;
}

export interface Warmth {
  readonly lastDifference: number;
  /** Whether the next window will use no memory that was not used before. */
  readonly memoryUsed: boolean;
}

/**
 * Memory that a system goes round in is used up to `memoryBytes`, but by small requests never: what a topic took is free when
 * the topic is deleted and is taken first again, so a run needs what one run takes.
 */
export function warmthOf(windows: readonly WarmWindow[], memoryBytes: number, runSeconds: number): Warmth {
  const bytes = windows.reduce((sum, window) => sum + window.bytes, 0);
  const wanted = Math.min(memoryBytes, (windows.at(-1)?.bytesPerSecond ?? 0) * runSeconds);
  return {
    lastDifference: lastDifference(
      windows.map(({ perSecond, cpuSecondsEach }) => [perSecond, cpuSecondsEach]),
    ),
    memoryUsed: windows.length > 0 && bytes >= wanted,
  };
}

/** Of a load's variant: one topic for all windows. */
export async function warmByLoad(
  bed: Bed,
  load: WarmLoad,
  runSeconds: number,
  lengths: Lengths,
  directory: string,
): Promise<WarmUp> {
  const pool = poolFor(directory, load.batch, load.connections * load.depth);
  const topic = await bed.makeTopic(load.partitions);
  const warm = await untilWarm(bed, runSeconds, lengths, async () => {
    const { send, usage } = await measureWindow(bed, {
      send: {
        kind: 'produce',
        address: bed.system.address,
        ca: null,
        connections: load.connections,
        depth: load.depth,
        topic,
        partitions: load.partitions,
        requestsPerSecond: 0,
        leadSeconds: 0.2,
        seconds: lengths.warmWindowSeconds,
        bytesMax: 0,
        pool: pool.path,
        recordsPerBatch: load.batch.recordsPerBatch,
        ledger: null,
      },
      consume: null,
      portable: false,
    });
    return {
      perSecond: send.requests / send.seconds,
      cpuSecondsEach: usage.cpuSeconds / Math.max(1, send.requests),
      bytes: send.allBytes,
      bytesPerSecond: send.bytes / send.seconds,
    };
  });
  await bed.dropTopics([topic]);
  return warm;
}

/** Windows by whatever makes one. */
export async function untilWarm(
  bed: Bed,
  runSeconds: number,
  lengths: Lengths,
  window: () => Promise<WarmWindow>,
): Promise<WarmUp> {
  const begun = performance.now();
  const seconds = (): number => (performance.now() - begun) / 1000;
  const windows: WarmWindow[] = [];
  let warmth: Warmth;
  let agreed: boolean;
  do {
    windows.push(await window());
    warmth = warmthOf(windows, bed.system.warmBytes, runSeconds);
    agreed = warmth.memoryUsed && warmth.lastDifference <= agreementBound;
  } while (!agreed && seconds() < lengths.warmSecondsMax);
  bed.warm = true;
  return {
    system: bed.name,
    seconds: seconds(),
    windows: windows.length,
    agreed,
    lastDifference: warmth.lastDifference,
  };
}

export function warmLoadOf(variant: LoadVariant): WarmLoad {
  // More partitions than this warm nothing more.
  const partitions = Math.min(variant.partitions, 100);
  return { connections: variant.connections, depth: variant.depth, partitions, batch: variant.batch };
}

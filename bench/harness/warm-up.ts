/**
 * Load until the system does what it will do from then on: windows follow each other until two in a row agree in throughput
 * and in processor time per request, and all memory that it reuses has been used once; or until the time is up.
 */
import { type BatchShape, shapeOf } from '../clients/batch-pool.ts';
import type { Bed } from './bed.ts';
import { agreementBound, type Lengths } from './options.ts';
import { poolFor } from './pools.ts';
import type { WarmUp } from './schema.ts';
import { lastDifference } from './statistics.ts';
import { measureWindow } from './window.ts';

export interface WarmLoad {
  readonly connections: number;
  readonly depth: number;
  readonly batch: BatchShape;
}

export const warmLoadDefault: WarmLoad = { connections: 16, depth: 2, batch: shapeOf(64 * 1024, 16) };

export async function warmUp(bed: Bed, load: WarmLoad, lengths: Lengths, directory: string): Promise<WarmUp> {
  const begun = performance.now();
  const pool = poolFor(directory, load.batch, load.connections * load.depth);
  const topic = await bed.makeTopic(1);
  const windows: number[][] = [];
  let bytes = 0;
  const seconds = (): number => (performance.now() - begun) / 1000;
  let agreed = false;
  do {
    const { send, usage } = await measureWindow(bed, {
      send: {
        kind: 'produce',
        address: bed.system.address,
        ca: null,
        connections: load.connections,
        depth: load.depth,
        topic,
        partitions: 1,
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
    bytes += send.allBytes;
    windows.push([send.requests / send.seconds, usage.cpuSeconds / Math.max(1, send.requests)]);
    agreed = lastDifference(windows) <= agreementBound && bytes >= bed.system.warmBytes;
  } while (!agreed && seconds() < lengths.warmSecondsMax);
  await bed.dropTopics([topic]);
  bed.warm = true;
  return {
    system: bed.name,
    seconds: seconds(),
    windows: windows.length,
    agreed,
    lastDifference: lastDifference(windows),
  };
}

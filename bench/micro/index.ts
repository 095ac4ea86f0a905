/** All micro-benchmarks, one after the other. Each file exports `run`. */
import { run as codec } from './codec.ts';
import { run as records } from './records.ts';
import { run as ring } from './ring.ts';
import { run as wal } from './wal.ts';

export interface MicroResult {
  readonly group: string;
  readonly name: string;
  readonly opsPerSecond: number;
  /** 0 where bytes are not the point. */
  readonly bytesPerOp: number;
}

export async function runMicro(): Promise<MicroResult[]> {
  const groups = { records, codec, ring, wal };
  const results: MicroResult[] = [];
  for (const [group, run] of Object.entries(groups)) {
    for (const result of await run()) results.push({ group, ...result });
  }
  return results;
}

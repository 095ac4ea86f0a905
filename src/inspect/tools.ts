/** The operator's commands as functions of a store's URL: they open it, work, and close it again. */
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import { portableCrc32c } from '../protocol/records/crc32c.ts';
import { openStore } from '../store/open-store.ts';
import { type DoctorReport, examine } from './doctor.ts';

export interface ToolPorts {
  readonly clock: Clock;
  readonly random: Random;
}

/** Rejects with STORE_URL (invalid) for what is no store's URL; everything else stands in the report. */
export async function doctor(url: string, ports: ToolPorts): Promise<DoctorReport> {
  const store = await openStore(url, { ...ports, crc32c: portableCrc32c().crc32c });
  try {
    return await examine(store, ports);
  } finally {
    await store.close();
  }
}

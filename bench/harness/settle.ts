/** Quiet before a turn: what one system left to be written, or still works on, is not measured as the other's. */
import { spawn } from 'node:child_process';
import type { CpuTimes } from '../recorder/proc-text.ts';
import { machineCpu, processCpuSeconds } from '../recorder/recorder.ts';
import type { Bed } from './bed.ts';
import { sleep } from './time-limits.ts';

const lookMs = 250;
/** Of a core: background timers of an idle JVM stay below. */
const idleShare = 0.04;

/** @returns seconds until the file system had written back what was in the page cache, at most `secondsMax`. */
export async function writeBack(bed: Bed, secondsMax: number): Promise<number> {
  if (bed.device === '') return 0;
  const begun = performance.now();
  const child = spawn('sync', ['-f', bed.system.directories[0]!], { stdio: 'ignore' });
  const timer = setTimeout(() => child.kill('SIGKILL'), secondsMax * 1000);
  await new Promise<void>((resolve) => {
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
  clearTimeout(timer);
  return (performance.now() - begun) / 1000;
}

export interface Quiet {
  /** Whether all systems were idle when the time was up. */
  readonly idle: boolean;
  /** Of the machine's processors, what was busy meanwhile: with others, then. */
  readonly busyShare: number;
}

/** Resolves when all systems are idle, or the time is up. */
export async function settle(beds: readonly Bed[], secondsMax: number): Promise<Quiet> {
  const deadline = performance.now() + secondsMax * 1000;
  const used = (): number => beds.reduce((sum, { system }) => sum + processCpuSeconds(system.pid), 0);
  let busyShare = 0;
  // Processor time ticks in hundredths of a second: two quiet looks in a row, and not one.
  for (let quiet = 0; quiet < 2; ) {
    if (performance.now() > deadline) return { idle: false, busyShare };
    const before = used();
    const machine = machineCpu();
    await sleep(lookMs);
    busyShare = busyShareSince(machine);
    const share = (used() - before) / (lookMs / 1000) / beds.length;
    quiet = share <= idleShare ? quiet + 1 : 0;
  }
  return { idle: true, busyShare };
}

function busyShareSince(before: CpuTimes): number {
  const now = machineCpu();
  const busy = now.busy - before.busy;
  const all = busy + now.idle - before.idle + now.steal - before.steal;
  return all <= 0 ? 0 : busy / all;
}

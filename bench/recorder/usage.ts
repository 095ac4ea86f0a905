/** What a process and its machine did between two marks. */
import type { Mark } from './recorder.ts';

export interface Usage {
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** By role; the rest of cpuSeconds belongs to threads that ended in between. */
  readonly roles: Readonly<Record<string, number>>;
  readonly voluntarySwitches: number;
  readonly involuntarySwitches: number;
  readonly rssBytes: number;
  readonly rssPeakBytes: number;
  /** To and from block devices on the process's account. */
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** Of the device under its directories, whoever caused them; 0 on tmpfs. */
  readonly deviceReadBytes: number;
  readonly deviceWrittenBytes: number;
  readonly loopbackBytes: number;
  /** Shares of the machine's processor time, 0 to 1. */
  readonly stealShare: number;
  readonly busyShare: number;
  /** Processor seconds of the machine that neither this process nor the load had: kernel threads, and others. */
  readonly elsewhereCpuSeconds: number;
}

export function usageBetween(
  before: Mark,
  after: Mark,
  options: {
    readonly roleOf: (tid: number, comm: string) => string;
    readonly loadCpuSeconds: number;
    readonly rssPeakBytes: number;
  },
): Usage {
  const roles: Record<string, number> = {};
  let voluntary = 0;
  let involuntary = 0;
  for (const [tid, thread] of after.threads) {
    const then = before.threads.get(tid);
    const role = options.roleOf(tid, thread.comm);
    roles[role] = (roles[role] ?? 0) + thread.cpuSeconds - (then?.cpuSeconds ?? 0);
    voluntary += thread.voluntary - (then?.voluntary ?? 0);
    involuntary += thread.involuntary - (then?.involuntary ?? 0);
  }
  const busy = after.machine.busy - before.machine.busy;
  const steal = after.machine.steal - before.machine.steal;
  const all = busy + steal + after.machine.idle - before.machine.idle;
  // The process's own sum ticks in hundredths; that of its threads is exact, and lacks those that ended.
  const exact = Object.values(roles).reduce((sum, seconds) => sum + seconds, 0);
  const ticked = after.cpuSeconds - before.cpuSeconds;
  const cpuSeconds = ticked - exact > 0.05 ? ticked : exact;
  return {
    seconds: (after.atMs - before.atMs) / 1000,
    cpuSeconds,
    roles,
    voluntarySwitches: voluntary,
    involuntarySwitches: involuntary,
    rssBytes: after.rssBytes,
    rssPeakBytes: Math.max(options.rssPeakBytes, after.rssBytes),
    readBytes: after.readBytes - before.readBytes,
    writtenBytes: after.writtenBytes - before.writtenBytes,
    deviceReadBytes: after.disk.read - before.disk.read,
    deviceWrittenBytes: after.disk.written - before.disk.written,
    loopbackBytes: after.loopbackBytes - before.loopbackBytes,
    stealShare: all <= 0 ? 0 : steal / all,
    busyShare: all <= 0 ? 0 : busy / all,
    elsewhereCpuSeconds: Math.max(0, busy - cpuSeconds - options.loadCpuSeconds),
  };
}

/**
 * Takes marks of a process and its machine: processor time of every thread, context switches, memory, bytes on disk and
 * loopback, time that the host took away. A window is what lies between two marks.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import {
  type CpuTimes,
  commOfStat,
  cpuSecondsOfSchedstat,
  cpuSecondsOfStat,
  cpuTimesOf,
  type DiskBytes,
  diskBytesOf,
  numberOf,
  receivedBytesOf,
} from './proc-text.ts';

export interface ThreadMark {
  readonly comm: string;
  readonly cpuSeconds: number;
  readonly voluntary: number;
  readonly involuntary: number;
}

export interface Mark {
  readonly atMs: number;
  /** Of the process, its ended threads included. */
  readonly cpuSeconds: number;
  readonly threads: ReadonlyMap<number, ThreadMark>;
  readonly rssBytes: number;
  /** What the process had written to and read from block devices; page cache left out. */
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly machine: CpuTimes;
  readonly loopbackBytes: number;
  readonly disk: DiskBytes;
}

/** Null where the file is gone: threads end. */
function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null;
  }
}

export function processCpuSeconds(pid: number): number {
  const stat = textOf(`/proc/${pid}/stat`);
  return stat === null ? 0 : cpuSecondsOfStat(stat);
}

export function machineCpu(): CpuTimes {
  return cpuTimesOf(textOf('/proc/stat') ?? '');
}

export function residentBytes(pid: number): number {
  return numberOf(textOf(`/proc/${pid}/status`) ?? '', 'VmRSS') * 1024;
}

/** The block device under a directory, as /proc/diskstats names it; empty for tmpfs and the like. */
export function deviceOf(directory: string): string {
  const { dev } = statSync(directory);
  const [major, minor] = [(dev >> 8) & 0xfff, (dev & 0xff) | ((dev >> 12) & 0xfff00)];
  const line = (textOf('/proc/diskstats') ?? '')
    .split('\n')
    .map((each) => each.trim().split(/\s+/))
    .find(([a, b]) => Number(a) === major && Number(b) === minor);
  return line?.[2] ?? '';
}

function threadsOf(pid: number): Map<number, ThreadMark> {
  const threads = new Map<number, ThreadMark>();
  let names: string[] = [];
  try {
    names = readdirSync(`/proc/${pid}/task`);
  } catch {
    return threads;
  }
  for (const name of names) {
    const place = `/proc/${pid}/task/${name}`;
    const [stat, schedstat, status] = [
      textOf(`${place}/stat`),
      textOf(`${place}/schedstat`),
      textOf(`${place}/status`),
    ];
    if (stat === null || status === null) continue;
    threads.set(Number(name), {
      comm: commOfStat(stat),
      cpuSeconds: schedstat === null ? cpuSecondsOfStat(stat) : cpuSecondsOfSchedstat(schedstat),
      voluntary: numberOf(status, 'voluntary_ctxt_switches'),
      involuntary: numberOf(status, 'nonvoluntary_ctxt_switches'),
    });
  }
  return threads;
}

export function takeMark(pid: number, device: string): Mark {
  const io = textOf(`/proc/${pid}/io`) ?? '';
  return {
    atMs: performance.now(),
    cpuSeconds: processCpuSeconds(pid),
    threads: threadsOf(pid),
    rssBytes: residentBytes(pid),
    readBytes: numberOf(io, 'read_bytes'),
    writtenBytes: numberOf(io, 'write_bytes'),
    machine: machineCpu(),
    loopbackBytes: receivedBytesOf(textOf('/proc/net/dev') ?? '', 'lo'),
    disk: diskBytesOf(textOf('/proc/diskstats') ?? '', device),
  };
}

/** Highest resident memory while it runs. */
export class PeakMemory {
  bytes: number;
  readonly #timer: NodeJS.Timeout;

  constructor(pid: number) {
    this.bytes = residentBytes(pid);
    this.#timer = setInterval(() => {
      this.bytes = Math.max(this.bytes, residentBytes(pid));
    }, 200);
    this.#timer.unref();
  }

  stop(): number {
    clearInterval(this.#timer);
    return this.bytes;
  }
}

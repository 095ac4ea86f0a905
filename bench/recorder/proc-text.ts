/** What Linux tells of processes, threads and itself below /proc, taken apart. Pure: texts in, numbers out. */

const ticksPerSecond = 100;

/** Fields behind the name, which is in parentheses and may hold anything. */
function fieldsBehindName(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** User and system seconds of /proc/<pid>/stat or of a thread's; its ended threads included where it is a process. */
export function cpuSecondsOfStat(stat: string): number {
  const fields = fieldsBehindName(stat);
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

export function commOfStat(stat: string): string {
  return stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
}

/** Seconds on a processor, from a thread's schedstat: nanoseconds running, nanoseconds waiting, turns. */
export function cpuSecondsOfSchedstat(schedstat: string): number {
  return Number(schedstat.split(' ')[0]) / 1e9;
}

/** A number of a file of `Name:  value [kB]` lines as it stands there; 0 where the name is not. */
export function numberOf(text: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text);
  return found === null ? 0 : Number(found[1]);
}

/** Seconds of all processors together since the boot. */
export interface CpuTimes {
  readonly busy: number;
  readonly idle: number;
  readonly steal: number;
}

/** The first line of /proc/stat. Time of guests is in user's already. */
export function cpuTimesOf(stat: string): CpuTimes {
  const line = /^cpu\s+(.*)$/m.exec(stat)?.[1] ?? '';
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] = line
    .split(/\s+/)
    .map((ticks) => Number(ticks) / ticksPerSecond);
  return { busy: user + nice + system + irq + softirq, idle: idle + iowait, steal };
}

/** Bytes that an interface received since the boot: on loopback each byte is sent once and received once. */
export function receivedBytesOf(netDev: string, name: string): number {
  const line = netDev.split('\n').find((each) => each.trim().startsWith(`${name}:`));
  return line === undefined ? 0 : Number(line.split(':')[1]!.trim().split(/\s+/)[0]);
}

export interface DiskBytes {
  readonly read: number;
  readonly written: number;
}

/** Of whole disks, not of their partitions, which would count twice. */
export function diskBytesOf(diskstats: string, device: string): DiskBytes {
  for (const line of diskstats.split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields[2] === device) return { read: Number(fields[5]) * 512, written: Number(fields[9]) * 512 };
  }
  return { read: 0, written: 0 };
}

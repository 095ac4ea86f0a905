/** Processor time of the calling thread without native code: what the scheduler says of it, in seconds. */
import { readFileSync } from 'node:fs';

/** Linux only; undefined where the kernel keeps no such account. */
export function portableThreadCpuSeconds(): number | undefined {
  try {
    return Number(readFileSync('/proc/thread-self/schedstat', 'latin1').split(' ')[0]) / 1e9;
  } catch {
    return undefined;
  }
}

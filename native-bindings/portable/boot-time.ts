/** Time since the machine started, its sleep included, without native code: in steps of 10 ms, at some microseconds a call. */
import { uptime } from 'node:os';

/** Milliseconds. */
export function portableBootTimeMs(): number {
  return uptime() * 1000;
}

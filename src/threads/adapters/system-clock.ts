/**
 * The process's clocks and timers. `monotonic` is the same time line in every thread of the process (performance.now
 * alone starts at zero in each), so deadlines may cross threads. Timers keep no process alive.
 */
import { portableBootTimeMs } from '../../../native-bindings/portable/boot-time.ts';
import type { Clock, Timer } from '../../ports/clock.ts';

/** setTimeout fires at once for more than this. */
const delayMsMax = 2 ** 31 - 1;

export class SystemClock implements Clock {
  readonly #base: number;
  readonly boottime: () => number;

  /** @param boottime the native clock where there is one. All clocks of a process must be given the same. */
  constructor(boottime: () => number = portableBootTimeMs) {
    this.boottime = boottime;
    const [seconds, nanos] = process.hrtime();
    this.#base = seconds * 1000 + nanos / 1e6 - performance.now();
  }

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return this.#base + performance.now();
  }

  after(delayMs: number, fn: () => void): Timer {
    const timer = setTimeout(fn, Math.min(Math.max(delayMs, 0), delayMsMax)).unref();
    return { cancel: () => clearTimeout(timer) };
  }

  soon(fn: () => void): void {
    setImmediate(fn);
  }
}

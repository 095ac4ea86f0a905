/**
 * A clock for a thread that blocks instead of running an event loop: timers and `soon` callbacks run when the thread
 * calls `runDue`, which also tells how long it may sleep. Owned by that thread. Timers wait in a small sorted list
 * (the WAL writer has a handful).
 */
import { performance } from 'node:perf_hooks';
import type { Clock, Timer } from '../../ports/clock.ts';

interface Due {
  readonly at: number;
  readonly fn: () => void;
  cancelled: boolean;
}

export class PolledClock implements Clock {
  private timers: Due[] = [];
  private queue: (() => void)[] = [];

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  after(delayMs: number, fn: () => void): Timer {
    const due: Due = { at: this.monotonic() + Math.max(0, delayMs), fn, cancelled: false };
    let i = this.timers.length;
    while (i > 0 && this.timers[i - 1]!.at > due.at) i--;
    this.timers.splice(i, 0, due);
    return {
      cancel: () => {
        due.cancelled = true;
      },
    };
  }

  soon(fn: () => void): void {
    this.queue.push(fn);
  }

  /** Runs what is due and returns the milliseconds until the next timer (0 = more `soon` work, Infinity = nothing). */
  runDue(): number {
    const queue = this.queue;
    if (queue.length > 0) {
      this.queue = [];
      for (const fn of queue) fn();
    }
    while (this.timers.length > 0) {
      const first = this.timers[0]!;
      if (!first.cancelled && first.at > this.monotonic()) break;
      this.timers.shift();
      if (!first.cancelled) first.fn();
    }
    if (this.queue.length > 0) return 0;
    const next = this.timers[0];
    return next === undefined ? Number.POSITIVE_INFINITY : Math.max(0, next.at - this.monotonic());
  }
}

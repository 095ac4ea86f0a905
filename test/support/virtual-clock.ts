/**
 * Time that moves only when a test says so. Order is deterministic: everything passed to `soon` runs before time
 * moves, in the order given; timers run by due time, then by the order in which they were set.
 */
import type { Clock, Timer } from '../../src/ports/clock.ts';

interface PendingTimer {
  readonly due: number;
  readonly order: number;
  readonly fn: () => void;
}

/** Callbacks in one advance(): past this some code is chasing its own tail. */
const callbacksMax = 5_000_000;

export class VirtualClock implements Clock {
  #wallBase: number;
  #time = 0;
  #asleep = 0;
  #order = 0;
  readonly #timers = new Set<PendingTimer>();
  #soon: (() => void)[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#wallBase = startMs;
  }

  now(): number {
    return Math.floor(this.#wallBase + this.#time);
  }

  monotonic(): number {
    return this.#time;
  }

  boottime(): number {
    return this.#time + this.#asleep;
  }

  /** The machine sleeps: no timer runs, and the monotonic clock stands still. */
  suspend(ms: number): void {
    this.#asleep += ms;
    this.#wallBase += ms;
  }

  after(delayMs: number, fn: () => void): Timer {
    const timer: PendingTimer = { due: this.#time + Math.max(0, delayMs), order: this.#order++, fn };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  soon(fn: () => void): void {
    this.#soon.push(fn);
  }

  /** Timers set and not yet fired or cancelled. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Runs what `soon` was given, and what that gives it, without moving time. */
  runSoon(): void {
    let calls = 0;
    while (this.#soon.length > 0) {
      const batch = this.#soon;
      this.#soon = [];
      for (const fn of batch) {
        if (++calls > callbacksMax) throw new Error('the virtual clock does not come to rest');
        fn();
      }
    }
  }

  /** Moves time forward, running every timer on its way at its own due time. */
  advance(ms: number): void {
    const end = this.#time + ms;
    this.runSoon();
    for (let calls = 0; ; calls++) {
      if (calls > callbacksMax) throw new Error('the virtual clock does not come to rest');
      const next = this.#next(end);
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#time = Math.max(this.#time, next.due);
      next.fn();
      this.runSoon();
    }
    this.#time = end;
  }

  /** The same, letting promise callbacks run after each timer. */
  async advanceAsync(ms: number): Promise<void> {
    const end = this.#time + ms;
    await this.settle();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#timers.delete(next);
      this.#time = Math.max(this.#time, next.due);
      next.fn();
      await this.settle();
    }
    this.#time = end;
  }

  /** Runs `soon` callbacks and promise callbacks until neither is left. */
  async settle(): Promise<void> {
    do {
      this.runSoon();
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#soon.length > 0);
  }

  /** Sets the wall clock without moving the monotonic one (clock skew). */
  setWall(ms: number): void {
    this.#wallBase = ms - this.#time;
  }

  #next(end: number): PendingTimer | undefined {
    let next: PendingTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.due > end) continue;
      if (
        next === undefined ||
        timer.due < next.due ||
        (timer.due === next.due && timer.order < next.order)
      ) {
        next = timer;
      }
    }
    return next;
  }
}

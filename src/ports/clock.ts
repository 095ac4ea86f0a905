/**
 * Time as a parameter. Production uses the system clock, the simulator a virtual one; nothing else in the code
 * reads the time or sets a timer.
 */
export interface Timer {
  /** Stops the timer; a second call does nothing. */
  cancel(): void;
}

export interface Clock {
  /** Wall-clock time, milliseconds since the epoch (record timestamps, retention). */
  now(): number;
  /** Monotonic time in milliseconds with sub-millisecond digits (durations, deadlines). */
  monotonic(): number;
  /**
   * Like monotonic, on another time line, but goes on while the machine is suspended: for deadlines that other machines
   * count on.
   */
  boottime(): number;
  /** Calls `fn` once after `delayMs`; the timer keeps no process alive. */
  after(delayMs: number, fn: () => void): Timer;
  /** Calls `fn` in a later turn of the same loop, before timers. */
  soon(fn: () => void): void;
}

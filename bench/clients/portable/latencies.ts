/** Latencies as the native load counts them: 128 steps to each power of two of nanoseconds, so within 0.8 %. */
import type { LatencyPairs } from '../plan.ts';

const steps = 128;

export class Latencies {
  readonly #counts = new Map<number, number>();

  record(nanos: number): void {
    const whole = Math.max(0, Math.round(nanos));
    const step = whole < steps ? 1 : 2 ** (Math.floor(Math.log2(whole)) - 7);
    const value = Math.floor(whole / step) * step;
    this.#counts.set(value, (this.#counts.get(value) ?? 0) + 1);
  }

  pairs(): LatencyPairs {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }
}

/** Of the clock that all processes of the machine share; exact to some hundred nanoseconds. */
export function nowNanos(): number {
  return Number(process.hrtime.bigint());
}

/** What store and metadata tests share: a clock that only moves by hand, seeded bytes, a plain CRC-32C. */
import type { Clock, Timer } from '../../src/ports/clock.ts';
import type { Random } from '../../src/ports/random.ts';

export class HandClock implements Clock {
  time = 1_700_000_000_000;
  readonly #timers: { dueMs: number; fn: () => void }[] = [];

  now(): number {
    return this.time;
  }

  monotonic(): number {
    return this.time;
  }

  boottime(): number {
    return this.time;
  }

  after(delayMs: number, fn: () => void): Timer {
    const timer = { dueMs: this.time + delayMs, fn };
    this.#timers.push(timer);
    return {
      cancel: () => {
        const at = this.#timers.indexOf(timer);
        if (at >= 0) this.#timers.splice(at, 1);
      },
    };
  }

  soon(fn: () => void): void {
    setImmediate(fn);
  }

  get pending(): number {
    return this.#timers.length;
  }

  /** Moves on and runs what came due, in order. */
  advance(ms: number): void {
    this.time += ms;
    this.#timers.sort((a, b) => a.dueMs - b.dueMs);
    while (this.#timers.length > 0 && this.#timers[0]!.dueMs <= this.time) this.#timers.shift()!.fn();
  }
}

/** A clock whose delays pass at once, for code that backs off. */
export class HastyClock extends HandClock {
  override after(delayMs: number, fn: () => void): Timer {
    let on = true;
    setImmediate(() => {
      if (!on) return;
      this.time += delayMs;
      fn();
    });
    return {
      cancel: () => {
        on = false;
      },
    };
  }
}

export function seededRandom(seed: number): Random {
  let state = seed >>> 0 || 1;
  const next = (): number => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state;
  };
  return {
    bytes(out) {
      for (let i = 0; i < out.length; i++) out[i] = next() >>> 9;
      return out;
    },
    below: (bound) => next() % bound,
  };
}

const table = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  table[i] = value;
}

export function crc32cForTests(buffer: Uint8Array, position: number, length: number, seed = 0): number {
  let crc = ~seed;
  for (let i = position; i < position + length; i++) crc = (crc >>> 8) ^ table[(crc ^ buffer[i]!) & 255]!;
  return ~crc >>> 0;
}

/** Lets everything that is ready run. */
export async function settle(turns = 4): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

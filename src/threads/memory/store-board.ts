/**
 * What the threads that talk to the object store share: each one's counters, one bandwidth budget for all of them, the
 * rate at which uploads may go out, and how far they are. Made by main, which holds slot 0.
 *
 *   claims   [0] slots taken                               any thread, by add
 *   pace     [0] µs of the shared clock at which the budget is paid off    any thread, by CAS
 *   flow     [0] upload bytes per second, Infinity = unpaced   main     [1 + slot] bytes stored      the slot's owner
 *   stats    [slot · doubles …]                            the slot's owner
 *
 * Doubles are written whole on every supported machine, and each has one writer. Threads beyond the last slot share it:
 * their counts are then approximate, never wrong by more than a lost step.
 */
export interface StoreBoardMemory {
  readonly slots: number;
  readonly doubles: number;
  readonly claims: SharedArrayBuffer;
  readonly pace: SharedArrayBuffer;
  readonly flow: SharedArrayBuffer;
  readonly stats: SharedArrayBuffer;
  /** Bytes per second in both directions together, all threads; Infinity = no limit. */
  readonly bandwidth: number;
}

/** What an idle budget may send at once, in ms of its rate. */
const burstMs = 50;
const doubleBytes = Float64Array.BYTES_PER_ELEMENT;

export function createStoreBoard(slots: number, doubles: number, bandwidth: number): StoreBoardMemory {
  const memory = {
    slots,
    doubles,
    claims: new SharedArrayBuffer(4),
    pace: new SharedArrayBuffer(8),
    flow: new SharedArrayBuffer((1 + slots) * doubleBytes),
    stats: new SharedArrayBuffer(slots * doubles * doubleBytes),
    bandwidth,
  };
  new Float64Array(memory.flow)[0] = Number.POSITIVE_INFINITY;
  return memory;
}

/** One thread's place on the board. */
export class StoreBoard {
  readonly slot: number;
  readonly #memory: StoreBoardMemory;
  readonly #flow: Float64Array;

  private constructor(memory: StoreBoardMemory, slot: number) {
    this.#memory = memory;
    this.slot = slot;
    this.#flow = new Float64Array(memory.flow);
  }

  static claim(memory: StoreBoardMemory): StoreBoard {
    const taken = Atomics.add(new Int32Array(memory.claims), 0, 1);
    return new StoreBoard(memory, Math.min(taken, memory.slots - 1));
  }

  stats(slot: number = this.slot): Float64Array {
    const { stats, doubles } = this.#memory;
    return new Float64Array(stats, slot * doubles * doubleBytes, doubles);
  }

  get slots(): number {
    return this.#memory.slots;
  }

  /** Upload bytes per second, all uploads together. */
  get uploadRate(): number {
    return this.#flow[0]!;
  }

  set uploadRate(bytesPerSecond: number) {
    this.#flow[0] = bytesPerSecond;
  }

  stored(bytes: number): void {
    this.#flow[1 + this.slot]! += bytes;
  }

  /** Bytes of objects that all threads have stored since the start, parts of unfinished ones included. */
  get storedBytes(): number {
    let sum = 0;
    for (let i = 1; i < this.#flow.length; i++) sum += this.#flow[i]!;
    return sum;
  }

  /** Null when there is no limit. */
  pace(): SharedPace | null {
    const { pace, bandwidth } = this.#memory;
    return bandwidth === Number.POSITIVE_INFINITY ? null : new SharedPace(pace, bandwidth);
  }
}

/** One budget of bytes per second for all threads: each takes its turn by moving the time when all is paid off. */
export class SharedPace {
  readonly #words: BigInt64Array;
  readonly #perMicro: number;

  constructor(memory: SharedArrayBuffer, bytesPerSecond: number) {
    this.#words = new BigInt64Array(memory);
    this.#perMicro = bytesPerSecond / 1e6;
  }

  /** @returns the monotonic time in ms from which `bytes` may be sent. */
  reserve(bytes: number, nowMs: number): number {
    const now = BigInt(Math.floor(nowMs * 1000));
    const floor = now - BigInt(burstMs * 1000);
    const cost = BigInt(Math.ceil(bytes / this.#perMicro));
    for (let seen = Atomics.load(this.#words, 0); ; ) {
      const start = seen > floor ? seen : floor;
      const before = Atomics.compareExchange(this.#words, 0, seen, start + cost);
      if (before === seen) return start > now ? Number(start) / 1000 : nowMs;
      seen = before;
    }
  }
}

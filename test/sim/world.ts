/**
 * The simulated world: one queue of events, virtual time, one stream of randomness per concern, and the trace. Nothing in
 * a run reads real time or does real I/O, so a seed decides everything, and two runs of it give the same trace.
 *
 *   event ─► its function runs ─► `soon` callbacks and promises run until none is left ─► next event, time moves to it
 *
 * An event may belong to a Life (one process of a broker): a dead life's events never run, a paused one's wait in order
 * until it goes on. Bound: `eventsMax` events a run; beyond, the run counts as one that does not come to rest.
 */
import { createHash, type Hash } from 'node:crypto';
import type { Clock, Timer } from '../../src/ports/clock.ts';
import { SeededRandom } from '../support/seeded-random.ts';

/** What a run found wrong. */
export class Violation extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Violation';
  }
}

interface SimEvent {
  readonly due: number;
  readonly order: number;
  readonly fn: () => void;
  readonly life: Life | null;
  cancelled: boolean;
}

const eventsMax = 3_000_000;
const wallStartMs = 1_700_000_000_000;

/** One process: everything that happens inside a broker goes through here. */
export class Life {
  readonly name: string;
  readonly world: SimWorld;
  dead = false;
  paused = false;
  /** Milliseconds that this machine's wall clock is off. */
  skewMs = 0;
  readonly died: Promise<void>;
  /** Calls to store or disk until this life is killed; 0 = never. */
  killAfterCalls = 0;
  onKill: (at: string) => void = () => {};
  #died!: () => void;
  #held: (() => void)[] = [];

  constructor(world: SimWorld, name: string) {
    this.world = world;
    this.name = name;
    this.died = new Promise((resolve) => {
      this.#died = resolve;
    });
  }

  kill(): void {
    if (this.dead) return;
    this.dead = true;
    this.#held = [];
    this.#died();
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    for (const fn of this.#held.splice(0)) this.world.after(0, fn, this);
  }

  hold(fn: () => void): void {
    this.#held.push(fn);
  }

  /** A call to the outside begins or is answered: the places where a run kills a process. False when it is dead. */
  boundary(what: string): boolean {
    if (this.dead) return false;
    if (this.killAfterCalls > 0 && --this.killAfterCalls === 0) this.onKill(what);
    return !this.dead;
  }
}

export class SimWorld {
  readonly seed: number;
  time = 0;
  /** Faults that were injected. */
  faults = 0;
  /** Requests of clients. */
  operations = 0;
  events = 0;
  violation: Error | null = null;
  /** Gets every line of the trace. */
  onTrace: ((line: string) => void) | null = null;
  readonly #hash: Hash = createHash('sha256');
  readonly #heap: SimEvent[] = [];
  #order = 0;
  #soon: { readonly fn: () => void; readonly life: Life | null }[] = [];

  constructor(seed: number) {
    this.seed = seed;
  }

  /** Randomness of one concern: another concern's draws do not move it. */
  random(concern: number): SeededRandom {
    return new SeededRandom((Math.imul(this.seed, 0x9e3779b1) + Math.imul(concern + 1, 0x85ebca6b)) >>> 0);
  }

  wall(): number {
    return Math.floor(wallStartMs + this.time);
  }

  trace(what: string): void {
    const line = `${this.time.toFixed(3)} ${what}`;
    this.#hash.update(line).update('\n');
    this.onTrace?.(line);
  }

  digest(): string {
    return this.#hash.digest('hex');
  }

  /** The first one counts. */
  fail(message: string): void {
    if (this.violation !== null) return;
    this.violation = new Violation(message);
    this.trace(`VIOLATION ${message}`);
  }

  after(delay: number, fn: () => void, life: Life | null = null): Timer {
    let delayMs = delay;
    if (Number.isNaN(delayMs)) {
      this.fail(`a timer is set for no time at all\n${new Error().stack}`);
      delayMs = 0;
    }
    const event: SimEvent = {
      due: this.time + Math.max(0, delayMs),
      order: this.#order++,
      fn,
      life,
      cancelled: false,
    };
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  soon(fn: () => void, life: Life | null): void {
    this.#soon.push({ fn, life });
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  clockOf(life: Life): Clock {
    return {
      now: () => this.wall() + life.skewMs,
      monotonic: () => this.time,
      boottime: () => this.time,
      after: (delayMs, fn) => this.after(delayMs, fn, life),
      soon: (fn) => this.soon(fn, life),
    };
  }

  /** Runs events until `main` has settled, something was found wrong, or nothing is left to happen. */
  async drive(main: Promise<void>): Promise<void> {
    let over = false;
    main.then(
      () => {
        over = true;
      },
      (error: unknown) => {
        over = true;
        this.violation ??= error as Error;
      },
    );
    await this.#settle();
    while (!over && this.violation === null) {
      const event = this.#pop();
      if (event === undefined) {
        this.fail('nothing is left to happen, and the run is not over');
        return;
      }
      if (event.cancelled) continue;
      this.time = Math.max(this.time, event.due);
      if (++this.events > eventsMax) {
        this.fail('the run does not come to rest');
        return;
      }
      this.#run(event);
      await this.#settle();
    }
  }

  #run(event: { readonly fn: () => void; readonly life: Life | null; readonly cancelled?: boolean }): void {
    const { life, fn } = event;
    if (life?.dead === true) return;
    if (life?.paused === true) {
      // Whoever wakes first may cancel what was due after it.
      life.hold(() => {
        if (event.cancelled !== true) fn();
      });
      return;
    }
    try {
      fn();
    } catch (error) {
      this.violation ??= error as Error;
    }
  }

  async #settle(): Promise<void> {
    let calls = 0;
    do {
      while (this.#soon.length > 0) {
        const batch = this.#soon;
        this.#soon = [];
        for (const each of batch) {
          if (++calls > 100_000) {
            this.fail('callbacks chase each other without time moving');
            return;
          }
          this.#run(each);
        }
      }
      await new Promise((resolve) => setImmediate(resolve));
    } while (this.#soon.length > 0);
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): SimEvent | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++;
      if (!before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: SimEvent, b: SimEvent): boolean {
  return a.due < b.due || (a.due === b.due && a.order < b.order);
}

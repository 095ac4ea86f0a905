/**
 * Thousands of time-outs (session, request, rebalance, idle) on one timer of the clock. One wheel per shard, used by
 * that thread only. Add, cancel and reschedule are O(1); a time-out fires at its due time or up to one tick later,
 * never early; in one tick they fire by the slot they lie in, then in the order they were put there.
 *
 *   level 0: 64 slots of 1 tick │ level 1: 64 slots of 64 ticks │ … level 4: 64 slots of 64^4 ticks
 *
 *   An entry lies at the lowest level whose span holds its distance; when the wheel comes to the start of its slot, it
 *   moves down ("cascades"). Slots are doubly linked lists through the entries, and a 64-bit mask per level says
 *   which are filled, so that the next filled slot is found without walking: an idle wheel sets no timer at all.
 *
 * Bounds: `entriesMax`, beyond which `add` throws TIMERS_EXHAUSTED; half of 64^5 ticks (62 days at 10 ms), beyond which
 * a time-out is refused (the other half is how far the last run may lie behind). The underlying timer is armed for the earliest filled slot.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';

const slotBits = 6;
const slotsPerLevel = 1 << slotBits;
const levels = 5;
const ticksMax = slotsPerLevel ** levels / 2;
/** Part of a tick: what a sum of floating-point milliseconds may lack when its timer fires. */
const tickTolerance = 1e-6;

export interface TimerWheelOptions {
  readonly tickMs?: number;
  readonly entriesMax?: number;
}

/** A time-out in the wheel; `cancel` and `reschedule` may be called at any time, also after it fired. */
export class WheelTimer implements Timer {
  readonly fn: () => void;
  readonly #wheel: TimerWheel;
  /** The wheel's own fields. */
  dueTick = 0;
  slot = -1;
  next: WheelTimer | undefined;
  previous: WheelTimer | undefined;

  constructor(wheel: TimerWheel, fn: () => void) {
    this.#wheel = wheel;
    this.fn = fn;
  }

  get pending(): boolean {
    return this.slot >= 0;
  }

  cancel(): void {
    this.#wheel.cancel(this);
  }

  /** Due `delayMs` from now, whatever it was before. */
  reschedule(delayMs: number): void {
    this.#wheel.reschedule(this, delayMs);
  }
}

export class TimerWheel {
  readonly #clock: Clock;
  readonly #tickMs: number;
  readonly #entriesMax: number;
  readonly #base: number;
  /** First and last entry of each slot of each level. */
  readonly #heads: (WheelTimer | undefined)[] = new Array(levels * slotsPerLevel);
  readonly #tails: (WheelTimer | undefined)[] = new Array(levels * slotsPerLevel);
  /** Filled slots: two words of 32 bits per level. */
  readonly #filled = new Int32Array(levels * 2);
  readonly #fire: () => void;
  /** Every tick up to and including this one has been run. */
  #tick = 0;
  #size = 0;
  #running = false;
  #closed = false;
  #timer: Timer | undefined;
  #armedTick = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, options: TimerWheelOptions = {}) {
    this.#clock = clock;
    this.#tickMs = options.tickMs ?? 10;
    this.#entriesMax = options.entriesMax ?? 1_000_000;
    this.#base = clock.monotonic();
    this.#fire = () => this.#run();
  }

  get size(): number {
    return this.#size;
  }

  add(delayMs: number, fn: () => void): WheelTimer {
    const timer = new WheelTimer(this, fn);
    this.reschedule(timer, delayMs);
    return timer;
  }

  cancel(timer: WheelTimer): void {
    if (timer.slot < 0) return;
    this.#unlink(timer);
    // The underlying timer stays: coming to an empty slot costs less than setting it anew for every cancel.
    if (this.#size === 0) this.#disarm();
  }

  reschedule(timer: WheelTimer, delayMs: number): void {
    if (this.#closed)
      throw new MillraceError('internal', 'TIMERS_CLOSED', 'a time-out after the wheel was closed');
    const nowTick = (this.#clock.monotonic() - this.#base) / this.#tickMs;
    const dueTick = Math.max(Math.ceil(nowTick + Math.max(0, delayMs) / this.#tickMs), this.#tick + 1);
    if (!(dueTick - nowTick < ticksMax)) {
      throw new MillraceError('invalid', 'TIMER_DELAY', `a time-out of ${delayMs} ms`);
    }
    if (timer.slot >= 0) this.#unlink(timer);
    else if (this.#size >= this.#entriesMax) {
      throw new MillraceError('exhausted', 'TIMERS_EXHAUSTED', `${this.#entriesMax} time-outs are pending`);
    }
    if (this.#size === 0 && !this.#running) this.#tick = Math.max(this.#tick, Math.floor(nowTick));
    timer.dueTick = Math.max(dueTick, this.#tick + 1);
    this.#link(timer);
    if (!this.#running) this.#arm();
  }

  /** Drops every time-out without calling it. */
  close(): void {
    this.#closed = true;
    this.#disarm();
    for (let slot = 0; slot < this.#heads.length; slot++) {
      for (let timer = this.#heads[slot]; timer !== undefined; timer = this.#heads[slot]) this.#unlink(timer);
    }
  }

  #run(): void {
    this.#timer = undefined;
    this.#armedTick = Number.POSITIVE_INFINITY;
    const nowTick = Math.floor((this.#clock.monotonic() - this.#base) / this.#tickMs + tickTolerance);
    this.#running = true;
    try {
      while (this.#size > 0) {
        const tick = this.#nextFilledTick();
        if (tick > nowTick) break;
        this.#tick = tick;
        this.#cascade(tick);
        this.#expire(tick);
      }
      if (this.#tick < nowTick) this.#tick = nowTick;
    } finally {
      this.#running = false;
      if (this.#size > 0) this.#arm();
    }
  }

  /** Moves down what lies in the slots that begin at this tick, the highest level first. */
  #cascade(tick: number): void {
    for (let level = levels - 1; level > 0; level--) {
      const span = slotsPerLevel ** level;
      if (tick % span !== 0) continue;
      const slot = level * slotsPerLevel + (Math.floor(tick / span) % slotsPerLevel);
      for (let timer = this.#heads[slot]; timer !== undefined; timer = this.#heads[slot]) {
        this.#unlink(timer);
        this.#link(timer);
      }
    }
  }

  #expire(tick: number): void {
    const slot = tick % slotsPerLevel;
    // Nothing joins this slot meanwhile: a new time-out is due a tick later at the earliest, and one due a whole turn
    // later lies on the next level.
    try {
      for (let timer = this.#heads[slot]; timer !== undefined; timer = this.#heads[slot]) {
        this.#unlink(timer);
        timer.fn();
      }
    } finally {
      // A callback threw: this tick has not been run to its end and comes again.
      if (this.#heads[slot] !== undefined) this.#tick = tick - 1;
    }
  }

  /** The first tick after the last one run at which a slot must be emptied or cascaded; there is one. */
  #nextFilledTick(): number {
    let earliest = Number.POSITIVE_INFINITY;
    for (let level = 0; level < levels; level++) {
      const span = slotsPerLevel ** level;
      // Slots of this level begin at multiples of the span; the first one still ahead:
      const first = Math.floor(this.#tick / span) + 1;
      const ahead = this.#slotsAhead(level, first % slotsPerLevel);
      if (ahead >= 0) earliest = Math.min(earliest, (first + ahead) * span);
    }
    return earliest;
  }

  /** How many slots lie between `from` and the first filled one, going round; -1 when none is. */
  #slotsAhead(level: number, from: number): number {
    const low = this.#filled[level * 2] as number;
    const high = this.#filled[level * 2 + 1] as number;
    if ((low | high) === 0) return -1;
    // The mask turned so that `from` is bit 0.
    const [a, b] = from < 32 ? [low, high] : [high, low];
    const by = from & 31;
    const near = by === 0 ? a : (a >>> by) | (b << (32 - by));
    if (near !== 0) return 31 - Math.clz32(near & -near);
    const far = by === 0 ? b : (b >>> by) | (a << (32 - by));
    return 32 + 31 - Math.clz32(far & -far);
  }

  #link(timer: WheelTimer): void {
    const distance = timer.dueTick - this.#tick;
    let level = 0;
    // From a span's length on one level up: at exactly that distance the slot would be the one being passed now.
    for (let span = slotsPerLevel; distance >= span && level < levels - 1; span *= slotsPerLevel) level++;
    const index = Math.floor(timer.dueTick / slotsPerLevel ** level) % slotsPerLevel;
    const slot = level * slotsPerLevel + index;
    const tail = this.#tails[slot];
    timer.slot = slot;
    timer.previous = tail;
    timer.next = undefined;
    if (tail === undefined) this.#heads[slot] = timer;
    else tail.next = timer;
    this.#tails[slot] = timer;
    const word = level * 2 + (index >>> 5);
    this.#filled[word] = (this.#filled[word] as number) | (1 << (index & 31));
    this.#size++;
  }

  #unlink(timer: WheelTimer): void {
    const { slot, next, previous } = timer;
    if (previous === undefined) this.#heads[slot] = next;
    else previous.next = next;
    if (next === undefined) this.#tails[slot] = previous;
    else next.previous = previous;
    if (this.#heads[slot] === undefined) {
      const word = slot >>> 5;
      this.#filled[word] = (this.#filled[word] as number) & ~(1 << (slot & 31));
    }
    timer.slot = -1;
    timer.next = undefined;
    timer.previous = undefined;
    this.#size--;
  }

  #arm(): void {
    const tick = this.#nextFilledTick();
    if (tick >= this.#armedTick) return;
    this.#timer?.cancel();
    this.#armedTick = tick;
    this.#timer = this.#clock.after(
      Math.max(0, this.#base + tick * this.#tickMs - this.#clock.monotonic()),
      this.#fire,
    );
  }

  #disarm(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#armedTick = Number.POSITIVE_INFINITY;
  }
}

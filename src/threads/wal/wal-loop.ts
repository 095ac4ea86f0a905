/**
 * The blocking loop of a WAL thread: takes main's calls and the shards' appends, lets the pump write, and sleeps on the
 * thread's doorbell when there is nothing to do before the pump's `wakeAt`.
 *
 *   take calls ─► note what the rings hold ─► tell shards ─► answer calls ─► pump ──more──► again
 *                                                                             └─ arm ─► look again ─► sleep
 *
 * What is new ends the sleep, not what waits: an append that came after the rings were noted, a call that came after the
 * calls were taken, a wish for a longer ring. An append that waits for room, for company or for its budget does not: a trim is a call, and
 * `wakeAt` is the sleep's end. So the loop neither sleeps over news nor spins over what cannot be done yet.
 * While a commit waits for company, only as many appends as it wants are news (`enough`): else each of them would wake a thread that
 * goes to sleep again. Shards are told in their rings before the doorbell is armed, and do not ring before.
 * test/unit/threads/wal/wal-loop.test.ts runs every interleaving of it with shards and main.
 */
import type { Clock } from '../../ports/clock.ts';
import type { WalPump, WalStatus } from '../../stream/wal/wal.ts';
import type { BlockingWaiter } from '../memory/waiter.ts';
import type { BatchWish } from './batch-wish.ts';
import type { WalCall } from './contract.ts';
import type { RingAppendSource } from './ring-append-source.ts';

/** A shard that has no room for completions is looked at again after this long. */
const behindMs = 1;

export interface WalLoopParts {
  /** `enough`: appends that must wait for nudge to want a call before `wakeAt`; 0 = one more. */
  readonly pump: Pick<WalPump, 'nudge' | 'wakeAt' | 'status' | 'want'> & { readonly enough: number };
  readonly sources: readonly RingAppendSource[];
  readonly waiter: Pick<BlockingWaiter, 'wait'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** The oldest call that main has posted and nobody has taken. */
  readonly takeCall: () => WalCall | undefined;
  readonly answers: { serve(call: WalCall): void; publish(): void };
  readonly watch: { publish(status: WalStatus): void };
  readonly wish: BatchWish;
}

export class WalLoop {
  readonly #parts: WalLoopParts;
  readonly #calls: WalCall[] = [];
  /** What shards have wished for and the pump knows. */
  #wished = 0;
  readonly #pending = (): boolean =>
    this.#takeCalls() ||
    this.#parts.wish.bytes > this.#wished ||
    this.#parts.sources.some((source) => source.fresh);

  constructor(parts: WalLoopParts) {
    this.#parts = parts;
  }

  /** One round, with the sleep at its end; `ended` is asked before the sleep. */
  turn(ended: () => boolean): void {
    const { pump, sources, waiter, clock, answers, watch, wish } = this.#parts;
    this.#takeCalls();
    this.#wished = wish.bytes;
    pump.want(this.#wished);
    let behind = false;
    for (const source of sources) {
      source.look();
      source.tell();
      behind ||= source.behind;
    }
    // A cut given to an upload must not hold commits that a shard has not been told of.
    if (!behind) {
      watch.publish(pump.status);
      for (let left = this.#calls.length; left > 0; left--) answers.serve(this.#calls.shift()!);
    }
    const more = pump.nudge();
    answers.publish();
    if (more || ended()) return;
    const sleepMs = Math.min(pump.wakeAt - clock.monotonic(), behind ? behindMs : Number.POSITIVE_INFINITY);
    if (sleepMs <= 0) return;
    this.#await(pump.enough);
    waiter.wait(this.#pending, sleepMs);
  }

  /** Each shard is asked for its share of what is missing: one that brings more wakes the thread early, which asks again. */
  #await(enough: number): void {
    const { sources } = this.#parts;
    let missing = enough;
    if (enough > 0) for (const source of sources) missing -= source.known;
    const share = enough > 0 ? Math.max(1, Math.ceil(missing / sources.length)) : 0;
    for (const source of sources) source.await(share);
  }

  /** @returns whether there were any. */
  #takeCalls(): boolean {
    const before = this.#calls.length;
    for (let call = this.#parts.takeCall(); call !== undefined; call = this.#parts.takeCall()) {
      this.#calls.push(call);
    }
    return this.#calls.length > before;
  }
}

/**
 * A number of bytes promised out of the arena, shared by all threads. Reservations that would pass the limit are
 * refused at once: the caller waits, pauses its socket or evicts. At most 2^32 − 1 bytes.
 */
import { MillraceError } from '../../ports/errors.ts';
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';
import { type BudgetName, budgetWords } from './contract.ts';

export class Budget {
  readonly name: BudgetName;
  readonly #words: Int32Array;
  readonly #used: number;
  readonly #allowed: number;
  readonly #atomics: AtomicsPort;

  constructor(name: BudgetName, words: Int32Array, start: number, atomics: AtomicsPort = systemAtomics) {
    this.name = name;
    this.#words = words;
    this.#used = start + budgetWords.used;
    this.#allowed = start + budgetWords.allowed;
    this.#atomics = atomics;
  }

  tryReserve(bytes: number): boolean {
    const limit = this.limit();
    let used = this.#atomics.load(this.#words, this.#used);
    for (;;) {
      const next = (used >>> 0) + bytes;
      if (next > limit) return false;
      const seen = this.#atomics.compareExchange(this.#words, this.#used, used, next | 0);
      if (seen === used) return true;
      used = seen;
    }
  }

  release(bytes: number): void {
    const before = this.#atomics.sub(this.#words, this.#used, bytes | 0) >>> 0;
    if (before < bytes) {
      throw new MillraceError(
        'internal',
        'ARENA_BUDGET',
        `release of ${bytes} bytes from budget ${this.name}, which had ${before}`,
      );
    }
  }

  used(): number {
    return this.#atomics.load(this.#words, this.#used) >>> 0;
  }

  limit(): number {
    return this.#atomics.load(this.#words, this.#allowed) >>> 0;
  }

  /** A limit below what is in use refuses reservations until enough has been released. */
  setLimit(bytes: number): void {
    if (!Number.isInteger(bytes) || bytes < 0 || bytes > 0xffff_ffff)
      throw new RangeError(`budget of ${bytes}`);
    this.#atomics.store(this.#words, this.#allowed, bytes | 0);
  }
}

/**
 * A lease as one shared word: one thread renews it, every other one asks whether it still holds. For the cluster's lease, and
 * for how long a broker may acknowledge without its metadata.
 * Times are milliseconds of `Clock.boottime()`, which is one time line for all threads; the word keeps them modulo
 * 2^32 and a deadline counts only within `leaseMsMax` of now, so that one left behind is not valid again after a wrap.
 *
 *    none ──grant──► deadline ──renew (forward only)──► deadline ──revoke──► none
 *
 * Invariants: a deadline never moves back; a revoked lease stays revoked, however late a renewal comes, until the next
 * grant, which only the renewing thread makes, under a new registration.
 */
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';
import { leaseNone } from './contract.ts';

export const leaseMsMax = 3_600_000;

export class LeaseWord {
  readonly #words: Int32Array;
  readonly #atomics: AtomicsPort;

  constructor(memory: SharedArrayBuffer, atomics: AtomicsPort = systemAtomics) {
    this.#words = new Int32Array(memory);
    this.#atomics = atomics;
  }

  static createMemory(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
  }

  /** Starts a lease; false when one is there already. */
  grant(deadlineMs: number): boolean {
    return this.#atomics.compareExchange(this.#words, 0, leaseNone, wordOf(deadlineMs)) === leaseNone;
  }

  /** Moves the deadline forward; false when the lease was revoked. */
  renew(deadlineMs: number): boolean {
    const next = wordOf(deadlineMs);
    let seen = this.#atomics.load(this.#words, 0);
    while (seen !== leaseNone) {
      if (((next - seen) | 0) <= 0) return true;
      const before = this.#atomics.compareExchange(this.#words, 0, seen, next);
      if (before === seen) return true;
      seen = before;
    }
    return false;
  }

  revoke(): void {
    this.#atomics.store(this.#words, 0, leaseNone);
  }

  holds(nowMs: number): boolean {
    return this.leftMs(nowMs) > 0;
  }

  /** Milliseconds until the deadline; 0 when there is no lease, it has run out or is not credible. */
  leftMs(nowMs: number): number {
    const seen = this.#atomics.load(this.#words, 0);
    if (seen === leaseNone) return 0;
    const left = (seen - ms32(nowMs)) | 0;
    return left > 0 && left <= leaseMsMax ? left : 0;
  }
}

/** The early side of the millisecond, never the word that means none. */
function wordOf(deadlineMs: number): number {
  const word = ms32(Math.floor(deadlineMs));
  return word === leaseNone ? word - 1 : word;
}

function ms32(ms: number): number {
  return (Math.ceil(ms) % 2 ** 32) | 0;
}

/**
 * The longest batch that a shard could not append because the ring was too short for it as yet, shared by all shards of a
 * volume and its WAL thread, which grows the ring until such a batch fits. One word: kibibytes, only ever raised, by
 * compare-and-exchange. Whoever raises it rings the thread's doorbell.
 */
import { type AtomicsPort, systemAtomics } from '../memory/atomics-port.ts';

const unitBytes = 1024;

export function createBatchWish(): SharedArrayBuffer {
  return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
}

export class BatchWish {
  readonly #words: Int32Array;
  readonly #atomics: AtomicsPort;

  constructor(memory: SharedArrayBuffer, atomics: AtomicsPort = systemAtomics) {
    this.#words = new Int32Array(memory);
    this.#atomics = atomics;
  }

  get bytes(): number {
    return this.#atomics.load(this.#words, 0) * unitBytes;
  }

  /** @returns true when nobody has wished for as much. */
  raise(bytes: number): boolean {
    const units = Math.ceil(bytes / unitBytes);
    for (let found = this.#atomics.load(this.#words, 0); found < units; ) {
      const before = this.#atomics.compareExchange(this.#words, 0, found, units);
      if (before === found) return true;
      found = before;
    }
    return false;
  }
}

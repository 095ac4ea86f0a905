/**
 * Connections by client address, over all shards: main gives an address a slot and counts what it accepts, and the shard that
 * a connection ends on takes it back, without a message. Which address has which slot is main's knowledge
 * (broker/address-limits.ts).
 *
 *   [0 … slots − 1]   connections that have not ended, of the slot's address      main adds, shards subtract
 */
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';

export function createAddressCounts(slots: number): SharedArrayBuffer {
  return new SharedArrayBuffer(slots * Int32Array.BYTES_PER_ELEMENT);
}

export class AddressCounts {
  readonly #words: Int32Array;
  readonly #atomics: AtomicsPort;

  constructor(memory: SharedArrayBuffer, atomics: AtomicsPort = systemAtomics) {
    this.#words = new Int32Array(memory);
    this.#atomics = atomics;
  }

  get slots(): number {
    return this.#words.length;
  }

  of(slot: number): number {
    return this.#atomics.load(this.#words, slot);
  }

  begun(slot: number): void {
    this.#atomics.add(this.#words, slot, 1);
  }

  ended(slot: number): void {
    this.#atomics.sub(this.#words, slot, 1);
  }
}

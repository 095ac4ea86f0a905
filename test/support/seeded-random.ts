/** Randomness that is the same for the same seed: SFC32, seeded through a 32-bit mixer. */
import type { Random } from '../../src/ports/random.ts';

export class SeededRandom implements Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = mix(seed);
    this.#b = mix(this.#a ^ 0x9e3779b9);
    this.#c = mix(this.#b ^ 0x85ebca6b);
    for (let i = 0; i < 12; i++) this.word();
  }

  /** 32 uniform bits as an unsigned number. */
  word(): number {
    const out = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + out) | 0;
    return out >>> 0;
  }

  below(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > 2 ** 31) throw new RangeError(`below(${bound})`);
    // Words past the largest multiple of the bound would favour small results.
    const limit = 2 ** 32 - (2 ** 32 % bound);
    for (;;) {
      const word = this.word();
      if (word < limit) return word % bound;
    }
  }

  bytes(out: Uint8Array): Uint8Array {
    for (let i = 0; i < out.length; i++) out[i] = this.word() & 0xff;
    return out;
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.word() < probability * 2 ** 32;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }
}

function mix(seed: number): number {
  let h = (seed ^ 0x6a09e667) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

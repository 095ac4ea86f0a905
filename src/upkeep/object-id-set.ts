/**
 * A set of object ids as numbers, eight bytes each: filled once, then asked. Bound: `idsMax`, 64 MiB.
 * Ids are 16 hex digits of a number below 2^53, which the metadata grant.
 */
import { MillraceError } from '../ports/errors.ts';

export const idsMax = 8 << 20;

export class ObjectIdSet {
  #ids = new Float64Array(1024);
  #count = 0;
  #sorted = true;

  get count(): number {
    return this.#count;
  }

  add(objectId: string): void {
    if (this.#count === this.#ids.length) {
      if (this.#count >= idsMax)
        throw new MillraceError('exhausted', 'ORPHAN_SWEEP_NAMES', `more than ${idsMax} objects are named`);
      const grown = new Float64Array(this.#ids.length * 2);
      grown.set(this.#ids);
      this.#ids = grown;
    }
    this.#ids[this.#count++] = Number.parseInt(objectId, 16);
    this.#sorted = false;
  }

  has(objectId: string): boolean {
    if (!this.#sorted) {
      this.#ids.subarray(0, this.#count).sort();
      this.#sorted = true;
    }
    const wanted = Number.parseInt(objectId, 16);
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ids[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low < this.#count && this.#ids[low] === wanted;
  }
}

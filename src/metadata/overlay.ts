/** Facts of the image as a batch of commits that are not made yet would leave them (conditions.ts). */

/** A keyed fact of the image with uncommitted values over it; null = absent. */
export class Overlay<V> {
  readonly #base: (key: string) => V | null;
  readonly #batch = new Map<string, V | null>();
  readonly #commit = new Map<string, V | null>();

  constructor(base: (key: string) => V | null) {
    this.#base = base;
  }

  get(key: string): V | null {
    const own = this.#commit.get(key);
    if (own !== undefined) return own;
    const batch = this.#batch.get(key);
    return batch !== undefined ? batch : this.#base(key);
  }

  set(key: string, value: V | null): void {
    this.#commit.set(key, value);
  }

  settle(keep: boolean): void {
    if (keep) for (const [key, value] of this.#commit) this.#batch.set(key, value);
    this.#commit.clear();
  }
}

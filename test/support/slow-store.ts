/** A store each of whose calls takes so long by a virtual clock: half on the way there, half on the way back. */
import type { Clock } from '../../src/ports/clock.ts';
import type { ObjectInfo, ObjectStore, PutOptions } from '../../src/store/object-store.ts';
import { PassingStore } from './fault-store.ts';

export class SlowStore extends PassingStore {
  readonly #clock: Clock;
  readonly #ms: number;

  constructor(inner: ObjectStore, clock: Clock, ms: number) {
    super(inner);
    this.#clock = clock;
    this.#ms = ms;
  }

  async #slowly<T>(call: () => Promise<T>): Promise<T> {
    await this.#half();
    try {
      return await call();
    } finally {
      await this.#half();
    }
  }

  #half(): Promise<void> {
    return new Promise((resolve) => this.#clock.after(this.#ms / 2, resolve));
  }

  override put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    return this.#slowly(() => super.put(key, body, options));
  }

  override get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    return this.#slowly(() => super.get(key, range));
  }

  override list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ObjectInfo[]> {
    return this.#slowly(() => super.list(prefix, options));
  }
}

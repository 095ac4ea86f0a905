/**
 * A process over an object store and an etcd that ends at a given operation: before it is done, or after, its answer unseen. Nothing
 * of what it does later happens; its calls never settle.
 */
import type { EtcdKv } from '../../src/metadata/etcd/kv.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';

export interface CrashAt {
  /** Counts from 0. */
  readonly operation: number;
  readonly when: 'before' | 'after';
}

export class CrashSteps {
  readonly #at: CrashAt | null;
  #crash: () => void = () => {};
  /** Operations that were begun. */
  operations = 0;
  crashed = false;
  readonly crash: Promise<void>;

  constructor(at: CrashAt | null = null) {
    this.#at = at;
    this.crash = new Promise((resolve) => {
      this.#crash = resolve;
    });
  }

  store(inner: ObjectStore): ObjectStore {
    return this.#stepping(inner);
  }

  kv(inner: EtcdKv): EtcdKv {
    return this.#stepping(inner);
  }

  /** Whether it came to its end. */
  async run<T>(work: Promise<T>): Promise<{ readonly result: T } | 'crashed'> {
    work.catch(() => {});
    return Promise.race([work.then((result) => ({ result })), this.crash.then(() => 'crashed' as const)]);
  }

  #stepping<T extends object>(inner: T): T {
    return new Proxy(inner, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function' || name === 'watch' || name === 'close') return value;
        return (...args: unknown[]) => this.#step(() => value.apply(target, args) as Promise<unknown>);
      },
    });
  }

  async #step(act: () => Promise<unknown>): Promise<unknown> {
    const ends = !this.crashed && this.operations++ === this.#at?.operation;
    if (this.crashed || (ends && this.#at?.when === 'before')) return this.#never();
    // What it was refused goes unseen too.
    const outcome = await act().then(
      (result) => () => result,
      (error: unknown) => () => {
        throw error;
      },
    );
    return ends || this.crashed ? this.#never() : outcome();
  }

  #never(): Promise<never> {
    this.crashed = true;
    this.#crash();
    return new Promise(() => {});
  }
}

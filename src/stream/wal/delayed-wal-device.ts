/**
 * Makes a fast disk behave like a cloud disk: every write is reported later by a fixed time. For benchmarks.
 */
import type { WalDevice, WritePlan } from './wal-device.ts';

export class DelayedWalDevice implements WalDevice {
  readonly direct: boolean;
  readonly #inner: WalDevice;
  readonly #delay: (then: () => void) => void;

  /**
   * @param delay calls `then` when the time is over: a blocking sleep before the call for a blocking device, a timer
   * otherwise.
   */
  constructor(inner: WalDevice, delay: (then: () => void) => void) {
    this.#inner = inner;
    this.#delay = delay;
    this.direct = inner.direct;
  }

  size(): number {
    return this.#inner.size();
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    this.#inner.write(plan, (error) => this.#delay(() => done(error)));
  }

  read(into: Buffer, position: number): Promise<number> {
    return this.#inner.read(into, position);
  }

  reread(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.#inner.reread!(into, position, done);
  }

  peek(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.#inner.peek!(into, position, done);
  }

  sync(done: (error: Error | null) => void): void {
    this.#inner.sync(done);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}

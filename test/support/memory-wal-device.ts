/**
 * A volume in memory. Writes are durable at once; `limitBytes` plays a full disk.
 */
import { MillraceError } from '../../src/ports/errors.ts';
import type { WalDevice, WritePlan } from '../../src/stream/wal/wal-device.ts';

export class MemoryWalDevice implements WalDevice {
  readonly direct = true;
  /** Writes reaching beyond this fail. */
  limitBytes: number;
  #bytes: Buffer;
  #size: number;

  constructor(options: { limitBytes?: number; image?: Buffer } = {}) {
    this.limitBytes = options.limitBytes ?? Number.POSITIVE_INFINITY;
    this.#bytes = options.image ?? Buffer.alloc(0);
    this.#size = this.#bytes.length;
  }

  /** The bytes as they are now (shared, not a copy). */
  get image(): Buffer {
    return this.#bytes.subarray(0, this.#size);
  }

  size(): number {
    return this.#size;
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    const end = plan.filePosition + plan.bytes;
    if (end > this.limitBytes) {
      done(
        new MillraceError('exhausted', 'ENOSPC', `no space left: ${end} bytes, ${this.limitBytes} allowed`),
      );
      return;
    }
    this.#reserve(end);
    let at = plan.filePosition;
    for (let i = 0; i < plan.count; i++) {
      const from = plan.fromArena[i] === 1 ? plan.arena : plan.staging;
      at += from.copy(this.#bytes, at, plan.positions[i]!, plan.positions[i]! + plan.lengths[i]!);
    }
    done(null);
  }

  read(into: Buffer, position: number): Promise<number> {
    return Promise.resolve(this.image.copy(into, 0, position, position + into.length));
  }

  sync(done: (error: Error | null) => void): void {
    done(null);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #reserve(end: number): void {
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.image.copy(larger);
      this.#bytes = larger;
    }
    if (end > this.#size) this.#size = end;
  }
}

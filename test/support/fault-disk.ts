/**
 * A WAL volume that remembers every write, so that a test can rebuild what a crash at any moment would have left.
 * Writes are O_DSYNC: what was reported done is on the medium; of the write that was under way, any subset of its
 * 512-byte sectors may be, in any order. A disk that lies about durability is played by leaving out older writes.
 */

import type { WalDevice, WritePlan } from '../../src/stream/wal/wal-device.ts';
import { MemoryWalDevice } from './memory-wal-device.ts';

export const sectorBytes = 512;

export interface RecordedWrite {
  readonly position: number;
  readonly bytes: Buffer;
}

export class FaultDisk implements WalDevice {
  readonly direct = true;
  readonly writes: RecordedWrite[] = [];
  /** Called as write number `index` is issued, before it is done. */
  onWrite: (index: number) => void = () => {};
  /** Errors for coming writes, by index. */
  readonly failures = new Map<number, Error>();
  /** Holds answers back until release(). */
  holding = false;
  readonly #now = new MemoryWalDevice();
  #held: (() => void) | null = null;

  get held(): boolean {
    return this.#held !== null;
  }

  size(): number {
    return this.#now.size();
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    const index = this.writes.length;
    const vectors: Buffer[] = [];
    for (let i = 0; i < plan.count; i++) vectors.push(plan.vector(i));
    this.writes.push({ position: plan.filePosition, bytes: Buffer.concat(vectors) });
    this.onWrite(index);
    const failure = this.failures.get(index);
    const finish = (): void => {
      if (failure === undefined) this.#now.write(plan, done);
      else done(failure);
    };
    if (this.holding) this.#held = finish;
    else finish();
  }

  /** Lets the held write be done. */
  release(): void {
    const held = this.#held;
    this.#held = null;
    held?.();
  }

  read(into: Buffer, position: number): Promise<number> {
    return this.#now.read(into, position);
  }

  reread(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.read(into, position).then(
      (bytes) => done(null, bytes),
      (error: Error) => done(error, 0),
    );
  }

  sync(done: (error: Error | null) => void): void {
    done(null);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** The medium as a growing image onto which recorded writes are put, whole or in part. */
export class Medium {
  #bytes: Buffer;
  #size = 0;

  constructor(capacityBytes: number) {
    this.#bytes = Buffer.alloc(capacityBytes);
  }

  apply(write: RecordedWrite): void {
    write.bytes.copy(this.#bytes, write.position);
    this.#size = Math.max(this.#size, write.position + write.bytes.length);
  }

  /** The sectors for which `keep` says yes, in units of `unit` bytes. */
  applyPart(write: RecordedWrite, unit: number, keep: (index: number) => boolean): void {
    for (let i = 0; i * unit < write.bytes.length; i++) {
      if (!keep(i)) continue;
      const end = Math.min((i + 1) * unit, write.bytes.length);
      write.bytes.copy(this.#bytes, write.position + i * unit, i * unit, end);
      this.#size = Math.max(this.#size, write.position + end);
    }
  }

  copy(): Medium {
    const other = new Medium(0);
    other.#bytes = Buffer.from(this.#bytes);
    other.#size = this.#size;
    return other;
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size);
  }

  device(): MemoryWalDevice {
    return new MemoryWalDevice({ image: this.bytes });
  }
}

/**
 * Reads a volume through one window: sequentially in 8 MiB, or in small steps when commits are large enough to be
 * hopped over. Bytes that the volume no longer has read as zeros.
 */
import type { WalBytes } from './wal-device.ts';
import { viewOf } from './wal-format.ts';
import { alignedBuffer, roundUpToPage } from './wal-limits.ts';

export const windowBytesMax = 8 * 1024 * 1024;

export class WalWindow {
  readonly buffer = alignedBuffer(windowBytesMax);
  readonly view = viewOf(this.buffer);
  /** Reads that went to the device. */
  reads = 0;
  #device: WalBytes;
  #start = 0;
  #length = 0;

  constructor(device: WalBytes) {
    this.#device = device;
  }

  /** Forgets what was read and goes on with this device. @returns the window's memory. */
  reset(device: WalBytes): Buffer {
    this.#device = device;
    this.#length = 0;
    return this.buffer;
  }

  /** Index in `buffer` of these bytes, or -1 when they must be loaded first. */
  find(filePosition: number, length: number): number {
    const at = filePosition - this.#start;
    return at >= 0 && at + length <= this.#length ? at : -1;
  }

  /**
   * Makes `length` bytes at a page-aligned position present, reading on to `ahead` bytes but not beyond `end`.
   * @returns their index in `buffer`.
   */
  async load(filePosition: number, length: number, ahead: number, end: number): Promise<number> {
    const found = this.find(filePosition, length);
    if (found >= 0) return found;
    const wanted = Math.max(length, Math.min(ahead, end - filePosition));
    const bytes = Math.min(roundUpToPage(wanted), windowBytesMax);
    if (length > bytes) throw new RangeError(`${length} bytes do not fit in a window`);
    const into = this.buffer.subarray(0, bytes);
    this.reads++;
    this.#length = 0;
    const read = await this.#device.read(into, filePosition);
    into.fill(0, read);
    this.#start = filePosition;
    this.#length = bytes;
    return 0;
  }
}

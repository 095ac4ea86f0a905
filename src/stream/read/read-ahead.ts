/**
 * How far ahead of each reader blocks are loaded. One thread.
 *
 *     at        next                    aheadTo
 *     │ last read │ ahead, not read yet │ window when full
 *     ┴───────────┴─────────────────────┴──────────► offsets
 *
 * A reader that goes on where it ended gets a window of 1 MiB; each window it used up doubles it, to windowBytesMax.
 * What is left of a window is topped up when half of it is used, so requests stay large. The window is halved when
 * blocks were evicted before they were read, and grows by 1 MiB a window from then on: memory is short. It is halved too
 * when the reader jumps; a jump below 1 MiB ends it. Reading the same
 * offset again changes nothing. Bound: `cursorsMax` readers × streams, the least recently used is forgotten.
 */
import type { Reader } from '../cache/fair-queue.ts';

export const windowBytesMin = 1 << 20;

export class Cursor {
  at = -1;
  next = -1;
  aheadTo = -1;
  /** Bytes between next and aheadTo. */
  aheadBytes = 0;
  /** 0 = nothing is loaded ahead. */
  windowBytes = 0;
  /** Blocks were evicted before they were read. */
  careful = false;
  /** A top-up is on its way. */
  filling = false;

  /** Bytes to load behind aheadTo now; 0 while half of the window is still ahead. */
  get missing(): number {
    if (this.windowBytes === 0 || this.filling || this.aheadBytes * 2 > this.windowBytes) return 0;
    return this.windowBytes - this.aheadBytes;
  }
}

export class ReadAhead {
  readonly #windowBytesMax: number;
  readonly #cursorsMax: number;
  /** Insertion order = order of last use. */
  readonly #cursors = new Map<string, Cursor>();

  constructor(windowBytesMax: number, cursorsMax: number) {
    this.#windowBytesMax = Math.max(windowBytesMin, windowBytesMax);
    this.#cursorsMax = cursorsMax;
  }

  get cursors(): number {
    return this.#cursors.size;
  }

  /**
   * A reader is about to read.
   * @param missing its first block is not in the cache.
   */
  begin(reader: Reader, stream: string, offset: number, missing: boolean): Cursor {
    const key = `${reader}/${stream}`;
    let cursor = this.#cursors.get(key);
    if (cursor === undefined) cursor = new Cursor();
    else this.#cursors.delete(key);
    this.#cursors.set(key, cursor);
    if (this.#cursors.size > this.#cursorsMax) {
      const [oldest] = this.#cursors.keys();
      this.#cursors.delete(oldest!);
    }
    if (offset === cursor.next) {
      if (cursor.windowBytes === 0) cursor.windowBytes = windowBytesMin;
      else if (missing && offset < cursor.aheadTo) this.#evicted(cursor);
    } else if (offset !== cursor.at) this.#jumped(cursor);
    cursor.at = offset;
    return cursor;
  }

  /** The read brought these bytes. */
  end(cursor: Cursor, bytes: number, nextOffset: number): void {
    if (bytes === 0 || nextOffset === cursor.next) return;
    cursor.next = nextOffset;
    cursor.aheadBytes = cursor.aheadTo > nextOffset ? Math.max(0, cursor.aheadBytes - bytes) : 0;
    if (cursor.aheadTo < nextOffset) cursor.aheadTo = nextOffset;
  }

  /** A top-up got as far as `aheadTo`, all that was wanted or less. */
  filled(cursor: Cursor, bytes: number, aheadTo: number, whole: boolean): void {
    cursor.filling = false;
    if (aheadTo <= cursor.aheadTo) return;
    cursor.aheadTo = aheadTo;
    cursor.aheadBytes += bytes;
    if (!whole) return;
    const grown = cursor.careful ? cursor.windowBytes + windowBytesMin : cursor.windowBytes * 2;
    cursor.windowBytes = Math.min(grown, this.#windowBytesMax);
  }

  #evicted(cursor: Cursor): void {
    cursor.careful = true;
    cursor.windowBytes = Math.max(windowBytesMin, Math.floor(cursor.windowBytes / 2));
    cursor.aheadTo = cursor.next;
    cursor.aheadBytes = 0;
  }

  #jumped(cursor: Cursor): void {
    cursor.careful = false;
    const half = Math.floor(cursor.windowBytes / 2);
    cursor.windowBytes = half < windowBytesMin ? 0 : half;
    cursor.aheadTo = -1;
    cursor.aheadBytes = 0;
  }
}

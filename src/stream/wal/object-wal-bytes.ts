/**
 * The objects of a recovered log laid end to end: a commit's payload lies at its own position. Reading in order fetches
 * each object once and the one behind it beforehand. Limit: two objects in memory, each at most a commit long.
 */
import type { SequencedEntries } from '../../store/sequenced-entries.ts';
import { sequencedHeaderBytes } from '../../store/sequenced-object.ts';
import type { WalBytes } from './wal-device.ts';

interface Fetched {
  readonly index: number;
  readonly bytes: Promise<Buffer>;
}

export class ObjectWalBytes implements WalBytes {
  readonly #entries: SequencedEntries;
  /** Ascending and without overlap. */
  readonly #positions: number[] = [];
  readonly #lengths: number[] = [];
  readonly #numbers: number[] = [];
  #current: Fetched | null = null;
  #ahead: Fetched | null = null;

  constructor(entries: SequencedEntries) {
    this.#entries = entries;
  }

  add(position: number, length: number, number: number): void {
    this.#positions.push(position);
    this.#lengths.push(length);
    this.#numbers.push(number);
  }

  size(): number {
    const last = this.#positions.length - 1;
    return last < 0 ? 0 : this.#positions[last]! + this.#lengths[last]!;
  }

  /** Bytes that no object holds (before the first, between two of a damaged log) read as zeros. */
  async read(into: Buffer, position: number): Promise<number> {
    const end = Math.min(position + into.length, this.size());
    if (end <= position) return 0;
    into.fill(0, 0, end - position);
    for (let i = this.#indexAt(position); i < this.#positions.length; i++) {
      const start = this.#positions[i]!;
      if (start >= end) break;
      const bytes = await this.#object(i);
      const from = Math.max(start, position);
      const to = Math.min(start + this.#lengths[i]!, end);
      bytes.copy(into, from - position, from - start, to - start);
    }
    return end - position;
  }

  /** The first object that ends behind the position. */
  #indexAt(position: number): number {
    let low = 0;
    let high = this.#positions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#positions[middle]! + this.#lengths[middle]! <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async #object(index: number): Promise<Buffer> {
    if (this.#current?.index !== index) {
      this.#current = this.#ahead?.index === index ? this.#ahead : this.#fetch(index);
      this.#ahead = index + 1 < this.#numbers.length ? this.#fetch(index + 1) : null;
    }
    try {
      return await this.#current!.bytes;
    } catch (error) {
      this.#current = null;
      throw error;
    }
  }

  #fetch(index: number): Fetched {
    const key = this.#entries.key(this.#numbers[index]!);
    const start = sequencedHeaderBytes;
    const bytes = this.#entries.store.get(key, { start, end: start + this.#lengths[index]! });
    // Whoever reads it hears of a failure; one that nobody reads is no event.
    bytes.catch(() => {});
    return { index, bytes };
  }
}

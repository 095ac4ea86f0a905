/**
 * What waits for a cold read, by reader. Next is the first in the line of the reader that was given least, in bytes, so
 * a reader with a thousand items waiting gets no more than one with a single item. One thread.
 *
 *     reader 7   given 12 MiB   ▪▪▪▪▪▪▪      ◄── waits its turn
 *     reader 9   given  4 MiB   ▪            ◄── next
 *
 * Nobody saves up: a reader that comes back starts at what the last one served had been given. Bound: the caller's on
 * items; of readers without items `rememberedMax` are remembered, the least recently served is forgotten first.
 */

/** Whoever reads: a connection's number, or any name where there is none. */
export type Reader = number | string;

interface Line<T> {
  /** Given so far, when the line began to wait. */
  given: number;
  readonly items: T[];
}

const rememberedMax = 4096;

export class FairQueue<T> {
  readonly #lines = new Map<Reader, Line<T>>();
  /** Insertion order = order of last service. */
  readonly #given = new Map<Reader, number>();
  #floor = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Readers that wait. */
  get readers(): number {
    return this.#lines.size;
  }

  push(reader: Reader, item: T): void {
    const line = this.#lines.get(reader);
    if (line !== undefined) line.items.push(item);
    else this.#lines.set(reader, { given: this.#givenTo(reader), items: [item] });
    this.#size++;
  }

  /** The item whose turn it is; it stays until it is removed. */
  next(): T | null {
    const line = this.#nextLine();
    return line === null ? null : line.items[0]!;
  }

  remove(reader: Reader, item: T): void {
    const line = this.#lines.get(reader);
    const at = line === undefined ? -1 : line.items.indexOf(item);
    if (at === -1) return;
    line!.items.splice(at, 1);
    this.#size--;
    if (line!.items.length === 0) this.#lines.delete(reader);
  }

  /** Counts what a reader was given, from the queue or past it. */
  give(reader: Reader, bytes: number): void {
    const before = this.#givenTo(reader);
    this.#floor = Math.max(this.#floor, before);
    this.#given.delete(reader);
    this.#given.set(reader, before + bytes);
    const line = this.#lines.get(reader);
    if (line !== undefined) line.given = before + bytes;
    if (this.#given.size <= rememberedMax) return;
    const [oldest] = this.#given.keys();
    this.#given.delete(oldest!);
  }

  #givenTo(reader: Reader): number {
    const line = this.#lines.get(reader);
    return line !== undefined ? line.given : Math.max(this.#given.get(reader) ?? 0, this.#floor);
  }

  #nextLine(): Line<T> | null {
    let least: Line<T> | null = null;
    for (const line of this.#lines.values()) if (least === null || line.given < least.given) least = line;
    return least;
  }
}

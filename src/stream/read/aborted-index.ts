/**
 * Which transactions were aborted in a range of a stream that objects hold, for readers of committed records. One thread (a
 * shard). An aborted transaction is written where its marker lies, maybe objects behind its records: a search goes on from
 * object to object until one at whose end nothing was open that began in the range.
 *
 *   records of a transaction ─┐                                ┌─ its abort marker
 *   ──── object 1 ──────── object 2 ──────── object 3 ──────── object 4 ────
 *        read [from, end)     └ last stable offset < end: on ─┘   └ ≥ end: done
 *
 * Objects without transactions cost nothing beyond their footer, which the read has opened. Bound: sections of at most
 * `keptMax` transactions are kept, the longest unused leave first; a larger one is read again each time.
 */
import type { AbortedTxn } from '../objects/objects.ts';
import type { ObjectReader, OpenObject, StreamAborted } from './object-reader.ts';

/** About 4 MiB. */
const keptMax = 65_536;

/** A part of the stream in one object. */
export interface AbortedRange {
  readonly objectId: string;
  readonly baseOffset: number;
  readonly endOffset: number;
}

export class AbortedIndex {
  readonly #reader: ObjectReader;
  /** Insertion order = order of last use. */
  readonly #kept = new Map<string, readonly StreamAborted[]>();
  #count = 0;

  constructor(reader: ObjectReader) {
    this.#reader = reader;
  }

  /**
   * Adds to `found` the transactions aborted by markers in the range at or above `from` that began below `end`.
   * @returns whether transactions that began below `end` may still have been open at the range's end: their markers lie behind.
   * @throws as ObjectReader.open
   */
  async search(
    topicId: string,
    partition: number,
    range: AbortedRange,
    from: number,
    end: number,
    found: AbortedTxn[],
  ): Promise<boolean> {
    const opened = await this.#reader.open(range.objectId);
    const group = await this.#groupOf(opened, topicId, partition, range);
    for (const txn of group?.aborted ?? []) {
      const inside = txn.lastOffset >= range.baseOffset && txn.lastOffset < range.endOffset;
      if (inside && txn.lastOffset >= from && txn.firstOffset < end) found.push(txn);
    }
    return stableOf(opened, topicId, partition, range, group) < end;
  }

  /**
   * First offset of the oldest transaction that was open at the range's end, else that end; −1 where the object does not say.
   * @throws as ObjectReader.open
   */
  async stableEnd(topicId: string, partition: number, range: AbortedRange): Promise<number> {
    const opened = await this.#reader.open(range.objectId);
    const group = await this.#groupOf(opened, topicId, partition, range);
    return stableOf(opened, topicId, partition, range, group);
  }

  async #groupOf(
    opened: OpenObject,
    topicId: string,
    partition: number,
    { objectId }: AbortedRange,
  ): Promise<StreamAborted | undefined> {
    if (opened.footer.sections.aborted.length === 0) return undefined;
    const groups = await this.#section(objectId);
    return groups.find((one) => one.topicId === topicId && one.partition === partition);
  }

  async #section(objectId: string): Promise<readonly StreamAborted[]> {
    const kept = this.#kept.get(objectId);
    if (kept !== undefined) {
      this.#kept.delete(objectId);
      this.#kept.set(objectId, kept);
      return kept;
    }
    const groups = await this.#reader.aborted(await this.#reader.open(objectId));
    const count = countOf(groups);
    if (count > keptMax || this.#kept.has(objectId)) return groups;
    this.#kept.set(objectId, groups);
    this.#count += count;
    for (const [oldest, section] of this.#kept) {
      if (this.#count <= keptMax) break;
      this.#kept.delete(oldest);
      this.#count -= countOf(section);
    }
    return groups;
  }
}

/** A merged object says what was open behind its last range only. */
function stableOf(
  { index }: OpenObject,
  topicId: string,
  partition: number,
  { endOffset }: AbortedRange,
  group: StreamAborted | undefined,
): number {
  const number = index.streamNumber(topicId, partition);
  if (number < 0 || index.stream(number).endOffset !== endOffset) return -1;
  return Math.min(group?.lastStableOffset ?? endOffset, endOffset);
}

/** Each group counts, too. */
function countOf(groups: readonly StreamAborted[]): number {
  let count = groups.length;
  for (const { aborted } of groups) count += aborted.length;
  return count;
}

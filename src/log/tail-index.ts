/**
 * Entry numbers of one partition's batches in its shard's journal, ascending: a ring that grows by doubling, so an idle
 * partition costs a few words. Bounded by the journal's own capacity.
 */
import type { AppendJournal } from './append-journal.ts';

export class TailIndex {
  private entries: Float64Array | null = null;
  private first = 0;
  count = 0;

  push(entry: number): void {
    if (this.entries === null) this.entries = new Float64Array(4);
    else if (this.count === this.entries.length) {
      const grown = new Float64Array(this.count * 2);
      for (let i = 0; i < this.count; i++) grown[i] = this.at(i);
      this.entries = grown;
      this.first = 0;
    }
    this.entries[(this.first + this.count) & (this.entries.length - 1)] = entry;
    this.count++;
  }

  /** i-th oldest entry number, 0 ≤ i < count. */
  at(i: number): number {
    const entries = this.entries!;
    return entries[(this.first + i) & (entries.length - 1)]!;
  }

  dropOldest(): void {
    this.first = (this.first + 1) & (this.entries!.length - 1);
    if (--this.count === 0) this.reset();
  }

  dropNewest(): void {
    if (--this.count === 0) this.reset();
  }

  private reset(): void {
    this.first = 0;
    if (this.entries !== null && this.entries.length > 64) this.entries = null;
  }

  /** Index of the first batch whose entry is `entry` or a later one. */
  firstFrom(entry: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.at(middle) < entry) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Index of the batch that holds the offset (or the first one above it): smallest i with lastOffset ≥ offset. */
  find(journal: AppendJournal, offset: number): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (journal.lastOffset[journal.slot(this.at(middle))]! < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

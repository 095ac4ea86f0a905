/**
 * One load of a coordinator's partition: feeds what the log reads to its state, and counts. Records that are none of a
 * coordinator are left out here, so that none of them keeps a partition from loading. Owned by the CoordinatorPartition.
 */
import type { EndMarker, LoadSink, TransactionalProducer } from './coordinator-log.ts';
import { type CoordinatorState, replayed } from './coordinator-state.ts';

/** What a load needs of its partition. */
export interface LoadTarget {
  readonly closed: boolean;
  readonly state: CoordinatorState;
  /** Everything below the offset has been read. */
  replayedAt(offset: number): void;
  replayedForeign(key: Buffer, value: Buffer | null): void;
  replayedTransactional(producer: TransactionalProducer, offset: number): void;
  replayedMarker(marker: EndMarker): void;
}

export class CoordinatorLoad implements LoadSink {
  records = 0;
  skipped = 0;
  misplaced = 0;
  firstSkipped = -1;
  whySkipped = '';
  readonly #to: LoadTarget;

  constructor(to: LoadTarget) {
    this.#to = to;
  }

  onRecord(
    key: Buffer | null,
    value: Buffer | null,
    offset: number,
    producer: TransactionalProducer | null,
  ): void {
    const to = this.#to;
    if (to.closed) return;
    this.records++;
    to.replayedAt(offset);
    if (key === null) {
      this.#skip(offset, 'no key');
      return;
    }
    try {
      const verdict = to.state.replay(key, value, offset, producer);
      if (verdict === replayed.misplaced) this.misplaced++;
      else if (verdict === replayed.foreign) to.replayedForeign(key, value);
      else if (producer !== null) to.replayedTransactional(producer, offset);
    } catch (error) {
      this.#skip(offset, error instanceof Error ? error.message : String(error));
    }
  }

  onMarker(marker: EndMarker, offset: number): void {
    if (this.#to.closed) return;
    this.records++;
    this.#to.replayedAt(offset);
    this.#to.replayedMarker(marker);
  }

  onUnreadable(offset: number, reason: string): void {
    this.#skip(offset, reason);
  }

  #skip(offset: number, reason: string): void {
    if (this.skipped++ > 0) return;
    this.firstSkipped = offset;
    this.whySkipped = reason;
  }
}

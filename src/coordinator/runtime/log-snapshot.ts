/**
 * Bounds what a load of a coordinator's partition has to read: once the log holds many more records than are alive, the
 * live ones are written to its end again, and the log start moves up to the first of them.
 *
 *   log start ── old records ──┬─ S: what was pending at the beginning │ live, a batch at a time ─┬─ log end
 *                              └── the log start, once the last of these batches is durable ──────┘
 *
 * A key is written with the value that the state tells, unless a record of it is pending: that one lies behind S, or is
 * part of the first batch. So for every key the last record behind S is its last record, whatever clients do meanwhile.
 * A crash before the log start has moved leaves a longer log, which is right as well.
 *
 * Transactions: their records stay where they are, and count when the marker comes, perhaps behind the last batch. So the log
 * start moves at most to the first record of the transactions that were open at the beginning or are at the end
 * (`transactionFloor`). A marker on its way changes values when it is durable: no batch is built meanwhile.
 *
 * Bounds: a log of `recordsMin` records, or four times the live ones, before a snapshot begins; one batch in flight.
 * Owned by the partition's CoordinatorPartition.
 */
import type { CoordinatorRecord } from './coordinator-log.ts';

/** A batch is built in one turn of the loop. */
const batchBytesMax = 256 * 1024;
const deadPerLive = 4;

export interface SnapshotHost {
  readonly closed: boolean;
  liveRecords(): Iterator<CoordinatorRecord, unknown, unknown>;
  /** Appended outside of transactions and not durable, in the order of the log. */
  pendingRecords(): Iterable<CoordinatorRecord>;
  readonly pendingBytes: number;
  /** A marker is appended and not durable. */
  readonly markerPending: boolean;
  /** False when the log refuses the records. */
  appendLive(records: readonly CoordinatorRecord[], durable: (baseOffset: number) => void): boolean;
  /** An offset that no record of an open transaction lies below; Infinity when none is open. */
  transactionFloor(): number;
  /** Moves the log start; tried again with the next snapshot when it fails. */
  trim(offset: number): void;
  soon(run: () => void): void;
}

export class LogSnapshot {
  readonly #host: SnapshotHost;
  readonly #recordsMin: number;
  /** Records of the log, from its start. */
  #records = 0;
  #nextAt: number;
  /** The log holds what `liveRecords` does not tell: its start stays. */
  #pinned = false;
  #live: Iterator<CoordinatorRecord, unknown, unknown> | null = null;
  #waiting = false;
  /** A batch is due as soon as no marker is pending. */
  #stalled = false;
  #base = -1;
  #floor = 0;
  #written = 0;
  #sinceBegin = 0;

  constructor(host: SnapshotHost, recordsMin: number) {
    this.#host = host;
    this.#recordsMin = recordsMin;
    this.#nextAt = recordsMin;
  }

  /**
   * @param pinned records are among them that nobody would write again.
   * @param afterFailure an append has failed, hence this load. A snapshot that is due waits for the next append: a log
   * that takes none would fail it, and with it the load, at once and again and again.
   */
  loaded(records: number, pinned: boolean, afterFailure: boolean): void {
    this.#records = records;
    this.#pinned = pinned;
    if (records < this.#recordsMin) return;
    let live = 0;
    for (const iterator = this.#host.liveRecords(); iterator.next().done !== true; ) live++;
    this.#nextAt = this.#threshold(live);
    if (!afterFailure) this.#beginIfDue();
  }

  appended(records: number): void {
    this.#records += records;
    this.#sinceBegin += records;
    this.#beginIfDue();
  }

  markerSettled(): void {
    if (!this.#stalled || this.#host.markerPending) return;
    this.#stalled = false;
    this.#step();
  }

  #threshold(live: number): number {
    return Math.max(this.#recordsMin, deadPerLive * live);
  }

  #beginIfDue(): void {
    if (this.#records < this.#nextAt || this.#live !== null || this.#waiting || this.#pinned) return;
    // In a later turn: whoever appends now is not done yet.
    this.#waiting = true;
    this.#host.soon(() => {
      this.#waiting = false;
      const { closed, pendingBytes, markerPending } = this.#host;
      // With much on its way, the next append asks again.
      if (!closed && !markerPending && pendingBytes <= batchBytesMax) this.#begin();
    });
  }

  #begin(): void {
    this.#live = this.#host.liveRecords();
    this.#base = -1;
    this.#floor = this.#host.transactionFloor();
    this.#written = 0;
    this.#sinceBegin = 0;
    const pending = new Map<string, CoordinatorRecord>();
    for (const record of this.#host.pendingRecords()) pending.set(keyText(record.key), record);
    const first = [...pending.values()].filter(({ value }) => value !== null);
    if (first.length > 0) this.#write(first);
    else this.#step();
  }

  #step(): void {
    if (this.#host.markerPending) {
      this.#stalled = true;
      return;
    }
    const pending = new Set<string>();
    for (const record of this.#host.pendingRecords()) pending.add(keyText(record.key));
    const batch: CoordinatorRecord[] = [];
    for (let bytes = 0; bytes < batchBytesMax; ) {
      const next = this.#live!.next();
      if (next.done === true) break;
      const record = next.value;
      if (pending.has(keyText(record.key))) continue;
      batch.push(record);
      bytes += record.key.length + record.value!.length;
    }
    if (batch.length > 0) this.#write(batch);
    else this.#finish();
  }

  #write(batch: readonly CoordinatorRecord[]): void {
    this.#written += batch.length;
    const taken = this.#host.appendLive(batch, (baseOffset) => {
      if (this.#base < 0) this.#base = baseOffset;
      this.#step();
    });
    if (taken) return;
    // The log takes nothing now. What was written is not wrong; another attempt waits for a quarter more records.
    this.#live = null;
    this.#nextAt = this.#records + Math.ceil(this.#recordsMin / 4);
  }

  #finish(): void {
    this.#live = null;
    if (this.#base < 0) {
      // Nothing is alive, and there is no place to move the log start to.
      this.#nextAt = 2 * this.#records;
      return;
    }
    this.#records = this.#sinceBegin;
    this.#nextAt = this.#threshold(this.#written);
    this.#host.trim(Math.min(this.#base, this.#floor, this.#host.transactionFloor()));
  }
}

export function keyText(key: Buffer): string {
  return key.toString('latin1');
}

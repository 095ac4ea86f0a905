/**
 * Bounds what a load of an offsets partition has to read: once the log holds many more records than are alive, the live
 * ones are written to its end again, and the log start moves up to the first of them.
 *
 *   log start ── old records ──┬─ S: what was pending at the beginning │ live, a batch at a time ─┬─ log end
 *                              └── the log start, once the last of these batches is durable ──────┘
 *
 * A key is written with its durable value, unless a record of it is pending: that one lies behind S, or is part of the
 * first batch. So for every key the last record behind S is its last record, whatever clients do meanwhile. A crash
 * before the log start has moved leaves a longer log, which is right as well.
 *
 * Bounds: a log of `snapshotRecordsMin` records, or four times the live ones, before a snapshot begins; one batch in
 * flight. Records of kinds that this broker does not know are never left behind: a log that holds any keeps its start.
 * Owned by the partition's coordinator.
 */
import type { Group } from './group.ts';
import { groupKey, offsetKey, offsetValue } from './group-records.ts';
import { groupStates } from './group-state.ts';
import type { OffsetsRecord } from './offsets-log.ts';

/** A batch is built in one turn of the loop. */
const batchBytesMax = 256 * 1024;
const deadPerLive = 4;

export interface SnapshotHost {
  readonly closed: boolean;
  readonly groups: ReadonlyMap<string, Group>;
  /** Appended and not durable, in the order of the log. */
  pendingRecords(): Iterable<OffsetsRecord>;
  readonly pendingBytes: number;
  append(records: readonly OffsetsRecord[], durable: (baseOffset: number) => void, lost: () => void): void;
  /** Moves the log start; tried again with the next snapshot when it fails. */
  trim(offset: number): void;
  soon(run: () => void): void;
}

export class OffsetsSnapshot {
  readonly #host: SnapshotHost;
  readonly #recordsMin: number;
  /** Records of the log, from its start. */
  #records = 0;
  #nextAt: number;
  #foreign = false;
  #live: Iterator<OffsetsRecord> | null = null;
  #waiting = false;
  #base = -1;
  #written = 0;
  #sinceBegin = 0;

  constructor(host: SnapshotHost, recordsMin: number) {
    this.#host = host;
    this.#recordsMin = recordsMin;
    this.#nextAt = recordsMin;
  }

  /**
   * @param foreign records of other kinds are among them.
   * @param afterFailure an append has failed, hence this load. A snapshot that is due waits for the next append: a log that
   * takes none would fail it, and with it the load, at once and again and again.
   */
  loaded(records: number, foreign: boolean, afterFailure: boolean): void {
    this.#records = records;
    this.#foreign = foreign;
    if (records < this.#recordsMin) return;
    let live = 0;
    for (const _ of this.#liveRecords()) live++;
    this.#nextAt = this.#threshold(live);
    if (!afterFailure) this.#beginIfDue();
  }

  appended(records: number): void {
    this.#records += records;
    this.#sinceBegin += records;
    this.#beginIfDue();
  }

  #threshold(live: number): number {
    return Math.max(this.#recordsMin, deadPerLive * live);
  }

  #beginIfDue(): void {
    if (this.#records < this.#nextAt || this.#live !== null || this.#waiting || this.#foreign) return;
    // In a later turn: whoever appends now is not done yet.
    this.#waiting = true;
    this.#host.soon(() => {
      this.#waiting = false;
      // With much on its way, the next append asks again.
      if (!this.#host.closed && this.#host.pendingBytes <= batchBytesMax) this.#begin();
    });
  }

  #begin(): void {
    this.#live = this.#liveRecords();
    this.#base = -1;
    this.#written = 0;
    this.#sinceBegin = 0;
    const pending = new Map<string, OffsetsRecord>();
    for (const record of this.#host.pendingRecords()) pending.set(keyText(record), record);
    const first = [...pending.values()].filter(({ value }) => value !== null);
    if (first.length > 0) this.#write(first);
    else this.#step();
  }

  #step(): void {
    const pending = new Set<string>();
    for (const record of this.#host.pendingRecords()) pending.add(keyText(record));
    const batch: OffsetsRecord[] = [];
    for (let bytes = 0; bytes < batchBytesMax; ) {
      const { value: record, done } = this.#live!.next();
      if (done === true) break;
      if (pending.has(keyText(record))) continue;
      batch.push(record);
      bytes += record.key.length + record.value!.length;
    }
    if (batch.length > 0) this.#write(batch);
    else this.#finish();
  }

  #write(batch: readonly OffsetsRecord[]): void {
    this.#written += batch.length;
    this.#host.append(
      batch,
      (baseOffset) => {
        if (this.#base < 0) this.#base = baseOffset;
        this.#step();
      },
      // The partition is loaded anew; the next append asks then.
      () => {},
    );
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
    this.#host.trim(this.#base);
  }

  *#liveRecords(): Generator<OffsetsRecord> {
    for (const group of this.#host.groups.values()) {
      // Tombstones of several batches count when the last of them is durable: until then they are only pending here.
      if (group.state === groupStates.dead) continue;
      if (group.storedValue !== null) yield { key: groupKey(group.id), value: group.storedValue };
      for (const entry of group.offsets.entries()) {
        if (group.offsets.isPending(entry.topic, entry.partition)) continue;
        yield { key: offsetKey(group.id, entry.topic, entry.partition), value: offsetValue(entry) };
      }
    }
  }
}

function keyText({ key }: OffsetsRecord): string {
  return key.toString('latin1');
}

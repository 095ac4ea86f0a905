/**
 * A coordinator's log in memory, whose writes become durable, fail or are refused when the test says so. Partitions are
 * arrays of entries; an entry's index is its offset.
 */
import assert from 'node:assert/strict';
import type {
  CoordinatorLog,
  CoordinatorRecord,
  EndMarker,
  LoadSink,
  Settled,
  TransactionalProducer,
} from '../../src/coordinator/runtime/coordinator-log.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** What lies at one offset. */
export type LogEntry =
  | (CoordinatorRecord & { readonly producer?: TransactionalProducer | null })
  | { readonly marker: EndMarker }
  | { readonly unreadable: string };

interface HeldAppend {
  readonly partition: number;
  readonly records: readonly CoordinatorRecord[];
  readonly entries: readonly LogEntry[];
  readonly settled: Settled;
}

/** Appends wait in `held` while `hold` is set; else they are durable in a later turn of the clock. */
export class MemoryCoordinatorLog implements CoordinatorLog {
  hold = false;
  /** Wire error with which every append is refused; 0 = none is. */
  refusal = 0;
  loadError: Error | null = null;
  loads = 0;
  trims = 0;
  /** A load waits until the test calls these. */
  heldLoads: (() => void)[] | null = null;
  readonly held: HeldAppend[] = [];
  readonly durable = new Map<number, LogEntry[]>();
  /** Log starts that are not 0. */
  readonly starts = new Map<number, number>();
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  append(
    partition: number,
    records: readonly CoordinatorRecord[],
    producer: TransactionalProducer | null,
    settled: Settled,
  ): number {
    const entries = producer === null ? records : records.map((record) => ({ ...record, producer }));
    return this.#take({ partition, records, entries, settled });
  }

  appendMarker(partition: number, marker: EndMarker, settled: Settled): number {
    return this.#take({ partition, records: [], entries: [{ marker }], settled });
  }

  #take(append: HeldAppend): number {
    if (this.refusal !== 0) return this.refusal;
    this.held.push(append);
    if (!this.hold) this.#clock.soon(() => this.release(1));
    return 0;
  }

  #write(partition: number, entries: readonly LogEntry[]): number {
    const log = this.durable.get(partition) ?? [];
    this.durable.set(partition, log);
    const baseOffset = log.length;
    log.push(...entries);
    return baseOffset;
  }

  /** Makes the oldest waiting appends durable. */
  release(count = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < count && this.held.length > 0; i++) {
      const { partition, entries, settled } = this.held.shift()!;
      settled(null, this.#write(partition, entries));
    }
  }

  /** Fails the oldest waiting append, written all the same or not. */
  fail(written: boolean): void {
    const { partition, entries, settled } = this.held.shift()!;
    if (written) this.#write(partition, entries);
    settled(new Error('the log is gone'), -1);
  }

  trim(partition: number, offset: number): void {
    assert.ok(offset >= (this.starts.get(partition) ?? 0) && offset <= this.durable.get(partition)!.length);
    this.starts.set(partition, offset);
    this.trims++;
  }

  async load(partition: number, sink: LoadSink): Promise<void> {
    this.loads++;
    if (this.loadError !== null) throw this.loadError;
    // The durable end as of now: what comes later is not part of this load.
    const entries = (this.durable.get(partition) ?? []).slice();
    const start = this.starts.get(partition) ?? 0;
    if (this.heldLoads !== null) await new Promise<void>((resolve) => this.heldLoads!.push(resolve));
    for (const [offset, entry] of entries.entries()) {
      if (offset < start) continue;
      if ('marker' in entry) sink.onMarker(entry.marker, offset);
      else if ('unreadable' in entry) sink.onUnreadable(offset, entry.unreadable);
      else sink.onRecord(entry.key, entry.value, offset, entry.producer ?? null);
    }
  }
}

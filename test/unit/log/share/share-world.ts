/**
 * A share partition over a log of batches in memory and a share coordinator whose writes become durable, fail or are lost when
 * the test says so. A crash forgets the share partition; what the coordinator has durably stays.
 */

import { combineBatches } from '../../../../src/coordinator/share/state-batches.ts';
import type { PartitionHandle, PartitionWatcher, ReadSink } from '../../../../src/log/partition-handle.ts';
import { RecordRanges } from '../../../../src/log/partition-handle.ts';
import type {
  Acquired,
  AcquireLimits,
  SharePersister,
  ShareSettings,
  ShareStateBatch,
  ShareStateUpdate,
} from '../../../../src/log/share/share-api.ts';
import { SharePartition } from '../../../../src/log/share/share-partition.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { type BatchFields, buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { crc32c } from '../../../support/load/batches.ts';
import type { VirtualClock } from '../../../support/virtual-clock.ts';

export const testSettings: ShareSettings = {
  lockMs: 30_000,
  deliveriesMax: 5,
  locksMax: 2_000,
  committed: false,
  reset: { at: 'earliest' },
  renewals: true,
};

export const anyLimits: AcquireLimits = {
  recordsMax: 500,
  bytesMax: 1 << 20,
  bytesMin: 1,
  force: true,
  strict: false,
  rangeRecords: 500,
};

interface StoredBatch {
  readonly position: number;
  readonly length: number;
  readonly first: number;
  readonly last: number;
}

/** Only what a share partition asks of a log. */
export class MemoryLog {
  readonly arena = new HeapArena({ segmentBytes: 1 << 20, segmentCount: 4 });
  readonly #watchers = new Set<PartitionWatcher>();
  readonly #batches: StoredBatch[] = [];
  #at = 0;
  leaderEpoch = 1;
  highWatermark = 0;
  stableOffset: number | null = null;
  startOffset = 0;
  live = true;
  aborted: readonly { readonly producerId: number; readonly firstOffset: number }[] = [];
  /** Reads wait until the test runs these. */
  held: (() => void)[] | null = null;

  constructor() {
    for (let i = 0; i < 4; i++) this.arena.acquire();
  }

  append(records: number, fields: BatchFields = {}): void {
    const batch = buildBatch(
      Array.from({ length: records }, () => ({ key: null, value: Buffer.from('v'), timestamp: 1 })),
      { ...fields, baseOffset: this.highWatermark },
      crc32c,
    );
    batch.copy(this.arena.buffer, this.#at);
    const first = this.highWatermark;
    this.#batches.push({ position: this.#at, length: batch.length, first, last: first + records - 1 });
    this.#at += batch.length;
    this.highWatermark += records;
    this.changed();
  }

  /** Offsets that the log does not hold, as compaction leaves them. */
  gap(records: number): void {
    this.highWatermark += records;
  }

  changed(): void {
    for (const watcher of [...this.#watchers]) watcher.onPartitionChanged(this.handle);
  }

  readonly handle = this as unknown as PartitionHandle;

  get lastStableOffset(): number {
    return this.stableOffset ?? this.highWatermark;
  }

  read(
    offset: number,
    maxBytes: number,
    _atLeastOne: boolean,
    _deadline: number,
    sink: ReadSink,
    index: number,
    committed = false,
  ): void {
    const answer = (): void => {
      const { highWatermark, lastStableOffset, startOffset, aborted } = this;
      const fields = { highWatermark, lastStableOffset, startOffset, aborted };
      if (offset < startOffset || offset > highWatermark) {
        sink.onRead(index, { ...fields, error: ErrorCode.OFFSET_OUT_OF_RANGE, records: null });
        return;
      }
      const limit = committed ? lastStableOffset : highWatermark;
      const records = new RecordRanges(this.arena);
      for (const { position, length, last } of this.#batches) {
        if (last < offset || last >= limit) continue;
        if (records.byteLength > 0 && records.byteLength + length > maxBytes) break;
        records.add(position, length);
      }
      sink.onRead(index, { ...fields, error: 0, records: records.byteLength === 0 ? null : records });
    };
    if (this.held === null) answer();
    else this.held.push(answer);
  }

  watch(watcher: PartitionWatcher): void {
    this.#watchers.add(watcher);
  }

  unwatch(watcher: PartitionWatcher): void {
    this.#watchers.delete(watcher);
  }
}

/** Writes wait in `held` while `hold` is set; else they are durable at once. */
export class MemoryPersister implements SharePersister {
  hold = false;
  /** Wire error that the next writes are answered with, without effect. */
  refusal = 0;
  readonly held: { readonly update: ShareStateUpdate; readonly done: (error: number) => void }[] = [];
  stateEpoch = 0;
  startOffset = -1;
  batches: readonly ShareStateBatch[] = [];
  writes = 0;

  read(_leaderEpoch: number, done: Parameters<SharePersister['read']>[1]): void {
    const { stateEpoch, startOffset, batches } = this;
    done(0, { stateEpoch, startOffset, batches });
  }

  write(update: ShareStateUpdate, done: (error: number) => void): void {
    this.writes++;
    if (this.refusal !== 0) done(this.refusal);
    else if (this.hold) this.held.push({ update, done });
    else {
      this.#store(update);
      done(0);
    }
  }

  #store({ startOffset, batches }: ShareStateUpdate): void {
    this.startOffset = Math.max(this.startOffset, startOffset);
    this.batches = combineBatches(this.batches, batches, this.startOffset);
  }

  release(): void {
    for (const { update, done } of this.held.splice(0)) {
      this.#store(update);
      done(0);
    }
  }

  /** A crash: what is under way is stored or not, and nobody hears of it. */
  crash(stored: boolean): void {
    for (const { update } of this.held.splice(0)) if (stored) this.#store(update);
  }
}

export interface World {
  readonly clock: VirtualClock;
  readonly log: MemoryLog;
  readonly persister: MemoryPersister;
  settings: ShareSettings;
  partition: SharePartition;
  /** Begins another life from what is durable. */
  restart(): void;
  acquire(member: string, limits?: Partial<AcquireLimits>): Acquired;
}

export function shareWorld(clock: VirtualClock, settings: Partial<ShareSettings> = {}): World {
  const log = new MemoryLog();
  const persister = new MemoryPersister();
  const open = (): SharePartition =>
    new SharePartition({
      arena: log.arena,
      clock,
      log: log.handle,
      persister,
      settings: () => world.settings,
      writeTimeoutMs: 5_000,
      onEnded: () => {},
    });
  const world: World = {
    clock,
    log,
    persister,
    settings: { ...testSettings, ...settings },
    partition: null as unknown as SharePartition,
    restart() {
      world.partition.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
      world.partition = open();
    },
    acquire(member, limits = {}) {
      let acquired: Acquired | null = null;
      world.partition.acquire(member, { ...anyLimits, ...limits }, (answer) => {
        acquired = answer;
      });
      clock.advance(0);
      if (acquired === null) throw new Error('the acquire is not answered yet');
      return acquired;
    },
  };
  world.partition = open();
  return world;
}

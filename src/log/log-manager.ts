/**
 * The partition logs of one shard: opens and closes them, completes appends as the WAL reports them durable, hands
 * the delta to uploads and gives arena memory back. Owned by one shard; failure of a volume is decided here: its
 * partitions refuse writes with a retriable error while reads of what is durable go on.
 */

import type { EpochStart } from '../metadata/metadata-store.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { type StreamId, streamId, streamKey } from '../ports/stream-id.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { ProducerEntry, StreamState } from '../stream/objects/objects.ts';
import type { Wal } from '../stream/wal/wal.ts';
import { AppendJournal } from './append-journal.ts';
import { type CollectedDelta, DeltaCollection, type StreamName, streamState } from './delta-collection.ts';
import type { LogSettings } from './log-settings.ts';
import { type ColdPath, PartitionLog } from './partition-log.ts';
import { StreamTraffic } from './stream-traffic.ts';

export interface LogManagerOptions {
  readonly arena: Arena;
  readonly wals: readonly Wal[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly crc32c: (position: number, length: number) => number;
  /** Entries each journal can hold (power of two). */
  readonly journalCapacity: number;
  /** Bytes of batches this shard keeps in memory, delta included; evicts uploaded ones above it. */
  readonly logCacheBytes: number;
  /** This shard's share of one volume's ring, less what headers and padding take: the delta never outgrows it either. */
  readonly ringBytes: number;
  readonly cold: ColdPath;
  /** False while nothing may be acknowledged; asked at each append and before each answer. */
  readonly mayAcknowledge?: () => boolean;
}

export interface OpenPartition {
  readonly name: string;
  readonly topicId: string;
  readonly partition: number;
  readonly settings: LogSettings;
  readonly leaderEpoch: number;
  readonly epochs: readonly EpochStart[];
  readonly startOffset: number;
  /** End of what committed objects hold: recovery goes on from there. */
  readonly endOffset: number;
  readonly volume: number;
  readonly producers: readonly ProducerEntry[];
}

/** Uploaded batches that one turn evicts: a third of a millisecond. */
const evictionsPerTurn = 8192;
/** Logs and producers that one turn looks after: one to two milliseconds. */
const maintainedPerTurn = 4096;

export class LogManager {
  readonly journals: readonly AppendJournal[];
  readonly traffic = new StreamTraffic();
  private readonly options: LogManagerOptions;
  private readonly logs = new Map<string, PartitionLog>();
  private changed: PartitionLog[] = [];
  private flushing = false;
  /** Appends are being completed: what changes by them is told when that is done. */
  private completing = false;
  private trimming = false;
  /** Logs that are still to be maintained; null = none are. */
  private maintained: Iterator<PartitionLog> | null = null;
  private ended = false;
  private flushQueued = false;
  private readonly failures: (Error | null)[];
  /** By volume, what an upload has not taken whole yet. */
  private readonly collections: (DeltaCollection | null)[];
  /** Journal number minus append number by volume: append numbers start at 1 behind the recovered entries. */
  private readonly shifts: number[];

  constructor(options: LogManagerOptions) {
    this.options = options;
    this.journals = options.wals.map(
      (wal) =>
        new AppendJournal(
          wal.volume,
          options.journalCapacity,
          Math.max(1, Math.min(options.logCacheBytes / options.wals.length, options.ringBytes)),
          options.arena,
          wal,
          options.mayAcknowledge,
        ),
    );
    this.failures = options.wals.map(() => null);
    this.collections = options.wals.map(() => null);
    this.shifts = options.wals.map(() => 0);
    for (const [i, wal] of options.wals.entries()) {
      const journal = this.journals[i]!;
      wal.onDurable = (through, sequence) => {
        this.completing = true;
        try {
          journal.completeThrough(through + this.shifts[i]!, sequence);
        } finally {
          this.completing = false;
          this.flushChanges();
        }
      };
      wal.onFailed = (error, outstanding) => this.failVolume(i, error, outstanding);
      wal.onReturned = () => journal.releaseGivenUp();
    }
  }

  /** Recovery is over: from now on appends go through the WAL. */
  beginAppends(): void {
    for (const [i, journal] of this.journals.entries()) this.shifts[i] = journal.tail - 1;
  }

  /**
   * The broker stops: nothing is appended any more, whoever asks. A peer's request may still be on its way here after
   * connections are closed, and would land behind the end that is recorded.
   */
  endAppends(): void {
    this.ended = true;
    for (const log of this.logs.values()) {
      if (log.writeError === 0) log.writeError = ErrorCode.NOT_LEADER_OR_FOLLOWER;
    }
  }

  /** The partition, if it is served. */
  get(topicId: string, partition: number): PartitionLog | undefined {
    const log = this.logs.get(streamKey(topicId, partition));
    return log?.live === true ? log : undefined;
  }

  /** The same, staged ones included. */
  find(topicId: string, partition: number): PartitionLog | undefined {
    return this.logs.get(streamKey(topicId, partition));
  }

  all(): IterableIterator<PartitionLog> {
    return this.logs.values();
  }

  get count(): number {
    return this.logs.size;
  }

  /** A log that nobody finds yet, with what its stream's state says: `serve` follows when the metadata say that it is open. */
  stage(spec: OpenPartition): PartitionLog {
    const key = streamKey(spec.topicId, spec.partition);
    if (this.get(spec.topicId, spec.partition) !== undefined)
      throw new MillraceError('internal', 'LOG_OPEN', `${spec.name}/${spec.partition} is served already`);
    const { arena, wals, clock, crc32c } = this.options;
    const stream: StreamId = streamId(spec.topicId, spec.partition);
    const log = new PartitionLog(
      spec.name,
      stream,
      spec.settings,
      {
        leaderEpoch: spec.leaderEpoch,
        epochs: spec.epochs,
        startOffset: spec.startOffset,
        endOffset: spec.endOffset,
      },
      {
        arena,
        journal: this.journals[spec.volume]!,
        wal: wals[spec.volume]!,
        now: () => clock.now(),
        crc32c,
        onChanged: (partition) => this.onChanged(partition),
        cold: this.options.cold,
        traffic: this.traffic,
      },
    );
    log.live = false;
    log.writeError = this.writeErrorOf(log);
    for (const producer of spec.producers) log.producers.take(producer);
    this.logs.set(key, log);
    return log;
  }

  /** The metadata say that the stream is open under this epoch. */
  serve(log: PartitionLog, leaderEpoch: number, epochs: readonly EpochStart[]): void {
    log.leaderEpoch = leaderEpoch;
    log.epochs = [...epochs];
    log.live = true;
  }

  open(spec: OpenPartition): PartitionLog {
    const log = this.stage(spec);
    this.serve(log, spec.leaderEpoch, spec.epochs);
    return log;
  }

  /** Forgets a log that was staged in vain. */
  unstage(topicId: string, partition: number): void {
    const key = streamKey(topicId, partition);
    const log = this.logs.get(key);
    if (log?.live !== false) return;
    log.endTraffic();
    this.logs.delete(key);
  }

  private writeErrorOf(log: PartitionLog): number {
    if (this.failures[log.journal.volume] !== null) return ErrorCode.KAFKA_STORAGE_ERROR;
    return this.ended ? ErrorCode.NOT_LEADER_OR_FOLLOWER : 0;
  }

  /** From now on appends are refused; what is under way goes on, and is answered. Reads go on until the stream is closed. */
  beginClose(log: PartitionLog): void {
    log.writeError = ErrorCode.NOT_LEADER_OR_FOLLOWER;
  }

  /** The stream stays open. */
  cancelClose(log: PartitionLog): void {
    log.writeError = this.writeErrorOf(log);
  }

  /**
   * The metadata say that the stream is closed: all of it is in objects. What it has in memory is freed as the journal moves
   * on. Whoever waits for it is told at once.
   */
  close(log: PartitionLog): void {
    this.forget(log, ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  /** Forgets a deleted partition; what it has in memory is freed as the journal moves on, and is never uploaded. */
  remove(topicId: string, partition: number): void {
    const log = this.find(topicId, partition);
    if (log !== undefined) this.forget(log, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  }

  private forget(log: PartitionLog, error: number): void {
    this.logs.delete(streamKey(log.topicId, log.partition));
    log.endTraffic();
    log.writeError = error;
    log.live = false;
    log.touch();
  }

  private failVolume(volume: number, error: Error, outstanding: boolean): void {
    if (this.failures[volume] !== null) return;
    this.failures[volume] = error;
    this.options.logger.error('the write-ahead log of this volume failed; its partitions refuse writes', {
      volume,
      error: error.message,
    });
    for (const log of this.logs.values()) {
      if (log.journal !== this.journals[volume]) continue;
      // One that is closing refuses appends already.
      if (log.writeError === 0) log.writeError = ErrorCode.KAFKA_STORAGE_ERROR;
      log.nextOffset = log.highWatermark;
    }
    this.journals[volume]!.failPending(ErrorCode.KAFKA_STORAGE_ERROR, outstanding);
    this.flushChanges();
  }

  private onChanged(partition: PartitionLog): void {
    this.changed.push(partition);
    if (this.flushing || this.completing || this.flushQueued) return;
    this.flushQueued = true;
    this.options.clock.soon(() => {
      this.flushQueued = false;
      this.flushChanges();
    });
  }

  /** Wakes the watchers of everything that moved, once per partition. */
  private flushChanges(): void {
    if (this.flushing) return;
    this.flushing = true;
    try {
      for (let i = 0; i < this.changed.length; i++) this.changed[i]!.notify();
    } finally {
      this.changed = [];
      this.flushing = false;
    }
  }

  /** Bytes durable but not yet in objects, over one volume. */
  deltaBytes(volume: number): number {
    return this.journals[volume]!.deltaBytes;
  }

  /**
   * The delta of a volume up to a WAL cut, by stream; entries stay in the journal until `uploaded`. In parts, each of about as
   * much as `work` entries take: where more follows, `collectMore` gives it.
   * @param named streams whose states and ends are wanted, too; those that are not here are passed over.
   */
  collect(
    volume: number,
    commit: number,
    named: readonly StreamName[],
    work = Number.POSITIVE_INFINITY,
  ): CollectedDelta {
    this.options.wals[volume]!.drain?.();
    const { arena, clock } = this.options;
    this.collections[volume] = new DeltaCollection(
      {
        arena,
        journal: this.journals[volume]!,
        logs: this.logs.values(),
        find: ({ topicId, partition }) => this.find(topicId, partition),
        now: () => clock.now(),
      },
      commit,
      named,
    );
    return this.collectMore(volume, work);
  }

  /** The next part of what was collected last of that volume. */
  collectMore(volume: number, work = Number.POSITIVE_INFINITY): CollectedDelta {
    const collection = this.collections[volume];
    if (collection == null)
      throw new MillraceError('internal', 'COLLECT_ENDED', `nothing more of volume ${volume} is collected`);
    const part = collection.next(work);
    if (!part.more) this.collections[volume] = null;
    return part;
  }

  /**
   * What producers had done, of those of the streams that are open here: as of what is durable, or of what objects hold
   * (streamState).
   */
  states(streams: readonly StreamName[]): StreamState[] {
    const states: StreamState[] = [];
    const { arena, clock } = this.options;
    for (const { topicId, partition } of streams) {
      const log = this.get(topicId, partition);
      if (log !== undefined) states.push(streamState(log, arena, clock.now(), log.journal.uploaded));
    }
    return states;
  }

  /**
   * Forgets producers that have been idle for longer than `expirationMs`, and what objects say now; in turns of about `work`
   * logs and producers. While that goes on another call does nothing.
   */
  maintain(expirationMs: number, work = maintainedPerTurn): void {
    if (this.maintained !== null) return;
    this.maintained = this.logs.values();
    this.maintainSome(expirationMs, work);
  }

  private maintainSome(expirationMs: number, work: number): void {
    const nowMs = this.options.clock.now();
    for (let left = work; left > 0; ) {
      const { value: log, done } = this.maintained!.next();
      if (done === true) {
        this.maintained = null;
        return;
      }
      const { producers } = log;
      left -= 1 + producers.size;
      if (producers.size === 0) continue;
      producers.stored(log.storedEnd);
      producers.forgetAborted(log.tailStart);
      producers.expire(nowMs, expirationMs);
    }
    this.options.clock.soon(() => this.maintainSome(expirationMs, work));
  }

  /** The upload that `collect` fed is committed: its bytes may be evicted. */
  uploaded(volume: number, end: number): void {
    this.journals[volume]!.markUploaded(end);
    this.trimCache();
  }

  /** How near the fullest volume is to refusing appends, 0 to 1. */
  congestion(): number {
    let most = 0;
    for (const journal of this.journals) most = Math.max(most, journal.congestion());
    return most;
  }

  /** Evicts uploaded batches above the cache budget, in turns: an upload of small batches has half a million. */
  trimCache(): void {
    if (this.trimming) return;
    let more = false;
    for (const journal of this.journals) {
      const limit = this.options.logCacheBytes / this.journals.length;
      if (journal.evictUntil(limit, evictionsPerTurn) === evictionsPerTurn) more = true;
    }
    if (!more) return;
    this.trimming = true;
    this.options.clock.soon(() => {
      this.trimming = false;
      this.trimCache();
    });
  }

  /** Evicts every uploaded batch. */
  evictUploaded(): void {
    for (const journal of this.journals) journal.evictUntil(0, Number.POSITIVE_INFINITY);
  }

  /**
   * Frees at least `segments` segments by evicting uploaded batches, oldest first, while there are any. Returns
   * whether the arena now has that many free.
   */
  reclaim(segments: number): boolean {
    const { arena } = this.options;
    for (const journal of this.journals) {
      while (arena.freeSegments() < segments) {
        if (journal.evictUntil(0, 64) === 0) break;
      }
    }
    return arena.freeSegments() >= segments;
  }
}

/**
 * The pump of one object WAL: takes appends from its sources and stores them as numbered objects, several puts under
 * way. Threads unknown, never blocks: whoever owns it calls nudge() when something was appended, when `wakeAt` comes,
 * and when `wake` was called.
 *
 *   sources    │ in commits under way (skip) │ waiting                 │
 *   ───────────┼─────────────────────────────┼─────────────────────────┼─►
 *              oldest                        next commit begins here
 *
 * A commit begins when its bytes are together, or `linger` after the one before began: as long as a put takes, at most
 * the setting. So an idle log or a lone client waits for nothing, a busy one pays for few requests, and the store's own
 * pace decides.
 * Invariants: appends are reported durable in number order, after every number below is stored; the objects between
 * trim and tail are never more than `capacityBytes`; nothing is stored after the epoch ended.
 * A store that is away ends nothing: puts are tried again, appends wait, the queues fill and producers are told to wait.
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { PipelinedLog } from '../../store/pipelined-log.ts';
import { type SequencedEntries, sleep } from '../../store/sequenced-entries.ts';
import { SequencedSweep } from '../../store/sequenced-sweep.ts';
import { takerOf } from '../../store/take-over-wish.ts';
import { grown } from '../columns.ts';
import { ObjectCommit, objectBytesAlone } from './object-commit.ts';
import type { RecoveredObjectWal } from './object-wal-recovery.ts';
import { type OwnerState, ownerStates, writeSign } from './sign-of-life.ts';
import { TokenBucket } from './token-bucket.ts';
import {
  type AppendEntry,
  type AppendSource,
  emptyAppendEntry,
  type WalCut,
  type WalPump,
  type WalStatus,
} from './wal.ts';
import {
  batchHeaderBytes,
  objectBatchBytesMax,
  objectInFlight,
  objectLingerMs,
  signOfLifeMs,
} from './wal-limits.ts';
import { WalStats } from './wal-stats.ts';

export interface ObjectWalSettings {
  readonly batchBytes?: number;
  readonly lingerMs?: number;
  readonly inFlight?: number;
  /** Puts per second, bytes per second. */
  readonly iops?: number;
  readonly bandwidth?: number;
  readonly noAnswerMs?: number;
}

export interface ObjectWalWriterOptions {
  readonly entries: SequencedEntries;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly arena: { readonly buffer: Buffer; readonly view: DataView };
  readonly crc32c: Crc32c;
  readonly settings?: ObjectWalSettings;
  /** A put ended outside of nudge: call nudge soon. */
  readonly wake?: () => void;
}

/** What a writer needs of a recovered log; small enough to cross threads. */
export type ObjectWalResume = Pick<RecoveredObjectWal, 'superblock' | 'trim' | 'next' | 'first'>;

interface UnderWay {
  readonly commit: ObjectCommit;
  readonly cut: WalCut;
}

/** Ending waits this long for the last sign, which only saves the next start its wait. */
const lastSignMs = 2_000;

export class ObjectWalWriter implements WalPump {
  readonly stats = new WalStats();
  readonly sources: AppendSource[] = [];
  readonly logId: string;
  readonly epoch: number;
  wakeAt = Number.POSITIVE_INFINITY;

  readonly #options: ObjectWalWriterOptions;
  readonly #log: PipelinedLog;
  readonly #sweep: SequencedSweep;
  readonly #clusterId: string;
  readonly #capacityBytes: number;
  readonly #batchBytes: number;
  readonly #lingerMs: number;
  readonly #iops: TokenBucket;
  readonly #bandwidth: TokenBucket;
  readonly #underWay: UnderWay[] = [];
  readonly #spare: ObjectCommit[] = [];
  readonly #entry: AppendEntry = emptyAppendEntry();
  /** Per source: entries in commits under way, and entries whose bytes are counted in #waitingBytes. */
  #skip = new Int32Array(8);
  #seen = new Int32Array(8);
  #waitingBytes = 0;
  #nextSource = 0;
  /** Newest durable commit, newest commit under way, and the trim. */
  #cut: WalCut;
  #tail: WalCut;
  #trimmed: WalCut;
  #startedAt = Number.NEGATIVE_INFINITY;
  /** What a put takes, a moving average in ms. */
  #putMs = 0;
  #heardAt: number;
  #signing = false;
  /** When it is due to look for a taker; never while nothing was stored since the last look. */
  #lookAt = Number.POSITIVE_INFINITY;
  #lookedAt: number;
  #error: Error | null = null;
  #closed = false;
  #close: { clean: boolean; done: (error: Error | null) => void } | null = null;

  constructor(options: ObjectWalWriterOptions, recovered: ObjectWalResume) {
    const { superblock } = recovered;
    const { settings = {}, clock, entries, logger } = options;
    const now = clock.monotonic();
    this.#options = options;
    this.logId = superblock.logId;
    this.epoch = superblock.epoch;
    this.#clusterId = superblock.clusterId;
    this.#capacityBytes = superblock.capacityBytes;
    this.#batchBytes = Math.min(settings.batchBytes ?? objectBatchBytesMax, objectBatchBytesMax);
    this.#lingerMs = settings.lingerMs ?? objectLingerMs;
    this.#iops = new TokenBucket(settings.iops ?? Number.POSITIVE_INFINITY, now);
    this.#bandwidth = new TokenBucket(settings.bandwidth ?? Number.POSITIVE_INFINITY, now);
    this.#cut = recovered.next;
    this.#tail = recovered.next;
    this.#trimmed = recovered.trim;
    // Its first sign is due at once.
    this.#heardAt = now - signOfLifeMs;
    this.#lookedAt = now;
    this.#sweep = new SequencedSweep(entries, logger, recovered.first);
    this.#log = new PipelinedLog({
      entries,
      clock,
      logger,
      epoch: superblock.epoch,
      first: recovered.first,
      window: settings.inFlight ?? objectInFlight,
      ...(settings.noAnswerMs === undefined ? {} : { noAnswerMs: settings.noAnswerMs }),
      onStored: (number, waitedMs) => this.#stored(number, waitedMs),
      onEnded: (error) => this.#fail(error),
    });
  }

  get failed(): Error | null {
    return this.#error;
  }

  get batchBytesMax(): number {
    return this.#capacityBytes - objectBytesAlone(batchHeaderBytes);
  }

  get batchBytesEver(): number {
    return this.batchBytesMax;
  }

  /** A log of objects has its whole capacity from the start. */
  want(): void {}

  get waiting(): boolean {
    return this.#waiting() > 0;
  }

  get status(): WalStatus {
    return {
      logId: this.logId,
      cut: this.#cut,
      trimmed: this.#trimmed,
      usedBytes: this.#tail.position - this.#trimmed.position,
      capacityBytes: this.#capacityBytes,
      writtenBytes: this.#tail.position - this.#trimmed.position,
      failed: this.#error === null ? null : this.#error.message,
    };
  }

  addSource(source: AppendSource): void {
    const n = this.sources.push(source);
    if (n > this.#skip.length) {
      this.#skip = grown(this.#skip, new Int32Array(2 * this.#skip.length));
      this.#seen = grown(this.#seen, new Int32Array(2 * this.#seen.length));
    }
    if (this.#error !== null) source.failed(this.#error, false);
  }

  /**
   * Frees the objects up to `cut`. The caller has committed the cut to the metadata, where recovery finds it, so the
   * room is there at once; the objects are deleted beside.
   */
  trim(cut: WalCut, done: (error: Error | null) => void): void {
    if (this.#error !== null) return done(this.#error);
    if (this.#close !== null || this.#closed) {
      return done(new MillraceError('invalid', 'WAL_CLOSED', `WAL ${this.logId} is closed`));
    }
    if (cut.sequence > this.#cut.sequence || cut.position > this.#cut.position) {
      const message = `trim to commit ${cut.sequence}, durable is ${this.#cut.sequence}`;
      return done(new MillraceError('invalid', 'WAL_TRIM_AHEAD', message));
    }
    if (cut.sequence > this.#trimmed.sequence) {
      this.#trimmed = { ...cut };
      this.#sweep.freed(cut.sequence);
    }
    done(null);
  }

  /** A clean end needs an empty queue and everything trimmed; any other leaves at once what is under way. */
  close(clean: boolean, done: (error: Error | null) => void): void {
    if (this.#close !== null || this.#closed) {
      done(new MillraceError('invalid', 'WAL_CLOSED', `WAL ${this.logId} is closed`));
    } else if (this.#error !== null) {
      done(clean ? this.#error : null);
    } else {
      this.#close = { clean, done };
    }
  }

  nudge(): boolean {
    this.wakeAt = Number.POSITIVE_INFINITY;
    if (this.#error !== null || this.#closed) return false;
    const now = this.#options.clock.monotonic();
    try {
      this.#commitAll(now);
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      return false;
    }
    if (this.#close !== null) {
      const busy = this.#underWay.length > 0 || this.#waiting() > 0;
      if (!(this.#close.clean && this.#underWay.length > 0)) this.#finishClose(this.#close, busy);
      return false;
    }
    const signAt = this.#heardAt + signOfLifeMs;
    if (now < signAt) this.wakeAt = Math.min(this.wakeAt, signAt);
    else if (!this.#signing) void this.#sign();
    if (now < this.#lookAt) this.wakeAt = Math.min(this.wakeAt, this.#lookAt);
    else void this.#lookForTaker(now);
    return false;
  }

  #commitAll(now: number): void {
    this.#countWaiting();
    while (this.#log.free && this.#waiting() > 0) {
      const at = Math.max(this.#iops.readyAt(now), this.#bandwidth.readyAt(now), this.#lingerUntil(now));
      if (at > now) {
        this.stats.lingers++;
        this.wakeAt = Math.min(this.wakeAt, at);
        return;
      }
      if (!this.#commit(now)) return;
    }
  }

  #lingerUntil(now: number): number {
    if (this.#close !== null || this.#waitingBytes >= this.#batchBytes) return now;
    return this.#startedAt + Math.min(this.#lingerMs, this.#putMs);
  }

  /** @returns false when there is no room: a trim makes some. */
  #commit(now: number): boolean {
    const { arena, crc32c } = this.#options;
    const { logId } = this;
    const commit =
      this.#spare.pop() ?? new ObjectCommit({ arena, crc32c, logId, clusterId: this.#clusterId });
    const room = this.#capacityBytes - (this.#tail.position - this.#trimmed.position);
    if (commit.collect(this.sources, this.#skip, this.#nextSource, this.#batchBytes, room) === 0) {
      this.#spare.push(commit);
      if (commit.refusedBytes > this.#capacityBytes) {
        const what = `a batch needs ${commit.refusedBytes} bytes of a log of ${this.#capacityBytes}`;
        throw new MillraceError('internal', 'WAL_BATCH_TOO_LARGE', what);
      }
      this.stats.stalls++;
      return false;
    }
    return this.#start(commit, now);
  }

  #start(commit: ObjectCommit, now: number): boolean {
    const sequence = this.#log.next;
    const { position, chainCrc } = this.#tail;
    const payload = commit.seal(this.epoch, sequence, position, chainCrc);
    this.#tail = { sequence, position: position + commit.length, chainCrc: commit.crc };
    this.#underWay.push({ commit, cut: this.#tail });
    for (let s = 0; s < this.sources.length; s++) this.#skip[s]! += commit.taken[s]!;
    this.#nextSource = (this.#nextSource + 1) % Math.max(1, this.sources.length);
    this.#waitingBytes -= commit.payloadBytes;
    this.#startedAt = now;
    this.#iops.spend(1);
    this.#bandwidth.spend(commit.length);
    this.#log.append(payload);
    return true;
  }

  #stored(number: number, waitedMs: number): void {
    const oldest = this.#underWay.shift();
    if (oldest === undefined || oldest.cut.sequence !== number) {
      this.#fail(new MillraceError('internal', 'WAL_ORDER', `entry ${number} was stored out of turn`));
      return;
    }
    const { commit, cut } = oldest;
    this.#cut = cut;
    this.#putMs += (waitedMs - this.#putMs) / 8;
    this.#heardAt = this.#options.clock.monotonic();
    this.#lookAt = this.#lookedAt + signOfLifeMs;
    this.stats.commit(commit.count, commit.payloadBytes, waitedMs);
    this.stats.writtenBytes += commit.length;
    for (let s = 0; s < this.sources.length; s++) {
      const taken = commit.taken[s]!;
      if (taken === 0) continue;
      this.#skip[s]! -= taken;
      this.#seen[s]! -= taken;
      this.sources[s]!.durable(taken, cut.sequence);
    }
    this.#spare.push(commit);
    this.#options.wake?.();
  }

  #waiting(): number {
    let waiting = 0;
    for (let s = 0; s < this.sources.length; s++) waiting += this.sources[s]!.waiting() - this.#skip[s]!;
    return waiting;
  }

  /** Adds the bytes of entries that were not there the last time. */
  #countWaiting(): void {
    for (let s = 0; s < this.sources.length; s++) {
      const source = this.sources[s]!;
      for (const end = source.waiting(); this.#seen[s]! < end; this.#seen[s]!++) {
        source.read(this.#seen[s]!, this.#entry);
        this.#waitingBytes += this.#entry.length;
      }
    }
  }

  async #sign(): Promise<void> {
    this.#signing = true;
    try {
      await writeSign(this.#options.entries, this.epoch, ownerStates.running);
    } catch {
      // The store is away: commits say so, louder.
    }
    this.#signing = false;
    this.#heardAt = this.#options.clock.monotonic();
    this.#options.wake?.();
  }

  /** One that comes too late for every number has nothing else to end this owner with. */
  async #lookForTaker(now: number): Promise<void> {
    this.#lookedAt = now;
    this.#lookAt = Number.POSITIVE_INFINITY;
    try {
      const taker = await takerOf(this.#options.entries, this.epoch);
      if (taker !== null)
        this.#fail(new MillraceError('fenced', 'WAL_FENCED', `${taker} wants to take over`));
    } catch {
      // The store is away: commits say so, louder.
    }
  }

  #finishClose(close: { clean: boolean; done: (error: Error | null) => void }, busy: boolean): void {
    if (close.clean && (busy || this.#cut.sequence !== this.#trimmed.sequence)) {
      this.#close = null;
      const message = `WAL ${this.logId} holds commits that are not trimmed`;
      return close.done(new MillraceError('invalid', 'WAL_NOT_EMPTY', message));
    }
    this.#closed = true;
    this.#log.close();
    if (busy) {
      this.#error = new MillraceError('unavailable', 'WAL_CLOSED', `WAL ${this.logId} was closed`);
      for (const source of this.sources) source.failed(this.#error, true);
    }
    void this.#lastSign(close.clean ? ownerStates.clean : ownerStates.stopped).then(() => close.done(null));
  }

  async #lastSign(state: OwnerState): Promise<void> {
    const { entries, clock } = this.#options;
    const sign = writeSign(entries, this.epoch, state).catch(() => {});
    await Promise.race([Promise.all([this.#sweep.idle(), sign]), sleep(clock, lastSignMs)]);
  }

  /** The epoch is over: everybody who waits is told. */
  #fail(error: Error): void {
    if (this.#error !== null || this.#closed) return;
    this.#error = error;
    this.#log.close();
    this.wakeAt = Number.POSITIVE_INFINITY;
    const close = this.#close;
    this.#close = null;
    close?.done(close.clean ? error : null);
    // Puts under way still send from the arena, and are never asked about again.
    for (const source of this.sources) source.failed(error, true);
    this.#options.wake?.();
  }
}

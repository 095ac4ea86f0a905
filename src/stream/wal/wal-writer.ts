/**
 * The pump of one block WAL volume: takes appends from its sources, writes them in commits, one write in flight.
 * Threads unknown: whoever owns it calls nudge() when something was appended, when `wakeAt` comes, and when `wake` was
 * called. Events never act by themselves, they nudge.
 *
 *   step chooses the next write, in this order:
 *     opening superblocks → superblock for a trim → superblock that is due → grow slice when pressed
 *       → commit (or pad) → grow slice when idle → clean superblock
 *   each commit, once durable, is followed by a look at the fence page, if there is one, and counts only then
 *
 * Invariants: an append is reported durable only after its write was; space is reused only after the superblock that
 * trims it; no commit before the superblock with its epoch; after a failed write nothing is written any more.
 * Limits: wal-limits.ts.
 */
import type { CopyRanges } from '../../../native-bindings/contract.ts';
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { AdaptiveLinger } from './adaptive-linger.ts';
import { CommitBuilder, stagingBytes } from './commit-builder.ts';
import { FenceCheck } from './fence-page.ts';
import type { RecoveredWal } from './recovery.ts';
import { RingGrowth } from './ring-growth.ts';
import { SuperblockKeeper } from './superblock-keeper.ts';
import { TokenBucket } from './token-bucket.ts';
import type { AppendSource, WalCut, WalPump, WalStatus, WriteWatch } from './wal.ts';
import { type WalDevice, type WritePlan, writeTimeout } from './wal-device.ts';
import {
  alignedBuffer,
  commitBytesMax,
  growChunkBytes,
  growSliceBytes,
  ioTimeoutMs,
  pageBytes,
  superblockIntervalMs,
} from './wal-limits.ts';
import { WalRing } from './wal-ring.ts';
import { WalStats } from './wal-stats.ts';

export interface WalWriterSettings {
  /** Longest wait for company, ms. */
  readonly lingerMs?: number;
  /** Writes per second; one of more than 256 KiB counts once per 256 KiB, as cloud disks count. */
  readonly iops?: number;
  /** Bytes per second. */
  readonly bandwidth?: number;
  readonly growChunkBytes?: number;
  readonly growSliceBytes?: number;
  readonly superblockIntervalMs?: number;
  readonly ioTimeoutMs?: number;
  readonly payloadBytesMax?: number;
  readonly descriptorsMax?: number;
}

export interface WalWriterOptions {
  readonly device: WalDevice;
  readonly clock: Clock;
  readonly arena: { readonly buffer: Buffer; readonly view: DataView };
  readonly crc32c: Crc32c;
  /** Default: the portable one. */
  readonly copyRanges?: CopyRanges;
  readonly settings?: WalWriterSettings;
  /** Page-aligned memory of writerMemoryBytes, when the caller has some to reuse; else the writer allocates it. */
  readonly memory?: Buffer;
  /** A write ended outside of nudge: call nudge soon. */
  readonly wake?: () => void;
  /** The fence page as this owner wrote it. It must still lie there after each commit was durable. */
  readonly fence?: Buffer | undefined;
  /** No other machine writes the volume: the page may be looked at through the page cache. */
  readonly fenceCached?: boolean;
  /** Told of every call of the device, where the device blocks. */
  readonly watch?: WriteWatch;
}

const works = { none: 0, superblock: 1, pad: 2, commit: 3, grow: 4, flush: 5, fence: 6 } as const;
type Work = (typeof works)[keyof typeof works];
const phases = { flushing: 0, opening: 1, open: 2, closing: 3, closed: 4, failed: 5 } as const;
type Phase = (typeof phases)[keyof typeof phases];

/** Cloud disks count a larger write as several. */
const bytesPerIo = 256 * 1024;

/** Staging of commits, one superblock page, one slice of zeros. */
export const writerMemoryBytes = stagingBytes + pageBytes + growSliceBytes;

export class WalWriter implements WalPump {
  readonly stats = new WalStats();
  readonly sources: AppendSource[] = [];
  readonly logId: string;
  /** Monotonic time at which nudge wants to be called without any other reason; Infinity = never. */
  wakeAt = Number.POSITIVE_INFINITY;
  /** Appends that must wait for nudge to want a call before `wakeAt`; 0 = one more, Infinity = none does. */
  enough = 0;

  readonly #device: WalDevice;
  readonly #clock: Clock;
  readonly #wake: () => void;
  readonly #builder: CommitBuilder;
  readonly #ring: WalRing;
  readonly #superblock: SuperblockKeeper;
  readonly #growth: RingGrowth;
  readonly #linger: AdaptiveLinger;
  readonly #iops: TokenBucket;
  readonly #bandwidth: TokenBucket;
  readonly #superblockIntervalMs: number;
  readonly #ioTimeoutMs: number;

  #phase: Phase = phases.flushing;
  readonly #fence: FenceCheck | null;
  readonly #watch: WriteWatch | undefined;
  #work: Work = works.none;
  #workStartedAt = 0;
  /** Token of the outstanding write: a late answer to an older one is ignored. */
  #workNumber = 0;
  /** Token of the commit that was outstanding when the epoch ended, until it returns. */
  #givenUp = 0;
  #pumping = false;
  #error: Error | null = null;
  /** The newest durable commit. */
  #cut: WalCut;
  #sealedCrc = 0;
  #sealedLength = 0;
  /** Length for which the superblock must be raised before a larger commit goes out. */
  #commitMaxWanted = 0;
  #close: { clean: boolean; done: (error: Error | null) => void } | null = null;

  /**
   * A writer that goes on behind what was recovered, under a higher epoch: flushes the volume, then makes the epoch
   * durable in both superblocks, then commits. Call nudge to start it.
   */
  static resume(options: WalWriterOptions, recovered: RecoveredWal, epoch: number): WalWriter {
    if (recovered.state === 'damaged') {
      throw new MillraceError(
        'corrupt',
        'WAL_DAMAGED',
        `WAL ${recovered.superblock.logId} is damaged: it is read, never written`,
      );
    }
    if (!Number.isSafeInteger(epoch) || epoch <= recovered.superblock.epoch) {
      throw new MillraceError(
        'fenced',
        'WAL_EPOCH_OLD',
        `WAL ${recovered.superblock.logId} has epoch ${recovered.superblock.epoch}; a new one must be higher than that, not ${epoch}`,
      );
    }
    return new WalWriter(options, recovered, epoch);
  }

  private constructor(options: WalWriterOptions, recovered: RecoveredWal, epoch: number) {
    const settings = options.settings ?? {};
    const now = options.clock.monotonic();
    this.#device = options.device;
    const { fence, fenceCached = false } = options;
    this.#fence = FenceCheck.of(fence, fenceCached, options.device, options.crc32c);
    this.#clock = options.clock;
    this.#watch = options.watch;
    this.#wake = options.wake ?? (() => {});
    this.logId = recovered.superblock.logId;
    this.#cut = recovered.next;
    this.#ring = new WalRing(
      recovered.superblock.writtenBytes,
      recovered.superblock.capacityBytes,
      recovered.trim.position,
      recovered.next.position,
    );
    const memory = options.memory ?? alignedBuffer(writerMemoryBytes);
    this.#builder = new CommitBuilder({
      staging: memory.subarray(0, stagingBytes),
      arena: options.arena,
      crc32c: options.crc32c,
      ...(options.copyRanges === undefined ? {} : { copyRanges: options.copyRanges }),
      logId: recovered.superblock.logId,
      clusterId: recovered.superblock.clusterId,
      ...(settings.payloadBytesMax === undefined ? {} : { payloadBytesMax: settings.payloadBytesMax }),
      ...(settings.descriptorsMax === undefined ? {} : { descriptorsMax: settings.descriptorsMax }),
    });
    this.#superblock = new SuperblockKeeper(
      memory.subarray(stagingBytes, stagingBytes + pageBytes),
      {
        ...recovered.superblock,
        epoch,
        epochFirstSequence: recovered.next.sequence + 1,
        clean: false,
        commitBytesMax: Math.max(recovered.superblock.commitBytesMax, commitBytesMax),
      },
      recovered.trim,
      options.crc32c,
      now,
    );
    this.#superblock.requireBoth();
    const sliceBytes = Math.min(settings.growSliceBytes ?? growSliceBytes, growSliceBytes);
    const zeros = memory.subarray(stagingBytes + pageBytes, stagingBytes + pageBytes + sliceBytes).fill(0);
    this.#growth = new RingGrowth(this.#ring, zeros, settings.growChunkBytes ?? growChunkBytes);
    this.#linger = new AdaptiveLinger(settings.lingerMs ?? 0.5, now);
    this.#iops = new TokenBucket(settings.iops ?? Number.POSITIVE_INFINITY, now);
    this.#bandwidth = new TokenBucket(settings.bandwidth ?? Number.POSITIVE_INFINITY, now);
    this.#superblockIntervalMs = settings.superblockIntervalMs ?? superblockIntervalMs;
    this.#ioTimeoutMs = settings.ioTimeoutMs ?? ioTimeoutMs;
  }

  get epoch(): number {
    return this.#superblock.next.epoch;
  }

  get failed(): Error | null {
    return this.#error;
  }

  get batchBytesMax(): number {
    return this.#growth.batchBytesMax;
  }

  get batchBytesEver(): number {
    return this.#growth.batchBytesEver;
  }

  want(bytes: number): void {
    this.#growth.want(bytes);
  }

  get waiting(): boolean {
    return this.#waiting() > 0;
  }

  get status(): WalStatus {
    return {
      logId: this.logId,
      cut: this.#cut,
      trimmed: this.#superblock.trimmed,
      usedBytes: this.#ring.usedBytes,
      capacityBytes:
        (this.#ring.growable ? this.#ring.capacityBytes : this.#ring.writtenBytes) -
        this.#ring.filePosition(0),
      writtenBytes: this.#ring.writtenBytes,
      failed: this.#error === null ? null : this.#error.message,
    };
  }

  addSource(source: AppendSource): void {
    this.sources.push(source);
    if (this.#error !== null) source.failed(this.#error, false);
  }

  /** Frees the ring up to `cut`; done is called when the superblock that says so is durable. */
  trim(cut: WalCut, done: (error: Error | null) => void): void {
    const refusal = this.#refuseTrim(cut);
    if (refusal !== null) done(refusal);
    else this.#superblock.trim(cut, done);
  }

  #refuseTrim(cut: WalCut): Error | null {
    if (this.#error !== null) return this.#error;
    if (this.#close !== null || this.#phase === phases.closed) {
      return new MillraceError('invalid', 'WAL_CLOSED', `WAL ${this.logId} is closed`);
    }
    if (cut.sequence > this.#cut.sequence || cut.position > this.#cut.position) {
      const message = `trim to commit ${cut.sequence}, durable is ${this.#cut.sequence}`;
      return new MillraceError('invalid', 'WAL_TRIM_AHEAD', message);
    }
    return null;
  }

  /** Ends the writer; a clean end needs an empty queue and everything trimmed. The device is not closed. */
  close(clean: boolean, done: (error: Error | null) => void): void {
    if (this.#close !== null || this.#phase === phases.closed) {
      done(new MillraceError('invalid', 'WAL_CLOSED', `WAL ${this.logId} is closed`));
    } else if (this.#error !== null) {
      done(clean ? this.#error : null);
    } else {
      this.#close = { clean, done };
    }
  }

  /**
   * Does what can be done now: at most one commit or slice, so that a blocking device leaves its thread time for other things.
   * @returns true when there is more to do at once; otherwise `wakeAt` says when.
   */
  nudge(): boolean {
    if (this.#pumping) return false;
    this.#pumping = true;
    let more = false;
    try {
      const before = this.stats.commits + this.stats.growSlices;
      while (this.#work === works.none && this.#step()) {
        if (this.#work === works.none && this.stats.commits + this.stats.growSlices !== before) {
          more = true;
          break;
        }
      }
      if (this.#work !== works.none) this.#watchTimeout();
    } catch (error) {
      this.#fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#pumping = false;
    }
    return more;
  }

  #watchTimeout(): void {
    const deadline = this.#workStartedAt + this.#ioTimeoutMs;
    this.wakeAt = deadline;
    if (this.#clock.monotonic() >= deadline) {
      this.#fail(writeTimeout(this.logId, this.#ioTimeoutMs));
    }
  }

  /** Starts the next write. @returns false when there is nothing to do now (wakeAt is set). */
  #step(): boolean {
    const now = this.#clock.monotonic();
    this.wakeAt = Number.POSITIVE_INFINITY;
    this.enough = 0;
    switch (this.#phase) {
      case phases.closed:
      case phases.failed:
        return false;
      case phases.flushing:
        return this.#flush(now);
      case phases.opening:
        return this.#writeSuperblock(now);
    }
    const superblock = this.#superblock;
    if (superblock.required) return this.#writeSuperblock(now);
    if (this.#commitMaxWanted > superblock.next.commitBytesMax) {
      superblock.next.commitBytesMax = this.#commitMaxWanted;
      superblock.requireBoth();
      return this.#writeSuperblock(now);
    }
    this.wakeAt = superblock.dueAt(this.#cut.sequence, this.#superblockIntervalMs);
    if (now >= this.wakeAt) return this.#writeSuperblock(now);
    if (this.#growth.takeChunk()) {
      superblock.requireBoth();
      return this.#writeSuperblock(now);
    }
    const waiting = this.#waiting();
    if (waiting === 0 && this.#close !== null) return this.#finishClose(now);
    const budgetAt = Math.max(this.#iops.readyAt(now), this.#bandwidth.readyAt(now));
    if (waiting > 0) {
      const at = Math.max(budgetAt, this.#close === null ? this.#linger.writeAt(waiting, now) : now);
      if (at > now) {
        this.stats.lingers++;
        this.enough = budgetAt > now ? Number.POSITIVE_INFINITY : this.#linger.enough;
        this.wakeAt = Math.min(this.wakeAt, at);
        return false;
      }
      if (this.#growth.pressed) return this.#grow(now);
      return this.#commit(now);
    }
    if (this.#growth.wanted) {
      if (budgetAt <= now) return this.#grow(now);
      this.wakeAt = Math.min(this.wakeAt, budgetAt);
    }
    return false;
  }

  #waiting(): number {
    let waiting = 0;
    for (let i = 0; i < this.sources.length; i++) waiting += this.sources[i]!.waiting();
    return waiting;
  }

  #commit(now: number): boolean {
    const ring = this.#ring;
    const builder = this.#builder;
    let room = ring.roomAtTail;
    if (builder.collect(this.sources, room) === 0) {
      const needed = builder.refusedBytes;
      if (needed > ring.roomAtTail && ring.growable) {
        // Too large for what is left of the first lap: the ring grows before anybody wraps.
        if (needed > ring.capacityBytes - ring.filePosition(0)) return this.#tooLarge(needed);
        return this.#grow(now);
      }
      if (needed <= ring.roomAtStart && ring.bytesToEnd > 0) return this.#pad(now);
      // Nothing in use and still no room: trimming will never help.
      if (needed > ring.ringBytes || ring.usedBytes === 0) return this.#tooLarge(needed);
      this.stats.stalls++;
      return this.#close === null ? false : this.#finishClose(now);
    }
    room = builder.length;
    if (room > this.#superblock.next.commitBytesMax) {
      this.#commitMaxWanted = room;
      return true;
    }
    this.#linger.took(builder.count, builder.payloadBytes, now);
    this.#growth.committed();
    const sequence = this.#cut.sequence + 1;
    this.#sealedCrc = builder.seal(this.epoch, sequence, ring.tailPosition, this.#cut.chainCrc);
    this.#sealedLength = room;
    builder.plan.filePosition = ring.filePosition(ring.tailPosition);
    return this.#start(works.commit, builder.plan, now);
  }

  #tooLarge(needed: number): never {
    throw new MillraceError(
      'internal',
      'WAL_BATCH_TOO_LARGE',
      `a batch needs ${needed} bytes of a ring of ${this.#ring.ringBytes}`,
    );
  }

  #pad(now: number): boolean {
    const ring = this.#ring;
    const length = ring.bytesToEnd;
    const sequence = this.#cut.sequence + 1;
    this.#sealedCrc = this.#builder.sealPad(
      this.epoch,
      sequence,
      ring.tailPosition,
      length,
      this.#cut.chainCrc,
    );
    this.#sealedLength = length;
    this.#builder.plan.filePosition = ring.filePosition(ring.tailPosition);
    return this.#start(works.pad, this.#builder.plan, now);
  }

  #grow(now: number): boolean {
    return this.#start(works.grow, this.#growth.slice(), now);
  }

  #finishClose(now: number): boolean {
    const close = this.#close!;
    if (close.clean && (this.#cut.sequence !== this.#superblock.trimmed.sequence || this.#waiting() > 0)) {
      this.#close = null;
      close.done(
        new MillraceError('invalid', 'WAL_NOT_EMPTY', `WAL ${this.logId} holds commits that are not trimmed`),
      );
      return true;
    }
    this.#phase = phases.closing;
    this.#superblock.next.clean = close.clean;
    return this.#writeSuperblock(now);
  }

  #flush(now: number): boolean {
    const number = this.#begin(works.flush, now);
    this.#device.sync((error) => this.#settle(number, error, 0));
    return true;
  }

  #writeSuperblock(now: number): boolean {
    const plan = this.#superblock.prepare(this.#ring.writtenBytes, this.#cut.sequence);
    return this.#start(works.superblock, plan, now);
  }

  #begin(work: Work, now: number): number {
    this.#work = work;
    this.#workStartedAt = now;
    this.#watch?.begin(now);
    return ++this.#workNumber;
  }

  #start(work: Work, plan: WritePlan, now: number): boolean {
    const number = this.#begin(work, now);
    this.#iops.spend(Math.ceil(plan.bytes / bytesPerIo));
    this.#bandwidth.spend(plan.bytes);
    this.#device.write(plan, (error) => this.#settle(number, error, plan.bytes));
    return true;
  }

  #settle(number: number, error: Error | null, bytes: number): void {
    if (number === this.#givenUp) return this.#returned();
    if (number !== this.#workNumber || this.#work === works.none) return;
    const work = this.#work;
    const elapsed = this.#clock.monotonic() - this.#workStartedAt;
    this.#work = works.none;
    if (this.#watch?.end() === false) {
      this.#fail(writeTimeout(this.logId, elapsed));
    } else if (error === null && elapsed < this.#ioTimeoutMs) {
      this.stats.writtenBytes += bytes;
      try {
        this.#settled(work, elapsed, bytes);
      } catch (thrown) {
        this.#fail(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    } else if (error !== null && work === works.grow) {
      // Disk full, most likely: the ring wraps at what it has.
      this.#growth.failed();
    } else {
      this.#fail(error ?? writeTimeout(this.logId, elapsed));
    }
    if (!this.#pumping) this.#wake();
  }

  #settled(work: Work, elapsed: number, bytes: number): void {
    switch (work) {
      case works.flush:
        this.#phase = phases.opening;
        return;
      case works.superblock:
        this.#superblockWritten();
        return;
      case works.grow:
        this.stats.growSlices++;
        this.#growth.sliceWritten(bytes);
        return;
      case works.pad:
        this.stats.pads++;
        this.#advance();
        return;
      case works.commit:
        this.stats.commit(this.#builder.count, this.#builder.payloadBytes, elapsed);
        if (this.#fence === null) this.#committed();
        else this.#checkFence(this.#fence);
        return;
      case works.fence:
        this.#committed();
        return;
    }
  }

  /** The commit is durable: is the log still ours? A read that begins now sees every fence that came before. */
  #checkFence(fence: FenceCheck): void {
    const number = this.#begin(works.fence, this.#clock.monotonic());
    fence.read((error) => this.#settle(number, error, 0));
  }

  #committed(): void {
    this.#advance();
    this.#report();
  }

  #advance(): void {
    this.#ring.advance(this.#sealedLength);
    this.#cut = {
      sequence: this.#cut.sequence + 1,
      position: this.#ring.tailPosition,
      chainCrc: this.#sealedCrc,
    };
  }

  #report(): void {
    const taken = this.#builder.taken;
    for (let i = 0; i < this.sources.length; i++) {
      if (taken[i]! > 0) this.sources[i]!.durable(taken[i]!, this.#cut.sequence);
    }
  }

  #superblockWritten(): void {
    this.stats.superblocks++;
    this.#superblock.written(this.#clock.monotonic());
    this.#ring.trimPosition = this.#superblock.trimmed.position;
    if (this.#phase === phases.opening && this.#superblock.bothDone) this.#phase = phases.open;
    this.#superblock.answer();
    if (this.#phase === phases.closing) {
      this.#phase = phases.closed;
      const close = this.#close!;
      this.#close = null;
      if (this.#waiting() > 0) {
        this.#error = new MillraceError('unavailable', 'WAL_CLOSED', `WAL ${this.logId} was closed`);
        for (const source of this.sources) source.failed(this.#error, false);
      }
      close.done(null);
    }
  }

  /** The epoch is over: nothing is written any more, everybody who waits is told. */
  #fail(error: Error): void {
    if (this.#phase === phases.failed) return;
    this.#phase = phases.failed;
    this.#error = error;
    const outstanding = this.#work === works.commit;
    if (outstanding) this.#givenUp = this.#workNumber;
    this.#work = works.none;
    this.#workNumber++;
    this.wakeAt = Number.POSITIVE_INFINITY;
    this.#superblock.fail(error);
    const close = this.#close;
    this.#close = null;
    close?.done(close.clean ? error : null);
    for (const source of this.sources) source.failed(error, outstanding);
  }

  #returned(): void {
    this.#givenUp = 0;
    for (const source of this.sources) source.returned();
  }
}

/**
 * One partition as one share group sees it (KIP-932): who holds which records until when, and what has become of the others.
 * It lives on the shard that owns the partition. Shard thread.
 *
 *                      ┌──── released, lock over, given back ◄────┐
 *                      ▼                                          │
 *     (fetched) ─► available ──── acquire: delivery count + 1 ─► acquired ──── accept ─► acknowledged ─┐
 *                      │                                          │ reject, gap, last delivery over    ├─► start moves past
 *                      └── control, aborted, below log start ─► archived ◄──────────────────────────────┘
 *
 * Invariants: an acknowledgement is answered when the share coordinator has it durably; only the member that holds a record may
 * decide about it, so a lock that is over counts once; what is acquired is stored nowhere, so a crash makes it available again
 * with the deliveries counted before; the start moves past finished records only, in the write that says they are.
 * A write that fails ends this life (`onEnded`): the next one begins with what the coordinator has.
 *
 * Bounds: `locksMax` records between start and newest acquired, plus one batch; one read at a time, `acquiresMax` callers wait.
 */
import type { Arena } from '../../ports/arena.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { offsetQuery, type PartitionHandle, type PartitionWatcher } from '../partition-handle.ts';
import { acquireFrom } from './share-acquire.ts';
import {
  type AcknowledgedBatch,
  type Acquired,
  type AcquiredRange,
  type AcquireLimits,
  acknowledgeTypes,
  recordStates,
  type SharePersister,
  type ShareSettings,
} from './share-api.ts';
import { isFinished, type Run, ShareWindow } from './share-window.ts';
import { ShareWrites } from './share-writes.ts';

export interface SharePartitionPorts {
  readonly arena: Arena;
  readonly clock: Clock;
  readonly log: PartitionHandle;
  readonly persister: SharePersister;
  readonly settings: () => ShareSettings;
  readonly writeTimeoutMs: number;
  /** This life is over: the next request begins another. */
  readonly onEnded: (partition: SharePartition) => void;
}

const acquiresMax = 1_000;
const readTimeoutMs = 30_000;
/** Log starts that move while they are read: more than this in one acquire is left to the next. */
const restartsMax = 3;

export const nothingAcquired: Acquired = {
  error: ErrorCode.NONE,
  ranges: [],
  from: -1,
  bytes: 0,
  version: 0,
};

function refusedAcquire(error: number): Acquired {
  return { ...nothingAcquired, error };
}

interface WaitingAcquire {
  readonly memberId: string;
  readonly limits: AcquireLimits;
  readonly done: (acquired: Acquired) => void;
}

export class SharePartition implements PartitionWatcher {
  readonly #ports: SharePartitionPorts;
  readonly #writes: ShareWrites;
  #window: ShareWindow | null = null;
  #stateEpoch = 0;
  #loadWaiters: ((error: number) => void)[] | null = [];
  #ended = false;
  #reading = false;
  readonly #acquires: WaitingAcquire[] = [];
  #timer: Timer | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  /** Grows with whatever may have made something available; other lives of the partition have other numbers. */
  #version: number;
  /** Called once when something may have become available. */
  readonly #watchers = new Set<() => void>();

  constructor(ports: SharePartitionPorts) {
    this.#ports = ports;
    this.#version = ports.clock.monotonic();
    this.#writes = new ShareWrites({
      clock: ports.clock,
      persister: ports.persister,
      writeTimeoutMs: ports.writeTimeoutMs,
      position: () => ({
        stateEpoch: this.#stateEpoch,
        leaderEpoch: ports.log.leaderEpoch,
        startOffset: this.#window!.start,
        deliveryCompleteCount: this.#window!.finishedCount(),
      }),
      window: () => this.#window!.stored(),
      failed: () => this.end(ErrorCode.NOT_LEADER_OR_FOLLOWER),
    });
    ports.log.watch(this);
    this.#load();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Nobody holds or asks for anything here: the coordinator has all that is known. */
  get quiet(): boolean {
    const held = this.#window?.runs.some(({ state }) => state === recordStates.acquired) ?? true;
    return !held && this.#writes.idle && !this.#reading && this.#acquires.length === 0;
  }

  /** Nobody waits either: it may be dropped and read again when it is wanted. */
  get idle(): boolean {
    return this.quiet && this.#watchers.size === 0;
  }

  /** For tests and descriptions. */
  get window(): ShareWindow | null {
    return this.#window;
  }

  // ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  #load(): void {
    const { persister, log } = this.#ports;
    persister.read(log.leaderEpoch, (error, state) => {
      if (this.#ended) return;
      if (error !== ErrorCode.NONE || state === null) {
        this.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
        return;
      }
      this.#stateEpoch = state.stateEpoch;
      if (state.startOffset >= 0) this.#loaded(new ShareWindow(state.startOffset, state.batches));
      else this.#begin();
    });
  }

  #loaded(window: ShareWindow): void {
    this.#window = window;
    const waiters = this.#loadWaiters ?? [];
    this.#loadWaiters = null;
    for (const done of waiters) done(ErrorCode.NONE);
  }

  /** A new share partition: where it begins is stored before anything is delivered, so that a crash does not move it. */
  #begin(): void {
    this.#resetOffset((error, offset) => {
      if (this.#ended) return;
      if (error !== ErrorCode.NONE) {
        this.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
        return;
      }
      const { persister, log } = this.#ports;
      const update = {
        stateEpoch: this.#stateEpoch,
        leaderEpoch: log.leaderEpoch,
        startOffset: offset,
        deliveryCompleteCount: 0,
        batches: [],
      };
      persister.write(update, (refused) => {
        if (this.#ended) return;
        if (refused !== ErrorCode.NONE) this.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
        else this.#loaded(new ShareWindow(offset));
      });
    });
  }

  #resetOffset(done: (error: number, offset: number) => void): void {
    const { log, clock, settings } = this.#ports;
    const { reset, committed } = settings();
    const end = committed ? log.lastStableOffset : log.highWatermark;
    if (reset.at === 'latest') done(ErrorCode.NONE, end);
    if (reset.at === 'earliest') done(ErrorCode.NONE, log.startOffset);
    if (reset.at === 'duration') {
      const since = Math.max(0, Math.floor(clock.now() - reset.durationMs));
      log.query(offsetQuery.byTime, since, (error, offset) => done(error, offset < 0 ? end : offset));
    }
  }

  /** Runs `use` when the state is there. */
  #whenLoaded(use: (window: ShareWindow) => void, refused: (error: number) => void): void {
    if (this.#ended) refused(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    else if (this.#window !== null) use(this.#window);
    else this.#loadWaiters!.push((error) => (error === 0 ? use(this.#window!) : refused(error)));
  }

  /** Ends this life: callers are answered, locks are forgotten. */
  end(error: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#ports.log.unwatch(this);
    this.#timer?.cancel();
    this.#writes.close();
    for (const done of this.#loadWaiters?.splice(0) ?? []) done(error);
    for (const { done } of this.#acquires.splice(0)) done(refusedAcquire(error));
    this.#ports.onEnded(this);
    this.#announce();
  }

  // ── Waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Calls back once, at once when it has changed already; the returned function takes the wish back. */
  watch(version: number, changed: () => void): () => void {
    if (version !== this.#version || this.#ended) changed();
    else this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  onPartitionChanged(log: PartitionHandle): void {
    if (log.live) this.#announce();
    else this.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }

  #announce(): void {
    this.#version++;
    if (this.#watchers.size === 0) return;
    const watchers = [...this.#watchers];
    this.#watchers.clear();
    for (const changed of watchers) changed();
  }

  // ── Acquiring ───────────────────────────────────────────────────────────────────────────────────────────────────

  acquire(memberId: string, limits: AcquireLimits, done: (acquired: Acquired) => void): void {
    if (this.#acquires.length >= acquiresMax) {
      done(nothingAcquired);
      return;
    }
    this.#whenLoaded(
      () => {
        this.#acquires.push({ memberId, limits, done });
        this.#pump();
      },
      (error) => done(refusedAcquire(error)),
    );
  }

  #pump(): void {
    if (this.#reading || this.#ended) return;
    const next = this.#acquires.shift();
    if (next === undefined) return;
    this.#reading = true;
    this.#read(next, restartsMax, (acquired) => {
      this.#reading = false;
      next.done(acquired);
      if (this.#acquires.length > 0) this.#ports.clock.soon(() => this.#pump());
    });
  }

  #read({ memberId, limits }: WaitingAcquire, restarts: number, done: (acquired: Acquired) => void): void {
    const window = this.#window!;
    const { log, clock, settings, arena } = this.#ports;
    const nothing = { ...nothingAcquired, version: this.#version };
    const { committed, locksMax, deliveriesMax, lockMs } = settings();
    this.#followLogStart(window);
    const available = window.firstAvailable();
    const from = available >= 0 ? available : window.next;
    const end = committed ? log.lastStableOffset : log.highWatermark;
    const full = available < 0 && window.next - window.start >= locksMax;
    if (full || from >= end || limits.recordsMax <= 0) {
      done(nothing);
      return;
    }
    const deadline = clock.monotonic() + readTimeoutMs;
    const sink = {
      onRead: (_index: number, result: Parameters<Parameters<PartitionHandle['read']>[4]['onRead']>[1]) => {
        const { error, records, aborted } = result;
        if (this.#ended) {
          records?.release();
          done(refusedAcquire(ErrorCode.NOT_LEADER_OR_FOLLOWER));
          return;
        }
        if (error === ErrorCode.OFFSET_OUT_OF_RANGE && restarts > 0) {
          this.#read({ memberId, limits, done }, restarts - 1, done);
          return;
        }
        if (error !== ErrorCode.NONE || records === null) {
          done(error === ErrorCode.NONE ? nothing : refusedAcquire(error));
          return;
        }
        if (records.byteLength < limits.bytesMin && !limits.force) {
          records.release();
          done(nothing);
          return;
        }
        const until = clock.monotonic() + lockMs;
        const acquired = acquireFrom(window, records, arena.view, {
          from,
          memberId,
          until,
          limits,
          locksMax,
          deliveriesMax,
          committed,
          aborted: aborted ?? [],
          archive: (run) => this.#archive(run),
        });
        records.release();
        window.settle();
        if (acquired.ranges.length > 0) this.#lockUntil(until);
        if (!this.#writes.idle) this.#writes.writeSoon();
        done({ ...acquired, version: nothing.version });
      },
    };
    log.read(from, Math.max(1, limits.bytesMax), true, deadline, sink, 0, committed);
  }

  /** What the log does not hold any more is nobody's. */
  #followLogStart(window: ShareWindow): void {
    const { startOffset } = this.#ports.log;
    if (startOffset <= window.start) return;
    if (startOffset > window.next) window.extend(startOffset - 1, recordStates.available, 0);
    for (const run of window.cut(window.start, startOffset - 1)) {
      if (run.state === recordStates.available) this.#archive(run);
    }
    window.settle();
    this.#writes.writeSoon();
  }

  // ── Locks ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #archive(run: Run): void {
    run.state = recordStates.archived;
    run.member = '';
    run.until = 0;
    this.#writes.note(run.first, run.last, run.state, run.count);
  }

  /** Back to whoever comes next, or given up after the last delivery. */
  #release(run: Run): void {
    if (run.count >= this.#ports.settings().deliveriesMax) {
      this.#archive(run);
      return;
    }
    run.state = recordStates.available;
    run.member = '';
    run.until = 0;
    this.#writes.note(run.first, run.last, run.state, run.count);
  }

  #lockUntil(until: number): void {
    if (until >= this.#timerAt || this.#ended) return;
    this.#timer?.cancel();
    this.#timerAt = until;
    const { clock } = this.#ports;
    this.#timer = clock.after(Math.max(0, until - clock.monotonic()), () => this.#expire());
  }

  #expire(): void {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#ports.clock.monotonic();
    let earliest = Number.POSITIVE_INFINITY;
    let expired = false;
    for (const run of this.#window!.runs) {
      if (run.state !== recordStates.acquired) continue;
      if (run.until > now) earliest = Math.min(earliest, run.until);
      else {
        this.#release(run);
        expired = true;
      }
    }
    if (expired) this.#settled();
    if (earliest < Number.POSITIVE_INFINITY) this.#lockUntil(earliest);
  }

  /** States changed: joined, written, and told to who waits. */
  #settled(): void {
    this.#window!.settle();
    this.#writes.writeSoon();
    this.#announce();
  }

  // ── Acknowledging ───────────────────────────────────────────────────────────────────────────────────────────────

  /** All batches or none: `done` gets 0 when they are durable. */
  acknowledge(memberId: string, batches: readonly AcknowledgedBatch[], done: (error: number) => void): void {
    this.#whenLoaded((window) => {
      const problem = this.#problem(window, memberId, batches);
      if (problem !== ErrorCode.NONE) {
        done(problem);
        return;
      }
      for (const batch of batches) this.#apply(window, batch);
      this.#settled();
      this.#writes.durable(done);
    }, done);
  }

  /** Every offset is the member's, or lies before the window's start: finished long ago, or never there. */
  #problem(window: ShareWindow, memberId: string, batches: readonly AcknowledgedBatch[]): number {
    let behind = Number.NEGATIVE_INFINITY;
    for (const { firstOffset, lastOffset, types } of batches) {
      const counted = types.length === 1 || types.length === lastOffset - firstOffset + 1;
      if (firstOffset > lastOffset || firstOffset <= behind || !counted) return ErrorCode.INVALID_REQUEST;
      if (types.some((type) => type < acknowledgeTypes.gap || type > acknowledgeTypes.renew))
        return ErrorCode.INVALID_REQUEST;
      behind = lastOffset;
      if (lastOffset >= window.next) return ErrorCode.INVALID_REQUEST;
      for (let i = window.find(Math.max(firstOffset, window.start)); i < window.runs.length; i++) {
        const run = window.runs[i]!;
        if (run.first > lastOffset) break;
        if (run.state !== recordStates.acquired || run.member !== memberId)
          return ErrorCode.INVALID_RECORD_STATE;
      }
    }
    return ErrorCode.NONE;
  }

  #apply(window: ShareWindow, { firstOffset, lastOffset, types }: AcknowledgedBatch): void {
    if (types.length === 1) {
      this.#applyType(window, firstOffset, lastOffset, types[0]!);
      return;
    }
    for (let from = 0; from < types.length; ) {
      let to = from + 1;
      while (to < types.length && types[to] === types[from]) to++;
      this.#applyType(window, firstOffset + from, firstOffset + to - 1, types[from]!);
      from = to;
    }
  }

  #applyType(window: ShareWindow, first: number, last: number, type: number): void {
    if (last < window.start) return;
    const { clock, settings } = this.#ports;
    for (const run of window.cut(Math.max(first, window.start), last)) {
      switch (type) {
        case acknowledgeTypes.accept:
          run.state = recordStates.acknowledged;
          run.member = '';
          run.until = 0;
          this.#writes.note(run.first, run.last, run.state, run.count);
          break;
        case acknowledgeTypes.release:
          this.#release(run);
          break;
        case acknowledgeTypes.renew:
          run.until = clock.monotonic() + settings().lockMs;
          this.#lockUntil(run.until);
          break;
        default:
          this.#archive(run);
      }
    }
  }

  /** Acquired and never sent: the delivery does not count, and nothing of it was stored. */
  giveBack(memberId: string, ranges: readonly AcquiredRange[]): void {
    this.#whenLoaded((window) => {
      let changed = false;
      for (const { firstOffset, lastOffset } of ranges) {
        for (const run of window.cut(firstOffset, lastOffset)) {
          if (run.state !== recordStates.acquired || run.member !== memberId) continue;
          undeliver(run);
          changed = true;
        }
      }
      window.settle();
      if (changed) this.#announce();
    }, ignore);
  }

  /**
   * All that the member holds is available again. It counts as delivered, however the session has ended, so that a record which
   * makes consumers fail runs out of deliveries.
   */
  release(memberId: string, done: () => void): void {
    this.#whenLoaded((window) => {
      let changed = false;
      for (const run of window.runs) {
        if (run.state !== recordStates.acquired || run.member !== memberId) continue;
        this.#release(run);
        changed = true;
      }
      if (changed) this.#settled();
      done();
    }, done);
  }

  /** Records of the window that are not finished, for the metrics and descriptions. */
  get unfinished(): number {
    let count = 0;
    for (const { first, last, state } of this.#window?.runs ?? [])
      if (!isFinished(state)) count += last - first + 1;
    return count;
  }
}

/** Nothing of an acquisition is stored, so neither is its end. */
function undeliver(run: Run): void {
  run.state = recordStates.available;
  run.count--;
  run.member = '';
  run.until = 0;
}

function ignore(): void {}

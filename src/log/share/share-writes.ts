/**
 * Brings the changes of one share partition to the share coordinator: one write under way, what comes meanwhile goes with the
 * next. Whoever asks with `durable` is answered when everything noted before is durable. Shard thread.
 *
 *     note, note, durable(a) ─► write 1 ─┬─ done ─► a;  write 2 with what was noted meanwhile
 *                                        ├─ try again (coordinator moves or loads), up to `writeTimeoutMs`
 *                                        └─ failed: the share partition's life ends; it is read again from the coordinator
 *
 * Bounds: `changesMax` noted changes, beyond which the whole window is written instead, and one waiter per acknowledgement.
 */
import type { Clock } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { SharePersister, ShareStateBatch, ShareStateUpdate } from './share-api.ts';

const changesMax = 1_000;
const retryMs = 50;

export interface ShareWritesHost {
  readonly clock: Clock;
  readonly persister: SharePersister;
  /** `share.coordinator.write.timeout.ms`. */
  readonly writeTimeoutMs: number;
  /** Everything of an update but its batches, as of now. */
  position(): Omit<ShareStateUpdate, 'batches'>;
  /** The whole window. */
  window(): readonly ShareStateBatch[];
  failed(error: number): void;
}

const retried: ReadonlySet<number> = new Set([
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
]);

export class ShareWrites {
  readonly #host: ShareWritesHost;
  #changes: ShareStateBatch[] = [];
  #whole = false;
  #waiters: ((error: number) => void)[] = [];
  #writing = false;
  #queued = false;
  #closed = false;

  constructor(host: ShareWritesHost) {
    this.#host = host;
  }

  /** Nothing is on its way or noted. */
  get idle(): boolean {
    return !this.#writing && this.#changes.length === 0 && !this.#whole && this.#waiters.length === 0;
  }

  /** Changes are written in the order noted: of an offset the last one counts. */
  note(firstOffset: number, lastOffset: number, deliveryState: number, deliveryCount: number): void {
    if (this.#whole) return;
    const before = this.#changes[this.#changes.length - 1];
    const joins =
      before !== undefined &&
      before.lastOffset + 1 === firstOffset &&
      before.deliveryState === deliveryState &&
      before.deliveryCount === deliveryCount;
    if (joins) this.#changes[this.#changes.length - 1] = { ...before, lastOffset };
    else this.#changes.push({ firstOffset, lastOffset, deliveryState, deliveryCount });
    if (this.#changes.length <= changesMax) return;
    this.#whole = true;
    this.#changes = [];
  }

  /** Writes in a later turn, together with what else this one brings. */
  writeSoon(): void {
    if (this.#queued || this.#closed) return;
    this.#queued = true;
    this.#host.clock.soon(() => {
      this.#queued = false;
      this.#pump();
    });
  }

  /** Calls back when all that is noted by now is durable: at once when nothing is under way. */
  durable(done: (error: number) => void): void {
    if (this.#closed) {
      done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
      return;
    }
    if (this.idle) {
      done(ErrorCode.NONE);
      return;
    }
    this.#waiters.push(done);
    this.writeSoon();
  }

  #pump(): void {
    if (this.#writing || this.#closed || this.idle) return;
    const waiters = this.#waiters;
    if (this.#changes.length === 0 && !this.#whole) {
      this.#waiters = [];
      for (const done of waiters) done(ErrorCode.NONE);
      return;
    }
    const batches = this.#whole ? this.#host.window() : this.#changes;
    const update = { ...this.#host.position(), batches };
    this.#waiters = [];
    this.#changes = [];
    this.#whole = false;
    this.#writing = true;
    this.#write(update, waiters, this.#host.clock.monotonic() + this.#host.writeTimeoutMs);
  }

  #write(update: ShareStateUpdate, waiters: ((error: number) => void)[], deadline: number): void {
    const { clock, persister } = this.#host;
    persister.write(update, (error) => {
      if (this.#closed) {
        for (const done of waiters) done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
        return;
      }
      if (retried.has(error) && clock.monotonic() < deadline) {
        clock.after(retryMs, () => this.#write(update, waiters, deadline));
        return;
      }
      if (error !== ErrorCode.NONE) {
        this.#waiters.unshift(...waiters);
        this.#host.failed(error);
        return;
      }
      this.#writing = false;
      for (const done of waiters) done(ErrorCode.NONE);
      this.#pump();
    });
  }

  /** Answers who waits; a write under way is answered by nobody any more but its waiters. */
  close(): void {
    this.#closed = true;
    for (const done of this.#waiters.splice(0)) done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
  }
}

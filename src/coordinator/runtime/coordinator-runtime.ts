/**
 * The coordinators of one internal topic on one shard: which partitions it leads, their loading, reloading and unloading,
 * and the timer of expiry. Whatever a coordinator coordinates is a CoordinatorState (coordinator-state.ts), one per
 * partition; requests find it with `at(partition)`. Owned by the shard; single-threaded.
 *
 *     (not owned) ── load ──► loading ──► active ── append failed ──► (closed) ── all appends settled ──► loading
 *      NOT_COORDINATOR         LOAD_IN_PROGRESS        answers: NOT_COORDINATOR       LOAD_IN_PROGRESS
 *
 * Two ways lead to a state. What answers only with an append of its own durable asks `at`: the fence of the WAL judges that answer.
 * What answers from memory asks `readable`, which asks for the lease as well (decision 0089).
 *
 * To add a coordinator: write a CoordinatorState, make a runtime over it in src/shard/shard-coordinators.ts, and let the
 * request's handler state its `route` (src/requests/routing.ts), which brings it to the shard that owns the partition.
 *
 * Invariants: a partition is never read while appends of an earlier life are under way, so no record can become durable
 * behind the replay's end; a partition is unloaded before its log is closed; a load that fails is tried again every
 * `reloadDelayMs` while the partition is owned.
 */
import type { Timer } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { EndMarker } from './coordinator-log.ts';
import { CoordinatorPartition, type RuntimePorts } from './coordinator-partition.ts';
import type { CoordinatorState, PartitionContext } from './coordinator-state.ts';

/** What a shard tells the coordinators of any topic. */
export interface PartitionHost {
  /** Starts to lead a partition; resolves when it serves, or when it was unloaded before that. */
  load(partition: number): Promise<void>;
  /** Stops to lead a partition; parked calls are answered before this returns. */
  unload(partition: number): void;
  topicDeleted(topicId: string, name: string): void;
  /** Appends a transaction's marker to a partition, and lets its state know; `done` gets a wire error, 0 = durable. */
  endTransaction(partition: number, marker: EndMarker, done: (errorCode: number) => void): void;
  close(): void;
}

interface OwnedPartition<S extends CoordinatorState> {
  life: CoordinatorPartition<S>;
  /** Called at the first time the partition is active, or given up. */
  waiters: (() => void)[];
  retry: Timer | null;
}

export class CoordinatorRuntime<S extends CoordinatorState> implements PartitionHost {
  readonly #ports: RuntimePorts;
  readonly #create: (context: PartitionContext) => S;
  readonly #owned = new Map<number, OwnedPartition<S>>();
  /** Appends under way per partition, over all lives of it. */
  readonly #underWay = new Map<number, number>();
  readonly #replaying = new WeakSet<CoordinatorPartition<S>>();
  #expiryTimer: Timer | null = null;
  #closed = false;

  constructor(ports: RuntimePorts, create: (context: PartitionContext) => S) {
    this.#ports = this.#counting(ports);
    this.#create = create;
    this.#scheduleExpiry();
  }

  load(partition: number): Promise<void> {
    if (this.#closed) return Promise.resolve();
    let owned = this.#owned.get(partition);
    if (owned === undefined) {
      owned = { life: this.#newLife(partition, false), waiters: [], retry: null };
      this.#owned.set(partition, owned);
      this.#tryReplay(partition);
    }
    if (owned.life.loaded) return Promise.resolve();
    const { waiters } = owned;
    return new Promise((resolve) => waiters.push(resolve));
  }

  unload(partition: number): void {
    const owned = this.#owned.get(partition);
    if (owned === undefined) return;
    this.#owned.delete(partition);
    owned.retry?.cancel();
    owned.life.close();
    for (const resolve of owned.waiters.splice(0)) resolve();
  }

  topicDeleted(topicId: string, name: string): void {
    for (const { life } of [...this.#owned.values()]) life.topicDeleted(topicId, name);
  }

  endTransaction(partition: number, marker: EndMarker, done: (errorCode: number) => void): void {
    const life = this.#owned.get(partition)?.life;
    if (life === undefined) done(ErrorCode.NOT_COORDINATOR);
    else life.endTransaction(marker, done);
  }

  close(): void {
    this.#closed = true;
    this.#expiryTimer?.cancel();
    for (const partition of [...this.#owned.keys()]) this.unload(partition);
  }

  /** The state of a partition, or the wire error that says why not here and now. */
  at(partition: number): S | number {
    const owned = this.#owned.get(partition);
    if (owned === undefined) return ErrorCode.NOT_COORDINATOR;
    return owned.life.loaded ? owned.life.state : ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
  }

  /**
   * The same, for an answer that no append proves: what memory says is news only while nobody else can have the partition.
   * NOT_COORDINATOR where another may coordinate it by now.
   */
  readable(partition: number): S | number {
    return this.#leased ? this.at(partition) : ErrorCode.NOT_COORDINATOR;
  }

  get #leased(): boolean {
    return this.#ports.leased?.() ?? true;
  }

  /** All states of this shard; LOAD_IN_PROGRESS while one is on its way, NOT_AVAILABLE where others may have them by now. */
  all(): readonly S[] | number {
    if (!this.#leased) return ErrorCode.COORDINATOR_NOT_AVAILABLE;
    const states: S[] = [];
    for (const { life } of this.#owned.values()) {
      if (!life.loaded) return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
      states.push(life.state);
    }
    return states;
  }

  #counting(ports: RuntimePorts): RuntimePorts {
    const { log } = ports;
    const began = (partition: number, refused: number): number => {
      if (refused === ErrorCode.NONE) {
        this.#underWay.set(partition, (this.#underWay.get(partition) ?? 0) + 1);
      }
      return refused;
    };
    return {
      ...ports,
      log: {
        append: (partition, records, producer, settled) =>
          began(partition, log.append(partition, records, producer, settled)),
        appendMarker: (partition, marker, settled) =>
          began(partition, log.appendMarker(partition, marker, settled)),
        load: (partition, sink) => log.load(partition, sink),
        trim: (partition, offset) => log.trim(partition, offset),
      },
    };
  }

  #newLife(partition: number, afterFailure: boolean): CoordinatorPartition<S> {
    const life: CoordinatorPartition<S> = new CoordinatorPartition<S>(
      partition,
      this.#ports,
      this.#create,
      (error) => this.#reload(partition, life, error),
      () => this.#settled(partition),
      afterFailure,
    );
    return life;
  }

  #settled(partition: number): void {
    const count = (this.#underWay.get(partition) ?? 0) - 1;
    if (count > 0) {
      this.#underWay.set(partition, count);
      return;
    }
    this.#underWay.delete(partition);
    this.#tryReplay(partition);
  }

  /** An append failed: what memory holds may never be in the log. */
  #reload(partition: number, life: CoordinatorPartition<S>, error: Error): void {
    const owned = this.#owned.get(partition);
    if (owned === undefined || owned.life !== life) return;
    this.#ports.logger.error(
      'nobody knows the fate of an append to a coordinator’s log: it is loaded again',
      {
        topic: this.#ports.topic,
        partition,
        error: error.message,
      },
    );
    owned.life = this.#newLife(partition, true);
    life.close();
    this.#tryReplay(partition);
  }

  #tryReplay(partition: number): void {
    const owned = this.#owned.get(partition);
    if (owned === undefined || owned.retry !== null || this.#underWay.has(partition)) return;
    const { life } = owned;
    if (life.loaded || this.#replaying.has(life)) return;
    this.#replaying.add(life);
    life.replay().then(
      () => {
        if (!life.closed) for (const resolve of owned.waiters.splice(0)) resolve();
      },
      (error: unknown) => {
        if (life.closed) return;
        this.#ports.logger.error('a coordinator’s log could not be loaded, it will be tried again', {
          topic: this.#ports.topic,
          partition,
          error: error instanceof Error ? error.message : String(error),
        });
        owned.life = this.#newLife(partition, life.afterFailure);
        life.close();
        owned.retry = this.#ports.clock.after(this.#ports.settings.reloadDelayMs, () => {
          owned.retry = null;
          this.#tryReplay(partition);
        });
      },
    );
  }

  #scheduleExpiry(): void {
    const { clock, settings } = this.#ports;
    this.#expiryTimer = clock.after(settings.expireIntervalMs, () => {
      for (const { life } of [...this.#owned.values()]) if (life.loaded) life.state.expire();
      this.#scheduleExpiry();
    });
  }
}

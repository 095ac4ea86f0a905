/**
 * One life of one partition of an internal topic: from load to unload, or to an append whose fate is unknown. It holds the
 * state, what is on its way to the log, and the snapshots that bound a load. Shard thread; made by CoordinatorRuntime.
 *
 *     loading ── at the durable end ──► active ── unload, or a failed append ──► closed: late callbacks do nothing
 *
 *     #pending   | oldest … newest |   appended, not durable; settled in this order, 2 × pendingBytesMax at worst
 *
 * Invariants: a `done` or an outcome is called once; nothing is answered before the records it saw are durable; records
 * that cannot be read, and those of other kinds, never keep a partition from loading.
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { CoordinatorLoad, type LoadTarget } from './coordinator-load.ts';
import type {
  CoordinatorLog,
  CoordinatorRecord,
  EndMarker,
  Settled,
  TransactionalProducer,
} from './coordinator-log.ts';
import type { AppendOutcome, CoordinatorState, PartitionContext } from './coordinator-state.ts';
import { keyText, LogSnapshot, type SnapshotHost } from './log-snapshot.ts';

export interface RuntimeSettings {
  /** Appended, not yet durable bytes of one partition; beyond it `hasRoom` says no. */
  readonly pendingBytesMax: number;
  /** Records of one partition from which a snapshot of the live ones may shorten its log. */
  readonly snapshotRecordsMin: number;
  /** Pause before a load that failed is tried again. */
  readonly reloadDelayMs: number;
  /** Time between two calls of `expire`. */
  readonly expireIntervalMs: number;
}

export interface RuntimePorts {
  /** Internal topic, for the log lines. */
  readonly topic: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly log: CoordinatorLog;
  readonly settings: RuntimeSettings;
  /** Whether nobody else can have taken this broker's partitions over by now; absent: there is nobody else. */
  readonly leased?: () => boolean;
}

interface PendingAppend {
  readonly records: readonly CoordinatorRecord[];
  readonly bytes: number;
  readonly producer: TransactionalProducer | null;
  readonly marker: EndMarker | null;
  readonly outcome: AppendOutcome;
  /** Answers that have seen these records. */
  readers: ((errorCode: number) => void)[] | null;
}

/** Records of unknown kinds that are carried along; a log that holds more keeps its start. */
const foreignBytesMax = 256 * 1024;

export class CoordinatorPartition<S extends CoordinatorState>
  implements PartitionContext, SnapshotHost, LoadTarget
{
  readonly partition: number;
  /** The life before ended with an append that failed. */
  readonly afterFailure: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly state: S;
  loaded = false;
  closed = false;
  readonly #ports: RuntimePorts;
  readonly #snapshot: LogSnapshot;
  readonly #pending: PendingAppend[] = [];
  #pendingBytes = 0;
  #markersPending = 0;
  #transactionalPending = 0;
  /** Offset of a batch, or a record, below which everything is durable. */
  #durableOffset = 0;
  /** Offset of the first record of each open transaction, by producer id. */
  readonly #transactions = new Map<number, number>();
  /** Newest record of each key of an unknown kind. */
  readonly #foreign = new Map<string, CoordinatorRecord>();
  #foreignBytes = 0;
  /** Topics deleted while this was loading. */
  readonly #deletedMeanwhile: { readonly topicId: string; readonly name: string }[] = [];
  readonly #onFailure: (error: Error) => void;
  readonly #onSettled: () => void;

  /**
   * @param onFailure runs once an append failed: memory and log may differ now, only a new load makes them agree.
   * @param onSettled runs after each callback of the log, also late ones.
   */
  constructor(
    partition: number,
    ports: RuntimePorts,
    create: (context: PartitionContext) => S,
    onFailure: (error: Error) => void,
    onSettled: () => void,
    afterFailure: boolean,
  ) {
    this.partition = partition;
    this.afterFailure = afterFailure;
    this.clock = ports.clock;
    this.random = ports.random;
    this.logger = ports.logger;
    this.#ports = ports;
    this.#onFailure = onFailure;
    this.#onSettled = onSettled;
    this.#snapshot = new LogSnapshot(this, ports.settings.snapshotRecordsMin);
    this.state = create(this);
  }

  // ── What a state may do ─────────────────────────────────────────────────────────────────────────────────────────

  hasRoom(): boolean {
    return this.#pendingBytes < this.#ports.settings.pendingBytesMax;
  }

  append(
    records: readonly CoordinatorRecord[],
    outcome: AppendOutcome,
    producer: TransactionalProducer | null = null,
  ): number {
    return this.#take(records, producer, null, outcome, (settled) =>
      this.#ports.log.append(this.partition, records, producer, settled),
    );
  }

  write(
    records: readonly CoordinatorRecord[],
    done: (errorCode: number) => void,
    producer: TransactionalProducer | null = null,
  ): void {
    if (records.length === 0) {
      this.read(done);
      return;
    }
    const refused = this.append(records, answering(done), producer);
    if (refused !== ErrorCode.NONE) {
      done(refused);
      return;
    }
    if (producer !== null) return;
    // Where the records lie is told when they are durable.
    for (const { key, value } of records) this.state.replay(key, value, -1, null);
  }

  read(done: (errorCode: number) => void): void {
    const newest = this.#pending[this.#pending.length - 1];
    if (this.closed) done(ErrorCode.NOT_COORDINATOR);
    else if (newest === undefined) done(ErrorCode.NONE);
    else if (newest.readers === null) newest.readers = [done];
    else newest.readers.push(done);
  }

  endTransaction(marker: EndMarker, done: (errorCode: number) => void): void {
    const refused = this.#take([], null, marker, answering(done), (settled) =>
      this.#ports.log.appendMarker(this.partition, marker, settled),
    );
    if (refused !== ErrorCode.NONE) done(refused);
  }

  #take(
    records: readonly CoordinatorRecord[],
    producer: TransactionalProducer | null,
    marker: EndMarker | null,
    outcome: AppendOutcome,
    appendTo: (settled: Settled) => number,
  ): number {
    if (this.closed) return ErrorCode.NOT_COORDINATOR;
    if (!this.loaded) return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    let bytes = 0;
    for (const { key, value } of records) bytes += key.length + (value?.length ?? 0);
    const append: PendingAppend = { records, bytes, producer, marker, outcome, readers: null };
    const refused = appendTo((error, baseOffset) => {
      if (!this.closed) this.#settle(append, error, baseOffset);
      this.#onSettled();
    });
    if (refused !== ErrorCode.NONE) return coordinatorError(refused);
    this.#pending.push(append);
    this.#pendingBytes += bytes;
    if (marker !== null) this.#markersPending++;
    if (producer !== null) this.#transactionalPending++;
    this.#snapshot.appended(marker === null ? records.length : 1);
    return ErrorCode.NONE;
  }

  #settle(append: PendingAppend, error: Error | null, baseOffset: number): void {
    if (error !== null) {
      this.#onFailure(error);
      return;
    }
    if (this.#pending[0] !== append) {
      throw new MillraceError(
        'internal',
        'COORDINATOR_LOG_ORDER',
        `the log of ${this.#ports.topic} settled appends out of order`,
      );
    }
    this.#pending.shift();
    this.#pendingBytes -= append.bytes;
    this.#durableOffset = baseOffset;
    const { records, producer, marker } = append;
    if (producer !== null) {
      this.#transactionalPending--;
      this.#began(producer, baseOffset);
      for (const [i, { key, value }] of records.entries())
        this.state.replay(key, value, baseOffset + i, producer);
    }
    if (marker !== null) {
      this.#markersPending--;
      this.#transactions.delete(marker.producerId);
      this.state.endTransaction(marker);
    }
    append.outcome.durable(baseOffset);
    for (const done of append.readers ?? []) done(ErrorCode.NONE);
    if (marker !== null && !this.closed) this.#snapshot.markerSettled();
  }

  #began({ producerId }: TransactionalProducer, offset: number): void {
    if (!this.#transactions.has(producerId)) this.#transactions.set(producerId, offset);
  }

  // ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads the partition into the fresh state; resolves when it is at the durable end, also after a close. */
  async replay(): Promise<void> {
    const load = new CoordinatorLoad(this);
    await this.#ports.log.load(this.partition, load);
    if (this.closed) return;
    this.loaded = true;
    const { topic, logger } = this.#ports;
    const pinned = this.#foreignBytes > foreignBytesMax;
    if (load.skipped > 0) {
      logger.warn('records of a coordinator’s topic are none of a coordinator: they are left out', {
        topic,
        partition: this.partition,
        records: load.skipped,
        first: load.firstSkipped,
        reason: load.whySkipped,
      });
    }
    if (pinned) {
      logger.warn(
        'a coordinator’s log holds too much of kinds that this broker does not know: it is not shortened',
        {
          topic,
          partition: this.partition,
          bytes: this.#foreignBytes,
        },
      );
    }
    this.state.started();
    for (const { topicId, name } of this.#deletedMeanwhile.splice(0))
      this.state.topicDeleted?.(topicId, name);
    if (this.closed) return;
    this.#snapshot.loaded(load.records, pinned, this.afterFailure);
    logger.debug('a coordinator is loaded', {
      topic,
      partition: this.partition,
      records: load.records,
      foreign: this.#foreign.size,
      misplaced: load.misplaced,
    });
  }

  replayedForeign(key: Buffer, value: Buffer | null): void {
    const text = keyText(key);
    const before = this.#foreign.get(text);
    if (before !== undefined) this.#foreignBytes -= before.key.length + before.value!.length;
    this.#foreign.delete(text);
    if (value === null) return;
    this.#foreignBytes += key.length + value.length;
    this.#foreign.set(text, { key: Buffer.from(key), value: Buffer.from(value) });
  }

  replayedAt(offset: number): void {
    this.#durableOffset = offset;
  }

  replayedTransactional(producer: TransactionalProducer, offset: number): void {
    this.#began(producer, offset);
  }

  replayedMarker(marker: EndMarker): void {
    this.#transactions.delete(marker.producerId);
    this.state.endTransaction(marker);
  }

  topicDeleted(topicId: string, name: string): void {
    if (this.loaded) this.state.topicDeleted?.(topicId, name);
    else this.#deletedMeanwhile.push({ topicId, name });
  }

  // ── Snapshots ───────────────────────────────────────────────────────────────────────────────────────────────────

  *liveRecords(): Generator<CoordinatorRecord, void, undefined> {
    const live = this.state.liveRecords();
    for (let next = live.next(); next.done !== true; next = live.next()) yield next.value;
    yield* this.#foreign.values();
  }

  *pendingRecords(): Generator<CoordinatorRecord, void, undefined> {
    for (const { records, producer } of this.#pending) if (producer === null) yield* records;
  }

  appendLive(records: readonly CoordinatorRecord[], durable: (baseOffset: number) => void): boolean {
    return this.append(records, { durable, lost: () => {} }) === ErrorCode.NONE;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get markerPending(): boolean {
    return this.#markersPending > 0;
  }

  transactionFloor(): number {
    let first = this.#transactionalPending > 0 ? this.#durableOffset : Number.POSITIVE_INFINITY;
    for (const began of this.#transactions.values()) first = Math.min(first, began);
    return first;
  }

  trim(offset: number): void {
    this.#ports.log.trim(this.partition, offset);
  }

  soon(run: () => void): void {
    this.clock.soon(run);
  }

  /** Ends this life: parked calls and calls waiting for durability are answered NOT_COORDINATOR. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.state.close();
    for (const { outcome, readers } of this.#pending.splice(0)) {
      outcome.lost();
      for (const done of readers ?? []) done(ErrorCode.NOT_COORDINATOR);
    }
    this.#pendingBytes = 0;
  }
}

function answering(done: (errorCode: number) => void): AppendOutcome {
  return { durable: () => done(ErrorCode.NONE), lost: () => done(ErrorCode.NOT_COORDINATOR) };
}

/** What a client of a coordinator is told when the log refuses: as Kafka translates it. */
function coordinatorError(refused: number): number {
  switch (refused) {
    case ErrorCode.NOT_LEADER_OR_FOLLOWER:
    case ErrorCode.KAFKA_STORAGE_ERROR:
      return ErrorCode.NOT_COORDINATOR;
    case ErrorCode.MESSAGE_TOO_LARGE:
    case ErrorCode.RECORD_LIST_TOO_LARGE:
    case ErrorCode.INVALID_PRODUCER_EPOCH:
      return refused;
    default:
      return ErrorCode.COORDINATOR_NOT_AVAILABLE;
  }
}

/**
 * Fetch (key 1), versions 4–18, for consumers: sessions (KIP-227), long poll, min/max bytes (KIP-74), epoch checks
 * (KIP-320), topic ids (KIP-516), hints who leads (KIP-951, v16). Answers carry arena ranges; no record byte is copied here. read_committed (KIP-98): up to the
 * last stable offset, with the aborted transactions in what is returned; such a fetch parks at that offset.
 *
 *   start ─► pass: read the ready partitions ─► enough bytes, an error, time up, or waited for ─► answer
 *              ▲  ▲                 │ room left      │ no
 *              │  └── those left ◄──┘                │
 *              └── a partition changed ◄─── parked ◄─┘ ─► connection closed: everything is let go
 *
 * A read of another shard's partition reserves what it may bring until it is answered, so a pass may leave partitions
 * for the next one; those that are still left when the answer goes out come first in the session's next fetch.
 *
 * A reader that names its rack is sent to a broker there for what objects hold (KIP-392, support/read-replicas.ts); such a broker
 * reads it for it though it does not lead.
 *
 * Omitted: followers (ReplicaId ≥ 0 reads like a consumer).
 */
import {
  offsetQuery,
  type PartitionHandle,
  type ReadCaller,
  type ReadResult,
  type ReadSink,
} from '../log/partition-handle.ts';
import type { TopicImage } from '../metadata/metadata-store.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  FetchCodec,
  type FetchRequest,
  type FetchResponseInput,
  type FetchResponsePartitionDataInput,
} from '../protocol/generated/fetch.ts';
import { type BrokerAddress, ClusterView, type ListenerView } from './support/cluster-view.ts';
import {
  FetchSession,
  type FetchSessionCache,
  type SessionPartition,
  takeRequest,
} from './support/fetch-session.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';
import { type CurrentLeader, isMisdirected, LeaderHints } from './support/leader-hints.ts';
import { type ReaderZone, type ReadReplicas, zoneOf } from './support/read-replicas.ts';
import { failed, withoutRecords } from './support/read-results.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface FetchDeps {
  readonly topics: TopicDirectory;
  readonly sessions: FetchSessionCache;
  readonly clock: Clock;
  /** `fetch.max.bytes` of the broker (55 MiB in Kafka). */
  readonly fetchBytesMax: number;
  readonly endpoint: (listener: string) => BrokerAddress;
  readonly replicas: ReadReplicas;
  readonly observe: { fetched(bytes: number, zone: ReaderZone): void };
}

const readCommitted = 1;
/** KIP-951. */
const hintsVersion = 16;
const waitMsMax = 60_000;
/** Waits at least so long end at common times. */
const waitMsShared = 200;
const waitStepMs = 8;
/** Cold data may take this long even when the client's own wait is shorter (Kafka: remote.fetch.max.wait.ms). */
const coldWaitMsMin = 500;
/** An answer less than half full takes in what is left for this long, whatever the client's own wait. */
const fillMs = 20;

interface Outcome {
  readonly partition: SessionPartition;
  result: ReadResult;
  diverging: { epoch: number; endOffset: number } | null;
  /** Broker to read from instead; −1 = none. */
  replica: number;
}

class FetchCall implements ReadSink {
  private readonly deps: FetchDeps;
  private readonly cluster: ClusterView;
  private readonly hints: LeaderHints;
  private readonly context: RequestContext;
  private readonly request: FetchRequest;
  private readonly session: FetchSession;
  /** Whether every partition is answered (full fetch) or only those with news. */
  private readonly full: boolean;
  private readonly respond: (response: FetchResponseInput | null) => void;
  private readonly outcomes = new Map<SessionPartition, Outcome>();
  private reading: SessionPartition[] = [];
  private pending = 0;
  private passing = false;
  private bytes = 0;
  private reserved = 0;
  private urgent = false;
  private hurried = false;
  /** Ready, but what others had reserved left no room. */
  private left: SessionPartition[] = [];
  private readonly budget: number;
  /** read_committed: up to the last stable offset, with the aborted transactions in it. */
  private readonly committed: boolean;
  private readonly deadline: number;
  private readonly fillUntil: number;
  private timer: Timer | null = null;
  private done = false;
  private coldCaller: ReadCaller | null = null;

  constructor(
    deps: FetchDeps,
    cluster: ClusterView,
    context: RequestContext,
    request: FetchRequest,
    session: FetchSession,
    full: boolean,
    respond: (response: FetchResponseInput | null) => void,
  ) {
    this.deps = deps;
    this.cluster = cluster;
    this.hints = new LeaderHints(cluster, context.listener);
    this.context = context;
    this.request = request;
    this.session = session;
    this.full = full;
    this.respond = respond;
    const now = deps.clock.monotonic();
    this.deadline = waitEnd(now, Math.min(Math.max(0, request.maxWaitMs), waitMsMax));
    this.fillUntil = Math.max(this.deadline, now + fillMs);
    this.committed = request.isolationLevel === readCommitted;
    this.budget = Math.min(request.maxBytes, deps.fetchBytesMax);
    session.busy = true;
  }

  start(): void {
    // Nothing to wait for: the fetch that ends a session.
    if (this.session.partitions.size === 0) this.urgent = true;
    this.pass();
    if (this.done) return;
    this.session.hurry = () => this.hurry();
    this.context.whileParked((gone) => {
      if (gone) this.abandon();
      else this.hurry();
    });
  }

  /** Somebody waits for the answer: what is being read still comes with it. */
  private hurry(): void {
    this.urgent = true;
    this.hurried = true;
    this.settle();
  }

  /** Nobody reads the answer. Reads under way are released as they come. */
  private abandon(): void {
    if (this.done) return;
    this.finish();
    for (const { partition, result } of this.outcomes.values()) {
      result.records?.release();
      this.session.markReady(partition);
    }
    for (const partition of this.reading) this.session.markReady(partition);
    for (const partition of this.left) this.session.markReady(partition);
    if (this.session.id === 0) this.session.close();
  }

  private finish(): void {
    this.done = true;
    this.timer?.cancel();
    this.session.onReady = null;
    this.session.hurry = null;
    this.session.busy = false;
  }

  /** Reads every ready partition within what is left of the byte budget. */
  private pass(): void {
    if (this.passing || this.done) return;
    this.passing = true;
    const { budget } = this;
    const ready = this.left.concat(this.session.takeReady());
    this.left = [];
    const readBy = Math.max(this.deadline, this.deps.clock.monotonic() + coldWaitMsMin);
    for (const partition of ready) {
      const left = budget - this.bytes - this.reserved;
      // What is reserved may come free again: a smaller share would only bring less than there is room for.
      const share = this.reserved > 0 ? Math.max(1, Math.min(partition.maxBytes, budget)) : 1;
      if (left < share && this.bytes + this.reserved > 0) {
        this.left.push(partition);
        continue;
      }
      this.read(partition, left, readBy);
    }
    this.passing = false;
    this.settle();
  }

  private read(partition: SessionPartition, left: number, readBy: number): void {
    this.discard(partition);
    const handle = this.handleOf(partition);
    if (typeof handle === 'number') {
      this.settleOne(partition, failed(handle));
      return;
    }
    const epoch = partition.currentLeaderEpoch;
    if (epoch >= 0 && epoch !== handle.leaderEpoch) {
      this.settleOne(
        partition,
        failed(epoch < handle.leaderEpoch ? ErrorCode.FENCED_LEADER_EPOCH : ErrorCode.UNKNOWN_LEADER_EPOCH),
      );
      return;
    }
    const replica = this.replicaFor(partition);
    if (replica >= 0) {
      this.settleOne(partition, withoutRecords(handle), null, replica);
      return;
    }
    const index = this.reading.push(partition) - 1;
    this.pending++;
    const limit = Math.max(0, Math.min(partition.maxBytes, left));
    const atLeastOne = this.bytes + this.reserved === 0;
    const reserve = limit;
    this.reserved += reserve;
    this.reserves[index] = reserve;
    // Within the epoch in force histories can part only at the end of the log.
    const { fetchOffset, lastFetchedEpoch } = partition;
    if (
      lastFetchedEpoch >= 0 &&
      (lastFetchedEpoch !== handle.leaderEpoch || fetchOffset > handle.highWatermark)
    ) {
      this.checkDivergence(partition, handle, index, () =>
        handle.read(partition.fetchOffset, limit, atLeastOne, readBy, this, index, this.committed),
      );
      return;
    }
    handle.read(partition.fetchOffset, limit, atLeastOne, readBy, this, index, this.committed);
  }

  private readonly reserves: number[] = [];

  /**
   * KIP-320: compares the epoch of the client's last record with our history. As in Kafka an offset below the log start
   * is out of range whether or not the histories diverge, and so is an epoch that was never heard of.
   */
  private checkDivergence(
    partition: SessionPartition,
    handle: PartitionHandle,
    index: number,
    go: () => void,
  ): void {
    const { fetchOffset, lastFetchedEpoch } = partition;
    handle.query(offsetQuery.epochEnd, lastFetchedEpoch, (error, endOffset, _timestamp, epoch) => {
      if (error !== 0 || epoch < 0) {
        this.onRead(index, failed(error !== 0 ? error : ErrorCode.OFFSET_OUT_OF_RANGE));
      } else if (epoch === lastFetchedEpoch && endOffset >= fetchOffset) {
        go();
      } else if (handle.refresh === undefined) {
        this.onDiverged(index, handle, { epoch, endOffset });
      } else {
        handle.refresh((failure) => {
          if (failure !== 0) this.onRead(index, failed(failure));
          else this.onDiverged(index, handle, { epoch, endOffset });
        });
      }
    });
  }

  /** The client truncates to where the histories part and fetches again; `handle` is up to date. */
  private onDiverged(
    index: number,
    handle: PartitionHandle,
    diverging: NonNullable<Outcome['diverging']>,
  ): void {
    const below = this.reading[index]!.fetchOffset < handle.startOffset;
    if (below) this.onRead(index, failed(ErrorCode.OFFSET_OUT_OF_RANGE));
    else this.onRead(index, withoutRecords(handle), diverging);
  }

  caller(): ReadCaller {
    this.coldCaller ??= { reader: this.context.connectionId, gone: () => this.done };
    return this.coldCaller;
  }

  onRead(index: number, result: ReadResult, diverging: Outcome['diverging'] = null): void {
    const partition = this.reading[index]!;
    this.pending--;
    this.reserved -= this.reserves[index]!;
    if (this.done) {
      result.records?.release();
      return;
    }
    this.settleOne(partition, result, diverging);
    if (!this.passing) this.settle();
  }

  private settleOne(
    partition: SessionPartition,
    result: ReadResult,
    diverging: Outcome['diverging'] = null,
    replica = -1,
  ): void {
    if (result.error !== 0 || diverging !== null || replica >= 0) this.urgent = true;
    if (result.records !== null) this.bytes += result.records.byteLength;
    this.outcomes.set(partition, { partition, result, diverging, replica });
  }

  /** What serves the partition to this request, or the error that says that nothing does. */
  private handleOf(partition: SessionPartition): PartitionHandle | number {
    const error = this.resolve(partition);
    if (error === 0) return partition.handle!;
    // A client that takes this broker for the leader states another epoch than that of the one who leads, and is told.
    const away = this.request.rackId !== '' && partition.currentLeaderEpoch >= 0;
    if (error !== ErrorCode.NOT_LEADER_OR_FOLLOWER || !away) return error;
    return this.deps.topics.replica(this.topicOf(partition)!.topicId, partition.partition) ?? error;
  }

  /** The broker that the reader is sent to for this partition, which is led here; −1 = none. */
  private replicaFor(partition: SessionPartition): number {
    const { rackId } = this.request;
    if (rackId === '' || partition.currentLeaderEpoch < 0 || partition.handle === null) return -1;
    const image = this.topicOf(partition)?.partitions[partition.partition];
    if (image === undefined) return -1;
    const { connectionId } = this.context;
    return this.deps.replicas.preferred(this.view, rackId, connectionId, image, partition.fetchOffset);
  }

  private get view(): ListenerView {
    return this.cluster.of(this.context.listener);
  }

  /** Forgets an earlier outcome of this call: the partition moved on while the call was parked. */
  private discard(partition: SessionPartition): void {
    const before = this.outcomes.get(partition);
    if (before === undefined) return;
    if (before.result.records !== null) {
      this.bytes -= before.result.records.byteLength;
      before.result.records.release();
    }
    this.outcomes.delete(partition);
  }

  private resolve(partition: SessionPartition): number {
    const { topics } = this.deps;
    if (partition.handle?.live === true) return 0;
    const topic = this.topicOf(partition);
    if (topic === undefined) {
      this.session.bind(partition, null);
      return this.session.usesIds ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    }
    const handle = topics.partition(topic.topicId, partition.partition);
    this.session.bind(partition, handle ?? null);
    if (handle !== undefined) return 0;
    return partition.partition >= 0 && partition.partition < topic.partitions.length
      ? ErrorCode.NOT_LEADER_OR_FOLLOWER
      : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  }

  private settle(): void {
    if (this.done || this.pending > 0 || this.passing) return;
    const now = this.deps.clock.monotonic();
    const roomy = this.bytes * 2 < this.budget || this.bytes < this.request.minBytes;
    if (this.left.length > 0 && roomy && now < this.fillUntil && !this.hurried) {
      this.pass();
      return;
    }
    if (this.urgent || this.bytes >= this.request.minBytes || now >= this.deadline) {
      this.answer();
      return;
    }
    if (this.session.readyCount > 0) {
      // Something changed while we read; look again before sleeping.
      this.deps.clock.soon(() => this.pass());
      return;
    }
    this.session.onReady = () => {
      this.session.onReady = null;
      this.pass();
    };
    this.timer ??= this.deps.clock.after(this.deadline - now, () => this.expire());
  }

  private expire(): void {
    this.timer = null;
    if (this.done || this.pending > 0) return;
    this.answer();
  }

  private answer(): void {
    this.finish();
    for (const partition of this.left) this.session.markReady(partition);
    const topicsOut: { topic: string; topicId: string; partitions: FetchResponsePartitionDataInput[] }[] = [];
    const byTopic = new Map<string, FetchResponsePartitionDataInput[]>();
    // A session that was closed meanwhile has forgotten its partitions.
    const whole = this.full && !this.session.closed;
    const include = whole ? this.session.partitions.values() : this.outcomes.keys();
    for (const partition of include) {
      const outcome = this.outcomes.get(partition);
      const data = outcome === undefined ? this.untouched(partition) : this.render(outcome);
      if (data === null) continue;
      const key = this.session.usesIds ? partition.topicId : partition.topic;
      let list = byTopic.get(key);
      if (list === undefined) {
        list = [];
        byTopic.set(key, list);
        topicsOut.push({ topic: partition.topic, topicId: partition.topicId, partitions: list });
      }
      list.push(data);
    }
    this.deps.observe.fetched(
      this.bytes,
      zoneOf(this.request.rackId, () => this.view),
    );
    const cached = this.session.id !== 0;
    this.respond({
      sessionId: this.session.id,
      responses: topicsOut,
      nodeEndpoints: this.hints.endpoints,
    });
    if (!cached) this.session.close();
  }

  /** A partition of a full fetch that did not fit the budget: its offsets without data. */
  private untouched(partition: SessionPartition): FetchResponsePartitionDataInput {
    const handle = partition.handle ?? this.handleOf(partition);
    const result = typeof handle === 'number' ? failed(handle) : withoutRecords(handle);
    return this.render({ partition, result, diverging: null, replica: -1 })!;
  }

  /** One partition of the answer, or null when an incremental answer may leave it out. */
  private render(outcome: Outcome): FetchResponsePartitionDataInput | null {
    const { partition, result, diverging, replica } = outcome;
    const moved =
      result.highWatermark !== partition.sentHighWatermark ||
      result.startOffset !== partition.sentStartOffset;
    const news = result.error !== 0 || result.records !== null || diverging !== null || replica >= 0;
    const visible = this.committed ? result.lastStableOffset : result.highWatermark;
    // Whatever had something to say may have more once the client has moved its offset; so has what could not be read
    // in time (cold data).
    if (news || partition.fetchOffset < visible) this.session.markReady(partition);
    if (!this.full && !news && !moved) return null;
    partition.sentHighWatermark = result.highWatermark;
    partition.sentStartOffset = result.startOffset;
    if (result.records !== null) partition.handle?.sent(result.records.byteLength, !result.records.lent);
    const currentLeader =
      this.context.apiVersion < hintsVersion ? null : this.leaderOf(partition, result.error);
    return {
      partitionIndex: partition.partition,
      errorCode: result.error,
      highWatermark: result.highWatermark,
      lastStableOffset: result.lastStableOffset,
      logStartOffset: result.startOffset,
      abortedTransactions: this.committed && result.error === 0 ? (result.aborted ?? []) : null,
      records: result.records ?? noRecords,
      ...(diverging === null ? {} : { divergingEpoch: diverging }),
      ...(replica < 0 ? {} : { preferredReadReplica: replica }),
      ...(currentLeader === null ? {} : { currentLeader }),
    };
  }

  private leaderOf(partition: SessionPartition, error: number): CurrentLeader | null {
    return isMisdirected(error) ? this.hints.of(this.topicOf(partition), partition.partition, error) : null;
  }

  private topicOf({ topic, topicId }: SessionPartition): TopicImage | undefined {
    const { topics } = this.deps;
    return this.session.usesIds ? topics.topicById(topicId) : topics.topicByName(topic);
  }
}

const noRecords = new Uint8Array(0);

/**
 * When a fetch that finds nothing is answered: at the end of its time or up to 8 ms before, so that fetches end together, in one
 * turn of the loop and one call for their answers, and what their clients ask next comes together, too.
 */
function waitEnd(now: number, waitMs: number): number {
  if (waitMs < waitMsShared) return now + waitMs;
  return Math.floor((now + waitMs) / waitStepMs) * waitStepMs;
}

export function fetchHandler(deps: FetchDeps): RequestHandler<FetchRequest, FetchResponseInput> {
  const { topics, sessions } = deps;
  const cluster = new ClusterView(deps);

  function handle(
    context: RequestContext,
    request: FetchRequest,
    respond: (response: FetchResponseInput | null) => void,
  ): void {
    const usesIds = context.apiVersion >= 13;
    const { sessionId, sessionEpoch } = request;
    const begins = context.apiVersion < 7 || sessionEpoch <= 0;
    if (begins) {
      if (sessionId !== 0) sessions.close(sessionId);
      const cached = context.apiVersion >= 7 && sessionEpoch === 0 ? sessions.create(usesIds) : null;
      const session = cached ?? new FetchSession(0, usesIds);
      takeRequest(session, request, topics);
      new FetchCall(deps, cluster, context, request, session, true, respond).start();
      return;
    }
    const session = sessions.use(sessionId);
    if (session === undefined) {
      respond({ errorCode: ErrorCode.FETCH_SESSION_ID_NOT_FOUND });
    } else if (session.epoch !== sessionEpoch || session.busy) {
      respond({ errorCode: ErrorCode.INVALID_FETCH_SESSION_EPOCH });
    } else if (session.usesIds !== usesIds) {
      respond({ errorCode: ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR });
    } else {
      session.epoch = session.epoch === 0x7fffffff ? 1 : session.epoch + 1;
      takeRequest(session, request, topics);
      new FetchCall(deps, cluster, context, request, session, false, respond).start();
    }
  }

  return { codec: FetchCodec, patient: true, handle };
}

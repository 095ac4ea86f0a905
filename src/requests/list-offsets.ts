/**
 * ListOffsets (key 2), versions 1–11 as in Kafka 4; v0 answers lists of segment starts, and there are no segments here.
 *
 *   −1 latest (high watermark, last stable offset under read_committed)   −4 earliest local (v8): the log start
 *   −2 earliest                                                           −5 latest tiered (v9): none
 *   −3 record with the largest timestamp (v7)                             −6 earliest pending upload (v11): none
 *
 * A time asks for the first record with that timestamp or a later one; −1/−1/−1 = none. A special timestamp too new for
 * the version, or unknown, is UNSUPPORTED_VERSION. Leader epochs from v4 (KIP-320). A partition named twice is
 * INVALID_REQUEST, once. Questions that need older data run side by side; what is not answered within the time-out (the
 * request's from v10 where it states one, else 30 s) is REQUEST_TIMED_OUT.
 * A broker whose lease may have run out answers NOT_LEADER_OR_FOLLOWER (decision 0089).
 * Omitted: replicas (ReplicaId is ignored); there is no storage tier apart from the log, so −4 is −2.
 */
import { offsetQuery, type PartitionHandle } from '../log/partition-handle.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ListOffsetsCodec,
  type ListOffsetsPartition,
  type ListOffsetsRequest,
  type ListOffsetsResponseInput,
} from '../protocol/generated/list-offsets.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';
import { lastOfEach, namedTwice } from './support/named-twice.ts';
import { findPartition } from './support/partition-lookup.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface ListOffsetsDeps {
  readonly topics: TopicDirectory;
  readonly clock: Clock;
  /** Whether nobody else can have opened this broker's partitions by now. */
  readonly leased: () => boolean;
}

const special = {
  latest: -1,
  earliest: -2,
  maxTimestamp: -3,
  earliestLocal: -4,
  latestTiered: -5,
  earliestPendingUpload: -6,
} as const;

/** First version that knows the special timestamp, by its negative. */
const knownFrom: readonly number[] = [0, 1, 1, 7, 8, 9, 11];
const epochVersion = 4;
const timeoutVersion = 10;
const readCommitted = 1;
const waitMsDefault = 30_000;
const waitMsMax = 300_000;

interface Outcome {
  partitionIndex: number;
  errorCode: number;
  timestamp: number;
  offset: number;
  leaderEpoch: number;
}

/** One request under way: counts its questions down and answers once. */
class ListOffsetsCall {
  private readonly deps: ListOffsetsDeps;
  private readonly context: RequestContext;
  private readonly request: ListOffsetsRequest;
  private readonly respond: (response: ListOffsetsResponseInput) => void;
  private readonly answers: { name: string; partitions: Outcome[] }[] = [];
  /** Outcomes still open; the call itself counts as one until all are asked. */
  private readonly open = new Set<Outcome>();
  private starting = true;
  private timer: Timer | null = null;

  constructor(
    deps: ListOffsetsDeps,
    context: RequestContext,
    request: ListOffsetsRequest,
    respond: (response: ListOffsetsResponseInput) => void,
  ) {
    this.deps = deps;
    this.context = context;
    this.request = request;
    this.respond = respond;
  }

  start(): void {
    const keys = this.request.topics.flatMap(({ name, partitions }) =>
      partitions.map(({ partitionIndex }) => `${name}/${partitionIndex}`),
    );
    const twice = namedTwice(keys);
    const asked = twice.size === 0 ? this.request.topics : lastOfEach(this.request.topics);
    for (const { name, partitions } of asked) {
      const outcomes: Outcome[] = [];
      this.answers.push({ name, partitions: outcomes });
      for (const wanted of partitions) {
        const { partitionIndex } = wanted;
        const outcome = { partitionIndex, errorCode: 0, timestamp: -1, offset: -1, leaderEpoch: -1 };
        outcomes.push(outcome);
        if (twice.has(`${name}/${partitionIndex}`)) outcome.errorCode = ErrorCode.INVALID_REQUEST;
        else this.ask(name, wanted, outcome);
      }
    }
    this.starting = false;
    if (this.open.size === 0) {
      this.answer();
      return;
    }
    const stated = this.context.apiVersion >= timeoutVersion ? this.request.timeoutMs : 0;
    const waitMs = stated > 0 ? Math.min(stated, waitMsMax) : waitMsDefault;
    this.timer = this.deps.clock.after(waitMs, () => this.expire());
  }

  private ask(topicName: string, wanted: ListOffsetsPartition, outcome: Outcome): void {
    const { topics, leased } = this.deps;
    const { partitionIndex, timestamp, currentLeaderEpoch } = wanted;
    const found = findPartition(topics, topicName, partitionIndex, currentLeaderEpoch);
    if (typeof found === 'number') {
      outcome.errorCode = found;
      return;
    }
    // Another owner may have acknowledged what this one does not know: no end, and no search up to it, is the log's any more.
    if (!leased()) {
      outcome.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER;
      return;
    }
    if (timestamp < 0 && !(this.context.apiVersion >= (knownFrom[-timestamp] ?? Number.POSITIVE_INFINITY))) {
      outcome.errorCode = ErrorCode.UNSUPPORTED_VERSION;
      return;
    }
    switch (timestamp) {
      case special.latest:
        this.putEnd(found, outcome);
        return;
      case special.earliest:
      case special.earliestLocal: {
        const start = found.startOffset;
        const epochs = topics.topicByName(topicName)!.partitions[partitionIndex]!.epochs;
        const covering = epochs.findLast(({ startOffset }) => startOffset <= start);
        this.put(outcome, start, -1, covering?.epoch ?? -1);
        return;
      }
      case special.latestTiered:
      case special.earliestPendingUpload:
        return;
      case special.maxTimestamp:
        this.query(found, offsetQuery.maxTimestamp, 0, outcome);
        return;
      default:
        this.query(found, offsetQuery.byTime, timestamp, outcome);
    }
  }

  private query(partition: PartitionHandle, kind: number, argument: number, outcome: Outcome): void {
    this.open.add(outcome);
    partition.query(kind, argument, (error, offset, timestamp, leaderEpoch) => {
      if (!this.open.delete(outcome)) return;
      outcome.errorCode = error;
      const visible = offset >= 0 && offset < this.visibleEnd(partition);
      if (error === 0 && visible) this.put(outcome, offset, timestamp, leaderEpoch);
      if (this.open.size === 0 && !this.starting) this.answer();
    });
  }

  private putEnd(partition: PartitionHandle, outcome: Outcome): void {
    if (partition.refresh === undefined) {
      this.put(outcome, this.visibleEnd(partition), -1, partition.leaderEpoch);
      return;
    }
    this.open.add(outcome);
    partition.refresh((error) => {
      if (!this.open.delete(outcome)) return;
      outcome.errorCode = error;
      if (error === 0) this.put(outcome, this.visibleEnd(partition), -1, partition.leaderEpoch);
      if (this.open.size === 0 && !this.starting) this.answer();
    });
  }

  private put(outcome: Outcome, offset: number, timestamp: number, leaderEpoch: number): void {
    outcome.offset = offset;
    outcome.timestamp = timestamp;
    if (this.context.apiVersion >= epochVersion) outcome.leaderEpoch = leaderEpoch;
  }

  private visibleEnd(partition: PartitionHandle): number {
    return this.request.isolationLevel === readCommitted
      ? partition.lastStableOffset
      : partition.highWatermark;
  }

  private expire(): void {
    for (const outcome of this.open) outcome.errorCode = ErrorCode.REQUEST_TIMED_OUT;
    this.open.clear();
    this.answer();
  }

  private answer(): void {
    this.timer?.cancel();
    this.respond({ topics: this.answers });
  }
}

export function listOffsetsHandler(
  deps: ListOffsetsDeps,
): RequestHandler<ListOffsetsRequest, ListOffsetsResponseInput> {
  return {
    codec: ListOffsetsCodec,
    minVersion: 1,
    handle: (context, request, respond) => new ListOffsetsCall(deps, context, request, respond).start(),
  };
}

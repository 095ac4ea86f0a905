/**
 * One produce request under way: counts its partitions down and answers once, when all are settled or the request's time is
 * over. Shard thread.
 */
import type { AppendWaiter } from '../log/append-journal.ts';
import type { TopicImage } from '../metadata/metadata-store.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import type {
  ProduceRequest,
  ProduceRequestTopicProduceData,
  ProduceResponseInput,
  ProduceResponsePartitionProduceResponseInput,
} from '../protocol/generated/produce.ts';
import type { RequestContext } from './support/handler.ts';
import { isMisdirected, type LeaderHints } from './support/leader-hints.ts';

interface PartitionOutcome {
  index: number;
  errorCode: number;
  baseOffset: number;
  logAppendTimeMs: number;
  logStartOffset: number;
  recordErrors: readonly RecordError[];
  errorMessage: string | null;
}

export interface RecordError {
  /** Of the record in its batch. */
  readonly batchIndex: number;
  readonly batchIndexErrorMessage: string | null;
}

/** Where to send producers whose partition is not here. */
export interface LeaderSource {
  topicOf(topic: ProduceRequestTopicProduceData, version: number): TopicImage | undefined;
  hints(listener: string): LeaderHints;
  /** Calls `then` at once, or when it is known who leads those of the partitions that leave this broker; soon in any case. */
  whenLed(listener: string, partitions: readonly PartitionName[], then: () => void): void;
}

export interface PartitionName {
  readonly topicId: string;
  readonly partition: number;
}

/** KIP-951. */
const hintsVersion = 10;

/** What a call needs of its request. */
export type CallContext = Pick<RequestContext, 'apiVersion' | 'listener' | 'close'>;

export class ProduceCall implements AppendWaiter {
  private readonly context: CallContext;
  private readonly request: ProduceRequest;
  private readonly leaders: LeaderSource;
  private readonly congestion: () => number;
  private readonly respond: (response: ProduceResponseInput | null) => void;
  private readonly outcomes: PartitionOutcome[] = [];
  private readonly settled: boolean[] = [];
  private left = 1;
  private timer: Timer | null = null;
  private answered = false;

  constructor(
    context: CallContext,
    request: ProduceRequest,
    leaders: LeaderSource,
    congestion: () => number,
    respond: (response: ProduceResponseInput | null) => void,
  ) {
    this.context = context;
    this.request = request;
    this.leaders = leaders;
    this.congestion = congestion;
    this.respond = respond;
  }

  /** Reserves the next partition's place and returns its number. */
  open(index: number): number {
    this.left++;
    this.settled.push(false);
    return (
      this.outcomes.push({
        index,
        errorCode: 0,
        baseOffset: -1,
        logAppendTimeMs: -1,
        logStartOffset: -1,
        recordErrors: [],
        errorMessage: null,
      }) - 1
    );
  }

  refuse(
    place: number,
    error: number,
    message: string | null,
    recordErrors: readonly RecordError[] = [],
  ): void {
    if (this.settled[place]) return;
    this.outcomes[place]!.errorMessage = message;
    this.outcomes[place]!.recordErrors = recordErrors;
    this.onAppended(place, error, -1, -1, -1);
  }

  onAppended(
    place: number,
    error: number,
    baseOffset: number,
    logAppendTime: number,
    logStartOffset: number,
  ): void {
    if (this.settled[place]) return;
    this.settled[place] = true;
    const outcome = this.outcomes[place]!;
    outcome.errorCode = error;
    if (error === 0) {
      outcome.baseOffset = baseOffset;
      outcome.logAppendTimeMs = logAppendTime;
      outcome.logStartOffset = logStartOffset;
    } else if (error === ErrorCode.INVALID_RECORD) {
      outcome.errorMessage ??= 'The log has no offsets left for this batch.';
    }
    this.countDown();
  }

  /** All partitions have been started. */
  started(clock: Clock): void {
    this.countDown();
    if (!this.answered && this.request.acks !== 0) {
      this.timer = clock.after(Math.max(writeMsMin, this.request.timeoutMs), () => this.expire());
    }
  }

  private expire(): void {
    for (let place = 0; place < this.outcomes.length; place++) {
      if (!this.settled[place]) this.onAppended(place, ErrorCode.REQUEST_TIMED_OUT, -1, -1, -1);
    }
  }

  private countDown(): void {
    if (--this.left > 0) return;
    this.timer?.cancel();
    this.answered = true;
    if (this.request.acks === 0) {
      // No answer can say it: the client learns from the closed connection and refreshes its metadata.
      const failed = this.outcomes.find((outcome) => outcome.errorCode !== 0);
      if (failed === undefined) this.respond(null);
      else this.context.close(`a produce request with acks=0 failed with ${errorName(failed.errorCode)}`);
      return;
    }
    const { apiVersion, listener } = this.context;
    if (apiVersion < hintsVersion || !this.outcomes.some(({ errorCode }) => isMisdirected(errorCode))) {
      this.answer(null);
      return;
    }
    this.leaders.whenLed(listener, this.misdirected(), () => this.answer(this.leaders.hints(listener)));
  }

  private misdirected(): PartitionName[] {
    const names: PartitionName[] = [];
    let place = 0;
    for (const topic of this.request.topicData) {
      const topicId = this.leaders.topicOf(topic, this.context.apiVersion)?.topicId;
      for (const { index: partition } of topic.partitionData) {
        const { errorCode } = this.outcomes[place++]!;
        if (topicId !== undefined && isMisdirected(errorCode)) names.push({ topicId, partition });
      }
    }
    return names;
  }

  private answer(hints: LeaderHints | null): void {
    let place = 0;
    this.respond({
      throttleTimeMs: throttleMsOf(this.congestion()),
      responses: this.request.topicData.map((topic) => ({
        name: topic.name,
        topicId: topic.topicId,
        partitionResponses: topic.partitionData.map(() => {
          const outcome = this.outcomes[place++]!;
          return hints === null ? outcome : this.withLeader(outcome, hints, topic);
        }),
      })),
      ...(hints === null ? {} : { nodeEndpoints: hints.endpoints }),
    });
  }

  private withLeader(
    outcome: PartitionOutcome,
    hints: LeaderHints,
    topic: ProduceRequestTopicProduceData,
  ): ProduceResponsePartitionProduceResponseInput {
    const image = this.leaders.topicOf(topic, this.context.apiVersion);
    const currentLeader = hints.of(image, outcome.index, outcome.errorCode);
    return currentLeader === null ? outcome : { ...outcome, currentLeader };
  }
}

/** In Kafka the time-out is for other replicas, never for the leader's own write: ours gets this long at least. */
export const writeMsMin = 1_000;

/** Producers are slowed from here on (KIP-219): clients wait that long before they send again. */
const throttleFrom = 0.75;
const throttleMsMax = 1000;

export function throttleMsOf(congestion: number): number {
  return congestion <= throttleFrom
    ? 0
    : Math.round(((congestion - throttleFrom) / (1 - throttleFrom)) * throttleMsMax);
}

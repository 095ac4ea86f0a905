/**
 * Produce (key 0), versions 3–13; advertised from 0 as Kafka does, 0–2 close the connection.
 *
 * Each batch is validated in place (header, CRC, counts, sizes, timestamps, and the native walk over uncompressed
 * records), appended, and answered when it is durable: acks=1 and acks=all both wait for that, acks=0 gets no answer.
 * A request that times out is answered REQUEST_TIMED_OUT for the partitions still open; their appends stand. A partition
 * named more than once takes every batch, in order, and is answered as often: what is acknowledged is kept.
 * Omitted: transactions (TransactionalId is refused with INVALID_TXN_STATE), deep checks of compressed batches.
 */
import type { AppendWaiter } from '../log/append-journal.ts';
import type { PartitionHandle } from '../log/partition-handle.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Codecs } from '../protocol/compression/codecs.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import {
  ProduceCodec,
  type ProduceRequest,
  type ProduceResponseInput,
} from '../protocol/generated/produce.ts';
import {
  attributesOf,
  batchHeaderBytes,
  codecOf,
  isTransactional,
  recordCountOf,
} from '../protocol/records/batch-header.ts';
import { validateRecords } from '../protocol/records/compressed-records.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { faultyRecord, type RecordWalk, walkFlags } from '../protocol/records/record-walk.ts';
import {
  type BatchVerdict,
  batchVerdict,
  validateBatch,
  verdictTable,
} from '../protocol/records/validate.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface ProduceDeps {
  readonly topics: TopicDirectory;
  readonly arena: Arena;
  readonly clock: Clock;
  readonly crc32c: Crc32c;
  readonly walk: RecordWalk;
  readonly codecs: Codecs;
  /** How near the log is to refusing appends, 0 to 1: throttles before that. */
  readonly congestion: () => number;
  /** Largest batch that the WAL takes. */
  readonly batchBytesMax: number;
  /** Told of every batch taken or refused, for the metrics. */
  readonly observe: { produced(bytes: number, records: number): void; refused(error: number): void };
  /** Address of this broker for KIP-951 hints. */
  readonly endpoint: (listener: string) => {
    nodeId: number;
    host: string;
    port: number;
    rack: string | null;
  };
}

interface PartitionOutcome {
  index: number;
  errorCode: number;
  baseOffset: number;
  logAppendTimeMs: number;
  logStartOffset: number;
  recordErrors: { batchIndex: number; batchIndexErrorMessage: string | null }[];
  errorMessage: string | null;
}

/** One request under way: counts its partitions down and answers once. */
class ProduceCall implements AppendWaiter {
  private readonly context: RequestContext;
  private readonly request: ProduceRequest;
  private readonly congestion: () => number;
  private readonly respond: (response: ProduceResponseInput | null) => void;
  private readonly outcomes: PartitionOutcome[] = [];
  private readonly settled: boolean[] = [];
  private left = 1;
  private timer: Timer | null = null;
  private answered = false;

  constructor(
    context: RequestContext,
    request: ProduceRequest,
    congestion: () => number,
    respond: (response: ProduceResponseInput | null) => void,
  ) {
    this.context = context;
    this.request = request;
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

  refuse(place: number, error: number, message: string | null, record = -1): void {
    this.outcomes[place]!.errorMessage = message;
    if (record >= 0)
      this.outcomes[place]!.recordErrors.push({ batchIndex: record, batchIndexErrorMessage: message });
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
    let place = 0;
    this.respond({
      throttleTimeMs: throttleMs(this.congestion()),
      responses: this.request.topicData.map((topic) => ({
        name: topic.name,
        topicId: topic.topicId,
        partitionResponses: topic.partitionData.map(() => this.outcomes[place++]!),
      })),
    });
  }
}

/** In Kafka the time-out is for other replicas, never for the leader's own write: ours gets this long at least. */
const writeMsMin = 1_000;

/** Most bytes the records of one batch may take when plain (`max.decompressed.message.bytes`). */
const decompressedBytesMax = 64 * 1024 * 1024;

/** Producers are slowed from here on (KIP-219): clients wait that long before they send again. */
const throttleFrom = 0.75;
const throttleMsMax = 1000;

function throttleMs(congestion: number): number {
  return congestion <= throttleFrom
    ? 0
    : Math.round(((congestion - throttleFrom) / (1 - throttleFrom)) * throttleMsMax);
}

export function produceHandler(deps: ProduceDeps): RequestHandler<ProduceRequest, ProduceResponseInput> {
  const { topics, arena, clock } = deps;
  const options = {
    crc32c: deps.crc32c,
    walk: deps.walk,
    batchBytesMax: 0,
    zstdAllowed: true,
    nowMs: 0,
    timestampBeforeMaxMs: 0,
    timestampAfterMaxMs: 0,
    logAppendTime: false,
    requireKeys: false,
  };

  function refuse(call: ProduceCall, place: number, verdict: BatchVerdict, record: number): void {
    const { error, message } = verdictTable[verdict]!;
    deps.observe.refused(error);
    call.refuse(place, error, message, record);
  }

  function start(
    call: ProduceCall,
    place: number,
    partition: PartitionHandle,
    records: Uint8Array,
    version: number,
  ): void {
    const position = records.byteOffset - arena.buffer.byteOffset;
    const length = records.byteLength;
    const { settings } = partition;
    options.batchBytesMax = Math.min(settings.maxMessageBytes, deps.batchBytesMax);
    options.zstdAllowed = version >= 7;
    options.nowMs = clock.now();
    options.timestampBeforeMaxMs = settings.timestampBeforeMaxMs;
    options.timestampAfterMaxMs = settings.timestampAfterMaxMs;
    options.logAppendTime = settings.logAppendTime;
    options.requireKeys = settings.compacted;
    const verdict = validateBatch(arena.view, arena.buffer, position, length, options);
    if (verdict !== batchVerdict.ok) {
      const record =
        verdict === batchVerdict.nullKey
          ? faultyRecord(
              arena.buffer,
              position + batchHeaderBytes,
              length - batchHeaderBytes,
              recordCountOf(arena.view, position),
              walkFlags.requireKeys,
            )
          : -1;
      refuse(call, place, verdict, record);
      return;
    }
    if (settings.compacted && codecOf(attributesOf(arena.view, position)) !== 0) {
      // Keys decide what compaction keeps, so a compacted topic is the one place where every record is looked at.
      const deep = validateRecords(arena.view, arena.buffer, position, length, {
        codecs: deps.codecs,
        walk: deps.walk,
        decompressedBytesMax,
        requireKeys: true,
      });
      if (deep.verdict !== batchVerdict.ok) {
        refuse(call, place, deep.verdict, deep.record);
        return;
      }
    }
    if (isTransactional(attributesOf(arena.view, position))) {
      call.refuse(place, ErrorCode.INVALID_TXN_STATE, 'Transactions are not served by this version.');
      return;
    }
    deps.observe.produced(length, arena.view.getInt32(position + 57, false));
    partition.append(position, length, call, place);
  }

  function handle(
    context: RequestContext,
    request: ProduceRequest,
    respond: (response: ProduceResponseInput | null) => void,
  ): void {
    const { acks } = request;
    const call = new ProduceCall(context, request, deps.congestion, respond);
    const acksWrong = acks !== 0 && acks !== 1 && acks !== -1;
    for (const topic of request.topicData) {
      const image =
        context.apiVersion >= 13 ? topics.topicById(topic.topicId) : topics.topicByName(topic.name);
      for (const data of topic.partitionData) {
        const place = call.open(data.index);
        if (acksWrong) {
          call.refuse(place, ErrorCode.INVALID_REQUIRED_ACKS, null);
          continue;
        }
        const partition = image === undefined ? undefined : topics.partition(image.topicId, data.index);
        if (partition === undefined) {
          const unknown =
            image === undefined && context.apiVersion >= 13
              ? ErrorCode.UNKNOWN_TOPIC_ID
              : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
          const opening = image !== undefined && data.index >= 0 && data.index < image.partitions.length;
          call.refuse(place, opening ? ErrorCode.NOT_LEADER_OR_FOLLOWER : unknown, null);
        } else if (data.records === null || data.records.byteLength === 0) {
          call.refuse(place, ErrorCode.INVALID_RECORD, 'A partition needs exactly one record batch.');
        } else if (image!.internal && context.clientId !== adminClientId) {
          call.refuse(
            place,
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            'Internal topics are written by the broker only.',
          );
        } else {
          start(call, place, partition, data.records, context.apiVersion);
        }
      }
    }
    call.started(clock);
  }

  return { codec: ProduceCodec, advertisedMin: 0, handle };
}

/** Kafka lets this one client id write internal topics (KafkaApis). */
const adminClientId = '__admin_client';

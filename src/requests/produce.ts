/**
 * Produce (key 0), versions 3–13; advertised from 0 as Kafka does, 0–2 close the connection.
 *
 * Each batch is validated in place: header, CRC, counts, sizes, and each record's structure, key and time, of every codec
 * (decision 0060); the header's largest timestamp becomes what the records say. Compressed records are unpacked on the loop
 * in bounded turns, or by a worker; batches of a partition are appended in the order they came. Then it is answered when it
 * is durable: acks=1 and acks=all both wait for that, acks=0 gets no answer.
 * A request that times out is answered REQUEST_TIMED_OUT for the partitions still open; their appends stand. A partition
 * named more than once takes every batch, in order, and is answered as often: what is acknowledged is kept.
 * Transactional batches (KIP-98, KIP-890) pass the gate that asks their coordinator first (support/transaction-gate.ts); records of
 * a transaction without its id are refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED, as Kafka does.
 * A partition that is not open here is NOT_LEADER_OR_FOLLOWER, from v10 with the broker that has it (KIP-951): while this broker lets go
 * of it for another, the answer waits up to `leaderHoldMs` until that one has it.
 * Requests of the common kind never come here: quick-produce.ts serves them in place.
 * Omitted: while there is no transaction coordinator transactional batches are refused with INVALID_TXN_STATE.
 */
import type { PartitionHandle } from '../log/partition-handle.ts';
import type { RecordWork } from '../log/record-work.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { codecId } from '../protocol/compression/codec.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ProduceCodec,
  type ProduceRequest,
  type ProduceResponseInput,
} from '../protocol/generated/produce.ts';
import {
  attributesOf,
  codecOf,
  crcStart,
  isTransactional,
  patchCrc,
  recordCountOf,
} from '../protocol/records/batch-header.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { RecordTaskResult } from '../protocol/records/record-tasks.ts';
import type { RecordWalk } from '../protocol/records/record-walk.ts';
import {
  type BatchVerdict,
  batchVerdict,
  recordFaults,
  settleMaxTimestamp,
  settleTimestampType,
  verdictTable,
} from '../protocol/records/validate.ts';
import { AppendLanes, type Place } from './append-lanes.ts';
import { type LeaderSource, type PartitionName, ProduceCall, type RecordError } from './produce-call.ts';
import { QuickProduce, type QuickProduceDeps } from './quick-produce.ts';
import { BatchJudge } from './support/batch-judge.ts';
import { type BrokerAddress, ClusterView } from './support/cluster-view.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';
import { whenImage } from './support/image-wait.ts';
import { isLeaving, LeaderHints } from './support/leader-hints.ts';
import type { TopicDirectory } from './support/topic-directory.ts';
import type { TransactionGate } from './support/transaction-gate.ts';

export interface ProduceDeps {
  readonly topics: TopicDirectory;
  readonly arena: Arena;
  readonly clock: Clock;
  readonly crc32c: Crc32c;
  readonly walk: RecordWalk;
  /** Judges compressed records. */
  readonly recordWork: RecordWork;
  /** Asks coordinators of transactions; absent where there are none: then transactional batches are refused. */
  readonly transactions?: TransactionGate;
  /** Room in the arena for so many bytes, with a reference on them; −1 = none. */
  readonly allocate: (bytes: number) => number;
  /** Something was appended outside of the request's turn. */
  readonly appended: () => void;
  /** Tells of an append that failed in a way no rule of the log foresees. */
  readonly appendFailed: (error: unknown) => void;
  /** How near the log is to refusing appends, 0 to 1: throttles before that. */
  readonly congestion: () => number;
  /** Largest batch that the WAL takes. */
  readonly batchBytesMax: number;
  /** Told of every batch taken or refused, for the metrics. */
  readonly observe: QuickProduceDeps['observe'] & { refused(error: number): void };
  /** Address of this broker. */
  readonly endpoint: (listener: string) => BrokerAddress;
}

/** One partition's batch of a request, lying in the arena. */
interface Batch {
  readonly call: ProduceCall;
  /** Of the partition in the call. */
  readonly place: number;
  readonly partition: PartitionHandle;
  readonly position: number;
  readonly length: number;
  /** Of the request; null: none is named. */
  readonly transactionalId: string | null;
  readonly topic: string;
  readonly version: number;
}

/** Versions that know TRANSACTION_ABORTABLE, and those with which the broker adds partitions to transactions (KIP-890). */
const abortableVersion = 11;
const addingVersion = 12;
const topicIdVersion = 13;
/**
 * Most moves are over by then, and a client that is told the new leader goes there at once; one that is not waits 100 ms before it
 * even asks. Answers to what came behind it on its connection wait too.
 */
const leaderHoldMs = 150;

export function produceHandler(deps: ProduceDeps): RequestHandler<ProduceRequest, ProduceResponseInput> {
  const { topics, arena, clock, recordWork } = deps;
  const { view, buffer } = arena;
  const lanes = new AppendLanes();
  const cluster = new ClusterView(deps);
  const leaders: LeaderSource = {
    topicOf: ({ name, topicId }, version) =>
      version >= topicIdVersion ? topics.topicById(topicId) : topics.topicByName(name),
    hints: (listener) => new LeaderHints(cluster, listener),
    whenLed: (listener, partitions, then) => {
      const isKnown = ({ topicId, partition }: PartitionName): boolean => {
        const image = topics.topicById(topicId)?.partitions[partition];
        return image === undefined || !isLeaving(image, cluster.of(listener));
      };
      whenImage(topics, clock, leaderHoldMs, () => partitions.every(isKnown), then);
    },
  };
  const judge = new BatchJudge(deps);
  const quick = new QuickProduce({
    ...deps,
    judge,
    lanes,
    refuse: (apiVersion, listener, { topic, index }, error, done) => {
      const request = {
        transactionalId: null,
        acks: 1,
        timeoutMs: 0,
        topicData: [{ ...topic, partitionData: [{ index, records: null }] }],
      };
      const caller = { apiVersion, listener, close() {} };
      const call = new ProduceCall(caller, request, leaders, deps.congestion, (answer) => done(answer!));
      call.onAppended(call.open(index), error, -1, -1, -1);
      call.started(clock);
    },
  });

  function refuse(
    { call, place }: Batch,
    verdict: BatchVerdict,
    faults: number,
    entries: Iterable<number>,
  ): void {
    const { error, message } = verdictTable[verdict]!;
    deps.observe.refused(error);
    if (verdict !== batchVerdict.nullKey && verdict !== batchVerdict.timestamp) {
      call.refuse(place, error, message);
      return;
    }
    const recordErrors: RecordError[] = [];
    for (const entry of entries) {
      recordErrors.push({
        batchIndex: Math.floor(entry / 2),
        batchIndexErrorMessage: recordFaults[entry % 2]!,
      });
    }
    const unnamed = faults - recordErrors.length;
    call.refuse(
      place,
      error,
      unnamed === 0 ? message : `${message} ${unnamed} more are not named.`,
      recordErrors,
    );
  }

  function append(batch: Batch): void {
    const { call, place, partition, position, length } = batch;
    try {
      if (isTransactional(attributesOf(view, position))) appendVerified(batch);
      else partition.append(position, length, call, place);
      deps.observe.produced(length, recordCountOf(view, position));
    } catch (error) {
      deps.appendFailed(error);
      call.refuse(place, ErrorCode.UNKNOWN_SERVER_ERROR, null);
    }
  }

  /** `start` has seen to it that there is a gate, and an id. */
  function appendVerified({ transactionalId, topic, version, call, place, ...batch }: Batch): void {
    const { partition, position, length } = batch;
    deps.transactions!.append({
      partition,
      position,
      length,
      topic,
      transactionalId: transactionalId!,
      adds: version >= addingVersion,
      abortable: version >= abortableVersion,
      waiter: call,
      index: place,
    });
  }

  /** `maxTimestamp` is what the records say. */
  function settleTime({ partition, position, length }: Batch, maxTimestamp: number): void {
    if (!partition.settings.logAppendTime)
      settleMaxTimestamp(view, buffer, position, length, maxTimestamp, deps.crc32c);
  }

  /**
   * Runs `begin`, which settles the batch at once or later by what is to be done with it; that happens when everything that came
   * to its partition before has happened.
   */
  function inOrder(batch: Batch, begin: (settled: (act: () => void) => void) => void): void {
    const { partition, position, length } = batch;
    let place: Place | null = null;
    let early: (() => void) | null = null;
    const ready = (act: () => void): void =>
      lanes.ready(partition, place!, () => {
        act();
        arena.releaseRange(position, length);
      });
    begin((act) => {
      if (place === null) {
        early = act;
        return;
      }
      ready(act);
      deps.appended();
    });
    if (early !== null && !lanes.occupied(partition)) {
      (early as () => void)();
      return;
    }
    arena.retainRange(position, length);
    place = lanes.take(partition);
    if (early !== null) ready(early);
  }

  /** Appends a batch that has been judged. */
  function admit(batch: Batch): void {
    if (lanes.occupied(batch.partition)) inOrder(batch, (settled) => settled(() => append(batch)));
    else append(batch);
  }

  function refuseJudged(batch: Batch, result: RecordTaskResult | null): void {
    if (result?.kind === 'judge') refuse(batch, result.verdict, result.faults, result.entries);
    else
      batch.call.refuse(batch.place, ErrorCode.NOT_ENOUGH_REPLICAS, 'Too many batches wait to be unpacked.');
  }

  /** Has the compressed records judged. */
  function judgeRecords(batch: Batch, settled: (act: () => void) => void): void {
    const { position, length } = batch;
    recordWork.run({ kind: 'judge', position, length, rules: judge.rules }, (result) => {
      if (result?.kind !== 'judge' || result.verdict !== batchVerdict.ok) {
        settled(() => refuseJudged(batch, result));
        return;
      }
      settleTime(batch, result.maxTimestamp);
      recode(batch, settled);
    });
  }

  /** Has the records compressed as their topic wants it, where they are not. */
  function recode(batch: Batch, settled: (act: () => void) => void): void {
    const { partition, position, length } = batch;
    if (!differs(partition, attributesOf(view, position))) {
      settled(() => append(batch));
      return;
    }
    const { decompressedBytesMax, recode: wanted } = partition.settings;
    recordWork.run({ kind: 'recode', position, length, decompressedBytesMax, ...wanted! }, (result) => {
      if (result?.kind === 'recode' && result.error === null)
        settled(() => appendRecoded(batch, result.batch));
      else settled(() => refuseRecoded(batch, result));
    });
  }

  function differs({ settings }: PartitionHandle, attributes: number): boolean {
    return settings.recode !== undefined && settings.recode.codec !== codecOf(attributes);
  }

  function refuseRecoded({ call, place }: Batch, result: RecordTaskResult | null): void {
    const unusable = result?.kind === 'recode';
    const error = unusable ? ErrorCode.UNSUPPORTED_COMPRESSION_TYPE : ErrorCode.NOT_ENOUGH_REPLICAS;
    deps.observe.refused(error);
    call.refuse(
      place,
      error,
      unusable ? (result.error?.message ?? null) : 'Too many batches wait to be compressed.',
    );
  }

  function appendRecoded(batch: Batch, bytes: Uint8Array): void {
    const { call, place, partition } = batch;
    if (bytes.length > Math.min(partition.settings.maxMessageBytes, deps.batchBytesMax)) {
      deps.observe.refused(ErrorCode.MESSAGE_TOO_LARGE);
      call.refuse(
        place,
        ErrorCode.MESSAGE_TOO_LARGE,
        'The records are too large as the topic compresses them.',
      );
      return;
    }
    const position = deps.allocate(bytes.length);
    if (position < 0) {
      call.refuse(place, ErrorCode.NOT_ENOUGH_REPLICAS, 'There is no memory for the compressed records now.');
      return;
    }
    buffer.set(bytes, position);
    patchCrc(view, position, deps.crc32c(buffer, position + crcStart, bytes.length - crcStart));
    append({ ...batch, position, length: bytes.length });
    arena.releaseRange(position, bytes.length);
  }

  function start(batch: Batch): void {
    const { position, length, partition, call, place, version } = batch;
    const { settings } = partition;
    const verdict = judge.judge(settings, position, length, version);
    if (verdict !== batchVerdict.ok) {
      refuse(batch, verdict, judge.faults, judge.entries);
      return;
    }
    const attributes = attributesOf(view, position);
    if (isTransactional(attributes)) {
      if (deps.transactions === undefined) {
        call.refuse(place, ErrorCode.INVALID_TXN_STATE, 'Transactions are not served by this version.');
        return;
      }
      if (batch.transactionalId === null) {
        const message = 'Records of a transaction need the transactional id in their request.';
        call.refuse(place, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, message);
        return;
      }
    }
    settleTimestampType(view, buffer, position, length, deps.crc32c);
    const compressed = codecOf(attributes) !== codecId.none;
    if (!compressed) settleTime(batch, judge.maxTimestamp);
    if (compressed && !settings.trustCompressed) inOrder(batch, (settled) => judgeRecords(batch, settled));
    else if (differs(partition, attributes)) inOrder(batch, (settled) => recode(batch, settled));
    else admit(batch);
  }

  function handle(
    context: RequestContext,
    request: ProduceRequest,
    respond: (response: ProduceResponseInput | null) => void,
  ): void {
    const { acks } = request;
    const call = new ProduceCall(context, request, leaders, deps.congestion, respond);
    const acksWrong = acks !== 0 && acks !== 1 && acks !== -1;
    for (const topic of request.topicData) {
      const image = leaders.topicOf(topic, context.apiVersion);
      for (const data of topic.partitionData) {
        const place = call.open(data.index);
        if (acksWrong) {
          call.refuse(place, ErrorCode.INVALID_REQUIRED_ACKS, null);
          continue;
        }
        const partition = image === undefined ? undefined : topics.partition(image.topicId, data.index);
        if (partition === undefined) {
          const unknown =
            image === undefined && context.apiVersion >= topicIdVersion
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
          const position = data.records.byteOffset - buffer.byteOffset;
          const { byteLength: length } = data.records;
          start({
            call,
            place,
            partition,
            position,
            length,
            transactionalId: request.transactionalId,
            topic: image!.name,
            version: context.apiVersion,
          });
        }
      }
    }
    call.started(clock);
  }

  return {
    codec: ProduceCodec,
    advertisedMin: 0,
    handle,
    takeFrame: (connection, position, length) => quick.take(connection, position, length),
  };
}

/** Kafka lets this one client id write internal topics (KafkaApis). */
const adminClientId = '__admin_client';

/**
 * ShareFetch (key 78), versions 1-2 (KIP-932): records for a member of a share group, each locked for it until it acknowledges,
 * in a share session; acknowledgements may ride on it. v2: acquire mode, renewals. Answers carry arena ranges, no record byte is
 * copied here.
 *
 *   acknowledge ─► acquire at the owners, in turns of partitions ─► read the acquired bytes ─► answer
 *                     ▲                      │ nothing, time left
 *                     └── a partition changed, or the time is over ◄──┘
 *
 * What is acquired but cannot be read or sent is given back. Batches come whole; AcquiredRecords says which offsets are the
 * member's. An answer without time left takes what there is, whatever MinBytes says. Served on the connection's shard.
 */
import type { ReadResult, RecordRanges } from '../log/partition-handle.ts';
import type {
  Acquired,
  AcquiredRange,
  SharePartitionName,
  SharePartitionSeen,
} from '../log/share/share-api.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { streamKey } from '../ports/stream-id.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  ShareFetchCodec,
  type ShareFetchRequest,
  type ShareFetchResponseInput,
} from '../protocol/generated/share-fetch.ts';
import { batchBytesOf, lastOffsetOf } from '../protocol/records/batch-header.ts';
import type { RequestContext, RequestHandler } from './support/handler.ts';
import type { ReaderZone } from './support/read-replicas.ts';
import { type AcknowledgedPartition, acknowledgeAll } from './support/share-acknowledgements.ts';
import {
  byTopic,
  isMemberId,
  messageOf,
  ShareHints,
  type ShareRequestDeps,
} from './support/share-answers.ts';
import { finalEpoch, openingEpoch, type ShareSession } from './support/share-session.ts';

export interface ShareFetchDeps extends ShareRequestDeps {
  readonly arena: Arena;
  readonly clock: Clock;
  /** `fetch.max.bytes` of the broker. */
  readonly fetchBytesMax: number;
  readonly observe: { fetched(bytes: number, zone: ReaderZone): void };
}

const waitMsMax = 60_000;
const readTimeoutMs = 30_000;
const batchOptimizedMode = 0;
const recordLimitMode = 1;
const noRecords = new Uint8Array(0);

interface Outcome {
  readonly name: SharePartitionName;
  errorCode: number;
  ranges: readonly AcquiredRange[];
  records: RecordRanges | null;
}

type Respond = (response: ShareFetchResponseInput | null) => void;

class ShareFetchCall {
  readonly #deps: ShareFetchDeps;
  readonly #context: RequestContext;
  readonly #request: ShareFetchRequest;
  readonly #session: ShareSession;
  readonly #respond: Respond;
  readonly #deadline: number;
  #acknowledged: readonly AcknowledgedPartition[] = [];
  #outcomes: Outcome[] = [];
  /** Partitions without anything for the member. */
  #empty: SharePartitionName[] = [];
  #hurried = false;
  #gone = false;
  #done = false;
  #wake: (() => void) | null = null;

  constructor(
    deps: ShareFetchDeps,
    context: RequestContext,
    request: ShareFetchRequest,
    session: ShareSession,
    respond: Respond,
  ) {
    this.#deps = deps;
    this.#context = context;
    this.#request = request;
    this.#session = session;
    this.#respond = respond;
    const wait = Math.min(Math.max(0, request.maxWaitMs), waitMsMax);
    this.#deadline = deps.clock.monotonic() + wait;
  }

  start(): void {
    const { topics, isRenewAck } = this.#request;
    this.#context.whileParked((gone) => {
      this.#hurried = true;
      this.#gone ||= gone;
      this.#wake?.();
    });
    acknowledgeAll(this.#deps, this.#session, topics, isRenewAck, (results) => {
      this.#acknowledged = results;
      if (this.#request.shareSessionEpoch === finalEpoch)
        this.#deps.shareSessions.end(this.#session, () => this.#answer());
      else if (isRenewAck || this.#request.maxRecords === 0) this.#answer();
      else this.#pass();
    });
  }

  /** The time is over, or somebody waits for the answer. */
  get #late(): boolean {
    return this.#hurried || this.#deps.clock.monotonic() >= this.#deadline;
  }

  #pass(): void {
    const { shares, shareSessions, topics, fetchBytesMax } = this.#deps;
    const { maxRecords, maxBytes, minBytes, batchSize, shareAcquireMode } = this.#request;
    const { groupId, memberId } = this.#session;
    this.#outcomes = [];
    this.#empty = [];
    if (this.#gone || !shareSessions.isOpen(this.#session)) {
      this.#answer();
      return;
    }
    const names: SharePartitionName[] = [];
    for (const name of this.#session.partitions) {
      const topic = topics.topicById(name.topicId);
      if (topic?.partitions[name.partition] !== undefined) names.push(name);
      else
        this.#without(
          name,
          topic === undefined ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        );
    }
    const late = this.#late;
    const limits = {
      recordsMax: maxRecords,
      bytesMax: Math.min(maxBytes, fetchBytesMax),
      bytesMin: minBytes,
      force: late,
      strict: shareAcquireMode === recordLimitMode,
      rangeRecords: Math.max(1, batchSize),
    };
    shares.acquire(groupId, memberId, names, limits, (results) => this.#acquired(names, results, late));
  }

  #without(name: SharePartitionName, errorCode: number): void {
    this.#outcomes.push({ name, errorCode, ranges: [], records: null });
  }

  #acquired(names: readonly SharePartitionName[], results: readonly Acquired[], late: boolean): void {
    const found: { readonly name: SharePartitionName; readonly acquired: Acquired }[] = [];
    for (const [i, name] of names.entries()) {
      const acquired = results[i]!;
      if (acquired.error !== ErrorCode.NONE) this.#without(name, acquired.error);
      else if (acquired.ranges.length > 0) found.push({ name, acquired });
      else this.#empty.push(name);
    }
    if (found.length > 0) {
      let waiting = found.length;
      for (const { name, acquired } of found)
        this.#read(name, acquired, () => {
          waiting--;
          if (waiting === 0) this.#settle(late, names, results);
        });
      return;
    }
    this.#settle(late, names, results);
  }

  #settle(late: boolean, names: readonly SharePartitionName[], results: readonly Acquired[]): void {
    if (late || this.#gone || this.#outcomes.length > 0 || this.#acknowledged.length > 0) {
      this.#answer();
      return;
    }
    const { clock, shares } = this.#deps;
    let open = true;
    const again = (): void => {
      if (!open) return;
      open = false;
      this.#wake = null;
      clock.soon(() => this.#pass());
    };
    if (this.#hurried) {
      again();
      return;
    }
    this.#wake = again;
    const seen: SharePartitionSeen[] = names.map((name, i) => ({ ...name, version: results[i]!.version }));
    shares.wait(this.#session.groupId, seen, Math.max(1, this.#deadline - clock.monotonic()), again);
  }

  /** Brings the acquired bytes; offsets that the read does not bring are given back. */
  #read(name: SharePartitionName, { ranges, from, bytes }: Acquired, done: () => void): void {
    const { topics, clock, shares } = this.#deps;
    const handle = topics.partition(name.topicId, name.partition);
    if (handle === undefined) {
      this.#giveBack(name, ranges);
      this.#without(name, ErrorCode.NOT_LEADER_OR_FOLLOWER);
      done();
      return;
    }
    const onRead = (_index: number, { error, records }: ReadResult): void => {
      const end = records === null ? -1 : endOf(records, this.#deps.arena.view);
      const kept = ranges.flatMap((range) => upTo(range, end));
      const missing = ranges.flatMap((range) => beyond(range, end));
      if (missing.length > 0) this.#giveBack(name, missing);
      if (kept.length > 0) this.#outcomes.push({ name, errorCode: ErrorCode.NONE, ranges: kept, records });
      else {
        records?.release();
        if (error !== ErrorCode.NONE) this.#without(name, error);
      }
      done();
    };
    const { committed } = shares.settings(this.#session.groupId);
    handle.read(from, bytes, true, clock.monotonic() + readTimeoutMs, { onRead }, 0, committed);
  }

  #giveBack(name: SharePartitionName, ranges: readonly AcquiredRange[]): void {
    const { groupId, memberId } = this.#session;
    this.#deps.shares.giveBack(groupId, memberId, [{ ...name, ranges }]);
  }

  #answer(): void {
    if (this.#done) return;
    this.#done = true;
    const ended = this.#request.shareSessionEpoch === finalEpoch;
    if (this.#gone || !(ended || this.#deps.shareSessions.isOpen(this.#session))) {
      // Nobody reads an answer, or the member has begun anew meanwhile.
      for (const { name, ranges, records } of this.#outcomes) {
        records?.release();
        if (ranges.length > 0) this.#giveBack(name, ranges);
      }
      this.#respond(null);
      return;
    }
    // The answer that opens a session names all its partitions, a later one those that have something.
    if (this.#request.shareSessionEpoch === openingEpoch)
      for (const name of this.#empty) this.#without(name, ErrorCode.NONE);
    const { shares, observe } = this.#deps;
    const acknowledged = new Map(
      this.#acknowledged.map((result) => [streamKey(result.topicId, result.partition), result]),
    );
    let bytes = 0;
    const hint = new ShareHints(this.#deps, this.#context.listener);
    const entries = this.#outcomes.map(({ name: { topicId, partition }, errorCode, ranges, records }) => {
      const key = streamKey(topicId, partition);
      const acknowledgeErrorCode = acknowledged.get(key)?.errorCode ?? ErrorCode.NONE;
      acknowledged.delete(key);
      bytes += records?.byteLength ?? 0;
      if (records !== null)
        this.#deps.topics.partition(topicId, partition)?.sent(records.byteLength, !records.lent);
      if (ranges.length > 0) this.#session.served({ topicId, partition });
      return {
        topicId,
        data: {
          partitionIndex: partition,
          errorCode,
          errorMessage: messageOf(errorCode),
          acknowledgeErrorCode,
          acknowledgeErrorMessage: messageOf(acknowledgeErrorCode),
          records: records ?? noRecords,
          acquiredRecords: ranges,
          ...hint.of(topicId, partition, errorCode, acknowledgeErrorCode),
        },
      };
    });
    for (const { topicId, partition, errorCode } of acknowledged.values())
      entries.push({
        topicId,
        data: {
          partitionIndex: partition,
          errorCode: ErrorCode.NONE,
          errorMessage: null,
          acknowledgeErrorCode: errorCode,
          acknowledgeErrorMessage: messageOf(errorCode),
          records: noRecords,
          acquiredRecords: [],
          ...hint.of(topicId, partition, errorCode),
        },
      });
    observe.fetched(bytes, 'unknown');
    this.#respond({
      acquisitionLockTimeoutMs: shares.settings(this.#session.groupId).lockMs,
      responses: byTopic(entries),
      nodeEndpoints: hint.endpoints,
    });
  }
}

/** Last offset that the ranges hold. */
function endOf(records: RecordRanges, view: DataView): number {
  let end = -1;
  for (let i = 0; i < records.positions.length; i++) {
    const stop = records.positions[i]! + records.lengths[i]!;
    for (let at = records.positions[i]!; at < stop; at += batchBytesOf(view, at))
      end = lastOffsetOf(view, at);
  }
  return end;
}

function upTo(range: AcquiredRange, end: number): AcquiredRange[] {
  if (range.firstOffset > end) return [];
  return [{ ...range, lastOffset: Math.min(range.lastOffset, end) }];
}

function beyond(range: AcquiredRange, end: number): AcquiredRange[] {
  if (range.lastOffset <= end) return [];
  return [{ ...range, firstOffset: Math.max(range.firstOffset, end + 1) }];
}

/** What is wrong with the request as a whole, 0 = nothing. */
function problemOf(request: ShareFetchRequest): number {
  const { groupId, memberId, shareSessionEpoch: epoch, topics, isRenewAck, shareAcquireMode } = request;
  if (groupId === null || !isMemberId(memberId)) return ErrorCode.INVALID_REQUEST;
  const acknowledges = topics.some(({ partitions }) =>
    partitions.some(({ acknowledgementBatches }) => acknowledgementBatches.length > 0),
  );
  if (epoch === openingEpoch && (acknowledges || groupId === '')) return ErrorCode.INVALID_REQUEST;
  if (shareAcquireMode !== batchOptimizedMode && shareAcquireMode !== recordLimitMode)
    return ErrorCode.INVALID_REQUEST;
  const { maxWaitMs, minBytes, maxBytes, maxRecords } = request;
  const fetches = maxWaitMs !== 0 || minBytes !== 0 || maxBytes !== 0 || maxRecords !== 0;
  return isRenewAck && fetches ? ErrorCode.INVALID_REQUEST : ErrorCode.NONE;
}

export function shareFetchHandler(
  deps: ShareFetchDeps,
): RequestHandler<ShareFetchRequest, ShareFetchResponseInput> {
  return {
    codec: ShareFetchCodec,
    patient: true,
    handle(context, request, respond) {
      const problem = problemOf(request);
      if (problem !== ErrorCode.NONE) {
        respond({ errorCode: problem });
        return;
      }
      const { groupId, memberId, shareSessionEpoch: epoch, topics, forgottenTopicsData } = request;
      const session = deps.shareSessions.use(groupId!, memberId!, epoch, context.connectionId, true);
      if (typeof session === 'number') {
        respond({ errorCode: session });
        return;
      }
      if (epoch !== finalEpoch) {
        for (const { topicId, partitions } of topics)
          for (const { partitionIndex: partition } of partitions) session.add({ topicId, partition });
        for (const { topicId, partitions } of forgottenTopicsData)
          for (const partition of partitions) session.remove(topicId, partition);
      }
      new ShareFetchCall(deps, context, request, session, respond).start();
    },
  };
}

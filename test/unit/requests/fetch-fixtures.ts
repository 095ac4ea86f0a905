/** A fetch handler over logs that a test fills, holds back and moves, in virtual time. */
import {
  type AbortedTransaction,
  type OffsetAnswer,
  offsetQuery,
  type PartitionHandle,
  type PartitionWatcher,
  type ReadSink,
  RecordRanges,
} from '../../../src/log/partition-handle.ts';
import type { FetchResponseInput } from '../../../src/protocol/generated/fetch.ts';
import { ZERO_UUID } from '../../../src/protocol/primitives.ts';
import { fetchHandler } from '../../../src/requests/fetch.ts';
import { FetchSessionCache } from '../../../src/requests/support/fetch-session.ts';
import type { RequestContext } from '../../../src/requests/support/handler.ts';
import { ReadReplicas } from '../../../src/requests/support/read-replicas.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { topicId } from './admin-fixtures.ts';

export const fetchTopic = { name: 't', id: topicId(1) } as const;
/** Bytes that every record takes here. */
export const recordBytes = 100;

/** One record per offset; epochs as `epochs` says, the last of them in force. */
export class FetchedLog implements PartitionHandle {
  readonly topicId = fetchTopic.id;
  readonly partition: number;
  readonly settings = {} as PartitionHandle['settings'];
  live = true;
  startOffset = 0;
  highWatermark = 0;
  epochs = [{ epoch: 0, startOffset: 0 }];
  /** While set, reads wait here instead of being answered: what a partition of another shard does. */
  held: (() => void)[] | null = null;
  reads = 0;
  /** Answers with records whose bytes nobody has let go. */
  borrowed = 0;
  readonly watchers = new Set<PartitionWatcher>();
  readonly #arena: HeapArena;
  refresh?: (done: (error: number) => void) => void;

  constructor(partition: number, arena: HeapArena) {
    this.partition = partition;
    this.#arena = arena;
  }

  get leaderEpoch(): number {
    return this.epochs.at(-1)!.epoch;
  }

  /** Where an open transaction begins, if one is open. */
  txnFirst = Number.POSITIVE_INFINITY;
  aborted: readonly AbortedTransaction[] = [];

  get lastStableOffset(): number {
    return Math.min(this.highWatermark, this.txnFirst);
  }

  read(
    offset: number,
    maxBytes: number,
    atLeastOne: boolean,
    _by: number,
    sink: ReadSink,
    index: number,
    committed = false,
  ) {
    this.reads++;
    const answer = (): void => {
      const { highWatermark, lastStableOffset, startOffset } = this;
      const error = offset < startOffset || offset > highWatermark ? 1 : 0;
      if (error !== 0) {
        const nothing = { highWatermark: -1, lastStableOffset: -1, startOffset: -1, records: null };
        sink.onRead(index, { error, ...nothing });
        return;
      }
      const limit = committed ? lastStableOffset : highWatermark;
      let count = Math.max(0, Math.min(limit - offset, Math.floor(maxBytes / recordBytes)));
      if (count === 0 && atLeastOne && offset < limit) count = 1;
      const aborted = committed ? { aborted: this.aborted } : {};
      const records = count === 0 ? null : new RecordRanges(this.#arena, () => void this.borrowed--);
      if (records !== null) this.borrowed++;
      records?.adopt(0, count * recordBytes);
      sink.onRead(index, { error, highWatermark, lastStableOffset, startOffset, records, ...aborted });
    };
    if (this.held === null) answer();
    else this.held.push(answer);
  }

  query(kind: number, argument: number, answer: OffsetAnswer): void {
    if (kind !== offsetQuery.epochEnd) throw new Error('not asked by a fetch');
    if (argument > this.leaderEpoch) {
      answer(0, -1, -1, -1);
      return;
    }
    const at = this.epochs.findLastIndex(({ epoch }) => epoch <= argument);
    const end = this.epochs[at + 1]?.startOffset ?? this.highWatermark;
    answer(0, end, -1, this.epochs[at]?.epoch ?? argument);
  }

  sentBytes = 0;

  sent(bytes: number): void {
    this.sentBytes += bytes;
  }

  append(): void {
    throw new Error('not used here');
  }
  verify(): void {
    throw new Error('not used here');
  }
  describeProducers(): void {
    throw new Error('not used here');
  }
  watch(watcher: PartitionWatcher): void {
    this.watchers.add(watcher);
  }
  unwatch(watcher: PartitionWatcher): void {
    this.watchers.delete(watcher);
  }

  /** Records arrive, and watchers are told. */
  grow(records: number): void {
    this.highWatermark += records;
    for (const watcher of [...this.watchers]) watcher.onPartitionChanged(this);
  }

  /** Held reads are answered with what is there now. */
  letGo(): void {
    const held = this.held ?? [];
    this.held = null;
    for (const answer of held) answer();
  }
}

export interface Wanted {
  readonly partition: number;
  readonly offset: number;
  readonly currentEpoch?: number;
  readonly lastEpoch?: number;
  readonly maxBytes?: number;
}

export interface FetchOptions {
  readonly version?: number;
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  /** read_committed */
  readonly committed?: boolean;
  readonly session?: { readonly id: number; readonly epoch: number };
  /** Partitions. */
  readonly forgotten?: readonly number[];
  readonly maxBytes?: number;
}

export interface FetchBedOptions {
  /** Sessions kept, and how long an unused one is safe from a new one, ms. */
  readonly slots?: number;
  readonly evictionMs?: number;
  /** Of the broker. */
  readonly fetchBytesMax?: number;
}

/** An answer that may still be out. */
export interface Fetched {
  answer: FetchResponseInput | null;
  /** Ends the waiting as a request behind this one does, or a closed connection. */
  over: ((gone: boolean) => void) | null;
}

export class FetchBed {
  readonly clock = new VirtualClock();
  readonly arena = new HeapArena({ segmentBytes: 4096, segmentCount: 4 });
  readonly logs: FetchedLog[];
  /** Bytes of records of each answer. */
  readonly answered: number[] = [];
  readonly #handler;

  constructor(partitions: number, options: FetchBedOptions = {}) {
    const { slots = 10, evictionMs = 1000, fetchBytesMax = 1 << 20 } = options;
    this.logs = Array.from({ length: partitions }, (_, index) => new FetchedLog(index, this.arena));
    const image = { topicId: fetchTopic.id, name: fetchTopic.name, partitions: this.logs };
    const topics = {
      topicByName: (name: string) => (name === fetchTopic.name ? image : undefined),
      topicById: (id: string) => (id === fetchTopic.id ? image : undefined),
      partition: (_id: string, index: number) => this.logs[index],
    } as unknown as TopicDirectory;
    this.#handler = fetchHandler({
      topics,
      sessions: new FetchSessionCache(slots, evictionMs, this.clock, new SeededRandom(1)),
      clock: this.clock,
      fetchBytesMax,
      endpoint: () => ({ nodeId: 0, host: 'h', port: 1, rack: null }),
      replicas: new ReadReplicas(this.clock),
      observe: { fetched: (bytes) => void this.answered.push(bytes) },
    });
  }

  fetch(wanted: readonly Wanted[], options: FetchOptions = {}): Fetched {
    const version = options.version ?? 12;
    const byId = version >= 13;
    const name = { topic: byId ? '' : fetchTopic.name, topicId: byId ? fetchTopic.id : ZERO_UUID };
    const fetched: Fetched = { answer: null, over: null };
    const context = {
      apiVersion: version,
      connectionId: 1,
      listener: 'plain',
      whileParked: (over: (gone: boolean) => void) => {
        fetched.over = over;
      },
    } as unknown as RequestContext;
    const request = {
      rackId: '',
      maxWaitMs: options.maxWaitMs ?? 500,
      minBytes: options.minBytes ?? 1,
      maxBytes: options.maxBytes ?? 1 << 20,
      isolationLevel: options.committed === true ? 1 : 0,
      sessionId: options.session?.id ?? 0,
      sessionEpoch: options.session?.epoch ?? -1,
      topics: [
        {
          ...name,
          partitions: wanted.map((each) => ({
            partition: each.partition,
            fetchOffset: each.offset,
            partitionMaxBytes: each.maxBytes ?? 1 << 16,
            currentLeaderEpoch: each.currentEpoch ?? -1,
            lastFetchedEpoch: each.lastEpoch ?? -1,
          })),
        },
      ],
      forgottenTopicsData:
        options.forgotten === undefined ? [] : [{ ...name, partitions: options.forgotten }],
    };
    this.#handler.handle(context, request as never, (answer) => {
      fetched.answer = answer;
    });
    return fetched;
  }
}

export function partitionsOf(fetched: Fetched) {
  if (fetched.answer === null) throw new Error('the fetch was not answered');
  return (fetched.answer.responses ?? []).flatMap(({ partitions }) => partitions ?? []);
}

/** Partition and records of all that brought some. */
export function recordsOf(fetched: Fetched): [partition: number, records: number][] {
  return partitionsOf(fetched)
    .map(({ partitionIndex, records }): [number, number] => [
      partitionIndex!,
      (records?.byteLength ?? 0) / recordBytes,
    ])
    .filter(([, records]) => records > 0);
}

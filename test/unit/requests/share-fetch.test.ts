/** ShareFetch over share partitions and logs that a test holds: limits, waiting, and records that come back. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type PartitionHandle, type ReadSink, RecordRanges } from '../../../src/log/partition-handle.ts';
import type { Acquired, AcquireLimits, SharePartitionsApi } from '../../../src/log/share/share-api.ts';
import { nothingAcquired } from '../../../src/log/share/share-partition.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import type {
  ShareFetchRequestInput,
  ShareFetchResponseInput,
} from '../../../src/protocol/generated/share-fetch.ts';
import { ShareFetchCodec } from '../../../src/protocol/generated/share-fetch.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { Writer } from '../../../src/protocol/writer.ts';
import { shareFetchHandler } from '../../../src/requests/share-fetch.ts';
import { ClusterView } from '../../../src/requests/support/cluster-view.ts';
import type { RequestContext } from '../../../src/requests/support/handler.ts';
import { ShareSessions } from '../../../src/requests/support/share-session.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { crc32c } from '../../support/load/batches.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { FakeTopics } from './admin-fixtures.ts';
import { ownEndpoint as endpoint } from './cluster-fixtures.ts';

interface Asked {
  readonly limits: AcquireLimits;
  readonly partitions: readonly number[];
}

function world() {
  const clock = new VirtualClock();
  const arena = new HeapArena({ segmentBytes: 4_096, segmentCount: 4 });
  arena.acquireRun(4);
  /** What each acquire of a partition gets, by partition; nothing when there is none left. */
  const next = new Map<number, Partial<Acquired>[]>();
  const asked: Asked[] = [];
  const back: string[] = [];
  const waits: { ms: number; versions: readonly number[]; done: () => void }[] = [];
  const sent: string[] = [];
  const fetched: number[] = [];
  const reads: { from: number; bytes: number; by: number; committed: boolean }[] = [];
  /** Offset behind the records that reads bring; batches of two records. */
  let logEnd = 10;
  let readError = 0;
  let references = 0;
  const held: (() => void)[] = [];
  let hold = false;
  const shares: SharePartitionsApi = {
    settings: () => ({
      lockMs: 30_000,
      deliveriesMax: 5,
      locksMax: 10,
      committed: true,
      reset: { at: 'latest' },
      renewals: true,
    }),
    acquire: (_group, _member, partitions, limits, done) => {
      asked.push({ limits, partitions: partitions.map(({ partition }) => partition) });
      done(partitions.map(({ partition }) => ({ ...nothingAcquired, ...next.get(partition)?.shift() })));
    },
    acknowledge: (_group, _member, partitions, done) => done(partitions.map(() => 0)),
    giveBack: (_group, member, partitions) => {
      for (const { partition, ranges } of partitions)
        back.push(
          `${member} ${partition}: ${ranges.map(({ firstOffset, lastOffset }) => `${firstOffset}-${lastOffset}`)}`,
        );
    },
    release: (_group, _member, _partitions, done) => done(),
    left() {},
    wait: (_group, partitions, ms, done) =>
      void waits.push({ ms, versions: partitions.map(({ version }) => version), done }),
  };
  const topics = new FakeTopics();
  const topicId = topics.add('t', 3);
  const handleOf = (partition: number): PartitionHandle =>
    ({
      partition,
      sent: (bytes: number, fromMemory: boolean) => sent.push(`${partition} ${bytes > 0} ${fromMemory}`),
      read: (
        from: number,
        bytes: number,
        atLeastOne: boolean,
        by: number,
        sink: ReadSink,
        index: number,
        committed: boolean,
      ): void => {
        if (hold) {
          hold = false;
          held.push(() => handleOf(partition).read(from, bytes, atLeastOne, by, sink, index, committed));
          return;
        }
        assert.equal(atLeastOne, true);
        reads.push({ from, bytes, by, committed });
        if (readError !== 0) {
          sink.onRead(index, {
            error: readError,
            highWatermark: -1,
            lastStableOffset: -1,
            startOffset: -1,
            records: null,
          });
          return;
        }
        const records = new RecordRanges(arena, () => void references--);
        references++;
        let at = 0;
        for (let offset = from; offset < logEnd; offset += 2) {
          const batch = buildBatch(
            [0, 1].map(() => ({ key: null, value: Buffer.from('v'), timestamp: 1 })),
            { baseOffset: offset },
            crc32c,
          );
          batch.copy(arena.buffer, at);
          records.adopt(at, batch.length);
          at += batch.length;
        }
        sink.onRead(index, {
          error: 0,
          highWatermark: logEnd,
          lastStableOffset: logEnd,
          startOffset: 0,
          records: at === 0 ? null : records,
        });
      },
    }) as unknown as PartitionHandle;
  const handles = new Map([0, 1, 2].map((partition) => [partition, handleOf(partition)]));
  topics.partition = ((_id: string, partition: number) => handles.get(partition)) as never;
  const sessions = new ShareSessions(shares, 5);
  const handler = shareFetchHandler({
    topics,
    shares,
    shareSessions: sessions,
    cluster: new ClusterView({ topics, endpoint }),
    arena,
    clock,
    fetchBytesMax: 1_000,
    observe: { fetched: (bytes) => void fetched.push(bytes) },
  });
  const fetch = (
    shareSessionEpoch: number,
    partitions: readonly number[],
    more: ShareFetchRequestInput = {},
  ) => {
    const told = {
      answers: [] as (ShareFetchResponseInput | null)[],
      over: (_gone: boolean): void => {},
    };
    const writer = new Writer();
    const named = partitions.map((partitionIndex) => ({ partitionIndex }));
    ShareFetchCodec.encodeRequest(
      writer,
      {
        groupId: 'g',
        memberId: 'm',
        shareSessionEpoch,
        maxWaitMs: 500,
        maxRecords: 10,
        maxBytes: 600,
        batchSize: 5,
        minBytes: 1,
        topics: named.length === 0 ? [] : [{ topicId, partitions: named }],
        ...more,
      },
      2,
    );
    const context = {
      apiVersion: 2,
      connectionId: 1,
      listener: 'plain',
      whileParked: (over: (gone: boolean) => void) => {
        told.over = over;
      },
    } as unknown as RequestContext;
    const request = ShareFetchCodec.decodeRequest(new Reader(Buffer.from(writer.written)), 2);
    handler.handle(context, request, (answer) => void told.answers.push(answer));
    return told;
  };
  return {
    clock,
    next,
    asked,
    back,
    waits,
    sent,
    fetched,
    reads,
    handles,
    sessions,
    fetch,
    topicId,
    end: (offset: number, error = 0) => {
      logEnd = offset;
      readError = error;
    },
    references: () => references,
    /** The next read waits until this is called. */
    holdRead: () => {
      hold = true;
      return () => void held.splice(0).map((read) => read());
    },
  };
}

const range = (firstOffset: number, lastOffset: number) => ({ firstOffset, lastOffset, deliveryCount: 1 });
const got = (...ranges: ReturnType<typeof range>[]): Partial<Acquired> => ({
  ranges,
  from: ranges[0]!.firstOffset,
  bytes: 700,
});

/** `partition code: acquired ranges`, with `+` where there are records. */
function told({ answers }: { answers: (ShareFetchResponseInput | null)[] }): string[] {
  assert.equal(answers.length, 1);
  return (answers[0]!.responses ?? []).flatMap(({ partitions }) =>
    (partitions ?? []).map(({ partitionIndex, errorCode, acquiredRecords, records }) => {
      const ranges = (acquiredRecords ?? []).map((each) => `${each.firstOffset}-${each.lastOffset}`).join();
      return `${partitionIndex} ${errorCode}: ${ranges}${(records?.byteLength ?? 0) > 0 ? '+' : ''}`;
    }),
  );
}

describe('a ShareFetch', () => {
  it('acquires within its limits and the broker’s, whole batches or not a record more', () => {
    for (const [more, expected] of [
      [{}, { recordsMax: 10, bytesMax: 600, bytesMin: 1, force: false, strict: false, rangeRecords: 5 }],
      [
        { maxBytes: 1_001, shareAcquireMode: 1, batchSize: 0, maxRecords: 3, minBytes: 9 },
        { recordsMax: 3, bytesMax: 1_000, bytesMin: 9, force: false, strict: true, rangeRecords: 1 },
      ],
      [
        { maxWaitMs: 0 },
        { recordsMax: 10, bytesMax: 600, bytesMin: 1, force: true, strict: false, rangeRecords: 5 },
      ],
      [
        { maxWaitMs: -1 },
        { recordsMax: 10, bytesMax: 600, bytesMin: 1, force: true, strict: false, rangeRecords: 5 },
      ],
    ] as const) {
      const on = world();
      on.fetch(0, [0, 1], more);
      assert.deepEqual(on.asked, [{ limits: expected, partitions: [0, 1] }]);
    }
  });

  it('brings what was acquired, read to the end of it, and counts it', () => {
    const on = world();
    on.clock.advance(7);
    on.next.set(1, [got(range(4, 5), range(8, 9))]);
    assert.deepEqual(told(on.fetch(0, [0, 1, 2])), ['1 0: 4-5,8-9+', '0 0: ', '2 0: ']);
    assert.deepEqual(on.reads, [{ from: 4, bytes: 700, by: 30_007, committed: true }]);
    assert.deepEqual([on.sent, on.back, on.references()], [['1 true false'], [], 1]);
    assert.equal(on.fetched.length, 1);
    assert.ok(on.fetched[0]! > 0);
  });

  it('says how long locks last, and names no partition without news in a later answer', () => {
    const on = world();
    on.fetch(0, [0, 1], { maxWaitMs: 0 });
    on.next.set(1, [got(range(0, 1))]);
    const later = on.fetch(1, []);
    assert.deepEqual(told(later), ['1 0: 0-1+']);
    assert.equal(later.answers[0]!.acquisitionLockTimeoutMs, 30_000);
    on.fetch(2, [], { maxWaitMs: 0 });
    assert.deepEqual(on.asked.at(-1)!.partitions, [0, 1]);
  });

  it('serves first those that had nothing', () => {
    const on = world();
    on.next.set(0, [got(range(0, 1))]);
    on.fetch(0, [0, 1, 2]);
    on.fetch(1, [], { maxWaitMs: 0 });
    assert.deepEqual(on.asked.at(-1)!.partitions, [1, 2, 0]);
  });

  it('gives back what the read does not bring', () => {
    for (const [end, answer, back] of [
      [10, ['0 0: 4-5,7-9+'], []],
      [8, ['0 0: 4-5,7-7+'], ['m 0: 8-9']],
      [6, ['0 0: 4-5+'], ['m 0: 7-9']],
    ] as const) {
      const on = world();
      on.end(end);
      on.next.set(0, [got(range(4, 5), range(7, 9))]);
      assert.deepEqual([told(on.fetch(0, [0])), on.back], [answer, back]);
    }
    const none = world();
    none.end(4);
    none.next.set(0, [got(range(4, 5))]);
    assert.deepEqual(none.fetch(0, [0]).answers, [], 'it waits for more');
    assert.deepEqual([none.back, none.waits.length], [['m 0: 4-5'], 1]);
  });

  it('tells of partitions that it cannot read, and gives all of it back', () => {
    const on = world();
    on.handles.delete(0);
    on.next.set(0, [got(range(0, 1))]);
    assert.deepEqual(told(on.fetch(0, [0])), [`0 ${ErrorCode.NOT_LEADER_OR_FOLLOWER}: `]);
    on.end(10, ErrorCode.KAFKA_STORAGE_ERROR);
    on.next.set(1, [got(range(0, 1))]);
    assert.deepEqual(told(on.fetch(1, [1])), [`1 ${ErrorCode.KAFKA_STORAGE_ERROR}: `]);
    assert.deepEqual([on.back, on.references()], [['m 0: 0-1', 'm 1: 0-1'], 0]);
  });

  it('tells of partitions that there are not, and of errors of share partitions, at once', () => {
    const on = world();
    on.next.set(0, [{ error: ErrorCode.NOT_LEADER_OR_FOLLOWER }]);
    assert.deepEqual(told(on.fetch(0, [0, 3])), [
      `3 ${ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}: `,
      `0 ${ErrorCode.NOT_LEADER_OR_FOLLOWER}: `,
    ]);
    const stranger = on.fetch(1, [], {
      topics: [{ topicId: 'AAAAAAAAAAAAAAAAAAAAZg', partitions: [{ partitionIndex: 0 }] }],
      forgottenTopicsData: [{ topicId: on.topicId, partitions: [0, 3] }],
    });
    assert.deepEqual(told(stranger), [`0 ${ErrorCode.UNKNOWN_TOPIC_ID}: `]);
    assert.deepEqual(on.asked.at(-1)!.partitions, []);
  });
});

describe('a ShareFetch that finds nothing', () => {
  it('waits for the rest of its time, and acquires again as often as something changed', () => {
    const on = world();
    on.next.set(0, [{ version: 3 }]);
    on.next.set(1, [{ version: 4 }]);
    const fetched = on.fetch(0, [0, 1]);
    assert.deepEqual(
      on.waits.map(({ ms, versions }) => [ms, versions]),
      [[500, [3, 4]]],
    );
    on.clock.advance(200);
    on.waits[0]!.done();
    on.waits[0]!.done();
    on.clock.advance(0);
    assert.deepEqual([on.asked.length, on.waits.length, on.waits[1]!.ms, fetched.answers], [2, 2, 300, []]);
    on.next.set(1, [got(range(2, 3))]);
    on.waits[1]!.done();
    on.clock.advance(0);
    assert.deepEqual(told(fetched), ['1 0: 2-3+', '0 0: ']);
  });

  it('takes whatever there is when its time is over, and is answered', () => {
    const on = world();
    const fetched = on.fetch(0, [0]);
    on.clock.advance(500);
    on.waits[0]!.done();
    on.clock.advance(0);
    assert.deepEqual(
      on.asked.map(({ limits }) => limits.force),
      [false, true],
    );
    assert.deepEqual(told(fetched), ['0 0: ']);
  });

  it('waits at least a millisecond, and at most a minute', () => {
    const on = world();
    on.fetch(0, [0], { maxWaitMs: 1_000_000 });
    assert.equal(on.waits[0]!.ms, 60_000);
    on.clock.advance(59_999.5);
    on.waits[0]!.done();
    on.clock.advance(0);
    assert.equal(on.waits[1]!.ms, 1);
  });

  it('is answered when somebody waits behind it, with what there is', () => {
    const on = world();
    const fetched = on.fetch(0, [0]);
    on.next.set(0, [got(range(0, 1))]);
    fetched.over(false);
    on.clock.advance(0);
    assert.equal(on.asked[1]!.limits.force, true);
    assert.deepEqual(told(fetched), ['0 0: 0-1+']);
    on.waits[0]!.done();
    on.clock.advance(0);
    assert.equal(fetched.answers.length, 1);
  });

  it('acquires nothing more when its connection has gone', () => {
    const on = world();
    const fetched = on.fetch(0, [0]);
    fetched.over(true);
    on.clock.advance(0);
    assert.deepEqual([on.asked.length, fetched.answers], [1, [null]]);
  });

  it('gives back what it has acquired when nobody reads its answer any more', () => {
    for (const how of ['gone', 'begun anew']) {
      const on = world();
      on.next.set(0, [got(range(0, 1))]);
      on.next.set(1, [got(range(4, 5))]);
      const letGo = on.holdRead();
      const fetched = on.fetch(0, [0, 1, 3]);
      assert.deepEqual(fetched.answers, []);
      if (how === 'gone') fetched.over(true);
      else on.fetch(0, [2], { maxWaitMs: 0 });
      letGo();
      assert.deepEqual([fetched.answers, on.references()], [[null], 0], how);
      assert.deepEqual(on.back, ['m 1: 4-5', 'm 0: 0-1']);
      assert.deepEqual(on.sent, []);
    }
  });

  it('nor when its session was begun anew', () => {
    const on = world();
    const fetched = on.fetch(0, [0]);
    on.fetch(0, [0], { maxWaitMs: 0 });
    on.waits[0]!.done();
    on.clock.advance(0);
    assert.deepEqual([on.asked.length, fetched.answers], [2, [null]]);
  });
});

it('a ShareFetch without records to fetch acquires none', () => {
  const on = world();
  assert.deepEqual(told(on.fetch(0, [0], { maxRecords: 0 })), []);
  assert.deepEqual(told(on.fetch(-1, [])), []);
  assert.deepEqual([on.asked, on.sessions.size], [[], 0]);
});

it('renewals come alone: with anything to fetch they are refused', () => {
  const none = { isRenewAck: true, maxWaitMs: 0, minBytes: 0, maxBytes: 0, maxRecords: 0 };
  for (const field of ['maxWaitMs', 'minBytes', 'maxBytes', 'maxRecords']) {
    const { answers } = world().fetch(0, [0], { ...none, [field]: 1 });
    assert.deepEqual(answers, [{ errorCode: ErrorCode.INVALID_REQUEST }]);
  }
  const on = world();
  assert.equal(on.fetch(0, [0], none).answers[0]!.errorCode ?? 0, 0);
  assert.deepEqual(on.asked, []);
});

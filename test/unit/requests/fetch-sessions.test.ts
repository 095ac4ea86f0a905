/** Fetch sessions through their requests: epochs, places, what an answer leaves out, and who gets the room in it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ZERO_UUID } from '../../../src/protocol/primitives.ts';
import { FetchBed, type Fetched, fetchTopic, partitionsOf, recordsOf } from './fetch-fixtures.ts';

describe('the epochs of a fetch session', () => {
  const wanted = [{ partition: 0, offset: 0 }];
  const open = (bed: FetchBed, version = 12): number =>
    bed.fetch(wanted, { version, maxWaitMs: 0, session: { id: 0, epoch: 0 } }).answer!.sessionId!;
  const next = (bed: FetchBed, id: number, epoch: number, version = 12): Fetched =>
    bed.fetch([], { version, maxWaitMs: 0, session: { id, epoch } });
  const errorOf = ({ answer }: Fetched): number => answer!.errorCode ?? 0;

  test('count from 1, each once', () => {
    const bed = new FetchBed(1);
    const id = open(bed);
    assert.ok(id > 0);
    assert.equal(errorOf(next(bed, id, 2)), ErrorCode.INVALID_FETCH_SESSION_EPOCH);
    for (const epoch of [1, 2, 3]) {
      const told = next(bed, id, epoch);
      assert.deepEqual([errorOf(told), told.answer!.sessionId], [0, id]);
      assert.equal(errorOf(next(bed, id, epoch)), ErrorCode.INVALID_FETCH_SESSION_EPOCH);
    }
  });

  test('belong to a session that is kept', () => {
    const bed = new FetchBed(1);
    const id = open(bed);
    assert.equal(errorOf(next(bed, id + 1, 1)), ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    assert.equal(errorOf(next(bed, 0, 1)), ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    assert.equal(bed.clock.timers, 0);
  });

  test('are refused while the fetch before is being served', () => {
    const bed = new FetchBed(1);
    const id = open(bed);
    const parked = bed.fetch([], { session: { id, epoch: 1 } });
    assert.equal(errorOf(next(bed, id, 2)), ErrorCode.INVALID_FETCH_SESSION_EPOCH);
    bed.logs[0]!.grow(1);
    bed.clock.runSoon();
    assert.deepEqual(recordsOf(parked), [[0, 1]]);
    assert.equal(errorOf(next(bed, id, 2)), 0);
  });

  test('do not change how topics are named', () => {
    const bed = new FetchBed(1);
    const byName = open(bed, 12);
    const byId = open(bed, 13);
    assert.equal(errorOf(next(bed, byName, 1, 13)), ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR);
    assert.equal(errorOf(next(bed, byId, 1, 12)), ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR);
    assert.equal(errorOf(next(bed, byName, 1, 12)), 0);
    assert.equal(errorOf(next(bed, byId, 1, 13)), 0);
  });

  test('0 ends the session that is named and begins another; −1 only ends it', () => {
    const bed = new FetchBed(1);
    const first = open(bed);
    const again = bed.fetch(wanted, { maxWaitMs: 0, session: { id: first, epoch: 0 } });
    const second = again.answer!.sessionId!;
    assert.ok(second !== 0 && second !== first);
    assert.equal(errorOf(next(bed, first, 1)), ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    assert.equal(bed.logs[0]!.watchers.size, 1);
    const ended = bed.fetch([], { session: { id: second, epoch: -1 } });
    assert.deepEqual([ended.answer!.sessionId, ended.answer!.responses], [0, []], 'answered at once');
    assert.equal(errorOf(next(bed, second, 1)), ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    assert.equal(bed.logs[0]!.watchers.size, 0);
  });

  test('end with a fetch that waits: it is answered first', () => {
    const bed = new FetchBed(1);
    const id = open(bed);
    const parked = bed.fetch([], { session: { id, epoch: 1 } });
    assert.equal(parked.answer, null);
    bed.fetch([], { session: { id, epoch: -1 } });
    assert.deepEqual(partitionsOf(parked), []);
    assert.equal(bed.clock.timers, 0);
  });

  test('before version 7 there are none: every fetch is whole and leaves nothing', () => {
    const bed = new FetchBed(1);
    for (const epoch of [-1, 0, 1]) {
      const told = bed.fetch(wanted, { version: 6, maxWaitMs: 0, session: { id: 0, epoch } });
      assert.deepEqual([told.answer!.sessionId, partitionsOf(told).length], [0, 1]);
    }
    assert.equal(bed.fetch(wanted, { version: 7, maxWaitMs: 0 }).answer!.sessionId, 0);
    assert.equal(bed.logs[0]!.watchers.size, 0);
    assert.ok(open(bed, 7) > 0);
    assert.equal(bed.logs[0]!.watchers.size, 1);
  });
});

describe('places for fetch sessions', () => {
  const wanted = [{ partition: 0, offset: 0 }];
  const open = (bed: FetchBed): number =>
    bed.fetch(wanted, { maxWaitMs: 0, session: { id: 0, epoch: 0 } }).answer!.sessionId!;
  const errorOf = (bed: FetchBed, id: number, epoch: number): number =>
    bed.fetch([], { maxWaitMs: 0, session: { id, epoch } }).answer!.errorCode ?? 0;

  test('are given again when the longest unused session has been idle for the time of eviction', () => {
    const bed = new FetchBed(1, { slots: 2, evictionMs: 1_000 });
    const [first, second] = [open(bed), open(bed)];
    assert.ok(first !== 0 && second !== 0);
    bed.clock.advance(500);
    assert.equal(errorOf(bed, first, 1), 0, 'used at 500');
    bed.clock.advance(499);
    assert.equal(open(bed), 0, 'the second is idle for 999 ms');
    bed.clock.advance(1);
    const third = open(bed);
    assert.notEqual(third, 0);
    assert.equal(errorOf(bed, second, 1), ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    assert.equal(errorOf(bed, first, 2), 0);
    assert.equal(errorOf(bed, third, 1), 0);
    assert.equal(bed.logs[0]!.watchers.size, 2, 'the one that lost its place watches nothing');
  });

  test('are not taken from a session whose fetch is being served, however long', () => {
    const bed = new FetchBed(1, { slots: 1, evictionMs: 1_000 });
    const id = open(bed);
    const parked = bed.fetch([], { maxWaitMs: 5_000, session: { id, epoch: 1 } });
    bed.clock.advance(3_000);
    assert.equal(open(bed), 0);
    assert.equal(parked.answer, null);
    bed.logs[0]!.grow(1);
    bed.clock.runSoon();
    assert.notEqual(open(bed), 0);
  });

  test('there may be none at all', () => {
    const bed = new FetchBed(1, { slots: 0, evictionMs: 0 });
    bed.logs[0]!.grow(1);
    const told = bed.fetch(wanted, { session: { id: 0, epoch: 0 } });
    assert.deepEqual([told.answer!.sessionId, recordsOf(told)], [0, [[0, 1]]]);
  });
});

describe('what an answer of a session leaves out', () => {
  test('partitions without news; a moved end or start is news, once', () => {
    const bed = new FetchBed(3);
    const all = [0, 1, 2].map((partition) => ({ partition, offset: 0 }));
    const first = bed.fetch(all, { maxWaitMs: 0, session: { id: 0, epoch: 0 } });
    assert.deepEqual(
      partitionsOf(first).map(({ partitionIndex, highWatermark }) => [partitionIndex, highWatermark]),
      [
        [0, 0],
        [1, 0],
        [2, 0],
      ],
    );
    const id = first.answer!.sessionId!;
    let epoch = 1;
    const told = (wanted: { partition: number; offset: number }[] = []) =>
      partitionsOf(bed.fetch(wanted, { maxWaitMs: 0, session: { id, epoch: epoch++ } })).map(
        ({ partitionIndex, highWatermark, logStartOffset, records }) => [
          partitionIndex,
          highWatermark,
          logStartOffset,
          records!.byteLength,
        ],
      );
    assert.deepEqual(told(), []);
    assert.deepEqual(told([{ partition: 1, offset: 0 }]), [], 'asked again, the same');
    bed.logs[1]!.grow(2);
    assert.deepEqual(told(), [[1, 2, 0, 200]]);
    assert.deepEqual(told([{ partition: 1, offset: 2 }]), []);
    bed.logs[1]!.startOffset = 1;
    bed.logs[1]!.grow(0);
    assert.deepEqual(told(), [[1, 2, 1, 0]]);
    bed.logs[1]!.grow(0);
    assert.deepEqual(told(), []);
  });

  test('an error is told every time', () => {
    const bed = new FetchBed(2);
    const first = bed.fetch(
      [
        { partition: 0, offset: 5 },
        { partition: 1, offset: 0 },
      ],
      { session: { id: 0, epoch: 0 } },
    );
    const errors = (fetched: Fetched) =>
      partitionsOf(fetched).map(({ partitionIndex, errorCode }) => [partitionIndex, errorCode]);
    assert.deepEqual(errors(first), [
      [0, 1],
      [1, 0],
    ]);
    const id = first.answer!.sessionId!;
    for (const epoch of [1, 2]) assert.deepEqual(errors(bed.fetch([], { session: { id, epoch } })), [[0, 1]]);
  });

  test('topics are named as the client names them', () => {
    const bed = new FetchBed(1);

    for (const [version, name, id] of [
      [12, fetchTopic.name, ZERO_UUID],
      [13, '', fetchTopic.id],
    ] as const) {
      const { answer } = bed.fetch([{ partition: 0, offset: 0 }], { version, maxWaitMs: 0 });
      const [topic] = answer!.responses!;
      assert.deepEqual([topic!.topic, topic!.topicId], [name, id]);
    }
  });
});

describe('room in an answer', () => {
  const three = [0, 1, 2].map((partition) => ({ partition, offset: 0 }));
  const filled = (options: { fetchBytesMax?: number } = {}): FetchBed => {
    const bed = new FetchBed(3, options);
    for (const log of bed.logs) log.grow(4);
    return bed;
  };

  test('is shared in the order asked; what has none is answered with its offsets', () => {
    const bed = filled();
    const fetched = bed.fetch(three, { maxBytes: 600 });
    bed.clock.advance(20);
    assert.deepEqual(
      partitionsOf(fetched).map(({ records, highWatermark, errorCode }) => [
        records!.byteLength,
        highWatermark,
        errorCode,
      ]),
      [
        [400, 4, 0],
        [200, 4, 0],
        [0, 4, 0],
      ],
    );
    assert.deepEqual(bed.answered, [600]);
    assert.deepEqual(
      bed.logs.map(({ sentBytes }) => sentBytes),
      [400, 200, 0],
    );
  });

  test('is bounded by the broker, too, and by what a partition may bring', () => {
    const bed = filled({ fetchBytesMax: 500 });
    const fetched = bed.fetch(
      three.map((each) => ({ ...each, maxBytes: 300 })),
      { maxBytes: 1 << 20 },
    );
    bed.clock.advance(20);
    assert.deepEqual(recordsOf(fetched), [
      [0, 3],
      [1, 2],
    ]);
  });

  test('is made for one batch at least, and for that only (KIP-74)', () => {
    for (const maxBytes of [0, 1, 99]) {
      const bed = filled();
      const fetched = bed.fetch(three, { maxBytes });
      bed.clock.advance(20);
      assert.deepEqual(recordsOf(fetched), [[0, 1]]);
    }
    const small = filled();
    const fetched = small.fetch(three.map((each) => ({ ...each, maxBytes: 0 })));
    small.clock.advance(20);
    assert.deepEqual(recordsOf(fetched), [[0, 1]]);
  });

  test('goes first to those who had none before, in a session', () => {
    const bed = filled();
    const first = bed.fetch(three, { maxBytes: 400, session: { id: 0, epoch: 0 } });
    bed.clock.advance(20);
    assert.deepEqual(recordsOf(first), [[0, 4]]);
    const id = first.answer!.sessionId!;
    const second = bed.fetch([{ partition: 0, offset: 4 }], { maxBytes: 400, session: { id, epoch: 1 } });
    bed.clock.advance(20);
    assert.deepEqual(recordsOf(second), [[1, 4]]);
    const third = bed.fetch([{ partition: 1, offset: 4 }], { maxBytes: 400, session: { id, epoch: 2 } });
    bed.clock.advance(20);
    assert.deepEqual(recordsOf(third), [[2, 4]]);
  });
});

test('the leader epoch that a client states must be the one in force', () => {
  const bed = new FetchBed(1);
  bed.logs[0]!.epochs = [
    { epoch: 1, startOffset: 0 },
    { epoch: 4, startOffset: 0 },
  ];
  const codes = [0, 3, 4, 5].map(
    (currentEpoch) =>
      partitionsOf(bed.fetch([{ partition: 0, offset: 0, currentEpoch }], { maxWaitMs: 0 }))[0]!.errorCode,
  );
  assert.deepEqual(codes, [
    ErrorCode.FENCED_LEADER_EPOCH,
    ErrorCode.FENCED_LEADER_EPOCH,
    0,
    ErrorCode.UNKNOWN_LEADER_EPOCH,
  ]);
});

/** Fetches in virtual time: what wakes them, what a session keeps, and where histories part. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FetchBed, type Fetched, partitionsOf, recordsOf } from './fetch-fixtures.ts';

describe('a fetch that finds nothing', () => {
  test('waits for its time and no longer', () => {
    const bed = new FetchBed(1);
    const fetched = bed.fetch([{ partition: 0, offset: 0 }], { maxWaitMs: 500 });
    bed.clock.advance(492);
    assert.equal(fetched.answer, null);
    bed.clock.advance(8);
    assert.deepEqual(recordsOf(fetched), []);
    assert.equal(bed.clock.timers, 0);
  });

  test('ends together with others that came a little before or after, none later than it asked', () => {
    const bed = new FetchBed(1);
    const waits: { readonly since: number; readonly fetched: Fetched }[] = [];
    const ends = new Set<number>();
    for (let ms = 0; ms < 700; ms++) {
      if (ms < 100)
        waits.push({ since: ms, fetched: bed.fetch([{ partition: 0, offset: 0 }], { maxWaitMs: 500 }) });
      for (const wait of [...waits]) {
        if (wait.fetched.answer === null) continue;
        const waited = ms - wait.since;
        assert.ok(waited > 492 && waited <= 500, `waited ${waited} ms`);
        ends.add(ms);
        waits.splice(waits.indexOf(wait), 1);
      }
      bed.clock.advance(1);
    }
    assert.equal(waits.length, 0);
    assert.ok(ends.size <= 14, `ends at ${ends.size} times`);
  });

  test('ends exactly when it asked where that is soon', () => {
    const bed = new FetchBed(1);
    bed.clock.advance(3);
    const fetched = bed.fetch([{ partition: 0, offset: 0 }], { maxWaitMs: 50 });
    bed.clock.advance(49);
    assert.equal(fetched.answer, null);
    bed.clock.advance(1);
    assert.deepEqual(recordsOf(fetched), []);
  });

  test('is answered when a partition changes, at the moment it does', () => {
    const bed = new FetchBed(2);
    const fetched = bed.fetch([
      { partition: 0, offset: 0 },
      { partition: 1, offset: 0 },
    ]);
    bed.clock.advance(100);
    bed.logs[1]!.grow(2);
    bed.clock.runSoon();
    assert.deepEqual(recordsOf(fetched), [[1, 2]]);
    assert.equal(bed.clock.timers, 0);
  });

  test('waits on until there are as many bytes as it asks for', () => {
    const bed = new FetchBed(2);
    const both = [0, 1].map((partition) => ({ partition, offset: 0 }));
    const fetched = bed.fetch(both, { minBytes: 300 });
    bed.logs[0]!.grow(2);
    bed.clock.advance(1);
    assert.equal(fetched.answer, null);
    bed.logs[1]!.grow(1);
    bed.clock.runSoon();
    assert.deepEqual(recordsOf(fetched), [
      [0, 2],
      [1, 1],
    ]);
  });

  test('looks again at what changed while it read the partition of another shard', () => {
    const bed = new FetchBed(2);
    const [near, far] = bed.logs;
    far!.held = [];
    const fetched = bed.fetch([
      { partition: 0, offset: 0 },
      { partition: 1, offset: 0 },
    ]);
    // The near one has been read and was empty; its news come while the far one is still being asked.
    near!.grow(3);
    far!.letGo();
    bed.clock.runSoon();
    assert.equal(bed.clock.monotonic(), 0);
    assert.deepEqual(recordsOf(fetched), [[0, 3]]);
  });

  test('looks again as often as something changed meanwhile', () => {
    const bed = new FetchBed(2);
    const [near, far] = bed.logs;
    far!.held = [];
    const fetched = bed.fetch(
      [
        { partition: 0, offset: 0 },
        { partition: 1, offset: 0 },
      ],
      { minBytes: 400 },
    );
    for (let round = 1; round <= 4; round++) {
      near!.grow(1);
      far!.letGo();
      far!.held = round < 3 ? [] : null;
      far!.grow(0);
      bed.clock.runSoon();
    }
    assert.deepEqual(recordsOf(fetched), [[0, 4]]);
    assert.equal(bed.clock.monotonic(), 0);
  });
});

describe('a fetch session', () => {
  const opened = (bed: FetchBed, version: number): Fetched =>
    bed.fetch(
      bed.logs.map(({ partition }) => ({ partition, offset: 0 })),
      { version, maxWaitMs: 0, session: { id: 0, epoch: 0 } },
    );

  for (const version of [12, 13]) {
    const how = version === 12 ? 'by name' : 'by id';
    test(`forgets partitions that are taken out ${how}: they wake and fill no fetch any more`, () => {
      const bed = new FetchBed(3);
      const id = opened(bed, version).answer!.sessionId!;
      const next = bed.fetch([], { version, session: { id, epoch: 1 }, forgotten: [0, 2] });
      assert.deepEqual(
        bed.logs.map(({ watchers }) => watchers.size),
        [0, 1, 0],
      );
      bed.logs[0]!.grow(1);
      bed.logs[2]!.grow(1);
      bed.clock.advance(490);
      assert.equal(next.answer, null, 'nobody asked for those');
      bed.logs[1]!.grow(1);
      bed.clock.runSoon();
      assert.deepEqual(recordsOf(next), [[1, 1]]);
      const after = bed.fetch([], { version, maxWaitMs: 0, session: { id, epoch: 2 } });
      bed.clock.runSoon();
      assert.deepEqual(
        partitionsOf(after).map(({ partitionIndex }) => partitionIndex),
        [1],
      );
    });

    test(`forgets a partition ${how} that had news waiting`, () => {
      const bed = new FetchBed(2);
      const id = opened(bed, version).answer!.sessionId!;
      for (const log of bed.logs) log.grow(1);
      const next = bed.fetch([], { version, session: { id, epoch: 1 }, forgotten: [0] });
      assert.deepEqual(recordsOf(next), [[1, 1]]);
    });
  }

  test('takes a partition back that it had forgotten', () => {
    const bed = new FetchBed(1);
    const id = opened(bed, 12).answer!.sessionId!;
    bed.fetch([], { maxWaitMs: 0, session: { id, epoch: 1 }, forgotten: [0] });
    bed.logs[0]!.grow(2);
    const back = bed.fetch([{ partition: 0, offset: 1 }], { session: { id, epoch: 2 } });
    assert.deepEqual(recordsOf(back), [[0, 1]]);
  });
});

describe('the epoch of the last record that a client has (KIP-320)', () => {
  const use = () => {
    const bed = new FetchBed(1);
    const [log] = bed.logs;
    log!.epochs = [
      { epoch: 1, startOffset: 0 },
      { epoch: 3, startOffset: 6 },
    ];
    log!.highWatermark = 10;
    const ask = (offset: number, lastEpoch: number, maxWaitMs = 10_000) => {
      const fetched = bed.fetch([{ partition: 0, offset, lastEpoch }], { maxWaitMs });
      return partitionsOf(fetched)[0]!;
    };
    return { bed, log: log!, ask };
  };

  test('diverges where the log has another history, and then brings no records, at once', () => {
    const { ask, log } = use();
    const told = (offset: number, lastEpoch: number) => {
      const { errorCode, divergingEpoch, highWatermark, logStartOffset, records } = ask(offset, lastEpoch);
      assert.deepEqual([errorCode, highWatermark, logStartOffset, records!.byteLength], [0, 10, 0, 0]);
      return divergingEpoch;
    };
    assert.deepEqual(told(7, 1), { epoch: 1, endOffset: 6 }, 'more of an epoch than there was');
    assert.deepEqual(told(7, 2), { epoch: 1, endOffset: 6 }, 'an epoch that wrote nothing here');
    assert.deepEqual(told(2, 2), { epoch: 1, endOffset: 6 });
    assert.deepEqual(told(11, 3), { epoch: 3, endOffset: 10 }, 'more of this epoch than there is');
    assert.equal(log.reads, 0);
  });

  test('agrees with the log up to the end of that epoch', () => {
    const { ask } = use();
    for (const [offset, lastEpoch, bytes] of [
      [5, 1, 500],
      [6, 1, 400],
      [6, 3, 400],
      [10, 3, 0],
    ] as const) {
      const { errorCode, divergingEpoch, records } = ask(offset, lastEpoch, 0);
      assert.deepEqual([errorCode, divergingEpoch, records!.byteLength], [0, undefined, bytes]);
    }
  });

  test('is no reason for an error when it is older than all that the log remembers', () => {
    const { ask, log } = use();
    log.startOffset = 6;
    log.epochs = [{ epoch: 3, startOffset: 6 }];
    const { errorCode, divergingEpoch, records } = ask(6, 1);
    assert.deepEqual([errorCode, divergingEpoch, records!.byteLength], [0, undefined, 400]);
    assert.deepEqual(ask(8, 1).divergingEpoch, { epoch: 1, endOffset: 6 }, 'records it cannot have had');
  });

  test('below the log start is out of range, whatever the epoch; so is an epoch nobody heard of', () => {
    const { ask, log } = use();
    log.startOffset = 8;
    assert.equal(ask(7, 1).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE);
    assert.equal(ask(7, 2).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE);
    assert.equal(ask(7, 3).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE);
    assert.equal(ask(9, 4).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE);
    assert.equal(ask(9, 4).divergingEpoch, undefined);
  });

  test('is compared with what the owner knows now, where the partition is of another shard', () => {
    const { ask, log, bed } = use();
    log.highWatermark = -1;
    log.startOffset = -1;
    log.refresh = (done) => {
      log.highWatermark = 10;
      log.startOffset = 0;
      done(0);
    };
    const { divergingEpoch, highWatermark, logStartOffset } = ask(7, 2);
    assert.deepEqual([divergingEpoch, highWatermark, logStartOffset], [{ epoch: 1, endOffset: 6 }, 10, 0]);
    log.refresh = (done) => done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    assert.equal(ask(7, 2).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER);
    assert.equal(bed.clock.monotonic(), 0);
  });
});

describe('a fetch of committed records', () => {
  test('ends at the last stable offset, and brings the aborted transactions in what it returns', () => {
    const bed = new FetchBed(1);
    const [log] = bed.logs;
    log!.grow(5);
    log!.txnFirst = 3;
    log!.aborted = [{ producerId: 7, firstOffset: 1 }];
    const [answer] = partitionsOf(bed.fetch([{ partition: 0, offset: 0 }], { committed: true }));
    assert.deepEqual([answer!.highWatermark, answer!.lastStableOffset], [5, 3]);
    assert.deepEqual(answer!.abortedTransactions, [{ producerId: 7, firstOffset: 1 }]);
    assert.equal(answer!.records!.byteLength, 300);
    const [all] = partitionsOf(bed.fetch([{ partition: 0, offset: 0 }]));
    assert.deepEqual([all!.abortedTransactions, all!.records!.byteLength], [null, 500]);
  });

  test('waits at the last stable offset, whatever is written behind it, until that moves', () => {
    const bed = new FetchBed(1);
    const [log] = bed.logs;
    log!.txnFirst = 0;
    log!.grow(1);
    const fetched = bed.fetch([{ partition: 0, offset: 0 }], { committed: true, maxWaitMs: 500 });
    bed.clock.advance(100);
    log!.grow(5);
    bed.clock.runSoon();
    bed.clock.advance(100);
    assert.equal(fetched.answer, null);
    log!.txnFirst = Number.POSITIVE_INFINITY;
    log!.grow(1);
    bed.clock.runSoon();
    assert.equal(bed.clock.monotonic(), 200);
    assert.deepEqual(recordsOf(fetched), [[0, 7]]);
  });

  test('of a session is not ready for ever while a transaction is open', () => {
    const bed = new FetchBed(1);
    const [log] = bed.logs;
    log!.txnFirst = 0;
    log!.grow(5);
    const wanted = [{ partition: 0, offset: 0 }];
    const begun = bed.fetch(wanted, { committed: true, maxWaitMs: 0, session: { id: 0, epoch: 0 } });
    bed.clock.advance(1);
    const id = begun.answer!.sessionId!;
    const reads = log!.reads;
    const next = bed.fetch([], { committed: true, maxWaitMs: 500, session: { id, epoch: 1 } });
    assert.equal(log!.reads, reads, 'nothing has changed: nothing is read');
    log!.txnFirst = Number.POSITIVE_INFINITY;
    log!.grow(1);
    bed.clock.runSoon();
    assert.deepEqual(recordsOf(next), [[0, 6]]);
  });
});

describe('bytes that a fetch has read', () => {
  test('are let go when the partition is read again', () => {
    const bed = new FetchBed(2);
    const both = [0, 1].map((partition) => ({ partition, offset: 0 }));
    const fetched = bed.fetch(both, { minBytes: 400 });
    for (let records = 0; records < 3; records++) {
      bed.logs[0]!.grow(1);
      bed.clock.advance(1);
    }
    assert.equal(fetched.answer, null);
    assert.equal(bed.logs[0]!.borrowed, 1);
    bed.logs[0]!.grow(1);
    bed.clock.runSoon();
    assert.deepEqual(recordsOf(fetched), [[0, 4]]);
    assert.equal(bed.logs[0]!.borrowed, 1, 'those of the answer');
  });

  test('are let go when the connection is gone, and those of reads under way as they come', () => {
    const bed = new FetchBed(2);
    const both = [0, 1].map((partition) => ({ partition, offset: 0 }));
    const parked = bed.fetch(both, { minBytes: 400 });
    bed.logs[0]!.grow(2);
    bed.clock.advance(1);
    bed.logs[0]!.held = [];
    bed.logs[0]!.grow(1);
    bed.clock.advance(1);
    parked.over!(true);
    bed.logs[0]!.letGo();
    bed.clock.advance(1_000);
    assert.equal(parked.answer, null);
    assert.deepEqual(
      bed.logs.map(({ borrowed }) => borrowed),
      [0, 0],
    );
    assert.equal(bed.clock.timers, 0);
  });
});

test('partitions that the topic has not are unknown, also below 0', () => {
  const bed = new FetchBed(2);
  const fetched = bed.fetch([-1, 2, 99].map((partition) => ({ partition, offset: 0 })));
  bed.clock.runSoon();
  assert.deepEqual(
    partitionsOf(fetched).map(({ errorCode }) => errorCode),
    [3, 3, 3],
  );
});

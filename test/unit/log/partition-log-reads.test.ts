/** Reads of a partition's log: bounds of bytes and offsets, committed records, older data, and logs that are no longer served. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  appendGuard,
  offsetQuery,
  type ReadResult,
  RecordRanges,
} from '../../../src/log/partition-handle.ts';
import type { ColdPath } from '../../../src/log/partition-log.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { setup } from './log-fixtures.ts';

interface ReadOptions {
  readonly maxBytes?: number;
  readonly atLeastOne?: boolean;
  readonly committed?: boolean;
}

/** Three batches of two records each, the last one not durable. */
function three() {
  const bed = setup();
  for (let i = 0; i < 3; i++) bed.append(2);
  bed.wal.onDurable(2, 1);
  const { log } = bed;
  const bytes = log.journal.length[log.journal.slot(log.tail.at(0))]!;
  return { ...bed, bytes, get: reader(bed) };
}

function reader({ log }: Pick<ReturnType<typeof setup>, 'log'>) {
  return (
    offset: number,
    { maxBytes = 1 << 20, atLeastOne = false, committed = false }: ReadOptions = {},
  ) => {
    const results: ReadResult[] = [];
    log.read(
      offset,
      maxBytes,
      atLeastOne,
      0,
      {
        onRead: (index, result) => {
          assert.equal(index, 7);
          results.push(result);
        },
      },
      7,
      committed,
    );
    assert.equal(results.length, 1);
    return results[0]!;
  };
}

const nothing = { highWatermark: -1, lastStableOffset: -1, startOffset: -1, records: null };

describe('a read from memory', () => {
  test('brings whole batches, as many as fit, to the byte', () => {
    const { bytes, get } = three();
    const lengths = (maxBytes: number, atLeastOne = false): number =>
      get(0, { maxBytes, atLeastOne }).records?.byteLength ?? 0;
    assert.deepEqual(
      [0, bytes - 1, bytes, 2 * bytes - 1, 2 * bytes, 9 * bytes].map((max) => lengths(max)),
      [0, 0, bytes, bytes, 2 * bytes, 2 * bytes],
    );
    assert.deepEqual(
      [0, bytes - 1, bytes, 2 * bytes - 1, 2 * bytes].map((max) => lengths(max, true)),
      [bytes, bytes, bytes, bytes, 2 * bytes],
    );
  });

  test('begins with the batch that holds the offset', () => {
    const { log, get, bytes } = three();
    const from = (offset: number): number[] => [...get(offset).records!.positions];
    const at = [0, 1].map((i) => log.journal.position[log.journal.slot(log.tail.at(i))]!);
    assert.deepEqual(from(0), at);
    assert.deepEqual(from(1), at);
    assert.deepEqual(from(2), [at[1]]);
    assert.deepEqual(from(3), [at[1]]);
    assert.equal(get(3).records!.byteLength, bytes);
  });

  test('without anything to bring tells where the log is', () => {
    const { get } = three();
    const { records, ...told } = get(4);
    assert.equal(records, null);
    assert.deepEqual(told, {
      error: 0,
      highWatermark: 4,
      lastStableOffset: 4,
      startOffset: 0,
      aborted: [],
    });
  });

  test('outside of the log is out of range, on either side', () => {
    const { get, log } = three();
    log.moveStart(1);
    assert.deepEqual(get(0), { error: ErrorCode.OFFSET_OUT_OF_RANGE, ...nothing });
    assert.equal(get(1).error, 0);
    assert.equal(get(4).error, 0);
    assert.deepEqual(get(5), { error: ErrorCode.OFFSET_OUT_OF_RANGE, ...nothing });
  });

  test('of committed records ends where a transaction is open', () => {
    const bed = setup();
    const { log, append, wal } = bed;
    const get = reader(bed);
    append(2);
    let guard = -1;
    log.verify(7, 0, 0, false, (error, given) => {
      assert.equal(error, 0);
      guard = given;
    });
    assert.ok(guard > 0);
    append(2, { id: 7, sequence: 0, transactional: true }, guard);
    append(2);
    wal.onDurable(3, 1);
    assert.deepEqual([log.highWatermark, log.lastStableOffset], [6, 2]);
    assert.equal(get(0, { committed: true }).records!.positions.length, 1);
    assert.equal(get(0).records!.positions.length, 3);
    assert.deepEqual(get(2, { committed: true }).records, null);
    assert.deepEqual(get(6, { committed: true }).records, null);
    assert.equal(get(7, { committed: true }).error, ErrorCode.OFFSET_OUT_OF_RANGE);
    log.moveStart(4);
    assert.equal(log.lastStableOffset, 4, 'never below the log start');
  });

  test('of a log that is no longer served is what writes get', () => {
    const { get, log } = three();
    log.writeError = ErrorCode.NOT_LEADER_OR_FOLLOWER;
    assert.equal(get(0).error, 0, 'refused writes alone do not end reads');
    log.live = false;
    assert.deepEqual(get(0), { error: ErrorCode.NOT_LEADER_OR_FOLLOWER, ...nothing });
    const answers: number[][] = [];
    for (const kind of Object.values(offsetQuery))
      log.query(kind, 0, (...answer) => void answers.push(answer));
    assert.deepEqual(
      answers,
      Object.values(offsetQuery).map(() => [ErrorCode.NOT_LEADER_OR_FOLLOWER, -1, -1, -1]),
    );
  });
});

describe('a read of older data', () => {
  const cold = (read: ColdPath['read']) => {
    const bed = setup({ endOffset: 30, cold: read });
    return { ...bed, get: reader(bed) };
  };

  test('asks for one byte at least where one batch is wanted, and for committed records where those are', () => {
    const asked: [offset: number, bytes: number, committed: boolean][] = [];
    const { get, log } = cold((of, offset, maxBytes, _deadline, committed, done) => {
      assert.equal(of, log);
      asked.push([offset, maxBytes, committed !== null]);
      done(0, null, offset, []);
    });
    get(5, { maxBytes: 0 });
    get(6, { maxBytes: 0, atLeastOne: true });
    get(29, { maxBytes: 9, atLeastOne: true, committed: true });
    get(30, { maxBytes: 9 });
    assert.deepEqual(asked, [
      [5, 0, false],
      [6, 1, false],
      [29, 9, true],
    ]);
  });

  test('leaves out what is larger than there is room for, unless one batch is wanted', () => {
    let released = 0;
    const { arena, get } = cold((_log, offset, _maxBytes, _deadline, _committed, done) => {
      const records = new RecordRanges(arena, () => void released++);
      records.adopt(0, 100);
      done(0, records, offset + 1, [{ producerId: 4, firstOffset: 5, lastOffset: 6, lastStableOffset: 7 }]);
    });
    const small = get(5, { maxBytes: 99 });
    assert.deepEqual([small.error, small.highWatermark, small.records, released], [0, 30, null, 1]);
    assert.equal(get(5, { maxBytes: 100 }).records!.byteLength, 100);
    const forced = get(5, { maxBytes: 1, atLeastOne: true });
    assert.equal(forced.records!.byteLength, 100);
    assert.deepEqual(forced.aborted, [{ producerId: 4, firstOffset: 5, lastOffset: 6, lastStableOffset: 7 }]);
    assert.equal(released, 1);
  });

  test('that fails says why', () => {
    const { get } = cold((_log, offset, _maxBytes, _deadline, _committed, done) =>
      done(ErrorCode.KAFKA_STORAGE_ERROR, null, offset + 5, []),
    );
    assert.deepEqual(get(5), { error: ErrorCode.KAFKA_STORAGE_ERROR, ...nothing });
  });
});

describe('questions to a log', () => {
  const ask = (log: ReturnType<typeof setup>['log'], kind: number, argument: number): number[] => {
    const answers: number[][] = [];
    log.query(kind, argument, (...answer) => void answers.push(answer));
    assert.equal(answers.length, 1);
    return answers[0]!;
  };

  test('bytes from an offset are those of durable batches in memory', () => {
    const { log, bytes, wal } = three();
    const from = (offset: number) => ask(log, offsetQuery.bytesFrom, offset);
    assert.deepEqual(from(0), [0, 2 * bytes, -1, -1]);
    assert.deepEqual([from(1)[1], from(2)[1], from(3)[1], from(4)[1]], [2 * bytes, bytes, bytes, 0]);
    wal.onDurable(3, 2);
    assert.equal(from(4)[1], bytes);
  });

  test('an epoch ends where the next one begins', () => {
    const { log } = three();
    log.epochs = [
      { epoch: 1, startOffset: 0 },
      { epoch: 3, startOffset: 2 },
    ];
    assert.deepEqual(ask(log, offsetQuery.epochEnd, 3), [0, 4, -1, 3]);
    assert.deepEqual(ask(log, offsetQuery.epochEnd, 2), [0, 2, -1, 1]);
    assert.deepEqual(ask(log, offsetQuery.epochEnd, 4), [0, -1, -1, -1]);
    assert.deepEqual(
      [0, 1, 2, 3].map((offset) => log.epochAt(offset)),
      [1, 1, 3, 3],
    );
    log.epochs = [{ epoch: 2, startOffset: 2 }];
    assert.equal(log.epochAt(1), 3, 'the one in force where nothing is known');
  });
});

describe('producers of a log', () => {
  test('are described by what they have done, durable or not', () => {
    const { log, append, wal, clock } = setup();
    append(2, { id: 7, sequence: 5 });
    append(1, { id: 9, sequence: 0 });
    wal.onDurable(2, 1);
    clock.advance(1);
    let told: unknown;
    log.describeProducers((error, producers) => {
      told = [error, producers];
    });
    assert.deepEqual(told, [
      0,
      [
        [7, 6, 1001],
        [9, 0, 1000],
      ].map(([producerId, lastSequence, lastTimestamp]) => ({
        producerId,
        epoch: 0,
        lastSequence,
        lastTimestamp,
        coordinatorEpoch: -1,
        txnFirstOffset: -1,
      })),
    ]);
  });

  test('are asked about with a guard, which a known transaction needs no more', () => {
    const { log, append } = setup();
    const verify = (epoch: number): [number, number] => {
      let told: [number, number] = [-2, -2];
      log.verify(7, epoch, 0, false, (error, guard) => {
        told = [error, guard];
      });
      return told;
    };
    const [error, guard] = verify(0);
    assert.deepEqual([error, guard > 0], [0, true]);
    assert.deepEqual(verify(0), [0, guard], 'one question');
    append(1, { id: 7, sequence: 0, transactional: true }, guard);
    assert.deepEqual(verify(0), [0, appendGuard.none]);
    assert.deepEqual(verify(-1), [ErrorCode.INVALID_PRODUCER_EPOCH, -1]);
  });
});

test('a log start moves forwards only; whoever watches is told once a turn', () => {
  const { log, clock } = three();
  clock.runSoon();
  let told = 0;
  const watcher = { onPartitionChanged: () => void told++ };
  log.watch(watcher);
  log.moveStart(2);
  log.moveStart(3);
  log.moveStart(1);
  assert.equal(log.startOffset, 3);
  assert.equal(told, 0);
  clock.runSoon();
  assert.equal(told, 1);
  log.moveStart(3);
  clock.runSoon();
  assert.equal(told, 1, 'nothing has changed');
  log.moveStart(4);
  clock.runSoon();
  assert.equal(told, 2);
  log.unwatch(watcher);
  log.moveStart(5);
  clock.runSoon();
  assert.equal(told, 2);
});

test('what becomes durable wakes at once, and once for all batches of a commit', () => {
  const { log, append, wal } = setup();
  const told: number[] = [];
  log.watch({ onPartitionChanged: () => void told.push(log.highWatermark) });
  for (let i = 0; i < 3; i++) append(2);
  wal.onDurable(2, 1);
  wal.onDurable(3, 2);
  assert.deepEqual(told, [4, 6]);
});

test('a log that is staged is found by nobody, and may be given up', () => {
  const { logs, log, clock } = setup();
  const spec = {
    name: 'u',
    topicId: 'AAAAAAAAAAAAAAAAAAAAAg',
    partition: 3,
    settings: log.settings,
    leaderEpoch: 1,
    epochs: [{ epoch: 1, startOffset: 0 }],
    startOffset: 0,
    endOffset: 0,
    volume: 0,
    producers: [],
  };
  const staged = logs.stage(spec);
  assert.deepEqual([logs.get(spec.topicId, 3), logs.find(spec.topicId, 3) === staged], [undefined, true]);
  assert.deepEqual(logs.states([spec]), []);
  logs.unstage(spec.topicId, 4);
  logs.unstage(spec.topicId, 3);
  assert.deepEqual([logs.find(spec.topicId, 3), logs.count], [undefined, 1]);
  const served = logs.open(spec);
  logs.unstage(spec.topicId, 3);
  assert.equal(logs.get(spec.topicId, 3), served, 'it is served');
  assert.throws(() => logs.stage(spec), /is served already/);
  assert.equal(logs.states([spec, { topicId: spec.topicId, partition: 9 }]).length, 1);
  let told = 0;
  served.watch({ onPartitionChanged: () => void told++ });
  logs.beginClose(served);
  assert.equal(served.writeError, ErrorCode.NOT_LEADER_OR_FOLLOWER);
  logs.cancelClose(served);
  assert.equal(served.writeError, 0);
  logs.close(served);
  clock.runSoon();
  assert.deepEqual([told, served.live, served.writeError], [1, false, ErrorCode.NOT_LEADER_OR_FOLLOWER]);
  logs.remove(spec.topicId, 3);
  logs.remove(log.topicId, log.partition);
  assert.deepEqual([log.live, log.writeError], [false, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  assert.equal(logs.count, 0);
});

test('a recovered batch follows at the end of the log, or around the start of one that is empty', () => {
  const make = (from: number) => {
    const bed = setup({ endOffset: 4 });
    const position = bed.append(3);
    bed.arena.view.setBigInt64(position, BigInt(from), false);
    return { ...bed, position };
  };
  const fresh = (startOffset: number, endOffset: number, from: number, records = 3): boolean => {
    const { arena, position } = make(from);
    arena.view.setInt32(position + 23, records - 1, false);
    const bed = setup({ endOffset });
    bed.log.startOffset = startOffset;
    arena.buffer.copy(bed.arena.buffer, 0, position, position + 200);
    return bed.log.follows(0);
  };
  assert.equal(fresh(0, 4, 4), true);
  assert.equal(fresh(0, 4, 3), false);
  assert.equal(fresh(0, 4, 5), false);
  assert.equal(fresh(6, 6, 4), true, '4 to 6 covers the start');
  assert.equal(fresh(7, 7, 4), false, '4 to 6 ends below it');
  assert.equal(fresh(6, 8, 4), false, 'the log is not empty there');
  assert.equal(fresh(4, 4, 2), true);
  assert.equal(fresh(4, 4, 1), false);
});

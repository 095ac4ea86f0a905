import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  crcOf,
  crcStart,
  isLogAppendTime,
  leaderEpochOf,
  maxTimestampOf,
} from '../../../src/protocol/records/batch-header.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { setup, topicId } from './log-fixtures.ts';

test('a read that finds only a gap in objects goes on behind it, up to what memory has', () => {
  const asked: number[] = [];
  const { wal, append, read } = setup({
    endOffset: 30,
    cold: (_log, offset, _maxBytes, _deadline, _committed, done) => {
      asked.push(offset);
      done(0, null, Math.min(offset + 20, 30), []);
    },
  });
  append(2);
  wal.onDurable(1, 1);
  const { error, records } = read(5);
  assert.deepEqual([error, records!.positions.length, asked], [0, 1, [5, 25]]);
});

test('offsets and leader epoch are patched at append, answers come when durable, in order', () => {
  const { arena, wal, log, outcomes, append } = setup();
  const first = append(3);
  const second = append(2);
  assert.equal(baseOffsetOf(arena.view, first), 0);
  assert.equal(baseOffsetOf(arena.view, second), 3);
  assert.equal(leaderEpochOf(arena.view, second), 3);
  assert.equal(outcomes.length, 0);
  assert.equal(log.highWatermark, 0);
  wal.onDurable(1, 1);
  assert.deepEqual(outcomes, [{ index: 0, error: 0, baseOffset: 0 }]);
  assert.equal(log.highWatermark, 3);
  wal.onDurable(2, 2);
  assert.equal(log.highWatermark, 5);
  assert.equal(outcomes[1]!.baseOffset, 3);
});

test('append time by the topic is stamped on the batch, under its CRC, and told to the producer', () => {
  const { arena, clock, wal, times, append } = setup({ logAppendTime: true });
  clock.advance(5_000);
  const now = clock.now();
  const position = append(2);
  wal.onDurable(1, 1);
  const { view, buffer } = arena;
  assert.equal(isLogAppendTime(attributesOf(view, position)), true);
  assert.equal(maxTimestampOf(view, position), now);
  const length = batchBytesOf(view, position) - crcStart;
  assert.equal(crcOf(view, position), javascriptCrc32c(buffer, position + crcStart, length));
  assert.deepEqual(times, [now]);
});

test('where producers give the time, nobody is told one of append', () => {
  const { arena, wal, times, append } = setup();
  const position = append(2);
  wal.onDurable(1, 1);
  assert.equal(isLogAppendTime(attributesOf(arena.view, position)), false);
  assert.deepEqual(times, [-1]);
});

test('a batch behind the largest offset is refused, and what still fits is not', () => {
  const { wal, log, outcomes, append, arena } = setup();
  log.nextOffset = Number.MAX_SAFE_INTEGER - 4;
  log.highWatermark = log.nextOffset;
  const refused = append(5);
  assert.deepEqual(outcomes, [{ index: 0, error: ErrorCode.INVALID_RECORD, baseOffset: -1 }]);
  assert.equal(arena.references(refused / 4096), 0);
  append(4);
  append(1);
  assert.equal(outcomes.length, 2);
  assert.equal(outcomes[1]!.error, ErrorCode.INVALID_RECORD);
  assert.equal(wal.appended, 1);
  wal.onDurable(1, 1);
  assert.equal(outcomes[2]!.error, 0);
  assert.equal(log.highWatermark, Number.MAX_SAFE_INTEGER);
});

test('what is appended but not durable is never read', () => {
  const { wal, append, read } = setup();
  append(3);
  append(2);
  assert.equal(read(0).records, null);
  wal.onDurable(1, 1);
  const result = read(0);
  assert.equal(result.records!.positions.length, 1);
  assert.equal(read(3).records, null);
  assert.equal(read(4).error, ErrorCode.OFFSET_OUT_OF_RANGE);
  result.records!.release();
});

test('a duplicate joins its original and is answered with its offset, once durable', () => {
  const { wal, log, outcomes, append } = setup();
  append(2, { id: 9, sequence: 0 });
  append(2, { id: 9, sequence: 0 });
  assert.equal(log.nextOffset, 2, 'nothing was appended for the duplicate');
  assert.equal(outcomes.length, 0);
  wal.onDurable(1, 1);
  assert.deepEqual(outcomes, [
    { index: 0, error: 0, baseOffset: 0 },
    { index: 1, error: 0, baseOffset: 0 },
  ]);
  append(2, { id: 9, sequence: 0 });
  assert.deepEqual(
    outcomes[2],
    { index: 2, error: 0, baseOffset: 0 },
    'a late duplicate is answered at once',
  );
});

test('duplicates that joined a batch fail with it, each answered once', () => {
  const { wal, outcomes, append } = setup();
  append(2, { id: 9, sequence: 0 });
  append(2, { id: 9, sequence: 0 });
  append(2, { id: 9, sequence: 0 });
  wal.onFailed(new Error('device gone'), false);
  assert.deepEqual(
    outcomes.map(({ index, error }) => [index, error]),
    [0, 1, 2].map((index) => [index, ErrorCode.KAFKA_STORAGE_ERROR]),
  );
});

test('a failed volume refuses what was pending and everything after, and keeps what is durable', () => {
  const { wal, log, outcomes, append, read } = setup();
  append(1);
  append(1);
  wal.onDurable(1, 1);
  wal.onFailed(new Error('device gone'), false);
  assert.equal(outcomes[1]!.error, ErrorCode.KAFKA_STORAGE_ERROR);
  append(1);
  assert.equal(outcomes[2]!.error, ErrorCode.KAFKA_STORAGE_ERROR);
  assert.equal(log.highWatermark, 1);
  const kept = read(0);
  assert.equal(kept.records!.positions.length, 1);
  kept.records!.release();
});

test('what a device may still be writing keeps its memory until the write has returned', () => {
  const { arena, wal, outcomes, append } = setup();
  const free = arena.freeSegments();
  append(1);
  wal.onDurable(1, 1);
  append(1);
  append(1);
  wal.onFailed(new Error('no answer'), true);
  assert.deepEqual(
    outcomes.map(({ error }) => error),
    [0, ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.KAFKA_STORAGE_ERROR],
  );
  assert.equal(arena.freeSegments(), free - 3);
  wal.onReturned();
  assert.equal(arena.freeSegments(), free - 1, 'only what is durable is left');
});

test('a full queue and a full journal refuse with a retriable error and change nothing', () => {
  const { wal, log, outcomes, append } = setup({ capacity: 4 });
  wal.room = 2;
  append(1);
  append(1);
  append(1, { id: 5, sequence: 0 });
  assert.equal(outcomes[0]!.error, ErrorCode.NOT_ENOUGH_REPLICAS);
  assert.equal(log.nextOffset, 2);
  wal.room = 100;
  append(1, { id: 5, sequence: 0 });
  append(1);
  append(1);
  assert.equal(outcomes[1]!.error, ErrorCode.NOT_ENOUGH_REPLICAS, 'the journal holds four');
  assert.equal(log.nextOffset, 4);
});

test('collect cuts by commit, uploaded frees, and every arena segment comes back', () => {
  const { arena, wal, logs, append } = setup({ logCacheBytes: 250 });
  const free = arena.freeSegments();
  append(1);
  append(1);
  append(1);
  wal.onDurable(2, 1);
  wal.onDurable(3, 2);
  const cut = logs.collect(0, 1, []);
  assert.equal(cut.streams.length, 1);
  assert.equal(cut.streams[0]!.endOffset, 2);
  logs.uploaded(0, cut.end);
  logs.reclaim(arena.segmentCount);
  assert.equal(logs.deltaBytes(0) > 0, true, 'the third batch is still delta');
  assert.equal(arena.freeSegments(), free - 1);
  const rest = logs.collect(0, 2, []);
  assert.equal(rest.streams[0]!.baseOffset, 2);
  logs.uploaded(0, rest.end);
  logs.reclaim(arena.segmentCount);
  assert.equal(arena.freeSegments(), free);
});

test('what an upload has freed is evicted in turns, and every reference comes back', () => {
  const batches = 20_000;
  const { arena, clock, wal, logs, log } = setup({
    capacity: 32_768,
    logCacheBytes: 4 << 20,
    segments: 1024,
  });
  const free = arena.freeSegments();
  const batch = buildBatch(
    [{ timestamp: 1000, key: null, value: Buffer.from('value'), headers: [] }],
    {},
    javascriptCrc32c,
  );
  // Side by side, so that some lie in two segments.
  const run = arena.acquireRun(Math.ceil((batches * batch.length) / arena.segmentBytes));
  for (let i = 0; i < batches; i++) {
    const position = run * arena.segmentBytes + i * batch.length;
    batch.copy(arena.buffer, position);
    log.append(position, batch.length, null, 0);
  }
  arena.releaseRange(run * arena.segmentBytes, batches * batch.length);
  wal.onDurable(batches, 1);
  const collected = logs.collect(0, 1, []);
  assert.equal(collected.streams[0]!.positions.length, batches);
  assert.equal(collected.bytes, batches * batch.length);
  const [journal] = logs.journals;
  // Room for a hundred of them.
  (logs as unknown as { options: { logCacheBytes: number } }).options.logCacheBytes = 100 * batch.length;
  logs.uploaded(0, collected.end);
  const first = journal!.heldBytes / batch.length;
  assert.ok(first > 5000 && first < batches, `${first} are left after one turn`);
  clock.runSoon();
  assert.equal(journal!.heldBytes, 100 * batch.length);
  assert.equal(log.tail.count, 100);
  logs.evictUploaded();
  assert.equal(arena.freeSegments(), free);
});

test('a producer is stored as of the cut, however far it has come since', () => {
  const { wal, logs, append } = setup();
  for (let sequence = 0; sequence < 12; sequence++) append(1, { id: 9, sequence });
  wal.onDurable(2, 1);
  wal.onDurable(12, 2);
  const [first] = logs.collect(0, 1, []).streams;
  assert.deepEqual(
    first!.producers.map(({ producerId, batches }) => [producerId, batches.map((b) => b.lastSequence)]),
    [[9, [0, 1]]],
  );
});

test('after a volume has failed producers are stored as of their newest durable batch', () => {
  const { wal, log, logs, append } = setup();
  append(1, { id: 9, sequence: 0 });
  append(1, { id: 9, sequence: 1 });
  wal.onDurable(2, 1);
  for (let sequence = 2; sequence < 9; sequence++) append(1, { id: 9, sequence });
  wal.onFailed(new Error('device gone'), false);
  const { streams, states } = logs.collect(0, 1, [{ topicId: log.topicId, partition: log.partition }]);
  for (const { producers } of [streams[0]!, states[0]!])
    assert.deepEqual(
      producers.map(({ batches }) => batches.map((b) => b.lastSequence)),
      [[0, 1]],
    );
});

test('the delta is never evicted, whatever the cache budget', () => {
  const { arena, wal, logs, append, read } = setup({ logCacheBytes: 250 });
  append(1);
  wal.onDurable(1, 1);
  logs.trimCache();
  assert.equal(logs.reclaim(arena.segmentCount), false);
  const result = read(0);
  assert.equal(result.records!.positions.length, 1);
  result.records!.release();
});

test('what waits for its upload is bounded by the cache, and appends go on once it is uploaded', () => {
  const { wal, logs, outcomes, append } = setup({ logCacheBytes: 200 });
  append(1);
  append(1);
  append(1);
  append(1);
  assert.equal(outcomes[0]!.error, ErrorCode.NOT_ENOUGH_REPLICAS);
  assert.equal(logs.congestion(), 1);
  wal.onDurable(wal.appended, 1);
  logs.uploaded(0, logs.collect(0, 1, []).end);
  assert.equal(logs.congestion(), 0);
  append(1);
  wal.onDurable(wal.appended, 2);
  assert.equal(outcomes.at(-1)!.error, 0);
});

test('uploaded batches give way when the journal has no entry left, however small they are', () => {
  const { logs, wal, log, append, outcomes } = setup({ capacity: 8 });
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 8; i++) append(1);
    wal.onDurable(8 * (round + 1), round + 1);
    assert.deepEqual(
      outcomes.map(({ error }) => error),
      new Array(8 * (round + 1)).fill(0),
    );
    append(1);
    assert.equal(outcomes.pop()!.error, ErrorCode.NOT_ENOUGH_REPLICAS, 'the delta never gives way');
    const collected = logs.collect(0, round + 1, []);
    assert.equal(collected.streams[0]!.positions.length, 8);
    logs.uploaded(0, collected.end);
    assert.equal(log.tailStart, 8 * round, 'kept while nothing needs the room');
  }
});

test('recovery refuses more batches than the journal holds instead of overwriting some', () => {
  const { logs, log, append, wal } = setup({ capacity: 8 });
  const position = append(1);
  wal.onDurable(1, 1);
  for (let i = 1; i < 8; i++) log.restore(position, 70, 1);
  assert.throws(() => log.restore(position, 70, 1), { code: 'JOURNAL_FULL' });
  logs.uploaded(0, logs.collect(0, 1, []).end);
  log.restore(position, 70, 2);
  assert.equal(log.tailStart, 0);
});

test('nor does it outgrow the ring, where that is the smaller one', () => {
  const { outcomes, append } = setup({ ringBytes: 100 });
  append(1);
  append(1);
  append(1);
  assert.equal(outcomes[0]!.error, ErrorCode.NOT_ENOUGH_REPLICAS);
});

test('data of a deleted topic is not collected', () => {
  const { wal, logs, append } = setup();
  append(1);
  wal.onDurable(1, 1);
  logs.remove(topicId, 0);
  assert.equal(logs.collect(0, 1, []).streams.length, 0);
});

test('epoch history answers KIP-320 questions', () => {
  const { log, wal, append } = setup();
  append(4);
  wal.onDurable(1, 1);
  log.epochs = [
    { epoch: 1, startOffset: 0 },
    { epoch: 3, startOffset: 2 },
  ];
  assert.deepEqual(log.endOffsetForEpoch(3), { epoch: 3, endOffset: 4 });
  assert.deepEqual(log.endOffsetForEpoch(2), { epoch: 1, endOffset: 2 });
  assert.deepEqual(log.endOffsetForEpoch(1), { epoch: 1, endOffset: 2 });
  assert.deepEqual(log.endOffsetForEpoch(0), { epoch: 0, endOffset: 0 }, 'older than all: the first start');
  assert.deepEqual(log.endOffsetForEpoch(4), { epoch: -1, endOffset: -1 }, 'yet to come');
  assert.deepEqual(log.endOffsetForEpoch(-1), { epoch: -1, endOffset: -1 }, 'none');
});

test('epochs below the log start are forgotten, and end where the log begins', () => {
  const { log, wal, append } = setup();
  append(9);
  wal.onDurable(1, 1);
  log.epochs = [
    { epoch: 0, startOffset: 0 },
    { epoch: 1, startOffset: 2 },
    { epoch: 3, startOffset: 6 },
  ];
  log.moveStart(4);
  assert.deepEqual(log.endOffsetForEpoch(0), { epoch: 0, endOffset: 4 }, 'not below the log start');
  assert.deepEqual(log.endOffsetForEpoch(1), { epoch: 1, endOffset: 6 });
  log.moveStart(6);
  assert.deepEqual(log.epochs, [{ epoch: 3, startOffset: 6 }]);
  assert.deepEqual(log.endOffsetForEpoch(1), { epoch: 1, endOffset: 6 });
  assert.deepEqual(log.endOffsetForEpoch(2), { epoch: 2, endOffset: 6 });
});

test('once appends have ended none is taken, in logs opened later neither, and what was taken becomes durable', () => {
  const { logs, log, wal, append, outcomes } = setup();
  append(2);
  logs.endAppends();
  append(1);
  assert.deepEqual(outcomes, [{ index: 1, error: ErrorCode.NOT_LEADER_OR_FOLLOWER, baseOffset: -1 }]);
  assert.equal(wal.appended, 1);
  assert.equal(log.nextOffset, 2, 'no offset is given');
  wal.onDurable(1, 1);
  assert.deepEqual(outcomes.at(-1), { index: 0, error: 0, baseOffset: 0 });
  const { settings } = log;
  const later = logs.open({
    name: 'later',
    topicId,
    partition: 1,
    settings,
    leaderEpoch: 1,
    epochs: [],
    startOffset: 0,
    endOffset: 0,
    volume: 0,
    producers: [],
  });
  assert.equal(later.writeError, ErrorCode.NOT_LEADER_OR_FOLLOWER);
});

test('a completion of what was never appended is a bug, not less of a completion', () => {
  const { wal, append, outcomes } = setup();
  append(1);
  assert.throws(() => wal.onDurable(2, 1), { code: 'JOURNAL_ORDER' });
  assert.deepEqual(outcomes, [], 'nobody is told');
});

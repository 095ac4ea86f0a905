import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { type BatchRecord, buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import {
  attributesOf,
  baseSequenceOf,
  batchHeaderBytes,
  crcOf,
  crcStart,
  headerField,
  isLogAppendTime,
  maxTimestampOf,
  patchCrc,
  setLogAppendTime,
  writeInt64,
} from '../../../src/protocol/records/batch-header.ts';
import { readBatch } from '../../../src/protocol/records/batch-reader.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { recordTaskContext, runRecordTask } from '../../../src/protocol/records/record-tasks.ts';
import { portableRecordWalk } from '../../../src/protocol/records/record-walk.ts';
import type { TransactionalBatch } from '../../../src/requests/support/transaction-gate.ts';
import { viewOf } from '../../support/sample-records.ts';

import { codecs, handWork, keyed, setup, ten, unkeyed } from './produce-rig.ts';

test('a small time-out leaves the write its second: it is for other replicas, and there are none', () => {
  for (const timeoutMs of [0, -1, 1]) {
    const { produce, appended, clock } = setup();
    const { answers, only } = produce(keyed, { timeoutMs });
    clock.advance(999);
    assert.equal(answers.length, 0);
    appended[0]!.waiter.onAppended(appended[0]!.index, 0, 41, -1, 7);
    assert.equal(only().errorCode, 0);
  }
  const { produce, clock } = setup();
  const { only } = produce(keyed, { timeoutMs: 0 });
  clock.advance(1_000);
  assert.equal(only().errorCode, ErrorCode.REQUEST_TIMED_OUT);
});

test('the answer waits for durability, for acks=1 as for acks=all', () => {
  for (const acks of [1, -1]) {
    const { produce, appended } = setup();
    const { answers, only } = produce(keyed, { acks });
    assert.equal(answers.length, 0);
    appended[0]!.waiter.onAppended(appended[0]!.index, 0, 41, -1, 7);
    assert.equal(only().errorCode, 0);
    assert.equal(only().baseOffset, 41);
    assert.equal(only().logStartOffset, 7);
  }
});

test('acks=0 gets no answer, and a failure closes the connection', () => {
  const { produce, appended, closed } = setup();
  const good = produce(keyed, { acks: 0 });
  appended[0]!.waiter.onAppended(appended[0]!.index, 0, 0, -1, 0);
  assert.deepEqual(good.answers, [null]);
  assert.equal(closed.length, 0);
  const bad = produce(keyed, { acks: 0, topic: 'missing' });
  assert.deepEqual(bad.answers, []);
  assert.match(closed[0]!, /UNKNOWN_TOPIC_OR_PARTITION/);
});

test('a request that times out is answered REQUEST_TIMED_OUT once, its append stands', () => {
  const { produce, appended, clock } = setup();
  const { answers, only } = produce(keyed);
  clock.advance(1100);
  assert.equal(only().errorCode, ErrorCode.REQUEST_TIMED_OUT);
  appended[0]!.waiter.onAppended(appended[0]!.index, 0, 5, -1, 0);
  assert.equal(answers.length, 1);
});

test('each fault has its wire error, and nothing is appended', () => {
  const { produce, appended } = setup({ maxMessageBytes: 200 });
  assert.equal(produce(keyed, { acks: 2 }).only().errorCode, ErrorCode.INVALID_REQUIRED_ACKS);
  assert.equal(produce(keyed, { topic: 'missing' }).only().errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.equal(produce(null).only().errorCode, ErrorCode.INVALID_RECORD);
  const spoil = (batch: Buffer) => batch.writeUInt8(batch[batch.length - 1]! ^ 1, batch.length - 1);
  assert.equal(produce(keyed, { spoil }).only().errorCode, ErrorCode.CORRUPT_MESSAGE);
  const large = [{ key: null, value: Buffer.alloc(500), timestamp: 1_700_000_000_000 }];
  assert.equal(produce(large).only().errorCode, ErrorCode.MESSAGE_TOO_LARGE);
  const zstd = { fields: { codec: 4 } };
  assert.equal(
    produce(keyed, { ...zstd, version: 6 }).only().errorCode,
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
  );
  const late = [{ key: null, value: null, timestamp: 1_700_000_000_000 + 7_200_000 }];
  assert.equal(produce(late).only().errorCode, ErrorCode.INVALID_TIMESTAMP);
  assert.equal(
    produce(keyed, {
      fields: { transactional: true, producerId: 1, producerEpoch: 0, baseSequence: 0 },
    }).only().errorCode,
    ErrorCode.INVALID_TXN_STATE,
  );
  assert.equal(appended.length, 0);
});

test('transactional batches pass the gate, judged and with what their client knows', () => {
  const passed: TransactionalBatch[] = [];
  const transactions = {
    append: (batch: TransactionalBatch) => {
      passed.push(batch);
      batch.waiter.onAppended(batch.index, 0, 7, -1, 0);
    },
  };
  const { produce, appended } = setup({ transactions });
  const fields = { transactional: true, producerId: 1, producerEpoch: 0, baseSequence: 0 };
  for (const version of [9, 11, 12]) {
    const { errorCode, baseOffset } = produce(keyed, { fields, version, transactionalId: 'tx' }).only();
    assert.deepEqual([errorCode, baseOffset], [0, 7]);
  }
  assert.deepEqual(
    passed.map(({ transactionalId, topic, adds, abortable }) => [transactionalId, topic, adds, abortable]),
    [
      ['tx', 't', false, false],
      ['tx', 't', false, true],
      ['tx', 't', true, true],
    ],
  );
  const error = ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
  assert.equal(produce(keyed, { fields }).only().errorCode, error);
  const spoil = (batch: Buffer) => void batch.writeUInt32BE(1, headerField.crc);
  assert.equal(
    produce(keyed, { fields, spoil, transactionalId: 'tx' }).only().errorCode,
    ErrorCode.CORRUPT_MESSAGE,
  );
  assert.equal(passed.length, 3);
  assert.equal(appended.length, 0);
  produce(keyed, { transactionalId: 'tx' });
  assert.equal(appended.length, 1, 'not of a transaction');
});

test('producers are slowed before anything is refused', () => {
  const { produce, appended, congest } = setup();
  const throttleAt = (level: number): number => {
    congest(level);
    const { answers } = produce(keyed);
    const { waiter, index } = appended.at(-1)!;
    waiter.onAppended(index, 0, 0, -1, 0);
    return answers[0]!.throttleTimeMs!;
  };
  assert.equal(throttleAt(0.5), 0);
  assert.equal(throttleAt(0.75), 0);
  assert.equal(throttleAt(0.9), 600);
  assert.equal(throttleAt(1), 1000);
});

test('a compacted topic refuses null keys, compressed or not, and names the record', () => {
  for (const codec of [0, 1, 2, 3, 4]) {
    const { produce, appended } = setup({ compacted: true });
    const { only } = produce(unkeyed, { fields: { codec } });
    assert.equal(only().errorCode, ErrorCode.INVALID_RECORD, `codec ${codec}`);
    assert.deepEqual(
      only().recordErrors!.map((error) => error.batchIndex),
      [1],
    );
    produce(keyed, { fields: { codec } });
    assert.equal(appended.length, 1);
  }
});

/** Changes bytes under the CRC and makes it right again. */
function under(change: (batch: Buffer, view: DataView) => void): (batch: Buffer) => void {
  return (batch) => {
    change(batch, viewOf(batch));
    patchCrc(viewOf(batch), 0, javascriptCrc32c(batch, crcStart, batch.length - crcStart));
  };
}

test('every record at fault is named, with what is wrong with it', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => ({
    ...ten[0]!,
    key: i % 10 === 3 ? null : Buffer.from('k'),
  }));
  const late = 1_700_000_000_000 + 7_200_000;
  const times = ten.map((record, i) => ({ ...record, timestamp: i % 4 === 1 ? late : record.timestamp }));
  for (const codec of [0, 1, 2, 3, 4]) {
    const keys = setup({ compacted: true }).produce(hundred, { fields: { codec } }).only();
    assert.equal(keys.errorCode, ErrorCode.INVALID_RECORD);
    assert.deepEqual(
      keys.recordErrors!.map((error) => error.batchIndex),
      [3, 13, 23, 33, 43, 53, 63, 73, 83, 93],
    );
    assert.match(keys.recordErrors![0]!.batchIndexErrorMessage!, /needs a key/);
    const judged = setup().produce(times, { fields: { codec } }).only();
    assert.equal(judged.errorCode, ErrorCode.INVALID_TIMESTAMP);
    assert.deepEqual(
      judged.recordErrors!.map((error) => error.batchIndex),
      [1, 5, 9],
    );
    assert.match(judged.recordErrors![0]!.batchIndexErrorMessage!, /timestamp/);
  }
});

test('the header of what is appended states the largest timestamp of its records, under a right CRC', () => {
  const claim = under((_batch, view) => writeInt64(view, headerField.maxTimestamp, -1));
  for (const codec of [0, 1, 2, 3, 4]) {
    const { produce, appended } = setup();
    produce(ten, { fields: { codec }, spoil: claim });
    const { batch } = appended[0]!;
    assert.equal(maxTimestampOf(viewOf(batch), 0), 1_700_000_009_000, `codec ${codec}`);
    assert.equal(crcOf(viewOf(batch), 0), javascriptCrc32c(batch, crcStart, batch.length - crcStart));
  }
});

test("the mark of append times is taken from a batch whose times are its producer's", () => {
  for (const codec of [0, 4]) {
    const { produce, appended, clock } = setup();
    const marked = under((_batch, view) => setLogAppendTime(view, 0, maxTimestampOf(view, 0)));
    produce(ten, { fields: { codec }, spoil: marked });
    clock.runSoon();
    const { batch } = appended[0]!;
    assert.equal(isLogAppendTime(attributesOf(viewOf(batch), 0)), false);
    assert.equal(crcOf(viewOf(batch), 0), javascriptCrc32c(batch, crcStart, batch.length - crcStart));
    assert.deepEqual(
      readBatch(batch, 0, batch.length, codecs, 1 << 20).map(({ timestamp }) => timestamp),
      ten.map(({ timestamp }) => timestamp),
    );
  }
});

test("with LogAppendTime the producer's times are neither judged nor settled: the log stamps the batch", () => {
  const claim = under((_batch, view) => writeInt64(view, headerField.maxTimestamp, 5));
  const late = ten.map((record) => ({ ...record, timestamp: record.timestamp + 7_200_000 }));
  for (const codec of [0, 4]) {
    const { produce, appended } = setup({ logAppendTime: true });
    produce(late, { fields: { codec }, spoil: claim });
    assert.equal(maxTimestampOf(viewOf(appended[0]!.batch), 0), 5);
  }
});

test('what no consumer could read is refused in every codec: cut off, garbage, wrong counts, a null header name', () => {
  const withHeader = [{ ...keyed[0]!, headers: [{ key: 'h', value: Buffer.from('w') }] }];
  const count = (n: number) =>
    under((_batch, view) => {
      view.setInt32(headerField.recordCount, n);
      view.setInt32(headerField.lastOffsetDelta, n - 1);
    });
  for (const codec of [1, 2, 3, 4]) {
    const { produce, appended, counts, clock } = setup();
    const refusal = (records: readonly BatchRecord[], spoil: (batch: Buffer) => void) => {
      const { only } = produce(records, { fields: { codec }, spoil });
      clock.runSoon();
      return only().errorCode;
    };
    const garbage = under((batch) => batch.fill(0x5a, batchHeaderBytes + 4));
    assert.equal(refusal(ten, garbage), ErrorCode.UNKNOWN_SERVER_ERROR);
    assert.equal(refusal(ten, count(9)), ErrorCode.INVALID_RECORD);
    assert.equal(refusal(ten, count(11)), ErrorCode.INVALID_RECORD);
    assert.equal(refusal(ten, count(2_147_483_647)), ErrorCode.INVALID_RECORD);
    const plain = buildBatch(withHeader, {}, javascriptCrc32c).subarray(batchHeaderBytes);
    plain[plain.indexOf('h') - 1] = 1; // a length of -1
    const packed = codecs.compress(codec, plain);
    const nullName = under((batch, view) => {
      assert.ok(packed.length <= batch.length - batchHeaderBytes);
      packed.copy(batch, batchHeaderBytes);
      view.setInt32(headerField.recordCount, 1);
    });
    assert.notEqual(refusal(withHeader, nullName), 0, `null header name, codec ${codec}`);
    assert.equal(appended.length, 0);
    assert.equal(counts.refused, 5);
    assert.equal(produce(ten, { fields: { codec } }).answers.length, 0);
    assert.equal(appended.length, 1);
  }
});

test('a topic that trusts its producers takes compressed records as they are, but no impossible count', () => {
  const garbage = under((batch) => batch.fill(0x5a, batchHeaderBytes + 4));
  const count = under((_batch, view) => {
    view.setInt32(headerField.recordCount, 2_147_483_647);
    view.setInt32(headerField.lastOffsetDelta, 2_147_483_646);
  });
  const { produce, appended } = setup({ trustCompressed: true });
  for (const codec of [1, 2, 3, 4]) {
    produce(ten, { fields: { codec }, spoil: garbage });
    assert.equal(appended.length, codec);
    assert.equal(
      produce(ten, { fields: { codec }, spoil: count }).only().errorCode,
      ErrorCode.INVALID_RECORD,
    );
  }
});

test('while a batch is judged, what comes later to its partition waits behind it, whoever is ready first', () => {
  const work = handWork();
  const { produce, appended, arena, counts } = setup({ recordWork: work });
  const free = arena.freeSegments();
  const context = recordTaskContext({ arena, codecs, walk: portableRecordWalk });
  const sequenced = (baseSequence: number, codec: number) =>
    produce(keyed, { fields: { codec, producerId: 7, producerEpoch: 0, baseSequence } });
  sequenced(0, 3);
  sequenced(1, 0);
  sequenced(2, 4);
  sequenced(3, 0);
  sequenced(4, 1);
  assert.equal(appended.length, 0);
  const finish = (i: number) => work.tasks[i]!.done(runRecordTask(work.tasks[i]!.task, context));
  const order = () => appended.map(({ batch }) => baseSequenceOf(viewOf(batch), 0));
  finish(1);
  assert.deepEqual(order(), []);
  finish(0);
  assert.deepEqual(order(), [0, 1, 2, 3]);
  finish(2);
  assert.deepEqual(order(), [0, 1, 2, 3, 4]);
  assert.equal(arena.freeSegments(), free);
  assert.equal(counts.flushed, 3, 'the WAL is told of what was appended outside of a request');
  sequenced(5, 0);
  assert.deepEqual(order(), [0, 1, 2, 3, 4, 5]);
});

test('a refused batch lets those behind it go on, and so does one that could not be judged', () => {
  const work = handWork();
  const { produce, appended, arena } = setup({ recordWork: work });
  const free = arena.freeSegments();
  const [bad, lost, good] = [
    produce(keyed, { fields: { codec: 1 } }),
    produce(keyed, { fields: { codec: 1 } }),
    produce(keyed),
  ];
  work.tasks[1]!.done(null);
  assert.equal(lost.answers.length, 0, 'in its order, too');
  work.tasks[0]!.done({ kind: 'judge', verdict: 21, maxTimestamp: -1, faults: 0, entries: [] });
  assert.equal(bad.only().errorCode, ErrorCode.UNKNOWN_SERVER_ERROR);
  assert.equal(lost.only().errorCode, ErrorCode.NOT_ENOUGH_REPLICAS);
  assert.equal(appended.length, 1);
  assert.equal(good.answers.length, 0);
  assert.equal(arena.freeSegments(), free);
});

test('a request may time out while its batch is judged; the append stands, and no answer is sent twice', () => {
  const work = handWork();
  const { produce, appended, clock, arena } = setup({ recordWork: work });
  const context = recordTaskContext({ arena, codecs, walk: portableRecordWalk });
  const [first, second] = [
    produce(keyed, { fields: { codec: 1 } }),
    produce(keyed, { fields: { codec: 1 } }),
  ];
  clock.advance(1100);
  assert.equal(first.only().errorCode, ErrorCode.REQUEST_TIMED_OUT);
  work.tasks[0]!.done(runRecordTask(work.tasks[0]!.task, context));
  work.tasks[1]!.done(null);
  assert.equal(appended.length, 1);
  assert.deepEqual([first.answers.length, second.answers.length], [1, 1]);
  assert.equal(second.only().errorMessage, null);
});

test('an append that fails in an unforeseen way is refused to its client alone', () => {
  const { produce, failures } = setup({
    append: () => {
      throw new RangeError('broken');
    },
  });
  for (const codec of [0, 1])
    assert.equal(produce(keyed, { fields: { codec } }).only().errorCode, ErrorCode.UNKNOWN_SERVER_ERROR);
  assert.equal(failures.length, 2);
});

test('a log without offsets left says so', () => {
  const { produce, appended } = setup();
  const { only } = produce(keyed);
  appended[0]!.waiter.onAppended(appended[0]!.index, ErrorCode.INVALID_RECORD, -1, -1, 0);
  assert.match(only().errorMessage!, /no offsets left/);
});

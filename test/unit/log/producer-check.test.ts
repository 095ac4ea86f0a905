import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkProducer, duplicate, isDuplicate, sequenceAfter } from '../../../src/log/producer-check.ts';
import { Verifications } from '../../../src/log/verifications.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { buildControlMarker, markerType } from '../../../src/protocol/records/control-marker.ts';
import { ProducerFold, producersMax } from '../../../src/stream/producers/producer-fold.ts';

const sequenceVerdict = {
  accept: 0,
  duplicate: isDuplicate,
  outOfOrder: ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  staleEpoch: ErrorCode.INVALID_PRODUCER_EPOCH,
  noRoom: ErrorCode.NOT_ENOUGH_REPLICAS,
  transaction: ErrorCode.INVALID_TXN_STATE,
} as const;

function viewOf(batch: Buffer): DataView {
  return new DataView(batch.buffer, batch.byteOffset, batch.length);
}

function checkSequence(
  fold: ProducerFold,
  producerId: number,
  producerEpoch: number,
  baseSequence: number,
  count: number,
  { transactional = false, guard = 0, verifications = new Verifications() } = {},
): number {
  const records = Array.from({ length: count }, () => ({ key: null, value: null, timestamp: 0 }));
  const batch = buildBatch(records, { producerId, producerEpoch, baseSequence, transactional }, () => 0);
  return checkProducer(fold, verifications, viewOf(batch), 0, guard);
}

function checkMarker(
  fold: ProducerFold,
  producerId: number,
  producerEpoch: number,
  coordinatorEpoch: number,
  version: number,
): number {
  const fields = { type: markerType.abort, producerId, producerEpoch, coordinatorEpoch, timestamp: 0 };
  return checkProducer(fold, new Verifications(), viewOf(buildControlMarker(fields, () => 0)), 0, version);
}

function record(fold: ProducerFold, id: number, epoch: number, first: number, count: number, base: number) {
  fold.batch(id, epoch, first, sequenceAfter(first, count - 1), base, base + count - 1, base, false);
}

test('an unknown producer may begin with any sequence', () => {
  assert.equal(checkSequence(new ProducerFold(), 7, 0, 1234, 3), sequenceVerdict.accept);
});

test('the next sequence is accepted, a gap is out of order', () => {
  const fold = new ProducerFold();
  record(fold, 7, 0, 0, 10, 0);
  assert.equal(checkSequence(fold, 7, 0, 10, 5), sequenceVerdict.accept);
  assert.equal(checkSequence(fold, 7, 0, 11, 5), sequenceVerdict.outOfOrder);
  assert.equal(checkSequence(fold, 7, 0, 9, 5), sequenceVerdict.outOfOrder);
});

test('each of the last five batches is recognised as a duplicate of its original', () => {
  const fold = new ProducerFold();
  for (let i = 0; i < 6; i++) record(fold, 7, 0, i * 10, 10, i * 10);
  for (let i = 1; i < 6; i++) {
    assert.equal(checkSequence(fold, 7, 0, i * 10, 10), sequenceVerdict.duplicate);
    assert.deepEqual(duplicate, { baseOffset: i * 10, timestamp: i * 10 });
  }
  assert.equal(checkSequence(fold, 7, 0, 0, 10), sequenceVerdict.outOfOrder, 'the sixth is forgotten');
  assert.equal(checkSequence(fold, 7, 0, 50, 9), sequenceVerdict.outOfOrder, 'a partly overlapping one');
});

test('a lower epoch is stale, a higher one must begin at 0', () => {
  const fold = new ProducerFold();
  record(fold, 7, 3, 0, 10, 0);
  assert.equal(checkSequence(fold, 7, 2, 10, 1), sequenceVerdict.staleEpoch);
  assert.equal(checkSequence(fold, 7, 4, 10, 1), sequenceVerdict.outOfOrder);
  assert.equal(checkSequence(fold, 7, 4, 0, 1), sequenceVerdict.accept);
  record(fold, 7, 4, 0, 1, 10);
  assert.equal(checkSequence(fold, 7, 4, 1, 1), sequenceVerdict.accept);
});

test('behind a marker of a higher epoch sequences begin at 0, behind one of the same epoch they go on', () => {
  const fold = new ProducerFold();
  record(fold, 7, 3, 0, 10, 0);
  fold.marker(7, 3, 10, 1, true, 0);
  assert.equal(checkSequence(fold, 7, 3, 10, 1), sequenceVerdict.accept);
  assert.equal(checkSequence(fold, 7, 3, 0, 10), sequenceVerdict.duplicate);
  fold.marker(7, 4, 11, 1, true, 0);
  assert.equal(checkSequence(fold, 7, 3, 10, 1), sequenceVerdict.staleEpoch);
  assert.equal(checkSequence(fold, 7, 4, 10, 1), sequenceVerdict.outOfOrder);
  assert.equal(checkSequence(fold, 7, 4, 0, 10), sequenceVerdict.accept, 'no duplicate of the older epoch');
});

test('sequences wrap from 2^31 − 1 to 0', () => {
  const fold = new ProducerFold();
  record(fold, 7, 0, 0x7ffffffe, 2, 0);
  assert.equal(checkSequence(fold, 7, 0, 0, 1), sequenceVerdict.accept);
  assert.equal(sequenceAfter(0x7fffffff, 1), 0);
  assert.equal(sequenceAfter(0x7ffffffe, 3), 1);
});

test('a snapshot restores the five-batch window, and a replayed batch does not enter it twice', () => {
  const fold = new ProducerFold();
  for (let i = 0; i < 7; i++) record(fold, 7, 1, i, 1, i);
  const [entry] = fold.snapshot(0, 7);
  assert.equal(entry!.batches.length, 5);
  const restored = ProducerFold.of([entry!]);
  record(restored, 7, 1, 6, 1, 6);
  for (let i = 2; i < 7; i++)
    assert.equal(checkSequence(restored, 7, 1, i, 1), sequenceVerdict.duplicate, `batch ${i}`);
  assert.equal(checkSequence(restored, 7, 1, 7, 1), sequenceVerdict.accept);
});

test('however many batches wait, the newest durable one is kept, and the ring shrinks when they are durable', () => {
  const fold = new ProducerFold(0, 0);
  record(fold, 7, 0, 0, 1, 0);
  record(fold, 7, 0, 1, 1, 1);
  fold.settle(2);
  for (let i = 2; i < 14; i++) record(fold, 7, 0, i, 1, i);
  assert.equal(fold.snapshot(0, 2)[0]!.batches.at(-1)!.baseOffset, 1);
  for (let i = 2; i < 14; i++)
    assert.equal(checkSequence(fold, 7, 0, i, 1), sequenceVerdict.duplicate, `batch ${i}`);
  assert.equal(checkSequence(fold, 7, 0, 14, 1), sequenceVerdict.accept);
  fold.settle(14);
  record(fold, 7, 0, 14, 1, 14);
  assert.deepEqual(
    fold.snapshot(0, 99)[0]!.batches.map((batch) => batch.baseOffset),
    [10, 11, 12, 13, 14],
  );
  assert.equal(checkSequence(fold, 7, 0, 9, 1), sequenceVerdict.outOfOrder, 'forgotten');
});

test('batches of a new epoch that fail leave the old epoch as it was', () => {
  const fold = new ProducerFold(0, 0);
  record(fold, 7, 3, 0, 1, 0);
  fold.settle(1);
  for (let i = 0; i < 6; i++) record(fold, 7, 4, i, 1, 1 + i);
  assert.equal(checkSequence(fold, 7, 4, 0, 1), sequenceVerdict.duplicate);
  const [entry] = fold.snapshot(0, 1);
  assert.equal(entry!.epoch, 3);
  assert.equal(entry!.batches.length, 1);
  assert.equal(fold.snapshot(0, 99)[0]!.epoch, 4);
});

test('at the bound the longest idle producer without a transaction makes room, and none is known when all have one', () => {
  const fold = new ProducerFold();
  fold.batch(0, 0, 0, 0, 0, 0, 9_999, true);
  for (let id = 1; id < producersMax; id++) record(fold, id, 0, 0, 1, id);
  record(fold, producersMax, 0, 0, 1, producersMax);
  assert.equal(fold.size, producersMax);
  assert.equal(checkSequence(fold, 0, 0, 5, 1), sequenceVerdict.outOfOrder, 'it has a transaction');
  assert.equal(checkSequence(fold, 1, 0, 5, 1), sequenceVerdict.accept, 'producer 1 is unknown now');
  assert.equal(checkSequence(fold, 2, 0, 5, 1), sequenceVerdict.outOfOrder, 'producer 2 is still known');

  const full = new ProducerFold();
  for (let id = 0; id < producersMax; id++) full.batch(id, 0, 0, 0, id, id, 0, true);
  assert.equal(checkSequence(full, producersMax, 0, 0, 1), sequenceVerdict.noRoom);
  assert.equal(checkSequence(full, 5, 0, 1, 1, { transactional: true }), sequenceVerdict.accept);
  full.marker(5, 0, producersMax, 0, true, 0);
  assert.equal(checkSequence(full, producersMax, 0, 0, 1), sequenceVerdict.accept);
});

const outOfOrder = sequenceVerdict.outOfOrder;

test('a transaction begins with a verified batch only, and goes on without', () => {
  const fold = new ProducerFold();
  const verifications = new Verifications();
  const check = (sequence: number, guard: number) =>
    checkSequence(fold, 7, 0, sequence, 1, { transactional: true, guard, verifications });
  assert.equal(check(0, 0), sequenceVerdict.transaction);
  const guard = verifications.begin(7, 0, 0, false);
  assert.equal(check(0, guard + 1), sequenceVerdict.transaction, "another one's guard");
  assert.equal(check(0, guard), sequenceVerdict.accept);
  assert.equal(check(0, -1), sequenceVerdict.accept, 'a coordinator of the broker');
  fold.batch(7, 0, 0, 0, 0, 0, 0, true);
  verifications.end(7);
  assert.equal(check(1, 0), sequenceVerdict.accept);
  fold.marker(7, 0, 1, 0, false, 0);
  assert.equal(check(1, guard), sequenceVerdict.transaction, 'a late yes for the transaction before');
  assert.equal(check(0, 0), sequenceVerdict.duplicate, 'a retry of what was appended needs none');
});

test('questions of one producer share a guard, and only the lowest sequence may begin', () => {
  const fold = new ProducerFold();
  const verifications = new Verifications();
  const guard = verifications.begin(7, 0, 5, false);
  assert.equal(verifications.begin(7, 0, 3, false), guard);
  const check = (sequence: number) =>
    checkSequence(fold, 7, 0, sequence, 1, { transactional: true, guard, verifications });
  assert.deepEqual([check(5), check(3)], [outOfOrder, 0]);
  verifications.end(7);
  assert.notEqual(verifications.begin(7, 0, 3, false), guard);
  const bumping = new Verifications();
  const from0 = bumping.begin(7, 0, 4, true);
  const check0 = (sequence: number) =>
    checkSequence(fold, 7, 0, sequence, 1, { transactional: true, guard: from0, verifications: bumping });
  assert.deepEqual([check0(4), check0(0)], [outOfOrder, 0], 'nothing is known, yet it begins at 0 (KIP-890)');
});

test('what is not of the open transaction is refused, also from coordinators with an older epoch', () => {
  const fold = new ProducerFold();
  fold.batch(7, 1, 0, 0, 0, 0, 0, true);
  assert.equal(checkSequence(fold, 7, 1, 1, 1), sequenceVerdict.transaction);
  const trusted = { transactional: true, guard: -1 };
  assert.equal(checkSequence(fold, 7, 1, -1, 1, trusted), sequenceVerdict.accept, 'no sequence');
  assert.equal(checkSequence(fold, 7, 0, -1, 1, trusted), sequenceVerdict.staleEpoch);
});

test('markers are fenced by epochs of producer and coordinator', () => {
  const fold = new ProducerFold();
  fold.batch(7, 3, 0, 0, 0, 0, 0, true);
  assert.equal(checkMarker(fold, 7, 2, 0, 0), ErrorCode.INVALID_PRODUCER_EPOCH);
  assert.equal(checkMarker(fold, 7, 3, 0, 1), 0);
  assert.equal(checkMarker(fold, 7, 3, 0, 2), ErrorCode.INVALID_PRODUCER_EPOCH, 'of the transaction before');
  assert.equal(checkMarker(fold, 7, 4, 0, 2), 0);
  fold.marker(7, 4, 1, 0, false, 6);
  assert.equal(checkMarker(fold, 7, 4, 6, 2), 0, 'the same once more');
  assert.equal(checkMarker(fold, 7, 4, 5, 2), ErrorCode.TRANSACTION_COORDINATOR_FENCED);
  assert.equal(checkMarker(fold, 7, 3, 6, 1), ErrorCode.INVALID_PRODUCER_EPOCH);
  assert.equal(checkMarker(fold, 8, 0, 0, 1), 0, 'unknown here');
});

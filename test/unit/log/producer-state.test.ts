import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ProducerState,
  producersMax,
  sequenceAfter,
  sequenceVerdict,
} from '../../../src/log/producer-state.ts';

function record(
  state: ProducerState,
  id: number,
  epoch: number,
  first: number,
  count: number,
  base: number,
  entry = 1,
  durable = Number.POSITIVE_INFINITY,
): void {
  const last = sequenceAfter(first, count - 1);
  state.record(id, epoch, first, last, base, base + count - 1, base, entry, durable);
}

test('an unknown producer may begin with any sequence', () => {
  assert.equal(new ProducerState().check(7, 0, 1234, 3), sequenceVerdict.accept);
});

test('the next sequence is accepted, a gap is out of order', () => {
  const state = new ProducerState();
  record(state, 7, 0, 0, 10, 0);
  assert.equal(state.check(7, 0, 10, 5), sequenceVerdict.accept);
  assert.equal(state.check(7, 0, 11, 5), sequenceVerdict.outOfOrder);
  assert.equal(state.check(7, 0, 9, 5), sequenceVerdict.outOfOrder);
});

test('each of the last five batches is recognised as a duplicate of its original', () => {
  const state = new ProducerState();
  for (let i = 0; i < 6; i++) record(state, 7, 0, i * 10, 10, i * 10, 100 + i);
  for (let i = 1; i < 6; i++) {
    assert.equal(state.check(7, 0, i * 10, 10), sequenceVerdict.duplicate);
    assert.equal(state.duplicateBaseOffset, i * 10);
    assert.equal(state.duplicateEntry, 100 + i);
  }
  assert.equal(state.check(7, 0, 0, 10), sequenceVerdict.outOfOrder, 'the sixth is forgotten');
  assert.equal(state.check(7, 0, 50, 9), sequenceVerdict.outOfOrder, 'a partly overlapping batch is none');
});

test('a lower epoch is stale, a higher one must begin at 0', () => {
  const state = new ProducerState();
  record(state, 7, 3, 0, 10, 0);
  assert.equal(state.check(7, 2, 10, 1), sequenceVerdict.staleEpoch);
  assert.equal(state.check(7, 4, 10, 1), sequenceVerdict.outOfOrder);
  assert.equal(state.check(7, 4, 0, 1), sequenceVerdict.accept);
  record(state, 7, 4, 0, 1, 10);
  assert.equal(state.check(7, 4, 1, 1), sequenceVerdict.accept);
});

test('sequences wrap from 2^31 − 1 to 0', () => {
  const state = new ProducerState();
  record(state, 7, 0, 0x7ffffffe, 2, 0);
  assert.equal(state.check(7, 0, 0, 1), sequenceVerdict.accept);
  assert.equal(sequenceAfter(0x7fffffff, 1), 0);
  assert.equal(sequenceAfter(0x7ffffffe, 3), 1);
});

test('a snapshot restores the five-batch window, and a replayed batch does not enter it twice', () => {
  const state = new ProducerState();
  for (let i = 0; i < 7; i++) record(state, 7, 1, i, 1, i);
  const [entry] = state.snapshot(0, 7);
  assert.equal(entry!.batches.length, 5);
  const restored = new ProducerState();
  restored.restore(entry!);
  record(restored, 7, 1, 6, 1, 6, 0);
  for (let i = 2; i < 7; i++)
    assert.equal(restored.check(7, 1, i, 1), sequenceVerdict.duplicate, `batch ${i}`);
  assert.equal(restored.check(7, 1, 7, 1), sequenceVerdict.accept);
});

test('however many batches wait, the newest durable one is kept, and the ring shrinks when they are durable', () => {
  const state = new ProducerState();
  record(state, 7, 0, 0, 1, 0, 1, 2);
  record(state, 7, 0, 1, 1, 1, 2, 3);
  for (let i = 2; i < 14; i++) record(state, 7, 0, i, 1, i, 1 + i, 3);
  const [entry] = state.snapshot(0, 2);
  assert.equal(entry!.batches.at(-1)!.baseOffset, 1);
  for (let i = 2; i < 14; i++) assert.equal(state.check(7, 0, i, 1), sequenceVerdict.duplicate, `batch ${i}`);
  assert.equal(state.check(7, 0, 14, 1), sequenceVerdict.accept);
  record(state, 7, 0, 14, 1, 14, 15, 15);
  assert.deepEqual(
    state.snapshot(0, 99)[0]!.batches.map((batch) => batch.baseOffset),
    [10, 11, 12, 13, 14],
  );
  assert.equal(state.check(7, 0, 9, 1), sequenceVerdict.outOfOrder, 'forgotten');
});

test('batches of a new epoch that fail leave the old epoch as it was', () => {
  const state = new ProducerState();
  record(state, 7, 3, 0, 1, 0, 1, 2);
  for (let i = 0; i < 6; i++) record(state, 7, 4, i, 1, 1 + i, 2 + i, 2);
  assert.equal(state.check(7, 4, 0, 1), sequenceVerdict.duplicate);
  const [entry] = state.snapshot(0, 1);
  assert.equal(entry!.epoch, 3);
  assert.equal(entry!.batches.length, 1);
  assert.equal(state.snapshot(0, 99)[0]!.epoch, 4);
});

test('a snapshot leaves out batches at or above its end, and producers idle before its start', () => {
  const state = new ProducerState();
  record(state, 1, 0, 0, 1, 0);
  record(state, 2, 0, 0, 1, 1);
  record(state, 2, 0, 1, 1, 2);
  const [only, ...rest] = state.snapshot(1, 2);
  assert.equal(rest.length, 0);
  assert.equal(only!.producerId, 2);
  assert.deepEqual(
    only!.batches.map((batch) => batch.baseOffset),
    [1],
  );
});

test('at the bound the longest idle producer without a transaction is forgotten', () => {
  const state = new ProducerState();
  for (let id = 0; id < producersMax; id++) state.record(id, 0, 0, 0, id, id, 1000 + id, 1, 2);
  state.record(producersMax, 0, 0, 0, producersMax, producersMax, 9999, 1, 2);
  assert.equal(state.size, producersMax);
  assert.equal(state.check(0, 0, 5, 1), sequenceVerdict.accept, 'producer 0 is unknown now');
  assert.equal(state.check(1, 0, 5, 1), sequenceVerdict.outOfOrder, 'producer 1 is still known');
});

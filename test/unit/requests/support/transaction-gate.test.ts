/** Order, memory and refusals of transactional batches that wait for their verification. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppendWaiter } from '../../../../src/log/append-journal.ts';
import type { PartitionHandle, VerifyAnswer } from '../../../../src/log/partition-handle.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import { baseSequenceOf } from '../../../../src/protocol/records/batch-header.ts';
import { TransactionGate } from '../../../../src/requests/support/transaction-gate.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function rig(waitingMax = 8) {
  const arena = new HeapArena({ segmentBytes: 4096, segmentCount: 16 });
  /** Sequence and guard of each append. */
  const appended: [sequence: number, guard: number | undefined][] = [];
  const questions: ((error: number) => void)[] = [];
  const asked: object[] = [];
  const outcomes: [index: number, error: number][] = [];
  const clock = new VirtualClock();
  let open = false;
  /** Markers that have come: each takes the guards that there are. */
  let markers = 0;
  let remote: (() => void)[] | null = null;
  let flushes = 0;
  const partition = {
    topicId: 'T',
    partition: 3,
    startOffset: 0,
    verify: (_id: number, _epoch: number, sequence: number, _bumps: boolean, answer: VerifyAnswer) => {
      const run = () => answer(0, open ? 0 : 100 * (markers + 1) + sequence);
      if (remote === null) run();
      else remote.push(run);
    },
    append: (position: number, _length: number, waiter: AppendWaiter, index: number, guard?: number) => {
      appended.push([baseSequenceOf(arena.view, position), guard]);
      open = true;
      waiter.onAppended(index, 0, 0, -1, 0);
    },
  } as unknown as PartitionHandle;
  const verifier = {
    verify: (transaction: object, _partition: object, done: (error: number) => void) => {
      asked.push(transaction);
      questions.push(done);
    },
  };
  const gate = new TransactionGate(arena, clock, verifier, () => flushes++, waitingMax);
  const waiter: AppendWaiter = { onAppended: (index, error) => outcomes.push([index, error]) };
  const send = (sequence: number, producerId = 7): void => {
    const records = [{ key: null, value: Buffer.from('v'), timestamp: 0 }];
    const fields = { producerId, producerEpoch: 2, baseSequence: sequence, transactional: true };
    const batch = buildBatch(records, fields, () => 0);
    const segment = arena.acquire();
    const position = segment * arena.segmentBytes;
    batch.copy(arena.buffer, position);
    const where = { partition, topic: 't', transactionalId: 'tx', adds: true, abortable: true };
    gate.append({ ...where, position, length: batch.length, waiter, index: sequence });
    arena.release(segment);
  };
  const elsewhere = () => {
    remote = [];
    return () => {
      for (const run of remote!.splice(0)) run();
    };
  };
  const marker = (): void => {
    markers++;
  };
  return {
    arena,
    clock,
    marker,
    gate,
    send,
    appended,
    asked,
    questions,
    outcomes,
    elsewhere,
    flushes: () => flushes,
  };
}

test('batches wait for the answer, keep their order, and one question serves them all', () => {
  const on = rig();
  const free = on.arena.freeSegments();
  for (const sequence of [0, 1, 2]) on.send(sequence);
  assert.deepEqual([on.appended, on.gate.waiting, on.questions.length], [[], 3, 1]);
  assert.equal(on.arena.freeSegments(), free - 3, 'what waits stays in memory');
  assert.deepEqual(on.asked, [
    { transactionalId: 'tx', producerId: 7, producerEpoch: 2, add: true, abortable: true },
  ]);
  on.questions[0]!(0);
  const none = 0;
  assert.deepEqual(on.appended, [
    [0, 100],
    [1, none],
    [2, none],
  ]);
  assert.deepEqual([on.gate.waiting, on.arena.freeSegments(), on.questions.length], [0, free, 1]);
  assert(on.flushes() > 0);
  on.send(3);
  assert.deepEqual(on.appended.at(-1), [3, none], 'at once');
});

test('a no refuses its batch alone; the next one is asked about anew', () => {
  const on = rig();
  on.send(0);
  on.send(1);
  on.questions[0]!(ErrorCode.INVALID_TXN_STATE);
  assert.deepEqual([on.outcomes, on.questions.length], [[[0, ErrorCode.INVALID_TXN_STATE]], 2]);
  on.questions[1]!(0);
  assert.deepEqual([on.appended, on.gate.waiting], [[[1, 101]], 0]);
});

test('producers do not wait for each other, and a partition elsewhere may answer late', () => {
  const on = rig();
  const letGo = on.elsewhere();
  on.send(0, 7);
  on.send(5, 8);
  on.send(1, 7);
  assert.equal(on.questions.length, 0);
  letGo();
  assert.equal(on.questions.length, 2);
  on.questions[1]!(0);
  assert.equal(on.appended.length, 0, 'the guard is looked at once more');
  letGo();
  assert.deepEqual(on.appended, [[5, 105]]);
  on.questions[0]!(0);
  letGo();
  letGo();
  assert.deepEqual(
    on.appended.map(([sequence]) => sequence),
    [5, 0, 1],
  );
});

test('beyond its bound batches are refused with an error that clients repeat', () => {
  const on = rig(2);
  const free = on.arena.freeSegments();
  for (const sequence of [0, 1, 2]) on.send(sequence);
  assert.deepEqual(on.outcomes, [[2, ErrorCode.NOT_ENOUGH_REPLICAS]]);
  on.questions[0]!(ErrorCode.COORDINATOR_NOT_AVAILABLE);
  assert.deepEqual(on.outcomes.at(-1), [0, ErrorCode.NOT_ENOUGH_REPLICAS]);
  on.questions[1]!(0);
  assert.deepEqual([on.gate.waiting, on.arena.freeSegments()], [0, free]);
  on.send(3);
  assert.equal(on.appended.length, 2);
});

test('a transaction before it that is still ending is waited for, for a while', () => {
  const on = rig();
  on.send(0);
  for (let tries = 1; tries <= 5; tries++) {
    on.questions.pop()!(ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.deepEqual([on.questions.length, on.outcomes.length], [0, 0]);
    on.clock.advance(20);
    assert.equal(on.questions.length, 1);
  }
  on.questions.pop()!(ErrorCode.CONCURRENT_TRANSACTIONS);
  assert.deepEqual(on.outcomes, [[0, ErrorCode.CONCURRENT_TRANSACTIONS]]);
  assert.equal(on.gate.waiting, 0);
});

test('a marker that takes the guard before the coordinator has answered costs another question, no error', () => {
  const on = rig();
  on.send(0);
  on.marker();
  on.questions.pop()!(0);
  assert.deepEqual([on.appended, on.questions.length], [[], 1]);
  on.questions.pop()!(0);
  assert.deepEqual(on.appended, [[0, 200]]);
  assert.deepEqual(on.outcomes, [[0, 0]]);
});

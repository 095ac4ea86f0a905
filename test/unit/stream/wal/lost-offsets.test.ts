/** What a damaged write-ahead log has lost, by partition. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lostOffsets } from '../../../../src/stream/wal/lost-offsets.ts';
import { payloadStates, type RecoveredBatches } from '../../../../src/stream/wal/recovered-batches.ts';

interface Batch {
  readonly topic?: string;
  readonly partition?: number;
  /** Number of its commit. */
  readonly sequence: number;
  readonly from: number;
  readonly last: number;
  readonly epoch?: number;
  readonly bad?: boolean;
}

function recovered(batches: readonly Batch[]): RecoveredBatches {
  const good = Object.values(payloadStates).find((state) => state !== payloadStates.bad)!;
  return {
    count: batches.length,
    topicId: (i: number) => batches[i]!.topic ?? 't',
    partitions: batches.map(({ partition = 0 }) => partition),
    sequences: batches.map(({ sequence }) => sequence),
    baseOffset: (i: number) => batches[i]!.from,
    lastOffset: (i: number) => batches[i]!.last,
    leaderEpoch: (i: number) => batches[i]!.epoch ?? 1,
    payloads: batches.map(({ bad = false }) => (bad ? payloadStates.bad : good)),
  } as unknown as RecoveredBatches;
}

const gap = (from: number, until: number, more: object = {}) => ({
  topicId: 't',
  partition: 0,
  from,
  until,
  reason: 'gap',
  certain: true,
  ...more,
});

test('nothing is lost while offsets follow each other, or no commit is missing between', () => {
  const two = (from: number): Batch[] => [
    { sequence: 1, from: 0, last: 4 },
    { sequence: 5, from, last: from + 1 },
  ];
  assert.deepEqual(lostOffsets(recovered([]), [{ from: 1, until: 9 }]), []);
  assert.deepEqual(lostOffsets(recovered(two(5)), [{ from: 2, until: 4 }]), []);
  assert.deepEqual(lostOffsets(recovered(two(8)), []), [], 'the stream had a hole before');
  for (const range of [
    { from: 1, until: 2 },
    { from: 5, until: 6 },
    { from: 0, until: 1 },
    { from: 6, until: 7 },
  ])
    assert.deepEqual(lostOffsets(recovered(two(8)), [range]), []);
  for (const from of [2, 4])
    assert.deepEqual(
      lostOffsets(recovered(two(8)), [
        { from: 9, until: 10 },
        { from, until: from + 1 },
      ]),
      [gap(5, 8)],
    );
});

test('a gap is certain while one leader wrote on both sides', () => {
  const batches = [
    { sequence: 1, from: 0, last: 0, epoch: 1 },
    { sequence: 3, from: 2, last: 2, epoch: 2 },
    { sequence: 5, from: 4, last: 4, epoch: 2 },
  ];
  assert.deepEqual(
    lostOffsets(recovered(batches), [
      { from: 2, until: 3 },
      { from: 4, until: 5 },
    ]),
    [gap(1, 2, { certain: false }), gap(3, 4)],
  );
});

test('streams are looked at apart: by topic and by partition', () => {
  const batches = [
    { sequence: 1, from: 0, last: 0 },
    { sequence: 1, from: 9, last: 9, partition: 1 },
    { sequence: 1, from: 20, last: 20, topic: 'u' },
    { sequence: 3, from: 21, last: 21, topic: 'u' },
    { sequence: 3, from: 12, last: 12, partition: 1 },
    { sequence: 3, from: 1, last: 1 },
  ];
  assert.deepEqual(lostOffsets(recovered(batches), [{ from: 2, until: 3 }]), [gap(10, 12, { partition: 1 })]);
});

test('records of a damaged batch are lost by themselves, and what follows it follows', () => {
  const batches = [
    { sequence: 1, from: 0, last: 2, bad: true },
    { sequence: 2, from: 3, last: 3 },
    { sequence: 4, from: 6, last: 8, bad: true },
  ];
  assert.deepEqual(lostOffsets(recovered(batches), [{ from: 3, until: 4 }]), [
    gap(0, 3, { reason: 'payload' }),
    gap(4, 6),
    gap(6, 9, { reason: 'payload' }),
  ]);
});

/** Batches where they lie: markers, lost ones, control records of other kinds. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import { buildControlMarker, markerType } from '../../../../src/protocol/records/control-marker.ts';
import { lostBatchBytes, markLost } from '../../../../src/protocol/records/lost-batch.ts';
import { foldBatch, foldHeader } from '../../../../src/stream/producers/batch-fold.ts';
import { ProducerFold } from '../../../../src/stream/producers/producer-fold.ts';
import { crc32c } from '../../../support/stream-deltas.ts';

const producer = { producerId: 7, producerEpoch: 2 };

function viewOf(batch: Buffer): DataView {
  return new DataView(batch.buffer, batch.byteOffset, batch.length);
}

function data(baseOffset: number, baseSequence: number): DataView {
  const records = [0, 1].map(() => ({ key: null, value: Buffer.from('v'), timestamp: 5 }));
  return viewOf(buildBatch(records, { ...producer, baseOffset, baseSequence, transactional: true }, crc32c));
}

function marker(baseOffset: number, type: 0 | 1): Buffer {
  return buildControlMarker({ ...producer, type, baseOffset, coordinatorEpoch: 4, timestamp: 9 }, crc32c);
}

it('a marker whose record is lost aborts, and what follows is a transaction of its own', () => {
  for (const only of ['header', 'lost batch']) {
    const fold = new ProducerFold();
    foldBatch(fold, data(0, 0), 0);
    const lost = Buffer.from(marker(2, markerType.commit));
    if (only === 'header') foldHeader(fold, viewOf(lost), 0, null);
    else {
      markLost(lost, viewOf(lost), 0, true, crc32c);
      foldBatch(fold, viewOf(lost.subarray(0, lostBatchBytes)), 0);
    }
    assert.equal(fold.lastStable(3), 3, only);
    foldBatch(fold, data(3, 2), 0);
    assert.equal(fold.lastStable(5), 3, only);
    foldBatch(fold, viewOf(marker(5, markerType.commit)), 0);
    assert.deepEqual(
      fold.abortedIn(0, 9),
      [{ producerId: 7, firstOffset: 0, lastOffset: 2, lastStableOffset: 3 }],
      only,
    );
    assert.equal(fold.get(7)!.coordinatorEpoch, 4);
  }
});

it('a batch whose records are lost counts as it did, also for its transaction', () => {
  const fold = new ProducerFold();
  const view = data(10, 6);
  const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  markLost(bytes, view, 0, true, crc32c);
  foldBatch(fold, view, 0);
  const [entry] = fold.snapshot();
  const { firstSequence, lastSequence, baseOffset, lastOffset } = entry!.batches[0]!;
  assert.deepEqual([firstSequence, lastSequence, baseOffset, lastOffset], [6, 7, 10, 11]);
  assert.equal(entry!.txnFirstOffset, 10);
});

it('control records that end no transaction, and batches of nobody, say nothing', () => {
  const fold = new ProducerFold();
  const records = [{ key: Buffer.from([0, 0, 0, 5]), value: null, timestamp: 1 }];
  foldBatch(fold, viewOf(buildBatch(records, { ...producer, control: true }, crc32c)), 0);
  foldBatch(fold, viewOf(buildBatch(records, {}, crc32c)), 0);
  assert.equal(fold.size, 0);
});

it('producers are numbered from 0; a batch without one says nothing of any', () => {
  for (const [producerId, known] of [
    [-1, 0],
    [0, 1],
    [1, 1],
  ] as const) {
    const records = [{ key: null, value: Buffer.from('v'), timestamp: 5 }];
    const batch = viewOf(buildBatch(records, { producerId, producerEpoch: 0, baseSequence: 0 }, crc32c));
    for (const take of [foldBatch, (fold: ProducerFold) => foldHeader(fold, batch, 0, null)]) {
      const fold = new ProducerFold();
      take(fold, batch, 0);
      assert.equal(fold.size, known);
    }
  }
});

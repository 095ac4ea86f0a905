import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import { buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import * as header from '../../../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../../../src/protocol/records/batch-reader.ts';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import { isLost, lostBatchBytes, markLost, writeLost } from '../../../../src/protocol/records/lost-batch.ts';
import { sampleRecords, seeded, shared, viewOf } from '../../../support/sample-records.ts';

const { crc32c } = portableCrc32c();
const codecs = createCodecs();

function records(buffer: Buffer, at: number): number {
  const cursor = new RecordCursor();
  cursor.open(buffer, at, lostBatchBytes, codecs, 1 << 20);
  let count = 0;
  while (cursor.next()) count++;
  return count;
}

test('a batch whose records are lost keeps offsets, epoch, producer and times, and has none of its records', () => {
  const lost = sampleRecords(5, seeded(1));
  const fields = {
    baseOffset: 2 ** 40,
    partitionLeaderEpoch: 7,
    producerId: 12,
    producerEpoch: 3,
    baseSequence: 90,
  };
  const placed = shared(
    Buffer.concat([Buffer.alloc(9), buildBatch(lost, { ...fields, transactional: true }, crc32c)]),
  );
  const view = viewOf(placed);
  assert.equal(isLost(view, 9), false);
  markLost(placed, view, 9, true, crc32c);
  assert.equal(isLost(view, 9), true);
  assert.equal(header.batchBytesOf(view, 9), lostBatchBytes);
  assert.deepEqual([header.baseOffsetOf(view, 9), header.lastOffsetOf(view, 9)], [2 ** 40, 2 ** 40 + 4]);
  assert.equal(header.leaderEpochOf(view, 9), 7);
  assert.deepEqual([header.producerIdOf(view, 9), header.producerEpochOf(view, 9)], [12, 3]);
  assert.equal(header.baseSequenceOf(view, 9), 90);
  assert.equal(header.lastSequenceOf(view, 9), 94);
  assert.equal(header.maxTimestampOf(view, 9), Math.max(...lost.map((record) => record.timestamp)));
  assert.equal(header.isTransactional(header.attributesOf(view, 9)), true);
  assert.equal(header.codecOf(header.attributesOf(view, 9)), 0);
  assert.equal(header.crcOf(view, 9), crc32c(placed, 9 + header.crcStart, lostBatchBytes - header.crcStart));
  assert.equal(records(placed, 9), 0);
});

test('offsets of which nothing is known: from the first to the last, no producer', () => {
  const memory = shared(Buffer.alloc(lostBatchBytes + 3, 0xff));
  const view = viewOf(memory);
  const lost = { baseOffset: 1_000, lastOffset: 1_000 + 0x7ffffffe, leaderEpoch: 2, maxTimestamp: 77 };
  writeLost(memory, view, 3, lost, true, crc32c);
  assert.equal(isLost(view, 3), true);
  assert.deepEqual(
    [header.baseOffsetOf(view, 3), header.lastOffsetOf(view, 3)],
    [lost.baseOffset, lost.lastOffset],
  );
  assert.deepEqual([header.producerIdOf(view, 3), header.baseSequenceOf(view, 3)], [-1, -1]);
  assert.deepEqual([header.magicOf(view, 3), header.leaderEpochOf(view, 3)], [2, 2]);
  assert.equal(header.maxTimestampOf(view, 3), 77);
  assert.equal(header.crcOf(view, 3), crc32c(memory, 3 + header.crcStart, lostBatchBytes - header.crcStart));
  assert.equal(records(memory, 3), 0);
});

test('one that readers pass over is an empty batch like any other; one with records is never taken for lost', () => {
  const memory = shared(Buffer.alloc(lostBatchBytes));
  const view = viewOf(memory);
  writeLost(
    memory,
    view,
    0,
    { baseOffset: 4, lastOffset: 9, leaderEpoch: 0, maxTimestamp: -1 },
    false,
    crc32c,
  );
  assert.equal(isLost(view, 0), false);
  assert.equal(records(memory, 0), 0);
  const batch = shared(Buffer.from(buildBatch(sampleRecords(1, seeded(2)), {}, crc32c)));
  batch.writeInt16BE(-1, header.headerField.attributes);
  assert.equal(isLost(viewOf(batch), 0), false);
});

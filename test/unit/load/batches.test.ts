import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { readBatch } from '../../../src/protocol/records/batch-reader.ts';
import { BatchPool, crcMatches, sequencedBatch } from '../../support/load/batches.ts';

test('every batch of a pool is valid and unlike all others, also when the pool comes round', () => {
  const pool = new BatchPool({ valueBytes: 100, recordsPerBatch: 3 }, 4);
  const seen = new Set<string>();
  for (let i = 0; i < 40; i++) {
    const batch = pool.take();
    assert.equal(batch.length, pool.batchBytes);
    assert.ok(crcMatches(batch), `CRC of batch ${i}`);
    assert.equal([...readBatch(batch, 0, batch.length, createCodecs(), 1 << 20)].length, 3);
    seen.add(batch.toString('latin1'));
  }
  assert.equal(seen.size, 40);
});

test('a sequenced batch carries its producer, and a changed byte shows in the CRC', () => {
  const batch = sequencedBatch(
    { producerId: 7, producerEpoch: 2 },
    40,
    [Buffer.from('a'), Buffer.from('b')],
    1_700_000_000_000,
  );
  assert.equal(batch.readBigInt64BE(43), 7n);
  assert.equal(batch.readInt16BE(51), 2);
  assert.equal(batch.readInt32BE(53), 40);
  assert.ok(crcMatches(batch));
  batch[batch.length - 3] = batch[batch.length - 3]! ^ 1;
  assert.ok(!crcMatches(batch));
});

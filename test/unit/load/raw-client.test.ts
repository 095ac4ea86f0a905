import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { BatchPool } from '../../support/load/batches.ts';
import { produceEnvelope } from '../../support/raw-client.ts';
import { decodeRequestHeader } from '../../support/request-headers.ts';

test('head, batch and tail of an envelope are one Produce request with the correlation id put in', () => {
  const pool = new BatchPool({ valueBytes: 5000, recordsPerBatch: 2 }, 1);
  const batch = pool.take();
  const { head, tail, correlationAt } = produceEnvelope('some-topic', 3, batch.length);
  head.writeInt32BE(77, correlationAt);
  const frame = Buffer.concat([head, batch, tail]);
  assert.equal(frame.readInt32BE(0), frame.length - 4);
  const reader = new Reader(frame, 4);
  const header = decodeRequestHeader(reader);
  assert.equal(header.correlationId, 77);
  const request = ProduceCodec.decodeRequest(reader, header.apiVersion);
  reader.expectEnd();
  assert.equal(request.acks, -1);
  assert.equal(request.topicData[0]!.name, 'some-topic');
  assert.equal(request.topicData[0]!.partitionData[0]!.index, 3);
  assert.ok(batch.equals(request.topicData[0]!.partitionData[0]!.records!));
});

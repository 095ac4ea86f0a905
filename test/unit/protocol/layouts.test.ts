/** A few answers spelled out byte by byte, so that a mistake shared by reader and writer does not pass unseen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiVersionsCodec } from '../../../src/protocol/generated/api-versions.ts';
import { CreateTopicsCodec } from '../../../src/protocol/generated/create-topics.ts';
import { AbortedTxnCodec } from '../../../src/protocol/generated/data/aborted-txn.ts';
import { EndTxnMarkerCodec } from '../../../src/protocol/generated/data/end-txn-marker.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { ZERO_UUID } from '../../../src/protocol/primitives.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { Writer } from '../../../src/protocol/writer.ts';
import { encodeVersioned } from '../../support/prefixed.ts';

function hex(encode: (writer: Writer) => void): string {
  const writer = new Writer();
  encode(writer);
  return writer.written.toString('hex');
}

test('ApiVersions 0 and 3', () => {
  const answer = { apiKeys: [{ apiKey: 18, minVersion: 0, maxVersion: 4 }] };
  assert.equal(
    hex((writer) => ApiVersionsCodec.encodeResponse(writer, { ...answer, errorCode: 35 }, 0)),
    '0023' + '00000001' + '001200000004',
  );
  const features = {
    ...answer,
    finalizedFeaturesEpoch: 7,
    finalizedFeatures: [{ name: 'f', maxVersionLevel: 2, minVersionLevel: 1 }],
  };
  assert.equal(
    hex((writer) => ApiVersionsCodec.encodeResponse(writer, features, 3)),
    '0000' +
      '02' +
      '00120000000400' +
      '00000000' +
      '02' +
      '01080000000000000007' +
      '0208' +
      '02' +
      '0266' +
      '00020001' +
      '00',
  );
});

test('Produce 9: a leader hint needs version 10', () => {
  const partition = { index: 1, errorCode: 6, currentLeader: { leaderId: 2, leaderEpoch: 3 } };
  const body = { responses: [{ name: 't', partitionResponses: [partition] }] };
  assert.throws(
    () => hex((writer) => ProduceCodec.encodeResponse(writer, body, 9)),
    /CurrentLeader has a value, but version 9/,
  );
  const bytes = hex((writer) => ProduceCodec.encodeResponse(writer, body, 10));
  assert.ok(bytes.includes('01' + '0009' + '00000002' + '00000003' + '00'), bytes);
});

test('Produce 3: records are a view into the frame', () => {
  const frame = Buffer.from(
    'ffff' + 'ffff' + '00000064' + '00000001' + '000174' + '00000001' + '00000002' + '00000003' + '010203',
    'hex',
  );
  const request = ProduceCodec.decodeRequest(new Reader(frame), 3);
  assert.equal(request.transactionalId, null);
  assert.equal(request.acks, -1);
  const topic = request.topicData[0]!;
  assert.equal(topic.name, 't');
  assert.equal(topic.topicId, ZERO_UUID);
  const records = topic.partitionData[0]!.records!;
  assert.deepEqual([...records], [1, 2, 3]);
  frame[frame.length - 1] = 9;
  assert.equal(records[2], 9);
});

test('null where the version allows none', () => {
  const body = { topics: [{ name: 't', errorMessage: null }] };
  hex((writer) => CreateTopicsCodec.encodeResponse(writer, body, 7));
  const request = new Reader(Buffer.from('00000001' + 'ffff', 'hex'));
  assert.throws(() => CreateTopicsCodec.decodeRequest(request, 2), { code: 'PROTOCOL_DECODE' });
});

test('ListOffsets 0 has the old list of offsets', () => {
  const body = { topics: [{ name: 't', partitions: [{ partitionIndex: 1, oldStyleOffsets: [5] }] }] };
  const bytes = '00000001' + '000174' + '00000001' + '00000001' + '0000' + '00000001' + '0000000000000005';
  assert.equal(
    hex((writer) => ListOffsetsCodec.encodeResponse(writer, body, 0)),
    bytes,
  );
});

test('structures of control records and transaction index', () => {
  assert.equal(
    encodeVersioned(EndTxnMarkerCodec, { coordinatorEpoch: 3 }, 0).toString('hex'),
    '0000' + '00000003',
  );
  const entry = { producerId: 1, firstOffset: 2, lastOffset: 3, lastStableOffset: 4 };
  const words = [1, 2, 3, 4].map((word) => word.toString(16).padStart(16, '0')).join('');
  assert.equal(encodeVersioned(AbortedTxnCodec, entry, 0).toString('hex'), `0000${words}`);
});

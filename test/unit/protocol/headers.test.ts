import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  OffsetCommitKeyCodec,
  OffsetCommitValueCodec,
} from '../../../src/protocol/generated/coordinator/offset-commit.ts';
import { ConsumerProtocolSubscriptionCodec } from '../../../src/protocol/generated/data/consumer-protocol-subscription.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { Writer } from '../../../src/protocol/writer.ts';
import {
  decodeRecordKey,
  decodeVersioned,
  encodeRecordKey,
  encodeVersioned,
  recordTypeOf,
} from '../../support/prefixed.ts';
import {
  decodeRequestHeader,
  decodeResponseHeader,
  encodeRequestFrame,
  encodeRequestHeader,
  encodeResponseFrame,
  encodeResponseHeader,
  requestHeaderVersion,
  responseHeaderVersion,
} from '../../support/request-headers.ts';

const API_VERSIONS = 18;

test('header versions follow the flexibility of the API version', () => {
  assert.equal(requestHeaderVersion(1, 11), 1);
  assert.equal(requestHeaderVersion(1, 12), 2);
  assert.equal(responseHeaderVersion(1, 11), 0);
  assert.equal(responseHeaderVersion(1, 12), 1);
  assert.equal(requestHeaderVersion(17, 1), 1);
  assert.equal(requestHeaderVersion(999, 3), 1);
});

test('ApiVersions answers always have the plain header; a version too new has the flexible request header', () => {
  assert.equal(requestHeaderVersion(API_VERSIONS, 2), 1);
  assert.equal(requestHeaderVersion(API_VERSIONS, 77), 2);
  for (const version of [0, 3, 5, 77]) assert.equal(responseHeaderVersion(API_VERSIONS, version), 0);
});

test('request headers come back, with and without client id', () => {
  for (const apiVersion of [4, 12]) {
    for (const clientId of ['consumer-1', '', null]) {
      const header = { apiKey: 1, apiVersion, correlationId: -7, clientId };
      const writer = new Writer();
      encodeRequestHeader(writer, header);
      const reader = new Reader(writer.written);
      assert.deepEqual(decodeRequestHeader(reader), header);
      reader.expectEnd();
    }
  }
});

test('response headers come back', () => {
  for (const [apiVersion, length] of [
    [11, 4],
    [12, 5],
  ] as const) {
    const writer = new Writer();
    encodeResponseHeader(writer, 1, apiVersion, 42);
    assert.equal(writer.byteLength, length);
    assert.equal(decodeResponseHeader(new Reader(writer.written), 1, apiVersion), 42);
  }
});

test('frames carry their length, header and body', () => {
  const writer = new Writer({ onRecords: (value) => value.byteLength });
  const records = { byteLength: 100_000 };
  const body = { responses: [{ partitions: [{ partitionIndex: 3, records }] }] };
  encodeResponseFrame(writer, FetchCodec, 16, 9, body);
  const { buffer, holes, byteLength } = writer.detach();
  assert.equal(buffer.readInt32BE(0), byteLength - 4);
  assert.equal(holes.length, 1);
  const hole = holes[0]!;
  const content = Buffer.alloc(hole.length, 5);
  const frame = Buffer.concat([buffer.subarray(0, hole.position), content, buffer.subarray(hole.position)]);
  const reader = new Reader(frame, 4);
  assert.equal(decodeResponseHeader(reader, 1, 16), 9);
  const decoded = FetchCodec.decodeResponse(reader, 16);
  reader.expectEnd();
  assert.equal(decoded.responses[0]!.partitions[0]!.partitionIndex, 3);
  assert.deepEqual(Buffer.from(decoded.responses[0]!.partitions[0]!.records!), content);

  const header = { apiKey: 1, apiVersion: 12, correlationId: 1, clientId: null };
  encodeRequestFrame(writer, FetchCodec, header, { maxWaitMs: 500 });
  const request = new Reader(writer.written);
  assert.equal(request.i32(), request.remaining);
  assert.deepEqual(decodeRequestHeader(request), header);
  assert.equal(FetchCodec.decodeRequest(request, 12).maxWaitMs, 500);
  request.expectEnd();
});

test('record keys carry their type, values their version', () => {
  const key = encodeRecordKey(OffsetCommitKeyCodec, { group: 'g', topic: 't', partition: 2 });
  assert.equal(key.toString('hex'), '0001' + '000167' + '000174' + '00000002');
  assert.equal(recordTypeOf(key), 1);
  assert.deepEqual(decodeRecordKey(OffsetCommitKeyCodec, key), { group: 'g', topic: 't', partition: 2 });
  key[1] = 0;
  assert.throws(() => decodeRecordKey(OffsetCommitKeyCodec, key), /record type 0/);

  const value = encodeVersioned(OffsetCommitValueCodec, { offset: 5, metadata: 'm', commitTimestamp: 9 }, 3);
  assert.equal(value.readInt16BE(0), 3);
  assert.equal(decodeVersioned(OffsetCommitValueCodec, value).offset, 5);
  assert.throws(() => decodeVersioned(OffsetCommitValueCodec, Buffer.concat([value, value])), /left over/);
  value.writeInt16BE(9);
  assert.throws(() => decodeVersioned(OffsetCommitValueCodec, value), /OffsetCommitValue version 9/);
});

test('a consumer protocol newer than known is read as the newest known', () => {
  const codec = ConsumerProtocolSubscriptionCodec;
  const bytes = encodeVersioned(codec, { topics: ['a'], rackId: 'r1' }, 3);
  bytes.writeInt16BE(4);
  const longer = Buffer.concat([bytes, Buffer.from('future')]);
  assert.throws(() => decodeVersioned(codec, longer), { code: 'PROTOCOL_DECODE' });
  assert.equal(decodeVersioned(codec, longer, true).rackId, 'r1');
});

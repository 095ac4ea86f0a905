import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DescribeProducersCodec } from '../../../src/protocol/generated/describe-producers.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { describeProducersHandler } from '../../../src/requests/describe-producers.ts';
import { call, FakeTopics } from './admin-fixtures.ts';

test('producers of each partition are told, with the first offsets of their open transactions', async () => {
  const topics = new FakeTopics();
  const id = topics.add('t', 2);
  const known = { epoch: 3, lastSequence: 9, lastTimestamp: 1_700, coordinatorEpoch: 4, txnFirstOffset: 12 };
  topics.partition(id, 1)!.producers = [{ producerId: 70, ...known }];
  const request = {
    topics: [
      { name: 't', partitionIndexes: [0, 1, 2] },
      { name: 'none', partitionIndexes: [0] },
    ],
  };
  const answer = await call(describeProducersHandler({ topics }), DescribeProducersCodec, 0, request);
  const parts = answer.topics.flatMap(({ partitions }) => partitions);
  const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  assert.deepEqual(
    parts.map(({ partitionIndex, errorCode }) => [partitionIndex, errorCode]),
    [
      [0, 0],
      [1, 0],
      [2, unknown],
      [0, unknown],
    ],
  );
  const [producer] = parts[1]!.activeProducers;
  assert.deepEqual(
    { ...producer },
    {
      producerId: 70,
      producerEpoch: 3,
      lastSequence: 9,
      lastTimestamp: 1_700,
      coordinatorEpoch: 4,
      currentTxnStartOffset: 12,
    },
  );
  assert.deepEqual(parts[0]!.activeProducers, []);
});

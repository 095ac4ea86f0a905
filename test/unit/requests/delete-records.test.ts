import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { deleteRecordsHandler } from '../../../src/requests/delete-records.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, catalog, ErrorCode, FakeControl, FakeTopics, nodeId } from './admin-fixtures.ts';

function rig() {
  const topics = new FakeTopics();
  const control = new FakeControl();
  const clock = new HandClock();
  const handler = deleteRecordsHandler({ topics, control, catalog, clock, logger: silentLogger, nodeId });
  const ask = async (version: number, offset: number, name = 't', partitionIndex = 0) => {
    const request = { topics: [{ name, partitions: [{ partitionIndex, offset }] }] };
    const { topics: answers } = await call(handler, DeleteRecordsCodec, version, request);
    const { errorCode, lowWatermark } = answers[0]!.partitions[0]!;
    return [errorCode, lowWatermark];
  };
  return { topics, control, handler, clock, ask };
}

test('every version moves the log start; -1 is the high watermark', async () => {
  const { topics, control, ask } = rig();
  const topicId = topics.add('t');
  for (let version = 0; version <= 2; version++) assert.deepEqual(await ask(version, 5), [0, 5]);
  assert.deepEqual(await ask(2, -1), [0, 10]);
  assert.deepEqual(control.moves.at(-1), { topicId, partition: 0, startOffset: 10 });
});

test('beyond the high watermark, or another negative offset, is 1', async () => {
  const { topics, control, ask } = rig();
  topics.add('t');
  for (const offset of [11, -2]) assert.deepEqual(await ask(2, offset), [ErrorCode.OFFSET_OUT_OF_RANGE, -1]);
  assert.deepEqual(control.moves, []);
});

test('at or below the log start there is nothing to do', async () => {
  const { topics, control, ask } = rig();
  topics.add('t');
  for (const offset of [0, 2]) assert.deepEqual(await ask(2, offset), [0, 2]);
  assert.deepEqual(control.moves, []);
});

test('a topic that is only compacted is 44, also by the broker default; compact,delete may be cut', async () => {
  const { topics, ask } = rig();
  topics.add('compacted', 1, { 'cleanup.policy': 'compact' });
  topics.add('both', 1, { 'cleanup.policy': 'compact,delete' });
  topics.add('t');
  assert.deepEqual(await ask(2, 5, 'compacted'), [ErrorCode.POLICY_VIOLATION, -1]);
  assert.deepEqual(await ask(2, 5, 'both'), [0, 5]);
  const entries = { 'log.cleanup.policy': 'compact' };
  topics.builder.apply([{ type: 'config', resource: 'cluster', name: '', entries }]);
  assert.deepEqual(await ask(2, 5, 't'), [ErrorCode.POLICY_VIOLATION, -1]);
});

test('internal topics 17, unknown ones 3, partitions not open here 6', async () => {
  const { topics, ask } = rig();
  topics.add('__consumer_offsets', 1, {}, true);
  topics.add('t');
  assert.deepEqual(await ask(2, 5, '__consumer_offsets'), [ErrorCode.INVALID_TOPIC_EXCEPTION, -1]);
  assert.deepEqual(await ask(2, 5, 'x'), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1]);
  assert.deepEqual(await ask(2, 5, 't', 1), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1]);
  topics.partitions.clear();
  assert.deepEqual(await ask(2, 5, 't'), [ErrorCode.NOT_LEADER_OR_FOLLOWER, -1]);
});

test('what the control plane refuses has no low watermark', async () => {
  const { topics, control, ask } = rig();
  topics.add('t');
  control.answer = { error: ErrorCode.NOT_CONTROLLER, message: null };
  assert.deepEqual(await ask(2, 5), [ErrorCode.NOT_CONTROLLER, -1]);
});

test('the time-out is for other replicas: the one there is takes what it needs', async () => {
  const { topics, control, handler, clock } = rig();
  topics.add('t');
  for (const timeoutMs of [0, -1, 1]) {
    let open = (_: unknown): void => {};
    control.gate = new Promise((resolve) => {
      open = resolve;
    });
    const request = { topics: [{ name: 't', partitions: [{ partitionIndex: 0, offset: 5 }] }], timeoutMs };
    const answer = call(handler, DeleteRecordsCodec, 2, request);
    clock.advance(20_000);
    open(null);
    const { errorCode, lowWatermark } = (await answer).topics[0]!.partitions[0]!;
    assert.deepEqual([errorCode, lowWatermark], [0, 5]);
  }
});

test('a partition named twice counts as it was named last, and is answered once', async () => {
  const { topics, control, handler } = rig();
  const topicId = topics.add('t', 2);
  const at = (partitionIndex: number, offset: number) => ({ partitionIndex, offset });
  const answer = await call(handler, DeleteRecordsCodec, 2, {
    topics: [
      { name: 't', partitions: [at(0, 3), at(0, 4), at(1, 3)] },
      { name: 't', partitions: [at(1, 5)] },
    ],
  });
  assert.deepEqual(
    answer.topics.map(({ partitions }) => partitions.map((one) => [one.partitionIndex, one.lowWatermark])),
    [
      [
        [0, 4],
        [1, 5],
      ],
    ],
  );
  assert.deepEqual(control.moves, [
    { topicId, partition: 0, startOffset: 4 },
    { topicId, partition: 1, startOffset: 5 },
  ]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { CreatePartitionsCodec } from '../../../src/protocol/generated/create-partitions.ts';
import { createPartitionsHandler } from '../../../src/requests/create-partitions.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, ErrorCode, FakeControl, FakeTopics, nodeId } from './admin-fixtures.ts';

function rig() {
  const topics = new FakeTopics();
  const control = new FakeControl();
  const handler = createPartitionsHandler({
    topics,
    control,
    clock: new HandClock(),
    logger: silentLogger,
    nodeId,
  });
  const ask = async (version: number, wanted: object[], more = {}) => {
    const request = {
      topics: wanted.map((each) => ({ name: 't', assignments: null, ...each })),
      timeoutMs: 1_000,
      ...more,
    };
    const { results } = await call(handler, CreatePartitionsCodec, version, request);
    return results.map(({ errorCode }) => errorCode);
  };
  return { control, ask, topicId: topics.add('t', 2), topics };
}

test('every version grows a topic to a total', async () => {
  const { control, ask, topicId } = rig();
  for (let version = 0; version <= 3; version++) assert.deepEqual(await ask(version, [{ count: 5 }]), [0]);
  assert.deepEqual(control.grown, Array(4).fill({ topicId, partitions: 5 }));
});

test('as many or fewer is 37, an unknown topic 3, a topic twice 42', async () => {
  const { control, ask } = rig();
  assert.deepEqual(await ask(3, [{ count: 2 }]), [ErrorCode.INVALID_PARTITIONS]);
  assert.deepEqual(await ask(3, [{ count: 1 }]), [ErrorCode.INVALID_PARTITIONS]);
  assert.deepEqual(await ask(3, [{ count: -1 }]), [ErrorCode.INVALID_PARTITIONS]);
  assert.deepEqual(await ask(3, [{ name: 'x', count: 3 }]), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  assert.deepEqual(await ask(3, [{ count: 3 }, { count: 4 }]), [ErrorCode.INVALID_REQUEST], 'once');
  assert.deepEqual(control.grown, []);
});

test('without time left nothing is looked at; any time is enough to begin', async () => {
  const { control, ask } = rig();
  const late = [ErrorCode.REQUEST_TIMED_OUT, ErrorCode.REQUEST_TIMED_OUT];
  for (const timeoutMs of [0, -1]) {
    assert.deepEqual(await ask(3, [{ count: 5 }, { name: 'x', count: 1 }], { timeoutMs }), late);
  }
  assert.deepEqual(control.grown, []);
  assert.deepEqual(await ask(3, [{ count: 5 }], { timeoutMs: 1 }), [0]);
});

test('assignments name this broker once for each new partition', async () => {
  const { ask } = rig();
  const assign = async (...lists: number[][]) =>
    (await ask(1, [{ count: 4, assignments: lists.map((brokerIds) => ({ brokerIds })) }]))[0];
  assert.equal(await assign([nodeId], [nodeId]), 0);
  for (const lists of [
    [[nodeId]],
    [[nodeId], [nodeId + 1]],
    [[nodeId], []],
    [[nodeId], [nodeId, nodeId]],
    [],
  ]) {
    assert.equal(await assign(...lists), ErrorCode.INVALID_REPLICA_ASSIGNMENT);
  }
});

test('validate only changes nothing; a request adds at most 10,000 partitions', async () => {
  const { control, ask, topics } = rig();
  assert.deepEqual(await ask(3, [{ count: 5 }], { validateOnly: true }), [0]);
  assert.deepEqual(control.grown, []);
  topics.add('u');
  const codes = await ask(3, [{ count: 10_002 }, { name: 'u', count: 2 }]);
  assert.deepEqual(codes, [0, ErrorCode.POLICY_VIOLATION]);
});

test('what the control plane refuses is answered', async () => {
  const { control, ask } = rig();
  control.answer = { error: ErrorCode.INVALID_PARTITIONS, message: 'grown meanwhile' };
  assert.deepEqual(await ask(3, [{ count: 5 }]), [ErrorCode.INVALID_PARTITIONS]);
});

test('an internal topic keeps its partitions: their count places groups', async () => {
  const { control, ask, topics } = rig();
  topics.add('__consumer_offsets', 2, {}, true);
  assert.deepEqual(await ask(3, [{ name: '__consumer_offsets', count: 5 }]), [ErrorCode.INVALID_PARTITIONS]);
  assert.deepEqual(control.grown, []);
});

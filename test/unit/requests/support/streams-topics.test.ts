/** Internal topics of streams groups: made once, told why not, and tried again after a while. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { InternalTopic } from '../../../../src/coordinator/group/streams/topology.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { StreamsTopics } from '../../../../src/requests/support/streams-topics.ts';
import { settle } from '../../../support/store-fixtures.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import { catalog, FakeControl, FakeTopics, nodeId } from '../admin-fixtures.ts';

function rig() {
  const clock = new VirtualClock();
  const control = new FakeControl();
  const topics = new FakeTopics();
  const errors: string[] = [];
  const made = new StreamsTopics({
    topics,
    catalog,
    nodeId,
    defaultPartitions: 3,
    control,
    clock,
    logger: { ...silentLogger, error: (text) => void errors.push(text) },
  });
  const make = (...wanted: InternalTopic[]): [string, string][] => [...made.make(wanted, 1_000)];
  return { clock, control, topics, errors, make };
}

const topic = (name: string, more: Partial<InternalTopic> = {}): InternalTopic => ({
  name,
  partitions: 2,
  replicationFactor: 0,
  configs: {},
  ...more,
});

test('a topic is made as it is wanted, once while that is under way', async () => {
  const { control, make } = rig();
  assert.deepEqual(
    make(
      topic('a', { configs: { 'cleanup.policy': 'compact' } }),
      topic('b', { replicationFactor: 1, partitions: 5 }),
    ),
    [],
  );
  assert.deepEqual(
    control.created.map(({ name, partitions, configs }) => [name, partitions, configs]),
    [
      ['a', 2, { 'cleanup.policy': 'compact' }],
      ['b', 5, {}],
    ],
  );
  make(topic('a'), topic('c'));
  assert.deepEqual(
    control.created.slice(2).map(({ name }) => name),
    ['c'],
  );
  await settle();
  make(topic('a'));
  assert.equal(control.created.length, 4, 'it is not there, and nobody makes it any more');
});

test('a topic that is there is none to make, and no failure', () => {
  const { control, topics, make } = rig();
  topics.add('a');
  assert.deepEqual(make(topic('a')), []);
  assert.deepEqual(control.created, []);
});

test('what cannot be planned is told at once, and the others are made', () => {
  const { control, make } = rig();
  const told = make(topic('bad/name'), topic('a'), topic('b', { configs: { 'retention.ms': 'x' } }));
  assert.deepEqual(
    told.map(([name]) => name),
    ['bad/name', 'b'],
  );
  assert.deepEqual(
    control.created.map(({ name }) => name),
    ['a'],
  );
});

test('a failure is told until its time is over, and then it is tried again', async () => {
  const { control, clock, make } = rig();
  control.answer = { error: ErrorCode.POLICY_VIOLATION, message: 'not here' };
  assert.deepEqual(make(topic('a')), []);
  await settle();
  assert.deepEqual(make(topic('a')), [['a', 'not here']]);
  clock.advance(999);
  assert.deepEqual(make(topic('a')), [['a', 'not here']]);
  assert.equal(control.created.length, 1);
  clock.advance(1);
  control.answer = { error: ErrorCode.REQUEST_TIMED_OUT, message: null };
  assert.deepEqual(make(topic('a')), []);
  assert.equal(control.created.length, 2);
  await settle();
  assert.deepEqual(make(topic('a')), [['a', 'REQUEST_TIMED_OUT']]);
  clock.advance(1_000);
  control.answer = { error: ErrorCode.TOPIC_ALREADY_EXISTS, message: 'there' };
  make(topic('a'));
  await settle();
  assert.deepEqual(make(topic('a')), [], 'somebody else has made it');
});

test('a control plane that fails is an error of the broker, told and tried again', async () => {
  const { control, clock, errors, make } = rig();
  control.gate = Promise.reject(new Error('away'));
  assert.deepEqual(make(topic('a'), topic('b')), []);
  await settle();
  assert.deepEqual(make(topic('a'), topic('b')), [
    ['a', 'Error: away'],
    ['b', 'Error: away'],
  ]);
  assert.equal(errors.length, 1);
  control.gate = Promise.resolve();
  clock.advance(1_000);
  assert.deepEqual(make(topic('a')), []);
  assert.equal(control.created.length, 3);
});

test('one request makes 10,000 partitions at most', () => {
  const { control, make } = rig();
  const told = make(
    topic('a', { partitions: 9_999 }),
    topic('b', { partitions: 1 }),
    topic('c', { partitions: 1 }),
  );
  assert.deepEqual(told, [['c', 'One request may create at most 10000 partitions.']]);
  assert.deepEqual(
    control.created.map(({ name }) => name),
    ['a', 'b'],
  );
});

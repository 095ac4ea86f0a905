import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import {
  CreateTopicsCodec,
  type CreateTopicsRequestInput,
} from '../../../src/protocol/generated/create-topics.ts';
import { createTopicsHandler } from '../../../src/requests/create-topics.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, catalog, ErrorCode, FakeControl, FakeTopics, nodeId, topicId } from './admin-fixtures.ts';

type Wanted = NonNullable<CreateTopicsRequestInput['topics']>[number];

function rig() {
  const topics = new FakeTopics();
  const control = new FakeControl();
  const clock = new HandClock();
  const createPolicy = ({ name }: { name: string }) => (name === 'forbidden' ? 'not this one' : null);
  const logger = silentLogger;
  const handler = createTopicsHandler({
    topics,
    catalog,
    control,
    clock,
    logger,
    nodeId,
    defaultPartitions: 4,
    createPolicy,
  });
  const ask = async (version: number, wanted: readonly Wanted[], more = {}) => {
    const filled = wanted.map((each) => ({ numPartitions: 1, replicationFactor: 1, ...each }));
    return (await call(handler, CreateTopicsCodec, version, { topics: filled, ...more })).topics;
  };
  const code = async (wanted: Wanted) => (await ask(7, [wanted]))[0]!.errorCode;
  return { topics, control, clock, ask, code };
}

test('every version makes topics and tells what that version can', async () => {
  const { control, ask } = rig();
  for (let version = 0; version <= 7; version++) {
    const [made] = await ask(version, [{ name: `t${version}`, numPartitions: 3, replicationFactor: 3 }]);
    assert.deepEqual([made!.name, made!.errorCode], [`t${version}`, 0]);
    assert.equal(made!.numPartitions, version >= 5 ? 3 : -1);
    assert.equal(made!.replicationFactor, version >= 5 ? 1 : -1);
    if (version >= 7) assert.equal(made!.topicId, topicId(500));
  }
  assert.deepEqual(control.created[0], { name: 't0', partitions: 3, configs: {}, internal: false });
});

test('counts of -1 are the default; an internal name makes an internal topic', async () => {
  const { control, ask } = rig();
  await ask(4, [{ name: '__consumer_offsets', numPartitions: -1, replicationFactor: -1 }]);
  assert.deepEqual(
    control.created.map(({ partitions, internal }) => [partitions, internal]),
    [[4, true]],
  );
});

test('names: illegal 17, colliding 17 also within the request, existing 36, twice in the request 42', async () => {
  const { topics, control, ask, code } = rig();
  topics.add('a.b');
  assert.equal(await code({ name: 'x y' }), ErrorCode.INVALID_TOPIC_EXCEPTION);
  assert.equal(await code({ name: '' }), ErrorCode.INVALID_TOPIC_EXCEPTION);
  assert.equal(await code({ name: 'a_b' }), ErrorCode.INVALID_TOPIC_EXCEPTION);
  assert.equal(await code({ name: 'a.b' }), ErrorCode.TOPIC_ALREADY_EXISTS);
  const pair = await ask(7, [{ name: 'c.d' }, { name: 'c_d' }, { name: 'e' }, { name: 'e' }]);
  const codes = [0, ErrorCode.INVALID_TOPIC_EXCEPTION, ErrorCode.INVALID_REQUEST];
  assert.deepEqual(
    pair.map(({ errorCode }) => errorCode),
    codes,
  );
  assert.deepEqual(
    control.created.map(({ name }) => name),
    ['c.d'],
  );
});

test('collisions follow the image as it moves', async () => {
  const { topics, code } = rig();
  assert.equal(await code({ name: 'a_b' }), 0);
  const id = topics.add('a.b');
  assert.equal(await code({ name: 'a_b' }), ErrorCode.INVALID_TOPIC_EXCEPTION);
  topics.builder.apply([{ type: 'topicDeleted', topicId: id }]);
  assert.equal(await code({ name: 'a_b' }), 0);
});

test('replication factor 0 or below -1 is 38, partition count likewise 37; any positive factor is taken', async () => {
  const { code } = rig();
  for (const replicationFactor of [0, -2]) {
    assert.equal(await code({ name: 't', replicationFactor }), ErrorCode.INVALID_REPLICATION_FACTOR);
  }
  for (const numPartitions of [0, -2])
    assert.equal(await code({ name: 't', numPartitions }), ErrorCode.INVALID_PARTITIONS);
  assert.equal(await code({ name: 't', replicationFactor: 32_767 }), 0);
});

test('manual assignments: this broker only, partitions 0, 1, 2, …, and no counts beside them', async () => {
  const { code, control } = rig();
  const counts = { numPartitions: -1, replicationFactor: -1 };
  const assign = (...list: [number, number[]][]) => ({
    name: 't',
    ...counts,
    assignments: list.map(([partitionIndex, brokerIds]) => ({ partitionIndex, brokerIds })),
  });
  assert.equal(await code(assign([1, [nodeId]], [0, [nodeId]])), 0);
  assert.equal(control.created[0]!.partitions, 2);
  const bad = [
    assign([0, [nodeId + 1]]),
    assign([0, []]),
    assign([0, [nodeId, nodeId]]),
    assign([1, [nodeId]]),
    assign([0, [nodeId]], [0, [nodeId]]),
  ];
  for (const wanted of bad) assert.equal(await code(wanted), ErrorCode.INVALID_REPLICA_ASSIGNMENT);
  assert.equal(await code({ ...assign([0, [nodeId]]), numPartitions: 1 }), ErrorCode.INVALID_REQUEST);
  assert.equal(await code({ ...assign([0, [nodeId]]), replicationFactor: 1 }), ErrorCode.INVALID_REQUEST);
});

test('configs: unknown, without value, wrong, or wrong together are 40', async () => {
  const { code, control } = rig();
  const withConfigs = (...configs: { name: string; value: string | null }[]) => ({ name: 't', configs });
  const retention = (value: string | null) => ({ name: 'retention.ms', value });
  const policy = { name: 'cleanup.policy', value: 'compact' };
  const bad = [
    withConfigs({ name: 'nope', value: '1' }),
    withConfigs(retention(null)),
    withConfigs(retention('x')),
    withConfigs(retention('1'), policy),
  ];
  for (const wanted of bad) assert.equal(await code(wanted), ErrorCode.INVALID_CONFIG);
  assert.equal(await code(withConfigs(retention('5'))), 0);
  assert.deepEqual(control.created[0]!.configs, { 'retention.ms': '5' });
});

test('the answer tells the effective configs with their sources', async () => {
  const { ask, topics } = rig();
  const entries = { 'log.cleanup.policy': 'compact' };
  topics.builder.apply([{ type: 'config', resource: 'cluster', name: '', entries }]);
  const [made] = await ask(5, [{ name: 't', configs: [{ name: 'retention.ms', value: '5' }] }]);
  assert.deepEqual(
    made!.configs!.map(({ name, value, configSource }) => [name, value, configSource]),
    [
      ['cleanup.policy', 'compact', 3],
      ['retention.ms', '5', 1],
    ],
  );
});

test('validate only checks and makes nothing', async () => {
  const { ask, control } = rig();
  const answers = await ask(7, [{ name: 'ok', numPartitions: 2 }, { name: 'x y' }], { validateOnly: true });
  assert.deepEqual(
    answers.map(({ errorCode }) => errorCode),
    [0, ErrorCode.INVALID_TOPIC_EXCEPTION],
  );
  assert.equal(answers[0]!.numPartitions, 2);
  assert.equal(control.created.length, 0);
});

test('policy and the bound of partitions per request are 44', async () => {
  const { ask, code } = rig();
  assert.equal(await code({ name: 'forbidden' }), ErrorCode.POLICY_VIOLATION);
  const big = await ask(7, [{ name: 'a', numPartitions: 10_000 }, { name: 'b' }]);
  assert.deepEqual(
    big.map(({ errorCode }) => errorCode),
    [0, ErrorCode.POLICY_VIOLATION],
  );
});

test('what the control plane says is answered; its silence is 7, its failure -1', async () => {
  const { ask, control, clock } = rig();
  control.answer = { error: ErrorCode.TOPIC_ALREADY_EXISTS, message: 'somebody was faster' };
  const [late] = await ask(7, [{ name: 't' }]);
  assert.deepEqual(
    [late!.errorCode, late!.errorMessage],
    [ErrorCode.TOPIC_ALREADY_EXISTS, 'somebody was faster'],
  );
  control.gate = new Promise(() => {});
  const silent = ask(7, [{ name: 't' }], { timeoutMs: 31_000 });
  clock.advance(31_000);
  assert.equal((await silent)[0]!.errorCode, ErrorCode.REQUEST_TIMED_OUT);
  control.gate = Promise.reject(new Error('broken'));
  assert.equal((await ask(7, [{ name: 't' }]))[0]!.errorCode, ErrorCode.UNKNOWN_SERVER_ERROR);
});

test('without time left nothing is looked at; any time is enough to begin', async () => {
  const { ask, control } = rig();
  for (const more of [{ timeoutMs: 0 }, { timeoutMs: -1 }, { timeoutMs: 0, validateOnly: true }]) {
    const late = await ask(7, [{ name: 't' }, { name: 'x y' }, { name: 't' }], more);
    assert.deepEqual(
      late.map(({ name, errorCode }) => [name, errorCode]),
      ['t', 'x y'].map((name) => [name, ErrorCode.REQUEST_TIMED_OUT]),
    );
  }
  assert.deepEqual(control.created, []);
  assert.equal((await ask(7, [{ name: 't' }], { timeoutMs: 1 }))[0]!.errorCode, 0);
});

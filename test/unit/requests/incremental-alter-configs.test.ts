import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { AlterConfigsCodec } from '../../../src/protocol/generated/alter-configs.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { alterConfigsHandler } from '../../../src/requests/alter-configs.ts';
import { incrementalAlterConfigsHandler } from '../../../src/requests/incremental-alter-configs.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, catalog, ErrorCode, FakeControl, FakeTopics, nodeId } from './admin-fixtures.ts';

type Operation = [name: string, configOperation: number, value: string | null];
const [set, remove, append, subtract] = [0, 1, 2, 3] as const;

function rig() {
  const topics = new FakeTopics();
  const control = new FakeControl();
  const alterPolicy = ({ name }: { name: string }) => (name === 'frozen' ? 'leave it alone' : null);
  const deps = {
    topics,
    catalog,
    control,
    nodeId,
    clock: new HandClock(),
    logger: silentLogger,
    alterPolicy,
  };
  const handler = incrementalAlterConfigsHandler(deps);
  const send = async (resources: object[], more = {}, version = 1) => {
    const { responses } = await call(handler, IncrementalAlterConfigsCodec, version, { resources, ...more });
    return responses.map(({ errorCode }) => errorCode);
  };
  const resource = (operations: Operation[], resourceName = 't', resourceType = 2) => ({
    resourceType,
    resourceName,
    configs: operations.map(([name, configOperation, value]) => ({ name, configOperation, value })),
  });
  const ask = async (operations: Operation[], name?: string, type?: number) =>
    (await send([resource(operations, name, type)]))[0];
  const replace = alterConfigsHandler(deps);
  const all = async (configs: { name: string; value: string | null }[], version = 2) => {
    const resources = [{ resourceType: 2, resourceName: 't', configs }];
    return (await call(replace, AlterConfigsCodec, version, { resources })).responses[0]!.errorCode;
  };
  return { topics, control, send, resource, ask, all };
}

test('SET and DELETE, in every version', async () => {
  const { topics, control, send, resource } = rig();
  topics.add('t', 1, { 'retention.ms': '5' });
  const wanted = resource([
    ['retention.ms', remove, null],
    ['cleanup.policy', set, 'compact'],
  ]);
  for (const version of [0, 1]) assert.deepEqual(await send([wanted], {}, version), [0]);
  const entries = { 'retention.ms': null, 'cleanup.policy': 'compact' };
  assert.deepEqual(control.edits, Array(2).fill({ resource: 'topic', name: 't', entries }));
});

test('APPEND and SUBTRACT change lists, from the own entry or else the default, without repeating', async () => {
  const { topics, control, ask } = rig();
  topics.add('t');
  topics.add('u', 1, { 'cleanup.policy': 'compact,delete' });
  await ask([['cleanup.policy', append, 'compact']]);
  await ask([['cleanup.policy', append, 'delete']], 'u');
  await ask([['cleanup.policy', subtract, 'delete,x']], 'u');
  const values = control.edits.map(({ entries }) => entries['cleanup.policy']);
  assert.deepEqual(values, ['delete,compact', 'compact,delete', 'compact']);
  assert.equal(await ask([['retention.ms', append, '5']]), ErrorCode.INVALID_CONFIG);
});

test('this broker and the cluster default; groups that do not exist', async () => {
  const { control, ask } = rig();
  assert.equal(await ask([['log.retention.ms', set, '5']], String(nodeId), 4), 0);
  assert.equal(await ask([['log.retention.ms', set, '5']], '', 4), 0);
  assert.equal(await ask([['consumer.session.timeout.ms', set, '50000']], 'g', 32), 0);
  const places = control.edits.map(({ resource, name }) => [resource, name]);
  assert.deepEqual(places, [
    ['broker', '7'],
    ['cluster', ''],
    ['group', 'g'],
  ]);
  assert.equal(await ask([['log.retention.ms', set, '5']], '8', 4), ErrorCode.INVALID_REQUEST);
});

test('42: a key twice, a resource twice, no value, an unknown operation, a read-only config', async () => {
  const { topics, control, send, resource, ask } = rig();
  topics.add('t');
  const invalid = ErrorCode.INVALID_REQUEST;
  assert.equal(
    await ask([
      ['retention.ms', set, '5'],
      ['retention.ms', remove, null],
    ]),
    invalid,
  );
  const one = resource([['retention.ms', set, '5']]);
  assert.deepEqual(await send([one, one]), [invalid, invalid]);
  for (const operation of [set, append, subtract])
    assert.equal(await ask([['cleanup.policy', operation, null]]), invalid);
  assert.equal(await ask([['retention.ms', 4, '5']]), invalid);
  assert.equal(await ask([['node.id', set, '8']], String(nodeId), 4), invalid);
  assert.deepEqual(control.edits, []);
});

test('40: an unknown config, a wrong value, values that do not go together; 3: an unknown topic; 44: policy', async () => {
  const { topics, control, ask } = rig();
  topics.add('t', 1, { 'retention.ms': '1' });
  topics.add('frozen');
  assert.equal(await ask([['nope', set, '5']]), ErrorCode.INVALID_CONFIG);
  assert.equal(await ask([['retention.ms', set, 'x']]), ErrorCode.INVALID_CONFIG);
  assert.equal(await ask([['cleanup.policy', set, 'compact']]), ErrorCode.INVALID_CONFIG);
  assert.equal(await ask([['retention.ms', set, '5']], 'x'), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.equal(await ask([['retention.ms', set, '5']], 'frozen'), ErrorCode.POLICY_VIOLATION);
  assert.deepEqual(control.edits, []);
});

test('a bad resource leaves the others alone; validate only leaves all alone', async () => {
  const { topics, control, send, resource } = rig();
  topics.add('t');
  const both = [resource([['nope', set, '5']], 'x'), resource([['retention.ms', set, '5']])];
  const codes = [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0];
  assert.deepEqual(await send(both, { validateOnly: true }), codes);
  assert.deepEqual(control.edits, []);
  assert.deepEqual(await send(both), codes);
  assert.equal(control.edits.length, 1);
  control.answer = { error: ErrorCode.NOT_CONTROLLER, message: null };
  assert.deepEqual(await send(both), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.NOT_CONTROLLER]);
});

test('AlterConfigs replaces all own entries, in every version', async () => {
  const { topics, control, all } = rig();
  topics.add('t', 1, { 'retention.ms': '5' });
  for (let version = 0; version <= 2; version++) {
    assert.equal(await all([{ name: 'cleanup.policy', value: 'compact' }], version), 0);
  }
  const entries = { 'retention.ms': null, 'cleanup.policy': 'compact' };
  assert.deepEqual(control.edits, Array(3).fill({ resource: 'topic', name: 't', entries }));
  assert.equal(await all([{ name: 'cleanup.policy', value: null }]), ErrorCode.INVALID_REQUEST);
  assert.equal(await all([{ name: 'nope', value: '1' }]), ErrorCode.INVALID_CONFIG);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { DeleteTopicsCodec } from '../../../src/protocol/generated/delete-topics.ts';
import { deleteTopicsHandler } from '../../../src/requests/delete-topics.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, ErrorCode, FakeControl, FakeTopics, topicId } from './admin-fixtures.ts';

function rig(enabled = true) {
  const topics = new FakeTopics();
  const control = new FakeControl();
  const handler = deleteTopicsHandler({
    topics,
    control,
    clock: new HandClock(),
    logger: silentLogger,
    enabled,
  });
  const ask = async (version: number, input: object) => {
    const { responses } = await call(handler, DeleteTopicsCodec, version, { timeoutMs: 1_000, ...input });
    return responses.map(({ name, topicId: id, errorCode }) => [name, version >= 6 ? id : '', errorCode]);
  };
  return { topics, control, ask };
}

test('by name in v0 to v5', async () => {
  const { topics, control, ask } = rig();
  const id = topics.add('t');
  for (let version = 0; version <= 5; version++) {
    assert.deepEqual(await ask(version, { topicNames: ['t', 'x'] }), [
      ['t', '', 0],
      ['x', '', ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    ]);
  }
  assert.deepEqual(control.deleted, Array(6).fill(id));
});

test('by name or id in v6, an unknown id with a null name', async () => {
  const { topics, ask } = rig();
  const ids = [topics.add('a'), topics.add('b')];
  const wanted = [{ name: 'a' }, { name: null, topicId: ids[1] }, { name: null, topicId: topicId(99) }];
  assert.deepEqual(await ask(6, { topics: wanted }), [
    ['a', ids[0], 0],
    ['b', ids[1], 0],
    [null, topicId(99), ErrorCode.UNKNOWN_TOPIC_ID],
  ]);
});

test('neither or both, or the same topic in two ways, is 42', async () => {
  const { topics, control, ask } = rig();
  const id = topics.add('a');
  const codes = async (...wanted: object[]) => (await ask(6, { topics: wanted })).map(([, , code]) => code);
  const refused = ErrorCode.INVALID_REQUEST;
  assert.deepEqual(await codes({ name: null }), [refused]);
  assert.deepEqual(await codes({ name: 'a', topicId: id }), [refused]);
  assert.deepEqual(await codes({ name: 'a' }, { name: null, topicId: id }), [refused, refused]);
  assert.deepEqual(await codes({ name: 'a' }, { name: 'a' }, { name: 'x' }, { name: 'x' }), [
    refused,
    refused,
  ]);
  assert.deepEqual(control.deleted, []);
});

test('with deletion disabled all are refused', async () => {
  const { topics, control, ask } = rig(false);
  topics.add('t');
  assert.deepEqual(await ask(3, { topicNames: ['t'] }), [['t', '', ErrorCode.TOPIC_DELETION_DISABLED]]);
  assert.deepEqual(await ask(2, { topicNames: ['t'] }), [['t', '', ErrorCode.INVALID_REQUEST]]);
  assert.deepEqual(control.deleted, []);
});

test('who loses a race by name is told about the name', async () => {
  const { topics, control, ask } = rig();
  const id = topics.add('t');
  control.answer = { error: ErrorCode.UNKNOWN_TOPIC_ID, message: null };
  assert.deepEqual(await ask(6, { topics: [{ name: 't' }] }), [
    ['t', id, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
  ]);
  assert.deepEqual(await ask(6, { topics: [{ name: null, topicId: id }] }), [
    ['t', id, ErrorCode.UNKNOWN_TOPIC_ID],
  ]);
});

test('without time left nothing is looked at; any time is enough to begin', async () => {
  const { topics, control, ask } = rig();
  topics.add('t');
  for (const timeoutMs of [0, -1]) {
    assert.deepEqual(await ask(5, { topicNames: ['t', 'x'], timeoutMs }), [
      ['t', '', ErrorCode.REQUEST_TIMED_OUT],
      ['x', '', ErrorCode.REQUEST_TIMED_OUT],
    ]);
  }
  assert.deepEqual(control.deleted, []);
  assert.deepEqual(await ask(5, { topicNames: ['t'], timeoutMs: 1 }), [['t', '', 0]]);
});

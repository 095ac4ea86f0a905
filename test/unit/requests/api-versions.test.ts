import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiVersionsCodec } from '../../../src/protocol/generated/api-versions.ts';
import { apiVersionsHandler } from '../../../src/requests/api-versions.ts';
import { listOffsetsHandler } from '../../../src/requests/list-offsets.ts';
import type { Feature } from '../../../src/requests/support/features.ts';
import type { AnyRequestHandler } from '../../../src/requests/support/handler.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, ErrorCode, FakeTopics, nodeId } from './admin-fixtures.ts';

function rig(features: readonly Feature[] = []) {
  const topics = new FakeTopics();
  const handlers: AnyRequestHandler[] = [];
  const handler = apiVersionsHandler({ handlers: () => handlers, features, topics, nodeId });
  handlers.push(handler, listOffsetsHandler({ topics, clock: new HandClock(), leased: () => true }));
  const software = { clientSoftwareName: 'test-client', clientSoftwareVersion: '1.0.0' };
  return {
    topics,
    software,
    ask: (version: number, input = {}) => call(handler, ApiVersionsCodec, version, input),
  };
}

test('every version tells the ranges of the handlers that are there, sorted by key', async () => {
  const { ask, software } = rig();
  for (let version = 0; version <= 5; version++) {
    const answer = await ask(version, version >= 3 ? software : {});
    assert.equal(answer.errorCode, 0);
    assert.deepEqual(answer.apiKeys, [
      { apiKey: 2, minVersion: 1, maxVersion: 11 },
      { apiKey: 18, minVersion: 0, maxVersion: 5 },
    ]);
  }
});

test('from v3 the client must say who it is', async () => {
  const { ask, software } = rig();
  for (const name of ['', '-a', 'a-', 'a b', 'ä']) {
    const named = { ...software, clientSoftwareName: name };
    assert.equal((await ask(3, named)).errorCode, ErrorCode.INVALID_REQUEST, name);
    const versioned = { ...software, clientSoftwareVersion: name };
    assert.equal((await ask(4, versioned)).errorCode, ErrorCode.INVALID_REQUEST, name);
  }
  assert.deepEqual((await ask(3, { ...software, clientSoftwareName: '' })).apiKeys, []);
});

test('v5 compares cluster id and node id', async () => {
  const { ask, software, topics } = rig();
  const { clusterId } = topics.image;
  const code = async (identity: object) => (await ask(5, { ...software, ...identity })).errorCode;
  assert.equal(await code({ clusterId, nodeId }), 0);
  assert.equal(await code({}), 0);
  assert.equal(await code({ clusterId }), ErrorCode.INVALID_REQUEST);
  assert.equal(await code({ nodeId }), ErrorCode.INVALID_REQUEST);
  assert.equal(await code({ clusterId: 'another', nodeId }), ErrorCode.REBOOTSTRAP_REQUIRED);
  assert.equal(await code({ clusterId, nodeId: nodeId + 1 }), ErrorCode.REBOOTSTRAP_REQUIRED);
  assert.deepEqual((await ask(5, { ...software, clusterId: 'another', nodeId })).apiKeys, []);
});

test('only served features are told, with an epoch that grows with the image', async () => {
  const { ask, software, topics } = rig([
    { name: 'group.version', minVersion: 1, maxVersion: 1, defaultLevel: 1 },
    { name: 'kraft.version', minVersion: 0, maxVersion: 1, defaultLevel: 0 },
  ]);
  const three = await ask(3, software);
  assert.deepEqual(
    three.supportedFeatures.map(({ name }) => name),
    ['group.version'],
  );
  assert.deepEqual(three.finalizedFeatures, [
    { name: 'group.version', maxVersionLevel: 1, minVersionLevel: 1 },
  ]);
  topics.add('t');
  const four = await ask(4, software);
  assert.deepEqual(
    four.supportedFeatures.map(({ name }) => name),
    ['group.version', 'kraft.version'],
  );
  assert.ok(four.finalizedFeaturesEpoch > three.finalizedFeaturesEpoch);
});

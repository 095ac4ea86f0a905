import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DescribeClusterCodec } from '../../../src/protocol/generated/describe-cluster.ts';
import { describeClusterHandler } from '../../../src/requests/describe-cluster.ts';
import { call, ErrorCode, endpoint, FakeTopics, nodeId } from './admin-fixtures.ts';

const topics = new FakeTopics();
const handler = describeClusterHandler({ topics, endpoint });

test('every version tells the cluster with this broker', async () => {
  for (let version = 0; version <= 2; version++) {
    const answer = await call(handler, DescribeClusterCodec, version, {
      includeClusterAuthorizedOperations: version > 0,
    });
    assert.equal(answer.clusterId, topics.image.clusterId);
    assert.equal(answer.controllerId, nodeId);
    const host = 'broker.example';
    assert.deepEqual(answer.brokers, [{ brokerId: nodeId, host, port: 9092, rack: null, isFenced: false }]);
    assert.equal(answer.clusterAuthorizedOperations, version > 0 ? 8096 : -2147483648);
  }
});

test('who wants controllers, or anything else, is told that this is a broker', async () => {
  const code = async (endpointType: number) =>
    (await call(handler, DescribeClusterCodec, 1, { endpointType })).errorCode;
  assert.equal(await code(1), 0);
  assert.equal(await code(2), ErrorCode.MISMATCHED_ENDPOINT_TYPE);
  assert.equal(await code(3), ErrorCode.UNSUPPORTED_ENDPOINT_TYPE);
});

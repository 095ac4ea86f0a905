/** Client metrics (KIP-714): who is asked for what, how often, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GetTelemetrySubscriptionsCodec } from '../../../src/protocol/generated/get-telemetry-subscriptions.ts';
import { PushTelemetryCodec } from '../../../src/protocol/generated/push-telemetry.ts';
import { ZERO_UUID } from '../../../src/protocol/primitives.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import {
  getTelemetrySubscriptionsHandler,
  telemetryBytesMax,
} from '../../../src/requests/get-telemetry-subscriptions.ts';
import { pushTelemetryHandler } from '../../../src/requests/push-telemetry.ts';
import { ClientSoftware, ClientTelemetry } from '../../../src/requests/support/telemetry.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { call, ErrorCode, FakeTopics } from './admin-fixtures.ts';

const minute = 60_000;

function rig() {
  const topics = new FakeTopics();
  const clock = new VirtualClock();
  const software = new ClientSoftware(2);
  // Requests of these tests come on connection 1.
  software.note(1, 'apache-kafka-java', '4.4.0');
  const pushed: number[] = [];
  const deps = {
    topics,
    telemetry: new ClientTelemetry(clock, javascriptCrc32c),
    software,
    random: new SeededRandom(3),
    observe: { pushed: (bytes: number) => void pushed.push(bytes) },
  };
  const [getHandler, pushHandler] = [getTelemetrySubscriptionsHandler(deps), pushTelemetryHandler(deps)];
  const get = (clientInstanceId: string = ZERO_UUID) =>
    call(getHandler, GetTelemetrySubscriptionsCodec, 0, { clientInstanceId });
  const push = async (clientInstanceId: string, subscriptionId: number, more: object = {}) => {
    const metrics = Buffer.from('metrics');
    const request = { clientInstanceId, subscriptionId, metrics, ...more };
    return (await call(pushHandler, PushTelemetryCodec, 0, request)).errorCode;
  };
  const subscribe = (name: string, entries: Record<string, string | null>) =>
    topics.builder.apply([{ type: 'config', resource: 'client-metrics', name, entries }]);
  return { clock, software, pushed, get, push, subscribe };
}

test('without a subscription a client is asked for nothing, and gets an id of its own', async () => {
  const { get } = rig();
  const first = await get();
  assert.deepEqual(
    [
      first.errorCode,
      first.requestedMetrics,
      first.pushIntervalMs,
      first.telemetryMaxBytes,
      first.deltaTemporality,
    ],
    [0, [], 5 * minute, telemetryBytesMax, true],
  );
  assert.deepEqual(first.acceptedCompressionTypes, [4, 3, 1, 2]);
  assert.notEqual(first.clientInstanceId, ZERO_UUID);
  assert.notEqual((await get()).clientInstanceId, first.clientInstanceId);
});

test('subscriptions that select the client add up: all metrics, the shortest interval', async () => {
  const { get, subscribe } = rig();
  subscribe('a', {
    metrics: 'org.apache.kafka.producer.,b.',
    'interval.ms': '60000',
    match: 'client_id=te.*',
  });
  subscribe('b', {
    metrics: 'b.,a.',
    'interval.ms': '1000',
    match: 'client_software_name=apache-.+,client_software_version=4\\.4\\.0',
  });
  subscribe('c', { metrics: '*', 'interval.ms': '100', match: 'client_id=somebody' });
  subscribe('d', { metrics: 'd.', 'interval.ms': '100', match: 'client_id=test,client_source_address=10.*' });
  const found = await get();
  assert.deepEqual(found.requestedMetrics, ['a.', 'b.', 'org.apache.kafka.producer.']);
  assert.equal(found.pushIntervalMs, 1000);
  subscribe('e', { metrics: '*', match: 'client_source_address=127.0.0.1' });
  assert.deepEqual((await get()).requestedMetrics, [''], 'all of them');
});

test('pushes are counted; too early, too large, in another codec or for an old subscription they are refused', async () => {
  const { clock, get, push, pushed, subscribe } = rig();
  subscribe('s', { metrics: '*', 'interval.ms': '1000' });
  const { clientInstanceId: id, subscriptionId } = await get();
  assert.equal(await push(id, subscriptionId), 0);
  clock.advance(999);
  assert.equal(await push(id, subscriptionId), ErrorCode.THROTTLING_QUOTA_EXCEEDED);
  clock.advance(1);
  const large = Buffer.alloc(telemetryBytesMax + 1);
  assert.equal(await push(id, subscriptionId, { metrics: large }), ErrorCode.TELEMETRY_TOO_LARGE);
  assert.equal(
    await push(id, subscriptionId, { compressionType: 9 }),
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
  );
  assert.equal(await push(id, subscriptionId + 1), ErrorCode.UNKNOWN_SUBSCRIPTION_ID);
  assert.equal(await push(ZERO_UUID, subscriptionId), ErrorCode.INVALID_REQUEST);
  for (const compressionType of [0, 1, 2, 3, 4]) {
    assert.equal(await push(id, subscriptionId, { compressionType }), 0);
    clock.advance(1_000);
  }
  assert.deepEqual(pushed, Array(6).fill(7));
});

test('the last metrics come at any time, and nothing after them', async () => {
  const { get, push, subscribe } = rig();
  subscribe('s', { metrics: '*', 'interval.ms': '1000' });
  const { clientInstanceId: id, subscriptionId } = await get();
  assert.equal(await push(id, subscriptionId), 0);
  assert.equal(await push(id, subscriptionId, { terminating: true }), 0);
  assert.equal(await push(id, subscriptionId, { terminating: true }), ErrorCode.INVALID_REQUEST);
});

test('a client asks once an interval, or at once when its subscription has changed', async () => {
  const { clock, get, push, subscribe } = rig();
  subscribe('s', { metrics: 'a.', 'interval.ms': '1000' });
  const { clientInstanceId: id, subscriptionId } = await get();
  clock.advance(999);
  assert.equal((await get(id)).errorCode, ErrorCode.THROTTLING_QUOTA_EXCEEDED);
  clock.advance(1);
  const again = await get(id);
  assert.deepEqual([again.errorCode, again.subscriptionId], [0, subscriptionId]);
  subscribe('s', { metrics: 'b.' });
  assert.equal(await push(id, subscriptionId), ErrorCode.UNKNOWN_SUBSCRIPTION_ID);
  const changed = await get(id);
  assert.deepEqual([changed.errorCode, changed.requestedMetrics], [0, ['b.']]);
  assert.notEqual(changed.subscriptionId, subscriptionId);
  assert.equal(await push(id, changed.subscriptionId), 0);
});

test('any shard gives a client the same subscription', async () => {
  const [one, other] = [rig(), rig()];
  for (const { subscribe } of [one, other]) subscribe('s', { metrics: 'a.', 'interval.ms': '1000' });
  const { clientInstanceId: id, subscriptionId } = await one.get();
  assert.equal(await other.push(id, subscriptionId), 0);
});

test('what is remembered of clients is bounded', async () => {
  const { software } = rig();
  software.note(2, 'b', '2');
  software.note(3, 'c', '3');
  assert.deepEqual(
    [1, 2, 3].map((connection) => software.of(connection).name),
    ['', 'b', 'c'],
  );
});

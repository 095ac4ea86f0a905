import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type NewPlaces, NewStreams, OwnPlaces } from '../../../src/cluster/place-new.ts';
import { TopicAdmin } from '../../../src/cluster/topic-admin.ts';
import { EmbeddedMetadataStore } from '../../../src/metadata/embedded-metadata-store.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { Random } from '../../../src/ports/random.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import type { TopicSpec } from '../../../src/requests/support/control-plane.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { crc32cForTests, HandClock, seededRandom } from '../../support/store-fixtures.ts';
import { oid, range, upload, wal, walRecord } from '../metadata/fixtures.ts';

const spec = (name: string, partitions = 1): TopicSpec => ({
  name,
  partitions,
  configs: {},
  internal: false,
});

async function rig(random: Random = seededRandom(5)) {
  const clock = new HandClock();
  const store = new MemoryStore(clock);
  const metadata = await EmbeddedMetadataStore.open({
    store,
    clock,
    random: seededRandom(9),
    logger: silentLogger,
    crc32c: crc32cForTests,
    writer: 'test',
  });
  await metadata.claim();
  await metadata.commit([wal('w1'), wal('w2')]);
  const admin = new TopicAdmin({
    metadata,
    random,
    clock,
    logger: silentLogger,
    nodeId: 0,
    places: new OwnPlaces(0, (_topicId, partition) => (partition % 2 === 0 ? 'w1' : 'w2')),
    drops: {
      graceMs: 1_000,
      references: metadata.references,
    },
  });
  const create = async (name: string, partitions = 1) =>
    (await admin.createTopics([spec(name, partitions)]))[0]!;
  return { metadata, admin, clock, create, store };
}

const codes = (results: readonly { error: number }[]) => results.map(({ error }) => error);

test('a topic is made with all its partitions open on the volumes chosen for them', async () => {
  const { metadata, create } = await rig();
  const { topicId, error } = await create('t', 3);
  assert.equal(error, 0);
  const partitions = metadata.image.topicsById.get(topicId)!.partitions;
  const opened = partitions.map(({ state, leaderEpoch, node, wal: logId }) => [
    state,
    leaderEpoch,
    node,
    logId,
  ]);
  assert.deepEqual(
    opened,
    ['w1', 'w2', 'w1'].map((logId) => ['open', 0, 0, logId]),
  );
});

test('topic ids are version 4 uuids that never begin with "-"', async () => {
  let calls = 0;
  const seeded = seededRandom(3);
  const dashed: Random = {
    below: (bound) => seeded.below(bound),
    // Six bits of ones at the front are "-" or "_" in base64url: 0xf8 gives '-'.
    bytes: (out) => (calls++ === 0 ? out.fill(0xf8) : seeded.bytes(out)),
  };
  const { create } = await rig(dashed);
  const { topicId } = await create('t');
  const bytes = Buffer.from(topicId, 'base64url');
  assert.equal(bytes[6]! >> 4, 4);
  assert.equal(bytes[8]! >> 6, 2);
  assert.ok(!topicId.startsWith('-'));
  assert.equal(calls, 2);
});

test('a thousand topics of one call are a few entries of the journal', async () => {
  const { metadata, admin, store } = await rig();
  const before = (await store.list('meta/log/')).length;
  const results = await admin.createTopics(Array.from({ length: 1_000 }, (_, i) => spec(`t.${i}`, 2)));
  assert.ok(results.every(({ error }) => error === 0));
  assert.equal(metadata.image.topicsByName.size, 1_000);
  assert.ok((await store.list('meta/log/')).length - before <= 2);
});

test('one refused topic leaves the others of the call alone', async () => {
  const { metadata, admin } = await rig();
  const results = await admin.createTopics([spec('a'), spec('x y'), spec('b', 0), spec('c')]);
  const refused = [0, ErrorCode.INVALID_TOPIC_EXCEPTION, ErrorCode.INVALID_PARTITIONS, 0];
  assert.deepEqual(codes(results), refused);
  assert.deepEqual([...metadata.image.topicsByName.keys()], ['a', 'c']);
});

test('of two creations of a name at once one wins, the other hears that it exists', async () => {
  const { admin, create, metadata } = await rig();
  const both = await Promise.all([admin.createTopics([spec('t')]), admin.createTopics([spec('t', 5)])]);
  assert.deepEqual(codes(both.flat()), [0, ErrorCode.TOPIC_ALREADY_EXISTS]);
  assert.equal((await create('t')).error, ErrorCode.TOPIC_ALREADY_EXISTS);
  assert.equal(metadata.image.topicsByName.get('t')!.partitions.length, 1);
});

test('names that collide do so also while one of them is on its way, and no longer once it is deleted', async () => {
  const { admin, create } = await rig();
  const [first, second] = await Promise.all([create('a.b'), create('a_b')]);
  assert.deepEqual(codes([first, second]), [0, ErrorCode.INVALID_TOPIC_EXCEPTION]);
  assert.equal((await create('a_b')).error, ErrorCode.INVALID_TOPIC_EXCEPTION);
  await admin.deleteTopics([first.topicId]);
  assert.equal((await create('a_b')).error, 0);
});

test('a creation that failed frees its name', async () => {
  const { metadata, create } = await rig();
  const closed = (logId: string) => ({ ...metadata.image.wals.get(logId)!, state: 'empty' as const });
  await metadata.commit([{ type: 'wal', wal: closed('w1') }]);
  assert.equal((await create('a.b')).error, ErrorCode.UNKNOWN_SERVER_ERROR);
  await metadata.commit([wal('w1', 2)]);
  assert.equal((await create('a_b')).error, 0);
});

test('deletion drops the objects that only this topic used, after the grace period', async () => {
  const { metadata, admin, create, clock } = await rig();
  const [a, b] = [await create('a'), await create('b')];
  const used = (topicId: string, from: number) => ({ ...range(1, 0, from, from + 10), topicId });
  await metadata.commit([
    upload(1, oid(1), used(a.topicId, 0)),
    upload(2, oid(2), used(a.topicId, 10), used(b.topicId, 0)),
  ]);
  assert.deepEqual(codes(await admin.deleteTopics([a.topicId])), [0]);
  assert.deepEqual([...metadata.image.dropped], [[oid(1), clock.now() + 1_000]]);
  assert.equal(metadata.image.topicsById.has(a.topicId), false);
  assert.ok(metadata.image.objects.has(oid(2)));
});

test('deleting what is not there is 100, also when two delete at once', async () => {
  const { admin, create } = await rig();
  const { topicId } = await create('t');
  const twice = await Promise.all([admin.deleteTopics([topicId]), admin.deleteTopics([topicId])]);
  assert.deepEqual(codes(twice.flat()), [0, ErrorCode.UNKNOWN_TOPIC_ID]);
  assert.deepEqual(codes(await admin.deleteTopics([topicId])), [ErrorCode.UNKNOWN_TOPIC_ID]);
});

/** Nobody wrote up to `offset` whom one would have to remember: nothing is kept for it. */
const known = (topicId: string, offset: number): MetadataChange => ({
  type: 'states',
  objects: [],
  streams: [{ topicId, partition: 0, offset, stateObject: '' }],
});

test('a deletion whose objects somebody else dropped meanwhile is made without them', async () => {
  const { metadata, admin, create } = await rig();
  const { topicId } = await create('t');
  await metadata.commit([upload(1, oid(1), { ...range(1, 0, 0, 10), topicId })]);
  await metadata.commit([{ type: 'logStart', topicId, partition: 0, startOffset: 10 }]);
  await metadata.commit([known(topicId, 20)]);
  await metadata.commit([upload(2, oid(2), { ...range(1, 0, 10, 20), topicId })]);
  // The start moves and its object goes in the same journal entry, before the deletion is checked.
  const moved = metadata.commit([
    { type: 'logStart', topicId, partition: 0, startOffset: 20 },
    { type: 'objectsDropped', objectIds: [oid(2)], dueMs: 0 },
  ]);
  assert.deepEqual(codes(await admin.deleteTopics([topicId])), [0]);
  await moved;
  assert.equal(metadata.image.topicsById.size, 0);
});

test('growth opens the new partitions; not more than there are is 37, an unknown topic 3', async () => {
  const { metadata, admin, create } = await rig();
  const { topicId } = await create('t', 2);
  const grow = async (partitions: number, id = topicId) =>
    codes(await admin.createPartitions([{ topicId: id, partitions }]))[0];
  assert.equal(await grow(4), 0);
  const { partitions } = metadata.image.topicsById.get(topicId)!;
  assert.deepEqual(
    partitions.map(({ state, wal: logId }) => `${state} ${logId}`),
    ['open w1', 'open w2', 'open w1', 'open w2'],
  );
  assert.equal(await grow(4), ErrorCode.INVALID_PARTITIONS);
  assert.equal(await grow(3), ErrorCode.INVALID_PARTITIONS);
  assert.equal(await grow(9, 'AAAAAAAAAAAAAAAAAAAAAQ'), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
});

test('growth that meets a smaller growth opens what is still missing', async () => {
  const { metadata, admin, create } = await rig();
  const { topicId } = await create('t');
  const both = await Promise.all(
    [2, 5].map((partitions) => admin.createPartitions([{ topicId, partitions }])),
  );
  assert.deepEqual(codes(both.flat()), [0, 0]);
  const { partitions } = metadata.image.topicsById.get(topicId)!;
  assert.ok(partitions.length === 5 && partitions.every(({ state }) => state === 'open'));
});

test('configs of a topic that is not there are 3, those of a broker are kept', async () => {
  const { metadata, admin } = await rig();
  const entries = { 'log.retention.ms': '5' };
  const results = await admin.alterConfigs([
    { resource: 'topic', name: 'x', entries },
    { resource: 'broker', name: '0', entries },
  ]);
  assert.deepEqual(codes(results), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0]);
  assert.deepEqual(metadata.image.configs.get('broker:0'), entries);
});

test('log starts move forward only; what is behind the start already is done', async () => {
  const { metadata, admin, create } = await rig();
  const { topicId } = await create('t');
  await metadata.commit([upload(1, oid(1), { ...range(1, 0, 0, 10), topicId }), known(topicId, 10)]);
  const move = (startOffset: number, partition = 0) => ({ topicId, partition, startOffset });
  const results = await Promise.all([admin.moveLogStarts([move(10)]), admin.moveLogStarts([move(5)])]);
  assert.deepEqual(codes(results.flat()), [0, 0]);
  assert.equal(metadata.image.topicsById.get(topicId)!.partitions[0]!.startOffset, 10);
  assert.deepEqual([...metadata.image.dropped.keys()], [oid(1)]);
  assert.deepEqual(codes(await admin.moveLogStarts([move(3), move(1, 7)])), [
    0,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ]);
});

test('blocks of producer ids never overlap, however many are asked for at once', async () => {
  const { metadata, admin } = await rig();
  const firsts = await Promise.all([1_000, 2_000, 500].map((count) => admin.producerIds(count)));
  assert.deepEqual(firsts, [0, 1_000, 3_000]);
  assert.equal(await admin.producerIds(1), 3_500);
  assert.equal(metadata.image.nextProducerId, 3_501);
});

async function clusterRig() {
  const first = await rig();
  const { metadata, clock } = first;
  const endpoints = [{ listener: 'plain', tls: false, host: 'h', port: 9092 }];
  for (const node of [0, 1, 2])
    await metadata.commit([{ type: 'broker', node, epoch: 1, endpoints, rack: null }]);
  await metadata.commit([{ type: 'wal', wal: { ...walRecord('of-1'), node: 1 } }]);
  const admin = (places: NewPlaces) =>
    new TopicAdmin({ metadata, clock, random: seededRandom(6), logger: silentLogger, nodeId: 0, places });
  const placed = (topicId: string) =>
    metadata.image.topicsById
      .get(topicId)!
      .partitions.map(({ state, node, target, wal: logId }) => [state, node, target, logId]);
  return { ...first, admin, placed, streams: new NewStreams(metadata, () => null) };
}

test('partitions begin where somebody wished, in a log of that broker, or wait for it to have one', async () => {
  const { metadata, admin, placed, streams } = await clusterRig();
  const control = admin(streams);
  const [made] = await control.createTopics([{ ...spec('t', 3), assignments: [1, 0, 2] }]);
  assert.equal(made!.error, 0);
  const [atOne, atZero, atTwo] = placed(made!.topicId);
  assert.deepEqual(
    [atOne, atTwo],
    [
      ['open', 1, -1, 'of-1'],
      ['new', -1, 2, ''],
    ],
  );
  assert.deepEqual(atZero!.slice(0, 3), ['open', 0, -1]);
  const growth = { topicId: made!.topicId, partitions: 5, assignments: [0, 1] };
  assert.deepEqual(codes(await control.createPartitions([growth])), [0]);
  const grown = placed(made!.topicId).map(([, node]) => node);
  assert.deepEqual(grown, [1, 0, -1, 0, 1]);
  assert.equal(metadata.image.topicsById.get(made!.topicId)!.partitions.length, 5);
});

test('of a growth that another has begun, the rest goes where it was wished', async () => {
  const { admin, placed, streams } = await clusterRig();
  const control = admin(streams);
  const { topicId } = (await control.createTopics([spec('t')]))[0]!;
  const results = await Promise.all([
    control.createPartitions([{ topicId, partitions: 3, assignments: [0, 0] }]),
    control.createPartitions([{ topicId, partitions: 4, assignments: [0, 0, 1] }]),
  ]);
  assert.deepEqual(codes(results.flat()), [0, 0]);
  assert.deepEqual(
    placed(topicId)
      .slice(1)
      .map(([, node]) => node),
    [0, 0, 1],
  );
});

test('a place that is gone when it is committed is chosen anew, and let go of each time', async () => {
  const { metadata, admin, placed } = await clusterRig();
  let asked = 0;
  let settled = 0;
  const wals = ['none', 'gone', 'of-1'];
  const control = admin({
    place: () => ({
      placements: [{ partition: 0, node: 1, wal: wals[asked++]! }],
      settled: () => settled++,
    }),
  });
  const [made] = await control.createTopics([spec('t')]);
  assert.deepEqual([made!.error, asked, settled], [0, 3, 3]);
  assert.deepEqual(placed(made!.topicId), [['open', 1, -1, 'of-1']]);
  assert.equal(metadata.image.topicsByName.size, 1);
});

test('a topic is made where nobody takes streams, and a wish for a broker that was fenced is refused', async () => {
  const { metadata, admin, placed, streams } = await clusterRig();
  const [waiting] = await admin({ place: () => null }).createTopics([spec('t', 2)]);
  assert.deepEqual(
    placed(waiting!.topicId).map(([state]) => state),
    ['new', 'new'],
  );
  await metadata.commit([{ type: 'brokerState', node: 1, epoch: 1, state: 'fenced' }]);
  const wished = { ...spec('u'), assignments: [1] };
  assert.deepEqual(codes(await admin(streams).createTopics([wished])), [
    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
  ]);
});

test('partitions are assigned to brokers that are there, each by a commit of its own', async () => {
  const { metadata, admin, placed, streams } = await clusterRig();
  const control = admin(streams);
  const { topicId } = (await control.createTopics([{ ...spec('t', 2), assignments: [0, 0] }]))[0]!;
  await metadata.commit([{ type: 'brokerState', node: 2, epoch: 1, state: 'fenced' }]);
  const moves = [
    { topicId, partition: 0, node: 1 },
    { topicId, partition: 1, node: 2 },
    { topicId, partition: 9, node: 1 },
    { topicId: 'nosuchtopicatallAAAAAA', partition: 0, node: 1 },
  ];
  assert.deepEqual(codes(await control.assign(moves)), [
    0,
    ErrorCode.INVALID_REPLICA_ASSIGNMENT,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ]);
  assert.deepEqual(
    placed(topicId).map(([state, node, target]) => [state, node, target]),
    [
      ['open', 0, 1],
      ['open', 0, -1],
    ],
  );
});

test('a broker is forgotten when it is fenced and has nothing any more', async () => {
  const { metadata, admin, streams } = await clusterRig();
  const control = admin(streams);
  const remove = async (node: number) => (await control.removeBroker(node)).error;
  const { BROKER_ID_NOT_REGISTERED: unknown, INVALID_REQUEST: refused } = ErrorCode;
  assert.deepEqual([await remove(2), await remove(9)], [refused, unknown]);
  for (const node of [1, 2])
    await metadata.commit([{ type: 'brokerState', node, epoch: 1, state: 'fenced' }]);
  assert.deepEqual([await remove(2), await remove(2)], [0, unknown]);
  // Its log is still open.
  assert.equal(await remove(1), refused);
  await metadata.commit([{ type: 'wal', wal: { ...walRecord('of-1'), node: 1, state: 'empty' } }]);
  assert.equal(await remove(1), 0);
  assert.deepEqual([...metadata.image.brokers.keys()], [0]);
});

test('brokers that ask at the same moment are granted different producer ids', async () => {
  const first = await rig();
  const second = new TopicAdmin({
    metadata: first.metadata,
    random: seededRandom(6),
    clock: first.clock,
    logger: silentLogger,
    nodeId: 1,
    places: new OwnPlaces(1, () => 'w2'),
  });
  const firsts = await Promise.all([first.admin.producerIds(500), second.producerIds(1_000)]);
  assert.deepEqual(firsts, [0, 500]);
  assert.equal(first.metadata.image.nextProducerId, 1_500);
});

test('a fenced owner is no controller, an absent store is worth another try', async () => {
  const { metadata, admin } = await rig();
  await metadata.close();
  assert.deepEqual(codes(await admin.createTopics([spec('t')])), [ErrorCode.REQUEST_TIMED_OUT]);
  const fenced = new MillraceError('fenced', 'METADATA_FENCED', 'taken over');
  const image = metadata.image;
  const other = new TopicAdmin({
    metadata: {
      image,
      references: metadata.references,
      snapshot: () => metadata.snapshot(),
      commit: () => Promise.reject(fenced),
      persisted: () => Promise.reject(fenced),
      watch: () => () => {},
      close: () => Promise.resolve(),
    },
    random: seededRandom(1),
    clock: new HandClock(),
    logger: silentLogger,
    nodeId: 0,
    places: new OwnPlaces(0, () => 'w1'),
  });
  assert.deepEqual(codes(await other.createTopics([spec('t')])), [ErrorCode.NOT_CONTROLLER]);
});

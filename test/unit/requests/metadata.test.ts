import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MetadataCodec, type MetadataRequestInput } from '../../../src/protocol/generated/metadata.ts';
import { Writer } from '../../../src/protocol/writer.ts';
import { metadataHandler } from '../../../src/requests/metadata.ts';
import { ClusterView } from '../../../src/requests/support/cluster-view.ts';
import {
  metadataAnswerCodec,
  partitionsOf,
  TopicPieces,
} from '../../../src/requests/support/metadata-pieces.ts';
import { AutoTopics } from '../../../src/requests/support/topic-creation.ts';
import { settle } from '../../support/store-fixtures.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { call, ErrorCode, endpoint, FakeControl, FakeTopics, nodeId, topicId } from './admin-fixtures.ts';

const listener = 'PLAINTEXT';

function rig({ enabled = true } = {}) {
  const topics = new FakeTopics();
  const control = new FakeControl();
  const specOf = (name: string) => ({ name, partitions: 3, configs: {}, internal: false });
  const clock = new VirtualClock();
  const autoTopics = new AutoTopics({ topics, control, logger: silentLogger, enabled, specOf });
  const handler = metadataHandler({ topics, autoTopics, endpoint, clock });
  const ask = (version: number, input: MetadataRequestInput) => call(handler, MetadataCodec, version, input);
  const names = (...list: string[]) => ({ topics: list.map((name) => ({ name })) });
  return { topics, control, clock, ask, names };
}

test('all topics: null, and in v0 an empty list; an empty list is none from v1', async () => {
  const { topics, ask } = rig();
  topics.add('a', 2);
  topics.add('__consumer_offsets', 1, {}, true);
  for (let version = 0; version <= 13; version++) {
    const answer = await ask(version, { topics: version === 0 ? [] : null });
    assert.deepEqual(
      answer.topics.map(({ name }) => name),
      ['a', '__consumer_offsets'],
      `v${version}`,
    );
    if (version >= 1) {
      assert.equal(answer.controllerId, nodeId);
      assert.deepEqual(
        answer.topics.map(({ isInternal }) => isInternal),
        [false, true],
      );
      assert.deepEqual((await ask(version, { topics: [] })).topics, []);
    }
  }
});

test('this broker is the only one: leader, replica and in-sync set', async () => {
  const { topics, ask, names } = rig();
  const id = topics.add('a');
  const answer = await ask(13, names('a'));
  assert.deepEqual(answer.brokers, [{ nodeId, host: 'broker.example', port: 9092, rack: null }]);
  assert.equal(answer.clusterId, topics.image.clusterId);
  assert.deepEqual(answer.topics, [
    {
      errorCode: 0,
      name: 'a',
      topicId: id,
      isInternal: false,
      topicAuthorizedOperations: -2147483648,
      partitions: [
        {
          errorCode: 0,
          partitionIndex: 0,
          leaderId: nodeId,
          leaderEpoch: 3,
          replicaNodes: [nodeId],
          isrNodes: [nodeId],
          offlineReplicas: [],
        },
      ],
    },
  ]);
});

test('a partition that is not open has no leader', async () => {
  const { topics, ask, names } = rig();
  const id = topics.add('a');
  const close = {
    type: 'close',
    topicId: id,
    partition: 0,
    leaderEpoch: 3,
    endOffset: 0,
    stateObject: '',
  } as const;
  topics.builder.apply([close]);
  const [partition] = (await ask(12, names('a'))).topics[0]!.partitions;
  assert.deepEqual([partition!.errorCode, partition!.leaderId], [ErrorCode.LEADER_NOT_AVAILABLE, -1]);
});

test('by id from v12: known ids give the topic, unknown ones UNKNOWN_TOPIC_ID with a null name', async () => {
  const { topics, ask } = rig();
  const id = topics.add('a');
  const wanted = {
    topics: [
      { topicId: id, name: null },
      { topicId: topicId(99), name: null },
    ],
  };
  const answer = await ask(12, wanted);
  assert.deepEqual(
    answer.topics.map(({ errorCode, name, topicId: answered }) => [errorCode, name, answered]),
    [
      [0, 'a', id],
      [ErrorCode.UNKNOWN_TOPIC_ID, null, topicId(99)],
    ],
  );
});

test('v10 and v11 refuse ids and missing names', async () => {
  const { topics, ask } = rig();
  const id = topics.add('a');
  for (const version of [10, 11]) {
    const byId = await ask(version, { topics: [{ topicId: id, name: 'a' }] });
    assert.deepEqual(
      byId.topics.map((t) => [t.errorCode, t.name]),
      [[ErrorCode.INVALID_REQUEST, 'a']],
    );
    const nameless = await ask(version, { topics: [{ name: null }] });
    assert.deepEqual(
      nameless.topics.map((t) => [t.errorCode, t.name]),
      [[ErrorCode.INVALID_REQUEST, '']],
    );
  }
});

/** Creations hang until it is opened. */
function gated(control: FakeControl): () => Promise<void> {
  let open = (_: unknown): void => {};
  control.gate = new Promise((resolve) => {
    open = resolve;
  });
  return async () => {
    open(null);
    await settle();
  };
}

test('an unknown name is made once, and all who asked are answered with the topic when it is there', async () => {
  const { topics, control, clock, ask, names } = rig();
  topics.add('old');
  const open = gated(control);
  const asked = [1, 2, 3].map(() => ask(9, { ...names('new', 'old'), allowAutoTopicCreation: true }));
  const told: string[] = [];
  for (const answer of asked) void answer.then(() => told.push('told'));
  await settle();
  assert.deepEqual(told, []);
  assert.deepEqual(
    control.created.map(({ name, partitions }) => [name, partitions]),
    [['new', 3]],
  );
  topics.add('new', 3);
  await open();
  for (const answer of asked)
    assert.deepEqual(
      (await answer).topics.map(({ errorCode, name, partitions }) => [errorCode, name, partitions.length]),
      [
        [0, 'new', 3],
        [0, 'old', 1],
      ],
    );
  assert.equal(clock.timers, 0);
});

test('a creation that takes long, or leaves no topic, is answered with 3 and begun anew by the next question', async () => {
  const { control, clock, ask, names } = rig();
  const wanted = { ...names('new'), allowAutoTopicCreation: true };
  const codes = async (answer: ReturnType<typeof ask>) =>
    (await answer).topics.map(({ errorCode }) => errorCode);
  const open = gated(control);
  const first = ask(9, wanted);
  clock.advance(999);
  const second = ask(9, wanted);
  clock.advance(1);
  assert.deepEqual(await codes(first), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  assert.equal(control.created.length, 1);
  await open();
  assert.deepEqual(await codes(second), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  await ask(9, wanted);
  assert.equal(control.created.length, 2);
  control.answer = { error: ErrorCode.POLICY_VIOLATION, message: 'no' };
  assert.deepEqual(await codes(ask(9, wanted)), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  control.gate = Promise.reject(new Error('the store is away'));
  assert.deepEqual(await codes(ask(9, wanted)), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  assert.equal(control.created.length, 4);
  assert.equal(clock.timers, 0);
});

test('nothing is made when the client or the broker does not want it, nor with an illegal name', async () => {
  const off = rig({ enabled: false });
  const refused = await off.ask(9, { ...off.names('new', 'b/d'), allowAutoTopicCreation: true });
  const codes = [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.INVALID_TOPIC_EXCEPTION];
  assert.deepEqual(
    refused.topics.map(({ errorCode }) => errorCode),
    codes,
  );
  const on = rig();
  await on.ask(9, { ...on.names('new', 'b/d'), allowAutoTopicCreation: false });
  on.topics.add('a.b');
  const colliding = await on.ask(9, { ...on.names('a_b', 'b/d'), allowAutoTopicCreation: true });
  const illegal = ErrorCode.INVALID_TOPIC_EXCEPTION;
  assert.deepEqual(
    colliding.topics.map(({ errorCode }) => errorCode),
    [illegal, illegal],
  );
  assert.equal(off.control.created.length + on.control.created.length, 0);
});

test('authorized operations only when asked: all bits', async () => {
  const { topics, ask, names } = rig();
  topics.add('a');
  for (let version = 8; version <= 10; version++) {
    const asked = { includeClusterAuthorizedOperations: true, includeTopicAuthorizedOperations: true };
    const answer = await ask(version, { ...names('a'), ...asked });
    assert.equal(answer.clusterAuthorizedOperations, 8096);
    assert.equal(answer.topics[0]!.topicAuthorizedOperations, 3576);
    assert.equal((await ask(version, names('a'))).clusterAuthorizedOperations, -2147483648);
  }
});

test('a name given twice is answered once', async () => {
  const { topics, ask, names } = rig();
  topics.add('a');
  assert.equal((await ask(5, names('a', 'a'))).topics.length, 1);
});

test('a piece is kept until one of its leaders changes, whatever else the image does', () => {
  const { topics } = rig();
  topics.add('a', 2);
  topics.add('b');
  const cluster = new ClusterView({ topics, endpoint });
  const pieces = new TopicPieces(topics);
  const topic = topics.topicByName('a')!;
  const first = pieces.piece(topic, cluster.of(listener));
  topics.add('c');
  assert.equal(pieces.piece(topic, cluster.of(listener)), first);
  const { topicId: id, partitions } = topic;
  const { leaderEpoch, endOffset } = partitions[1]!;
  topics.builder.apply([
    {
      type: 'close',
      topicId: id,
      partition: 1,
      leaderEpoch,
      endOffset: Math.max(0, endOffset),
      stateObject: '',
    },
  ]);
  const closed = pieces.piece(topic, cluster.of(listener));
  assert.notEqual(closed, first);
  topics.builder.apply([{ type: 'partitions', topicId: id, partitions: 3 }]);
  assert.notEqual(pieces.piece(topic, cluster.of(listener)), closed);
});

test('pieces of deleted topics go', () => {
  const { topics } = rig();
  const cluster = new ClusterView({ topics, endpoint });
  const pieces = new TopicPieces(topics);
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 50; i++) topics.add(`${round}-${i}`);
    const made = [...topics.image.topicsById.values()];
    for (const topic of made) pieces.piece(topic, cluster.of(listener));
    topics.builder.apply(made.map(({ topicId: id }) => ({ type: 'topicDeleted', topicId: id })));
  }
  assert.ok(pieces.size <= 120, `${pieces.size} pieces`);
});

test('answers put together from pieces are byte for byte what the codec writes, in every version', () => {
  const { topics } = rig();
  for (let i = 0; i < 200; i++) topics.add(`topic-${i}`, 1 + (i % 5));
  const cluster = new ClusterView({ topics, endpoint });
  const pieces = new TopicPieces(topics);
  const absent = { errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, name: 'none', partitions: [] };
  const { minVersion, maxVersion } = MetadataCodec.api;
  for (let version = minVersion; version <= maxVersion; version++) {
    for (const count of [0, 1, 126, 127, 128, 200]) {
      for (const operations of version >= 8 ? [false, true] : [false]) {
        const some = [...topics.image.topicsByName.values()].slice(0, count);
        const rest = {
          brokers: [endpoint()],
          clusterId: 'abcdefghijklmnopqrstuv',
          controllerId: nodeId,
          ...(version >= 8 && version <= 10 && operations ? { clusterAuthorizedOperations: 8096 } : {}),
        };
        const plain = some.map((topic) => ({
          errorCode: 0,
          name: topic.name,
          topicId: topic.topicId,
          isInternal: topic.internal,
          partitions: partitionsOf(topic, cluster.of(listener)),
          ...(operations ? { topicAuthorizedOperations: 3576 } : {}),
        }));
        const [expected, found] = [new Writer(), new Writer()];
        // Something stands in front of an answer: size and header.
        for (const writer of [expected, found]) writer.i32(12345);
        MetadataCodec.encodeResponse(expected, { ...rest, topics: [...plain, absent] }, version);
        const composed = [...some.map((topic) => pieces.piece(topic, cluster.of(listener))), absent];
        metadataAnswerCodec.encodeResponse(
          found,
          { ...rest, topics: composed, topicOperations: operations },
          version,
        );
        assert.deepEqual(found.written, expected.written, `version ${version}, ${count} topics`);
      }
    }
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ListOffsetsCodec,
  type ListOffsetsPartitionInput,
} from '../../../src/protocol/generated/list-offsets.ts';
import { listOffsetsHandler } from '../../../src/requests/list-offsets.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, ErrorCode, FakeTopics } from './admin-fixtures.ts';

function rig() {
  const topics = new FakeTopics();
  const id = topics.add('t', 2);
  const clock = new HandClock();
  const handler = listOffsetsHandler({ topics, clock, leased: () => true });
  const ask = async (version: number, partition: ListOffsetsPartitionInput, more = {}, name = 't') => {
    const request = { topics: [{ name, partitions: [partition] }], ...more };
    const answer = await call(handler, ListOffsetsCodec, version, request);
    return answer.topics[0]!.partitions[0]!;
  };
  return { topics, clock, handler, ask, partition: topics.partition(id, 0)! };
}

const none = { timestamp: -1, offset: -1, leaderEpoch: -1 };
const placed = ({ timestamp, offset, leaderEpoch }: typeof none) => ({ timestamp, offset, leaderEpoch });

test('the special timestamps', async () => {
  const { ask } = rig();
  const at = async (timestamp: number) => placed(await ask(11, { timestamp }));
  assert.deepEqual(await at(-1), { timestamp: -1, offset: 10, leaderEpoch: 3 });
  assert.deepEqual(await at(-2), { timestamp: -1, offset: 2, leaderEpoch: 1 });
  assert.deepEqual(await at(-3), { timestamp: 1090, offset: 9, leaderEpoch: 3 });
  assert.deepEqual(await at(-4), await at(-2));
  assert.deepEqual(await at(-5), none);
  assert.deepEqual(await at(-6), none);
});

test('each special timestamp has its first version; before it, and when unknown, it is 35', async () => {
  const { ask } = rig();
  const first: Record<number, number> = { [-1]: 1, [-2]: 1, [-3]: 7, [-4]: 8, [-5]: 9, [-6]: 11 };
  for (let version = 1; version <= 11; version++) {
    for (let timestamp = -1; timestamp >= -8; timestamp--) {
      const expected = version >= (first[timestamp] ?? 99) ? 0 : ErrorCode.UNSUPPORTED_VERSION;
      assert.equal((await ask(version, { timestamp })).errorCode, expected, `v${version} ${timestamp}`);
    }
  }
});

test('a time finds the first record that is not older; too late a time finds none', async () => {
  const { ask } = rig();
  assert.deepEqual(placed(await ask(4, { timestamp: 1065 })), { timestamp: 1070, offset: 7, leaderEpoch: 3 });
  assert.deepEqual(placed(await ask(4, { timestamp: 0 })), { timestamp: 1020, offset: 2, leaderEpoch: 1 });
  assert.deepEqual(placed(await ask(4, { timestamp: 2000 })), none);
  assert.deepEqual(placed(await ask(3, { timestamp: 1065 })), {
    timestamp: 1070,
    offset: 7,
    leaderEpoch: -1,
  });
});

test('read_committed sees nothing from the last stable offset on', async () => {
  const { ask } = rig();
  const isolationLevel = 1;
  assert.equal((await ask(2, { timestamp: -1 }, { isolationLevel })).offset, 8);
  assert.equal((await ask(2, { timestamp: 1085 }, { isolationLevel })).offset, -1);
  assert.equal((await ask(2, { timestamp: 1085 })).offset, 9);
});

test('leader epochs are compared from v4', async () => {
  const { ask } = rig();
  const code = async (currentLeaderEpoch: number) =>
    (await ask(4, { timestamp: -1, currentLeaderEpoch })).errorCode;
  assert.equal(await code(2), ErrorCode.FENCED_LEADER_EPOCH);
  assert.equal(await code(3), 0);
  assert.equal(await code(4), ErrorCode.UNKNOWN_LEADER_EPOCH);
  assert.equal(await code(-1), 0);
});

test('unknown topic or partition 3, known but not open here 6', async () => {
  const { ask, topics } = rig();
  assert.equal((await ask(5, { timestamp: -1 }, {}, 'x')).errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  for (const partitionIndex of [2, -1]) {
    const { errorCode } = await ask(5, { timestamp: -1, partitionIndex });
    assert.equal(errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  }
  topics.partitions.clear();
  assert.equal((await ask(5, { timestamp: -1 })).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER);
});

test('a partition named twice is refused, once, and the others are answered', async () => {
  const { handler } = rig();
  const partitions = [0, 1, 0].map((partitionIndex) => ({ partitionIndex, timestamp: -1 }));
  const named = { name: 't', partitions };
  const split = partitions.map((partition) => ({ name: 't', partitions: [partition] }));
  for (const topics of [[named], split]) {
    const answer = await call(handler, ListOffsetsCodec, 6, { topics });
    assert.equal(answer.topics.length, 1);
    const codes = answer.topics[0]!.partitions.map((one) => [one.partitionIndex, one.errorCode]);
    assert.deepEqual(codes, [
      [0, ErrorCode.INVALID_REQUEST],
      [1, 0],
    ]);
  }
});

test('a time-out of nothing is none: older data may take as long as in older versions', async () => {
  const { handler, partition, clock } = rig();
  partition.held = [];
  const request = { topics: [{ name: 't', partitions: [{ timestamp: 1065 }] }], timeoutMs: 0 };
  const answer = call(handler, ListOffsetsCodec, 10, request);
  clock.advance(29_999);
  for (const late of partition.held) late();
  assert.equal((await answer).topics[0]!.partitions[0]!.offset, 7);
});

test('a question that is not answered in time gets 7, the others keep their answers', async () => {
  const { handler, partition, clock } = rig();
  partition.held = [];
  const partitions = [0, 1].map((partitionIndex) => ({ partitionIndex, timestamp: 1000 }));
  const request = { topics: [{ name: 't', partitions }], timeoutMs: 500 };
  const answer = call(handler, ListOffsetsCodec, 10, request);
  clock.advance(499);
  assert.equal(clock.pending, 1);
  clock.advance(1);
  const got = (await answer).topics[0]!.partitions;
  assert.deepEqual(
    got.map(({ errorCode, offset }) => [errorCode, offset]),
    [
      [ErrorCode.REQUEST_TIMED_OUT, -1],
      [0, 2],
    ],
  );
  for (const late of partition.held) late();
});

test('an answer that comes later completes the request and stops its clock', async () => {
  const { handler, partition, clock } = rig();
  partition.held = [];
  const request = { topics: [{ name: 't', partitions: [{ timestamp: 1065 }] }] };
  const answer = call(handler, ListOffsetsCodec, 9, request);
  for (const late of partition.held) late();
  assert.equal((await answer).topics[0]!.partitions[0]!.offset, 7);
  assert.equal(clock.pending, 0);
});

test('an offset counts when it comes without an error, and lies below the end that the reader sees', async () => {
  const { ask, partition } = rig();
  const told = async (answer: [error: number, offset: number], isolationLevel: number) => {
    partition.query = (_kind, _argument, done) => done(answer[0], answer[1], 77, 2);
    const { errorCode, ...rest } = await ask(11, { timestamp: 5 }, { isolationLevel });
    return [errorCode, ...Object.values(placed(rest))];
  };
  assert.deepEqual(await told([0, 9], 0), [0, 77, 9, 2]);
  assert.deepEqual(await told([0, 10], 0), [0, -1, -1, -1]);
  assert.deepEqual(await told([0, 0], 0), [0, 77, 0, 2]);
  assert.deepEqual(await told([0, 7], 1), [0, 77, 7, 2]);
  assert.deepEqual(await told([0, 8], 1), [0, -1, -1, -1]);
  const { KAFKA_STORAGE_ERROR } = ErrorCode;
  assert.deepEqual(await told([KAFKA_STORAGE_ERROR, 5], 0), [KAFKA_STORAGE_ERROR, -1, -1, -1]);
});

test('the end of a partition elsewhere is asked for first', async () => {
  const { ask, partition } = rig();
  let failure = 0;
  Object.assign(partition, {
    refresh: (done: (error: number) => void) => {
      partition.highWatermark = 12;
      done(failure);
    },
  });
  const { errorCode, ...rest } = await ask(11, { timestamp: -1 });
  assert.deepEqual([errorCode, placed(rest)], [0, { timestamp: -1, offset: 12, leaderEpoch: 3 }]);
  failure = ErrorCode.NOT_LEADER_OR_FOLLOWER;
  const refused = await ask(11, { timestamp: -1 });
  assert.deepEqual([refused.errorCode, placed(refused)], [ErrorCode.NOT_LEADER_OR_FOLLOWER, none]);
});

test('the time that is waited is the one stated from version 10, five minutes at most, else half a minute', async () => {
  for (const [version, timeoutMs, waited] of [
    [9, 5, 30_000],
    [10, 0, 30_000],
    [10, 1, 1],
    [11, 40_000, 40_000],
    [11, 300_001, 300_000],
  ] as const) {
    const { ask, partition, clock } = rig();
    partition.held = [];
    let errorCode = -1;
    const answer = ask(version, { timestamp: 5 }, version < 10 ? {} : { timeoutMs }).then((told) => {
      errorCode = told.errorCode;
    });
    clock.advance(waited - 1);
    await new Promise((done) => setImmediate(done));
    assert.equal(errorCode, -1);
    clock.advance(1);
    await answer;
    assert.equal(errorCode, ErrorCode.REQUEST_TIMED_OUT);
    assert.equal(clock.pending, 0);
    for (const late of partition.held) late();
  }
});

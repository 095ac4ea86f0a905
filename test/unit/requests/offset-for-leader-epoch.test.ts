import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OffsetForLeaderEpochCodec } from '../../../src/protocol/generated/offset-for-leader-epoch.ts';
import { offsetForLeaderEpochHandler } from '../../../src/requests/offset-for-leader-epoch.ts';
import { call, ErrorCode, FakeTopics } from './admin-fixtures.ts';

function rig() {
  const topics = new FakeTopics();
  const id = topics.add('t');
  const handler = offsetForLeaderEpochHandler({ topics });
  const ask = async (version: number, partition: object, topic = 't') => {
    const request = { topics: [{ topic, partitions: [{ partition: 0, ...partition }] }] };
    return (await call(handler, OffsetForLeaderEpochCodec, version, request)).topics[0]!.partitions[0]!;
  };
  return { ask, partition: topics.partition(id, 0)! };
}

test('the largest epoch not above the asked one and its end; the first start for older ones, none for newer', async () => {
  const { ask } = rig();
  for (let version = 0; version <= 4; version++) {
    const found = [];
    for (const leaderEpoch of [0, 1, 2, 3, 4]) {
      const { errorCode, leaderEpoch: epoch, endOffset } = await ask(version, { leaderEpoch });
      assert.equal(errorCode, 0);
      found.push(version === 0 ? endOffset : [epoch, endOffset]);
    }
    const expected = [
      [0, 0],
      [1, 6],
      [1, 6],
      [3, 10],
      [-1, -1],
    ];
    assert.deepEqual(found, version === 0 ? expected.map(([, end]) => end) : expected);
  }
});

test('fences by the epoch that the client knows', async () => {
  const { ask } = rig();
  const code = async (currentLeaderEpoch: number) =>
    (await ask(2, { leaderEpoch: 1, currentLeaderEpoch })).errorCode;
  assert.equal(await code(2), ErrorCode.FENCED_LEADER_EPOCH);
  assert.equal(await code(3), 0);
  assert.equal(await code(4), ErrorCode.UNKNOWN_LEADER_EPOCH);
});

test('answers when the last question is answered', async () => {
  const { ask, partition } = rig();
  partition.held = [];
  const answer = ask(4, { leaderEpoch: 1 });
  for (const late of partition.held) late();
  assert.equal((await answer).endOffset, 6);
  assert.equal((await ask(4, { leaderEpoch: 1 }, 'x')).errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
});

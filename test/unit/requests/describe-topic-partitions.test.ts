import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DescribeTopicPartitionsCodec } from '../../../src/protocol/generated/describe-topic-partitions.ts';
import { describeTopicPartitionsHandler } from '../../../src/requests/describe-topic-partitions.ts';
import { call, ErrorCode, endpoint, FakeTopics } from './admin-fixtures.ts';

type Cursor = { topicName: string; partitionIndex: number } | null;

function rig() {
  const topics = new FakeTopics();
  const handler = describeTopicPartitionsHandler({ topics, endpoint });
  const ask = (names: string[], responsePartitionLimit = 2000, cursor: Cursor = null) => {
    const request = { topics: names.map((name) => ({ name })), responsePartitionLimit, cursor };
    return call(handler, DescribeTopicPartitionsCodec, 0, request);
  };
  return { topics, ask };
}

test('topics come sorted, all of them when none is named', async () => {
  const { topics, ask } = rig();
  for (const name of ['b', 'c', 'a']) topics.add(name, 2);
  const all = await ask([]);
  assert.deepEqual(
    all.topics.map(({ name, partitions }) => [name, partitions.length]),
    [
      ['a', 2],
      ['b', 2],
      ['c', 2],
    ],
  );
  assert.equal(all.nextCursor, null);
  const named = await ask(['c', 'x', 'b', 'b', 'x y']);
  assert.deepEqual(
    named.topics.map(({ name, errorCode }) => [name, errorCode]),
    [
      ['b', 0],
      ['c', 0],
      ['x', ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
      ['x y', ErrorCode.INVALID_TOPIC_EXCEPTION],
    ],
  );
});

test('pages of any size together hold each partition once', async () => {
  const { topics, ask } = rig();
  for (const [name, count] of [
    ['a', 3],
    ['b', 1],
    ['c', 4],
  ] as const)
    topics.add(name, count);
  for (const limit of [0, 1, 2, 3, 4, 7, 8, 9]) {
    const seen: string[] = [];
    let cursor: Cursor = null;
    let pages = 0;
    do {
      const page = await ask([], limit, cursor);
      let held = 0;
      for (const { name, partitions } of page.topics) {
        assert.ok(partitions.length > 0);
        held += partitions.length;
        for (const { partitionIndex } of partitions) seen.push(`${name}/${partitionIndex}`);
      }
      assert.ok(held >= 1 && held <= Math.max(1, limit));
      cursor = page.nextCursor;
      pages++;
    } while (cursor !== null && pages < 20);
    assert.deepEqual(seen, ['a/0', 'a/1', 'a/2', 'b/0', 'c/0', 'c/1', 'c/2', 'c/3'], `limit ${limit}`);
    assert.equal(pages, Math.ceil(8 / Math.max(1, limit)));
  }
});

test('a topic deleted between two pages is passed over', async () => {
  const { topics, ask } = rig();
  topics.add('a');
  topics.add('c');
  const page = await ask([], 10, { topicName: 'b', partitionIndex: 5 });
  assert.deepEqual(
    page.topics.map(({ name, partitions }) => [name, partitions.length]),
    [['c', 1]],
  );
});

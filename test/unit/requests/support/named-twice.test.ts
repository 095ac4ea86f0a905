/** Names that a request gives more than once, and partitions that it names wrongly. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PartitionHandle } from '../../../../src/log/partition-handle.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { lastOfEach, namedTwice, onceEach } from '../../../../src/requests/support/named-twice.ts';
import { findPartition } from '../../../../src/requests/support/partition-lookup.ts';
import type { TopicDirectory } from '../../../../src/requests/support/topic-directory.ts';

test('a name is named twice when it comes again, however often', () => {
  assert.deepEqual([...namedTwice([])], []);
  assert.deepEqual([...namedTwice(['a', 'b', 'c'])], []);
  assert.deepEqual([...namedTwice(['a', 'b', 'a', 'c', 'a', 'c'])], ['a', 'c']);
});

test('the first of each name stays, in order', () => {
  const items = ['a1', 'b1', 'a2', 'c1', 'b2', 'a3'];
  assert.deepEqual(
    onceEach(items, (item) => item[0]!),
    ['a1', 'b1', 'c1'],
  );
});

test('the last of each partition stays, at the place of the first', () => {
  const of = (name: string, ...partitions: [number, string][]) => ({
    name,
    partitions: partitions.map(([partitionIndex, what]) => ({ partitionIndex, what })),
  });
  assert.deepEqual(
    lastOfEach([of('t', [1, 'a'], [0, 'b'], [1, 'c']), of('u', [0, 'd']), of('t', [0, 'e'], [2, 'f'])]),
    [of('t', [1, 'c'], [0, 'e'], [2, 'f']), of('u', [0, 'd'])],
  );
});

test('a partition is found under the epoch in force, or the code says why not', () => {
  const handle = { leaderEpoch: 5 } as PartitionHandle;
  const topics = {
    topicByName: (name: string) => (name === 't' ? { topicId: 'i', partitions: [{}, {}] } : undefined),
    partition: (_: string, index: number) => (index === 0 ? handle : undefined),
  } as unknown as TopicDirectory;
  const find = (name: string, index: number, epoch?: number) => findPartition(topics, name, index, epoch);
  assert.equal(find('t', 0), handle);
  assert.equal(find('t', 0, -1), handle);
  assert.equal(find('t', 0, 5), handle);
  assert.equal(find('t', 0, 4), ErrorCode.FENCED_LEADER_EPOCH);
  assert.equal(find('t', 0, 0), ErrorCode.FENCED_LEADER_EPOCH);
  assert.equal(find('t', 0, 6), ErrorCode.UNKNOWN_LEADER_EPOCH);
  assert.equal(find('t', 1, 4), ErrorCode.NOT_LEADER_OR_FOLLOWER);
  for (const [name, index] of [
    ['t', 2],
    ['t', -1],
    ['u', 0],
  ] as const)
    assert.equal(find(name, index, 4), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
});

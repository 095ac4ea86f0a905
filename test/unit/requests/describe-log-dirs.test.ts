/** DescribeLogDirs: the store and the open WALs, and where each partition's bytes lie. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WalRecord } from '../../../src/metadata/metadata-store.ts';
import { DescribeLogDirsCodec } from '../../../src/protocol/generated/describe-log-dirs.ts';
import { describeLogDirsHandler } from '../../../src/requests/describe-log-dirs.ts';
import { answerOf, ShardGroup, topicId, topicName } from '../shard/peers/shard-group.ts';
import { call, FakeTopics, nodeId } from './admin-fixtures.ts';

const storeUrl = 's3://bucket/here?endpoint=http://127.0.0.1:1&region=x';

const wal = (logId: string, location: string, changes: Partial<WalRecord> = {}): WalRecord => ({
  logId,
  kind: 'block',
  location,
  node: nodeId,
  epoch: 1,
  state: 'open',
  freed: { sequence: 0, position: 0, chainCrc: 0 },
  lastUploadMs: 0,
  ...changes,
});

test('the open WALs of this broker, and the store last and without its parameters', async () => {
  const topics = new FakeTopics();
  topics.builder.apply([
    { type: 'wal', wal: wal('a', '/data/wal/a.wal') },
    { type: 'wal', wal: wal('b', '/data/wal/b.wal', { state: 'empty' }) },
    { type: 'wal', wal: wal('c', '/other/c.wal', { node: nodeId + 1 }) },
  ]);
  for (let version = 0; version <= 5; version++) {
    const answer = await call(
      describeLogDirsHandler({ topics, nodeId, storeUrl }),
      DescribeLogDirsCodec,
      version,
      { topics: null },
    );
    assert.deepEqual(
      answer.results.map(({ errorCode, logDir, topics: found }) => [errorCode, logDir, found]),
      [
        [0, '/data/wal/a.wal', []],
        [0, 's3://bucket/here', []],
      ],
    );
    assert.equal(answer.results[0]!.totalBytes, -1);
  }
});

test('what waits in the WAL and what is uploaded, of every shard; names and partitions choose', async () => {
  const group = new ShardGroup({ shards: 2, partitions: 6 });
  group.apply([{ type: 'wal', wal: wal('wal', '/data/wal/one.wal', { node: 0 }) }]);
  const client = group.client(0);
  const sizes: number[] = [];
  for (let partition = 0; partition < 6; partition++) {
    if (partition === 4) continue;
    for (let i = 0; i <= partition; i++) client.produce(partition, [`value ${i}`]);
  }
  await group.settle();
  const fetched = client.fetch(Array.from({ length: 6 }, (_, partition) => ({ partition, offset: 0 })));
  await group.settle();
  for (const { partitionIndex, records } of answerOf(fetched).responses[0]!.partitions)
    sizes[partitionIndex] = (records as Uint8Array).length;

  const describe = async (named: { topic: string; partitions: number[] }[] | null) => {
    const asked = client.send(DescribeLogDirsCodec, 4, { topics: named });
    await group.settle();
    return answerOf(asked).results.map(({ logDir, topics: found }) => ({
      logDir,
      sizes: found
        .filter(({ name }) => name === topicName)
        .flatMap(({ partitions }) => partitions)
        .map(({ partitionIndex, partitionSize }) => [partitionIndex, partitionSize]),
    }));
  };
  const [inWal, inStore] = await describe(null);
  assert.equal(inWal!.logDir, '/data/wal/one.wal');
  assert.deepEqual(
    inWal!.sizes,
    sizes.map((size, partition) => [partition, size]).filter(([, size]) => size! > 0),
  );
  assert.deepEqual(
    inStore!.sizes,
    sizes.map((_, partition) => [partition, 0]),
  );

  // Two of the records of partition 1 are in an object from now on: both batches of its tail.
  const range = { topicId, partition: 1, baseOffset: 0, endOffset: 2, maxTimestamp: 1, bytes: 777 };
  group.apply([
    {
      type: 'upload',
      wal: 'wal',
      freed: { sequence: 1, position: 0, chainCrc: 0 },
      timeMs: 1,
      objects: [{ objectId: '0000000000000001', size: 1000, ranges: [range] }],
    },
  ]);
  const [after, stored] = await describe([
    { topic: topicName, partitions: [1, 2, 99] },
    { topic: 'none', partitions: [0] },
  ]);
  assert.deepEqual(after!.sizes, [[2, sizes[2]]]);
  assert.deepEqual(stored!.sizes, [
    [1, 777],
    [2, 0],
  ]);
  await group.expectAllMemoryBack([client]);
});

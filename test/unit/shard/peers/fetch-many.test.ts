/** Fetches over many partitions of several shards, and what ends the waiting of parked ones. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { ListOffsetsCodec } from '../../../../src/protocol/generated/list-offsets.ts';
import { answerOf, type Pending, ShardGroup, type TestClient, topicName } from './shard-group.ts';

type Answer = Pending<Parameters<typeof partitionsOf>[0]>;

function partitionsOf(answer: {
  responses: { partitions: { partitionIndex: number; errorCode: number; records: unknown }[] }[];
}) {
  return answer.responses.flatMap(({ partitions }) => partitions);
}

/** Partitions that brought records. */
function filled(answer: Answer): number[] {
  return partitionsOf(answerOf(answer))
    .filter(({ records }) => ((records as Uint8Array | null)?.length ?? 0) > 0)
    .map(({ partitionIndex }) => partitionIndex);
}

const all = (count: number) => Array.from({ length: count }, (_, partition) => ({ partition, offset: 0 }));

function listOffset(client: TestClient) {
  return client.send(ListOffsetsCodec, 7, {
    replicaId: -1,
    isolationLevel: 0,
    topics: [{ name: topicName, partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }] }],
  });
}

describe('fetch of many partitions', () => {
  for (const shards of [2, 3]) {
    test(`a thousand partitions over ${shards} shards: one fetch brings what each of them has`, async () => {
      const group = new ShardGroup({ shards, partitions: 1000 });
      const client = group.client(0);
      for (let partition = 0; partition < 1000; partition++)
        client.produce(partition, [`value ${partition}`]);
      await group.settle();
      // Sixteen reads of other shards' partitions may bring as much as an answer takes: more passes than one.
      const fetched = client.fetch(all(1000));
      await group.settle();
      assert.deepEqual(
        filled(fetched).sort((a, b) => a - b),
        all(1000).map(({ partition }) => partition),
      );
      await group.expectAllMemoryBack([client]);
    });
  }

  test('partitions that always have more do not keep the others from being served', async () => {
    const partitions = 120;
    const group = new ShardGroup({ shards: 2, partitions });
    const client = group.client(0);
    const value = 'v'.repeat(20_000);
    const next = new Map<number, number>();
    for (let partition = 0; partition < partitions; partition++) client.produce(partition, [value]);
    await group.settle();
    let session = { id: 0, epoch: 0 };
    let named = all(partitions);
    const served = new Set<number>();
    for (let poll = 0; poll < 5 && served.size < partitions; poll++) {
      const fetched = client.fetch(named, { session });
      await group.settle();
      const answer = answerOf(fetched);
      assert.equal(answer.errorCode, 0);
      session = { id: answer.sessionId, epoch: session.epoch + 1 };
      named = filled(fetched).map((partition) => {
        served.add(partition);
        next.set(partition, (next.get(partition) ?? 0) + 1);
        return { partition, offset: next.get(partition)! };
      });
      for (let hot = 0; hot < 20; hot++) client.produce(hot, [value]);
      await group.settle();
    }
    assert.equal(served.size, partitions);
    await group.expectAllMemoryBack([client]);
  });
});

describe('a parked fetch', () => {
  const parkedIn = async (group: ShardGroup, client: TestClient) => {
    const opened = client.fetch(all(group.partitions), { session: { id: 0, epoch: 0 } });
    await group.settle();
    const { sessionId } = answerOf(opened);
    const parked = client.fetch([], { maxWaitMs: 10_000, session: { id: sessionId, epoch: 1 } });
    await group.settle();
    assert.equal(parked.response, null);
    return { parked, sessionId };
  };
  const opened = async (group: ShardGroup, client: TestClient): Promise<void> => {
    // Mirrors of other shards' partitions know their offsets after the first look.
    client.fetch(all(group.partitions), { maxWaitMs: 0 });
    await group.settle();
  };

  test('is answered when a request behind it waits, and not when that is another fetch', async () => {
    const group = new ShardGroup();
    const client = group.client(0);
    await opened(group, client);
    const { parked, sessionId } = await parkedIn(group, client);
    const second = client.fetch([{ partition: 0, offset: 0 }], { maxWaitMs: 5_000 });
    await group.settle();
    assert.equal(parked.response, null);
    const asked = listOffset(client);
    await group.settle();
    assert.deepEqual(filled(parked), []);
    assert.equal(answerOf(second).errorCode, 0);
    assert.equal(answerOf(asked).topics[0]!.partitions[0]!.errorCode, 0);
    // The session goes on where it was.
    client.produce(1, ['news']);
    const after = client.fetch([], { maxWaitMs: 1_000, session: { id: sessionId, epoch: 2 } });
    await group.settle();
    assert.deepEqual(filled(after), [1]);
    await group.expectAllMemoryBack([client]);
  });

  test('is answered with the fetch that ends its session, neither of them waits', async () => {
    const group = new ShardGroup();
    const client = group.client(0);
    await opened(group, client);
    const { parked, sessionId } = await parkedIn(group, client);
    const last = client.fetch([], { maxWaitMs: 10_000, session: { id: sessionId, epoch: -1 } });
    await group.settle();
    assert.deepEqual(filled(parked), []);
    assert.deepEqual(answerOf(last).responses, []);
    const again = client.fetch([], { session: { id: sessionId, epoch: 2 } });
    await group.settle();
    assert.equal(answerOf(again).errorCode, ErrorCode.FETCH_SESSION_ID_NOT_FOUND);
    await group.expectAllMemoryBack([client]);
  });

  test('lets go of everything when its connection closes; its session can be used at once', async () => {
    const group = new ShardGroup();
    const other = group.client(0);
    await opened(group, other);
    const before = group.clock.timers;
    const client = group.client(0);
    const { sessionId } = await parkedIn(group, client);
    const alone = group.client(0);
    alone.fetch([{ partition: 0, offset: 0 }], { maxWaitMs: 10_000 });
    await group.settle();
    client.connection.close('gone');
    alone.connection.close('gone');
    await group.settle();
    assert.equal(group.clock.timers, before);
    other.produce(2, ['news']);
    await group.settle();
    const taken = other.fetch([], { session: { id: sessionId, epoch: 2 } });
    await group.settle();
    assert.equal(answerOf(taken).errorCode, 0);
    assert.deepEqual(filled(taken), [2]);
    await group.expectAllMemoryBack([other]);
  });

  test('is answered at once when the broker leaves', async () => {
    const group = new ShardGroup();
    const client = group.client(0);
    await opened(group, client);
    const { parked } = await parkedIn(group, client);
    const drained = group.nodes[0]!.shard.drain(5_000);
    await group.settle();
    assert.deepEqual(filled(parked), []);
    await drained;
    await group.expectAllMemoryBack([]);
  });
});

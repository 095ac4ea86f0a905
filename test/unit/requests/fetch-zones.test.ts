/** Fetches of readers that name their rack: sent elsewhere by the leader, served by brokers that do not lead (KIP-392). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PartitionHandle } from '../../../src/log/partition-handle.ts';
import type { PartitionImage } from '../../../src/metadata/metadata-store.ts';
import type {
  FetchPartition,
  FetchRequest,
  FetchResponseInput,
} from '../../../src/protocol/generated/fetch.ts';
import { fetchHandler } from '../../../src/requests/fetch.ts';
import { FetchSessionCache } from '../../../src/requests/support/fetch-session.ts';
import { type ReaderZone, ReadReplicas } from '../../../src/requests/support/read-replicas.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { ErrorCode, topicId } from './admin-fixtures.ts';
import { FetchedLog, recordBytes } from './fetch-fixtures.ts';

const id = topicId(1);
const bytes = 64 * 1024 * 1024;

function wanted(partition: number, more: Partial<FetchPartition> = {}) {
  const read = {
    fetchOffset: 10,
    currentLeaderEpoch: 0,
    lastFetchedEpoch: -1,
    partitionMaxBytes: 3 * recordBytes,
  };
  return { partition, ...read, ...more } as FetchPartition;
}

/** Two partitions of one topic at broker 1 in rack a: 0 is led there, 1 by broker 2 in rack b. */
function bed() {
  const clock = new VirtualClock();
  const arena = new HeapArena({ segmentBytes: 4096, segmentCount: 4 });
  const here = new FetchedLog(0, arena);
  const there = new FetchedLog(1, arena);
  for (const log of [here, there]) log.highWatermark = 100;
  const object = { objectId: 'x', baseOffset: 0, endOffset: 90, maxTimestamp: 0, bytes };
  const partitions = [0, 1].map((partition) => ({
    topicId: id,
    partition,
    leaderEpoch: 0,
    state: 'open',
    node: partition + 1,
    target: -1,
    startOffset: 0,
    manifest: null,
    objects: [object],
  })) as unknown as PartitionImage[];
  const topic = { topicId: id, name: 't', partitions };
  const endpoints = [{ listener: 'plain', host: 'h', port: 1 }];
  const brokers = new Map([
    [1, { epoch: 1, state: 'active', endpoints, rack: 'a', idFloor: 0 }],
    [2, { epoch: 1, state: 'active', endpoints, rack: 'b', idFloor: 0 }],
  ]);
  const topics = {
    image: { revision: 1, brokers },
    topicByName: () => topic,
    topicById: () => topic,
    partition: (_id: string, partition: number): PartitionHandle | undefined =>
      partition === 0 ? here : undefined,
    replica: (_id: string, partition: number): PartitionHandle | undefined =>
      partition === 1 ? there : undefined,
  } as unknown as TopicDirectory;
  const fetched: [number, ReaderZone][] = [];
  const handler = fetchHandler({
    topics,
    sessions: new FetchSessionCache(10, 1000, clock, new SeededRandom(1)),
    clock,
    fetchBytesMax: 1 << 20,
    endpoint: () => ({ nodeId: 1, host: 'h', port: 1, rack: 'a' }),
    replicas: new ReadReplicas(clock),
    observe: { fetched: (count, zone) => fetched.push([count, zone]) },
  });
  const fetch = (partition: number, rackId: string, more: Partial<FetchRequest> = {}, epoch = 0) => {
    const request = {
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1 << 20,
      rackId,
      isolationLevel: 0,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [{ topic: 't', partitions: [wanted(partition, { currentLeaderEpoch: epoch })] }],
      forgottenTopicsData: [],
      ...more,
    };
    const context = { apiVersion: 12, connectionId: 1, listener: 'plain', whileParked: () => {} };
    const answers: FetchResponseInput[] = [];
    handler.handle(context as never, request as never, (answer) => answers.push(answer!));
    assert.equal(answers.length, 1, 'answered at once');
    return answers[0]!.responses![0]!.partitions!;
  };
  return { fetch, fetched, here, there };
}

describe('the leader', () => {
  test('names the broker of the rack, gives no records and waits for nothing', () => {
    const { fetch, here } = bed();
    const [answer] = fetch(0, 'b', { maxWaitMs: 10_000 });
    assert.equal(answer!.errorCode, 0);
    assert.equal(answer!.preferredReadReplica, 2);
    assert.equal(answer!.highWatermark, 100);
    assert.equal(answer!.records?.byteLength, 0);
    assert.equal(here.reads, 0);
  });

  for (const [what, rack] of [
    ['its own rack', 'a'],
    ['no rack', ''],
  ] as const)
    test(`answers ${what} itself`, () => {
      const { fetch } = bed();
      const [answer] = fetch(0, rack);
      assert.equal(answer!.preferredReadReplica ?? -1, -1);
      assert.equal(answer!.records?.byteLength, 3 * recordBytes);
    });
});

test('a leader sends nobody away who does not say whom he takes for it', () => {
  const { fetch } = bed();
  const [answer] = fetch(0, 'b', {}, -1);
  assert.equal(answer!.preferredReadReplica ?? -1, -1);
  assert.equal(answer!.records?.byteLength, 3 * recordBytes);
});

describe('a broker that does not lead', () => {
  test('serves a reader that names a rack', () => {
    const { fetch, there } = bed();
    const [answer] = fetch(1, 'a');
    assert.equal(answer!.errorCode, 0);
    assert.equal(answer!.preferredReadReplica ?? -1, -1);
    assert.equal(answer!.records?.byteLength, 3 * recordBytes);
    assert.equal(there.watchers.size, 0, 'nothing is watched of what may be gone');
  });

  for (const [what, rack, more, epoch] of [
    ['none that names no rack', '', {}, 0],
    ['none that knows no leader epoch', 'a', {}, -1],
  ] as const)
    test(`serves ${what}`, () => {
      const { fetch } = bed();
      assert.equal(fetch(1, rack, more, epoch)[0]!.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER);
    });

  test('judges the epoch as a leader does', () => {
    const { fetch, there } = bed();
    there.epochs = [{ epoch: 3, startOffset: 0 }];
    assert.equal(fetch(1, 'a', {}, 2)[0]!.errorCode, ErrorCode.FENCED_LEADER_EPOCH);
    assert.equal(fetch(1, 'a', {}, 4)[0]!.errorCode, ErrorCode.UNKNOWN_LEADER_EPOCH);
    assert.equal(fetch(1, 'a', {}, 3)[0]!.errorCode, 0);
  });

  test('answers what no room is left for with its offsets, not with an error', () => {
    const { fetch, there } = bed();
    const partitions = [wanted(0), wanted(1)];
    const topics = [{ topic: 't', partitions }] as unknown as FetchRequest['topics'];
    // The first fills it.
    const [first, second] = fetch(0, 'a', { maxBytes: 2 * recordBytes, topics });
    assert.equal(first!.records?.byteLength, 2 * recordBytes);
    assert.deepEqual([second!.errorCode, second!.highWatermark, second!.records?.byteLength], [0, 100, 0]);
    assert.equal(there.reads, 0);
  });
});

test('bytes are counted by where their reader is', () => {
  const { fetch, fetched } = bed();
  fetch(0, 'a');
  fetch(0, '');
  fetch(1, 'b');
  assert.deepEqual(fetched, [
    [3 * recordBytes, 'own'],
    [3 * recordBytes, 'unknown'],
    [3 * recordBytes, 'other'],
  ]);
});

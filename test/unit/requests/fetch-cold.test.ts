/** Fetches that wait for older data: how long, what they say when it is late, and whom it is read for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type PartitionHandle,
  type ReadResult,
  type ReadSink,
  RecordRanges,
} from '../../../src/log/partition-handle.ts';
import type { FetchResponseInput } from '../../../src/protocol/generated/fetch.ts';
import { fetchHandler } from '../../../src/requests/fetch.ts';
import { FetchSessionCache } from '../../../src/requests/support/fetch-session.ts';
import { ReadReplicas } from '../../../src/requests/support/read-replicas.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

interface Read {
  readonly offset: number;
  readonly deadline: number;
  readonly sink: ReadSink;
  readonly index: number;
}

function setUp() {
  const clock = new VirtualClock();
  const arena = new HeapArena({ segmentBytes: 4096, segmentCount: 4 });
  const reads: Read[] = [];
  const state = { error: 0, highWatermark: 100, lastStableOffset: 100, startOffset: 0 };
  const handle = {
    topicId: 'A'.repeat(22),
    partition: 0,
    leaderEpoch: 0,
    live: true,
    ...state,
    read: (offset: number, _max: number, _one: boolean, deadline: number, sink: ReadSink, index: number) =>
      reads.push({ offset, deadline, sink, index }),
    sent: () => {},
    watch: () => {},
    unwatch: () => {},
  } as unknown as PartitionHandle;
  const topic = { topicId: handle.topicId, name: 't', partitions: [{}] };
  const topics = {
    topicByName: () => topic,
    topicById: () => topic,
    partition: () => handle,
  } as unknown as TopicDirectory;
  const handler = fetchHandler({
    topics,
    sessions: new FetchSessionCache(10, 1000, clock, new SeededRandom(1)),
    clock,
    fetchBytesMax: 1 << 20,
    endpoint: () => ({ nodeId: 0, host: 'h', port: 1, rack: null }),
    replicas: new ReadReplicas(clock),
    observe: { fetched: () => {} },
  });
  let parked: ((gone: boolean) => void) | null = null;
  const answers: FetchResponseInput[] = [];
  const fetch = (session: { id: number; epoch: number }, offset: number | null, maxWaitMs: number) => {
    const partitions =
      offset === null
        ? []
        : [
            {
              topic: 't',
              partitions: [
                {
                  partition: 0,
                  fetchOffset: offset,
                  partitionMaxBytes: 1000,
                  currentLeaderEpoch: -1,
                  lastFetchedEpoch: -1,
                },
              ],
            },
          ];
    const context = {
      apiVersion: 12,
      clientId: 'c',
      clientHost: '/here',
      connectionId: 77,
      listener: 'plain',
      principal: 'User:ANONYMOUS',
      may: () => true,
      close: () => {},
      whileParked: (over: (gone: boolean) => void) => {
        parked = over;
      },
    };
    const request = {
      rackId: '',
      maxWaitMs,
      minBytes: 1,
      maxBytes: 1 << 20,
      sessionId: session.id,
      sessionEpoch: session.epoch,
      topics: partitions,
      forgottenTopicsData: [],
      isolationLevel: 0,
    };
    handler.handle(context as never, request as never, (answer) => answers.push(answer!));
  };
  const late = (): ReadResult => ({ ...state, records: null });
  const found = (): ReadResult => {
    const records = new RecordRanges(arena, () => {});
    records.adopt(0, 100);
    return { ...state, records };
  };
  return { clock, reads, answers, fetch, late, found, close: () => parked!(true) };
}

test('older data may take half a second, or as long as the client waits', () => {
  const { clock, reads, fetch } = setUp();
  fetch({ id: 0, epoch: 0 }, 5, 10);
  assert.equal(reads[0]!.deadline, clock.monotonic() + 500);
  fetch({ id: 0, epoch: 0 }, 5, 3000);
  assert.equal(reads[1]!.deadline, clock.monotonic() + 3000);
});

test('data that was late is answered empty, and read again with the next fetch of the session', () => {
  const { clock, reads, answers, fetch, late, found } = setUp();
  fetch({ id: 0, epoch: 0 }, 5, 600);
  clock.advance(600);
  reads[0]!.sink.onRead(reads[0]!.index, late());
  assert.equal(answers.length, 1);
  const [answer] = answers;
  assert.equal(answer!.responses![0]!.partitions![0]!.errorCode, 0);
  // Nothing changed and nothing is asked for by name: the partition is still owed what was late.
  fetch({ id: answer!.sessionId!, epoch: 1 }, null, 600);
  assert.equal(reads.length, 2);
  assert.equal(reads[1]!.offset, 5);
  reads[1]!.sink.onRead(reads[1]!.index, found());
  clock.advance(600);
  assert.equal(answers.length, 2);
  assert.equal(answers[1]!.responses![0]!.partitions![0]!.records!.byteLength, 100);
});

test('a read says for which connection it is, and when that has closed', () => {
  const { reads, answers, fetch, found, close } = setUp();
  fetch({ id: 0, epoch: 0 }, 5, 600);
  const caller = reads[0]!.sink.caller!(reads[0]!.index);
  assert.deepEqual([caller.reader, caller.gone()], [77, false]);
  close();
  assert.equal(caller.gone(), true);
  reads[0]!.sink.onRead(reads[0]!.index, found());
  assert.equal(answers.length, 0);
});

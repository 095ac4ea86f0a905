/** Requests for partitions that are open on another broker, and the hints that go with the refusal (KIP-951). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SharePartitionsApi } from '../../../src/log/share/share-api.ts';
import { nothingAcquired } from '../../../src/log/share/share-partition.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { DescribeProducersCodec } from '../../../src/protocol/generated/describe-producers.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { OffsetForLeaderEpochCodec } from '../../../src/protocol/generated/offset-for-leader-epoch.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { ShareAcknowledgeCodec } from '../../../src/protocol/generated/share-acknowledge.ts';
import { ShareFetchCodec } from '../../../src/protocol/generated/share-fetch.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { portableRecordWalk } from '../../../src/protocol/records/record-walk.ts';
import { deleteRecordsHandler } from '../../../src/requests/delete-records.ts';
import { describeProducersHandler } from '../../../src/requests/describe-producers.ts';
import { fetchHandler } from '../../../src/requests/fetch.ts';
import { listOffsetsHandler } from '../../../src/requests/list-offsets.ts';
import { offsetForLeaderEpochHandler } from '../../../src/requests/offset-for-leader-epoch.ts';
import { produceHandler } from '../../../src/requests/produce.ts';
import { shareAcknowledgeHandler } from '../../../src/requests/share-acknowledge.ts';
import { shareFetchHandler } from '../../../src/requests/share-fetch.ts';
import { ClusterView } from '../../../src/requests/support/cluster-view.ts';
import { FetchSessionCache } from '../../../src/requests/support/fetch-session.ts';
import { ReadReplicas } from '../../../src/requests/support/read-replicas.ts';
import { ShareSessions } from '../../../src/requests/support/share-session.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { loopRecordWork } from '../../support/record-work.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { call, catalog, ErrorCode, FakeControl } from './admin-fixtures.ts';
import {
  addressOf,
  ownEndpoint as endpoint,
  own,
  peer,
  plainPeer,
  ThreeBrokers,
  tlsListener,
} from './cluster-fixtures.ts';

const { NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, NONE } = ErrorCode;
const unknownLeader = { leaderId: -1, leaderEpoch: -1 };

/** Partition 0 is here, 1 on a peer, 2 on one without the listener for TLS, 3 closed, 4 here as the image says, but closing. */
function rig() {
  const topics = new ThreeBrokers();
  const id = topics.add('a', 5);
  topics.move(id, 1, peer);
  topics.move(id, 2, plainPeer);
  topics.close(id, 3);
  topics.partitions.delete(`${id}/4`);
  const clock = new VirtualClock();
  const arena = new HeapArena({ segmentBytes: 65_536, segmentCount: 2 });
  const observe = { fetched() {}, request() {}, answered() {}, produced() {}, refused() {} };
  return { topics, id, clock, arena, observe };
}

function produceWith({ topics, clock, arena, observe }: ReturnType<typeof rig>) {
  return produceHandler({
    topics,
    arena,
    clock,
    crc32c: javascriptCrc32c,
    walk: portableRecordWalk,
    recordWork: loopRecordWork(arena, clock),
    allocate: () => -1,
    appended() {},
    appendFailed() {},
    congestion: () => 0,
    batchBytesMax: 1 << 20,
    observe,
    endpoint,
  });
}

function produced(version: number, listener?: string) {
  const made = rig();
  const { id } = made;
  const handler = produceWith(made);
  const partitionData = [1, 2, 3, 4].map((index) => ({ index, records: Buffer.alloc(1) }));
  const topic = version >= 13 ? { topicId: id } : { name: 'a' };
  const input = { acks: -1, timeoutMs: 1000, topicData: [{ ...topic, partitionData }] };
  return call(handler, ProduceCodec, version, input, listener);
}

function fetched(version: number, wanted: readonly (readonly [number, number])[], listener?: string) {
  const { topics, id, clock, observe } = rig();
  const sessions = new FetchSessionCache(10, 1000, clock, new SeededRandom(1));
  const handler = fetchHandler({
    topics,
    sessions,
    clock,
    fetchBytesMax: 1 << 20,
    endpoint,
    replicas: new ReadReplicas(clock),
    observe,
  });
  const partitions = wanted.map(([partition, currentLeaderEpoch]) => ({
    partition,
    currentLeaderEpoch,
    fetchOffset: 0,
    partitionMaxBytes: 1000,
  }));
  const topic = version >= 13 ? { topicId: id, partitions } : { topic: 'a', partitions };
  return call(handler, FetchCodec, version, { maxWaitMs: 0, minBytes: 1, topics: [topic] }, listener);
}

describe('Produce for partitions of other brokers', () => {
  const told = async (version: number, listener?: string) => {
    const { responses, nodeEndpoints } = await produced(version, listener);
    const partitions = responses[0]!.partitionResponses;
    assert.deepEqual(
      new Set(partitions.map(({ errorCode }) => errorCode)),
      new Set([NOT_LEADER_OR_FOLLOWER]),
    );
    return [partitions.map(({ currentLeader }) => currentLeader), nodeEndpoints];
  };

  it('says who leads, where another broker that is reached does', async () => {
    const there = { leaderId: peer, leaderEpoch: 4 };
    for (const version of [10, 12, 13]) {
      assert.deepEqual(await told(version), [
        [there, { leaderId: plainPeer, leaderEpoch: 4 }, unknownLeader, unknownLeader],
        [addressOf(peer), addressOf(plainPeer)],
      ]);
      assert.deepEqual(await told(version, tlsListener), [
        [there, unknownLeader, unknownLeader, unknownLeader],
        [addressOf(peer, 9093)],
      ]);
    }
  });

  it('says nothing of it before v10', async () => {
    assert.deepEqual(await told(9), [Array(4).fill(unknownLeader), []]);
  });
});

describe('Produce while its partition leaves', () => {
  function leaving() {
    const made = rig();
    const { topics, id, clock } = made;
    topics.assign(id, 4, peer);
    const handler = produceWith(made);
    const state = { told: null as unknown };
    const ask = (version: number): void => {
      const input = {
        acks: -1,
        timeoutMs: 1000,
        topicData: [
          {
            ...(version >= 13 ? { topicId: id } : { name: 'a' }),
            partitionData: [{ index: 4, records: Buffer.alloc(1) }],
          },
        ],
      };
      state.told = null;
      void call(handler, ProduceCodec, version, input).then(({ responses, nodeEndpoints }) => {
        const { errorCode, currentLeader } = responses[0]!.partitionResponses[0]!;
        state.told = [errorCode, currentLeader.leaderId, nodeEndpoints.map(({ nodeId }) => nodeId)];
      });
    };
    const settle = () => new Promise((resolve) => setImmediate(resolve));
    return { topics, id, clock, state, ask, settle };
  }

  it('waits until the other has it, and is told so', async () => {
    const { topics, id, clock, state, ask, settle } = leaving();
    ask(13);
    topics.close(id, 4);
    topics.changed();
    clock.advance(100);
    await settle();
    assert.equal(state.told, null);
    topics.move(id, 4, peer);
    topics.changed();
    await settle();
    assert.deepEqual(state.told, [NOT_LEADER_OR_FOLLOWER, peer, [peer]]);
    assert.equal(topics.watchers.size, 0);
  });

  it('waits no longer than 150 ms, nor for a broker that is gone, a move that is given up, or a deleted topic', async () => {
    const { topics, id, clock, state, ask, settle } = leaving();
    const refused = [NOT_LEADER_OR_FOLLOWER, -1, []];
    ask(10);
    clock.advance(149);
    await settle();
    assert.equal(state.told, null);
    clock.advance(1);
    await settle();
    assert.deepEqual(state.told, refused);
    for (const end of [
      () => topics.set(peer, 'fenced'),
      () => topics.assign(id, 4, own),
      () => topics.builder.apply([{ type: 'topicDeleted', topicId: id }]),
    ]) {
      topics.assign(id, 4, plainPeer);
      topics.assign(id, 4, topics.image.brokers.get(peer)!.state === 'fenced' ? plainPeer : peer);
      ask(10);
      await settle();
      assert.equal(state.told, null);
      end();
      topics.changed();
      await settle();
      assert.deepEqual(state.told, refused);
    }
    assert.equal(topics.watchers.size, 0);
  });

  it('does not wait where no hint can be told, or this broker is not the one that has it', async () => {
    const { topics, id, state, ask, settle } = leaving();
    ask(9);
    await settle();
    assert.deepEqual(state.told, [NOT_LEADER_OR_FOLLOWER, -1, []]);
    topics.move(id, 4, plainPeer);
    topics.assign(id, 4, peer);
    ask(10);
    await settle();
    assert.deepEqual(state.told, [NOT_LEADER_OR_FOLLOWER, plainPeer, [plainPeer]]);
  });
});

describe('Fetch for partitions of other brokers', () => {
  const elsewhere = [1, 2, 3, 4].map((partition) => [partition, -1] as const);
  const told = async (version: number, wanted: readonly (readonly [number, number])[], listener?: string) => {
    const { responses, nodeEndpoints } = await fetched(version, wanted, listener);
    return [
      responses[0]!.partitions.map(({ errorCode, currentLeader: { leaderId, leaderEpoch } }) => [
        errorCode,
        leaderId,
        leaderEpoch,
      ]),
      nodeEndpoints.map(({ nodeId, port }) => [nodeId, port]),
    ];
  };

  it('says who leads, where another broker that is reached does', async () => {
    const refused = (leader: number, epoch: number) => [NOT_LEADER_OR_FOLLOWER, leader, epoch];
    const nobody = refused(-1, -1);
    for (const version of [16, 18]) {
      assert.deepEqual(await told(version, elsewhere), [
        [refused(peer, 4), refused(plainPeer, 4), nobody, nobody],
        [
          [peer, 9092],
          [plainPeer, 9092],
        ],
      ]);
      assert.deepEqual(await told(version, elsewhere, tlsListener), [
        [refused(peer, 4), nobody, nobody, nobody],
        [[peer, 9093]],
      ]);
    }
    for (const version of [12, 13, 15]) {
      assert.deepEqual(await told(version, elsewhere), [[nobody, nobody, nobody, nobody], []]);
    }
  });

  it('tells who comes with an old epoch the new one, by the name of this broker', async () => {
    const fenced = [[0, 2]] as const;
    assert.deepEqual(await told(16, fenced), [[[FENCED_LEADER_EPOCH, own, 3]], [[own, 9092]]]);
    assert.deepEqual(await told(15, fenced), [[[FENCED_LEADER_EPOCH, -1, -1]], []]);
    const ahead = [[0, 9]] as const;
    assert.deepEqual(await told(16, ahead), [[[ErrorCode.UNKNOWN_LEADER_EPOCH, -1, -1]], []]);
  });
});

describe('share requests for partitions of other brokers', () => {
  /** Acquires nothing, and answers with this error for all partitions but the first. */
  const shares = (acquire: number, acknowledge: number): SharePartitionsApi => ({
    settings: () => ({
      lockMs: 1,
      deliveriesMax: 1,
      locksMax: 1,
      committed: false,
      reset: { kind: 'latest' } as never,
      renewals: false,
    }),
    acquire: (_group, _member, partitions, _limits, done) =>
      done(partitions.map(({ partition }) => ({ ...nothingAcquired, error: partition === 0 ? 0 : acquire }))),
    acknowledge: (_group, _member, partitions, done) =>
      done(partitions.map(({ partition }) => (partition === 0 ? 0 : acknowledge))),
    giveBack() {},
    release: (_group, _member, _partitions, done) => done(),
    left() {},
    wait: (_group, _partitions, _waitMs, done) => done(),
  });

  function shareRig(acquire: number, acknowledge: number) {
    const { topics, id, clock, arena, observe } = rig();
    const api = shares(acquire, acknowledge);
    const cluster = new ClusterView({ topics, endpoint });
    const deps = { topics, shares: api, shareSessions: new ShareSessions(api, 10), cluster };
    const fetch = shareFetchHandler({ ...deps, arena, clock, fetchBytesMax: 1000, observe });
    const member = { groupId: 'g', memberId: 'm' };
    const batches = [{ firstOffset: 0, lastOffset: 0, acknowledgeTypes: [1] }];
    const wanted = (partitions: readonly number[], acknowledging: boolean) => [
      {
        topicId: id,
        partitions: partitions.map((partitionIndex) => ({
          partitionIndex,
          acknowledgementBatches: acknowledging ? batches : [],
        })),
      },
    ];
    const limits = { maxWaitMs: 0, minBytes: 0, maxBytes: 1000, maxRecords: 10 };
    return {
      fetch: (shareSessionEpoch: number, partitions: readonly number[], acknowledging = false) =>
        call(fetch, ShareFetchCodec, 2, {
          ...member,
          ...limits,
          shareSessionEpoch,
          topics: wanted(partitions, acknowledging),
        }),
      acknowledge: (partitions: readonly number[]) =>
        call(shareAcknowledgeHandler(deps), ShareAcknowledgeCodec, 2, {
          ...member,
          shareSessionEpoch: 1,
          topics: wanted(partitions, true),
        }),
    };
  }

  interface Hinted {
    readonly errorCode: number;
    readonly acknowledgeErrorCode?: number;
    readonly currentLeader: { readonly leaderId: number; readonly leaderEpoch: number };
  }
  const told = (partitions: readonly Hinted[], nodes: readonly { readonly nodeId: number }[]) => [
    partitions.map(({ errorCode, acknowledgeErrorCode, currentLeader }) => [
      errorCode,
      acknowledgeErrorCode ?? 0,
      currentLeader.leaderId,
      currentLeader.leaderEpoch,
    ]),
    nodes.map(({ nodeId }) => nodeId),
  ];

  it('ShareFetch says who leads', async () => {
    const { fetch } = shareRig(NOT_LEADER_OR_FOLLOWER, NONE);
    const { responses, nodeEndpoints } = await fetch(0, [1, 2, 3, 4]);
    assert.deepEqual(told(responses[0]!.partitions, nodeEndpoints), [
      [
        [NOT_LEADER_OR_FOLLOWER, 0, peer, 4],
        [NOT_LEADER_OR_FOLLOWER, 0, plainPeer, 4],
        [NOT_LEADER_OR_FOLLOWER, 0, -1, -1],
        [NOT_LEADER_OR_FOLLOWER, 0, -1, -1],
      ],
      [peer, plainPeer],
    ]);
    assert.equal(responses[0]!.partitions[0]!.records?.byteLength ?? 0, 0);
  });

  it('ShareFetch says who leads where only its acknowledgements went wrong', async () => {
    const { fetch } = shareRig(NONE, NOT_LEADER_OR_FOLLOWER);
    await fetch(0, [1]);
    const { responses, nodeEndpoints } = await fetch(1, [1], true);
    assert.deepEqual(told(responses[0]!.partitions, nodeEndpoints), [
      [[0, NOT_LEADER_OR_FOLLOWER, peer, 4]],
      [peer],
    ]);
  });

  it('ShareAcknowledge says who leads, and nothing where nothing is wrong', async () => {
    const { fetch, acknowledge } = shareRig(NONE, NOT_LEADER_OR_FOLLOWER);
    await fetch(0, [0]);
    const { responses, nodeEndpoints } = await acknowledge([0, 1, 4]);
    assert.deepEqual(told(responses[0]!.partitions, nodeEndpoints), [
      [
        [0, 0, -1, -1],
        [NOT_LEADER_OR_FOLLOWER, 0, peer, 4],
        [NOT_LEADER_OR_FOLLOWER, 0, -1, -1],
      ],
      [peer],
    ]);
  });
});

describe('other requests for partitions of other brokers', () => {
  it('are NOT_LEADER_OR_FOLLOWER', async () => {
    const { topics, clock } = rig();
    const control = new FakeControl();
    const admin = { topics, catalog, control, nodeId: own, clock, logger: silentLogger };
    const offsets = await call(
      listOffsetsHandler({ topics, clock, leased: () => true }),
      ListOffsetsCodec,
      9,
      {
        replicaId: -1,
        topics: [{ name: 'a', partitions: [{ partitionIndex: 1, currentLeaderEpoch: -1, timestamp: -1 }] }],
      },
    );
    const epochs = await call(offsetForLeaderEpochHandler({ topics }), OffsetForLeaderEpochCodec, 4, {
      topics: [{ topic: 'a', partitions: [{ partition: 1, currentLeaderEpoch: -1, leaderEpoch: 1 }] }],
    });
    const deleted = await call(deleteRecordsHandler(admin), DeleteRecordsCodec, 2, {
      topics: [{ name: 'a', partitions: [{ partitionIndex: 1, offset: 1 }] }],
      timeoutMs: 1000,
    });
    const producers = await call(describeProducersHandler({ topics }), DescribeProducersCodec, 0, {
      topics: [{ name: 'a', partitionIndexes: [1] }],
    });
    const errors = [
      offsets.topics[0]!.partitions[0]!,
      epochs.topics[0]!.partitions[0]!,
      deleted.topics[0]!.partitions[0]!,
      producers.topics[0]!.partitions[0]!,
    ].map(({ errorCode }) => errorCode);
    assert.deepEqual(errors, Array(4).fill(NOT_LEADER_OR_FOLLOWER));
    assert.deepEqual(control.moves, []);
  });
});

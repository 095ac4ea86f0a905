/** What goes to other brokers in one request, what becomes of each part of it, and to whom. */
import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import type { VersionedMarker } from '../../../src/coordinator/transaction/transaction-markers.ts';
import { OtherBrokers } from '../../../src/interbroker/other-brokers.ts';
import { defaultPeerTimes } from '../../../src/interbroker/peer-line.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ScriptedPeer, type ScriptedRequest } from '../../support/scripted-peer.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const longestPauseMs = 1.5 * defaultPeerTimes.pauseMsMax;

let clock: VirtualClock;
let peer: ScriptedPeer;
let image: ImageBuilder;
let others: OtherBrokers;
/** Requests that wait for the test's answer, but those of introductions. */
let requests: ScriptedRequest[];

const marker = (producerId: number, changes: Partial<VersionedMarker> = {}): VersionedMarker => ({
  producerId,
  producerEpoch: 4,
  coordinatorEpoch: 9,
  committed: true,
  transactionVersion: 2,
  ...changes,
});

function registered(node: number, epoch: number, port: number): MetadataChange {
  const endpoints = [
    { listener: 'internal', tls: false, host: `host-${node}`, port },
    { listener: 'plain', tls: false, host: 'public', port: 9092 },
  ];
  return { type: 'broker', node, epoch, endpoints, rack: null };
}

function change(...changes: MetadataChange[]): void {
  image.apply(changes);
  others.imageChanged(changes);
}

beforeEach(() => {
  clock = new VirtualClock();
  peer = new ScriptedPeer((fn) => clock.soon(fn));
  requests = [];
  peer.onRequest = (request) => requests.push(request);
  image = new ImageBuilder();
  image.apply([
    { type: 'cluster', clusterId: 'cluster', createdMs: 1 },
    registered(1, 1, 9001),
    registered(2, 1, 9002),
  ]);
  others = new OtherBrokers({
    nodeId: 0,
    image: () => image.image,
    dial: peer.dial,
    clock,
    random: new SeededRandom(3),
    logger: silentLogger,
    observe: { asked() {}, answered() {}, connections() {} },
  });
});

/** Answers the oldest request that waits. */
function answer(body: (request: ScriptedRequest['body']) => object): void {
  const request = requests.shift()!;
  const connection = peer.connections.find((each) => each.requests.includes(request))!;
  connection.answer(request, body(request.body));
  clock.runSoon();
}

type MarkersBody = {
  markers: { producerId: number; topics: { name: string; partitionIndexes: number[] }[] }[];
};

/** Every partition of every marker with the error of its number. */
const markersAnswer =
  (errorOf: (topic: string, partition: number, producerId: number) => number) =>
  ({ markers }: MarkersBody): object => ({
    markers: markers.map(({ producerId, topics }) => ({
      producerId,
      topics: topics.map(({ name, partitionIndexes }) => ({
        name,
        partitions: partitionIndexes.map((partitionIndex) => ({
          partitionIndex,
          errorCode: errorOf(name, partitionIndex, producerId),
        })),
      })),
    })),
  });

describe('markers for other brokers', () => {
  const sent = new Map<string, number>();
  beforeEach(() => sent.clear());

  function send(node: number, topic: string, partition: number, of: VersionedMarker): void {
    const key = `${topic} ${partition} ${of.producerId} ${of.producerEpoch}`;
    others.markers.send(node, topic, partition, of, (error) => {
      assert(!sent.has(key), 'told twice');
      sent.set(key, error);
    });
  }

  it('go in one request a peer and turn, those of one transaction together, and each is told its own end', () => {
    send(1, 'a', 0, marker(7));
    send(1, 'a', 1, marker(7));
    send(1, 'b', 0, marker(7));
    send(1, 'a', 0, marker(8, { committed: false, transactionVersion: 0 }));
    send(2, 'a', 2, marker(7));
    clock.runSoon();
    assert.equal(requests.length, 2);
    assert.deepEqual(requests[0]!.body, {
      markers: [
        {
          producerId: 7,
          producerEpoch: 4,
          coordinatorEpoch: 9,
          transactionResult: true,
          transactionVersion: 2,
          topics: [
            { name: 'a', partitionIndexes: [0, 1] },
            { name: 'b', partitionIndexes: [0] },
          ],
        },
        {
          producerId: 8,
          producerEpoch: 4,
          coordinatorEpoch: 9,
          transactionResult: false,
          transactionVersion: 0,
          topics: [{ name: 'a', partitionIndexes: [0] }],
        },
      ],
    });
    assert.deepEqual(
      peer.connections.map(({ target }) => [target.host, target.port]),
      [
        ['host-1', 9001],
        ['host-2', 9002],
      ],
    );
    answer(
      markersAnswer((topic, partition, producerId) =>
        producerId === 8
          ? ErrorCode.TRANSACTION_COORDINATOR_FENCED
          : topic === 'b'
            ? ErrorCode.INVALID_PRODUCER_EPOCH
            : partition === 1
              ? ErrorCode.KAFKA_STORAGE_ERROR
              : ErrorCode.NONE,
      ),
    );
    assert.deepEqual(Object.fromEntries(sent), {
      'a 0 7 4': ErrorCode.NONE,
      'a 1 7 4': ErrorCode.KAFKA_STORAGE_ERROR,
      'b 0 7 4': ErrorCode.INVALID_PRODUCER_EPOCH,
      'a 0 8 4': ErrorCode.TRANSACTION_COORDINATOR_FENCED,
    });
  });

  it('are to be tried again after whatever may pass: a topic that the peer does not know yet, a coordinator that loads', () => {
    const passing: number[] = [
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      ErrorCode.NOT_COORDINATOR,
      ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
      ErrorCode.COORDINATOR_NOT_AVAILABLE,
      ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ];
    for (const partition of passing.keys()) send(1, 't', partition, marker(7));
    clock.runSoon();
    answer(markersAnswer((_topic, partition) => passing[partition]!));
    assert.deepEqual(
      [...sent.values()],
      passing.map(() => ErrorCode.NOT_LEADER_OR_FOLLOWER),
    );
  });

  it('and with an answer that leaves them out, or is about others', () => {
    send(1, 't', 0, marker(7));
    send(1, 't', 1, marker(7));
    send(1, 't', 0, marker(8));
    clock.runSoon();
    answer(() => ({
      markers: [
        { producerId: 7, topics: [{ name: 't', partitions: [{ partitionIndex: 0, errorCode: 0 }] }] },
        { producerId: 7, topics: [{ name: 't', partitions: [{ partitionIndex: 0, errorCode: 0 }] }] },
      ],
    }));
    assert.deepEqual(Object.fromEntries(sent), {
      't 0 7 4': ErrorCode.NONE,
      't 1 7 4': ErrorCode.NOT_LEADER_OR_FOLLOWER,
      't 0 8 4': ErrorCode.NOT_LEADER_OR_FOLLOWER,
    });
  });

  it('of one producer for one partition are never on their way twice', () => {
    send(1, 't', 0, marker(7));
    clock.runSoon();
    send(1, 't', 0, marker(7, { producerEpoch: 5 }));
    send(1, 't', 0, marker(7, { producerEpoch: 6 }));
    send(1, 't', 1, marker(7));
    clock.runSoon();
    const partitions = (): unknown => requests.map(({ body }) => body.markers[0].topics[0].partitionIndexes);
    assert.deepEqual(partitions(), [[0], [1]]);
    answer(markersAnswer(() => 0));
    assert.deepEqual(partitions(), [[1], [0]]);
    assert.equal(requests[1]!.body.markers[0].producerEpoch, 5);
    answer(markersAnswer(() => 0));
    answer(markersAnswer(() => 0));
    assert.equal(requests[0]!.body.markers[0].producerEpoch, 6);
  });

  it('gather while four requests are under way, up to 2,048 partitions, and are refused beyond 16,384', () => {
    for (let i = 0; i < 6; i++) {
      send(1, 't', i, marker(7));
      clock.runSoon();
    }
    assert.equal(requests.length, 4);
    for (let i = 6; i < 6 + 2_100; i++) send(1, 't', i, marker(7));
    answer(markersAnswer(() => 0));
    assert.equal(requests.length, 4);
    assert.equal(requests[3]!.body.markers[0].topics[0].partitionIndexes.length, 2_048);
    answer(markersAnswer(() => 0));
    assert.equal(requests[3]!.body.markers[0].topics[0].partitionIndexes.length, 2_102 - 2_048);
    for (let i = 0; i < 16_384; i++) send(1, 'u', i, marker(7));
    const refused = [...sent.values()].filter((error) => error !== 0).length;
    assert.equal(refused, 0);
    send(1, 'u', 20_000, marker(7));
    assert.equal(sent.get('u 20000 7 4'), ErrorCode.NOT_LEADER_OR_FOLLOWER);
  });
});

describe('the brokers that there are', () => {
  it('are asked where the image says, and nobody else', () => {
    const ends: number[] = [];
    const send = (node: number): void =>
      others.markers.send(node, 't', 0, marker(7), (error) => void ends.push(error));
    send(5);
    clock.runSoon();
    assert.deepEqual(ends, [ErrorCode.NOT_LEADER_OR_FOLLOWER], 'nobody knows it');
    assert.equal(peer.connections.length, 0);
    change({ type: 'brokerState', node: 2, epoch: 1, state: 'draining' });
    send(2);
    clock.runSoon();
    assert.equal(requests.length, 1, 'who leaves still answers');
    change({ type: 'brokerState', node: 2, epoch: 1, state: 'fenced' });
    assert.deepEqual(ends.slice(1), [ErrorCode.NOT_LEADER_OR_FOLLOWER], 'nobody waits for the fenced one');
    assert.equal(peer.newest.destroyed, true);
    send(2);
    clock.runSoon();
    assert.equal(ends.length, 3);
    assert.equal(peer.connections.length, 1);
  });

  it('are reached anew under a new registration, at its address', () => {
    const ends: number[] = [];
    others.markers.send(1, 't', 0, marker(7), (error) => void ends.push(error));
    clock.runSoon();
    change(registered(2, 2, 9002));
    assert.equal(peer.newest.destroyed, false, 'another one was registered');
    change(registered(1, 2, 9011));
    assert.equal(ends[0], ErrorCode.NOT_LEADER_OR_FOLLOWER);
    assert.equal(peer.newest.destroyed, true);
    requests.length = 0;
    others.markers.send(1, 't', 0, marker(7), (error) => void ends.push(error));
    clock.runSoon();
    assert.equal(peer.newest.target.port, 9011);
    answer(markersAnswer(() => 0));
    assert.equal(ends[1], 0);
  });

  it('have a connection for each purpose, so that none waits for another kind of answer', () => {
    others.markers.send(1, 't', 0, marker(7), () => {});
    others.ends.ask(1, 't', 0, () => {});
    others.states.ask(1, { do: 'summary', key: { groupId: 'g', topicId: idA, partition: 0 } }, () => {});
    clock.runSoon();
    assert.equal(peer.connections.length, 3);
    others.close();
    assert(peer.connections.every(({ destroyed }) => destroyed));
    let told = -2;
    others.ends.ask(1, 't', 0, (end) => {
      told = end;
    });
    clock.runSoon();
    assert.equal(told, -1);
    assert.equal(clock.timers, 0);
  });
});

describe('questions about transactions', () => {
  const told: string[] = [];
  beforeEach(() => {
    told.length = 0;
  });

  function ask(
    transactionalId: string,
    partition: number,
    changes: { add?: boolean; epoch?: number } = {},
  ): void {
    const { add = true, epoch = 3 } = changes;
    const transaction = { transactionalId, producerId: 7, producerEpoch: epoch, add, abortable: true };
    others.transactions.ask(1, transaction, { topicId: 'id', topic: 't', partition }, (error) =>
      told.push(`${transactionalId} ${partition} ${add ? 'add' : 'ask'} ${epoch}: ${error}`),
    );
  }

  type Body = {
    transactions: {
      transactionalId: string;
      verifyOnly: boolean;
      producerEpoch: number;
      topics: { name: string; partitions: number[] }[];
    }[];
  };
  const gathered = (at: number): string[] =>
    (requests[at]!.body as Body).transactions.map(
      ({ transactionalId, verifyOnly, producerEpoch, topics }) =>
        `${transactionalId} ${verifyOnly ? 'ask' : 'add'} ${producerEpoch} ${topics[0]!.partitions}`,
    );
  const answered =
    (errorOf: (id: string, partition: number) => number) =>
    ({ transactions }: Body): object => ({
      resultsByTransaction: transactions.map(({ transactionalId, topics }) => ({
        transactionalId,
        topicResults: topics.map(({ name, partitions }) => ({
          name,
          resultsByPartition: partitions.map((partitionIndex) => ({
            partitionIndex,
            partitionErrorCode: errorOf(transactionalId, partitionIndex),
          })),
        })),
      })),
    });

  it('gather by transaction and by what is asked, and each partition is told its own', () => {
    ask('x', 0);
    ask('x', 1);
    ask('y', 0, { add: false });
    ask('x', 1);
    clock.runSoon();
    assert.equal(requests[0]!.apiVersion, 5);
    assert.deepEqual(gathered(0), ['x add 3 0,1', 'y ask 3 0']);
    answer(answered((id, partition) => (id === 'y' ? ErrorCode.TRANSACTION_ABORTABLE : partition * 51)));
    assert.deepEqual(told.sort(), ['x 0 add 3: 0', 'x 1 add 3: 51', 'x 1 add 3: 51', 'y 0 ask 3: 120']);
  });

  it('are under way for one transactional id at a time, in order', () => {
    ask('x', 0);
    clock.runSoon();
    ask('x', 1);
    ask('y', 0);
    ask('x', 2, { epoch: 4 });
    clock.runSoon();
    assert.equal(requests.length, 2);
    assert.deepEqual(gathered(1), ['y add 3 0']);
    answer(answered(() => 0));
    assert.deepEqual(gathered(1), ['x add 3 1', 'x add 4 2']);
  });

  it('are open when the coordinator was not reached, left them out, or refused the whole', () => {
    ask('x', 0);
    clock.runSoon();
    peer.newest.close('reset');
    assert.deepEqual(told, [`x 0 add 3: ${ErrorCode.COORDINATOR_NOT_AVAILABLE}`]);
    requests.length = 0;
    const replies: object[] = [
      { resultsByTransaction: [] },
      { errorCode: ErrorCode.CLUSTER_AUTHORIZATION_FAILED, resultsByTransaction: [] },
      { resultsByTransaction: [{ transactionalId: 'z', topicResults: [] }] },
      answered(() => ErrorCode.OPERATION_NOT_ATTEMPTED)({
        transactions: [
          {
            transactionalId: 'x',
            verifyOnly: false,
            producerEpoch: 3,
            topics: [{ name: 't', partitions: [0] }],
          },
        ],
      }),
    ];
    for (const reply of replies) {
      told.length = 0;
      ask('x', 0);
      clock.advance(longestPauseMs);
      answer(() => reply);
      assert.deepEqual(told, [`x 0 add 3: ${ErrorCode.COORDINATOR_NOT_AVAILABLE}`]);
    }
  });
});

const idA = 'AAAAAAAAAAAAAAAAAAAAAQ';
const idB = 'AAAAAAAAAAAAAAAAAAAAAg';

describe('questions about delivery states', () => {
  const key = (groupId: string, topicId: string, partition: number) => ({ groupId, topicId, partition });

  it('gather by kind and group; answers carry what each kind says', () => {
    const told: unknown[] = [];
    const done = (said: unknown): void => void told.push(said);
    others.states.ask(1, { do: 'read', key: key('g', idA, 0), leaderEpoch: 4 }, done);
    others.states.ask(1, { do: 'read', key: key('g', idB, 1), leaderEpoch: 5 }, done);
    others.states.ask(1, { do: 'read', key: key('h', idA, 0), leaderEpoch: 6 }, done);
    clock.runSoon();
    assert.deepEqual(
      requests.map(({ apiKey, body }) => [apiKey, body.groupId, body.topics.length]),
      [
        [84, 'g', 2],
        [84, 'h', 1],
      ],
    );
    assert.deepEqual(requests[0]!.body.topics[1], {
      topicId: idB,
      partitions: [{ partition: 1, leaderEpoch: 5 }],
    });
    const batch = { firstOffset: 10, lastOffset: 12, deliveryState: 2, deliveryCount: 1 };
    answer(() => ({
      results: [
        {
          topicId: idA,
          partitions: [{ partition: 0, stateEpoch: 2, startOffset: 10, stateBatches: [batch] }],
        },
        { topicId: idB, partitions: [{ partition: 1, errorCode: ErrorCode.FENCED_LEADER_EPOCH }] },
      ],
    }));
    answer(() => ({ results: [{ topicId: idB, partitions: [{ partition: 0 }] }] }));
    const state = {
      stateEpoch: 2,
      leaderEpoch: 4,
      startOffset: 10,
      deliveryCompleteCount: -1,
      batches: [batch],
    };
    assert.deepEqual(told, [
      { error: 0, state },
      { error: ErrorCode.FENCED_LEADER_EPOCH, state: null },
      { error: ErrorCode.COORDINATOR_NOT_AVAILABLE, state: null },
    ]);
  });

  it('state everything that they are about', () => {
    const write = { stateEpoch: 1, leaderEpoch: 2, startOffset: 3, deliveryCompleteCount: 4 };
    const batches = [{ firstOffset: 5, lastOffset: 6, deliveryState: 4, deliveryCount: 2 }];
    const told: unknown[] = [];
    const done = (said: unknown): void => void told.push(said);
    const at = key('g', idA, 0);
    others.states.ask(1, { do: 'initialize', key: at, stateEpoch: 7, startOffset: 8 }, done);
    others.states.ask(1, { do: 'write', key: at, write: { ...write, batches } }, done);
    others.states.ask(1, { do: 'summary', key: at }, done);
    others.states.ask(1, { do: 'delete', key: at }, done);
    clock.runSoon();
    const parts = requests.map(({ apiKey, body }) => [apiKey, body.topics[0].partitions[0]]);
    assert.deepEqual(parts, [
      [83, { partition: 0, stateEpoch: 7, startOffset: 8 }],
      [85, { partition: 0, ...write, stateBatches: batches }],
      [87, { partition: 0, leaderEpoch: 0 }],
      [86, { partition: 0 }],
    ]);
    const ok = (fields: object) => () => ({
      results: [{ topicId: idA, partitions: [{ partition: 0, ...fields }] }],
    });
    answer(ok({}));
    answer(ok({}));
    answer(ok({ stateEpoch: 1, leaderEpoch: 2, startOffset: 3, deliveryCompleteCount: 4 }));
    answer(ok({ errorCode: ErrorCode.NOT_COORDINATOR }));
    assert.deepEqual(told, [
      { error: 0, state: null },
      { error: 0, state: null },
      { error: 0, state: { ...write, batches: [] } },
      { error: ErrorCode.NOT_COORDINATOR, state: null },
    ]);
  });

  it('about one share partition are asked one after the other', () => {
    const done = (): void => {};
    const write = { stateEpoch: 1, leaderEpoch: 2, deliveryCompleteCount: 0, batches: [] };
    for (const startOffset of [1, 2, 3])
      others.states.ask(1, { do: 'write', key: key('g', idA, 0), write: { ...write, startOffset } }, done);
    clock.runSoon();
    const seen: number[] = [];
    while (requests.length > 0) {
      assert.equal(requests.length, 1);
      seen.push(requests[0]!.body.topics[0].partitions[0].startOffset);
      answer(() => ({ results: [] }));
    }
    assert.deepEqual(seen, [1, 2, 3]);
  });
});

describe('ends of logs', () => {
  it('are asked for once a turn, and are −1 where they cannot be learned', () => {
    const told: string[] = [];
    for (const partition of [0, 1, 2, 0])
      others.ends.ask(1, 't', partition, (end) => told.push(`${partition}: ${end}`));
    clock.runSoon();
    const [topic] = requests[0]!.body.topics;
    assert.deepEqual(
      topic.partitions.map(({ partitionIndex, timestamp }: { partitionIndex: number; timestamp: number }) => [
        partitionIndex,
        timestamp,
      ]),
      [
        [0, -1],
        [1, -1],
        [2, -1],
      ],
    );
    answer(() => ({
      topics: [
        {
          name: 't',
          partitions: [
            { partitionIndex: 0, offset: 42 },
            { partitionIndex: 1, errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, offset: 17 },
          ],
        },
      ],
    }));
    assert.deepEqual(told, ['0: 42', '1: -1', '2: -1', '0: 42']);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CoordinatorPlace } from '../../../src/coordinator/group/group-services.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { ApiVersionsCodec } from '../../../src/protocol/generated/api-versions.ts';
import { DescribeClusterCodec } from '../../../src/protocol/generated/describe-cluster.ts';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { DescribeQuorumCodec } from '../../../src/protocol/generated/describe-quorum.ts';
import { DescribeTopicPartitionsCodec } from '../../../src/protocol/generated/describe-topic-partitions.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { ListConfigResourcesCodec } from '../../../src/protocol/generated/list-config-resources.ts';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import { apiVersionsHandler } from '../../../src/requests/api-versions.ts';
import { describeClusterHandler } from '../../../src/requests/describe-cluster.ts';
import { describeConfigsHandler } from '../../../src/requests/describe-configs.ts';
import { describeQuorumHandler } from '../../../src/requests/describe-quorum.ts';
import { describeTopicPartitionsHandler } from '../../../src/requests/describe-topic-partitions.ts';
import { incrementalAlterConfigsHandler } from '../../../src/requests/incremental-alter-configs.ts';
import { listConfigResourcesHandler } from '../../../src/requests/list-config-resources.ts';
import { metadataHandler } from '../../../src/requests/metadata.ts';
import { ClusterView } from '../../../src/requests/support/cluster-view.ts';
import { coordinatorFinder } from '../../../src/requests/support/coordinator-places.ts';
import { TopicPieces } from '../../../src/requests/support/metadata-pieces.ts';
import { AutoTopics } from '../../../src/requests/support/topic-creation.ts';
import { HandClock, settle } from '../../support/store-fixtures.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { call, catalog, ErrorCode, FakeControl } from './admin-fixtures.ts';
import {
  addressOf,
  ownEndpoint as endpoint,
  endpointIn,
  oneRack,
  own,
  peer,
  plainPeer,
  rackEach,
  ThreeBrokers,
  tlsListener,
} from './cluster-fixtures.ts';

function rig(rackOf = oneRack) {
  const topics = new ThreeBrokers(rackOf);
  const endpoint = endpointIn(rackOf);
  const autoTopics = new AutoTopics({
    topics,
    control: new FakeControl(),
    logger: silentLogger,
    enabled: false,
    specOf: (name) => ({ name, partitions: 1, configs: {}, internal: false }),
  });
  const metadata = metadataHandler({ topics, autoTopics, endpoint, clock: new VirtualClock() });
  const cluster = describeClusterHandler({ topics, endpoint });
  const described = describeTopicPartitionsHandler({ topics, endpoint });
  return {
    topics,
    metadata: (version = 13, listener?: string) =>
      call(metadata, MetadataCodec, version, { topics: null }, listener),
    cluster: (includeFencedBrokers = false, listener?: string) =>
      call(cluster, DescribeClusterCodec, 2, { includeFencedBrokers }, listener),
    partitions: async () =>
      (await call(described, DescribeTopicPartitionsCodec, 0, { topics: [] })).topics[0]!.partitions,
  };
}

const nodes = (brokers: readonly { nodeId: number }[]) => brokers.map(({ nodeId }) => nodeId);

describe('Metadata of several brokers', () => {
  it('names every broker under the listener that was asked, with its rack, and no fenced one', async () => {
    const { topics, metadata } = rig(rackEach);
    const { brokers } = await metadata();
    assert.deepEqual(brokers, [addressOf(peer), addressOf(own), addressOf(plainPeer)]);
    assert.deepEqual((await metadata(13, tlsListener)).brokers, [
      addressOf(peer, 9093),
      addressOf(own, 9093),
    ]);
    topics.set(plainPeer, 'draining');
    assert.deepEqual(nodes((await metadata()).brokers), [peer, own, plainPeer]);
    topics.set(peer, 'fenced');
    assert.deepEqual(nodes((await metadata()).brokers), [own, plainPeer]);
    topics.set(own, 'fenced');
    assert.deepEqual(nodes((await metadata()).brokers), [plainPeer]);
  });

  it('names the controller, and this broker while nobody leads whom the client can reach', async () => {
    const { topics, metadata } = rig();
    assert.equal((await metadata()).controllerId, own);
    topics.lead(plainPeer);
    assert.equal((await metadata()).controllerId, plainPeer);
    assert.equal((await metadata(13, tlsListener)).controllerId, own);
    topics.set(plainPeer, 'fenced');
    assert.equal((await metadata()).controllerId, own);
    topics.set(own, 'fenced');
    assert.equal((await metadata()).controllerId, -1);
  });

  it('tells of each partition who leads it, wherever that is', async () => {
    const { topics, metadata } = rig();
    const id = topics.add('a', 4);
    topics.move(id, 1, peer);
    topics.move(id, 2, plainPeer);
    topics.close(id, 3);
    const told = async (version: number, listener?: string) =>
      (await metadata(version, listener)).topics[0]!.partitions.map((partition) => [
        partition.errorCode,
        partition.leaderId,
        partition.leaderEpoch,
        partition.replicaNodes,
        partition.isrNodes,
        partition.offlineReplicas,
      ]);
    const here = [0, own, 3, [own], [own], []];
    const there = [0, peer, 4, [peer], [peer], []];
    const nowhere = [ErrorCode.LEADER_NOT_AVAILABLE, -1, 3, [own], [own], []];
    assert.deepEqual(await told(13), [here, there, [0, plainPeer, 4, [plainPeer], [plainPeer], []], nowhere]);
    const unreached = (error: number) => [error, -1, 4, [plainPeer], [plainPeer], [plainPeer]];
    const { LISTENER_NOT_FOUND, LEADER_NOT_AVAILABLE } = ErrorCode;
    assert.deepEqual(await told(13, tlsListener), [here, there, unreached(LISTENER_NOT_FOUND), nowhere]);
    assert.equal((await metadata(6, tlsListener)).topics[0]!.partitions[2]!.errorCode, LISTENER_NOT_FOUND);
    assert.equal((await metadata(5, tlsListener)).topics[0]!.partitions[2]!.errorCode, LEADER_NOT_AVAILABLE);
    topics.set(plainPeer, 'fenced');
    assert.deepEqual((await told(13))[2], unreached(LEADER_NOT_AVAILABLE));
  });

  it('lists a partition on its way with both brokers, the one that has it in sync', async () => {
    const { topics, metadata } = rig();
    const id = topics.add('a');
    const told = async () => {
      const { leaderId, replicaNodes, isrNodes, offlineReplicas } = (await metadata()).topics[0]!
        .partitions[0]!;
      return [leaderId, replicaNodes, isrNodes, offlineReplicas];
    };
    topics.assign(id, 0, peer);
    assert.deepEqual(await told(), [own, [peer, own], [own], []]);
    topics.move(id, 0, peer);
    assert.deepEqual(await told(), [peer, [peer], [peer], []]);
    topics.assign(id, 0, plainPeer);
    topics.set(peer, 'fenced');
    assert.deepEqual(await told(), [-1, [plainPeer], [plainPeer], []]);
    topics.set(plainPeer, 'fenced');
    assert.deepEqual(await told(), [-1, [plainPeer], [plainPeer], [plainPeer]]);
  });
});

describe('Metadata of brokers in several racks', () => {
  it('lists a reader of each rack but the leader’s as one more replica, in sync (KIP-392)', async () => {
    const rackOf = (node: number) => (node === plainPeer ? 'far' : 'near');
    const { topics, metadata, partitions } = rig(rackOf);
    const id = topics.add('a', 2);
    topics.move(id, 1, plainPeer);
    const told = async (listener?: string) =>
      (await metadata(13, listener)).topics[0]!.partitions.map(({ replicaNodes, isrNodes }) => [
        replicaNodes,
        isrNodes,
      ]);
    const [here, there] = await told();
    assert.deepEqual(here, [
      [own, plainPeer],
      [own, plainPeer],
    ]);
    const [leader, reader] = there![0]!;
    assert.deepEqual(there, [
      [leader, reader],
      [leader, reader],
    ]);
    assert.equal(leader, plainPeer);
    assert.ok(reader === own || reader === peer);
    // Nobody's, as far as this listener reaches.
    assert.deepEqual(await told(tlsListener), [
      [[own], [own]],
      [[plainPeer], [plainPeer]],
    ]);
    topics.set(reader!, 'fenced');
    const other = reader === own ? peer : own;
    assert.deepEqual((await told())[1], [
      [plainPeer, other],
      [plainPeer, other],
    ]);
    topics.set(plainPeer, 'fenced');
    assert.deepEqual((await told())[0], [[own], [own]]);
    assert.deepEqual(
      (await partitions()).map(({ replicaNodes }) => replicaNodes),
      [[own], [plainPeer]],
    );
  });
});

describe('pieces of Metadata answers', () => {
  it('go when a rack gains its first broker or loses its last one', () => {
    const topics = new ThreeBrokers();
    topics.add('a');
    const cluster = new ClusterView({ topics, endpoint });
    const pieces = new TopicPieces(topics);
    const piece = () => pieces.piece(topics.topicByName('a')!, cluster.of('PLAINTEXT'));
    let before = piece();
    assert.equal(piece(), before);
    topics.register(9);
    assert.notEqual(piece(), before);
    before = piece();
    topics.set(9, 'fenced');
    assert.notEqual(piece(), before);
  });

  it('stay while nothing changes that they tell, and go with leaders, targets and standings', () => {
    const topics = new ThreeBrokers(oneRack);
    const id = topics.add('a', 2);
    topics.add('b');
    topics.move(id, 1, peer);
    const cluster = new ClusterView({ topics, endpoint: endpointIn(oneRack) });
    const pieces = new TopicPieces(topics);
    const piece = (name: string) => pieces.piece(topics.topicByName(name)!, cluster.of('PLAINTEXT'));
    const changed = (change: () => void): boolean[] => {
      const before = [piece('a'), piece('b')];
      change();
      return [piece('a') !== before[0], piece('b') !== before[1]];
    };
    assert.deepEqual(
      changed(() => topics.add('c')),
      [false, false],
    );
    assert.deepEqual(
      changed(() => topics.register(9)),
      [false, false],
    );
    assert.deepEqual(
      changed(() => topics.set(plainPeer, 'fenced')),
      [false, false],
    );
    assert.deepEqual(
      changed(() => topics.assign(id, 0, peer)),
      [true, false],
    );
    assert.deepEqual(
      changed(() => topics.assign(id, 0, -1)),
      [true, false],
    );
    assert.deepEqual(
      changed(() => topics.set(peer, 'fenced')),
      [true, false],
    );
    assert.deepEqual(
      changed(() => topics.add('d')),
      [false, false],
    );
    assert.deepEqual(
      changed(() => topics.set(own, 'fenced')),
      [true, true],
    );
  });

  it('are encoded for each listener', () => {
    const { topics, metadata } = rig();
    const id = topics.add('a');
    topics.move(id, 0, plainPeer);
    return Promise.all([metadata(), metadata(13, tlsListener), metadata()]).then((answers) =>
      assert.deepEqual(
        answers.map((answer) => answer.topics[0]!.partitions[0]!.leaderId),
        [plainPeer, -1, plainPeer],
      ),
    );
  });
});

describe('DescribeCluster of several brokers', () => {
  it('lists fenced ones when they are asked for, and says so', async () => {
    const { topics, cluster } = rig(rackEach);
    topics.lead(peer);
    topics.set(plainPeer, 'fenced');
    const told = async (fenced: boolean, listener?: string) => {
      const { brokers, controllerId } = await cluster(fenced, listener);
      return [controllerId, ...brokers.map(({ brokerId, port, isFenced }) => [brokerId, port, isFenced])];
    };
    const alive = [peer, [peer, 9092, false], [own, 9092, false]];
    assert.deepEqual(await told(false), alive);
    assert.deepEqual(await told(true), [...alive, [plainPeer, 9092, true]]);
    assert.deepEqual(await told(true, tlsListener), [peer, [peer, 9093, false], [own, 9093, false]]);
    const [first] = (await cluster()).brokers;
    assert.deepEqual([first!.host, first!.rack], ['host-6', 'rack-6']);
  });
});

describe('DescribeTopicPartitions of several brokers', () => {
  it('tells leaders as Metadata does, without errors of partitions', async () => {
    const { topics, partitions } = rig();
    const id = topics.add('a', 3);
    topics.move(id, 1, peer);
    topics.close(id, 2);
    const told = (await partitions()).map(({ errorCode, leaderId, replicaNodes }) => [
      errorCode,
      leaderId,
      replicaNodes,
    ]);
    assert.deepEqual(told, [
      [0, own, [own]],
      [0, peer, [peer]],
      [0, -1, [own]],
    ]);
  });
});

describe('what else one broker says of the others', () => {
  it('DescribeQuorum names the broker that leads, where the listener reaches it', async () => {
    const { topics } = rig();
    const handler = describeQuorumHandler({ topics, endpoint, clock: new HandClock() });
    const told = async (listener?: string) => {
      const request = { topics: [{ topicName: '__cluster_metadata', partitions: [{ partitionIndex: 0 }] }] };
      const answer = await call(handler, DescribeQuorumCodec, 2, request, listener);
      const { leaderId, leaderEpoch, currentVoters } = answer.topics[0]!.partitions[0]!;
      const listeners = answer.nodes.map(({ nodeId, listeners: [at] }) => [nodeId, at!.host, at!.port]);
      return [leaderId, leaderEpoch, currentVoters.map(({ replicaId }) => replicaId), listeners];
    };
    assert.deepEqual(await told(), [own, 1, [own], [[own, 'host-7', 9092]]]);
    topics.lead(plainPeer);
    assert.deepEqual(await told(), [plainPeer, 1, [plainPeer], [[plainPeer, 'host-8', 9092]]]);
    assert.deepEqual(await told(tlsListener), [own, 1, [own], [[own, 'host-7', 9093]]]);
  });

  it('ListConfigResources names all that are registered', async () => {
    const { topics } = rig();
    topics.set(peer, 'fenced');
    const handler = listConfigResourcesHandler({ topics, nodeId: own });
    const { configResources } = await call(handler, ListConfigResourcesCodec, 1, { resourceTypes: [4] });
    assert.deepEqual(
      configResources.map(({ resourceName }) => resourceName),
      ['6', '7', '8'],
    );
  });

  it('configs of another broker are for that one to tell and to change', async () => {
    const { topics } = rig();
    const control = new FakeControl();
    const deps = { topics, catalog, control, clock: new HandClock(), logger: silentLogger, nodeId: own };
    const described = await call(describeConfigsHandler(deps), DescribeConfigsCodec, 4, {
      resources: [own, peer].map((node) => ({ resourceType: 4, resourceName: String(node) })),
    });
    assert.deepEqual(
      described.results.map(({ errorCode }) => errorCode),
      [0, ErrorCode.INVALID_REQUEST],
    );
    const configs = [{ name: 'log.retention.ms', configOperation: 0, value: '5' }];
    const altered = await call(incrementalAlterConfigsHandler(deps), IncrementalAlterConfigsCodec, 1, {
      resources: [own, peer].map((node) => ({ resourceType: 4, resourceName: String(node), configs })),
    });
    assert.deepEqual(
      altered.responses.map(({ errorCode }) => errorCode),
      [0, ErrorCode.INVALID_REQUEST],
    );
    assert.deepEqual(
      control.edits.map(({ name }) => name),
      [String(own)],
    );
  });

  it('a client that looks for another broker under this address is to bootstrap anew', async () => {
    const { topics } = rig();
    const handler = apiVersionsHandler({ handlers: () => [], features: [], topics, nodeId: own });
    const software = { clientSoftwareName: 'x', clientSoftwareVersion: '1' };
    const code = async (nodeId: number) => {
      const { clusterId } = topics.image;
      return (await call(handler, ApiVersionsCodec, 5, { ...software, clusterId, nodeId })).errorCode;
    };
    assert.deepEqual([await code(own), await code(peer)], [0, ErrorCode.REBOOTSTRAP_REQUIRED]);
  });
});

describe('FindCoordinator of several brokers', () => {
  function finder() {
    const topics = new ThreeBrokers();
    const clock = new VirtualClock();
    const made: string[] = [];
    let over = (): void => {};
    const find = coordinatorFinder({
      topics,
      endpoint,
      clock,
      partitionOf: (_kind, key) => Number(key),
      makeTopic: (kind) => {
        made.push(kind);
        return new Promise((resolve) => {
          over = resolve;
        });
      },
    });
    const ask = (key: number, listener = 'PLAINTEXT'): CoordinatorPlace | null => {
      let answer: CoordinatorPlace | null = null;
      find('group', String(key), listener, (place) => {
        answer = place;
        answers.push(place);
      });
      return answer;
    };
    const answers: CoordinatorPlace[] = [];
    return { topics, clock, made, answers, ask, over: () => over() };
  }

  const nowhere = { errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE, nodeId: -1, host: '', port: -1 };
  const at = (nodeId: number, port = 9092) => ({ errorCode: 0, nodeId, host: `host-${nodeId}`, port });

  it('makes the topic, waits for it, and names whoever has the partition open', async () => {
    const { topics, clock, made, answers, ask, over } = finder();
    assert.equal(ask(0), null);
    assert.deepEqual(made, ['group']);
    const id = topics.add('__consumer_offsets', 3, {}, true);
    topics.move(id, 1, peer);
    topics.move(id, 2, plainPeer);
    over();
    await settle();
    assert.deepEqual(answers, [at(own)]);
    assert.equal(clock.timers, 0);
    assert.deepEqual([ask(0), ask(1), ask(2)], [at(own), at(peer), at(plainPeer)]);
    assert.deepEqual([ask(1, tlsListener), ask(2, tlsListener)], [at(peer, 9093), nowhere]);
    topics.close(id, 0);
    topics.set(peer, 'fenced');
    assert.deepEqual([ask(0), ask(1)], [nowhere, nowhere]);
    assert.deepEqual(made, ['group']);
  });

  it('waits a second for the topic and no longer, nor for one that could not be made', async () => {
    const { clock, answers, ask, over } = finder();
    ask(0);
    clock.advance(999);
    assert.deepEqual(answers, []);
    clock.advance(1);
    assert.deepEqual(answers, [nowhere]);
    over();
    await settle();
    assert.deepEqual(answers, [nowhere], 'once');
    ask(0);
    over();
    await settle();
    assert.deepEqual(answers, [nowhere, nowhere]);
  });
});

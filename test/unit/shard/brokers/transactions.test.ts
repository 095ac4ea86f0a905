/** Transactions whose coordinator, records and offsets are on different brokers, through every fault on the way between them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultPeerTimes } from '../../../../src/interbroker/peer-line.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { ProduceCodec } from '../../../../src/protocol/generated/produce.ts';
import { WriteTxnMarkersCodec } from '../../../../src/protocol/generated/write-txn-markers.ts';
import { BrokerGroup, type GroupTopic } from './broker-group.ts';
import { GroupClients, GroupProducer } from './group-clients.ts';

const addKey = 24;
const markersKey = 27;
const versions = [1, 2] as const;

/** Records on broker 0, coordinators of transactions on broker 1, groups on either. */
const topics: readonly GroupTopic[] = [
  { name: 'orders', nodes: [0, 0, 1] },
  { name: '__consumer_offsets', nodes: [0, 1] },
  { name: '__transaction_state', nodes: [1, 1] },
  { name: '__share_group_state', nodes: [0, 1] },
];

function rig(options: { brokers?: number; shards?: number } = {}) {
  const group = new BrokerGroup(topics, options);
  const clients = new GroupClients(group);
  return { group, clients, network: group.network };
}

/** A group that the broker coordinates. */
function groupAt(clients: GroupClients, node: number): string {
  for (let i = 0; ; i++) {
    const groupId = `group-${i}`;
    if (clients.coordinatorOf('__consumer_offsets', groupId) === node) return groupId;
  }
}

/** One transaction of each fate over three partitions and two groups; all must be as it says at the end. */
async function twoFates(clients: GroupClients, producer: GroupProducer): Promise<void> {
  const groups = [groupAt(clients, 0), groupAt(clients, 1)];
  await producer.init();
  for (const fate of ['aborted', 'kept'] as const) {
    for (const partition of [0, 1, 2])
      assert.equal(await producer.produce('orders', partition, `${fate} ${partition}`), 0, fate);
    for (const groupId of groups)
      assert.equal(await producer.commitOffset(groupId, 'orders', 0, fate === 'kept' ? 10 : 99), 0, fate);
    assert.equal(await producer.end(fate === 'kept'), 0, fate);
  }
  await producer.settled();
}

async function checkFates(clients: GroupClients): Promise<void> {
  for (const partition of [0, 1, 2]) {
    assert.deepEqual(await clients.committed('orders', partition), [`kept ${partition}`]);
    const { lastStable, high } = clients.group.ends('orders', partition);
    assert.equal(lastStable, high, 'a transaction hangs');
  }
  for (const node of [0, 1]) {
    const groupId = groupAt(clients, node);
    assert.equal(await clients.committedOffset(groupId, 'orders', 0), 10, `offsets of ${groupId}`);
  }
}

for (const version of versions)
  describe(`transactions over brokers, version ${version}`, () => {
    it('commit and abort, records and offsets alike, in few requests', async () => {
      const { clients, network } = rig();
      await twoFates(clients, new GroupProducer(clients, 'writer', version));
      await checkFates(clients);
      assert(network.count(addKey) >= 2, 'the coordinator was asked');
      assert(network.count(addKey) <= 8, `${network.count(addKey)} questions`);
      // One request with two partitions and a group's for each end; the marker of a group may come a turn later.
      assert(
        network.count(markersKey) >= 2 && network.count(markersKey) <= 4,
        `${network.count(markersKey)} of markers`,
      );
    });

    it('the same where each broker has two shards, whichever takes the connection', async () => {
      const { clients } = rig({ shards: 2 });
      await twoFates(clients, new GroupProducer(clients, 'writer', version));
      await checkFates(clients);
    });

    for (const direction of ['request', 'answer'] as const)
      it(`go on whichever ${direction} between the brokers is lost, with its connection`, async () => {
        let messages = 0;
        for (let lost = 0; ; lost++) {
          const { clients, network } = rig();
          messages = 0;
          const verdict = () => (messages++ === lost ? 'lose' : 'deliver');
          if (direction === 'request') network.onRequest = verdict;
          else network.onAnswer = verdict;
          await twoFates(clients, new GroupProducer(clients, 'writer', version));
          await checkFates(clients);
          if (messages <= lost) break;
        }
        assert(messages >= 6, `only ${messages} messages`);
      });

    it('go on while their coordinator, their records and their groups move from broker to broker, at any step', async () => {
      const moves: readonly (readonly [string, number, number])[] = [
        ['__transaction_state', 0, 2],
        ['__transaction_state', 1, 2],
        ['orders', 0, 2],
        ['orders', 1, 1],
        ['__consumer_offsets', 0, 2],
        ['__consumer_offsets', 1, 0],
      ];
      let messages = 0;
      for (let at = 0; ; at++) {
        const { group, clients, network } = rig({ brokers: 3 });
        messages = 0;
        let moving: Promise<void> | null = null;
        network.onRequest = () => {
          if (messages++ === at)
            moving = (async () => {
              for (const [topic, partition, to] of moves)
                await group.move(topic, partition, to, { gapMs: 30 });
            })();
          return 'deliver';
        };
        const producer = new GroupProducer(clients, 'writer', version);
        await producer.init();
        const groups = [groupAt(clients, 0), groupAt(clients, 1)];
        for (const fate of ['aborted', 'kept'] as const) {
          for (const partition of [0, 1, 2])
            assert.equal(
              await producer.produce('orders', partition, `${fate} ${partition}`),
              0,
              `${fate} at ${at}`,
            );
          for (const groupId of groups)
            assert.equal(
              await producer.commitOffset(groupId, 'orders', 0, fate === 'kept' ? 10 : 99),
              0,
              fate,
            );
          assert.equal(await producer.end(fate === 'kept'), 0, `${fate} at ${at}`);
        }
        await moving;
        await producer.settled();
        for (const partition of [0, 1, 2]) {
          assert.deepEqual(
            await clients.committed('orders', partition),
            [`kept ${partition}`],
            `moved at ${at}`,
          );
          const { lastStable, high } = group.ends('orders', partition);
          assert.equal(lastStable, high, `a transaction hangs, moved at ${at}`);
        }
        for (const groupId of groups)
          assert.equal(await clients.committedOffset(groupId, 'orders', 0), 10, `moved at ${at}`);
        if (messages <= at) break;
      }
      assert(messages >= 6, `only ${messages} messages`);
    });

    it('go on when the broker of their coordinator dies with markers under way, and another takes over', async () => {
      for (const what of ['markers lost', 'answers lost'] as const) {
        const { group, clients, network } = rig({ brokers: 3 });
        const producer = new GroupProducer(clients, 'writer', version);
        await producer.init();
        for (const partition of [0, 1])
          assert.equal(await producer.produce('orders', partition, `${partition}`), 0);
        if (what === 'markers lost')
          network.onRequest = (_from, _to, key) => (key === markersKey ? 'hold' : 'deliver');
        else network.onAnswer = (_from, _to, key) => (key === markersKey ? 'hold' : 'deliver');
        assert.equal(await producer.end(true), 0);
        await group.clock.advanceAsync(10);
        assert.equal(group.ends('orders', 0).lastStable, what === 'markers lost' ? 0 : 2);
        await group.kill(1);
        network.onRequest = () => 'deliver';
        network.onAnswer = () => 'deliver';
        for (const partition of [0, 1]) await group.takeOver('__transaction_state', partition, 2);
        await producer.settled();
        for (const partition of [0, 1]) {
          assert.deepEqual(await clients.committed('orders', partition), [`${partition}`]);
          const { lastStable, high } = group.ends('orders', partition);
          assert.equal(lastStable, high);
        }
        assert.equal(await producer.produce('orders', 0, 'next'), 0);
        assert.equal(await producer.end(true), 0);
        await producer.settled();
        assert.deepEqual(await clients.committed('orders', 0), ['0', 'next']);
      }
    });

    it('are not ended by a marker of a coordinator that was deposed, however late it arrives', async () => {
      const { group, clients, network } = rig({ brokers: 3 });
      const producer = new GroupProducer(clients, 'writer', version);
      await producer.init();
      assert.equal(await producer.produce('orders', 0, 'first'), 0);
      network.onRequest = (from, _to, key) => (from === 1 && key === markersKey ? 'hold' : 'deliver');
      assert.equal(await producer.end(true), 0);
      await group.clock.advanceAsync(10);
      // The old coordinator goes on: it has not heard, and nothing that it writes is kept.
      await group.depose(1);
      group.fallBehind(1);
      for (const partition of [0, 1]) await group.takeOver('__transaction_state', partition, 2);
      await producer.settled();
      assert.deepEqual(await clients.committed('orders', 0), ['first']);
      assert.equal(await producer.produce('orders', 0, 'second'), 0);
      const before = group.ends('orders', 0);
      assert.equal(before.lastStable, before.high - 1, 'the second transaction is open');
      network.onRequest = () => 'deliver';
      network.release();
      await group.clock.advanceAsync(3_000);
      assert.deepEqual(group.ends('orders', 0), before, 'a late marker was written');
      assert.equal(await producer.end(false), 0);
      await producer.settled();
      assert.deepEqual(await clients.committed('orders', 0), ['first']);
    });
  });

describe('markers to other brokers', () => {
  it('are tried again over a new connection when no answer comes in time, and one that arrives late does no harm', async () => {
    const { group, clients, network } = rig();
    const producer = new GroupProducer(clients, 'writer', 2);
    await producer.init();
    assert.equal(await producer.produce('orders', 0, 'first'), 0);
    let held = 0;
    network.onRequest = (_from, _to, key) => (key === markersKey && held++ === 0 ? 'hold' : 'deliver');
    assert.equal(await producer.end(true), 0);
    await group.clock.advanceAsync(defaultPeerTimes.requestTimeoutMs - 100);
    assert.equal(await producer.state(), 'PrepareCommit');
    await group.clock.advanceAsync(3_000);
    assert.equal(await producer.state(), 'CompleteCommit');
    assert.equal(await producer.produce('orders', 0, 'second'), 0);
    const open = group.ends('orders', 0);
    assert.equal(network.arriveLate(), 1);
    await group.clock.advanceAsync(100);
    assert.deepEqual(group.ends('orders', 0), open);
    assert.equal(await producer.end(false), 0);
    await producer.settled();
    assert.deepEqual(await clients.committed('orders', 0), ['first']);
  });

  it('wait no longer for a broker that is fenced than until that is known', async () => {
    const { group, clients, network } = rig({ brokers: 3 });
    const producer = new GroupProducer(clients, 'writer', 2);
    await producer.init();
    assert.equal(await producer.produce('orders', 0, 'first'), 0);
    network.onRequest = (_from, to, key) => (to === 0 && key === markersKey ? 'hold' : 'deliver');
    assert.equal(await producer.end(true), 0);
    await group.clock.advanceAsync(10);
    await group.kill(0);
    group.commit([{ type: 'brokerState', node: 0, epoch: 1, state: 'fenced' }]);
    await group.takeOver('orders', 0, 2);
    await group.clock.advanceAsync(1_100);
    assert.equal(await producer.state(), 'CompleteCommit');
    assert.deepEqual(await clients.committed('orders', 0), ['first']);
  });

  it('end at the broker that they are sent to: it passes none on', async () => {
    const { clients, network } = rig({ brokers: 3 });
    const before = network.count(markersKey);
    const marker = { producerId: 5, producerEpoch: 0, transactionResult: false, coordinatorEpoch: 0 };
    const topicsOf = ['orders', '__consumer_offsets'].map((name) => ({ name, partitionIndexes: [0] }));
    const answer = await clients.once(2, WriteTxnMarkersCodec, 1, {
      markers: [{ ...marker, topics: topicsOf }],
    });
    for (const { name, partitions } of answer.markers[0]!.topics)
      assert.equal(partitions[0]!.errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER, name);
    assert.equal(network.count(markersKey), before);
  });
});

describe('questions to a coordinator on another broker', () => {
  it('go together for all partitions that one turn brings, so that none of them refuses the other', async () => {
    const { group, clients, network } = rig();
    const producer = new GroupProducer(clients, 'writer', 2);
    await producer.init();
    network.delivered.clear();
    const client = clients.at(0);
    const pending = [0, 1].map((partition) =>
      client.send(ProduceCodec, 12, producer.request('orders', partition, `${partition}`)),
    );
    await group.clock.advanceAsync(1);
    for (const { response } of pending)
      assert.equal(response?.responses[0]?.partitionResponses[0]?.errorCode, 0);
    assert.equal(network.count(addKey), 1);
  });

  it('hold a produce while the coordinator cannot be reached, and say what its client tries again', async () => {
    for (const version of versions) {
      const { group, clients, network } = rig();
      const producer = new GroupProducer(clients, 'writer', version);
      await producer.init();
      if (version === 1) assert.equal(await producer.add('orders', 0), 0);
      network.leave(1);
      const request = producer.request('orders', 0, 'x');
      const answer = clients.at(0).send(ProduceCodec, producer.produceVersion, request);
      await group.clock.advanceAsync(2 * defaultPeerTimes.pauseMsMax);
      assert.equal(
        answer.response?.responses[0]?.partitionResponses[0]?.errorCode,
        ErrorCode.NOT_ENOUGH_REPLICAS,
      );
    }
  });

  it('refuse what does not belong to the transaction', async () => {
    const { clients } = rig();
    const producer = new GroupProducer(clients, 'writer', 1);
    await producer.init();
    assert.equal(await producer.send('orders', 0, 'not added'), ErrorCode.TRANSACTION_ABORTABLE);
    const newer = new GroupProducer(clients, 'writer', 2);
    await newer.init();
    const older = new GroupProducer(clients, 'writer', 2);
    older.producerId = newer.producerId;
    older.epoch = newer.epoch - 1;
    assert.equal(await older.produce('orders', 1, 'fenced'), ErrorCode.INVALID_PRODUCER_EPOCH);
  });

  it('trust no yes of a coordinator that was deposed meanwhile', async () => {
    const { group, clients, network } = rig({ brokers: 3 });
    const producer = new GroupProducer(clients, 'writer', 1);
    await producer.init();
    assert.equal(await producer.add('orders', 0), 0);
    // Its yes is on its way while another takes over.
    network.onAnswer = (_from, _to, key) => (key === addKey ? 'hold' : 'deliver');
    const answer = clients.at(0).send(ProduceCodec, 11, producer.request('orders', 0, 'x'));
    await group.clock.advanceAsync(10);
    await group.depose(1);
    group.fallBehind(1);
    for (const partition of [0, 1]) await group.takeOver('__transaction_state', partition, 2);
    assert.equal(answer.response, null);
    network.onAnswer = () => 'deliver';
    network.release();
    await group.clock.advanceAsync(10);
    assert.equal(
      answer.response!.responses[0]!.partitionResponses[0]!.errorCode,
      ErrorCode.NOT_ENOUGH_REPLICAS,
    );
    assert.equal(await producer.send('orders', 0, 'x'), 0, 'the new one says so, too');
  });
});

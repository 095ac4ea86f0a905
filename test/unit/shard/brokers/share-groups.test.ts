/** Share groups whose group, records and delivery states are on different brokers. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shareKeyText } from '../../../../src/coordinator/share/share-state-api.ts';
import { acknowledgeTypes } from '../../../../src/log/share/share-api.ts';
import { AlterShareGroupOffsetsCodec } from '../../../../src/protocol/generated/alter-share-group-offsets.ts';
import { DescribeShareGroupOffsetsCodec } from '../../../../src/protocol/generated/describe-share-group-offsets.ts';
import { ErrorCode, errorName } from '../../../../src/protocol/generated/errors.ts';
import { ReadShareGroupStateCodec } from '../../../../src/protocol/generated/read-share-group-state.ts';
import { ShareAcknowledgeCodec } from '../../../../src/protocol/generated/share-acknowledge.ts';
import { ShareFetchCodec } from '../../../../src/protocol/generated/share-fetch.ts';
import { ShareGroupHeartbeatCodec } from '../../../../src/protocol/generated/share-group-heartbeat.ts';
import { answerOf, type TestClient } from '../peers/shard-group.ts';
import { BrokerGroup, type GroupTopic } from './broker-group.ts';
import { GroupClients } from './group-clients.ts';

const readStateKey = 84;
const writeStateKey = 85;
const partitions = [0, 1, 2, 3];

const topics: readonly GroupTopic[] = [
  { name: 'orders', nodes: [0, 1, 1, 0] },
  { name: '__consumer_offsets', nodes: [0, 1] },
  { name: '__transaction_state', nodes: [1, 0] },
  { name: '__share_group_state', nodes: [1, 0] },
];

interface Range {
  readonly first: number;
  readonly last: number;
  readonly count: number;
}

async function rig(options: { brokers?: number; shards?: number } = {}) {
  const group = new BrokerGroup(topics, options);
  const clients = new GroupClients(group);
  const { network } = group;
  for (const partition of partitions) {
    const produced = group
      .client(group.nodeOf('orders', partition))
      .produce(partition, ['a', 'b', 'c', 'd', 'e', 'f']);
    await group.clock.settle();
    // The fixture's client names the topic as the broker knows it.
    assert.equal(answerOf(produced).responses[0]!.partitionResponses[0]!.errorCode, 0);
  }
  return { group, clients, network };
}

/** A group that the broker coordinates; it reads from the start of logs. */
function groupAt({ group, clients }: { group: BrokerGroup; clients: GroupClients }, node: number): string {
  for (let i = 0; ; i++) {
    const name = `share-${i}`;
    if (clients.coordinatorOf('__consumer_offsets', name) !== node) continue;
    const entries = { 'share.auto.offset.reset': 'earliest' };
    group.commit([{ type: 'config', resource: 'group', name, entries }]);
    return name;
  }
}

class ShareMember {
  readonly #clients: GroupClients;
  readonly #group: BrokerGroup;
  readonly groupId: string;
  readonly id: string;
  readonly #shard: number;
  #epoch = 0;
  /** By partition: an answer brings what there is of all that the session follows. */
  readonly #given: Range[][] = partitions.map(() => []);
  readonly #sessions = new Map<number, { readonly client: TestClient; epoch: number }>();

  /** @param shard that takes its connections. */
  constructor(clients: GroupClients, groupId: string, id: string, shard = 0) {
    this.#clients = clients;
    this.#shard = shard;
    this.#group = clients.group;
    this.groupId = groupId;
    this.id = id;
  }

  async heartbeat(memberEpoch = this.#epoch): Promise<readonly number[] | null> {
    const answer = await this.#clients.insist(
      () => this.#clients.coordinatorOf('__consumer_offsets', this.groupId),
      ShareGroupHeartbeatCodec,
      1,
      {
        groupId: this.groupId,
        memberId: this.id,
        memberEpoch,
        subscribedTopicNames: memberEpoch === 0 ? ['orders'] : null,
      },
      (r) => r.errorCode,
    );
    assert.equal(answer.errorCode, 0, errorName(answer.errorCode));
    this.#epoch = answer.memberEpoch;
    return answer.assignment?.topicPartitions[0]?.partitions ?? null;
  }

  /** Until all partitions are its own. */
  async join(): Promise<void> {
    let assigned = await this.heartbeat(0);
    for (let i = 0; (assigned?.length ?? 0) < partitions.length && i < 100; i++) {
      await this.#group.clock.advanceAsync(500);
      assigned = (await this.heartbeat()) ?? assigned;
    }
    assert.deepEqual([...assigned!].sort(), partitions);
  }

  #session(node: number): { readonly client: TestClient; epoch: number } {
    let session = this.#sessions.get(node);
    if (session === undefined) {
      session = { client: this.#group.client(node, this.#shard), epoch: 0 };
      this.#sessions.set(node, session);
    }
    return session;
  }

  /** What it is given of a partition, once there is an answer without an error that passes. */
  async fetch(partition: number): Promise<Range[]> {
    for (let i = 0; i < 200; i++) {
      const session = this.#session(this.#group.nodeOf('orders', partition));
      const pending = session.client.send(ShareFetchCodec, 1, {
        groupId: this.groupId,
        memberId: this.id,
        shareSessionEpoch: session.epoch++,
        maxWaitMs: 10,
        minBytes: 1,
        maxBytes: 1 << 20,
        maxRecords: 100,
        batchSize: 100,
        topics: [{ topicId: this.#group.topicId('orders'), partitions: [{ partitionIndex: partition }] }],
      });
      for (let j = 0; pending.response === null && j < 4_000; j++) await this.#group.clock.advanceAsync(5);
      const answer = answerOf(pending);
      const told = answer.responses.flatMap(({ partitions: some }) => some);
      for (const { partitionIndex, acquiredRecords } of told)
        for (const { firstOffset: first, lastOffset: last, deliveryCount: count } of acquiredRecords)
          this.#given[partitionIndex]!.push({ first, last, count });
      const found = told.find(({ partitionIndex }) => partitionIndex === partition);
      if (answer.errorCode === 0 && (found === undefined || found.errorCode === 0))
        return this.#given[partition]!.splice(0);
      if (answer.errorCode !== 0) this.#sessions.delete(this.#group.nodeOf('orders', partition));
      await this.#group.clock.advanceAsync(100);
    }
    throw new Error('the fetch does not come through');
  }

  async acknowledge(
    partition: number,
    firstOffset: number,
    lastOffset: number,
    type: number,
  ): Promise<number> {
    const session = this.#session(this.#group.nodeOf('orders', partition));
    const acknowledgementBatches = [{ firstOffset, lastOffset, acknowledgeTypes: [type] }];
    const pending = session.client.send(ShareAcknowledgeCodec, 1, {
      groupId: this.groupId,
      memberId: this.id,
      shareSessionEpoch: session.epoch++,
      topics: [
        {
          topicId: this.#group.topicId('orders'),
          partitions: [{ partitionIndex: partition, acknowledgementBatches }],
        },
      ],
    });
    for (let j = 0; pending.response === null && j < 4_000; j++) await this.#group.clock.advanceAsync(5);
    const { errorCode, responses } = answerOf(pending);
    return errorCode === 0 ? responses[0]!.partitions[0]!.errorCode : errorCode;
  }

  async leave(): Promise<void> {
    await this.heartbeat(-1);
    for (const { client } of this.#sessions.values()) client.connection.onEnd();
    this.#sessions.clear();
    await this.#group.clock.advanceAsync(100);
  }
}

/** Start offset and lag of each partition, as the group's coordinator tells them. */
async function offsets(clients: GroupClients, groupId: string): Promise<string[]> {
  const answer = await clients.once(
    clients.coordinatorOf('__consumer_offsets', groupId),
    DescribeShareGroupOffsetsCodec,
    1,
    { groups: [{ groupId, topics: [{ topicName: 'orders', partitions }] }] },
  );
  return answer.groups[0]!.topics[0]!.partitions.map(
    ({ startOffset, lag, errorCode }) =>
      `${startOffset} ${lag}${errorCode === 0 ? '' : ` ${errorName(errorCode)}`}`,
  );
}

describe('share groups over brokers', () => {
  for (const shards of [1, 2])
    it(`deliver, acknowledge and say how far they are, with brokers of ${shards} shards`, async () => {
      for (const node of [0, 1]) {
        const world = await rig({ shards });
        const groupId = groupAt(world, node);
        const member = new ShareMember(world.clients, groupId, 'm');
        await member.join();
        for (const partition of partitions) {
          assert.deepEqual(await member.fetch(partition), [{ first: 0, last: 5, count: 1 }]);
          assert.equal(await member.acknowledge(partition, 0, 2, acknowledgeTypes.accept), 0);
          assert.equal(await member.acknowledge(partition, 4, 4, acknowledgeTypes.accept), 0);
          assert.equal(await member.acknowledge(partition, 3, 3, acknowledgeTypes.release), 0);
        }
        assert(world.network.count(readStateKey) > 0 && world.network.count(writeStateKey) > 0);
        assert.deepEqual(await offsets(world.clients, groupId), ['3 2', '3 2', '3 2', '3 2']);
        for (const partition of partitions)
          assert.deepEqual(await member.fetch(partition), [{ first: 3, last: 3, count: 2 }]);
      }
    });

  for (const direction of ['request', 'answer'] as const)
    it(`deliver nothing again that was acknowledged, whichever ${direction} between the brokers is lost`, async () => {
      let messages = 0;
      for (let lost = 0; ; lost++) {
        const world = await rig();
        messages = 0;
        const verdict = () => (messages++ === lost ? 'lose' : 'deliver');
        if (direction === 'request') world.network.onRequest = verdict;
        else world.network.onAnswer = verdict;
        const member = new ShareMember(world.clients, groupAt(world, 0), 'm');
        await member.join();
        const finished = partitions.map(() => new Set<number>());
        for (let round = 0; round < 8; round++) {
          for (const partition of partitions) {
            for (const { first, last } of await member.fetch(partition)) {
              for (let offset = first; offset <= last; offset++)
                assert(!finished[partition]!.has(offset), `${partition} ${offset} again, lost ${lost}`);
              const error = await member.acknowledge(partition, first, last, acknowledgeTypes.accept);
              for (let offset = first; error === 0 && offset <= last; offset++)
                finished[partition]!.add(offset);
            }
          }
          await world.group.clock.advanceAsync(6_000);
          await member.heartbeat();
        }
        // What was acknowledged without an answer may be finished, too; nothing is left over in either case.
        let told = await offsets(world.clients, member.groupId);
        // The question itself may have been what was lost.
        if (told.some((text) => text.includes('-1'))) told = await offsets(world.clients, member.groupId);
        assert.deepEqual(
          told,
          partitions.map(() => '6 0'),
          `lost ${lost}`,
        );
        if (messages <= lost) break;
      }
      assert(messages >= 6, `only ${messages} messages`);
    });

  it('go on with what was acknowledged when the broker of the delivery states dies', async () => {
    const world = await rig({ brokers: 3 });
    const { group, clients } = world;
    const groupId = groupAt(world, 0);
    const member = new ShareMember(clients, groupId, 'm');
    await member.join();
    const key = (partition: number) => shareKeyText({ groupId, topicId: group.topicId('orders'), partition });
    const lostAt = partitions.filter(
      (partition) =>
        group.nodeOf('orders', partition) === 0 &&
        clients.coordinatorOf('__share_group_state', key(partition)) === 1,
    );
    assert(lostAt.length > 0, 'no partition of broker 0 has its state on broker 1');
    for (const partition of lostAt) {
      assert.deepEqual(await member.fetch(partition), [{ first: 0, last: 5, count: 1 }]);
      assert.equal(await member.acknowledge(partition, 0, 3, acknowledgeTypes.accept), 0);
    }
    await group.kill(1);
    group.commit([{ type: 'brokerState', node: 1, epoch: 1, state: 'fenced' }]);
    for (const [partition, node] of [1, 0].entries())
      if (node === 1) await group.takeOver('__share_group_state', partition, 2);
    for (const partition of lostAt) {
      const error = await member.acknowledge(partition, 4, 4, acknowledgeTypes.accept);
      assert.equal(error, 0, errorName(error));
    }
    const told = await offsets(clients, groupId);
    for (const partition of lostAt) assert.equal(told[partition], '5 1');
  });

  it('begin where an operator has put them, on brokers that do not coordinate the group too', async () => {
    for (const node of [0, 1]) {
      const world = await rig();
      const { clients, group } = world;
      const groupId = groupAt(world, node);
      const first = new ShareMember(clients, groupId, 'first');
      await first.join();
      for (const partition of partitions) {
        assert.deepEqual(await first.fetch(partition), [{ first: 0, last: 5, count: 1 }]);
        assert.equal(await first.acknowledge(partition, 0, 5, acknowledgeTypes.accept), 0);
      }
      await first.leave();
      const moved = await clients.once(node, AlterShareGroupOffsetsCodec, 0, {
        groupId,
        topics: [
          {
            topicName: 'orders',
            partitions: partitions.map((partitionIndex) => ({ partitionIndex, startOffset: 2 })),
          },
        ],
      });
      assert.equal(moved.errorCode, 0);
      const second = new ShareMember(clients, groupId, 'second');
      await second.join();
      for (const partition of partitions) {
        const got = await second.fetch(partition);
        assert.equal(
          got[0]?.first,
          2,
          `partition ${partition} on broker ${group.nodeOf('orders', partition)}`,
        );
      }
    }
  });

  it('keep what members hold when the last of their group on another shard leaves', async () => {
    const world = await rig({ shards: 2 });
    const member = new ShareMember(world.clients, groupAt(world, 0), 'stays');
    await member.join();
    assert.deepEqual(await member.fetch(1), [{ first: 0, last: 5, count: 1 }]);
    const other = new ShareMember(world.clients, member.groupId, 'leaves', 1);
    await other.heartbeat(0);
    assert.deepEqual(await other.fetch(1), []);
    await other.leave();
    assert.equal(await member.acknowledge(1, 0, 5, acknowledgeTypes.accept), 0);
  });

  it('are asked of nobody but their coordinator', async () => {
    const world = await rig();
    const { group, clients } = world;
    const groupId = groupAt(world, 0);
    const topicId = group.topicId('orders');
    for (const partition of partitions) {
      const owner = clients.coordinatorOf(
        '__share_group_state',
        shareKeyText({ groupId, topicId, partition }),
      );
      const ask = async (node: number): Promise<number> => {
        const asked = [{ topicId, partitions: [{ partition, leaderEpoch: 1 }] }];
        const answer = await clients.once(node, ReadShareGroupStateCodec, 0, { groupId, topics: asked });
        return answer.results[0]!.partitions[0]!.errorCode;
      };
      assert.equal(await ask(1 - owner), ErrorCode.NOT_COORDINATOR);
      assert.notEqual(await ask(owner), ErrorCode.NOT_COORDINATOR);
    }
    assert.equal(world.network.count(readStateKey), 0);
  });
});

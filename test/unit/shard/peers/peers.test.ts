import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeleteGroupsCodec } from '../../../../src/protocol/generated/delete-groups.ts';
import { DeleteRecordsCodec } from '../../../../src/protocol/generated/delete-records.ts';
import { DescribeGroupsCodec } from '../../../../src/protocol/generated/describe-groups.ts';
import { HeartbeatCodec } from '../../../../src/protocol/generated/heartbeat.ts';
import { JoinGroupCodec } from '../../../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../../../src/protocol/generated/leave-group.ts';
import { ListGroupsCodec } from '../../../../src/protocol/generated/list-groups.ts';
import { ListOffsetsCodec } from '../../../../src/protocol/generated/list-offsets.ts';
import { OffsetCommitCodec } from '../../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../../src/protocol/generated/offset-fetch.ts';
import { OffsetForLeaderEpochCodec } from '../../../../src/protocol/generated/offset-for-leader-epoch.ts';
import { SyncGroupCodec } from '../../../../src/protocol/generated/sync-group.ts';
import { answerOf, ShardGroup, type TestClient, topicId, topicName } from './shard-group.ts';

function listOffsets(client: TestClient, partitions: number, timestamp: number) {
  const wanted = Array.from({ length: partitions }, (_, partitionIndex) => ({
    partitionIndex,
    currentLeaderEpoch: 1,
    timestamp,
  }));
  const topics = [{ name: topicName, partitions: wanted }];
  return client.send(ListOffsetsCodec, 7, { replicaId: -1, isolationLevel: 0, topics });
}

for (const shards of [2, 3]) {
  test(`${shards} shards: produce, fetch and offsets are the same from each of them`, async () => {
    const group = new ShardGroup({ shards });
    const clients = group.nodes.map((_node, shard) => group.client(shard));
    // The first questions meet mirrors that know nothing yet.
    const before = clients.map((client) => listOffsets(client, group.partitions, -1));
    await group.settle();
    const empty = before.map(answerOf);
    for (const answer of empty) assert.deepEqual(answer, empty[0]);
    assert.deepEqual(
      empty[0]!.topics[0]!.partitions.map(({ errorCode, offset }) => [errorCode, offset]),
      Array.from({ length: group.partitions }, () => [0, 0]),
    );

    for (let round = 0; round < 3; round++) {
      for (let partition = 0; partition < group.partitions; partition++) {
        for (const [shard, client] of clients.entries()) {
          const produced = client.produce(partition, [`${partition}/${round}/${shard}`, 'second']);
          await group.settle();
          const { errorCode, baseOffset } = answerOf(produced).responses[0]!.partitionResponses[0]!;
          assert.deepEqual([errorCode, baseOffset], [0, (round * shards + shard) * 2]);
          // What one client was told, a question over any other shard knows.
          const asked = clients.map((other) => listOffsets(other, group.partitions, -1));
          await group.settle();
          for (const each of asked)
            assert.equal(answerOf(each).topics[0]!.partitions[partition]!.offset, baseOffset + 2);
        }
      }
    }
    for (const timestamp of [-1, -2, -3, 1_700_000_000_001, 1_800_000_000_000]) {
      const asked = clients.map((client) => listOffsets(client, group.partitions, timestamp));
      await group.settle();
      for (const each of asked) assert.deepEqual(answerOf(each), answerOf(asked[0]!));
    }
    const epochs = clients.map((client) =>
      client.send(OffsetForLeaderEpochCodec, 4, {
        replicaId: -1,
        topics: [
          {
            topic: topicName,
            partitions: Array.from({ length: group.partitions }, (_, partition) => ({
              partition,
              currentLeaderEpoch: 1,
              leaderEpoch: 1,
            })),
          },
        ],
      }),
    );
    const everything = Array.from({ length: group.partitions }, (_, partition) => ({ partition, offset: 2 }));
    const fetched = clients.map((client) => client.fetch(everything));
    await group.settle();
    for (const each of epochs) {
      assert.equal(answerOf(each).topics[0]!.partitions[0]!.endOffset, 6 * shards);
      assert.deepEqual(answerOf(each), answerOf(epochs[0]!));
    }
    for (const each of fetched) {
      assert.deepEqual(answerOf(each), answerOf(fetched[0]!));
      for (const { records, highWatermark } of answerOf(each).responses[0]!.partitions) {
        assert.equal(highWatermark, 6 * shards);
        assert((records as Uint8Array).length > 100);
      }
    }
    await group.expectAllMemoryBack(clients);
  });
}

test('errors come back: offsets out of range, unknown partitions, deleted records beyond the end', async () => {
  const group = new ShardGroup();
  const clients = [group.client(0), group.client(1)];
  const partition = group.ownedBy(0);
  const fetched = clients.map((client) => client.fetch([{ partition, offset: 9 }]));
  const deleted = clients.map((client) =>
    client.send(DeleteRecordsCodec, 2, {
      timeoutMs: 100,
      topics: [{ name: topicName, partitions: [{ partitionIndex: partition, offset: 9 }] }],
    }),
  );
  await group.settle();
  for (const each of fetched) assert.equal(answerOf(each).responses[0]!.partitions[0]!.errorCode, 1);
  for (const each of deleted) assert.equal(answerOf(each).topics[0]!.partitions[0]!.errorCode, 1);
  await group.expectAllMemoryBack(clients);
});

for (const sessions of [false, true]) {
  test(`a long poll over the wrong shard wakes for every append (${sessions ? 'a session' : 'no session'})`, async () => {
    const group = new ShardGroup();
    const reader = group.client(1);
    const writer = group.client(0);
    const partition = group.ownedBy(0);
    let id = 0;
    for (let round = 0; round < 5; round++) {
      const session = { id, epoch: sessions ? round : -1 };
      const poll = reader.fetch([{ partition, offset: round }], { maxWaitMs: 30_000, session });
      await group.settle();
      assert.equal(poll.response, null, 'the poll waits');
      const produced = writer.produce(partition, [`value ${round}`]);
      await group.settle();
      assert.equal(answerOf(produced).responses[0]!.partitionResponses[0]!.baseOffset, round);
      const answer = answerOf(poll);
      id = answer.sessionId;
      assert.equal(sessions, id !== 0);
      assert.equal(answer.responses[0]!.partitions[0]!.highWatermark, round + 1);
    }
    await group.expectAllMemoryBack([reader, writer]);
  });
}

test('a poll parked over the wrong shard ends when the topic is deleted', async () => {
  const group = new ShardGroup();
  const reader = group.client(1);
  const partition = group.ownedBy(0);
  const poll = reader.fetch([{ partition, offset: 0 }], { maxWaitMs: 30_000 });
  await group.settle();
  assert.equal(poll.response, null);
  group.apply([{ type: 'topicDeleted', topicId }]);
  await group.settle();
  assert.equal(answerOf(poll).responses[0]!.partitions[0]!.errorCode, 3);
  await group.expectAllMemoryBack([reader]);
});

test('groups are served over every shard alike, also when no single group is asked for', async () => {
  const group = new ShardGroup({ shards: 3 });
  // The coordinator loads its partitions.
  await group.settle();
  const client = group.client(2);
  const base = {
    groupId: 'readers',
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: Buffer.from('meta') }],
  };
  const first = client.send(JoinGroupCodec, 7, { ...base, memberId: '', groupInstanceId: null });
  await group.settle();
  const { memberId } = answerOf(first);
  assert.match(memberId, /^tester-ü-/);
  const join = client.send(JoinGroupCodec, 7, { ...base, memberId, groupInstanceId: null });
  await group.clock.advanceAsync(5_000);
  const { generationId, leader, errorCode } = answerOf(join);
  assert.deepEqual([errorCode, leader], [0, memberId]);
  const assignments = [{ memberId, assignment: Buffer.from('all of it') }];
  const member = { groupId: 'readers', generationId, memberId };
  const sync = client.send(SyncGroupCodec, 5, {
    ...member,
    assignments,
    protocolType: 'consumer',
    protocolName: 'range',
  });
  await group.settle();
  assert.equal(Buffer.from(answerOf(sync).assignment).toString(), 'all of it');
  const committed = client.send(OffsetCommitCodec, 8, {
    ...member,
    generationIdOrMemberEpoch: generationId,
    topics: [
      { name: topicName, partitions: [{ partitionIndex: 1, committedOffset: 42, committedMetadata: 'x' }] },
    ],
  });
  await group.settle();
  assert.equal(answerOf(committed).topics[0]!.partitions[0]!.errorCode, 0);

  const clients = [group.client(0), group.client(1), client];
  const beats = clients.map((each) => each.send(HeartbeatCodec, 4, member));
  const offsets = clients.map((each) =>
    each.send(OffsetFetchCodec, 8, { groups: [{ groupId: 'readers', topics: null }], requireStable: false }),
  );
  const listed = clients.map((each) => each.send(ListGroupsCodec, 4, { statesFilter: [] }));
  const described = clients.map((each) => each.send(DescribeGroupsCodec, 5, { groups: ['readers'] }));
  await group.settle();
  for (let i = 0; i < clients.length; i++) {
    assert.equal(answerOf(beats[i]!).errorCode, 0);
    assert.equal(answerOf(offsets[i]!).groups[0]!.topics[0]!.partitions[0]!.committedOffset, 42);
    assert.deepEqual(
      answerOf(listed[i]!).groups.map(({ groupId }) => groupId),
      ['readers'],
    );
    assert.deepEqual(answerOf(described[i]!), answerOf(described[0]!));
    assert.equal(answerOf(described[i]!).groups[0]!.members[0]!.clientHost, '/10.0.0.1');
  }
  await group.expectAllMemoryBack(clients);
});

/** Groups that the shards coordinate, `each` of them per shard. */
function groupsOf(group: ShardGroup, each: number): string[][] {
  const owned: string[][] = group.nodes.map(() => []);
  for (let i = 0; owned.some((ids) => ids.length < each); i++) {
    const id = `group ${i}`;
    const ids = owned[group.nodes[0]!.shard.coordinators.ownerOf('__consumer_offsets', id)]!;
    if (ids.length < each) ids.push(id);
  }
  return owned;
}

test('requests of groups that find no memory on their way are refused, and their connections go on', async () => {
  const group = new ShardGroup();
  await group.settle();
  const [away] = groupsOf(group, 1).map(([id]) => id!);
  const client = group.client(1);
  const taken: number[] = [];
  for (let segment = group.arena.acquire(); segment >= 0; segment = group.arena.acquire())
    taken.push(segment);
  const groupId = away!;
  const member = { groupId, generationId: 1, memberId: 'm' };
  const partitions = [{ partitionIndex: 0, committedOffset: 1, committedMetadata: null }];
  const asked = [
    client.send(ListGroupsCodec, 4, { statesFilter: [] }),
    client.send(HeartbeatCodec, 4, member),
    client.send(SyncGroupCodec, 5, {
      ...member,
      protocolType: 'consumer',
      protocolName: 'r',
      assignments: [],
    }),
    client.send(JoinGroupCodec, 7, {
      groupId,
      sessionTimeoutMs: 10_000,
      rebalanceTimeoutMs: 10_000,
      protocolType: 'consumer',
      protocols: [],
      memberId: 'm',
      groupInstanceId: null,
    }),
    client.send(LeaveGroupCodec, 4, { groupId, members: [{ memberId: 'm', groupInstanceId: null }] }),
    client.send(OffsetDeleteCodec, 0, { groupId, topics: [] }),
    client.send(OffsetFetchCodec, 7, { groupId, topics: null, requireStable: false }),
  ];
  const described = client.send(DescribeGroupsCodec, 5, { groups: [groupId] });
  const deleted = client.send(DeleteGroupsCodec, 2, { groupsNames: [groupId] });
  const fetched = client.send(OffsetFetchCodec, 8, {
    groups: [{ groupId, topics: null }],
    requireStable: false,
  });
  const committed = client.send(OffsetCommitCodec, 8, {
    ...member,
    generationIdOrMemberEpoch: 1,
    topics: [{ name: topicName, partitions }],
  });
  await group.settle();
  const notAvailable = 15;
  for (const each of asked) assert.equal(answerOf(each).errorCode, notAvailable);
  assert.equal(answerOf(described).groups[0]!.errorCode, notAvailable);
  assert.equal(answerOf(deleted).results[0]!.errorCode, notAvailable);
  assert.equal(answerOf(fetched).groups[0]!.errorCode, notAvailable);
  assert.equal(answerOf(committed).topics[0]!.partitions[0]!.errorCode, notAvailable);
  assert.equal(client.closed, false);
  for (const segment of taken) group.arena.release(segment);
  const listed = client.send(ListGroupsCodec, 4, { statesFilter: [] });
  await group.settle();
  assert.equal(answerOf(listed).errorCode, 0);
  await group.expectAllMemoryBack([client]);
});

test('a request over groups of several shards is answered as one, in the order of the request', async () => {
  const group = new ShardGroup({ shards: 3 });
  await group.settle();
  const owned = groupsOf(group, 2);
  const ids = [0, 1].flatMap((i) => owned.map((each) => each[i]!));
  const client = group.client(1);
  const commit = (groupId: string, offset: number) =>
    client.send(OffsetCommitCodec, 7, {
      groupId,
      generationIdOrMemberEpoch: -1,
      memberId: '',
      topics: [
        {
          name: topicName,
          partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: '' }],
        },
      ],
    });
  const commits = ids.map((id, i) => commit(id, i));
  await group.settle();
  for (const each of commits) assert.equal(answerOf(each).topics[0]!.partitions[0]!.errorCode, 0);
  const names = [...ids, 'nobody', ids[0]!];
  const fetched = client.send(OffsetFetchCodec, 8, {
    groups: ids.map((groupId) => ({ groupId, topics: null })),
    requireStable: false,
  });
  const described = client.send(DescribeGroupsCodec, 5, { groups: names });
  const listed = client.send(ListGroupsCodec, 4, { statesFilter: [] });
  await group.settle();
  assert.deepEqual(
    answerOf(fetched).groups.map((each) => [each.groupId, each.topics[0]!.partitions[0]!.committedOffset]),
    ids.map((id, i) => [id, i]),
  );
  assert.deepEqual(
    answerOf(described).groups.map(({ groupId, groupState }) => [groupId, groupState]),
    names.map((id) => [id, id === 'nobody' ? 'Dead' : 'Empty']),
  );
  assert.deepEqual(
    answerOf(listed)
      .groups.map(({ groupId }) => groupId)
      .sort(),
    [...ids].sort(),
  );
  // Only what the shards say of themselves: each leads the groups that the places say.
  for (const [shard, node] of group.nodes.entries()) {
    node.shard.coordinators.groups.list((code, groups) => {
      assert.equal(code, 0);
      assert.deepEqual(groups.map(({ groupId }) => groupId).sort(), [...owned[shard]!].sort());
    });
  }
  const deleted = client.send(DeleteGroupsCodec, 2, { groupsNames: [...names] });
  await group.settle();
  assert.deepEqual(
    answerOf(deleted).results.map(({ groupId, errorCode }) => [groupId, errorCode]),
    [...ids, 'nobody'].map((id) => [id, id === 'nobody' ? 69 : 0]),
  );
  await group.expectAllMemoryBack([client]);
});

test('groups wait until one shard has placed those of all', async () => {
  const group = new ShardGroup({ shards: 3, placed: false });
  const ids = groupsOf(group, 2).flat();
  const asked = group.nodes.flatMap((_, shard) => {
    const client = group.client(shard);
    return [client.send(ListGroupsCodec, 4, { statesFilter: [] })];
  });
  for (const { shard } of group.nodes)
    assert.equal(shard.image.topicsByName.get('__consumer_offsets')!.partitions.length, 4);
  await group.settle();
  // Nothing is loaded before it, and nothing is answered as if a group were not there.
  for (const each of asked) assert.ok([0, 14].includes(answerOf(each).errorCode));
  assert.deepEqual(group.edits, [
    { resource: 'topic', name: '__consumer_offsets', entries: { 'millrace.coordinator.placement': 'kafka' } },
  ]);
  const client = group.client(0);
  const fetched = client.send(OffsetFetchCodec, 8, {
    groups: ids.map((groupId) => ({ groupId, topics: null })),
    requireStable: false,
  });
  await group.settle();
  for (const { errorCode } of answerOf(fetched).groups) assert.equal(errorCode, 0);
  await group.expectAllMemoryBack([client]);
});

test('a shard asks the services of another, and of its own', async () => {
  const group = new ShardGroup();
  await group.settle();
  for (const [index, { shard }] of group.nodes.entries()) {
    shard.services.register(7, (bytes, answer) => {
      group.clock.after(10, () => answer(Buffer.concat([Buffer.from(`${index} `), bytes])));
    });
  }
  const answers: (string | null)[] = [];
  const take = (answer: Buffer | null) => answers.push(answer === null ? null : answer.toString());
  const { peers } = group.nodes[1]!;
  peers.ask(0, 7, Buffer.from('what'), take);
  peers.ask(1, 7, Buffer.from('and you'), take);
  peers.ask(0, 7, Buffer.alloc(0), take);
  peers.ask(0, 8, Buffer.from('nobody'), take);
  await group.settle();
  assert.deepEqual(answers, [null]);
  await group.clock.advanceAsync(10);
  assert.deepEqual(answers.slice(1).sort(), ['0 ', '0 what', '1 and you']);
  // Without memory there is no answer, and nothing is left open.
  const taken: number[] = [];
  for (let segment = group.arena.acquire(); segment >= 0; segment = group.arena.acquire())
    taken.push(segment);
  for (const { shard } of group.nodes) shard.pool.slab.close();
  for (let segment = group.arena.acquire(); segment >= 0; segment = group.arena.acquire())
    taken.push(segment);
  peers.ask(0, 7, Buffer.from('what'), take);
  assert.equal(answers[4], null);
  for (const segment of taken) group.arena.release(segment);
  await group.expectAllMemoryBack([]);
});

test('a peer that stands still with a ring of four slots: everything waits in order and is answered', async () => {
  const group = new ShardGroup({ slots: 4 });
  const clients = Array.from({ length: 8 }, () => group.client(1));
  const partition = group.ownedBy(0);
  group.hold(0);
  const produced = clients.flatMap((client, c) =>
    Array.from({ length: 10 }, (_, i) => client.produce(partition, [`${c}/${i}`])),
  );
  const reader = group.client(1);
  const read = reader.fetch([{ partition, offset: 0 }], { maxWaitMs: 1000 });
  await group.settle();
  assert(group.nodes[1]!.peers.peer(0).out.waiting > 70, 'most of it waits');
  assert(produced.every(({ response }) => response === null));
  group.letGo(0);
  await group.settle();
  assert.deepEqual(
    produced.map((each) => answerOf(each).responses[0]!.partitionResponses[0]!.baseOffset),
    produced.map((_each, i) => i),
  );
  await group.clock.advanceAsync(1000);
  assert.equal(answerOf(read).responses[0]!.partitions[0]!.errorCode, 0);
  await group.expectAllMemoryBack([...clients, reader]);
});

test('settings and epochs follow the image of this shard', async () => {
  const group = new ShardGroup();
  const partition = group.ownedBy(0);
  const remote = group.nodes[1]!.shard.partitions.partition(topicId, partition)!;
  assert.equal(remote.settings.logAppendTime, false);
  assert.equal(remote.leaderEpoch, 1);
  group.apply([
    {
      type: 'config',
      resource: 'topic',
      name: topicName,
      entries: { 'message.timestamp.type': 'LogAppendTime' },
    },
    { type: 'open', topicId, partition, leaderEpoch: 5, startOffset: 0, node: 0, wal: 'wal' },
  ]);
  assert.equal(remote.settings.logAppendTime, true);
  assert.equal(remote.leaderEpoch, 5);
  const client = group.client(1);
  const produced = client.produce(partition, ['now']);
  await group.settle();
  const { logAppendTimeMs } = answerOf(produced).responses[0]!.partitionResponses[0]!;
  assert.equal(logAppendTimeMs, group.clock.now());
  await group.expectAllMemoryBack([client]);
});

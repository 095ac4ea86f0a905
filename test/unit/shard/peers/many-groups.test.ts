/** Many groups over one shard and over three: every answer is the same. Virtual time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeleteGroupsCodec } from '../../../../src/protocol/generated/delete-groups.ts';
import { DescribeGroupsCodec } from '../../../../src/protocol/generated/describe-groups.ts';
import { ListGroupsCodec } from '../../../../src/protocol/generated/list-groups.ts';
import { OffsetCommitCodec } from '../../../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../../../src/protocol/generated/offset-fetch.ts';
import { answerOf, ShardGroup, topicName } from './shard-group.ts';

const groupCount = 2_000;
const rounds = 3;
const ids = Array.from({ length: groupCount }, (_, i) => `${(i * 7919) % 10_007} of many`);

/** Each group commits once a second; then everything that asks for many groups. */
async function answers(shards: number) {
  const group = new ShardGroup({ shards });
  await group.settle();
  const clients = Array.from({ length: 12 }, (_, i) => group.client(i % shards));
  for (let round = 0; round < rounds; round++) {
    // A connection has 16 requests under way at most: 14 at a time from each.
    for (let first = 0; first < groupCount; first += 12 * 14) {
      const codes = ids.slice(first, first + 12 * 14).map((groupId, i) =>
        clients[i % clients.length]!.send(OffsetCommitCodec, 7, {
          groupId,
          generationIdOrMemberEpoch: -1,
          memberId: '',
          topics: [
            {
              name: topicName,
              partitions: [
                {
                  partitionIndex: (first + i) % 6,
                  committedOffset: round * groupCount + first + i,
                  committedMetadata: '',
                },
              ],
            },
          ],
        }),
      );
      await group.settle();
      for (const each of codes) assert.equal(answerOf(each).topics[0]!.partitions[0]!.errorCode, 0);
    }
    await group.clock.advanceAsync(1_000);
    // As an upload would: the journals have room for the next round.
    for (const { shard } of group.nodes) shard.uploaded(0, shard.collect(0, Number.MAX_SAFE_INTEGER, []).end);
  }
  const asker = clients[clients.length - 1]!;
  const fetched = asker.send(OffsetFetchCodec, 8, {
    groups: ids.map((groupId) => ({ groupId, topics: null })),
    requireStable: false,
  });
  const described = asker.send(DescribeGroupsCodec, 5, { groups: ids });
  const listed = asker.send(ListGroupsCodec, 4, { statesFilter: [] });
  await group.settle();
  const deleted = asker.send(DeleteGroupsCodec, 2, { groupsNames: [...ids, 'nobody'] });
  await group.settle();
  const left = asker.send(ListGroupsCodec, 4, { statesFilter: [] });
  await group.settle();
  const told = {
    fetched: answerOf(fetched),
    described: answerOf(described),
    listed: answerOf(listed)
      .groups.map(({ groupId, groupState }) => `${groupId} ${groupState}`)
      .sort(),
    deleted: answerOf(deleted),
    left: answerOf(left),
  };
  const places = new Set(
    ids.map((id) => group.nodes[0]!.shard.coordinators.ownerOf('__consumer_offsets', id)),
  );
  assert.equal(places.size, shards, 'every shard has groups');
  await group.expectAllMemoryBack(clients);
  return told;
}

test('2,000 groups on one shard and on three', async () => {
  const one = await answers(1);
  assert.equal(one.listed.length, groupCount);
  assert.equal(one.left.groups.length, 0);
  for (const [i, { groupId, topics }] of one.fetched.groups.entries()) {
    assert.equal(groupId, ids[i]);
    assert.equal(topics[0]!.partitions[0]!.committedOffset, (rounds - 1) * groupCount + i);
  }
  assert.deepEqual(await answers(3), one);
});

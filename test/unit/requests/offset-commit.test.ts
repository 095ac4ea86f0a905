import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetDeleteCodec } from '../../../src/protocol/generated/offset-delete.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { offsetCommitHandler } from '../../../src/requests/offset-commit.ts';
import { offsetDeleteHandler } from '../../../src/requests/offset-delete.ts';
import { offsetFetchHandler } from '../../../src/requests/offset-fetch.ts';
import { fakeServices, send } from '../coordinator/group/fake-services.ts';
import { group, rig, topicIds } from '../coordinator/group/fixtures.ts';

const nowhereId = 'AAAAAAAAAAAAAAAAAAAACQ';

describe('OffsetCommit, OffsetFetch, OffsetDelete', () => {
  it('partitions that the topic has not are refused, the others are not touched by it', async () => {
    const on = await rig();
    const services = fakeServices(on);
    const commit = send(OffsetCommitCodec, offsetCommitHandler(services), 7, {
      groupId: group,
      topics: [
        {
          name: 't',
          partitions: [-1, 1, 10, 9].map((partitionIndex) => ({ partitionIndex, committedOffset: 5 })),
        },
      ],
    });
    on.tick();
    const codesOf = (partitions: readonly { errorCode: number }[]) =>
      partitions.map(({ errorCode }) => errorCode);
    assert.deepEqual(codesOf(commit.value.topics[0]!.partitions), [3, 0, 3, 0]);
    const deletion = send(OffsetDeleteCodec, offsetDeleteHandler(services), 0, {
      groupId: group,
      topics: [
        { name: 'nowhere', partitions: [{ partitionIndex: 0 }] },
        { name: 't', partitions: [10, 1, -1, 9].map((partitionIndex) => ({ partitionIndex })) },
      ],
    });
    on.tick();
    assert.deepEqual(
      deletion.value.topics.map(({ partitions }) => codesOf(partitions)),
      [[3], [3, 0, 3, 0]],
    );
    const left = send(OffsetFetchCodec, offsetFetchHandler(services), 7, {
      groupId: group,
      topics: [{ name: 't', partitionIndexes: [1, 9, 10] }],
    });
    assert.deepEqual(
      left.value.topics[0]!.partitions.map(({ committedOffset }) => committedOffset),
      [-1, -1, -1],
    );
  });

  for (let version = 0; version <= 10; version++) {
    it(`commit and fetch, v${version}`, async () => {
      const on = await rig();
      const services = fakeServices(on);
      const name = (topic: string) =>
        version >= 10 ? { topicId: topicIds[topic] ?? nowhereId } : { name: topic };
      const partitions = [{ partitionIndex: 1, committedOffset: 42, committedMetadata: null }];
      const commit = send(OffsetCommitCodec, offsetCommitHandler(services), version, {
        groupId: group,
        topics: [
          { ...name('nowhere'), partitions },
          { ...name('t'), partitions },
        ],
      });
      on.tick();
      assert.deepEqual(
        commit.value.topics.map((topic) => topic.partitions[0]?.errorCode),
        [version >= 10 ? 100 : 3, 0],
      );

      const topics = [
        { ...name('nowhere'), partitionIndexes: [0] },
        { ...name('t'), partitionIndexes: [0, 1] },
      ];
      const fetch = offsetFetchHandler(services);
      const many = version >= 8;
      const input = many ? { groups: [{ groupId: group, topics }] } : { groupId: group, topics };
      const answer = send(OffsetFetchCodec, fetch, version, input as never).value;
      const found = many ? answer.groups[0]!.topics : answer.topics;
      assert.deepEqual(
        found.map((topic) =>
          topic.partitions.map((one) => [one.partitionIndex, one.committedOffset, one.errorCode]),
        ),
        [
          [[0, -1, version >= 10 ? 100 : 0]],
          [
            [0, -1, 0],
            [1, 42, 0],
          ],
        ],
      );
      if (version < 2) return;
      const all = many ? { groups: [{ groupId: group, topics: null }] } : { groupId: group, topics: null };
      const everything = send(OffsetFetchCodec, fetch, version, all).value;
      const listed = many ? everything.groups[0]!.topics : everything.topics;
      assert.equal(listed.length, 1);
      assert.equal(listed[0]?.partitions[0]?.committedOffset, 42);

      on.shard.unload(on.shard.partitionOf(group));
      const away = send(OffsetFetchCodec, fetch, version, all).value;
      assert.equal(many ? away.groups[0]?.errorCode : away.errorCode, 16);
    });
  }

  it('a generation of an unknown group is 22 before v9 and 69 from there', async () => {
    const on = await rig();
    const code = (version: number) =>
      send(OffsetCommitCodec, offsetCommitHandler(fakeServices(on)), version, {
        groupId: group,
        generationIdOrMemberEpoch: 4,
        memberId: 'm',
        topics: [{ name: 't', partitions: [{ partitionIndex: 0, committedOffset: 1 }] }],
      }).value.topics[0]?.partitions[0]?.errorCode;
    assert.equal(code(8), 22);
    assert.equal(code(9), 69);
  });

  it('an offset of an earlier topic of the same name is none of the topic asked for by id', async () => {
    const on = await rig();
    on.commit({
      offsets: [{ topic: 't', topicId: nowhereId, partition: 0, offset: 9, leaderEpoch: -1, metadata: '' }],
    });
    on.tick();
    const topics = [{ topicId: topicIds.t, partitionIndexes: [0] }];
    const answer = send(OffsetFetchCodec, offsetFetchHandler(fakeServices(on)), 10, {
      groups: [{ groupId: group, topics }],
    }).value;
    assert.equal(answer.groups[0]?.topics[0]?.partitions[0]?.committedOffset, -1);
  });

  it('OffsetDelete answers in the order asked', async () => {
    const on = await rig();
    on.commit({
      offsets: [{ topic: 't', topicId: null, partition: 0, offset: 9, leaderEpoch: -1, metadata: '' }],
    });
    on.tick();
    const partitions = [{ partitionIndex: 0 }];
    const drop = send(OffsetDeleteCodec, offsetDeleteHandler(fakeServices(on)), 0, {
      groupId: group,
      topics: ['nowhere', 't', 'u'].map((name) => ({ name, partitions })),
    });
    on.tick();
    assert.deepEqual(
      drop.value.topics.map((topic) => [topic.name, topic.partitions[0]?.errorCode]),
      [
        ['nowhere', 3],
        ['t', 0],
        ['u', 0],
      ],
    );
    assert.deepEqual(on.fetch().offsets, []);
    const unknown = { groupId: 'nothing', topics: [] };
    const answer = send(OffsetDeleteCodec, offsetDeleteHandler(fakeServices(on)), 0, unknown).value;
    assert.equal(answer.errorCode, 69);
  });

  for (const version of [6, 7, 9, 10]) {
    it(`what a transaction may change is unstable, v${version}`, async () => {
      const on = await rig();
      const offset = { topic: 't', topicId: topicIds.t!, partition: 0, leaderEpoch: -1, metadata: '' };
      on.commit({ offsets: [{ ...offset, offset: 1 }] });
      on.commit({ offsets: [{ ...offset, offset: 2 }], producer: { producerId: 5, producerEpoch: 0 } });
      on.tick();
      const topics = [
        { ...(version >= 10 ? { topicId: topicIds.t! } : { name: 't' }), partitionIndexes: [0] },
      ];
      const question = version >= 8 ? { groups: [{ groupId: group, topics }] } : { groupId: group, topics };
      const input = version >= 7 ? { ...question, requireStable: true } : question;
      const answer = send(
        OffsetFetchCodec,
        offsetFetchHandler(fakeServices(on)),
        version,
        input as never,
      ).value;
      const [found] = (version >= 8 ? answer.groups[0]!.topics : answer.topics)[0]!.partitions;
      assert.deepEqual([found!.committedOffset, found!.errorCode], version >= 7 ? [-1, 88] : [1, 0]);
    });
  }
});

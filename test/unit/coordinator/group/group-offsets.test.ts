import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OffsetDeleteAnswer } from '../../../../src/coordinator/group/group-api.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { group, offsetOf, rig, stableGroup } from './fixtures.ts';

describe('commit', () => {
  it('is answered and seen only when durable', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    on.log.hold = true;
    const commit = on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5)] });
    on.tick();
    assert.ok(!commit.given);
    assert.deepEqual(on.fetch().offsets, []);
    on.log.release();
    assert.deepEqual(commit.value, [ErrorCode.NONE]);
    assert.equal(on.fetch().offsets[0]?.offset, 5);
  });

  it('is taken in Stable and PreparingRebalance, not in CompletingRebalance', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    const commit = () => {
      const answer = on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 1)] });
      on.tick();
      return answer.value[0];
    };
    assert.equal(commit(), ErrorCode.NONE);
    on.join();
    assert.equal(on.describe().state, 'PreparingRebalance');
    assert.equal(commit(), ErrorCode.NONE);
    on.join({ memberId: a });
    assert.equal(commit(), ErrorCode.ILLEGAL_GENERATION);
    const answer = on.commit({ memberId: a, generation: 2, offsets: [offsetOf('t', 0, 1)] });
    assert.deepEqual(answer.value, [ErrorCode.REBALANCE_IN_PROGRESS]);
  });

  it('refuses unknown members, fenced instances and generations of unknown groups', async () => {
    const on = await rig();
    const offsets = [offsetOf('t', 0, 1)];
    const code = (query: Parameters<typeof on.commit>[0]) => on.commit({ offsets, ...query }).value[0];
    assert.equal(code({ generation: 3, memberId: 'x' }), ErrorCode.GROUP_ID_NOT_FOUND);
    assert.equal(code({ generation: 3, unknownGroupCode: 22 }), ErrorCode.ILLEGAL_GENERATION);
    const [a = ''] = stableGroup(on, 1, { instanceId: 'pod-1' });
    assert.equal(code({ generation: 1, memberId: 'x' }), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.equal(code({ generation: 1, memberId: 'x', instanceId: 'pod-1' }), ErrorCode.FENCED_INSTANCE_ID);
    assert.equal(code({ generation: 9, memberId: a }), ErrorCode.ILLEGAL_GENERATION);
    assert.equal(code({}), ErrorCode.UNKNOWN_MEMBER_ID, 'group-less while members are in');
  });

  it('without a group works while the group has no members', async () => {
    const on = await rig();
    const commit = on.commit({ offsets: [offsetOf('t', 1, 7)] });
    on.tick();
    assert.deepEqual(commit.value, [ErrorCode.NONE]);
    assert.deepEqual(on.describe(), { state: 'Empty', members: 0 });
  });

  it('metadata over offset.metadata.max.bytes costs only its own partition', async () => {
    const on = await rig();
    const commit = on.commit({
      offsets: [
        { ...offsetOf('t', 0, 1), metadata: 'é'.repeat(2_049) },
        { ...offsetOf('t', 1, 2), metadata: 'é'.repeat(2_048) },
      ],
    });
    on.tick();
    assert.deepEqual(commit.value, [ErrorCode.OFFSET_METADATA_TOO_LARGE, ErrorCode.NONE]);
    assert.deepEqual(
      on.fetch().offsets.map((offset) => offset.partition),
      [1],
    );
  });

  it('is bounded in size, and in what waits for the log', async () => {
    const on = await rig({ recordsBytesMax: 500, pendingBytesMax: 600 });
    const many = Array.from({ length: 20 }, (_, i) => offsetOf('t', i, 1));
    assert.ok(
      on.commit({ offsets: many }).value.every((code) => code === ErrorCode.INVALID_COMMIT_OFFSET_SIZE),
    );
    assert.equal(on.describe().state, 'Dead');
    on.log.hold = true;
    const codes: (number | undefined)[] = [];
    for (let i = 0; i < 40; i++) {
      const commit = on.commit({ offsets: [offsetOf('t', 0, i)] });
      codes.push(commit.given ? commit.value[0] : undefined);
    }
    assert.equal(codes[0], undefined);
    assert.equal(codes[39], ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    assert.ok(on.log.held.length < 20);
  });

  it('keeps a member alive', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    for (let i = 0; i < 4; i++) {
      on.tick(6_000);
      on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, i)] });
    }
    on.tick();
    assert.equal(on.heartbeat(a, 1), ErrorCode.NONE);
  });

  it('fetch of an unknown group is empty and no error', async () => {
    const on = await rig();
    assert.deepEqual(on.fetch(), { errorCode: ErrorCode.NONE, offsets: [] });
  });
});

describe('delete and list', () => {
  it('a group goes only without members, and for good when durable', async () => {
    const on = await rig();
    const codes: number[] = [];
    const drop = () => on.shard.deleteGroup(group, (code) => codes.push(code));
    drop();
    const [a = ''] = stableGroup(on, 1);
    on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5)] });
    on.tick();
    drop();
    on.leave([{ memberId: a, instanceId: null }]);
    on.tick();
    on.log.hold = true;
    drop();
    assert.deepEqual(codes, [ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.NON_EMPTY_GROUP]);
    assert.equal(on.fetch().offsets.length, 1, 'what is not durably deleted is still there');
    assert.equal(on.join().value.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    on.log.release();
    assert.equal(codes[2], ErrorCode.NONE);
    assert.equal(on.fetch().offsets.length, 0);
    const later = await rig({}, 2, on.log);
    assert.equal(later.describe().state, 'Dead');
    assert.equal(later.fetch().offsets.length, 0);
  });

  it('offsets of a subscribed topic stay, others go', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5), offsetOf('u', 0, 6)] });
    on.tick();
    const topics = [
      { topic: 't', partitions: [0] },
      { topic: 'u', partitions: [0, 1] },
    ];
    const answers: OffsetDeleteAnswer[] = [];
    on.shard.deleteOffsets(group, topics, (answer) => answers.push(answer));
    assert.equal(answers.length, 0);
    on.tick();
    assert.deepEqual(
      [...answers],
      [
        {
          errorCode: 0,
          topics: [
            { topic: 't', partitions: [{ partition: 0, errorCode: ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC }] },
            {
              topic: 'u',
              partitions: [
                { partition: 0, errorCode: 0 },
                { partition: 1, errorCode: 0 },
              ],
            },
          ],
        },
      ],
    );
    assert.deepEqual(
      on.fetch().offsets.map((offset) => offset.topic),
      ['t'],
    );
    on.shard.deleteOffsets('nothing', topics, (answer) => answers.push(answer));
    assert.equal(answers[1]?.errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
  });

  it('offsets of a group with members of another protocol stay', async () => {
    const on = await rig();
    stableGroup(on, 1, { protocolType: 'connect' });
    on.shard.deleteOffsets(group, [], (answer) => assert.equal(answer.errorCode, ErrorCode.NON_EMPTY_GROUP));
  });

  it('lists groups with their states', async () => {
    const on = await rig();
    stableGroup(on, 1);
    on.commit({ groupId: 'simple', offsets: [offsetOf('t', 0, 1)] });
    on.shard.list((code, groups) => {
      assert.equal(code, ErrorCode.NONE);
      assert.deepEqual(
        [...groups].sort((x, y) => x.groupId.localeCompare(y.groupId)),
        [
          { groupId: group, protocolType: 'consumer', state: 'Stable', groupType: 'classic' },
          { groupId: 'simple', protocolType: '', state: 'Empty', groupType: 'classic' },
        ],
      );
    });
  });
});

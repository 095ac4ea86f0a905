/** What members of a share group are told, and what others are told of the group: one question at a time, on virtual time. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  ShareGroupPorts,
  ShareHeartbeatAnswer,
  ShareHeartbeatQuery,
} from '../../../../../src/coordinator/group/share/share-group-api.ts';
import { ErrorCode, errorName } from '../../../../../src/protocol/generated/errors.ts';
import { ShareGroupDescribeCodec } from '../../../../../src/protocol/generated/share-group-describe.ts';
import { ShareGroupHeartbeatCodec } from '../../../../../src/protocol/generated/share-group-heartbeat.ts';
import { shareGroupDescribeHandler } from '../../../../../src/requests/share-group-describe.ts';
import { shareGroupHeartbeatHandler } from '../../../../../src/requests/share-group-heartbeat.ts';
import { fakeServices, send } from '../fake-services.ts';
import { Answer, group, type Rig, rig, topicIds } from '../fixtures.ts';
import { noShareGroups } from '../share-ports.ts';

const ports: ShareGroupPorts = {
  ...noShareGroups,
  settings: (groupId) => ({ ...noShareGroups.settings(groupId), assignmentIntervalMs: 1_000 }),
  topic: (name) => (name in topicIds ? { topicId: topicIds[name]!, partitions: 2 } : null),
  initialize: (_key, _stateEpoch, _startOffset, done) => done(ErrorCode.NONE),
  delete: (_key, done) => done(ErrorCode.NONE),
};

const world = () => rig({ share: ports });

function groupsOf(on: Rig) {
  const groups = on.shard.shareGroups(group);
  assert.ok(typeof groups !== 'number');
  return groups;
}

function beat(on: Rig, query: Partial<ShareHeartbeatQuery>): ShareHeartbeatAnswer {
  const answer = new Answer<ShareHeartbeatAnswer>();
  const common = { groupId: group, memberId: 'm', rackId: null, clientId: 'c', clientHost: '/h' };
  groupsOf(on).heartbeat({ ...common, memberEpoch: 0, topics: null, ...query }, answer.done);
  on.tick();
  return answer.value;
}

const epochsOf = (on: Rig) => {
  const { epoch, assignmentEpoch } = groupsOf(on).describe(group)!;
  return [epoch, assignmentEpoch];
};

describe('heartbeats of share groups', () => {
  it('refuse ids that are blank or too long', async () => {
    const on = await world();
    const handler = shareGroupHeartbeatHandler(fakeServices(on));
    const join = { groupId: group, memberId: 'm', memberEpoch: 0, subscribedTopicNames: ['t'] };
    for (const wrong of [
      { groupId: '' },
      { groupId: ' \t ' },
      { memberId: '' },
      { memberId: '  ' },
      { memberId: 'm'.repeat(37) },
      { rackId: '' },
      { rackId: ' ' },
    ]) {
      const answer = send(ShareGroupHeartbeatCodec, handler, 1, { ...join, ...wrong });
      on.tick();
      assert.equal(errorName(answer.value.errorCode), 'INVALID_REQUEST', JSON.stringify(wrong));
    }
    const longest = send(ShareGroupHeartbeatCodec, handler, 1, { ...join, memberId: 'm'.repeat(36) });
    on.tick();
    assert.equal(longest.value.errorCode, ErrorCode.NONE);
  });

  it('take away what a member does not read any more before a new target is there', async () => {
    const on = await world();
    const { memberEpoch } = beat(on, { topics: ['t'] });
    assert.deepEqual(beat(on, { memberEpoch, topics: ['t', 'u'] }).assignment, [
      { topicId: topicIds.t, partitions: [0, 1] },
    ]);
    assert.deepEqual(beat(on, { memberEpoch, topics: [] }).assignment, []);
  });
});

describe('a share group described', () => {
  it('has its assignment at its epoch when the last member has left, and when its offsets were moved', async () => {
    const on = await world();
    beat(on, { topics: ['t'] });
    beat(on, { memberEpoch: -1 });
    const [epoch, assigned] = epochsOf(on);
    assert.equal(assigned, epoch);
    const altered = new Answer<number>();
    const topic = { topicId: topicIds.t!, name: 't', partitions: [0] };
    groupsOf(on).admin.alter(group, [{ topic, startOffsets: [7] }], (error) => altered.done(error));
    on.tick();
    assert.equal(altered.value, ErrorCode.NONE);
    assert.deepEqual(epochsOf(on), [epoch! + 1, epoch! + 1]);
    const forgotten = new Answer<readonly number[]>();
    groupsOf(on).admin.deleteOffsets(group, [topicIds.t!, topicIds.u!], (_error, errors) =>
      forgotten.done(errors),
    );
    on.tick();
    assert.deepEqual(forgotten.value, [ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]);
  });

  it('that is not there has an error and nothing else', async () => {
    const on = await world();
    const handler = shareGroupDescribeHandler(fakeServices(on));
    const answer = send(ShareGroupDescribeCodec, handler, 1, { groupIds: ['', 'unknown'] });
    assert.deepEqual(
      answer.value.groups.map(({ errorCode, groupState, assignorName }) => [
        errorName(errorCode),
        groupState,
        assignorName,
      ]),
      [
        ['INVALID_GROUP_ID', '', ''],
        ['GROUP_ID_NOT_FOUND', '', ''],
      ],
    );
  });
});

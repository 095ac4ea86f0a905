/** ConsumerGroupHeartbeat and ConsumerGroupDescribe as bytes, and what ListGroups says of their groups. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConsumerGroupDescribeCodec } from '../../../src/protocol/generated/consumer-group-describe.ts';
import { ConsumerGroupHeartbeatCodec } from '../../../src/protocol/generated/consumer-group-heartbeat.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ListGroupsCodec } from '../../../src/protocol/generated/list-groups.ts';
import { consumerGroupDescribeHandler } from '../../../src/requests/consumer-group-describe.ts';
import { consumerGroupHeartbeatHandler } from '../../../src/requests/consumer-group-heartbeat.ts';
import { listGroupsHandler } from '../../../src/requests/list-groups.ts';
import { fakeServices, send } from '../coordinator/group/fake-services.ts';
import { rig, stableGroup, topicIds } from '../coordinator/group/fixtures.ts';

const joining = {
  groupId: 'orders',
  memberId: 'a',
  memberEpoch: 0,
  rebalanceTimeoutMs: 30_000,
  subscribedTopicNames: ['t'],
  topicPartitions: [],
};

test('a member joins, and is told by its group', async () => {
  const on = await rig();
  const services = fakeServices(on);
  const heartbeat = consumerGroupHeartbeatHandler({ ...services, isOn: () => true });
  for (const version of [0, 1]) {
    const answer = send(ConsumerGroupHeartbeatCodec, heartbeat, version, joining);
    on.tick();
    const { errorCode, memberId, memberEpoch, heartbeatIntervalMs, assignment } = answer.value;
    assert.deepEqual([errorCode, memberId, memberEpoch, heartbeatIntervalMs], [0, 'a', 2, 5_000]);
    assert.deepEqual(assignment, { topicPartitions: [{ topicId: topicIds.t, partitions: [0] }] });
  }
  const unchanged = send(ConsumerGroupHeartbeatCodec, heartbeat, 1, {
    groupId: 'orders',
    memberId: 'a',
    memberEpoch: 2,
    rebalanceTimeoutMs: -1,
  });
  assert.equal(unchanged.value.assignment, null);
  const describe = consumerGroupDescribeHandler(services);
  const { groups } = send(ConsumerGroupDescribeCodec, describe, 1, {
    groupIds: ['orders', 'none', ''],
    includeAuthorizedOperations: true,
  }).value;
  assert.deepEqual(
    groups.map(({ errorCode }) => errorCode),
    [0, ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.INVALID_GROUP_ID],
  );
  const [group] = groups;
  assert.deepEqual(
    [
      group!.groupState,
      group!.groupEpoch,
      group!.assignmentEpoch,
      group!.assignorName,
      group!.authorizedOperations,
    ],
    ['Stable', 2, 2, 'uniform', 0b110101001000],
  );
  const part = { topicPartitions: [{ topicId: topicIds.t, topicName: 't', partitions: [0] }] };
  const [member] = group!.members;
  assert.deepEqual([member!.assignment, member!.targetAssignment, member!.memberType], [part, part, 1]);
  const list = (typesFilter: string[]) =>
    send(ListGroupsCodec, listGroupsHandler(services), 5, { typesFilter }).value.groups.map(
      ({ groupId, groupType, groupState }) => `${groupId} ${groupType} ${groupState}`,
    );
  assert.deepEqual(list(['Consumer']), ['orders consumer Stable']);
  assert.deepEqual(list(['classic']), []);
});

test('is not served to a cluster whose group.version is 0, nor is a classic group described', async () => {
  const on = await rig();
  const services = fakeServices(on);
  const heartbeat = consumerGroupHeartbeatHandler({ ...services, isOn: () => false });
  const { errorCode } = send(ConsumerGroupHeartbeatCodec, heartbeat, 1, joining).value;
  assert.equal(errorCode, ErrorCode.UNSUPPORTED_VERSION);
  stableGroup(on, 1);
  const describe = consumerGroupDescribeHandler(services);
  const { groups } = send(ConsumerGroupDescribeCodec, describe, 0, { groupIds: ['orders'] }).value;
  assert.equal(groups[0]!.errorCode, ErrorCode.GROUP_ID_NOT_FOUND);
  assert.match(groups[0]!.errorMessage!, /not a consumer group/);
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DeleteGroupsCodec } from '../../../src/protocol/generated/delete-groups.ts';
import { DescribeGroupsCodec } from '../../../src/protocol/generated/describe-groups.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { ListGroupsCodec } from '../../../src/protocol/generated/list-groups.ts';
import { deleteGroupsHandler } from '../../../src/requests/delete-groups.ts';
import { describeGroupsHandler } from '../../../src/requests/describe-groups.ts';
import { findCoordinatorHandler } from '../../../src/requests/find-coordinator.ts';
import { listGroupsHandler } from '../../../src/requests/list-groups.ts';
import { fakeServices, send } from '../coordinator/group/fake-services.ts';
import { group, offsetOf, rig, stableGroup, subscription } from '../coordinator/group/fixtures.ts';

describe('DescribeGroups', () => {
  for (let version = 0; version <= 6; version++) {
    it(`v${version}`, async () => {
      const on = await rig();
      const [a = ''] = stableGroup(on, 1);
      const answer = send(DescribeGroupsCodec, describeGroupsHandler(fakeServices(on)), version, {
        groups: [group, 'nothing'],
        includeAuthorizedOperations: version >= 3 ? true : undefined,
      }).value;
      const [known, unknown] = answer.groups;
      assert.equal(known?.groupState, 'Stable');
      assert.equal(known?.protocolData, 'range');
      assert.deepEqual(Buffer.from(known!.members[0]!.memberMetadata), subscription('t'));
      assert.equal(Buffer.from(known!.members[0]!.memberAssignment).toString(), `part of ${a}`);
      assert.equal(known?.authorizedOperations, version >= 3 ? 3400 : -2147483648);
      assert.equal(unknown?.groupState, 'Dead');
      assert.equal(unknown?.errorCode, version >= 6 ? 69 : 0);
    });
  }

  it('shows no metadata while the group rebalances', async () => {
    const on = await rig();
    stableGroup(on, 1);
    on.join();
    const handler = describeGroupsHandler(fakeServices(on));
    const [one] = send(DescribeGroupsCodec, handler, 6, { groups: [group] }).value.groups;
    assert.equal(one?.groupState, 'PreparingRebalance');
    assert.equal(one?.protocolData, '');
    assert.equal(one?.members[0]?.memberMetadata.length, 0);
  });
});

describe('ListGroups', () => {
  it('filters by state and type', async () => {
    const on = await rig();
    stableGroup(on, 1);
    on.commit({ groupId: 'simple', offsets: [offsetOf('t', 0, 1)] });
    const handler = listGroupsHandler(fakeServices(on));
    const names = (version: number, input: object) =>
      send(ListGroupsCodec, handler, version, input)
        .value.groups.map(({ groupId }) => groupId)
        .sort();
    for (let version = 0; version <= 5; version++) assert.deepEqual(names(version, {}), [group, 'simple']);
    assert.deepEqual(names(4, { statesFilter: ['stable'] }), [group]);
    assert.deepEqual(names(5, { statesFilter: ['Empty', 'Dead'], typesFilter: ['Classic'] }), ['simple']);
    assert.deepEqual(names(5, { typesFilter: ['consumer'] }), []);
    const [first] = send(ListGroupsCodec, handler, 5, { statesFilter: ['STABLE'] }).value.groups;
    assert.deepEqual(first, {
      groupId: group,
      protocolType: 'consumer',
      groupState: 'Stable',
      groupType: 'classic',
    });
  });
});

describe('DeleteGroups', () => {
  it('answers each group', async () => {
    const on = await rig();
    stableGroup(on, 1);
    on.commit({ groupId: 'simple', offsets: [offsetOf('t', 0, 1)] });
    on.tick();
    for (let version = 0; version <= 3; version++) {
      const answer = send(DeleteGroupsCodec, deleteGroupsHandler(fakeServices(on)), version, {
        groupsNames: [group, 'simple', 'nothing', 'nothing'],
      });
      on.tick();
      assert.deepEqual(
        answer.value.results.map((result) => [result.groupId, result.errorCode]),
        [
          [group, 68],
          ['simple', version === 0 ? 0 : 69],
          ['nothing', 69],
        ],
      );
    }
  });
});

describe('FindCoordinator', () => {
  it('answers one key up to v3 and many from v4', async () => {
    const on = await rig();
    const handler = findCoordinatorHandler(fakeServices(on));
    for (let version = 0; version <= 3; version++) {
      const one = send(FindCoordinatorCodec, handler, version, { key: group }).value;
      assert.deepEqual([one.errorCode, one.nodeId, one.host, one.port], [0, 1, 'broker', 9092]);
      if (version >= 1) assert.equal(one.errorMessage, 'NONE');
    }
    for (let version = 4; version <= 6; version++) {
      const many = send(FindCoordinatorCodec, handler, version, { coordinatorKeys: ['x', 'y'] }).value;
      assert.deepEqual(
        many.coordinators.map((one) => [one.key, one.nodeId, one.errorCode, one.errorMessage]),
        [
          ['x', 1, 0, ''],
          ['y', 1, 0, ''],
        ],
      );
    }
  });

  it('answers who asks for nothing', async () => {
    const handler = findCoordinatorHandler(fakeServices(await rig()));
    for (let version = 4; version <= 6; version++)
      assert.deepEqual(
        send(FindCoordinatorCodec, handler, version, { coordinatorKeys: [] }).value.coordinators,
        [],
      );
  });

  it('refuses unknown kinds, and share keys that are old or not in their form', async () => {
    const on = await rig();
    const handler = findCoordinatorHandler(fakeServices(on));
    const codes = (version: number, keyType: number, coordinatorKeys: string[]) =>
      send(FindCoordinatorCodec, handler, version, { keyType, coordinatorKeys }).value.coordinators.map(
        (one) => one.errorCode,
      );
    const good = 'a:b:AAAAAAAAAAAAAAAAAAAAAQ:0';
    assert.deepEqual(codes(6, 2, [good, 'group', 'g:t:0']), [0, 42, 42]);
    assert.deepEqual(codes(5, 2, [good]), [42]);
    assert.deepEqual(codes(6, 3, ['x']), [42]);
    assert.deepEqual(codes(6, 1, ['x']), [0]);
  });

  it('says why there is no coordinator yet', async () => {
    const on = await rig();
    const away = { errorCode: 15, nodeId: -1, host: '', port: -1 };
    const handler = findCoordinatorHandler(fakeServices(on, away));
    const one = send(FindCoordinatorCodec, handler, 2, { key: group }).value;
    assert.deepEqual([one.errorCode, one.nodeId, one.errorMessage], [15, -1, null]);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { HeartbeatCodec } from '../../../src/protocol/generated/heartbeat.ts';
import { JoinGroupCodec } from '../../../src/protocol/generated/join-group.ts';
import { LeaveGroupCodec } from '../../../src/protocol/generated/leave-group.ts';
import { SyncGroupCodec } from '../../../src/protocol/generated/sync-group.ts';
import { heartbeatHandler } from '../../../src/requests/heartbeat.ts';
import { joinGroupHandler } from '../../../src/requests/join-group.ts';
import { leaveGroupHandler } from '../../../src/requests/leave-group.ts';
import { syncGroupHandler } from '../../../src/requests/sync-group.ts';
import { fakeServices, send } from '../coordinator/group/fake-services.ts';
import { group, rig } from '../coordinator/group/fixtures.ts';

describe('JoinGroup, SyncGroup, Heartbeat, LeaveGroup', () => {
  for (let version = 0; version <= 9; version++) {
    it(`carry a member through the group, JoinGroup v${version}`, async () => {
      const on = await rig();
      const services = fakeServices(on);
      const join = joinGroupHandler(services);
      const bad = send(JoinGroupCodec, join, version, { groupId: group, sessionTimeoutMs: 1 }).value;
      assert.equal(bad.errorCode, 26);
      assert.equal(bad.generationId, -1);
      assert.equal(bad.protocolName, version >= 7 ? null : '');
      const input = {
        groupId: group,
        sessionTimeoutMs: 10_000,
        rebalanceTimeoutMs: version >= 1 ? 20_000 : undefined,
        protocolType: 'consumer',
        protocols: [{ name: 'range', metadata: Buffer.from('wish') }],
      };
      let memberId = '';
      if (version >= 4) {
        const first = send(JoinGroupCodec, join, version, input).value;
        assert.equal(first.errorCode, 79);
        memberId = first.memberId;
      }
      const joining = send(JoinGroupCodec, join, version, { ...input, memberId });
      on.tick();
      const joined = joining.value;
      assert.equal(joined.errorCode, 0);
      assert.equal(joined.protocolType, version >= 7 ? 'consumer' : null);
      assert.equal(Buffer.from(joined.members[0]!.metadata).toString(), 'wish');
      memberId = joined.memberId;

      const lower = Math.min(version, 5);
      const sync = send(SyncGroupCodec, syncGroupHandler(services), lower, {
        groupId: group,
        generationId: 1,
        memberId,
        protocolType: lower >= 5 ? 'consumer' : undefined,
        protocolName: lower >= 5 ? 'range' : undefined,
        assignments: [{ memberId, assignment: Buffer.from('part') }],
      });
      assert.ok(!sync.given);
      on.tick();
      assert.equal(Buffer.from(sync.value.assignment).toString(), 'part');

      const beat = { groupId: group, generationId: 1, memberId };
      const heartbeat = heartbeatHandler(services);
      assert.equal(send(HeartbeatCodec, heartbeat, Math.min(version, 4), beat).value.errorCode, 0);

      const leave = leaveGroupHandler(services);
      const leaving =
        lower >= 3
          ? { groupId: group, members: [{ memberId }, { memberId: 'nobody' }] }
          : { groupId: group, memberId };
      const left = send(LeaveGroupCodec, leave, lower, leaving).value;
      assert.equal(left.errorCode, 0);
      assert.deepEqual(
        left.members.map((member) => member.errorCode),
        lower >= 3 ? [0, 25] : [],
      );
      if (lower < 3) assert.equal(send(LeaveGroupCodec, leave, lower, leaving).value.errorCode, 25);
    });
  }
});

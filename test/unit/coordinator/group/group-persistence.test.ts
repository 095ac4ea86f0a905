import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Group } from '../../../../src/coordinator/group/group.ts';
import { GroupCoordinatorShard } from '../../../../src/coordinator/group/group-coordinator.ts';
import {
  offsetKey,
  offsetValue,
  readKey,
  readOffsetValue,
} from '../../../../src/coordinator/group/group-records.ts';
import { defaultStreamsLimits } from '../../../../src/coordinator/group/streams/streams-group-api.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { Answer, group, offsetOf, type Rig, rig, stableGroup } from './fixtures.ts';
import { noShareGroups } from './share-ports.ts';

const minute = 60_000;
const partitionOf = (on: Rig) => on.shard.partitionOf(group);

describe('records of the offsets topic', () => {
  it('have Kafka’s layout', () => {
    assert.equal(offsetKey('g', 't', 3).toString('hex'), '0001' + '000167' + '000174' + '00000003');
    const entry = {
      ...offsetOf('t', 3, 258),
      leaderEpoch: 7,
      metadata: 'm',
      commitTimestamp: 1_000,
      expireTimestamp: -1,
    };
    // Version 4, offset, epoch, compact metadata, commit time, no tags: the topic id is not known.
    assert.equal(
      offsetValue(entry).toString('hex'),
      '0004' + '0000000000000102' + '00000007' + '026d' + '00000000000003e8' + '00',
    );
    assert.deepEqual(readOffsetValue(offsetValue(entry), false, 't', 3), entry);
    const withId = { ...entry, topicId: 'AAAAAAAAAAAAAAAAAAAAAQ' };
    assert.deepEqual(readOffsetValue(offsetValue(withId), false, 't', 3), withId);
    // An expiry of its own exists in version 1 only, which knows no leader epoch.
    const expiring = { ...entry, expireTimestamp: 5_000 };
    assert.equal(offsetValue(expiring).readInt16BE(0), 1);
    assert.deepEqual(readOffsetValue(offsetValue(expiring), false, 't', 3), { ...expiring, leaderEpoch: -1 });
  });

  it('of other kinds of groups are recognised and left alone', () => {
    assert.deepEqual(readKey(Buffer.from('000a0001670000', 'hex')), { kind: 'other', type: 10 });
    const legacy = readKey(Buffer.from('000000016700017400000002', 'hex'));
    assert.deepEqual(legacy, { kind: 'offset', legacy: true, group: 'g', topic: 't', partition: 2 });
  });
});

describe('load and unload', () => {
  it('answers NOT_COORDINATOR before, LOAD_IN_PROGRESS while, and the state after', async () => {
    const before = await rig();
    const [a = ''] = stableGroup(before, 1);
    before.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5)] });
    before.tick();
    const { clock, log, settings } = before;
    const shard = new GroupCoordinatorShard({
      clock,
      random: new SeededRandom(9),
      logger: silentLogger,
      settings,
      log,
      topics: before.metadata,
      limitsOf: () => before.limits,
      partitions: () => 4,
      share: noShareGroups,
      streamsLimitsOf: () => defaultStreamsLimits,
    });
    const codes: number[] = [];
    const beat = () =>
      shard.heartbeat({ groupId: group, memberId: a, generation: 1, instanceId: null }, (code) =>
        codes.push(code),
      );
    beat();
    const loading = shard.load(partitionOf(before));
    beat();
    shard.list((code) => codes.push(code));
    await loading;
    beat();
    assert.deepEqual(codes, [
      ErrorCode.NOT_COORDINATOR,
      ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
      ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
      ErrorCode.NONE,
    ]);
    shard.fetch(group, null, ({ offsets }) => assert.equal(offsets[0]?.offset, 5));
    shard.unload(partitionOf(before));
    beat();
    assert.equal(codes[4], ErrorCode.NOT_COORDINATOR);
  });

  it('members get a full session time-out from their new coordinator', async () => {
    const before = await rig();
    const [a = ''] = stableGroup(before, 1);
    const after = await rig({}, 2, before.log);
    after.tick(9_999);
    assert.equal(after.heartbeat(a, 1), ErrorCode.NONE);
    after.tick(10_001);
    assert.equal(after.heartbeat(a, 1), ErrorCode.UNKNOWN_MEMBER_ID);
  });

  it('unload answers parked joins, syncs, commits and deletions with NOT_COORDINATOR', async () => {
    const on = await rig({ initialRebalanceDelayMs: 10, offsetsPartitions: 1 });
    const joins = [on.join(), on.join()];
    on.tick(20);
    const sync = on.sync({ memberId: joins[1]!.value.memberId });
    const join = on.join({ groupId: 'other' });
    on.log.hold = true;
    const commit = on.commit({ groupId: 'third', offsets: [offsetOf('t', 0, 1)] });
    const deletion = new Answer<number>();
    on.shard.deleteGroup('third', deletion.done);
    on.shard.unload(0);
    assert.equal(sync.value.errorCode, ErrorCode.NOT_COORDINATOR);
    assert.equal(join.value.errorCode, ErrorCode.NOT_COORDINATOR);
    assert.deepEqual(commit.value, [ErrorCode.NOT_COORDINATOR]);
    assert.equal(deletion.value, ErrorCode.NOT_COORDINATOR);
    on.log.release();
    on.tick(10 * minute);
    on.shard.close();
    assert.equal(on.clock.timers, 0);
  });

  for (const written of [false, true]) {
    it(`a failed append reloads the partition (${written ? 'written' : 'not written'} all the same)`, async () => {
      const on = await rig();
      const [a = ''] = stableGroup(on, 1);
      on.log.hold = true;
      const first = on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 1)] });
      const second = on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 1, 1)] });
      const loads = on.log.loads;
      on.log.fail(written);
      assert.deepEqual(first.value, [ErrorCode.NOT_COORDINATOR]);
      assert.deepEqual(second.value, [ErrorCode.NOT_COORDINATOR]);
      await on.clock.settle();
      assert.equal(on.heartbeat(a, 1), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
      assert.equal(on.log.loads, loads, 'not read while an append is under way');
      on.log.release();
      await on.clock.settle();
      assert.equal(on.log.loads, loads + 1);
      assert.equal(on.heartbeat(a, 1), ErrorCode.NONE);
      assert.deepEqual(
        on.fetch().offsets.map((offset) => offset.partition),
        written ? [0, 1] : [1],
      );
    });
  }

  it('a load that fails is tried again', async () => {
    const on = await rig();
    stableGroup(on, 1);
    on.shard.unload(partitionOf(on));
    on.log.loadError = new Error('store is away');
    let loaded = false;
    on.shard.load(partitionOf(on)).then(() => {
      loaded = true;
    });
    await on.clock.settle();
    assert.ok(!loaded);
    on.log.loadError = null;
    await on.clock.advanceAsync(on.settings.reloadDelayMs);
    assert.ok(loaded);
    assert.deepEqual(on.describe(), { state: 'Stable', members: 1 });
  });
});

describe('offsets retention (KIP-211)', () => {
  const retention = { offsetsRetentionMs: 100 * minute, offsetsRetentionCheckMs: minute };

  it('counts from when the group emptied, and the group goes with its last offset', async () => {
    const on = await rig(retention);
    const [a = ''] = stableGroup(on, 1, { sessionTimeoutMs: 90 * 1_000 });
    on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5)] });
    for (let i = 0; i < 150; i++) {
      on.tick(minute);
      assert.equal(on.heartbeat(a, 1), ErrorCode.NONE);
    }
    assert.equal(on.fetch().offsets.length, 1, 'a subscribed topic keeps its offsets');
    on.leave([{ memberId: a, instanceId: null }]);
    on.tick(99 * minute);
    assert.equal(on.fetch().offsets.length, 1);
    on.tick(2 * minute);
    assert.equal(on.fetch().offsets.length, 0);
    assert.equal(on.describe().state, 'Dead');
    const later = await rig({}, 2, on.log);
    assert.equal(later.describe().state, 'Dead');
  });

  it('takes offsets of topics that a living group does not subscribe to', async () => {
    const on = await rig(retention);
    const [a = ''] = stableGroup(on, 1, { sessionTimeoutMs: 90 * 1_000 });
    on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5), offsetOf('old', 0, 5)] });
    for (let i = 0; i < 102; i++) {
      on.tick(minute);
      on.heartbeat(a, 1);
    }
    assert.deepEqual(
      on.fetch().offsets.map((offset) => offset.topic),
      ['t'],
    );
  });

  it('counts from the commit without a group, and a retention in the request wins', async () => {
    const on = await rig(retention);
    on.commit({ offsets: [offsetOf('t', 0, 1)] });
    on.commit({ offsets: [offsetOf('t', 1, 1)], retentionMs: 10 * minute });
    on.tick(11 * minute);
    assert.deepEqual(
      on.fetch().offsets.map((offset) => offset.partition),
      [0],
    );
    on.tick(90 * minute);
    assert.equal(on.describe().state, 'Dead');
  });

  it('leaves alone what is being committed', async () => {
    const on = await rig(retention);
    on.commit({ offsets: [offsetOf('t', 0, 1)] });
    on.tick(99 * minute);
    on.log.hold = true;
    on.commit({ offsets: [offsetOf('t', 0, 2)] });
    on.tick(10 * minute);
    on.log.release();
    assert.equal(on.fetch().offsets[0]?.offset, 2);
  });
});

describe('types', () => {
  it('a group cannot take a step that its states do not know', async () => {
    const { Group: GroupClass } = await import('../../../../src/coordinator/group/group.ts');
    const one: Group = new GroupClass('g', 0);
    assert.throws(() => one.step('Stable', 0), /no step from Empty to Stable/);
  });
});

/** Committed offsets end with their topic, in every group, whatever happens on the way; those of a transaction begin with it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CommittedOffset } from '../../../../src/coordinator/group/group-api.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { group, type Rig, rig, stableGroup, topicIds } from './fixtures.ts';

const minute = 60_000;
const one = { offsetsPartitions: 1, offsetsRetentionCheckMs: minute };
const laterId = 'AAAAAAAAAAAAAAAAAAAADQ';
const of = (topic: string, offset: number, topicId: string | null = topicIds[topic] ?? null) => ({
  topic,
  topicId,
  partition: 0,
  offset,
  leaderEpoch: -1,
  metadata: '',
});
const seen = (on: Rig) => on.fetch().offsets.map(({ topic, offset }) => `${topic} ${offset}`);
const deleteTopic = (on: Rig, name: string) => {
  const topicId = on.topics.get(name)!;
  on.topics.delete(name);
  // The fixtures take any other name for a topic that is there.
  on.topics.set(name, laterId);
  on.shard.topicDeleted(topicId, name);
};

describe('offsets of a transaction', () => {
  const producer = { producerId: 5, producerEpoch: 1 };
  const commit = (on: Rig, offset: number, more = {}) => {
    const answer = on.commit({ offsets: [of('t', offset)], producer, ...more });
    on.tick();
    return answer.value;
  };
  const stable = (on: Rig, topics: Parameters<Rig['shard']['fetch']>[1] = null) => {
    let told: string[] = [];
    const take = ({ offsets }: { offsets: readonly CommittedOffset[] }) => {
      told = offsets.map(
        ({ topic, offset, unstable }) => `${topic} ${unstable === true ? 'unstable' : offset}`,
      );
    };
    on.shard.fetch(group, topics, take, true);
    return told;
  };
  const end = (on: Rig, committed: boolean) => {
    const codes: number[] = [];
    on.shard.endTransaction(0, { ...producer, coordinatorEpoch: 0, committed }, (code) => codes.push(code));
    on.tick();
    assert.deepEqual(codes, [ErrorCode.NONE]);
  };

  for (const committed of [true, false]) {
    it(`${committed ? 'count when it commits' : 'never count when it aborts'}, also when the coordinator moves`, async () => {
      const before = await rig(one);
      before.commit({ offsets: [of('t', 1), of('u', 2)] });
      before.tick();
      assert.deepEqual(commit(before, 8), [ErrorCode.NONE]);
      assert.deepEqual(commit(before, 9), [ErrorCode.NONE]);
      const on = await rig(one, 2, before.log);
      for (const each of [before, on]) {
        assert.deepEqual(seen(each), ['t 1', 'u 2']);
        assert.deepEqual(stable(each), ['t unstable', 'u 2']);
        assert.deepEqual(stable(each, [{ topic: 't', partitions: [0, 1] }]), ['t unstable']);
      }
      end(on, committed);
      const expected = committed ? ['t 9', 'u 2'] : ['t 1', 'u 2'];
      assert.deepEqual(seen(on), expected);
      assert.deepEqual(stable(on), expected);
      assert.deepEqual(seen(await rig(one, 3, on.log)), expected);
    });
  }

  it('of a group that has no others are unstable, too', async () => {
    const on = await rig(one);
    assert.deepEqual(commit(on, 9), [ErrorCode.NONE]);
    assert.deepEqual(stable(on), ['t unstable']);
    assert.deepEqual(seen(on), []);
    end(on, true);
    assert.deepEqual(stable(on), ['t 9']);
  });

  it('need no member before KIP-447, and the right one since', async () => {
    const on = await rig(one);
    const [a = ''] = stableGroup(on, 1);
    assert.deepEqual(commit(on, 1), [ErrorCode.NONE]);
    assert.deepEqual(commit(on, 1, { memberId: a, generation: 1 }), [ErrorCode.NONE]);
    assert.deepEqual(commit(on, 1, { memberId: a, generation: 2 }), [ErrorCode.ILLEGAL_GENERATION]);
    assert.deepEqual(commit(on, 1, { memberId: 'b', generation: 1 }), [ErrorCode.UNKNOWN_MEMBER_ID]);
    assert.deepEqual(commit(on, 1, { groupId: 'none', generation: 1 }), [69]);
    on.join();
    on.join({ memberId: a });
    on.tick();
    assert.equal(on.describe().state, 'CompletingRebalance');
    assert.deepEqual(commit(on, 1, { memberId: a, generation: 2 }), [ErrorCode.NONE]);
    const refused = on.commit({ memberId: a, generation: 2, offsets: [of('t', 1)] });
    assert.deepEqual(refused.value, [ErrorCode.REBALANCE_IN_PROGRESS]);
  });

  it('that the log refuses leave nothing behind', async () => {
    const on = await rig(one);
    on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    assert.deepEqual(commit(on, 9), [ErrorCode.COORDINATOR_NOT_AVAILABLE]);
    on.log.refusal = 0;
    end(on, true);
    assert.deepEqual(seen(on), []);
    on.shard.list((_code, groups) => assert.equal(groups.length, 0));
  });
});

describe('deletion of a topic', () => {
  it('hides its offsets at once, and they are not there after a load', async () => {
    const on = await rig(one);
    const [a = ''] = stableGroup(on, 1);
    on.commit({ memberId: a, generation: 1, offsets: [of('t', 20), of('u', 7)] });
    on.commit({ groupId: 'simple', offsets: [of('t', 3)] });
    on.tick();
    on.log.hold = true;
    deleteTopic(on, 't');
    assert.deepEqual(seen(on), ['u 7']);
    on.log.hold = false;
    on.log.release();
    on.tick();
    // Created again under the name: a commit counts, what was before does not come back.
    assert.deepEqual(seen(on), ['u 7']);
    const later = await rig(one, 2, on.log);
    // As if the old topic were there: not even then, since there are tombstones.
    assert.deepEqual(seen(later), ['u 7']);
    later.shard.fetch('simple', null, ({ offsets }) => assert.equal(offsets.length, 0));
    assert.equal(later.heartbeat(a, 1), ErrorCode.NONE);
    on.commit({ memberId: a, generation: 1, offsets: [of('t', 30, laterId)] });
    on.tick();
    assert.deepEqual(seen(on), ['u 7', 't 30']);
  });

  it('of many groups takes several turns, and all of them', async () => {
    const on = await rig({ ...one, pendingBytesMax: 100_000_000 });
    for (let i = 0; i < 3_000; i++) on.commit({ groupId: `g${i}`, offsets: [of('t', i), of('u', i)] });
    on.tick();
    on.log.hold = true;
    deleteTopic(on, 't');
    assert.equal(on.log.held.length, 1, 'one batch a turn, for many groups');
    await on.clock.settle();
    on.log.hold = false;
    on.log.release();
    on.tick();
    const later = await rig(one, 2, on.log);
    for (let i = 0; i < 3_000; i++)
      later.shard.fetch(`g${i}`, null, ({ offsets }) =>
        assert.deepEqual(
          offsets.map(({ topic }) => topic),
          ['u'],
        ),
      );
  });

  it('takes what is on its way to the log', async () => {
    const on = await rig(one);
    on.log.hold = true;
    on.commit({ offsets: [of('t', 20)] });
    deleteTopic(on, 't');
    on.log.hold = false;
    on.log.release();
    on.tick();
    assert.deepEqual(seen(on), []);
    assert.deepEqual(seen(await rig(one, 2, on.log)), []);
  });

  it('is found after a crash before the tombstones, and while nobody coordinated', async () => {
    const before = await rig(one);
    before.commit({ offsets: [of('t', 20), of('u', 7), of('gone away', 1, null)] });
    before.tick();
    const on = await rig(one, 2, before.log);
    on.tick();
    on.shard.unload(0);
    on.topics.set('t', laterId);
    await on.shard.load(0);
    assert.deepEqual(seen(on), ['u 7'], 'hidden with the load');
    on.tick();
    assert.deepEqual(seen(await rig(one, 3, on.log)), ['u 7'], 'and buried by it');
  });

  it('whose tombstones are refused is made up for', async () => {
    const on = await rig(one);
    on.commit({ offsets: [of('t', 20), of('u', 7)] });
    on.commit({ groupId: 'old', offsets: [of('t', 3, null)] });
    on.tick();
    on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    deleteTopic(on, 't');
    assert.deepEqual(seen(on), ['u 7']);
    on.shard.fetch('old', null, ({ offsets }) => assert.equal(offsets.length, 0, 'a record without id'));
    on.log.refusal = 0;
    on.tick(minute);
    assert.deepEqual(seen(await rig(one, 2, on.log)), ['u 7']);
  });

  it('leaves the offsets of the next topic of that name alone', async () => {
    const on = await rig(one);
    on.commit({ offsets: [of('t', 20)] });
    on.tick();
    on.topics.set('t', laterId);
    on.commit({ offsets: [of('t', 1, laterId)] });
    on.tick();
    on.shard.topicDeleted(topicIds.t!, 't');
    on.tick();
    assert.deepEqual(seen(on), ['t 1']);
  });
});

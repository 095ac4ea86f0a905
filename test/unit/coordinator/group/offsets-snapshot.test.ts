/** Snapshots of the offsets log: what a load reads stays a function of what is alive. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { offsetKey, readKey } from '../../../../src/coordinator/group/group-records.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { offsetOf, type Rig, rig, stableGroup } from './fixtures.ts';

const small = { offsetsPartitions: 1, snapshotRecordsMin: 50 };
const lengthOf = (on: Rig): number => on.log.durable.get(0)!.length - (on.log.starts.get(0) ?? 0);

/** Commits of a client without membership: to `groups` groups, `rounds` times. */
async function commits(on: Rig, groups: number, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (let g = 0; g < groups; g++)
      on.commit({ groupId: `g${g}`, memberId: '', generation: -1, offsets: [offsetOf('t', 0, round)] });
    await on.clock.settle();
  }
}

describe('snapshots of the offsets log', () => {
  it('bound a load by what is alive, however much is committed', async () => {
    const on = await rig(small);
    await commits(on, 5, 1_000);
    assert.ok(lengthOf(on) < 150, `${lengthOf(on)} records to read`);
    const later = await rig(small, 2, on.log);
    for (let g = 0; g < 5; g++)
      later.shard.fetch(`g${g}`, null, ({ offsets }) => assert.equal(offsets[0]?.offset, 999));
  });

  it('keep members and offsets of a group, and what is committed while they are written', async () => {
    const on = await rig(small);
    const [a = ''] = stableGroup(on, 1);
    const commit = (partition: number, offset: number) =>
      on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', partition, offset)] });
    for (let i = 0; i < 47; i++) commit(i % 3, i);
    await on.clock.settle();
    assert.equal(on.log.trims, 0);
    // From here on the log answers when the test says so.
    on.log.hold = true;
    for (let i = 47; i < 60; i++) commit(i % 3, i);
    await on.clock.settle();
    commit(0, 1000);
    for (let turns = 0; turns < 40; turns++) {
      on.log.release(1);
      if (turns === 20) commit(1, 1001);
      await on.clock.settle();
    }
    assert.ok(on.log.trims > 0);
    const later = await rig(small, 2, on.log);
    assert.deepEqual(
      later
        .fetch()
        .offsets.map(({ partition, offset }) => [partition, offset])
        .sort(),
      [
        [0, 1000],
        [1, 1001],
        [2, 59],
      ],
    );
    assert.equal(later.heartbeat(a, 1), ErrorCode.NONE);
  });

  it('do not bring back what was deleted before or meanwhile', async () => {
    const on = await rig({ ...small, recordsBytesMax: 200 });
    await commits(on, 12, 3);
    on.log.hold = true;
    const gone: number[] = [];
    // Tombstones of many offsets take several batches.
    on.commit({
      groupId: 'wide',
      memberId: '',
      generation: -1,
      offsets: [0, 1].map((partition) => offsetOf('t', partition, 1)),
    });
    on.log.release();
    for (let g = 0; g < 6; g++) on.shard.deleteGroup(`g${g}`, (code) => gone.push(code));
    on.shard.deleteGroup('wide', (code) => gone.push(code));
    for (let i = 0; i < 30; i++) {
      on.commit({ groupId: 'g11', memberId: '', generation: -1, offsets: [offsetOf('t', 0, 100 + i)] });
      on.log.release(1);
      await on.clock.settle();
    }
    for (let turns = 0; turns < 200; turns++) {
      on.log.release(1);
      await on.clock.settle();
    }
    assert.deepEqual(gone, new Array<number>(7).fill(0));
    assert.ok(on.log.trims > 0);
    const later = await rig(small, 2, on.log);
    const groups: string[] = [];
    later.shard.list((_code, listed) => groups.push(...listed.map(({ groupId }) => groupId)));
    assert.deepEqual(groups.sort(), ['g10', 'g11', 'g6', 'g7', 'g8', 'g9']);
  });

  it('do not bring back a group whose tombstones are durable in part', async () => {
    const on = await rig({ ...small, recordsBytesMax: 200 });
    const commit = (groupId: string, partition: number) =>
      on.commit({ groupId, memberId: '', generation: -1, offsets: [offsetOf('t', partition, 1)] });
    for (let partition = 0; partition < 12; partition++) commit('wide', partition);
    for (let g = 0; g < 28; g++) commit(`g${g}`, 0);
    await on.clock.settle();
    on.log.hold = true;
    // These twelve make the log long enough. The first batch of them is durable when the snapshot begins.
    on.shard.deleteGroup('wide', () => {});
    assert.equal(on.log.held.length, 2);
    on.log.release(1);
    for (let turns = 0; turns < 10; turns++) {
      await on.clock.settle();
      on.log.release();
    }
    assert.equal(on.log.trims, 1);
    assert.equal(lengthOf(on), 28);
    const later = await rig(small, 2, on.log);
    later.shard.list((_code, listed) => assert.equal(listed.length, 28));
  });

  it('do not put an older state of a group behind a newer one that is on its way', async () => {
    const on = await rig(small);
    const [a = ''] = stableGroup(on, 1);
    const commit = (offset: number) =>
      on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, offset)] });
    while (lengthOf(on) < 49) {
      commit(1);
      await on.clock.settle();
    }
    on.log.hold = true;
    commit(2);
    await on.clock.settle();
    // The commit, and the snapshot's first batch with it; then the group without its member.
    on.leave([{ memberId: a, instanceId: null }]);
    assert.equal(on.log.held.length, 3);
    on.log.release(2);
    for (let turns = 0; turns < 10; turns++) {
      await on.clock.settle();
      on.log.release();
    }
    assert.equal(on.log.trims, 1);
    const later = await rig(small, 2, on.log);
    assert.equal(later.heartbeat(a, 1), ErrorCode.UNKNOWN_MEMBER_ID);
    assert.deepEqual(
      later.fetch().offsets.map(({ offset }) => offset),
      [2],
    );
  });

  it('begin at once after a load of a log that is too long', async () => {
    const before = await rig({ offsetsPartitions: 1 });
    await commits(before, 3, 200);
    assert.equal(lengthOf(before), 600);
    const on = await rig(small, 2, before.log);
    await on.clock.settle();
    assert.equal(lengthOf(on), 3);
  });

  const foreign = (name: string): Buffer => Buffer.from(`0063${Buffer.from(name).toString('hex')}`, 'hex');

  it('carry records of unknown kinds along, newest value and without deleted ones', async () => {
    const before = await rig({ offsetsPartitions: 1 });
    await commits(before, 3, 100);
    assert.equal(readKey(foreign('a')).kind, 'other');
    before.log.durable
      .get(0)!
      .unshift(
        { key: foreign('a'), value: Buffer.from('old') },
        { key: foreign('b'), value: Buffer.from('x') },
        { key: foreign('a'), value: Buffer.from('new') },
        { key: foreign('b'), value: null },
      );
    const on = await rig(small, 2, before.log);
    await commits(on, 3, 100);
    assert.ok(on.log.trims > 1 && lengthOf(on) < 150);
    const left = on.log.durable.get(0)!.slice(on.log.starts.get(0)!);
    const kept = left.filter((entry) => 'key' in entry && readKey(entry.key).kind === 'other');
    assert.deepEqual(kept, [{ key: foreign('a'), value: Buffer.from('new') }]);
  });

  it('leave a log alone that holds too much of unknown kinds', async () => {
    const before = await rig({ offsetsPartitions: 1 });
    await commits(before, 3, 100);
    before.log.durable.get(0)!.unshift({ key: foreign('large'), value: Buffer.alloc(300_000) });
    const on = await rig(small, 2, before.log);
    await commits(on, 3, 100);
    assert.equal(on.log.trims, 0);
  });

  it('that fail change nothing: the partition is loaded again, and the next one succeeds', async () => {
    const on = await rig(small);
    await commits(on, 5, 9);
    on.log.hold = true;
    for (let g = 0; g < 5; g++)
      on.commit({ groupId: `g${g}`, memberId: '', generation: -1, offsets: [offsetOf('t', 0, 9)] });
    on.log.release();
    await on.clock.settle();
    const first = on.log.held[0]!.records[0]!;
    assert.deepEqual(first.key, offsetKey('g0', 't', 0));
    on.log.fail(false);
    on.log.hold = false;
    await on.clock.settle();
    // A log that takes nothing is not asked again before a client asks: each attempt would cost a load.
    assert.deepEqual([on.log.loads, on.log.trims], [2, 0]);
    on.commit({ groupId: 'g0', memberId: '', generation: -1, offsets: [offsetOf('t', 0, 9)] });
    await on.clock.settle();
    assert.ok(on.log.trims > 0);
    const later = await rig(small, 2, on.log);
    for (let g = 0; g < 5; g++)
      later.shard.fetch(`g${g}`, null, ({ offsets }) => assert.equal(offsets[0]?.offset, 9));
    assert.equal(lengthOf(on), 5);
  });
});

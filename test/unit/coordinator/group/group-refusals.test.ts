/** A log that refuses appends has written nothing: each request is told, groups go on, and nothing is loaded anew. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { Answer, group, offsetOf, type Rig, rig, stableGroup } from './fixtures.ts';

const minute = 60_000;
const notAvailable = ErrorCode.COORDINATOR_NOT_AVAILABLE;

function refusing(on: Rig): void {
  on.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
}

/** The log takes appends again, and a load finds what the coordinator holds. */
async function agreed(on: Rig): Promise<void> {
  on.log.refusal = 0;
  on.tick();
  const told = (from: Rig) => {
    const answers: unknown[] = [];
    from.shard.describe(group, ({ state, members }) =>
      answers.push(
        state,
        members.map(({ memberId }) => memberId),
      ),
    );
    answers.push(
      from.fetch().offsets.map(({ topic, partition, offset }) => `${topic}-${partition} ${offset}`),
    );
    return answers;
  };
  assert.deepEqual(told(await rig({}, 2, on.log)), told(on));
}

describe('a log that refuses', () => {
  it('a commit: the group and its members stay, other groups too', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1);
    on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5)] });
    on.tick();
    const loads = on.log.loads;
    refusing(on);
    for (let i = 0; i < 10; i++) {
      const refused = on.commit({
        memberId: a,
        generation: 1,
        offsets: [offsetOf('t', 0, 6), offsetOf('t', 1, 6)],
      });
      assert.deepEqual(refused.value, [notAvailable, notAvailable]);
      assert.deepEqual(on.commit({ groupId: `new ${i}`, offsets: [offsetOf('t', 0, 1)] }).value, [
        notAvailable,
      ]);
      on.tick(5_000);
      assert.equal(
        on.heartbeat(a, 1),
        ErrorCode.NONE,
        'a member lives by its heartbeats, whatever the log does',
      );
    }
    assert.deepEqual(
      on.fetch().offsets.map(({ offset }) => offset),
      [5],
    );
    on.shard.list((_code, groups) =>
      assert.deepEqual(
        groups.map(({ groupId }) => groupId),
        [group],
      ),
    );
    on.log.refusal = 0;
    const taken = on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 7)] });
    on.tick();
    assert.deepEqual(taken.value, [ErrorCode.NONE]);
    assert.equal(on.log.loads, loads);
    await agreed(on);
  });

  it('an assignment: the syncs are told, and the members meet again', async () => {
    const on = await rig();
    const join = on.join();
    on.tick();
    const { memberId, generation } = join.value;
    const assignments = [{ memberId, assignment: Buffer.from('all') }];
    refusing(on);
    const refused = on.sync({ memberId, generation, assignments });
    assert.equal(refused.value.errorCode, notAvailable);
    assert.equal(refused.value.assignment.length, 0);
    on.log.refusal = 0;
    const again = on.join({ memberId });
    on.tick();
    const sync = on.sync({ memberId, generation: again.value.generation, assignments });
    on.tick();
    assert.equal(sync.value.errorCode, ErrorCode.NONE);
    assert.equal(sync.value.assignment.toString(), 'all');
    await agreed(on);
  });

  it('the replacement of a static member: the instance comes again', async () => {
    const on = await rig();
    const [a = ''] = stableGroup(on, 1, { instanceId: 'pod' });
    refusing(on);
    const refused = on.join({ instanceId: 'pod' });
    assert.equal(refused.value.errorCode, notAvailable);
    on.log.refusal = 0;
    const again = on.join({ instanceId: 'pod' });
    on.tick();
    assert.equal(again.value.errorCode, ErrorCode.NONE);
    assert.equal(again.value.skipAssignment, true);
    assert.equal(on.heartbeat(a, 1, 'pod'), ErrorCode.FENCED_INSTANCE_ID);
    await agreed(on);
  });

  it('the replacement of a static member: its record is written when the log takes one again', async () => {
    const on = await rig({ offsetsRetentionCheckMs: 1_000 });
    stableGroup(on, 1, { instanceId: 'pod' });
    refusing(on);
    on.join({ instanceId: 'pod' });
    on.tick(1_000);
    on.log.refusal = 0;
    on.tick(1_000);
    await agreed(on);
  });

  it('the end of the last member: its record is written when the log takes one again', async () => {
    const on = await rig({ offsetsRetentionCheckMs: minute });
    const [a = ''] = stableGroup(on, 1);
    on.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5)] });
    on.tick();
    refusing(on);
    on.leave([{ memberId: a, instanceId: null }]);
    assert.deepEqual(on.describe(), { state: 'Empty', members: 0 });
    on.tick(minute);
    on.log.refusal = 0;
    on.tick(minute);
    await agreed(on);
  });

  it('deletions: what was there stays, and goes with the next request', async () => {
    const on = await rig();
    on.commit({ offsets: [offsetOf('t', 0, 1), offsetOf('t', 1, 2)] });
    on.tick();
    refusing(on);
    const offsets = new Answer<{ errorCode: number }>();
    on.shard.deleteOffsets(group, [{ topic: 't', partitions: [0] }], offsets.done);
    assert.equal(offsets.value.errorCode, notAvailable);
    const deletion = new Answer<number>();
    on.shard.deleteGroup(group, deletion.done);
    assert.equal(deletion.value, notAvailable);
    assert.equal(on.describe().state, 'Empty');
    assert.equal(on.fetch().offsets.length, 2);
    await agreed(on);
    const again = new Answer<number>();
    on.shard.deleteGroup(group, again.done);
    on.tick();
    assert.equal(again.value, ErrorCode.NONE);
    assert.equal(on.describe().state, 'Dead');
    await agreed(on);
  });

  it('the second batch of a deletion: what the first has deleted is gone, the group is there', async () => {
    const on = await rig({ recordsBytesMax: 100 });
    for (let partition = 0; partition < 6; partition++) on.commit({ offsets: [offsetOf('t', partition, 1)] });
    on.tick();
    const { append } = on.log;
    let taken = 0;
    on.log.append = (...args) => (++taken === 2 ? ErrorCode.NOT_ENOUGH_REPLICAS : append.apply(on.log, args));
    const deletion = new Answer<number>();
    on.shard.deleteGroup(group, deletion.done);
    assert.equal(deletion.value, notAvailable);
    on.log.append = append;
    on.tick();
    const left = on.fetch().offsets.length;
    assert.ok(left > 0 && left < 6, `${left} offsets`);
    assert.equal(on.describe().state, 'Empty');
    await agreed(on);
  });

  it('expiry: it is tried again with the next', async () => {
    const on = await rig({ offsetsRetentionMs: 10 * minute, offsetsRetentionCheckMs: minute });
    on.commit({ offsets: [offsetOf('t', 0, 1)] });
    on.tick();
    refusing(on);
    on.tick(15 * minute);
    assert.equal(on.fetch().offsets.length, 1);
    on.log.refusal = 0;
    on.tick(minute);
    assert.equal(on.describe().state, 'Dead');
    await agreed(on);
  });
});

describe('records that are none of a group', () => {
  it('are left out, and the groups of their partition are served', async () => {
    const before = await rig({ offsetsPartitions: 1 });
    const [a = ''] = stableGroup(before, 1);
    before.commit({ memberId: a, generation: 1, offsets: [offsetOf('t', 0, 5)] });
    before.tick();
    const log = before.log.durable.get(0)!;
    const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
    const offsetKeyHex = '00010001670001740000';
    log.unshift(
      { key: bytes(''), value: bytes('00') },
      { key: bytes('00'), value: null },
      { key: bytes('0001ffff'), value: bytes('0004') },
      { key: bytes(`${offsetKeyHex}0003`), value: bytes('') },
      { key: bytes(`${offsetKeyHex}0003`), value: bytes('0063') },
      { key: bytes('0002000167'), value: bytes('0003000163') },
      { key: bytes('0002000167'), value: bytes('00') },
      { unreadable: 'cut gzip' },
    );
    const on = await rig({ offsetsPartitions: 1 }, 2, before.log);
    assert.equal(on.heartbeat(a, 1), ErrorCode.NONE);
    assert.deepEqual(
      on.fetch().offsets.map(({ offset }) => offset),
      [5],
    );
    on.shard.list((code, groups) => {
      assert.equal(code, ErrorCode.NONE);
      assert.deepEqual(
        groups.map(({ groupId }) => groupId),
        [group],
        'and make no groups',
      );
    });
    assert.equal(on.log.loads, 1);
  });
});

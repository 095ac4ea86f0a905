/** Tasks on the way to their targets: what stays where it runs until its state is elsewhere, and what warms up meanwhile. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  noTasks,
  nothingHeld,
  type TaskRole,
  type Tasks,
  taskKey,
  taskSetOf,
} from '../../../../../src/coordinator/group/streams/tasks.ts';
import { type WarmupMember, withWarmups } from '../../../../../src/coordinator/group/streams/warmups.ts';

type Shape = Partial<Record<TaskRole, readonly number[]>>;

const set = (partitions: readonly number[] = []) => taskSetOf([{ subtopologyId: '0', partitions }]);
const tasks = ({ active, standby, warmup }: Shape): Tasks => ({
  active: set(active),
  standby: set(standby),
  warmup: set(warmup),
});
const held = (partitions: readonly number[] = []) =>
  partitions.length === 0
    ? new Map<string, Map<number, number>>()
    : new Map([['0', new Map(partitions.map((partition) => [partition, 1]))]]);

function member(id: string, has: Shape, lag: Readonly<Record<number, number>> = {}): WarmupMember {
  const told = Object.entries(lag).map(([partition, by]) => [taskKey('0', Number(partition)), by] as const);
  return {
    id,
    processId: id.slice(0, 1),
    assigned: {
      ...nothingHeld,
      active: held(has.active),
      standby: held(has.standby),
      warmup: held(has.warmup),
    },
    offsets: new Map(told.map(([key, by]) => [key, 100 - by])),
    endOffsets: new Map(told.map(([key]) => [key, 100])),
  };
}

const subtopologies = [{ id: '0', tasks: 4, stateful: true }];
const refined = (
  members: readonly WarmupMember[],
  targets: Readonly<Record<string, Shape>>,
  warmupsMax = 2,
  stateful = true,
) => {
  const given = new Map(Object.entries(targets).map(([id, shape]) => [id, tasks(shape)]));
  const parts = subtopologies.map((each) => ({ ...each, stateful }));
  const result = withWarmups(members, given, parts, { warmupsMax, acceptableLag: 10 });
  return { same: result === given, of: Object.fromEntries(result) };
};

describe('warm-ups', () => {
  it('keep tasks where they run while their state is not where they are to run', () => {
    const members = [member('a', { active: [0, 1, 2, 3] }), member('b', {})];
    const { of } = refined(members, { a: { active: [0, 1] }, b: { active: [2, 3] } });
    assert.deepEqual(of, { a: tasks({ active: [0, 1, 2, 3] }), b: tasks({ warmup: [2, 3] }) });
  });

  it('are so many at a time; the rest waits without', () => {
    const members = [member('a', { active: [0, 1, 2, 3] }), member('b', {})];
    const { of } = refined(members, { a: { active: [0, 1] }, b: { active: [2, 3] } }, 1);
    assert.deepEqual(of, { a: tasks({ active: [0, 1, 2, 3] }), b: tasks({ warmup: [2] }) });
  });

  it('end when the state lags by little enough, wherever in the process it was told', () => {
    const targets = { a: { active: [0, 1] }, b1: { active: [2, 3] } };
    const runs = member('a', { active: [0, 1, 2, 3] });
    const { of } = refined([runs, member('b1', { warmup: [2, 3] }, { 2: 10, 3: 11 })], targets);
    assert.deepEqual(of, { a: tasks({ active: [0, 1, 3] }), b1: tasks({ active: [2], warmup: [3] }) });
    const told = [runs, member('b1', {}), member('b2', {}, { 2: 0, 3: 0 })];
    assert.ok(refined(told, targets).same);
  });

  it('are not needed for tasks without state, within a process, or where nobody runs the task', () => {
    const targets = { a: { active: [0, 1] }, b: { active: [2, 3] } };
    const members = [member('a', { active: [0, 1, 2, 3] }), member('b', {})];
    assert.ok(refined(members, targets, 2, false).same);
    assert.ok(refined(members, targets, 0).same, 'they are off');
    const inside = [member('a1', { active: [0, 1, 2, 3] }), member('a2', {})];
    assert.ok(refined(inside, { a1: { active: [0, 1] }, a2: { active: [2, 3] } }).same);
    assert.ok(refined([member('a', { active: [0, 1] }), member('b', {})], targets).same);
  });

  it('are not given where there is a standby, which stays one', () => {
    const members = [member('a', { active: [0] }), member('b', { standby: [0] })];
    const { of } = refined(members, { a: { standby: [0] }, b: { active: [0] } });
    assert.deepEqual(of, { a: tasks({ active: [0] }), b: tasks({ standby: [0] }) });
    assert.deepEqual(of['a']!.standby, noTasks.standby, 'one copy in a process');
  });
});

/** Steps of one member towards its target: what it gives up first, what it waits for, and how its copies change their roles. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  freshTaskProgress,
  reconcileTasks,
  type TaskProgress,
  type TaskReconcileInput,
  taskStates,
} from '../../../../../src/coordinator/group/streams/task-reconcile.ts';
import {
  heldLists,
  type TaskLists,
  type TaskRole,
  type Tasks,
  taskSetOf,
} from '../../../../../src/coordinator/group/streams/tasks.ts';

type Shape = Partial<Record<TaskRole, readonly number[]>>;

const tasks = (shape: Shape): Tasks => {
  const of = (role: TaskRole) => taskSetOf([{ subtopologyId: '0', partitions: shape[role] ?? [] }]);
  return { active: of('active'), standby: of('standby'), warmup: of('warmup') };
};
const lists = (shape: Shape): TaskLists => {
  const of = (role: TaskRole) => [{ subtopologyId: '0', partitions: shape[role] ?? [] }];
  return { active: of('active'), standby: of('standby'), warmup: of('warmup') };
};

/** Others' tasks: [role, partition, same process?]. */
type Others = readonly (readonly [TaskRole, number, boolean])[];

function step(
  progress: TaskProgress,
  targetEpoch: number,
  target: Shape,
  owned: Shape | null = null,
  others: Others = [],
): TaskProgress {
  const input: TaskReconcileInput = {
    targetEpoch,
    target: tasks(target),
    owned: owned === null ? null : lists(owned),
    isHeld: (role, _id, partition, inProcess) =>
      others.some(([held, of, same]) => held === role && of === partition && (same || !inProcess)),
  };
  return reconcileTasks(progress, input);
}

/** State, epoch and tasks, to compare. */
function shown({ epoch, state, assigned, revoking }: TaskProgress): unknown {
  const of = (held: TaskProgress['assigned']): Shape =>
    Object.fromEntries(
      (['active', 'standby', 'warmup'] as const).flatMap((role) => {
        const partitions = heldLists(held[role])[0]?.partitions;
        return partitions === undefined ? [] : [[role, partitions]];
      }),
    );
  const name = Object.entries(taskStates).find(([, value]) => value === state)?.[0];
  return { epoch, state: name, has: of(assigned), revoking: of(revoking) };
}

const at = (epoch: number, has: Shape): TaskProgress => step(freshTaskProgress, epoch, has);

describe('a member of a streams group', () => {
  it('gets at once what is free, each active task with the epoch', () => {
    const got = step(freshTaskProgress, 2, { active: [0, 1], standby: [2] });
    assert.deepEqual(shown(got), {
      epoch: 2,
      state: 'stable',
      has: { active: [0, 1], standby: [2] },
      revoking: {},
    });
    const more = step(got, 5, { active: [0, 3], standby: [2] }, { active: [0], standby: [2] });
    assert.deepEqual(
      [...more.assigned.active.get('0')!],
      [
        [0, 2],
        [3, 5],
      ],
    );
    assert.equal(step(more, 5, { active: [] }), more, 'nothing changes within an epoch');
  });

  it('gives up before it gets, and its epoch waits', () => {
    const had = at(2, { active: [0, 1] });
    const told = step(had, 3, { active: [0, 2] });
    assert.deepEqual(shown(told), {
      epoch: 2,
      state: 'unrevoked',
      has: { active: [0] },
      revoking: { active: [1] },
    });
    assert.equal(step(told, 3, { active: [0, 2] }), told, 'it does not say');
    assert.equal(step(told, 3, { active: [0, 2] }, { active: [0, 1] }), told, 'it still has it');
    const gave = step(told, 3, { active: [0, 2] }, { active: [0] });
    assert.deepEqual(shown(gave), { epoch: 3, state: 'stable', has: { active: [0, 2] }, revoking: {} });
    // Who says at once that he has given up need not wait.
    assert.deepEqual(shown(step(had, 3, { active: [0, 2] }, { active: [0] })), shown(gave));
  });

  it('never gets past its target epoch, whatever changes meanwhile', () => {
    const told = step(at(2, { active: [0, 1] }), 3, { active: [0] });
    const other = step(told, 3, {}, { active: [0] });
    assert.deepEqual(shown(other), { epoch: 3, state: 'unrevoked', has: {}, revoking: { active: [0] } });
    assert.equal(step(other, 3, {}, {}).epoch, 3);
  });

  it('waits for an active task that anybody runs, or that its own process keeps a copy of', () => {
    for (const others of [
      [['active', 1, false]],
      [['active', 1, true]],
      [['standby', 1, true]],
      [['warmup', 1, true]],
    ] as const satisfies readonly Others[]) {
      const waits = step(freshTaskProgress, 2, { active: [0, 1] }, null, others);
      assert.deepEqual(shown(waits), { epoch: 2, state: 'unreleased', has: { active: [0] }, revoking: {} });
      assert.equal(step(waits, 2, { active: [0, 1] }, null, others), waits, 'who waits writes nothing');
      assert.deepEqual(shown(step(waits, 2, { active: [0, 1] })), shown(at(2, { active: [0, 1] })));
    }
    const elsewhere: Others = [
      ['standby', 1, false],
      ['warmup', 1, false],
    ];
    assert.deepEqual(
      shown(step(freshTaskProgress, 2, { active: [1] }, null, elsewhere)),
      shown(at(2, { active: [1] })),
    );
  });

  it('keeps a copy only where its process has none', () => {
    for (const role of ['standby', 'warmup'] as const) {
      for (const held of ['active', 'standby', 'warmup'] as const) {
        assert.equal(
          step(freshTaskProgress, 2, { [role]: [1] }, null, [[held, 1, true]]).state,
          taskStates.unreleased,
        );
        assert.equal(
          step(freshTaskProgress, 2, { [role]: [1] }, null, [[held, 1, false]]).state,
          taskStates.stable,
        );
      }
    }
  });

  it('runs a task from its standby when the one that ran it has let go', () => {
    for (const role of ['standby', 'warmup'] as const) {
      const had = at(2, { [role]: [1] });
      const waits = step(had, 3, { active: [1] }, null, [['active', 1, false]]);
      assert.deepEqual(shown(waits), { epoch: 3, state: 'unreleased', has: { [role]: [1] }, revoking: {} });
      const runs = step(waits, 3, { active: [1] });
      assert.deepEqual(shown(runs), { epoch: 3, state: 'stable', has: { active: [1] }, revoking: {} });
    }
  });

  it('keeps the standby of what it is to run while it gives up something else', () => {
    const had = at(2, { active: [0], standby: [1] });
    const told = step(had, 3, { active: [1] });
    assert.deepEqual(shown(told), {
      epoch: 2,
      state: 'unrevoked',
      has: { standby: [1] },
      revoking: { active: [0] },
    });
    const gave = step(told, 3, { active: [1] }, { standby: [1] });
    assert.deepEqual(shown(gave), { epoch: 3, state: 'stable', has: { active: [1] }, revoking: {} });
  });

  it('has the standby of what it ran at once', () => {
    const told = step(at(2, { active: [0, 1] }), 3, { active: [0], standby: [1] });
    assert.deepEqual(shown(told), {
      epoch: 2,
      state: 'unrevoked',
      has: { active: [0], standby: [1] },
      revoking: { active: [1] },
    });
    const gave = step(told, 3, { active: [0], standby: [1] }, { active: [0], standby: [1] });
    assert.deepEqual(shown(gave), {
      epoch: 3,
      state: 'stable',
      has: { active: [0], standby: [1] },
      revoking: {},
    });
  });

  it('changes a copy between standby and warm-up without giving it up', () => {
    for (const [from, to] of [
      ['standby', 'warmup'],
      ['warmup', 'standby'],
    ] as const) {
      const changed = step(at(2, { [from]: [1] }), 3, { [to]: [1] }, { [from]: [1] });
      assert.deepEqual(shown(changed), { epoch: 3, state: 'stable', has: { [to]: [1] }, revoking: {} });
    }
  });

  it('gives up everything where the target is empty', () => {
    const told = step(at(2, { active: [0], standby: [1], warmup: [2] }), 3, {});
    assert.deepEqual(shown(told), {
      epoch: 2,
      state: 'unrevoked',
      has: {},
      revoking: { active: [0], standby: [1], warmup: [2] },
    });
    assert.equal(step(told, 3, {}, { standby: [1] }), told, 'one of them is enough to wait for');
    assert.deepEqual(shown(step(told, 3, {}, {})), { epoch: 3, state: 'stable', has: {}, revoking: {} });
    assert.deepEqual(shown(step(told, 3, {}, tasksGone)), {
      epoch: 3,
      state: 'stable',
      has: {},
      revoking: {},
    });
  });
});

const tasksGone: Shape = { active: [], standby: [], warmup: [] };

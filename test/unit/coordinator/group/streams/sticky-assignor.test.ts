/**
 * What the sticky assignor of tasks promises, over random groups: every task runs once, evenly spread, what can stay stays; copies
 * of a task lie on processes of their own, as many as there are processes for, and tags keep them apart.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { assignStickily } from '../../../../../src/coordinator/group/streams/sticky-assignor.ts';
import type {
  SizedSubtopology,
  TaskMember,
} from '../../../../../src/coordinator/group/streams/task-assignor.ts';
import {
  noTasks,
  type TaskSet,
  type Tasks,
  taskKey,
  taskSetOf,
} from '../../../../../src/coordinator/group/streams/tasks.ts';
import { SeededRandom } from '../../../../support/seeded-random.ts';

const plain = { standbyReplicas: 0, rackTags: [] };

function member(id: string, more: Partial<TaskMember> = {}): TaskMember {
  return {
    id,
    processId: `process of ${id}`,
    clientTags: new Map(),
    held: noTasks,
    target: noTasks,
    offsets: new Map(),
    ...more,
  };
}

const keysOf = (set: TaskSet): string[] =>
  [...set].flatMap(([id, partitions]) => partitions.map((partition) => taskKey(id, partition)));
const tasksOf = ({ id, tasks }: SizedSubtopology): string[] =>
  Array.from({ length: tasks }, (_, partition) => taskKey(id, partition));
const spread = (sizes: readonly number[]): number => Math.max(...sizes) - Math.min(...sizes);

/** The next group after an assignment has been carried out. */
const settled = (members: readonly TaskMember[], given: ReadonlyMap<string, Tasks>): TaskMember[] =>
  members.map((each) => ({ ...each, held: given.get(each.id)!, target: given.get(each.id)! }));

function checkWhole(
  members: readonly TaskMember[],
  subtopologies: readonly SizedSubtopology[],
  standbyReplicas: number,
  given: ReadonlyMap<string, Tasks>,
): void {
  assert.deepEqual([...given.keys()].sort(), members.map(({ id }) => id).sort());
  const runs = members.flatMap(({ id }) => keysOf(given.get(id)!.active));
  assert.deepEqual(runs.sort(), subtopologies.flatMap(tasksOf).sort(), 'every task runs once');
  const stateful = new Set(subtopologies.filter((each) => each.stateful).flatMap(tasksOf));
  const actives = members.map(({ id }) => keysOf(given.get(id)!.active));
  assert.ok(spread(actives.map((keys) => keys.length)) <= 1, 'active tasks are spread');
  assert.ok(
    spread(actives.map((keys) => keys.filter((key) => stateful.has(key)).length)) <= 1,
    'stateful ones are spread',
  );
  const processes = new Set(members.map(({ processId }) => processId));
  const copies = new Map<string, string[]>();
  for (const { id, processId } of members) {
    const { active, standby, warmup } = given.get(id)!;
    assert.equal(warmup.size, 0);
    for (const key of [...keysOf(active), ...keysOf(standby)])
      copies.set(key, [...(copies.get(key) ?? []), processId]);
  }
  for (const [key, on] of copies) {
    assert.equal(new Set(on).size, on.length, `${key} has two copies in one process`);
    const wanted = stateful.has(key) ? Math.min(standbyReplicas, processes.size - 1) : 0;
    assert.equal(on.length - 1, wanted, `standbys of ${key}`);
  }
}

/** Whether some standby could move to another process and make things more even. */
function canBeEvened(members: readonly TaskMember[], given: ReadonlyMap<string, Tasks>): boolean {
  const processes = new Map<
    string,
    { size: number; members: number; copies: Set<string>; standbys: string[] }
  >();
  for (const { id, processId } of members) {
    const process = processes.get(processId) ?? { size: 0, members: 0, copies: new Set(), standbys: [] };
    const { active, standby } = given.get(id)!;
    const keys = [...keysOf(active), ...keysOf(standby)];
    process.size += keys.length;
    process.members++;
    process.standbys.push(...keysOf(standby));
    for (const key of keys) process.copies.add(key);
    processes.set(processId, process);
  }
  for (const from of processes.values())
    for (const key of from.standbys)
      for (const to of processes.values())
        if (!to.copies.has(key) && (from.size - 1) / from.members >= (to.size + 1) / to.members) return true;
  return false;
}

describe('the sticky assignor', () => {
  it('keeps its promises over random groups that grow, shrink and change their topology', () => {
    let standbys = 0;
    for (let seed = 1; seed <= 120; seed++) {
      const random = new SeededRandom(seed);
      const subtopologies = Array.from({ length: 1 + random.below(4) }, (_, i) => ({
        id: String(i),
        tasks: 1 + random.below(9),
        stateful: random.chance(0.6),
      }));
      const options = { standbyReplicas: random.below(3), rackTags: [] };
      let members = Array.from({ length: 1 + random.below(6) }, (_, i) =>
        member(`m${i}`, random.chance(0.5) ? { processId: `p${random.below(3)}` } : {}),
      );
      for (let round = 0; round < 6; round++) {
        const given = assignStickily(members, subtopologies, options);
        checkWhole(members, subtopologies, options.standbyReplicas, given);
        assert.equal(
          canBeEvened(members, given),
          false,
          `seed ${seed}: a standby could move and even things out`,
        );
        standbys += [...given.values()].filter(({ standby }) => standby.size > 0).length;
        const again = assignStickily(settled(members, given), subtopologies, options);
        assert.deepEqual(again, given, `seed ${seed}: nothing changed, and yet something moves`);
        members = settled(members, given);
        const dice = random.below(3);
        if (dice === 0 && members.length > 1) members.splice(random.below(members.length), 1);
        else if (dice === 1) members.push(member(`n${round}`));
        else random.pick(subtopologies).tasks = 1 + random.below(9);
      }
    }
    assert.ok(standbys > 300, String(standbys));
  });

  it('moves no more than evenness asks for when one joins or leaves', () => {
    for (let seed = 1; seed <= 100; seed++) {
      const random = new SeededRandom(seed);
      const subtopologies = [{ id: '0', tasks: 1 + random.below(20), stateful: true }];
      const count = 1 + random.below(6);
      const before = settled(
        Array.from({ length: count }, (_, i) => member(`m${i}`)),
        assignStickily(
          Array.from({ length: count }, (_, i) => member(`m${i}`)),
          subtopologies,
          plain,
        ),
      );
      const kept = (members: readonly TaskMember[], given: ReadonlyMap<string, Tasks>): number =>
        members.reduce((sum, each) => {
          const own = new Set(keysOf(each.held.active));
          return sum + keysOf(given.get(each.id)!.active).filter((key) => own.has(key)).length;
        }, 0);
      const { tasks } = subtopologies[0]!;
      const grown = [...before, member('new')];
      assert.equal(
        kept(before, assignStickily(grown, subtopologies, plain)),
        tasks - Math.floor(tasks / (count + 1)),
      );
      if (count === 1) continue;
      const left = before.slice(1);
      const stays = left.reduce((sum, { held }) => sum + keysOf(held.active).length, 0);
      assert.equal(kept(left, assignStickily(left, subtopologies, plain)), stays, 'who stays keeps all');
    }
  });

  it('gives a task to whoever keeps its state, the most advanced first, and to a disk before nobody', () => {
    const subtopologies = [{ id: '0', tasks: 3, stateful: true }];
    const standby = (...partitions: number[]): Tasks => ({
      ...noTasks,
      standby: taskSetOf([{ subtopologyId: '0', partitions }]),
    });
    const members = [
      member('a', { held: standby(0), offsets: new Map([[taskKey('0', 0), 10]]) }),
      member('b', { held: standby(0), offsets: new Map([[taskKey('0', 0), 90]]) }),
      member('c', { offsets: new Map([[taskKey('0', 1), 5]]) }),
    ];
    const given = assignStickily(members, subtopologies, plain);
    assert.deepEqual(keysOf(given.get('b')!.active), [taskKey('0', 0)]);
    assert.deepEqual(keysOf(given.get('c')!.active), [taskKey('0', 1)]);
    assert.deepEqual(keysOf(given.get('a')!.active), [taskKey('0', 2)]);
    const warm = [
      member('a'),
      member('b', { held: { ...noTasks, warmup: taskSetOf([{ subtopologyId: '0', partitions: [2] }]) } }),
    ];
    assert.ok(keysOf(assignStickily(warm, subtopologies, plain).get('b')!.active).includes(taskKey('0', 2)));
  });

  it('lets whoever was to run a task get it, while nobody runs it', () => {
    const subtopologies = [{ id: '0', tasks: 2, stateful: true }];
    const of = (partition: number): Tasks => ({
      ...noTasks,
      active: taskSetOf([{ subtopologyId: '0', partitions: [partition] }]),
    });
    const given = assignStickily(
      [member('a', { target: of(1) }), member('b', { target: of(0) })],
      subtopologies,
      plain,
    );
    assert.deepEqual(keysOf(given.get('a')!.active), [taskKey('0', 1)]);
    // What somebody runs counts before what somebody was to run.
    const late = [member('a', { held: of(0) }), member('b', { target: of(0) })];
    assert.deepEqual(keysOf(assignStickily(late, subtopologies, plain).get('a')!.active), [taskKey('0', 0)]);
  });

  it('leaves the one that ran a task a standby of it', () => {
    const subtopologies = [{ id: '0', tasks: 4, stateful: true }];
    const options = { standbyReplicas: 1, rackTags: [] };
    const all = { ...noTasks, active: taskSetOf([{ subtopologyId: '0', partitions: [0, 1, 2, 3] }]) };
    const given = assignStickily([member('a', { held: all }), member('b')], subtopologies, options);
    const moved = keysOf(given.get('b')!.active);
    assert.equal(moved.length, 2);
    assert.deepEqual(keysOf(given.get('a')!.standby).sort(), moved.sort());
  });

  it('keeps copies apart by their tags, as far as there are others', () => {
    const subtopologies = [{ id: '0', tasks: 6, stateful: true }];
    const zones = ['a', 'a', 'b', 'b', 'c', 'c'];
    const members = zones.map((zone, i) => member(`m${i}`, { clientTags: new Map([['zone', zone]]) }));
    for (const standbyReplicas of [1, 2]) {
      const given = assignStickily(members, subtopologies, { standbyReplicas, rackTags: ['zone'] });
      checkWhole(members, subtopologies, standbyReplicas, given);
      for (const key of tasksOf(subtopologies[0]!)) {
        const at = zones.filter((_, i) => {
          const { active, standby } = given.get(`m${i}`)!;
          return [...keysOf(active), ...keysOf(standby)].includes(key);
        });
        assert.equal(new Set(at).size, standbyReplicas + 1, `${key} lies in ${at.join()}`);
      }
    }
    // Where all are alike, tags keep nobody from a standby.
    const alike = members.map((each) => ({ ...each, clientTags: new Map([['zone', 'a']]) }));
    const options = { standbyReplicas: 1, rackTags: ['zone'] };
    checkWhole(alike, subtopologies, 1, assignStickily(alike, subtopologies, options));
  });

  it('assigns nothing where there is nobody, or nothing', () => {
    assert.equal(assignStickily([], [{ id: '0', tasks: 3, stateful: true }], plain).size, 0);
    assert.deepEqual(assignStickily([member('a')], [], plain), new Map([['a', noTasks]]));
  });
});

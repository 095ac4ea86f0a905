/**
 * One member of a streams group on its way from the tasks that it has to its target (KIP-1071), as a pure step:
 *
 *     Stable ── a newer target ──► UnrevokedTasks ── client holds none of them any more ──► UnreleasedTasks ── all free ──► Stable
 *                 (nothing to give up: straight on)                                         (nothing to wait for: straight on)
 *
 * An active task is given when no other member runs it. Copies of one task never meet in one process, since its members share
 * the state's directory: a task waits until no other member of the process has a copy. A member's own copy only changes its role:
 * what is standby or warm-up stays so until the task becomes active, and an active task that becomes standby is both told to
 * be given up and given at once.
 */
import {
  type HeldTasks,
  hasTask,
  listsAny,
  nothingHeld,
  sameHeld,
  type TaskLists,
  type TaskRole,
  type Tasks,
  taskRoles,
} from './tasks.ts';

/** Values of the record StreamsGroupCurrentMemberAssignment. */
export const taskStates = { stable: 1, unrevoked: 2, unreleased: 3 } as const;

/** Never changed once made. */
export interface TaskProgress {
  readonly epoch: number;
  readonly previousEpoch: number;
  readonly state: number;
  readonly assigned: HeldTasks;
  /** To be given up before anything else. */
  readonly revoking: HeldTasks;
}

export const freshTaskProgress: TaskProgress = {
  epoch: 0,
  previousEpoch: 0,
  state: taskStates.stable,
  assigned: nothingHeld,
  revoking: nothingHeld,
};

export interface TaskReconcileInput {
  readonly targetEpoch: number;
  readonly target: Tasks;
  /** What the client says that it has; null = it did not say. */
  readonly owned: TaskLists | null;
  /** Whether another member has the task in that role, or has not given it up yet; of this member's process only, or of any. */
  readonly isHeld: (role: TaskRole, subtopologyId: string, partition: number, inProcess: boolean) => boolean;
}

/** The same object when nothing can change. */
export function reconcileTasks(progress: TaskProgress, input: TaskReconcileInput): TaskProgress {
  switch (progress.state) {
    case taskStates.stable:
      return progress.epoch === input.targetEpoch ? progress : step(progress, progress.epoch, input);
    case taskStates.unrevoked:
      if (listsAny(input.owned, progress.revoking)) return progress;
      return step(progress, Math.min(progress.epoch + 1, input.targetEpoch), input);
    default:
      return step(progress, progress.epoch, input);
  }
}

type Draft = Record<TaskRole, Map<string, Map<number, number>>>;

const draft = (): Draft => ({ active: new Map(), standby: new Map(), warmup: new Map() });

function step(progress: TaskProgress, epoch: number, input: TaskReconcileInput): TaskProgress {
  const { targetEpoch, target, owned } = input;
  const { assigned } = progress;
  const kept = draft();
  const revoking = draft();
  const given = draft();
  let unreleased = false;
  for (const role of taskRoles) {
    for (const [id, partition, since] of each(assigned[role]))
      put(hasTask(target[role], id, partition) ? kept : revoking, role, id, partition, since);
    for (const [id, partitions] of target[role]) {
      for (const partition of partitions) {
        if (hasTask(assigned[role], id, partition)) continue;
        if (isFree(role, id, partition, assigned, input))
          put(given, role, id, partition, role === 'active' ? targetEpoch : 0);
        else unreleased = true;
      }
    }
  }
  changeRole(assigned, 'active', 'standby', given, kept, null);
  changeRole(assigned, 'standby', 'warmup', given, kept, revoking);
  changeRole(assigned, 'warmup', 'standby', given, kept, revoking);
  const promoted = promotions(assigned, target);
  for (const { role, id, partition } of promoted) take(revoking, role, id, partition);
  const mustRevoke = !isEmpty(revoking) && listsAny(owned, revoking);
  // A copy that becomes active is kept until it does.
  for (const { role, id, partition } of promoted)
    if (mustRevoke || given.active.get(id)?.has(partition) !== true) put(kept, role, id, partition, 0);
  if (mustRevoke) return next(progress, epoch, taskStates.unrevoked, kept, revoking);
  for (const role of taskRoles)
    for (const [id, partition, since] of each(given[role])) put(kept, role, id, partition, since);
  const state = unreleased ? taskStates.unreleased : taskStates.stable;
  return next(progress, targetEpoch, state, kept, nothingHeld);
}

function isFree(
  role: TaskRole,
  id: string,
  partition: number,
  assigned: HeldTasks,
  { isHeld }: TaskReconcileInput,
): boolean {
  // One process runs a task, and whoever warms it up does so on another than it.
  if (isHeld('active', id, partition, role !== 'active')) return false;
  if (role === 'warmup' && hasTask(assigned.active, id, partition)) return false;
  return !isHeld('standby', id, partition, true) && !isHeld('warmup', id, partition, true);
}

/** A task that the member has in one role and is given in another: it has it at once. `revoking` null: it still gives it up. */
function changeRole(
  assigned: HeldTasks,
  from: TaskRole,
  to: TaskRole,
  given: Draft,
  kept: Draft,
  revoking: Draft | null,
): void {
  for (const [id, partition] of each(assigned[from])) {
    if (given[to].get(id)?.has(partition) !== true) continue;
    take(given, to, id, partition);
    put(kept, to, id, partition, 0);
    if (revoking !== null) take(revoking, from, id, partition);
  }
}

interface Promotion {
  readonly role: TaskRole;
  readonly id: string;
  readonly partition: number;
}

/** Copies of the member whose tasks are to become active there. */
function promotions(assigned: HeldTasks, target: Tasks): Promotion[] {
  const found: Promotion[] = [];
  for (const role of ['standby', 'warmup'] as const)
    for (const [id, partition] of each(assigned[role]))
      if (hasTask(target.active, id, partition)) found.push({ role, id, partition });
  return found;
}

function* each(
  held: ReadonlyMap<string, ReadonlyMap<number, number>>,
): Generator<readonly [string, number, number]> {
  for (const [id, epochs] of held) for (const [partition, since] of epochs) yield [id, partition, since];
}

function put(into: Draft, role: TaskRole, id: string, partition: number, since: number): void {
  const epochs = into[role].get(id);
  if (epochs === undefined) into[role].set(id, new Map([[partition, since]]));
  else epochs.set(partition, since);
}

function take(from: Draft, role: TaskRole, id: string, partition: number): void {
  const epochs = from[role].get(id);
  if (epochs?.delete(partition) === true && epochs.size === 0) from[role].delete(id);
}

function isEmpty(tasks: HeldTasks): boolean {
  return taskRoles.every((role) => tasks[role].size === 0);
}

/** Whoever still waits for the same writes nothing. */
function next(
  progress: TaskProgress,
  epoch: number,
  state: number,
  assigned: HeldTasks,
  revoking: HeldTasks,
): TaskProgress {
  const same =
    epoch === progress.epoch &&
    state === progress.state &&
    sameHeld(assigned, progress.assigned) &&
    sameHeld(revoking, progress.revoking);
  return same ? progress : { epoch, previousEpoch: progress.epoch, state, assigned, revoking };
}

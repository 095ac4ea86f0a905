/**
 * Tasks of Kafka Streams as groups hold them (KIP-1071). A task is a partition number of a subtopology; a member runs it as
 *
 *     active     processes the records        standby    keeps a copy of its state
 *                                             warm-up    catches up with its state before it becomes active there
 *
 * `Tasks` is what an assignor gives, `HeldTasks` what a member has, active ones with the epoch at which it got each (the
 * others with 0). Values are never changed once made, so that records, targets and members share them.
 */
import {
  type Assignment,
  assignmentOf,
  noAssignment,
  nothingOwned,
  type OwnedPartitions,
  sameAssignment,
  sameOwned,
} from '../consumer/assignment.ts';

/** Ascending partition numbers by subtopology id; no subtopology without partitions. */
export type TaskSet = Assignment;
/** Assignment epochs by partition number, by subtopology id. */
export type TaskEpochs = OwnedPartitions;

export const taskRoles = ['active', 'standby', 'warmup'] as const;
export type TaskRole = (typeof taskRoles)[number];

export type Tasks = Readonly<Record<TaskRole, TaskSet>>;
export type HeldTasks = Readonly<Record<TaskRole, TaskEpochs>>;

/** As requests and records list them. */
export interface TaskIds {
  readonly subtopologyId: string;
  readonly partitions: readonly number[];
}
export type TaskLists = Readonly<Record<TaskRole, readonly TaskIds[]>>;

export const noTasks: Tasks = { active: noAssignment, standby: noAssignment, warmup: noAssignment };
export const nothingHeld: HeldTasks = { active: nothingOwned, standby: nothingOwned, warmup: nothingOwned };

/** A name of the task: no two tasks of a topology have the same. */
export function taskKey(subtopologyId: string, partition: number): string {
  return `${partition}_${subtopologyId}`;
}

/** Sorted, each partition once. */
export function taskSetOf(lists: readonly TaskIds[]): TaskSet {
  const set = assignmentOf(lists.map(({ subtopologyId: topicId, partitions }) => ({ topicId, partitions })));
  return new Map([...set].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** By subtopology id, as Kafka writes them. */
export function taskLists(set: TaskSet): TaskIds[] {
  return [...set]
    .map(([subtopologyId, partitions]) => ({ subtopologyId, partitions }))
    .sort((a, b) => (a.subtopologyId < b.subtopologyId ? -1 : 1));
}

/** The tasks alone. */
export function heldSet(held: TaskEpochs): TaskSet {
  return new Map([...held].map(([id, epochs]) => [id, [...epochs.keys()].sort((a, b) => a - b)]));
}

export function heldLists(held: TaskEpochs): TaskIds[] {
  return taskLists(heldSet(held));
}

export function tasksHeld(held: HeldTasks): Tasks {
  return { active: heldSet(held.active), standby: heldSet(held.standby), warmup: heldSet(held.warmup) };
}

export function hasTask(set: TaskSet | TaskEpochs, subtopologyId: string, partition: number): boolean {
  const partitions = set.get(subtopologyId);
  if (partitions === undefined) return false;
  return Array.isArray(partitions)
    ? partitions.includes(partition)
    : (partitions as ReadonlyMap<number, number>).has(partition);
}

export function sameTasks(a: Tasks, b: Tasks): boolean {
  return taskRoles.every((role) => sameAssignment(a[role], b[role]));
}

export function sameHeld(a: HeldTasks, b: HeldTasks): boolean {
  return taskRoles.every((role) => sameOwned(a[role], b[role]));
}

export function holdsNothing(held: HeldTasks): boolean {
  return taskRoles.every((role) => held[role].size === 0);
}

/** Whether what a client lists is all in what it was given, role by role. */
export function isWithin(lists: TaskLists | null, held: HeldTasks): boolean {
  if (lists === null) return false;
  return taskRoles.every((role) =>
    lists[role].every(({ subtopologyId, partitions }) =>
      partitions.every((partition) => hasTask(held[role], subtopologyId, partition)),
    ),
  );
}

/** Whether a client lists any of the tasks in its role; what it does not tell, it may have. */
export function listsAny(lists: TaskLists | null, held: HeldTasks): boolean {
  if (lists === null) return true;
  return taskRoles.some((role) =>
    lists[role].some(({ subtopologyId, partitions }) =>
      partitions.some((partition) => hasTask(held[role], subtopologyId, partition)),
    ),
  );
}

/** Whether a client lists exactly what it was given. */
export function listsExactly(lists: TaskLists, held: HeldTasks): boolean {
  return taskRoles.every((role) => sameAssignment(taskSetOf(lists[role]), sortedSet(heldSet(held[role]))));
}

function sortedSet(set: TaskSet): TaskSet {
  return new Map([...set].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * CONTRACT of a server-side assignor of tasks (KIP-1071): from the members with what they run and the sizes of the
 * subtopologies to the next target. Pure and deterministic: the same input gives the same answer.
 */
import type { ConfiguredSubtopology } from './configured-topology.ts';
import type { Tasks } from './tasks.ts';

export interface TaskMember {
  readonly id: string;
  /** Members of one process share its state directory: of a task they hold one copy. */
  readonly processId: string;
  readonly clientTags: ReadonlyMap<string, string>;
  /** What it has, and what it was to get. */
  readonly held: Tasks;
  readonly target: Tasks;
  /** How far its state of tasks goes, by taskKey; tasks that it knows nothing of are absent. */
  readonly offsets: ReadonlyMap<string, number>;
}

export type SizedSubtopology = Pick<ConfiguredSubtopology, 'id' | 'tasks' | 'stateful'>;

export interface TaskAssignorOptions {
  /** Copies of the state of each stateful task beside the active one, as far as there are processes for them. */
  readonly standbyReplicas: number;
  /** Client tags in which the copies of a task are to differ. */
  readonly rackTags: readonly string[];
}

/** Gives every task to exactly one member; names every member. No warm-ups: those are made on the way (warmups.ts). */
export type TaskAssignor = (
  members: readonly TaskMember[],
  subtopologies: readonly SizedSubtopology[],
  options: TaskAssignorOptions,
) => Map<string, Tasks>;
